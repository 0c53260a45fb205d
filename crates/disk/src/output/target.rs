//! The file that an output goes into.

use std::fs::File;
use std::path::Path;

use osmith_sys::file::write_all_at;

use crate::error::WriteError;

/// A file, and the name it has in errors.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target<'a> {
    pub(crate) file: &'a File,
    pub(crate) path: &'a Path,
}

impl Target<'_> {
    pub(crate) fn write_at(&self, bytes: &[u8], offset: u64) -> Result<(), WriteError> {
        let written = write_all_at(self.file, bytes, offset);
        written.map_err(|error| WriteError::output("write", self.path, error))
    }

    pub(crate) fn set_len(&self, len_bytes: u64) -> Result<(), WriteError> {
        let set = self.file.set_len(len_bytes);
        set.map_err(|error| WriteError::output("set the length of", self.path, error))
    }
}
