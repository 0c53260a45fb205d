//! EROFS on disk: the structures that a writer and a reader of metadata need.
//!
//! Source: the kernel's `Documentation/filesystems/erofs.rst` and `fs/erofs/erofs_fs.h`. Little endian, blocks of
//! 4,096 bytes. An inode is addressed by its number (nid): its offset in units of 32 bytes, as the metadata starts at
//! block 0.
//!
//! ```text
//! 1024 superblock [128] · inodes, 32-byte aligned: header [32 | 64], attributes, inline tail · shared attributes ·
//! data blocks
//! ```
//!
//! Left out: compression, several devices, file data in chunks (a chunk here is always a hole), checksums.

mod attributes;
mod directory;
mod inode;
mod reader;

pub(crate) use attributes::{Attribute, Attributes, Shared, StoredAttribute, Value};
pub(crate) use directory::{Entry, Listing};
pub(crate) use inode::{DataLayout, FileType, InodeHeader};
pub use reader::Defect;
pub(crate) use reader::{Reader, StoredInode};

use crate::tree::Timestamp;

/// The length of a block.
pub(crate) const BLOCK_BYTES: usize = 4096;
/// The logarithm of the length of a block.
pub(crate) const BLOCK_BITS: u32 = 12;
/// What an inode's offset is a multiple of.
pub(crate) const SLOT_BYTES: usize = 32;
/// Where the superblock starts.
pub(crate) const SUPERBLOCK_OFFSET: usize = 1024;
/// The length of the superblock.
pub(crate) const SUPERBLOCK_BYTES: usize = 128;

const MAGIC: u32 = 0xe0f5_e1e2;
const FEATURE_COMPAT_MTIME: u32 = 0x2;
const FEATURE_COMPAT_XATTR_FILTER: u32 = 0x4;

/// The superblock of a file system without extra devices, compression or checksum.
#[derive(Debug)]
pub(crate) struct Superblock {
    /// The number of the root inode.
    pub(crate) root_nid: u16,
    /// How many inodes there are.
    pub(crate) inodes: u64,
    /// The modification time of inodes that store none.
    pub(crate) build_time: Timestamp,
    /// The length of the file system in blocks.
    pub(crate) blocks: u32,
    /// The block from which references to shared attributes count.
    pub(crate) attributes_block: u32,
}

impl Superblock {
    /// The superblock as it is stored at [`SUPERBLOCK_OFFSET`].
    pub(crate) fn to_bytes(&self) -> [u8; SUPERBLOCK_BYTES] {
        let mut bytes = [0; SUPERBLOCK_BYTES];
        let features = FEATURE_COMPAT_MTIME | FEATURE_COMPAT_XATTR_FILTER;
        bytes[0..4].copy_from_slice(&MAGIC.to_le_bytes());
        bytes[8..12].copy_from_slice(&features.to_le_bytes());
        bytes[12] = BLOCK_BITS as u8;
        bytes[14..16].copy_from_slice(&self.root_nid.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.inodes.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.build_time.seconds.to_le_bytes());
        bytes[32..36].copy_from_slice(&self.build_time.nanoseconds.to_le_bytes());
        bytes[36..40].copy_from_slice(&self.blocks.to_le_bytes());
        bytes[44..48].copy_from_slice(&self.attributes_block.to_le_bytes());
        bytes
    }
}
