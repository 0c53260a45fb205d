//! A qcow2 image: threads compress, places are given in the order of the disk, threads write.
//!
//! So the image does not depend on the number of threads or on which of them is faster.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

use libdeflater::{CompressionLvl, Compressor as Deflate};
use osmith_formats::qcow2::{Allocator, CLUSTER_BYTES, Compression as Codec, Qcow2Error};
use osmith_sys::file::write_all_at;
use zstd::bulk::Compressor as Zstd;

use super::{Output, WriteChunk, is_zero};
use crate::chunk::{CHUNK_BYTES, Chunk};
use crate::error::WriteError;
use crate::spec::Compression;
use crate::turn::InTurn;

const CLUSTER: usize = CLUSTER_BYTES as usize;
/// Compression is most of the work: with level 4 of zlib or 3 of zstd a whole disk took 1.6 or 1.2 times the processor
/// time.
const ZLIB_LEVEL: i32 = 1;
const ZSTD_LEVEL: i32 = 2;

/// A qcow2 image.
pub(crate) struct Qcow2<'a> {
    file: &'a File,
    path: &'a Path,
    compression: Compression,
    allocator: InTurn<Allocator>,
}

impl<'a> Qcow2<'a> {
    /// An image of a disk of that size in an empty file.
    pub(crate) fn create(
        file: &'a File,
        path: &'a Path,
        disk_bytes: u64,
        compression: Compression,
    ) -> Result<Self, WriteError> {
        let codec = match compression {
            Compression::Zstd => Codec::Zstd,
            Compression::Zlib | Compression::None => Codec::Zlib,
        };
        let allocator = InTurn::new(Allocator::new(disk_bytes, codec)?);
        Ok(Qcow2 {
            file,
            path,
            compression,
            allocator,
        })
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> Result<(), WriteError> {
        let written = write_all_at(self.file, bytes, offset);
        written.map_err(|error| WriteError::output("write", self.path, error))
    }
}

impl Output for Qcow2<'_> {
    fn writer(&self) -> Result<Box<dyn WriteChunk + '_>, WriteError> {
        Ok(Box::new(Qcow2Writer {
            image: self,
            encoder: Encoder::new(self.compression)?,
            packed: Vec::with_capacity(CHUNK_BYTES),
            clusters: Vec::new(),
        }))
    }

    fn stop(&self) {
        self.allocator.stop();
    }

    fn finish(self: Box<Self>) -> Result<(), WriteError> {
        let (file, path) = (self.file, self.path);
        let tables = self.allocator.into_inner().finish();
        file.write_all_at(&tables.bytes, tables.offset_bytes)
            .and_then(|()| file.write_all_at(&tables.header, 0))
            .map_err(|error| WriteError::output("write", path, error))
    }
}

struct Qcow2Writer<'a> {
    image: &'a Qcow2<'a>,
    encoder: Encoder,
    /// What goes into the file of this chunk, one cluster behind the other.
    packed: Vec<u8>,
    clusters: Vec<Cluster>,
}

/// A cluster that is not all zeros.
struct Cluster {
    guest: u64,
    /// Where in `packed` it is.
    packed: Range<usize>,
    is_compressed: bool,
}

impl WriteChunk for Qcow2Writer<'_> {
    fn write(&mut self, chunk: &Chunk, bytes: &[u8]) -> Result<(), WriteError> {
        self.pack(chunk, bytes)?;
        let clusters = &self.clusters;
        let places = self
            .image
            .allocator
            .with(chunk.sequence, |allocator| place(allocator, clusters));
        let places = places.ok_or(WriteError::Stopped)??;
        self.write_packed(&places)
    }
}

