//! An image with file data, written once: from a tree to pieces at offsets, in ascending order.
//!
//! ```text
//!    0 not written · 1024 superblock, compression parameters, zeros to 4096 · not written up to `first_block`
//!    metadata: inodes, depth first, each with its attributes and its tail · shared attributes · long directories
//!    plain files, each in whole blocks · compressed clusters, each in whole blocks, at the end of its last one
//! ```
//!
//! Two steps, with the work of the caller between them. [`pack`] cuts the contents into [`Cluster`]s, from sizes alone.
//! The caller reads and compresses each ([`Compressor`]), in any order and in any number of threads, and keeps
//! the result where it likes. [`Packing::plan`] then needs no more than the lengths, and says where all of it belongs.
//!
//! * Files up to the length of a cluster are *packed*: they follow each other in one hidden file, the packed inode, and
//!   have just their offset in it. It is compressed as a whole, so small files of a kind compress together and no file
//!   wastes the rest of a block. They follow each other by [`File::source`]: to number files of a kind one after the
//!   other makes the image smaller.
//! * Longer files have clusters of their own. What does not get shorter is stored plain.
//! * A plain file keeps up to 2 KiB of its last block behind the inode.
//! * A file whose source is in [`Options::placed`] is where the caller says, and nothing is stored for it.
//!
//! Every cluster is a Zstandard frame of a fixed number of contents bytes. The kernel (6.10 and later, if built with
//! `CONFIG_EROFS_FS_ZIP_ZSTD`) decompresses it as a whole when any byte of it is read; that costs as much memory as
//! the cluster has, twice, and a window of that length for every processor. Frames may be 1 MiB long, windows too.
//!
//! Left out: holes, deduplication beyond equal sources, compact indexes (they would save 6 bytes for every 4 KiB).

mod cluster;
mod index;
mod inodes;
mod layout;
mod pieces;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::tree::{Timestamp, Tree};

pub use cluster::{CLUSTER_DEFAULT_BYTES, CLUSTER_MAX_BYTES, Cluster, Compressor, LEVEL_DEFAULT, Segment};
pub use layout::Layout;
pub use pieces::Piece;

/// A regular file of the image to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// The caller's number for where the bytes come from; comes back in segments and pieces. Files of the same source
    /// are stored once.
    pub source: u32,
    /// The length of the file.
    pub size_bytes: u64,
    /// How it is stored.
    pub storage: Storage,
}

/// How a file is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Storage {
    /// Compressed, if that makes it shorter.
    Compressed,
    /// As it is.
    Plain,
}

/// The image as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Identity of the file system.
    pub uuid: [u8; 16],
    /// The volume name, 16 bytes at most.
    pub volume_name: String,
    /// The modification time that inodes need not store.
    pub build_time: Timestamp,
    /// The first block that may be written; below it, only the superblock is. At least 1.
    pub first_block: u32,
    /// The contents of a cluster: a multiple of 4 KiB, [`CLUSTER_MAX_BYTES`] at most.
    pub cluster_bytes: u32,
    /// Sources whose bytes are on the device anyway, one behind the other from a block on.
    pub placed: BTreeMap<u32, u32>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            uuid: [0; 16],
            volume_name: String::new(),
            build_time: Timestamp::default(),
            first_block: 1,
            cluster_bytes: CLUSTER_DEFAULT_BYTES,
            placed: BTreeMap::new(),
        }
    }
}

/// An image that cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// An option that has no meaning.
    #[error("planning an EROFS image: {option} {value} is not possible: {reason}")]
    Option {
        /// The option.
        option: &'static str,
        /// Its value.
        value: String,
        /// Why not.
        reason: &'static str,
    },
    /// An inode that cannot be stored. The path has no leading `/`; bytes that are no UTF-8 are replaced.
    #[error("planning an EROFS image: '/{path}' {reason}")]
    Node {
        /// Which.
        path: String,
        /// Why not.
        reason: Reason,
    },
    /// The image has no room for more: 2³² inodes or blocks.
    #[error("planning an EROFS image: the tree is too large")]
    TreeSize,
    /// The lengths of compressed clusters are not those of the clusters: too few, too many, or one over 1 MiB.
    #[error(
        "planning an EROFS image: the lengths of {found} compressed clusters do not fit {expected} clusters"
    )]
    Lengths {
        /// How many clusters there are.
        expected: usize,
        /// How many lengths were given.
        found: usize,
    },
}

/// Why an inode cannot be stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// A name is empty, `.`, `..`, longer than 255 bytes, or contains `/` or NUL.
    #[error("has a name that is no file name")]
    Name,
    /// A directory has several names, or contains itself.
    #[error("is a directory with several names")]
    DirectoryLinks,
    /// A link target is empty, longer than 4,095 bytes, or contains NUL.
    #[error("is a symbolic link whose target is empty, longer than 4095 bytes or contains NUL")]
    Target,
    /// A device number is too large.
    #[error("has a device number over 4095:1048575")]
    Device,
    /// An attribute has a name longer than 255 bytes or a value longer than 65,535.
    #[error("has extended attribute '{0}', whose name or value is too long")]
    AttributeLength(String),
    /// The attributes of one inode do not fit: 255 shared ones or 256 KiB.
    #[error("has too many extended attributes")]
    AttributeCount,
}

/// A tree whose contents are cut into clusters, waiting for the lengths of these.
#[derive(Debug)]
pub struct Packing<'a> {
    options: Options,
    inodes: Vec<inodes::Inode<'a>>,
    contents: cluster::Contents,
}

/// Cuts the contents of a tree into clusters.
pub fn pack<'a>(tree: &'a Tree<File>, options: &Options) -> Result<Packing<'a>, Error> {
    require_valid(options)?;
    let contents = cluster::Contents::of(tree, options);
    let inodes = inodes::collect(tree, &contents, options)?;
    Ok(Packing {
        options: options.clone(),
        inodes,
        contents,
    })
}

impl Packing<'_> {
    /// What is to be compressed, piece by piece. The number of a cluster is its position.
    pub fn clusters(&self) -> &[Cluster] {
        &self.contents.clusters
    }

    /// Places everything; `compressed_bytes` are the lengths of the compressed clusters, in their order.
    pub fn plan(&self, compressed_bytes: &[u32]) -> Result<Layout, Error> {
        layout::plan(&self.options, &self.inodes, &self.contents, compressed_bytes)
    }
}

fn require_valid(options: &Options) -> Result<(), Error> {
    let refuse = |option, value: String, reason| {
        Err(Error::Option {
            option,
            value,
            reason,
        })
    };
    if options.volume_name.len() > 16 || options.volume_name.contains('\0') {
        let reason = "a volume name has 16 bytes at most, and no NUL";
        return refuse("volume name", options.volume_name.clone(), reason);
    }
    if options.first_block == 0 {
        return refuse("first block", "0".to_owned(), "the superblock is there");
    }
    let cluster_bytes = options.cluster_bytes;
    if cluster_bytes == 0 || !cluster_bytes.is_multiple_of(4096) || cluster_bytes > CLUSTER_MAX_BYTES {
        let reason = "a multiple of 4096 up to 983040 is needed";
        return refuse("cluster length", cluster_bytes.to_string(), reason);
    }
    Ok(())
}
