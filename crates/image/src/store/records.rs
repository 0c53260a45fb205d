//! What a store knows of an image besides contents, as files for another store.

use std::fs::File;

use super::images::{blob_path, image_marker, image_path, name_path};
use super::layers::{diff_path, diff_record, layer_path};
use super::{Image, Store, StoreError, files};
use crate::reference::Reference;

/// A file of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The path below the store's directory.
    pub path: String,
    /// The contents.
    pub contents: RecordContents,
}

/// The contents of a [`Record`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecordContents {
    /// A few bytes.
    Bytes(Vec<u8>),
    /// Those of the file at the same path of this store, see [`Store::open_record`].
    Stored {
        /// Their length.
        size_bytes: u64,
    },
}

impl Store {
    /// The files that make a store know one image, with its layers: [`Store::open_in_repository`] adds the rest where
    /// they are, but for the contents.
    pub fn records(&self, image: &Image, name: Option<&Reference>) -> Result<Vec<Record>, StoreError> {
        let record = |path: String, bytes: Vec<u8>| Record {
            path,
            contents: RecordContents::Bytes(bytes),
        };
        let mut records = Vec::new();
        for (diff_id, layer) in image.config.rootfs.diff_ids.iter().zip(image.layers(self)?) {
            let path = layer_path(&layer);
            let size_bytes =
                files::size_bytes(self.root(), &path).map_err(|error| self.io("look at", &path, error))?;
            let size_bytes = size_bytes.ok_or(StoreError::MissingLayer(layer))?;
            records.push(Record {
                path,
                contents: RecordContents::Stored { size_bytes },
            });
            records.push(record(diff_path(diff_id), diff_record(&layer)));
        }
        for digest in [image.manifest_digest, image.id()] {
            records.push(record(blob_path(&digest), self.blob_bytes(&digest)?));
        }
        let path = image_path(&image.manifest_digest);
        records.push(record(path, image_marker(&image.id()).into_bytes()));
        if let Some(name) = name {
            let bytes = format!("{}\n", image.manifest_digest).into_bytes();
            records.push(record(name_path(name), bytes));
        }
        records.sort_by(|a, b| a.path.cmp(&b.path));
        records.dedup_by(|a, b| a.path == b.path);
        Ok(records)
    }

    /// Opens a file of the store whose contents a [`Record`] only names.
    pub fn open_record(&self, path: &str) -> Result<File, StoreError> {
        files::open(self.root(), path).map_err(|error| self.io("open", path, error))
    }
}
