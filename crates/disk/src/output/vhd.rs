//! A dynamic VHD: blocks get their places in the order of the disk, threads write what is in them.
//!
//! Zeros in a block that has a place are holes of the file.

use std::ops::Range;

use osmith_formats::vhd::{BLOCK_BYTES, Description, Dynamic};

use super::raw::data_runs;
use super::{Filled, Output, Target, WriteChunk};
use crate::error::WriteError;
use crate::turn::InTurn;

/// A dynamic VHD.
pub(crate) struct DynamicVhd<'a> {
    target: Target<'a>,
    layout: InTurn<Dynamic>,
}

impl<'a> DynamicVhd<'a> {
    /// A VHD of a disk of that size in an empty file.
    pub(crate) fn create(
        target: Target<'a>,
        disk_bytes: u64,
        description: Description,
    ) -> Result<Self, WriteError> {
        Ok(DynamicVhd {
            target,
            layout: InTurn::new(Dynamic::new(disk_bytes, description)?),
        })
    }
}

impl Output for DynamicVhd<'_> {
    fn writer(&self) -> Result<Box<dyn WriteChunk + '_>, WriteError> {
        Ok(Box::new(DynamicVhdWriter {
            disk: self,
            runs: Vec::new(),
        }))
    }

    fn stop(&self) {
        self.layout.stop();
    }

    fn finish(self: Box<Self>) -> Result<(), WriteError> {
        let tables = self.layout.into_inner().finish();
        self.target.write_at(&tables.footer, tables.footer_offset_bytes)?;
        self.target.write_at(&tables.head, 0)
    }
}

struct DynamicVhdWriter<'a> {
    disk: &'a DynamicVhd<'a>,
    /// Where there are other bytes than zeros in a chunk.
    runs: Vec<Range<usize>>,
}

impl WriteChunk for DynamicVhdWriter<'_> {
    fn encode(&mut self, filled: &Filled<'_>) -> Result<(), WriteError> {
        self.runs = data_runs(filled.bytes);
        Ok(())
    }

    fn write(&mut self, filled: &Filled<'_>) -> Result<(), WriteError> {
        let place = filled.chunk.offset_bytes;
        let is_zero = self.runs.is_empty();
        let found = self
            .disk
            .layout
            .with(filled.chunk.sequence, |layout| match is_zero {
                true => Ok(None),
                false => layout.block(place / BLOCK_BYTES).map(Some),
            });
        let Some((contents_offset, bitmap)) = found.ok_or(WriteError::Stopped)?? else {
            return Ok(());
        };
        let target = self.disk.target;
        if let Some(bitmap) = bitmap {
            target.write_at(&bitmap, contents_offset - bitmap.len() as u64)?;
        }
        let start = contents_offset + place % BLOCK_BYTES;
        self.runs.iter().try_for_each(|run| {
            let bytes = filled.bytes.get(run.clone()).unwrap_or_default();
            target.write_at(bytes, start + run.start as u64)
        })
    }
}
