//! A qcow2 image: threads compress, places are given in the order of the disk, threads write.
//!
//! So the image does not depend on the number of threads or on which of them is faster.

use std::io;
use std::ops::Range;

use osmith_formats::qcow2::{Allocator, CLUSTER_BYTES, Compression, Qcow2Error};
use zstd::bulk::Compressor as Zstd;

use super::{Filled, Output, Target, WriteChunk};
use crate::chunk::CHUNK_BYTES;
use crate::error::WriteError;
use crate::spec::Codec;
use crate::turn::InTurn;

const CLUSTER: usize = CLUSTER_BYTES as usize;
/// Compression is most of the work: with level 3 a whole disk took 1.2 times the processor time.
const ZSTD_LEVEL: i32 = 2;

/// A qcow2 image.
pub(crate) struct Qcow2<'a> {
    target: Target<'a>,
    codec: Codec,
    allocator: InTurn<Allocator>,
}

impl<'a> Qcow2<'a> {
    /// An image of a disk of that size in an empty file.
    pub(crate) fn create(target: Target<'a>, disk_bytes: u64, codec: Codec) -> Result<Self, WriteError> {
        let compression = match codec {
            Codec::Zstd => Compression::Zstd,
            Codec::Zlib | Codec::None | Codec::Xz => Compression::Zlib,
        };
        let allocator = InTurn::new(Allocator::new(disk_bytes, compression)?);
        Ok(Qcow2 {
            target,
            codec,
            allocator,
        })
    }
}

impl Output for Qcow2<'_> {
    fn writer(&self) -> Result<Box<dyn WriteChunk + '_>, WriteError> {
        Ok(Box::new(Qcow2Writer {
            image: self,
            encoder: Encoder::new(self.codec)?,
            packed: Vec::with_capacity(CHUNK_BYTES),
            clusters: Vec::new(),
        }))
    }

    fn stop(&self) {
        self.allocator.stop();
    }

    fn finish(self: Box<Self>) -> Result<(), WriteError> {
        let target = self.target;
        let tables = self.allocator.into_inner().finish();
        target.write_at(&tables.bytes, tables.offset_bytes)?;
        target.write_at(&tables.header, 0)
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
    fn encode(&mut self, filled: &Filled<'_>) -> Result<(), WriteError> {
        self.packed.clear();
        self.clusters.clear();
        let first = filled.chunk.offset_bytes / CLUSTER_BYTES;
        let clusters = filled.bytes.chunks_exact(CLUSTER).zip(first..).enumerate();
        for (index, (cluster, guest)) in clusters {
            if filled.is_zero_grain(index) {
                continue;
            }
            let start = self.packed.len();
            let is_compressed = match &mut self.encoder {
                Encoder::None => false,
                Encoder::Zlib => append_shorter(filled.deflated_grain(index)?, &mut self.packed),
                Encoder::Zstd(zstd) => append_zstd(zstd, cluster, &mut self.packed)?,
            };
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

    fn write(&mut self, filled: &Filled<'_>) -> Result<(), WriteError> {
        let clusters = &self.clusters;
        let places = self
            .image
            .allocator
            .with(filled.chunk.sequence, |allocator| place(allocator, clusters));
        let places = places.ok_or(WriteError::Stopped)??;
        self.write_packed(&places)
    }
}

impl Qcow2Writer<'_> {
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
                .target
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

/// What compresses the clusters of one thread.
enum Encoder {
    None,
    /// The chunk itself does, once for all outputs.
    Zlib,
    Zstd(Box<Zstd<'static>>),
}

impl Encoder {
    fn new(codec: Codec) -> Result<Self, WriteError> {
        Ok(match codec {
            Codec::None => Encoder::None,
            Codec::Zlib | Codec::Xz => Encoder::Zlib,
            Codec::Zstd => Encoder::Zstd(Box::new(Zstd::new(ZSTD_LEVEL).map_err(WriteError::Compress)?)),
        })
    }
}

/// Appends a compressed cluster; `false` if it did not become smaller.
fn append_shorter(compressed: &[u8], packed: &mut Vec<u8>) -> bool {
    let is_shorter = compressed.len() < CLUSTER;
    if is_shorter {
        packed.extend_from_slice(compressed);
    }
    is_shorter
}

/// Compresses and appends a cluster; `false`, and anything appended, if it would not become smaller.
fn append_zstd(zstd: &mut Zstd<'_>, cluster: &[u8], packed: &mut Vec<u8>) -> Result<bool, WriteError> {
    let start = packed.len();
    // A compressor that gets no more room than this gives up by itself.
    packed.resize(start + CLUSTER - 1, 0);
    let room = packed.get_mut(start..).unwrap_or_default();
    match zstd.compress_to_buffer(cluster, room) {
        Ok(length) => {
            packed.truncate(start + length);
            Ok(true)
        }
        Err(error) if is_out_of_room(&error) => Ok(false),
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
        let mut zstd = Zstd::new(ZSTD_LEVEL).unwrap();
        let mut packed = vec![1, 2, 3];
        assert!(!append_zstd(&mut zstd, &noise, &mut packed).unwrap());
        packed.truncate(3);
        assert!(append_zstd(&mut zstd, &[7; CLUSTER], &mut packed).unwrap());
        assert_eq!(packed[..3], [1, 2, 3]);
        assert!(packed.len() < 1000);
        assert!(!append_shorter(&noise, &mut packed));
        assert!(append_shorter(&noise[1..], &mut packed));
    }
}
