//! What builds remember: small values by key, and the layers they speak of.

use serde::{Deserialize, Serialize};

use super::{Store, StoreError};
use crate::layer::LayerId;

/// A value, and the layers that live as long as it.
#[derive(Debug, Serialize, Deserialize)]
struct CacheRecord {
    layers: Vec<[u8; 32]>,
    value: Vec<u8>,
}

impl Store {
    /// Remembers a value. As long as it is remembered, [`Store::prune`] keeps `layers`.
    pub fn cache_put(&self, key: &[u8; 32], value: &[u8], layers: &[LayerId]) -> Result<(), StoreError> {
        let record = CacheRecord {
            layers: layers.iter().map(|id| *id.as_bytes()).collect(),
            value: value.to_vec(),
        };
        let bytes = postcard::to_stdvec(&record).map_err(|_| damaged(key))?;
        self.write(&cache_path(key), &bytes)
    }

    /// The value of a key; `None` if nothing, or nothing that can be read, is remembered, or one of its layers is gone.
    pub fn cache_get(&self, key: &[u8; 32]) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(bytes) = self.read(&cache_path(key))? else {
            return Ok(None);
        };
        let Ok(record) = postcard::from_bytes::<CacheRecord>(&bytes) else {
            return Ok(None);
        };
        for layer in record.layers {
            if !self.contains_layer(&LayerId::new(layer))? {
                return Ok(None);
            }
        }
        Ok(Some(record.value))
    }

    /// The layers of what is remembered.
    pub(super) fn cached_layers(&self) -> Result<Vec<LayerId>, StoreError> {
        let mut layers = Vec::new();
        for path in self.cache_paths()? {
            let bytes = self.read(&path)?.unwrap_or_default();
            if let Ok(record) = postcard::from_bytes::<CacheRecord>(&bytes) {
                layers.extend(record.layers.into_iter().map(LayerId::new));
            }
        }
        Ok(layers)
    }

    /// The files of what is remembered.
    pub(super) fn cache_paths(&self) -> Result<Vec<String>, StoreError> {
        let mut paths = Vec::new();
        for (directory, _) in self.list("cache")? {
            let directory = format!("cache/{directory}");
            let names = self.list(&directory)?.into_iter();
            paths.extend(names.map(|(name, _)| format!("{directory}/{name}")));
        }
        Ok(paths)
    }
}

fn cache_path(key: &[u8; 32]) -> String {
    let text = hex::encode(key);
    let (directory, name) = text.split_at(2);
    format!("cache/{directory}/{name}")
}

fn damaged(key: &[u8; 32]) -> StoreError {
    StoreError::Damaged {
        what: "cache entry",
        name: hex::encode(key),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::Layer;
    use crate::store::Access;

    #[test]
    fn values_are_remembered_as_long_as_their_layers_are_there() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path(), Access::ReadWrite).unwrap();
        let key = [7; 32];
        assert_eq!(store.cache_get(&key).unwrap(), None);
        let layer = store.put_layer(&Layer::default()).unwrap();
        store.cache_put(&key, b"one", &[]).unwrap();
        store.cache_put(&key, b"two", &[layer]).unwrap();
        assert_eq!(store.cache_get(&key).unwrap().unwrap(), b"two");
        assert_eq!(store.cached_layers().unwrap(), [layer]);
        std::fs::remove_file(directory.path().join("layers").join(layer.hex())).unwrap();
        assert_eq!(store.cache_get(&key).unwrap(), None);
        std::fs::write(directory.path().join(cache_path(&key)), b"\xff").unwrap();
        assert_eq!(store.cache_get(&key).unwrap(), None);
    }
}
