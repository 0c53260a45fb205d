//! Reading: every range is checked, and no byte is read for two inodes, so that the work and the memory that an image
//! costs are bounded by its length.
//!
//! Features that change what the structures mean are refused, except chunks, which all composefs images have.

use super::{
    BLOCK_BITS, BLOCK_BYTES, DataLayout, FileType, MAGIC, SLOT_BYTES, SUPERBLOCK_OFFSET, attributes,
    directory,
};
use crate::tree::{Device, Timestamp};

const FEATURE_INCOMPAT_CHUNKED_FILE: u32 = 0x4;
const FORMAT_EXTENDED: u16 = 1;
const FORMAT_LAYOUT: u16 = 7 << 1;
const COMPACT_BYTES: usize = 32;
const EXTENDED_BYTES: usize = 64;
const NANOSECONDS: u32 = 1_000_000_000;

/// What is wrong with an image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Defect {
    /// Something is to be read beyond the end.
    #[error("names bytes beyond the end of the image")]
    Range,
    /// The areas of two inodes overlap.
    #[error("names bytes that belong to another inode")]
    Overlap,
    /// The file system is no EROFS.
    #[error("has no EROFS superblock")]
    Magic,
    /// The logarithm of the block length is not 12.
    #[error("has blocks of another length than 4096 bytes")]
    BlockLength,
    /// A feature that is not understood.
    #[error("has unknown EROFS features {0:#x}")]
    Features(u32),
    /// Bits in the format field of an inode that are not understood.
    #[error("has unknown inode format {0:#x}")]
    Format(u16),
    /// Data is stored in a way that it cannot be.
    #[error("has its data in chunks, which only the files of objects have")]
    Layout,
    /// A kind of inode that there is not.
    #[error("has mode {0:#o}, which is of no kind of file")]
    Mode(u16),
    /// Nanoseconds that are a second or more.
    #[error("has a modification time with {0} nanoseconds")]
    Nanoseconds(u32),
    /// Data behind an inode crosses the border of a block.
    #[error("has data behind its inode that crosses the border of a block")]
    Tail,
    /// The offsets of names in a directory block are out of order.
    #[error("has a directory block whose entries are out of order")]
    Entries,
    /// An attribute has a prefix that is not understood.
    #[error("has an extended attribute with unknown prefix {0}")]
    AttributePrefix(u8),
    /// The attributes of an inode are cut off.
    #[error("has extended attributes that are cut off")]
    Attributes,
}

/// An inode as it is stored.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StoredInode<'a> {
    pub(crate) file_type: FileType,
    /// `0o7777` at most.
    pub(crate) permissions: u16,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mtime: Timestamp,
    pub(crate) size_bytes: u64,
    layout: u16,
    union: u32,
    attributes: &'a [u8],
    /// Where the data behind the inode starts.
    tail_offset: u64,
}

impl StoredInode<'_> {
    /// The number of a device: 8 low bits of the minor number, 12 of the major, 12 more of the minor.
    pub(crate) fn device(&self) -> Device {
        Device {
            major: (self.union >> 8) & 0xfff,
            minor: (self.union & 0xff) | ((self.union >> 12) & 0xf_ff00),
        }
    }
}

/// The contents of an inode: whole blocks, and what is behind the inode.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Data<'a> {
    pub(crate) blocks: &'a [u8],
    pub(crate) tail: &'a [u8],
}

impl<'a> Data<'a> {
    /// Names and inode numbers, if this is the data of a directory.
    pub(crate) fn entries(self) -> Result<Vec<(&'a [u8], u64)>, Defect> {
        let mut found = Vec::new();
        for block in self.blocks.chunks(BLOCK_BYTES).chain([self.tail]) {
            directory::parse_entries(block, &mut found).ok_or(Defect::Entries)?;
        }
        Ok(found)
    }

    /// All the bytes.
    pub(crate) fn to_bytes(self) -> Box<[u8]> {
        [self.blocks, self.tail].concat().into()
    }
}

/// An EROFS in memory.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    /// How many bytes can still belong to inodes that were not read yet.
    unread_bytes: u64,
    root_nid: u64,
    build_time: Timestamp,
    inodes_offset: u64,
    attributes_offset: u64,
}

impl<'a> Reader<'a> {
    /// Reads the superblock.
    pub(crate) fn open(bytes: &'a [u8]) -> Result<Self, Defect> {
        let superblock = bytes.get(SUPERBLOCK_OFFSET..).unwrap_or_default();
        if superblock.get(..4) != Some(&MAGIC.to_le_bytes()) {
            return Err(Defect::Magic);
        }
        let [block_bits] = array(superblock, 12)?;
        if u32::from(block_bits) != BLOCK_BITS {
            return Err(Defect::BlockLength);
        }
        match u32_at(superblock, 80)? & !FEATURE_INCOMPAT_CHUNKED_FILE {
            0 => {}
            unknown => return Err(Defect::Features(unknown)),
        }
        Ok(Reader {
            bytes,
            unread_bytes: bytes.len() as u64,
            root_nid: u64::from(u16_at(superblock, 14)?),
            build_time: Timestamp {
                seconds: i64::from_le_bytes(array(superblock, 24)?),
                nanoseconds: u32_at(superblock, 32)?,
            },
            inodes_offset: u64::from(u32_at(superblock, 40)?) << BLOCK_BITS,
            attributes_offset: u64::from(u32_at(superblock, 44)?) << BLOCK_BITS,
        })
    }

    /// The number of the root.
    pub(crate) fn root_nid(&self) -> u64 {
        self.root_nid
    }

