//! `disk.raw` in a sparse tar archive, compressed with gzip, as Google Compute Engine imports it.
//!
//! The map of a sparse member comes first, so it lists what the plan knows: chunks. Zeros within them cost next to nothing.
//!
//! ```text
//! gzip header │ deflate of: tar header and map │ deflate of: chunk ... │ deflate of: end of the archive │ CRC-32, length
//! ```
//!
//! It is one member of gzip: threads compress one part each, and all but the last part end with an empty stored block,
//! which brings them to a whole byte.

use std::ops::Range;

use flate2::{Compress, Compression, FlushCompress, Status};
use osmith_formats::tar::{end_bytes, gnu_sparse_header};

use super::{Filled, Output, Target, WriteChunk};
use crate::chunk::{CHUNK_BYTES, Chunk};
use crate::error::WriteError;
use crate::turn::InTurn;

/// What the import looks for.
const NAME: &str = "disk.raw";
/// Level 1 gave a file a fifth larger, level 6 took nearly twice as long for one 7 % smaller.
const LEVEL: u32 = 2;
/// Deflate, no name, no time, made on Unix.
const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];

/// The archive.
pub(crate) struct Gce<'a> {
    target: Target<'a>,
    end: InTurn<End>,
}

/// What is written next, and what the trailer says.
struct End {
    offset_bytes: u64,
    archive_bytes: u64,
    crc: crc32fast::Hasher,
}

impl<'a> Gce<'a> {
    /// The archive of a disk of that size, whole GiB, which will consist of these chunks.
    pub(crate) fn create(
        target: Target<'a>,
        disk_bytes: u64,
        chunks: impl Iterator<Item = Chunk>,
        time_seconds: i64,
    ) -> Result<Self, WriteError> {
        let header = gnu_sparse_header(NAME, disk_bytes, &extents(chunks), time_seconds)?;
        let mut first = GZIP_HEADER.to_vec();
        deflate(&mut compressor(), &header, FlushCompress::Sync, &mut first)?;
        target.write_at(&first, 0)?;
        let mut crc = crc32fast::Hasher::new();
        crc.update(&header);
        Ok(Gce {
            target,
            end: InTurn::new(End {
                offset_bytes: first.len() as u64,
                archive_bytes: header.len() as u64,
                crc,
            }),
        })
    }
}

/// Chunks that follow each other are one piece of the file.
fn extents(chunks: impl Iterator<Item = Chunk>) -> Vec<Range<u64>> {
    let mut extents: Vec<Range<u64>> = Vec::new();
    for chunk in chunks {
        let end = chunk.offset_bytes + CHUNK_BYTES as u64;
        match extents.last_mut() {
            Some(last) if last.end == chunk.offset_bytes => last.end = end,
            _ => extents.push(chunk.offset_bytes..end),
        }
    }
    extents
}

/// Without the header and the trailer of zlib.
fn compressor() -> Compress {
    Compress::new(Compression::new(LEVEL), false)
}

/// Appends a part of the stream.
fn deflate(
    compressor: &mut Compress,
    bytes: &[u8],
    flush: FlushCompress,
    packed: &mut Vec<u8>,
) -> Result<(), WriteError> {
    compressor.reset();
    loop {
        // What does not shrink grows by five bytes in 16 KiB; then there is the flush.
        packed.reserve(bytes.len() / 1024 + bytes.len() / 2 + 64);
        let rest = bytes.get(compressor.total_in() as usize..).unwrap_or_default();
        let status = compressor.compress_vec(rest, packed, flush);
        let status = status.map_err(|error| WriteError::Compress(error.into()))?;
        let is_complete = match flush {
            FlushCompress::Finish => status == Status::StreamEnd,
            _ => compressor.total_in() == bytes.len() as u64 && packed.len() < packed.capacity(),
        };
        if is_complete {
            return Ok(());
        }
    }
}

impl Output for Gce<'_> {
    fn writer(&self) -> Result<Box<dyn WriteChunk + '_>, WriteError> {
        Ok(Box::new(GceWriter {
            archive: self,
            compressor: compressor(),
            packed: Vec::with_capacity(CHUNK_BYTES),
            crc: crc32fast::Hasher::new(),
        }))
    }

    fn stop(&self) {
        self.end.stop();
    }

    fn finish(self: Box<Self>) -> Result<(), WriteError> {
        let target = self.target;
        let mut end = self.end.into_inner();
        let zeros = vec![0; end_bytes(end.archive_bytes) as usize];
        end.crc.update(&zeros);
        end.archive_bytes += zeros.len() as u64;
        let mut last = Vec::new();
        deflate(&mut compressor(), &zeros, FlushCompress::Finish, &mut last)?;
        last.extend(end.crc.finalize().to_le_bytes());
        // Modulo 4 GiB.
        last.extend((end.archive_bytes as u32).to_le_bytes());
        target.write_at(&last, end.offset_bytes)
    }
}

struct GceWriter<'a> {
    archive: &'a Gce<'a>,
    compressor: Compress,
    packed: Vec<u8>,
    /// Of the chunk alone.
    crc: crc32fast::Hasher,
}

impl WriteChunk for GceWriter<'_> {
    fn encode(&mut self, filled: &Filled<'_>) -> Result<(), WriteError> {
        self.packed.clear();
        deflate(
            &mut self.compressor,
            filled.bytes,
            FlushCompress::Sync,
            &mut self.packed,
        )?;
        self.crc.reset();
        self.crc.update(filled.bytes);
        Ok(())
    }

    fn write(&mut self, filled: &Filled<'_>) -> Result<(), WriteError> {
        let (packed, crc) = (&self.packed, &self.crc);
        let offset_bytes = self.archive.end.with(filled.chunk.sequence, |end| {
            let offset_bytes = end.offset_bytes;
            end.offset_bytes += packed.len() as u64;
            end.archive_bytes += CHUNK_BYTES as u64;
            end.crc.combine(crc);
            offset_bytes
        });
        self.archive
            .target
            .write_at(packed, offset_bytes.ok_or(WriteError::Stopped)?)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn parts_are_one_stream_whatever_their_length() {
        let noise: Vec<u8> = (0..300_000_u64)
            .map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as u8)
            .collect();
        let mut compressor = compressor();
        let (mut packed, mut expected) = (Vec::new(), Vec::new());
        for length in [0, 1, 5, 4095, 65_536, 299_999] {
            for bytes in [&noise[..length], &vec![7; length]] {
                deflate(&mut compressor, bytes, FlushCompress::Sync, &mut packed).unwrap();
                expected.extend_from_slice(bytes);
            }
        }
        deflate(&mut compressor, b"end", FlushCompress::Finish, &mut packed).unwrap();
        expected.extend_from_slice(b"end");
        let mut inflated = Vec::new();
        flate2::read::DeflateDecoder::new(packed.as_slice())
            .read_to_end(&mut inflated)
            .unwrap();
        assert!(inflated == expected);
    }
}
