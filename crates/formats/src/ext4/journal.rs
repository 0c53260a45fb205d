//! The journal: an inode of contiguous blocks, of which only the first is written. Its fields are big-endian.
//!
//! ```text
//! 0 h_magic c03b3998 · 4 h_blocktype 4 · 8 h_sequence · c s_blocksize · 10 s_maxlen · 14 s_first 1
//! 18 s_sequence 1 · 1c s_start 0 (clean) · 30 s_uuid [16] · 40 s_nr_users 1
//! ```

use super::BLOCK_BYTES;
use super::fields::Fields;

/// The sizes that kernels take, in bytes.
pub(super) const SIZES: std::ops::RangeInclusive<u64> = 1024 * BLOCK_BYTES..=10_240_000 * BLOCK_BYTES;

/// How large the journal of a file system of so many blocks usually is; 0 for none.
pub(super) fn usual_blocks(blocks: u64) -> u32 {
    match blocks {
        0..2048 => 0,
        2048..0x8000 => 1024,
        0x8000..0x4_0000 => 4096,
        0x4_0000..0x8_0000 => 8192,
        0x8_0000..0x40_0000 => 16384,
        0x40_0000..0x80_0000 => 32768,
        0x80_0000..0x100_0000 => 65536,
        0x100_0000..0x200_0000 => 131_072,
        _ => 262_144,
    }
}

/// The superblock of an empty journal.
pub(super) fn superblock(blocks: u32, uuid: &[u8; 16]) -> Vec<u8> {
    let mut record = vec![0; 1024];
    let mut put_be32 = |offset, value: u32| record.put(offset, &value.to_be_bytes());
    put_be32(0x0, 0xc03b_3998); // h_magic
    put_be32(0x4, 4); // h_blocktype: superblock, version 2
    put_be32(0xc, BLOCK_BYTES as u32); // s_blocksize
    put_be32(0x10, blocks); // s_maxlen
    put_be32(0x14, 1); // s_first
    put_be32(0x18, 1); // s_sequence
    put_be32(0x40, 1); // s_nr_users
    record.put(0x30, uuid); // s_uuid
    record
}
