//! The file that an output goes into.

use std::fs::File;
use std::path::Path;

use osmith_sys::file::{start_writeback, write_all_at};

use crate::error::WriteError;

/// Outputs are written from the front to the back, but for a few chunks that threads hold at a time. So what lies so far
/// behind is complete, and the device can begin with it: a flush of all at the end would be time in which no thread works.
const WRITEBACK_BYTES: u64 = 4 << 20;

/// A file, and the name it has in errors.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target<'a> {
    pub(crate) file: &'a File,
    pub(crate) path: &'a Path,
}

impl Target<'_> {
    pub(crate) fn write_at(&self, bytes: &[u8], offset: u64) -> Result<(), WriteError> {
        let written = write_all_at(self.file, bytes, offset);
        written.map_err(|error| WriteError::output("write", self.path, error))?;
        let windows = |end: u64| (end / WRITEBACK_BYTES).saturating_sub(1);
        let (before, after) = (windows(offset), windows(offset + bytes.len() as u64));
        if before < after {
            let (start, end) = (before * WRITEBACK_BYTES, after * WRITEBACK_BYTES);
            start_writeback(self.file, start, end - start);
        }
        Ok(())
    }

    pub(crate) fn set_len(&self, len_bytes: u64) -> Result<(), WriteError> {
        let set = self.file.set_len(len_bytes);
        set.map_err(|error| WriteError::output("set the length of", self.path, error))
    }
}
