//! The whole disk as zstd frames, one a chunk.
//!
//! zstd programs take frames that follow each other for one file. Each can be read on its own, so programs that decompress
//! with several threads find work.

use zstd::bulk::Compressor;

use super::stream::{Part, WholeDisk};
use super::{Filled, Output, Target, WriteChunk};
use crate::chunk::CHUNK_BYTES;
use crate::error::WriteError;

/// Level 6 took three times as long, for a file 5 % smaller.
const LEVEL: i32 = 3;

/// A compressed raw disk.
pub(crate) struct Zst<'a> {
    stream: WholeDisk<'a, ()>,
    disk_bytes: u64,
}

impl<'a> Zst<'a> {
    /// The frames of a disk of that size, whole chunks, in an empty file.
    pub(crate) fn create(target: Target<'a>, disk_bytes: u64) -> Result<Self, WriteError> {
        let hole = compressor()?
            .compress(&vec![0; CHUNK_BYTES])
            .map_err(WriteError::Compress)?;
        let hole = Part {
            bytes: hole,
            note: (),
        };
        Ok(Zst {
            stream: WholeDisk::create(target, &[], hole, ())?,
            disk_bytes,
        })
    }
}

fn compressor() -> Result<Compressor<'static>, WriteError> {
    let mut compressor = Compressor::new(LEVEL).map_err(WriteError::Compress)?;
    // Who stores or sends the file learns that it broke.
    compressor.include_checksum(true).map_err(WriteError::Compress)?;
    Ok(compressor)
}

impl Output for Zst<'_> {
    fn writer(&self) -> Result<Box<dyn WriteChunk + '_>, WriteError> {
        Ok(Box::new(ZstWriter {
            disk: self,
            compressor: compressor()?,
            part: Part {
                bytes: Vec::with_capacity(zstd::zstd_safe::compress_bound(CHUNK_BYTES)),
                note: (),
            },
        }))
    }

    fn stop(&self) {
        self.stream.stop();
    }

    fn finish(self: Box<Self>) -> Result<(), WriteError> {
        self.stream.finish(self.disk_bytes, |()| Vec::new())
    }
}

struct ZstWriter<'a> {
    disk: &'a Zst<'a>,
    compressor: Compressor<'static>,
    part: Part<()>,
}

impl WriteChunk for ZstWriter<'_> {
    fn encode(&mut self, filled: &Filled<'_>) -> Result<(), WriteError> {
        self.part.bytes.clear();
        let compressed = self
            .compressor
            .compress_to_buffer(filled.bytes, &mut self.part.bytes);
        compressed.map(drop).map_err(WriteError::Compress)
    }

    fn write(&mut self, filled: &Filled<'_>) -> Result<(), WriteError> {
        self.disk.stream.write(filled.chunk, &self.part)
    }
}