    /// The inode of that number. No inode may be read twice.
    pub(crate) fn inode(&mut self, nid: u64) -> Result<StoredInode<'a>, Defect> {
        let offset = nid
            .checked_mul(SLOT_BYTES as u64)
            .and_then(|offset| offset.checked_add(self.inodes_offset))
            .ok_or(Defect::Range)?;
        let format = u16::from_le_bytes(array(self.range(offset, 2)?, 0)?);
        if format & !(FORMAT_EXTENDED | FORMAT_LAYOUT) != 0 {
            return Err(Defect::Format(format));
        }
        let is_extended = format & FORMAT_EXTENDED != 0;
        let header_bytes = if is_extended {
            EXTENDED_BYTES
        } else {
            COMPACT_BYTES
        };
        let header = self.take(offset, header_bytes as u64)?;
        let mode = u16_at(header, 4)?;
        let attributes_offset = offset + header_bytes as u64;
        let attributes_bytes = attributes::area_bytes(u16_at(header, 2)?);
        let attributes = self.take(attributes_offset, attributes_bytes)?;
        let (size_bytes, uid, gid, mtime) = if is_extended {
            extended(header)?
        } else {
            self.compact(header)?
        };
        if mtime.nanoseconds >= NANOSECONDS {
            return Err(Defect::Nanoseconds(mtime.nanoseconds));
        }
        Ok(StoredInode {
            file_type: FileType::of_mode(mode).ok_or(Defect::Mode(mode))?,
            permissions: mode & 0o7777,
            uid,
            gid,
            mtime,
            size_bytes,
            layout: format & FORMAT_LAYOUT,
            union: u32_at(header, 16)?,
            attributes,
            tail_offset: attributes_offset + attributes_bytes,
        })
    }

    fn compact(&self, header: &[u8]) -> Result<(u64, u32, u32, Timestamp), Defect> {
        let size_bytes = u64::from(u32_at(header, 8)?);
        let (uid, gid) = (u16_at(header, 24)?, u16_at(header, 26)?);
        Ok((size_bytes, uid.into(), gid.into(), self.build_time))
    }

    /// The contents of an inode, which must not be read twice.
    pub(crate) fn data(&mut self, inode: &StoredInode<'a>) -> Result<Data<'a>, Defect> {
        let tail_bytes = match inode.layout {
            layout if layout == DataLayout::FlatPlain as u16 => 0,
            layout if layout == DataLayout::FlatInline as u16 => tail_bytes(inode.size_bytes),
            _ => return Err(Defect::Layout),
        };
        let block = |offset: u64| offset >> BLOCK_BITS;
        if tail_bytes > 0 && block(inode.tail_offset) != block(inode.tail_offset + tail_bytes - 1) {
            return Err(Defect::Tail);
        }
        let blocks_offset = u64::from(inode.union) << BLOCK_BITS;
        Ok(Data {
            blocks: self.take(blocks_offset, inode.size_bytes - tail_bytes)?,
            tail: self.take(inode.tail_offset, tail_bytes)?,
        })
    }

    /// The extended attributes of an inode.
    pub(crate) fn attributes(
        &self,
        inode: &StoredInode<'a>,
    ) -> Result<Vec<attributes::StoredAttribute<'a>>, Defect> {
        let offset = usize::try_from(self.attributes_offset).map_err(|_| Defect::Range)?;
        attributes::parse(inode.attributes, self.bytes.get(offset..).unwrap_or_default())
    }

    /// Bytes that belong to one inode alone.
    fn take(&mut self, offset: u64, length_bytes: u64) -> Result<&'a [u8], Defect> {
        let taken = self.range(offset, length_bytes)?;
        let left = self.unread_bytes.checked_sub(length_bytes);
        self.unread_bytes = left.ok_or(Defect::Overlap)?;
        Ok(taken)
    }

    fn range(&self, offset: u64, length_bytes: u64) -> Result<&'a [u8], Defect> {
        if length_bytes == 0 {
            return Ok(&[]);
        }
        let start = usize::try_from(offset).ok();
        let length = usize::try_from(length_bytes).ok();
        let range = start.zip(length).and_then(|(start, length)| {
            let end = start.checked_add(length)?;
            self.bytes.get(start..end)
        });
        range.ok_or(Defect::Range)
    }
}

fn extended(header: &[u8]) -> Result<(u64, u32, u32, Timestamp), Defect> {
    let mtime = Timestamp {
        seconds: i64::from_le_bytes(array(header, 32)?),
        nanoseconds: u32_at(header, 40)?,
    };
    let size_bytes = u64::from_le_bytes(array(header, 8)?);
    Ok((size_bytes, u32_at(header, 24)?, u32_at(header, 28)?, mtime))
}

/// Of the contents of that length, how much is behind the inode: the last block, whole or not.
fn tail_bytes(size_bytes: u64) -> u64 {
    match size_bytes.checked_sub(1) {
        None => 0,
        Some(last) => last % BLOCK_BYTES as u64 + 1,
    }
}

pub(super) fn array<const N: usize>(bytes: &[u8], offset: usize) -> Result<[u8; N], Defect> {
    let rest = bytes.get(offset..).and_then(|rest| rest.first_chunk::<N>());
    rest.copied().ok_or(Defect::Range)
}

pub(super) fn u16_at(bytes: &[u8], offset: usize) -> Result<u16, Defect> {
    Ok(u16::from_le_bytes(array(bytes, offset)?))
}

pub(super) fn u32_at(bytes: &[u8], offset: usize) -> Result<u32, Defect> {
    Ok(u32::from_le_bytes(array(bytes, offset)?))
}
