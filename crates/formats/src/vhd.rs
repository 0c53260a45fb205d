//! VHD, fixed and dynamic: a footer that describes the disk, and for a dynamic one a table of blocks.
//!
//! Source: Microsoft's "Virtual Hard Disk Image Format Specification". Numbers are big-endian.
//!
//! ```text
//! fixed      the disk │ footer
//! dynamic    footer │ header │ block allocation table │ blocks: bitmap, 2 MiB │ footer
//! ```
//!
//! Virtual PC and its like compute the size of a disk from its cylinders, heads and sectors. The largest geometry there is,
//! and QEMU's name as that of the program that made the disk, tell everybody to take the size that stands beside it: a
//! true geometry would cut off what does not fill a cylinder.
//!
//! Left out: differencing disks, and bitmaps with gaps (what is not written of a block is zeros).

/// What a dynamic disk allocates at a time.
pub const BLOCK_BYTES: u64 = 2 << 20;
/// The length of a footer.
pub const FOOTER_BYTES: u64 = 512;
/// The largest disk that programs take.
pub const MAX_VIRTUAL_BYTES: u64 = 2040 << 30;

const SECTOR_BYTES: u64 = 512;
const BITMAP_BYTES: u64 = BLOCK_BYTES / SECTOR_BYTES / 8;
const HEADER_BYTES: u64 = 1024;
const FORMAT_VERSION: u32 = 0x0001_0000;
/// 2000-01-01 00:00:00 UTC, in Unix time.
const EPOCH_SECONDS: i64 = 946_684_800;
const FOOTER_CHECKSUM: usize = 64;
const HEADER_CHECKSUM: usize = 36;
const UNALLOCATED: u32 = u32::MAX;

/// A disk that cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VhdError {
    /// The disk is no multiple of 512 bytes, or larger than [`MAX_VIRTUAL_BYTES`].
    #[error("a VHD cannot have a virtual size of {0} bytes")]
    VirtualSize(u64),
    /// A block lies behind the end of the disk.
    #[error("block {0} is out of range")]
    Block(u64),
}

/// What a footer says beside the size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Description {
    /// The identity of the disk.
    pub uuid: [u8; 16],
    /// When it was made, in Unix time.
    pub time_seconds: i64,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Fixed = 2,
    Dynamic = 3,
}

/// The footer of a fixed disk, which follows the bytes of the disk.
pub fn fixed_footer(virtual_bytes: u64, description: &Description) -> Result<Vec<u8>, VhdError> {
    require_size(virtual_bytes)?;
    Ok(footer(virtual_bytes, Kind::Fixed, description))
}

/// Decides where the blocks of a dynamic disk go.
#[derive(Debug, Clone)]
pub struct Dynamic {
    virtual_bytes: u64,
    description: Description,
    /// The first sector of each block.
    table: Vec<u32>,
    end_bytes: u64,
}

/// What is written after the blocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DynamicTables {
    /// Footer, header and table, for the beginning of the file.
    pub head: Vec<u8>,
    /// The footer.
    pub footer: Vec<u8>,
    /// Where the footer goes.
    pub footer_offset_bytes: u64,
}

impl Dynamic {
    /// A disk of that size without blocks: all zeros.
    pub fn new(virtual_bytes: u64, description: Description) -> Result<Self, VhdError> {
        require_size(virtual_bytes)?;
        let entries = virtual_bytes.div_ceil(BLOCK_BYTES);
        let table_bytes = (entries * 4).next_multiple_of(SECTOR_BYTES);
        Ok(Dynamic {
            virtual_bytes,
            description,
            table: vec![UNALLOCATED; entries as usize],
            end_bytes: FOOTER_BYTES + HEADER_BYTES + table_bytes,
        })
    }

