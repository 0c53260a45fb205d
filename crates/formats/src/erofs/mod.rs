//! EROFS, the read-only file system: an image with file data is written ([`pack`]); the structures on disk are those
//! that a composefs image is made of and read from, too.
//!
//! Source: the kernel's `Documentation/filesystems/erofs.rst` and `fs/erofs/erofs_fs.h`. Little endian, blocks of
//! 4,096 bytes. An inode is addressed by its number (nid): its offset from the first block of the metadata in units of
//! 32 bytes.
//!
//! ```text
//! 1024 superblock [128] · inodes, 32-byte aligned: header [32 | 64], attributes, inline tail · shared attributes ·
//! data blocks
//! ```
//!
//! Left out: several devices, file data in chunks (a chunk here is always a hole), reading of compressed data.

mod attributes;
mod directory;
mod image;
mod inode;
mod limits;
mod reader;
mod superblock;

pub(crate) use attributes::{Attribute, Attributes, Shared, StoredAttribute, Value};
pub(crate) use directory::{Entry, Listing};
pub use image::{
    CLUSTER_DEFAULT_BYTES, CLUSTER_MAX_BYTES, Cluster, Compressor, Error, File, LEVEL_DEFAULT, Layout,
    Options, Packing, Piece, Reason, Segment, Storage, pack,
};
pub(crate) use inode::{DataLayout, FileType, InodeHeader, inode_offset};
pub(crate) use limits::{device_number, is_file_name, is_target};
pub use reader::Defect;
pub(crate) use reader::{Reader, StoredInode};
pub use superblock::volume_uuid;
pub(crate) use superblock::{SUPERBLOCK_BYTES, SUPERBLOCK_OFFSET, Superblock};

/// The length of a block.
pub(crate) const BLOCK_BYTES: usize = 4096;
/// The logarithm of the length of a block.
pub(crate) const BLOCK_BITS: u32 = 12;
/// What an inode's offset is a multiple of.
pub(crate) const SLOT_BYTES: usize = 32;

const MAGIC: u32 = 0xe0f5_e1e2;