impl Qcow2Writer<'_> {
    fn pack(&mut self, chunk: &Chunk, bytes: &[u8]) -> Result<(), WriteError> {
        self.packed.clear();
        self.clusters.clear();
        let first = chunk.offset_bytes / CLUSTER_BYTES;
        for (cluster, guest) in bytes.chunks_exact(CLUSTER).zip(first..) {
            if is_zero(cluster) {
                continue;
            }
            let start = self.packed.len();
            let is_compressed = self.encoder.append(cluster, &mut self.packed)?;
            if !is_compressed {
                self.packed.truncate(start);
                self.packed.extend_from_slice(cluster);
            }
            self.clusters.push(Cluster {
                guest,
                packed: start..self.packed.len(),
                is_compressed,
            });
        }
        Ok(())
    }

    /// Writes what lies together in memory and in the file in one go.
    fn write_packed(&self, places: &[u64]) -> Result<(), WriteError> {
        let mut run: Option<(u64, Range<usize>)> = None;
        for (cluster, place) in self.clusters.iter().zip(places) {
            match &mut run {
                Some((offset, range)) if *offset + range.len() as u64 == *place => {
                    range.end = cluster.packed.end
                }
                _ => {
                    self.write_run(run.replace((*place, cluster.packed.clone())))?;
                }
            }
        }
        self.write_run(run)
    }

    fn write_run(&self, run: Option<(u64, Range<usize>)>) -> Result<(), WriteError> {
        match run {
            Some((offset, range)) => self
                .image
                .write_at(self.packed.get(range).unwrap_or_default(), offset),
            None => Ok(()),
        }
    }
}

fn place(allocator: &mut Allocator, clusters: &[Cluster]) -> Result<Vec<u64>, Qcow2Error> {
    clusters
        .iter()
        .map(|cluster| match cluster.is_compressed {
            true => allocator.compressed(cluster.guest, cluster.packed.len()),
            false => allocator.plain(cluster.guest),
        })
        .collect()
}

/// A compressor of one thread.
enum Encoder {
    None,
    Zlib(Box<Deflate>),
    Zstd(Box<Zstd<'static>>),
}

impl Encoder {
    fn new(compression: Compression) -> Result<Self, WriteError> {
        Ok(match compression {
            Compression::None => Encoder::None,
            Compression::Zlib => {
                let level = CompressionLvl::new(ZLIB_LEVEL).unwrap_or_default();
                Encoder::Zlib(Box::new(Deflate::new(level)))
            }
            Compression::Zstd => {
                Encoder::Zstd(Box::new(Zstd::new(ZSTD_LEVEL).map_err(WriteError::Compress)?))
            }
        })
    }

    /// Appends the compressed cluster; `false`, and anything appended, if it would not become smaller.
    fn append(&mut self, cluster: &[u8], packed: &mut Vec<u8>) -> Result<bool, WriteError> {
        let start = packed.len();
        // A compressor that gets no more room than this gives up by itself.
        packed.resize(start + CLUSTER - 1, 0);
        let room = packed.get_mut(start..).unwrap_or_default();
        let length = match self {
            Encoder::None => None,
            Encoder::Zlib(deflate) => deflate.deflate_compress(cluster, room).ok(),
            Encoder::Zstd(zstd) => zstd_compress(zstd, cluster, room)?,
        };
        packed.truncate(start + length.unwrap_or_default());
        Ok(length.is_some())
    }
}

/// The length, or `None` if there is too little room.
fn zstd_compress(zstd: &mut Zstd<'_>, cluster: &[u8], room: &mut [u8]) -> Result<Option<usize>, WriteError> {
    match zstd.compress_to_buffer(cluster, room) {
        Ok(length) => Ok(Some(length)),
        Err(error) if is_out_of_room(&error) => Ok(None),
        Err(error) => Err(WriteError::Compress(error)),
    }
}

/// The binding passes the library's reason on as text only.
fn is_out_of_room(error: &io::Error) -> bool {
    error.to_string().contains("Destination buffer is too small")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_shrink_stays_plain() {
        let mut state = 1_u64;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        })
        .take(CLUSTER)
        .collect();
        for compression in [Compression::None, Compression::Zlib, Compression::Zstd] {
            let mut encoder = Encoder::new(compression).unwrap();
            let mut packed = vec![1, 2, 3];
            assert!(!encoder.append(&noise, &mut packed).unwrap(), "{compression:?}");
            let shrinks = encoder.append(&[7; CLUSTER], &mut packed).unwrap();
            assert_eq!(shrinks, compression != Compression::None);
            assert_eq!(packed[..3], [1, 2, 3]);
            assert!(packed.len() < 1000);
        }
    }
}