    /// Where the contents of a block go. When it is the first time that the block is asked for, its bitmap, too, which
    /// comes right before the contents.
    pub fn block(&mut self, block: u64) -> Result<(u64, Option<Vec<u8>>), VhdError> {
        let entry = usize::try_from(block).ok();
        let entry = entry.and_then(|index| self.table.get_mut(index));
        let entry = entry.ok_or(VhdError::Block(block))?;
        if *entry != UNALLOCATED {
            return Ok((u64::from(*entry) * SECTOR_BYTES + BITMAP_BYTES, None));
        }
        let start = self.end_bytes;
        *entry = (start / SECTOR_BYTES) as u32;
        self.end_bytes += BITMAP_BYTES + BLOCK_BYTES;
        Ok((start + BITMAP_BYTES, Some(vec![0xff; BITMAP_BYTES as usize])))
    }

    /// The tables.
    pub fn finish(self) -> DynamicTables {
        let footer = footer(self.virtual_bytes, Kind::Dynamic, &self.description);
        let mut head = footer.clone();
        head.extend(self.header());
        for sector in &self.table {
            head.extend_from_slice(&sector.to_be_bytes());
        }
        head.resize(head.len().next_multiple_of(SECTOR_BYTES as usize), 0xff);
        DynamicTables {
            head,
            footer,
            footer_offset_bytes: self.end_bytes,
        }
    }

    fn header(&self) -> Vec<u8> {
        let mut header = Vec::with_capacity(HEADER_BYTES as usize);
        header.extend_from_slice(b"cxsparse");
        // Nothing further.
        header.extend_from_slice(&u64::MAX.to_be_bytes());
        header.extend_from_slice(&(FOOTER_BYTES + HEADER_BYTES).to_be_bytes());
        header.extend_from_slice(&FORMAT_VERSION.to_be_bytes());
        header.extend_from_slice(&(self.table.len() as u32).to_be_bytes());
        header.extend_from_slice(&(BLOCK_BYTES as u32).to_be_bytes());
        header.resize(HEADER_BYTES as usize, 0);
        put_checksum(&mut header, HEADER_CHECKSUM);
        header
    }
}

fn require_size(virtual_bytes: u64) -> Result<(), VhdError> {
    match virtual_bytes.is_multiple_of(SECTOR_BYTES) && virtual_bytes <= MAX_VIRTUAL_BYTES {
        true => Ok(()),
        false => Err(VhdError::VirtualSize(virtual_bytes)),
    }
}

fn footer(virtual_bytes: u64, kind: Kind, description: &Description) -> Vec<u8> {
    let time = description.time_seconds.saturating_sub(EPOCH_SECONDS);
    let time = u32::try_from(time.max(0)).unwrap_or(u32::MAX);
    let data_offset = match kind {
        Kind::Fixed => u64::MAX,
        Kind::Dynamic => FOOTER_BYTES,
    };
    let mut footer = Vec::with_capacity(FOOTER_BYTES as usize);
    footer.extend_from_slice(b"conectix");
    // A bit that is always set.
    footer.extend_from_slice(&2_u32.to_be_bytes());
    footer.extend_from_slice(&FORMAT_VERSION.to_be_bytes());
    footer.extend_from_slice(&data_offset.to_be_bytes());
    footer.extend_from_slice(&time.to_be_bytes());
    footer.extend_from_slice(b"qem2");
    footer.extend_from_slice(&0x0005_0003_u32.to_be_bytes());
    footer.extend_from_slice(b"Wi2k");
    footer.extend_from_slice(&virtual_bytes.to_be_bytes());
    footer.extend_from_slice(&virtual_bytes.to_be_bytes());
    // Cylinders, heads, sectors.
    footer.extend_from_slice(&[0xff, 0xff, 16, 255]);
    footer.extend_from_slice(&(kind as u32).to_be_bytes());
    // The checksum comes last.
    footer.extend_from_slice(&[0; 4]);
    footer.extend_from_slice(&description.uuid);
    footer.resize(FOOTER_BYTES as usize, 0);
    put_checksum(&mut footer, FOOTER_CHECKSUM);
    footer
}

