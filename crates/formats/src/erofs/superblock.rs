//! The superblock: 128 bytes, 1,024 bytes into the device.
//!
//! ```text
//!  0 magic · 4 checksum · 8 compatible features · 12 block bits u8 · 13 extension slots u8 · 14 root nid u16 ·
//! 16 inodes u64 · 24 build time u64 · 32 its nanoseconds · 36 blocks · 40 metadata block · 44 attributes block ·
//! 48 UUID [16] · 64 volume name [16] · 80 incompatible features · 84 compression algorithms u16 · 86 devices u16 ·
//! 88 device table u16 · 90 directory block bits u8 · 91 prefixes u8 · 92 their place · 96 packed nid u64 · 104 0 [24]
//! ```

use super::{BLOCK_BITS, MAGIC};
use crate::tree::Timestamp;

/// Where the superblock starts.
pub(crate) const SUPERBLOCK_OFFSET: usize = 1024;
/// The length of the superblock.
pub(crate) const SUPERBLOCK_BYTES: usize = 128;

pub(super) const FEATURE_COMPAT_CHECKSUM: u32 = 0x1;
const FEATURE_COMPAT_MTIME: u32 = 0x2;
const FEATURE_COMPAT_XATTR_FILTER: u32 = 0x4;

/// The UUID of the EROFS file system on a device that starts so, if one is there. 1,072 bytes are enough.
///
/// On a medium that is an ISO 9660 volume too, programs that look for file systems may find two and name neither.
pub fn volume_uuid(start: &[u8]) -> Option<[u8; 16]> {
    let superblock = start.get(SUPERBLOCK_OFFSET..)?;
    let magic = superblock.first_chunk().copied().map(u32::from_le_bytes);
    let uuid = superblock.get(48..)?.first_chunk().copied();
    uuid.filter(|_| magic == Some(MAGIC))
}

/// The superblock of a file system on one device.
#[derive(Debug, Default)]
pub(crate) struct Superblock {
    /// The number of the root inode.
    pub(crate) root_nid: u16,
    /// How many inodes there are.
    pub(crate) inodes: u64,
    /// The modification time of inodes that store none.
    pub(crate) build_time: Timestamp,
    /// The length of the file system in blocks.
    pub(crate) blocks: u32,
    /// The block from which inodes are numbered.
    pub(crate) metadata_block: u32,
    /// The block from which references to shared attributes count.
    pub(crate) attributes_block: u32,
    /// Identity of the file system.
    pub(crate) uuid: [u8; 16],
    /// The volume name, padded with NUL.
    pub(crate) volume_name: [u8; 16],
    /// Features that a reader may ignore, beside those that all have.
    pub(crate) compatible_features: u32,
    /// Features that a reader must know.
    pub(crate) incompatible_features: u32,
    /// A bit for each compression algorithm.
    pub(crate) algorithms: u16,
    /// The number of the inode that holds fragments of others; 0 for none.
    pub(crate) packed_nid: u64,
}

impl Superblock {
    /// The superblock as it is stored at [`SUPERBLOCK_OFFSET`], its checksum zero.
    pub(crate) fn to_bytes(&self) -> [u8; SUPERBLOCK_BYTES] {
        let mut bytes = [0; SUPERBLOCK_BYTES];
        let features = FEATURE_COMPAT_MTIME | FEATURE_COMPAT_XATTR_FILTER | self.compatible_features;
        bytes[0..4].copy_from_slice(&MAGIC.to_le_bytes());
        bytes[8..12].copy_from_slice(&features.to_le_bytes());
        bytes[12] = BLOCK_BITS as u8;
        bytes[14..16].copy_from_slice(&self.root_nid.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.inodes.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.build_time.seconds.to_le_bytes());
        bytes[32..36].copy_from_slice(&self.build_time.nanoseconds.to_le_bytes());
        bytes[36..40].copy_from_slice(&self.blocks.to_le_bytes());
        bytes[40..44].copy_from_slice(&self.metadata_block.to_le_bytes());
        bytes[44..48].copy_from_slice(&self.attributes_block.to_le_bytes());
        bytes[48..64].copy_from_slice(&self.uuid);
        bytes[64..80].copy_from_slice(&self.volume_name);
        bytes[80..84].copy_from_slice(&self.incompatible_features.to_le_bytes());
        bytes[84..86].copy_from_slice(&self.algorithms.to_le_bytes());
        bytes[96..104].copy_from_slice(&self.packed_nid.to_le_bytes());
        bytes
    }
}
