//! In which repositories a blob was seen, so that a registry need not be sent what it has in another one.

use super::{Store, StoreError};
use crate::digest::Sha256Digest;

/// So many repositories are remembered, the latest first.
const REPOSITORIES_MAX: usize = 8;

impl Store {
    /// Notes that a blob is in a repository: `registry.example.org/shop/webserver`.
    pub(crate) fn note_origin(&self, blob: &Sha256Digest, repository: &str) -> Result<(), StoreError> {
        let mut repositories = self.origins(blob)?;
        if repositories.iter().any(|known| known == repository) {
            return Ok(());
        }
        repositories.insert(0, repository.to_owned());
        repositories.truncate(REPOSITORIES_MAX);
        self.write(&origin_path(blob), &crate::manifest::to_json(&repositories))
    }

    /// The repositories that a blob was seen in.
    pub(crate) fn origins(&self, blob: &Sha256Digest) -> Result<Vec<String>, StoreError> {
        let bytes = self.read(&origin_path(blob))?.unwrap_or_default();
        // What cannot be read is only a help that is missing.
        Ok(serde_json::from_slice(&bytes).unwrap_or_default())
    }
}

fn origin_path(blob: &Sha256Digest) -> String {
    format!("{}/{}", super::ORIGINS, blob.hex())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Access;

    #[test]
    fn the_latest_repositories_are_remembered() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path(), Access::ReadWrite).unwrap();
        let blob = Sha256Digest::of(b"x");
        assert!(store.origins(&blob).unwrap().is_empty());
        for number in 0..10 {
            for _ in 0..2 {
                store.note_origin(&blob, &format!("r.example/{number}")).unwrap();
            }
        }
        let origins = store.origins(&blob).unwrap();
        assert_eq!(
            (origins.len(), origins[0].as_str()),
            (REPOSITORIES_MAX, "r.example/9")
        );
    }
}
