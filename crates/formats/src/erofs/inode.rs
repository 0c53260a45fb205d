//! Inode headers: compact (32 bytes) and extended (64 bytes).
//!
//! ```text
//! compact   0 format · 2 attribute words · 4 mode · 6 links · 8 size u32 · 12 0 · 16 union · 20 number ·
//!           24 uid u16 · 26 gid u16 · 28 0
//! extended  0 format · 2 attribute words · 4 mode · 6 0 · 8 size u64 · 16 union · 20 number · 24 uid u32 ·
//!           28 gid u32 · 32 mtime u64 · 40 nanoseconds u32 · 44 links u32 · 48 0
//! ```

use super::{BLOCK_BYTES, SLOT_BYTES};
use crate::tree::Timestamp;

/// The length of a compact header.
const COMPACT_BYTES: usize = 32;
/// The length of an extended header.
const EXTENDED_BYTES: usize = 64;

/// Where the data of an inode is, as bits 1 to 3 of the format field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DataLayout {
    /// In blocks of their own; also for inodes without data.
    FlatPlain = 0,
    /// Compressed, found by an index behind the inode; or wholly in the packed inode.
    CompressedFull = 1 << 1,
    /// The last part behind the inode, whole blocks before it elsewhere.
    FlatInline = 2 << 1,
    /// In chunks, addressed by indexes behind the inode.
    ChunkBased = 4 << 1,
}

/// The kind of an inode as a directory entry names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileType {
    Regular = 1,
    Directory = 2,
    CharacterDevice = 3,
    BlockDevice = 4,
    Fifo = 5,
    Socket = 6,
    Symlink = 7,
}

impl FileType {
    const ALL: [FileType; 7] = [
        FileType::Regular,
        FileType::Directory,
        FileType::CharacterDevice,
        FileType::BlockDevice,
        FileType::Fifo,
        FileType::Socket,
        FileType::Symlink,
    ];

    /// The kind in the upper four bits of a mode.
    pub(crate) fn of_mode(mode: u16) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.mode_bits() == mode & 0o170_000)
    }

    /// The kind as the upper four bits of a mode.
    pub(crate) fn mode_bits(self) -> u16 {
        match self {
            FileType::Regular => 0o100_000,
            FileType::Directory => 0o040_000,
            FileType::CharacterDevice => 0o020_000,
            FileType::BlockDevice => 0o060_000,
            FileType::Fifo => 0o010_000,
            FileType::Socket => 0o140_000,
            FileType::Symlink => 0o120_000,
        }
    }
}

/// What both headers hold.
#[derive(Debug)]
pub(crate) struct InodeHeader {
    pub(crate) layout: DataLayout,
    /// The `i_xattr_icount` field: 0 without attributes, else 1 and the words behind their 12-byte header.
    pub(crate) attribute_words: u16,
    /// Kind and permissions.
    pub(crate) mode: u16,
    pub(crate) links: u32,
    pub(crate) size_bytes: u64,
    /// First data block, device number or chunk format, by layout and kind.
    pub(crate) union: u32,
    /// The number that programs see where 64 bits do not fit.
    pub(crate) number: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mtime: Timestamp,
}

impl InodeHeader {
    /// Appends the compact form if everything fits into it, else the extended form.
    pub(crate) fn append_to(&self, out: &mut Vec<u8>, build_time: Timestamp) {
        match self.compact(build_time) {
            Some(bytes) => out.extend_from_slice(&bytes),
            None => out.extend_from_slice(&self.extended()),
        }
    }

    /// The length of the header that [`InodeHeader::append_to`] writes.
    pub(crate) fn stored_bytes(&self, build_time: Timestamp) -> usize {
        self.compact(build_time)
            .map_or(EXTENDED_BYTES, |bytes| bytes.len())
    }

    fn compact(&self, build_time: Timestamp) -> Option<[u8; COMPACT_BYTES]> {
        if self.mtime != build_time {
            return None;
        }
        let mut bytes = [0; COMPACT_BYTES];
        self.put_common(&mut bytes, 0);
        bytes[6..8].copy_from_slice(&u16::try_from(self.links).ok()?.to_le_bytes());
        bytes[8..12].copy_from_slice(&u32::try_from(self.size_bytes).ok()?.to_le_bytes());
        bytes[24..26].copy_from_slice(&u16::try_from(self.uid).ok()?.to_le_bytes());
        bytes[26..28].copy_from_slice(&u16::try_from(self.gid).ok()?.to_le_bytes());
        Some(bytes)
    }

    fn extended(&self) -> [u8; EXTENDED_BYTES] {
        let mut bytes = [0; EXTENDED_BYTES];
        self.put_common(&mut bytes, 1);
        bytes[8..16].copy_from_slice(&self.size_bytes.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.uid.to_le_bytes());
        bytes[28..32].copy_from_slice(&self.gid.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.mtime.seconds.to_le_bytes());
        bytes[40..44].copy_from_slice(&self.mtime.nanoseconds.to_le_bytes());
        bytes[44..48].copy_from_slice(&self.links.to_le_bytes());
        bytes
    }

    fn put_common(&self, bytes: &mut [u8], version: u16) {
        bytes[0..2].copy_from_slice(&(version | self.layout as u16).to_le_bytes());
        bytes[2..4].copy_from_slice(&self.attribute_words.to_le_bytes());
        bytes[4..6].copy_from_slice(&self.mode.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.union.to_le_bytes());
        bytes[20..24].copy_from_slice(&self.number.to_le_bytes());
    }
}

/// Where an inode starts if the last one ends at `position`, a multiple of 32: a tail of `tail_bytes` behind
/// `fixed_bytes` of header and attributes must not cross a block boundary, and of a symbolic link not even the inode
/// (Linux before 6.12 calls it corrupted).
pub(crate) fn inode_offset(
    position: usize,
    fixed_bytes: usize,
    tail_bytes: usize,
    is_symlink: bool,
) -> usize {
    if is_symlink {
        let fits = position % BLOCK_BYTES + fixed_bytes + tail_bytes <= BLOCK_BYTES;
        return if fits {
            position
        } else {
            position.next_multiple_of(BLOCK_BYTES)
        };
    }
    let tail = position + fixed_bytes;
    let room = tail.next_multiple_of(BLOCK_BYTES) - tail;
    if room > 0 && room < tail_bytes {
        position + room.next_multiple_of(SLOT_BYTES)
    } else {
        position
    }
}
