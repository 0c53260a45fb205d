//! The whole disk as one xz stream, a block for each chunk.
//!
//! So it can be compressed and decompressed by several threads, and memory stays small on both sides.

use std::io::Write;

use lzma_rust2::{Lzma2Options, Lzma2Writer};
use osmith_formats::xz::{Block, Index, STREAM_HEADER, append_block};

use super::stream::{Part, Record, WholeDisk};
use super::{Filled, Output, Target, WriteChunk};
use crate::chunk::CHUNK_BYTES;
use crate::error::WriteError;

/// Preset 4 took two to three times as long, for a file 5 % smaller.
const PRESET: u32 = 2;
/// A block is no longer than this.
const DICTIONARY_BYTES: u32 = CHUNK_BYTES as u32;

/// A compressed raw disk.
pub(crate) struct Xz<'a> {
    stream: WholeDisk<'a, Index>,
    disk_bytes: u64,
}

impl Record for Index {
    type Part = Block;

    fn add(&mut self, block: Block, count: u64) {
        Index::add(self, block, count);
    }
}

impl<'a> Xz<'a> {
    /// The stream of a disk of that size, whole chunks, in an empty file.
    pub(crate) fn create(target: Target<'a>, disk_bytes: u64) -> Result<Self, WriteError> {
        let hole = compress(&vec![0; CHUNK_BYTES])?;
        Ok(Xz {
            stream: WholeDisk::create(target, &STREAM_HEADER, hole, Index::default())?,
            disk_bytes,
        })
    }
}

/// A block of its own.
fn compress(contents: &[u8]) -> Result<Part<Block>, WriteError> {
    let mut options = Lzma2Options::with_preset(PRESET);
    options.lzma_options.dict_size = DICTIONARY_BYTES;
    let mut writer = Lzma2Writer::new(Vec::with_capacity(CHUNK_BYTES / 2), options);
    writer.write_all(contents).map_err(WriteError::Compress)?;
    let lzma2 = writer.finish().map_err(WriteError::Compress)?;
    let mut bytes = Vec::with_capacity(lzma2.len() + 64);
    let note = append_block(&lzma2, contents, DICTIONARY_BYTES, &mut bytes);
    Ok(Part { bytes, note })
}

impl Output for Xz<'_> {
    fn writer(&self) -> Result<Box<dyn WriteChunk + '_>, WriteError> {
        Ok(Box::new(XzWriter {
            disk: self,
            part: None,
        }))
    }

    fn stop(&self) {
        self.stream.stop();
    }

    fn finish(self: Box<Self>) -> Result<(), WriteError> {
        self.stream.finish(self.disk_bytes, |index| index.to_bytes())
    }
}

struct XzWriter<'a> {
    disk: &'a Xz<'a>,
    part: Option<Part<Block>>,
}

impl WriteChunk for XzWriter<'_> {
    fn encode(&mut self, filled: &Filled<'_>) -> Result<(), WriteError> {
        self.part = Some(compress(filled.bytes)?);
        Ok(())
    }

    fn write(&mut self, filled: &Filled<'_>) -> Result<(), WriteError> {
        let part = self.part.take();
        let part = part.ok_or(WriteError::Inconsistent("a chunk was not compressed"))?;
        self.disk.stream.write(filled.chunk, &part)
    }
}
