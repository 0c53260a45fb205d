//! ext4, written once: from a file tree to the bytes of a clean file system, in one pass and in ascending order.
//!
//! Source: the kernel's `Documentation/filesystems/ext4/` (on-disk layout, field names) and `fsverity.rst`; where
//! they are silent, what `mke2fs` writes and `e2fsck` demands. All fields are little-endian except the journal's.
//!
//! ```text
//! group 0                                             group 1 ...             group 16 ...
//! │superblock│descriptors│bitmaps, inode tables of 16│journal│directories, ...│ ... │bitmaps, tables of 16│ ...
//!                                                            │file, its verity metadata│file, ...│ free
//! ```
//!
//! [`plan`] decides everything from names and sizes; [`Layout::pieces`] then makes the metadata bytes one piece at a
//! time and says where file contents belong. Contents are never seen here: only fs-verity metadata depends on them
//! ([`verity_region`]), and it always comes after the contents it covers.
//!
//! Blocks of 4 KiB, inodes of 256 bytes, 64-bit block numbers, metadata checksums, flexible groups of 16. Left out on
//! purpose: `metadata_csum_seed` (GRUB before 2.12 cannot read it), `orphan_file` (e2fsck before 1.47), inline data,
//! and `resize_inode` (a kernel that grows the file system switches to `meta_bg` by itself).

mod allocation;
mod checksum;
mod directory;
mod error;
mod extent;
mod fields;
mod group;
mod htree;
mod inode;
mod inventory;
mod journal;
mod layout;
mod node;
mod pieces;
mod size;
mod superblock;
mod value;
mod xattr;

use std::ops::Range;

use crate::tree::{InodeId, Timestamp};
use crate::verity::{DESCRIPTOR_BYTES, Measured, tree_bytes};

pub use error::{Error, NodeReason};
pub use layout::{Layout, plan};
pub use size::{minimum_size_bytes, roomy_size_bytes};

/// The size of a block.
pub const BLOCK_BYTES: u64 = 4096;

/// A regular file of the file system to write.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct File {
    /// The caller's number for where the bytes come from; comes back in the pieces.
    pub source: u32,
    /// The length of the file.
    pub size_bytes: u64,
    /// Byte ranges that read as zeros, in any order. The whole blocks within one are not stored.
    pub holes: Box<[Range<u64>]>,
    /// Whether the file carries fs-verity metadata (SHA-512, 4 KiB blocks), so that the kernel verifies every read.
    pub verity: bool,
}

/// The file system as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The room to fill. The file system takes whole blocks of it, and leaves out a last group too small to be of use.
    pub size_bytes: u64,
    /// Identity of the file system.
    pub uuid: [u8; 16],
    /// The key of the directory hash.
    pub hash_seed: [u8; 16],
    /// The volume label, 16 bytes at most.
    pub label: String,
    /// When everything was created and changed; modification times are the tree's.
    pub time: Timestamp,
    /// The size of the journal: `None` for what suits the size of the file system, 0 for no journal.
    pub journal_bytes: Option<u64>,
    /// How much of the space only root may use, 50 at most; 5 is usual.
    pub reserved_percent: u8,
}

/// A stretch of the file system. What no piece covers is zero.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Metadata.
    Bytes {
        /// Where in the file system.
        offset_bytes: u64,
        /// What.
        bytes: Vec<u8>,
    },
    /// Contents of a file.
    Data {
        /// Where in the file system: the start of a block. The rest of the last block is zero.
        offset_bytes: u64,
        /// The file.
        inode: InodeId,
        /// Its [`File::source`].
        source: u32,
        /// Where in the file.
        file_offset_bytes: u64,
        /// How much.
        len_bytes: u64,
    },
    /// A part of the [`verity_region`] of a file whose last [`Piece::Data`] has gone by.
    Verity {
        /// Where in the file system.
        offset_bytes: u64,
        /// The file.
        inode: InodeId,
        /// Its [`File::source`].
        source: u32,
        /// Where in the region.
        region_offset_bytes: u64,
        /// How much: whole blocks.
        len_bytes: u64,
    },
}

/// The bytes behind a file that make the kernel verify it: Merkle tree, then a block that starts with the descriptor
/// and ends with the descriptor's length (le32). [`verity_region_bytes`] long.
pub fn verity_region(measured: &Measured) -> Vec<u8> {
    let mut region = measured.tree.clone();
    let end = region.len() + BLOCK_BYTES as usize;
    region.extend_from_slice(&measured.descriptor());
    region.resize(end - 4, 0);
    region.extend_from_slice(&(DESCRIPTOR_BYTES as u32).to_le_bytes());
    region
}

/// The length of the [`verity_region`] of a file of that length.
pub fn verity_region_bytes(size_bytes: u64) -> u64 {
    tree_bytes(size_bytes) + BLOCK_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verity::Hasher;

    #[test]
    fn the_region_ends_with_the_length_of_the_descriptor() {
        for length in [0, 1, 4096, 4097, 300_000] {
            let mut hasher = Hasher::new();
            hasher.update(&vec![7; length]);
            let measured = hasher.finish();
            let region = verity_region(&measured);
            assert_eq!(region.len() as u64, verity_region_bytes(length as u64));
            assert_eq!(&region[region.len() - 4..], 256u32.to_le_bytes());
            assert_eq!(region[measured.tree.len()..][..256], measured.descriptor());
        }
    }
}
