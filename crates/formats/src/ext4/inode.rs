//! One inode: 128 bytes of the first ext2, 32 more, and room for extended attributes.
//!
//! ```text
//! 0 i_mode · 2 i_uid · 4 i_size_lo · 8 i_atime · c i_ctime · 10 i_mtime · 14 i_dtime · 18 i_gid · 1a i_links_count
//! 1c i_blocks_lo · 20 i_flags · 24 l_i_version · 28 i_block [60] · 64 i_generation · 68 i_file_acl_lo · 6c i_size_high
//! 74 l_i_blocks_high · 76 l_i_file_acl_high · 78 l_i_uid_high · 7a l_i_gid_high · 7c l_i_checksum_lo
//! 80 i_extra_isize 32 · 82 i_checksum_hi · 84 i_ctime_extra · 88 i_mtime_extra · 8c i_atime_extra · 90 i_crtime
//! 94 i_crtime_extra · a0 extended attributes [96]
//! ```

use super::checksum::Checksum;
use super::extent;
use super::fields::Fields;
use super::group::INODE_BYTES;
use crate::tree::{Device, Timestamp};

/// `EXT4_INDEX_FL`: a directory with an index.
pub(super) const INDEXED: u32 = 0x1000;
/// `EXT4_EXTENTS_FL`.
pub(super) const EXTENTS: u32 = 0x80000;
/// `EXT4_VERITY_FL`.
pub(super) const VERITY: u32 = 0x10_0000;
/// `EXT4_EA_INODE_FL`: the value of an attribute.
pub(super) const VALUE: u32 = 0x20_0000;

/// The kinds in `i_mode`.
pub(super) const FIFO: u16 = 0x1000;
pub(super) const CHARACTER_DEVICE: u16 = 0x2000;
pub(super) const DIRECTORY: u16 = 0x4000;
pub(super) const BLOCK_DEVICE: u16 = 0x6000;
pub(super) const REGULAR: u16 = 0x8000;
pub(super) const SYMLINK: u16 = 0xa000;
pub(super) const SOCKET: u16 = 0xc000;

const EXTRA_ISIZE: u16 = 32;
const XATTRS: usize = 0xa0;
const SECTORS_PER_BLOCK: u64 = 8;

/// What an inode says.
#[derive(Debug)]
pub(super) struct Fixed<'a> {
    /// Kind and permissions.
    pub(super) mode: u16,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) size_bytes: u64,
    pub(super) links: u16,
    /// All blocks that it uses, of 4 KiB.
    pub(super) blocks: u64,
    pub(super) flags: u32,
    /// `i_block`: extents, target or device number.
    pub(super) i_block: [u8; extent::ROOT_BYTES],
    /// The block of extended attributes, or 0.
    pub(super) xattr_block: u64,
    /// What is behind the fields: attributes, 96 bytes at most.
    pub(super) xattrs: &'a [u8],
    pub(super) times: Times,
    /// How often it was changed.
    pub(super) version: u32,
}

/// When things happened to an inode.
#[derive(Debug)]
pub(super) struct Times {
    pub(super) access: Timestamp,
    pub(super) change: Timestamp,
    pub(super) modification: Timestamp,
    pub(super) creation: Timestamp,
}

impl Times {
    /// Those of an inode that was made and changed at `made`, and that nobody has read since its modification.
    pub(super) fn unread(modification: Timestamp, made: Timestamp) -> Self {
        Times {
            access: modification,
            change: made,
            modification,
            creation: made,
        }
    }
}

/// The inode as it is stored; `checksum` is where its checksums start.
pub(super) fn write(inode: &Fixed<'_>, checksum: Checksum) -> [u8; INODE_BYTES] {
    let mut record = [0; INODE_BYTES];
    record.put_u16(0x0, inode.mode); // i_mode
    record.put_u32_split(0x2, 0x78, inode.uid); // i_uid
    record.put_u32_split(0x18, 0x7a, inode.gid); // i_gid
    record.put_u64_split(0x4, 0x6c, inode.size_bytes); // i_size
    record.put_u16(0x1a, inode.links); // i_links_count
    let sectors = inode.blocks * SECTORS_PER_BLOCK;
    record.put_u32(0x1c, sectors as u32); // i_blocks_lo
    record.put_u16(0x74, (sectors >> 32) as u16); // l_i_blocks_high
    record.put_u32(0x20, inode.flags); // i_flags
    record.put(0x28, &inode.i_block); // i_block
    record.put_u32(0x68, inode.xattr_block as u32); // i_file_acl_lo
    record.put_u16(0x76, (inode.xattr_block >> 32) as u16); // l_i_file_acl_high
    record.put_u16(0x80, EXTRA_ISIZE); // i_extra_isize
    record.put_u32(0x24, inode.version); // l_i_version
    put_time(&mut record, 0x8, 0x8c, &inode.times.access); // i_atime
    put_time(&mut record, 0xc, 0x84, &inode.times.change); // i_ctime
    put_time(&mut record, 0x10, 0x88, &inode.times.modification); // i_mtime
    put_time(&mut record, 0x90, 0x94, &inode.times.creation); // i_crtime
    record.put(XATTRS, inode.xattrs);
    let sum = checksum.with(&record).value();
    record.put_u32_split(0x7c, 0x82, sum); // i_checksum
    record
}

/// A time: 32 bits of seconds that count as signed, then two bits of epoch and 30 of nanoseconds.
fn put_time(record: &mut [u8], seconds: usize, extra: usize, time: &Timestamp) {
    let low = time.seconds as i32;
    let epoch = (time.seconds - i64::from(low)) >> 32;
    record.put_u32(seconds, low as u32);
    record.put_u32(extra, time.nanoseconds << 2 | epoch as u32 & 3);
}

/// A device number in `i_block`: the old form of 8 and 8 bits first, or the new one second.
pub(super) fn device(device: &Device) -> [u8; extent::ROOT_BYTES] {
    let mut i_block = [0; extent::ROOT_BYTES];
    let Device { major, minor } = *device;
    if major < 256 && minor < 256 {
        i_block.put_u32(0, major << 8 | minor);
    } else {
        i_block.put_u32(4, minor & 0xff | major << 8 | (minor & !0xff) << 12);
    }
    i_block
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_reach_from_1901_to_2446() {
        for (seconds, nanoseconds, low, extra) in [
            (0i64, 1u32, 0u32, 4u32),
            (-1, 0, u32::MAX, 0),
            (-(1 << 31), 0, 1 << 31, 0),
            (1 << 31, 0, 1 << 31, 1),
            (1 << 32, 999_999_999, 0, 999_999_999 << 2 | 1),
            ((1 << 34) - (1 << 31) - 1, 0, (1u32 << 31) - 1, 3),
        ] {
            let mut record = [0; 8];
            put_time(&mut record, 0, 4, &Timestamp { seconds, nanoseconds });
            assert_eq!(record[..4], low.to_le_bytes(), "{seconds}");
            assert_eq!(record[4..], extra.to_le_bytes(), "{seconds}");
        }
    }

    #[test]
    fn device_numbers_take_the_form_that_holds_them() {
        let words = |major, minor| {
            let bytes = device(&Device { major, minor });
            [0, 4].map(|at| u32::from_le_bytes(std::array::from_fn(|i| bytes[at + i])))
        };
        assert_eq!(words(8, 1), [0x801, 0]);
        assert_eq!(words(259, 1), [0, 0x10301]);
        assert_eq!(words(8, 0x12345), [0, 0x1230_0845]);
    }
}
