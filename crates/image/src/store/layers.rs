//! Layer records, and which record a diff ID is.

use std::io;

use osmith_report::Observer;
use serde::{Deserialize, Serialize};

use super::{Store, StoreError, files};
use crate::digest::{Digesting, Sha256Digest};
use crate::layer::{Layer, LayerId};
use crate::tar;

/// The tar stream of a layer: its diff ID and length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TarStream {
    /// The SHA-256 of the stream.
    pub diff_id: Sha256Digest,
    /// The length of the stream.
    pub size_bytes: u64,
}

/// Which record a diff ID is.
#[derive(Debug, Serialize, Deserialize)]
struct DiffRecord {
    layer: Sha256Digest,
}

impl Store {
    /// Stores a layer whose contents are in the store.
    pub fn put_layer(&self, layer: &Layer) -> Result<LayerId, StoreError> {
        let failed = |_| StoreError::Damaged {
            what: "layer",
            name: "in memory".to_owned(),
        };
        let (id, bytes) = layer.to_bytes().map_err(failed)?;
        let path = layer_path(&id);
        let found =
            files::size_bytes(self.root(), &path).map_err(|error| self.io("look for", &path, error))?;
        // One that a crash cut short is written again.
        if found != Some(bytes.len() as u64) {
            self.write(&path, &bytes)?;
        }
        Ok(id)
    }

    /// Reads a layer.
    pub fn layer(&self, id: &LayerId) -> Result<Layer, StoreError> {
        let bytes = self.read(&layer_path(id))?.ok_or(StoreError::MissingLayer(*id))?;
        Layer::from_bytes(*id, &bytes).map_err(|_| StoreError::Damaged {
            what: "layer",
            name: id.hex(),
        })
    }

    /// Whether the store has the layer.
    pub fn contains_layer(&self, id: &LayerId) -> Result<bool, StoreError> {
        self.contains(&layer_path(id))
    }

    /// The layer whose tar stream, as it came or as osmith writes it, has this digest; `None` if it is not here.
    pub fn layer_of_diff(&self, diff_id: &Sha256Digest) -> Result<Option<LayerId>, StoreError> {
        let Some(bytes) = self.read(&diff_path(diff_id))? else {
            return Ok(None);
        };
        let record: DiffRecord = self.parse("diff record", diff_id, &bytes)?;
        let id = LayerId(record.layer);
        Ok(Some(id).filter(|_| matches!(self.contains_layer(&id), Ok(true))))
    }

    /// Notes that the tar stream with this digest is that layer.
    pub(crate) fn put_diff(&self, diff_id: &Sha256Digest, layer: &LayerId) -> Result<(), StoreError> {
        self.write(&diff_path(diff_id), &diff_record(layer))
    }

    /// The tar stream that osmith writes for a layer. Computed once a layer: all contents are read and hashed.
    pub fn tar_stream(&self, id: &LayerId, observer: &dyn Observer) -> Result<TarStream, StoreError> {
        let path = format!("tars/{}", id.hex());
        // One that a crash cut short is made again.
        let known = self.read(&path)?;
        if let Some(known) = known.and_then(|bytes| serde_json::from_slice(&bytes).ok()) {
            return Ok(known);
        }
        let mut sink = Digesting::new(io::sink());
        self.write_tar(id, &mut sink, observer)?;
        let (_, diff_id, size_bytes) = sink.finish();
        let stream = TarStream { diff_id, size_bytes };
        if self.require_writable().is_ok() {
            // In this order: who finds the first does not write the second.
            self.put_diff(&diff_id, id)?;
            self.write(&path, &crate::manifest::to_json(&stream))?;
        }
        Ok(stream)
    }

    /// Writes a layer as a tar archive, the same one every time.
    pub fn write_tar(
        &self,
        id: &LayerId,
        writer: impl io::Write,
        observer: &dyn Observer,
    ) -> Result<(), StoreError> {
        tar::write_layer(&self.layer(id)?, self, writer, observer).map_err(|source| match source {
            tar::TarError::Store(error) => *error,
            tar::TarError::Interrupted(interrupted) => interrupted.into(),
            source => StoreError::Tar { layer: *id, source },
        })
    }

    fn parse<'a, T: Deserialize<'a>>(
        &self,
        what: &'static str,
        name: &Sha256Digest,
        bytes: &'a [u8],
    ) -> Result<T, StoreError> {
        serde_json::from_slice(bytes).map_err(|_| StoreError::Damaged {
            what,
            name: name.hex(),
        })
    }
}

pub(super) fn layer_path(id: &LayerId) -> String {
    format!("layers/{}", id.hex())
}

/// The file that says which record a diff ID is.
pub(super) fn diff_record(layer: &LayerId) -> Vec<u8> {
    crate::manifest::to_json(&DiffRecord { layer: layer.0 })
}

pub(super) fn diff_path(diff_id: &Sha256Digest) -> String {
    format!("diffs/{}", diff_id.hex())
}
