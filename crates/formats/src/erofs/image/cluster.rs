//! Contents cut into clusters, and the compression of one.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;

use zstd::bulk;
use zstd::zstd_safe::CParameter;

use super::super::BLOCK_BYTES;
use super::{File, Options, Storage};
use crate::tree::{Node, Tree};

/// The most contents that a cluster may have. A frame is longer than contents that do not compress, and the last
/// cluster of a file may have a block more; neither makes it more than 1 MiB.
pub const CLUSTER_MAX_BYTES: u32 = (1 << 20) - (64 << 10);
/// The contents of a cluster by custom, the most: small files compress well only together.
pub const CLUSTER_DEFAULT_BYTES: u32 = CLUSTER_MAX_BYTES;
/// The compression level by custom.
pub const LEVEL_DEFAULT: i32 = 9;

/// A part of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// Its [`File::source`].
    pub source: u32,
    /// Where in the file.
    pub file_offset_bytes: u64,
    /// How much.
    pub len_bytes: u32,
}

/// What is compressed as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cluster {
    /// Whose bytes it has, one behind the other.
    pub segments: Vec<Segment>,
    /// How many they are together.
    pub len_bytes: u32,
}

impl Cluster {
    fn push(&mut self, segment: Segment) {
        self.len_bytes += segment.len_bytes;
        self.segments.push(segment);
    }
}

/// Compresses clusters, one after the other; every thread has its own.
pub struct Compressor {
    zstd: bulk::Compressor<'static>,
}

impl std::fmt::Debug for Compressor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Compressor").finish_non_exhaustive()
    }
}

impl Compressor {
    /// For clusters of `cluster_bytes` ([`Options::cluster_bytes`]) at a Zstandard level. The same level and the same
    /// version of the library give the same bytes.
    pub fn new(cluster_bytes: u32, level: i32) -> io::Result<Self> {
        let mut zstd = bulk::Compressor::new(level)?;
        // Without it, a high level would choose more than a mounted image allows.
        zstd.set_parameter(CParameter::WindowLog(window_log(cluster_bytes)))?;
        Ok(Compressor { zstd })
    }

    /// The compressed form of a cluster's bytes.
    pub fn compress(&mut self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        self.zstd.compress(bytes)
    }
}

/// The window that readers have to provide.
pub(super) fn window_log(cluster_bytes: u32) -> u32 {
    cluster_bytes.next_power_of_two().ilog2().max(10)
}

/// How the bytes of some files are stored.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) size_bytes: u64,
    pub(super) form: Form,
}

#[derive(Debug, Clone)]
pub(super) enum Form {
    /// At a block that the caller fills.
    Placed(u32),
    /// As they are; the source.
    Plain(u32),
    /// At an offset in the packed inode.
    Packed(u64),
    /// In clusters of their own.
    Clusters(Range<usize>),
}

/// All contents of a tree.
#[derive(Debug)]
pub(super) struct Contents {
    pub(super) clusters: Vec<Cluster>,
    pub(super) stored: Vec<Stored>,
    /// The position in `stored` of files that are not empty.
    positions: BTreeMap<(u32, u64, Storage), usize>,
    /// That of the packed inode, if there is one.
    pub(super) packed: Option<usize>,
}

impl Contents {
    pub(super) fn of(tree: &Tree<File>, options: &Options) -> Self {
        let links = tree.link_counts();
        let mut files: Vec<_> = tree
            .inodes()
            .zip(links)
            .filter_map(|(inode, names)| match &inode.node {
                Node::Regular(file) if names > 0 && file.size_bytes > 0 => {
                    Some((file.source, file.size_bytes, file.storage))
                }
                _ => None,
            })
            .collect();
        files.sort_unstable();
        files.dedup();
        let mut contents = Contents {
            clusters: Vec::new(),
            stored: Vec::new(),
            positions: BTreeMap::new(),
            packed: None,
        };
        let cluster_bytes = u64::from(options.cluster_bytes);
        let is_packed = |(source, size_bytes, storage): &(u32, u64, Storage)| {
            *storage == Storage::Compressed
                && *size_bytes <= cluster_bytes
                && !options.placed.contains_key(source)
        };
        let (packed, others): (Vec<_>, Vec<_>) = files.into_iter().partition(is_packed);
        contents.add_packed(&packed, cluster_bytes);
        for (source, size_bytes, storage) in others {
            let form = match (options.placed.get(&source), storage) {
                (Some(block), _) => Form::Placed(*block),
                (None, Storage::Plain) => Form::Plain(source),
                (None, Storage::Compressed) => {
                    let whole = std::iter::once((source, size_bytes));
                    Form::Clusters(contents.cut(whole, size_bytes, cluster_bytes))
                }
            };
            contents
                .positions
                .insert((source, size_bytes, storage), contents.stored.len());
            contents.stored.push(Stored { size_bytes, form });
        }
        contents
    }

    /// The position of a file that is not empty.
    pub(super) fn position(&self, file: &File) -> Option<usize> {
        self.positions
            .get(&(file.source, file.size_bytes, file.storage))
            .copied()
    }

    fn add_packed(&mut self, files: &[(u32, u64, Storage)], cluster_bytes: u64) {
        if files.is_empty() {
            return;
        }
        let mut offset = 0;
        for key in files {
            self.positions.insert(*key, self.stored.len());
            self.stored.push(Stored {
                size_bytes: key.1,
                form: Form::Packed(offset),
            });
            offset += key.1;
        }
        let sources = files.iter().map(|(source, size_bytes, _)| (*source, *size_bytes));
        let clusters = self.cut(sources, offset, cluster_bytes);
        self.packed = Some(self.stored.len());
        self.stored.push(Stored {
            size_bytes: offset,
            form: Form::Clusters(clusters),
        });
    }

    /// Cuts files that follow each other, `total_bytes` together. A rest of a block or less goes with the cluster
    /// before it: the index can say how long a compressed cluster is only if its contents have more than a block.
    fn cut(
        &mut self,
        files: impl Iterator<Item = (u32, u64)>,
        total_bytes: u64,
        cluster_bytes: u64,
    ) -> Range<usize> {
        let first = self.clusters.len();
        let mut left_bytes = total_bytes;
        let mut cluster = Cluster::default();
        let limit = |left: u64| {
            if left <= cluster_bytes + BLOCK_BYTES as u64 {
                left
            } else {
                cluster_bytes
            }
        };
        for (source, size_bytes) in files {
            let mut file_offset_bytes = 0;
            while file_offset_bytes < size_bytes {
                let room = limit(left_bytes) - u64::from(cluster.len_bytes);
                let len_bytes = room.min(size_bytes - file_offset_bytes);
                cluster.push(Segment {
                    source,
                    file_offset_bytes,
                    len_bytes: len_bytes as u32,
                });
                file_offset_bytes += len_bytes;
                if len_bytes == room {
                    left_bytes -= u64::from(cluster.len_bytes);
                    self.clusters.push(std::mem::take(&mut cluster));
                }
            }
        }
        first..self.clusters.len()
    }
}
