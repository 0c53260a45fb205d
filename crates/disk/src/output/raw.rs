//! The bytes of the disk in a sparse file.
//!
//! They go past the page cache where the file system can do that: nobody reads them soon, copying them into the cache
//! costs half as much processor time as hashing them, and the flush at the end has little left to do.
//!
//! On a device that is all zeros the same, but for the chunks with the two copies of the partition table: firmware takes
//! either. They are kept back until the caller writes them: see [`Withheld`].

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::{Mutex, PoisonError};

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

use osmith_formats::gpt::{BACKUP_SECTORS, SECTOR_BYTES};
use osmith_sys::file::{bypass_page_cache, write_all_at};

use super::{Filled, Output, Target, WriteChunk, is_zero};
use crate::chunk::CHUNK_BYTES;
use crate::error::WriteError;

/// Zeros are looked for in blocks of this length.
pub(super) const BLOCK_BYTES: usize = 4096;
/// Fewer zeros than these are written: a hole costs an extent and another system call.
const MIN_HOLE_BLOCKS: usize = 4;
/// The most zeros that are written.
pub(super) const MAX_ZEROS: u64 = ((MIN_HOLE_BLOCKS - 1) * BLOCK_BYTES) as u64;

/// Chunks with a copy of the partition table, by their offsets.
#[derive(Debug, Default)]
pub(crate) struct Withheld {
    chunks: Mutex<BTreeMap<u64, Vec<u8>>>,
}

impl Withheld {
    /// Writes the copies, the one at the end first, each when all before it is on the medium.
    pub(crate) fn write(self, target: Target<'_>, disk_bytes: u64) -> Result<(), WriteError> {
        let raw = Raw {
            target,
            disk_bytes,
            withheld: None,
            footer: Vec::new(),
        };
        bypass_page_cache(target.file, false);
        let chunks = self.chunks.into_inner().unwrap_or_else(PoisonError::into_inner);
        raw.sync()?;
        for (offset_bytes, bytes) in chunks.iter().rev() {
            raw.write_chunk(*offset_bytes, bytes)?;
            raw.sync()?;
        }
        Ok(())
    }
}

/// A raw disk.
#[derive(Debug)]
pub(crate) struct Raw<'a> {
    target: Target<'a>,
    disk_bytes: u64,
    /// Where what is written last is kept.
    withheld: Option<&'a Withheld>,
    /// What follows the disk in the file.
    footer: Vec<u8>,
}

impl<'a> Raw<'a> {
    /// A disk of that size in an empty file.
    pub(crate) fn create(target: Target<'a>, disk_bytes: u64) -> Result<Self, WriteError> {
        target.set_len(disk_bytes)?;
        bypass_page_cache(target.file, true);
        Ok(Raw {
            target,
            disk_bytes,
            withheld: None,
            footer: Vec::new(),
        })
    }

    /// Reserves room for what will be written to these ranges. Past the page cache, file systems let only one thread at a time
    /// write where no room is; and room that is found at once lies together.
    pub(crate) fn reserve(self, ranges: &[Range<u64>]) -> Result<Self, WriteError> {
        for range in ranges {
            let length = range.end.saturating_sub(range.start);
            match fallocate(self.target.file, FallocateFlags::KEEP_SIZE, range.start, length) {
                Ok(()) => {}
                Err(errno @ (Errno::NOSPC | Errno::DQUOT | Errno::IO)) => {
                    return Err(WriteError::output(
                        "reserve room in",
                        self.target.path,
                        errno.into(),
                    ));
                }
                // Not every file system can.
                Err(_) => break,
            }
        }
        Ok(self)
    }

    /// The same, with a footer: a fixed VHD.
    pub(crate) fn with_footer(self, footer: Vec<u8>) -> Self {
        Raw { footer, ..self }
    }

    /// A disk of that size over zeros, without partition table: that is left in `withheld`.
    pub(crate) fn over(target: Target<'a>, disk_bytes: u64, withheld: &'a Withheld) -> Self {
        bypass_page_cache(target.file, true);
        Raw {
            target,
            disk_bytes,
            withheld: Some(withheld),
            footer: Vec::new(),
        }
    }