/// The complement of the sum of all bytes, over a place that is zero.
fn put_checksum(bytes: &mut [u8], at: usize) {
    let sum: u32 = bytes.iter().map(|byte| u32::from(*byte)).sum();
    for (target, byte) in bytes.iter_mut().skip(at).zip((!sum).to_be_bytes()) {
        *target = byte;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DESCRIPTION: Description = Description {
        uuid: [0xa5; 16],
        time_seconds: EPOCH_SECONDS + 0x0102_0304,
    };

    fn number(bytes: &[u8], at: usize, len: usize) -> u64 {
        bytes[at..at + len]
            .iter()
            .fold(0, |number, byte| number << 8 | u64::from(*byte))
    }

    fn assert_checksum(bytes: &[u8], at: usize) {
        let stored = number(bytes, at, 4) as u32;
        let others = bytes
            .iter()
            .enumerate()
            .filter(|(index, _)| !(at..at + 4).contains(index));
        let sum: u32 = others.map(|(_, byte)| u32::from(*byte)).sum();
        assert_eq!(stored, !sum);
    }

    #[test]
    fn a_fixed_footer_has_the_fields_of_the_specification() {
        let footer = fixed_footer(700 << 20, &DESCRIPTION).unwrap();
        assert_eq!(footer.len(), 512);
        assert_eq!(footer[..8], *b"conectix");
        let fields = [
            (8, 4, 2),
            (12, 4, 0x10000),
            (16, 8, u64::MAX),
            (24, 4, 0x0102_0304),
            (32, 4, 0x50003),
            (40, 8, 700 << 20),
            (48, 8, 700 << 20),
            (56, 2, 65535),
            (58, 1, 16),
            (59, 1, 255),
            (60, 4, 2),
        ];
        for (at, len, expected) in fields {
            assert_eq!(number(&footer, at, len), expected, "at {at}");
        }
        assert_eq!(footer[28..32], *b"qem2");
        assert_eq!(footer[36..40], *b"Wi2k");
        assert_eq!(footer[68..84], [0xa5; 16]);
        assert_checksum(&footer, 64);
    }

    #[test]
    fn blocks_of_a_dynamic_disk_come_in_the_order_in_which_they_are_asked_for() {
        let mut disk = Dynamic::new(5 << 20, DESCRIPTION).unwrap();
        let (second, bitmap) = disk.block(1).unwrap();
        assert_eq!((second, bitmap), (2048 + 512, Some(vec![0xff; 512])));
        assert_eq!(disk.block(1).unwrap(), (second, None));
        let (third, bitmap) = disk.block(2).unwrap();
        assert_eq!(third, second + BLOCK_BYTES + 512);
        assert!(bitmap.is_some());
        assert_eq!(disk.block(3), Err(VhdError::Block(3)));
        let tables = disk.finish();
        assert_eq!(tables.head.len(), 2048);
        assert_eq!(tables.head[..512], tables.footer);
        assert_eq!(number(&tables.footer, 16, 8), 512);
        assert_eq!(number(&tables.footer, 60, 4), 3);
        assert_eq!(tables.footer_offset_bytes, third + BLOCK_BYTES);
        let header = &tables.head[512..1536];
        assert_eq!(header[..8], *b"cxsparse");
        assert_eq!(number(header, 16, 8), 1536);
        assert_eq!(number(header, 28, 4), 3);
        assert_eq!(number(header, 32, 4), 2 << 20);
        assert_checksum(header, 36);
        let entries: Vec<u64> = (0..4)
            .map(|entry| number(&tables.head, 1536 + entry * 4, 4))
            .collect();
        let sector = |place: u64| (place - 512) / 512;
        assert_eq!(entries, [0xffff_ffff, sector(second), sector(third), 0xffff_ffff]);
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(fixed_footer(513, &DESCRIPTION).is_err());
        assert!(fixed_footer(MAX_VIRTUAL_BYTES, &DESCRIPTION).is_ok());
        assert!(Dynamic::new(MAX_VIRTUAL_BYTES + 512, DESCRIPTION).is_err());
        let early = Description {
            time_seconds: 0,
            ..DESCRIPTION
        };
        assert_eq!(number(&fixed_footer(512, &early).unwrap(), 24, 4), 0);
    }
}