    fn write_chunk(&self, offset_bytes: u64, bytes: &[u8]) -> Result<(), WriteError> {
        // The last chunk may end behind the disk.
        let room = usize::try_from(self.disk_bytes.saturating_sub(offset_bytes)).unwrap_or(usize::MAX);
        let bytes = bytes.get(..room).unwrap_or(bytes);
        for run in data_runs(bytes) {
            let offset = offset_bytes + run.start as u64;
            let data = bytes.get(run).unwrap_or_default();
            let written = self.write_at(data, offset);
            written.map_err(|error| WriteError::output("write", self.target.path, error))?;
        }
        Ok(())
    }

    /// Whether a chunk has a copy of the partition table, or a part of one.
    fn has_table(&self, offset_bytes: u64) -> bool {
        let backup = self.disk_bytes.saturating_sub(BACKUP_SECTORS * SECTOR_BYTES);
        offset_bytes == 0 || offset_bytes + CHUNK_BYTES as u64 > backup
    }

    fn sync(&self) -> Result<(), WriteError> {
        let synced = self.target.file.sync_all();
        synced.map_err(|error| WriteError::output("flush", self.target.path, error))
    }

    /// Whole blocks at a place that is a multiple of a block.
    fn write_at(&self, blocks: &[u8], offset: u64) -> io::Result<()> {
        match self.target.file.write_all_at(blocks, offset) {
            // The file system has larger blocks, or was too polite to refuse earlier.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                bypass_page_cache(self.target.file, false);
                write_all_at(self.target.file, blocks, offset)
            }
            answer => answer,
        }
    }
}

impl Output for Raw<'_> {
    fn writer(&self) -> Result<Box<dyn WriteChunk + '_>, WriteError> {
        Ok(Box::new(RawWriter { raw: self }))
    }

    fn stop(&self) {}

    fn finish(self: Box<Self>) -> Result<(), WriteError> {
        if !self.footer.is_empty() {
            bypass_page_cache(self.target.file, false);
            self.target.write_at(&self.footer, self.disk_bytes)?;
        }
        match self.withheld {
            Some(_) => self.sync(),
            None => Ok(()),
        }
    }
}

struct RawWriter<'a> {
    raw: &'a Raw<'a>,
}

impl WriteChunk for RawWriter<'_> {
    fn write(&mut self, filled: &Filled<'_>) -> Result<(), WriteError> {
        let (chunk, bytes) = (filled.chunk, filled.bytes);
        if let Some(withheld) = self.raw.withheld
            && self.raw.has_table(chunk.offset_bytes)
        {
            let mut chunks = withheld.chunks.lock().unwrap_or_else(PoisonError::into_inner);
            chunks.insert(chunk.offset_bytes, bytes.to_vec());
            return Ok(());
        }
        self.raw.write_chunk(chunk.offset_bytes, bytes)
    }
}

/// What must be written of the bytes: all but longer stretches of zeros.
pub(super) fn data_runs(bytes: &[u8]) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    for (index, block) in bytes.chunks(BLOCK_BYTES).enumerate() {
        if is_zero(block) {
            continue;
        }
        let start = index * BLOCK_BYTES;
        let end = start + block.len();
        match runs.last_mut() {
            Some(run) if start - run.end < MIN_HOLE_BLOCKS * BLOCK_BYTES => run.end = end,
            _ => runs.push(start..end),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn room_is_reserved_and_reads_as_zeros() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("disk.raw");
        let file = std::fs::File::create_new(&path).unwrap();
        let target = Target {
            file: &file,
            path: &path,
        };
        let room = 64 << 10..192 << 10;
        let raw = Raw::create(target, 1 << 20).unwrap();
        let raw = raw.reserve(std::slice::from_ref(&room)).unwrap();
        raw.write_chunk(0, &vec![0; 1 << 20]).unwrap();
        Box::new(raw).finish().unwrap();
        assert!(std::fs::read(&path).unwrap() == vec![0; 1 << 20]);
        let allocated = file.metadata().unwrap().blocks() * 512;
        // Nothing, where the file system cannot reserve.
        assert!(
            allocated == 0 || (128 << 10..256 << 10).contains(&allocated),
            "{allocated}"
        );
    }

    #[test]
    fn longer_stretches_of_zeros_are_left_out() {
        let mut bytes = vec![0; 20 * BLOCK_BYTES];
        assert!(data_runs(&bytes).is_empty());
        for block in [1, 4, 10] {
            bytes[block * BLOCK_BYTES + 7] = 1;
        }
        let expected = [BLOCK_BYTES..5 * BLOCK_BYTES, 10 * BLOCK_BYTES..11 * BLOCK_BYTES];
        assert_eq!(data_runs(&bytes), expected);
    }
}
