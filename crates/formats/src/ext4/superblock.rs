//! The superblock: 1024 bytes, at byte 1024 of the first group and at the start of the other groups that have one.
//!
//! Fields are named at the lines that write them, offsets as in the kernel's documentation; what is not written is 0.

use super::checksum::Checksum;
use super::fields::Fields;
use super::group::{DESCRIPTOR_BYTES, GROUP_BLOCKS, Geometry, INODE_BYTES, LOG_GROUPS_PER_FLEX};
use super::inventory::{FIRST_INODE, JOURNAL_INODE};
use super::{Options, extent};

/// The length of the superblock, and where the first one is.
pub(super) const SUPERBLOCK_BYTES: usize = 1024;

const CHECKSUM: usize = 0x3fc;
const LOG_BLOCK_SIZE: u32 = 2;

/// Compatible features: a journal; extended attributes, indexed directories.
const HAS_JOURNAL: u32 = 0x4;
const COMPAT: u32 = 0x8 | 0x20;
/// Incompatible ones: file types in directories, extents, 64-bit numbers, flexible groups.
const INCOMPAT: u32 = 0x2 | 0x40 | 0x80 | 0x200;
/// Another one: inodes for attribute values.
const EA_INODE: u32 = 0x400;
/// Read-only compatible ones: few superblock copies, large and huge files, many subdirectories, large inodes, metadata
/// checksums, fs-verity.
const RO_COMPAT: u32 = 0x1 | 0x2 | 0x8 | 0x20 | 0x40 | 0x400 | 0x8000;

/// What a superblock says that is not an option.
#[derive(Debug)]
pub(super) struct Totals<'a> {
    pub(super) geometry: &'a Geometry,
    pub(super) free_blocks: u64,
    pub(super) free_inodes: u32,
    /// `i_block` and the size of the journal's inode, if there is one.
    pub(super) journal: Option<([u8; extent::ROOT_BYTES], u64)>,
    /// Whether there are inodes for attribute values.
    pub(super) has_values: bool,
}

/// The superblock that lies in `group`.
pub(super) fn write(options: &Options, totals: &Totals<'_>, group: u16) -> [u8; SUPERBLOCK_BYTES] {
    let mut record = [0; SUPERBLOCK_BYTES];
    put_counts(&mut record, options, totals);
    put_constants(&mut record);
    put_identity(&mut record, options);
    record.put_u16(0x5a, group); // s_block_group_nr
    record.put_u32(0x5c, COMPAT | totals.journal.map_or(0, |_| HAS_JOURNAL)); // s_feature_compat
    let incompat = INCOMPAT | if totals.has_values { EA_INODE } else { 0 };
    record.put_u32(0x60, incompat); // s_feature_incompat
    if let Some((i_block, size_bytes)) = &totals.journal {
        record.put_u32(0xe0, JOURNAL_INODE); // s_journal_inum
        record.put_u8(0xfd, 1); // s_jnl_backup_type
        record.put(0x10c, i_block); // s_jnl_blocks
        record.put_u32(0x148, (size_bytes >> 32) as u32);
        record.put_u32(0x14c, *size_bytes as u32);
    }
    let checksum = Checksum::START.with(&record[..CHECKSUM]).value();
    record.put_u32(CHECKSUM, checksum); // s_checksum
    record
}

fn put_counts(record: &mut [u8], options: &Options, totals: &Totals<'_>) {
    let geometry = totals.geometry;
    let reserved = geometry.blocks / 100 * u64::from(options.reserved_percent);
    record.put_u32(0x0, geometry.inodes()); // s_inodes_count
    record.put_u64_split(0x4, 0x150, geometry.blocks); // s_blocks_count
    record.put_u64_split(0x8, 0x154, reserved); // s_r_blocks_count
    record.put_u64_split(0xc, 0x158, totals.free_blocks); // s_free_blocks_count
    record.put_u32(0x10, totals.free_inodes); // s_free_inodes_count
    record.put_u32(0x20, GROUP_BLOCKS as u32); // s_blocks_per_group
    record.put_u32(0x24, GROUP_BLOCKS as u32); // s_clusters_per_group
    record.put_u32(0x28, geometry.inodes_per_group); // s_inodes_per_group
}

fn put_constants(record: &mut [u8]) {
    record.put_u32(0x18, LOG_BLOCK_SIZE); // s_log_block_size
    record.put_u32(0x1c, LOG_BLOCK_SIZE); // s_log_cluster_size
    record.put_u16(0x36, u16::MAX); // s_max_mnt_count: never
    record.put_u16(0x38, 0xef53); // s_magic
    record.put_u16(0x3a, 1); // s_state: clean
    record.put_u16(0x3c, 1); // s_errors: continue
    record.put_u32(0x4c, 1); // s_rev_level
    record.put_u32(0x54, FIRST_INODE); // s_first_ino
    record.put_u16(0x58, INODE_BYTES as u16); // s_inode_size
    record.put_u32(0x64, RO_COMPAT); // s_feature_ro_compat
    record.put_u8(0xfc, 1); // s_def_hash_version: half MD4
    record.put_u16(0xfe, DESCRIPTOR_BYTES as u16); // s_desc_size
    record.put_u32(0x100, 0xc); // s_default_mount_opts: user_xattr, acl
    record.put_u16(0x15c, 32); // s_min_extra_isize
    record.put_u16(0x15e, 32); // s_want_extra_isize
    record.put_u32(0x160, 1); // s_flags: the directory hash takes bytes as signed
    record.put_u8(0x174, LOG_GROUPS_PER_FLEX); // s_log_groups_per_flex
    record.put_u8(0x175, 1); // s_checksum_type: CRC-32C
}

fn put_identity(record: &mut [u8], options: &Options) {
    record.put(0x68, &options.uuid); // s_uuid
    record.put(0x78, options.label.as_bytes()); // s_volume_name
    record.put(0xec, &options.hash_seed); // s_hash_seed
    let [s0, s1, s2, s3, s4, ..] = options.time.seconds.to_le_bytes();
    for (low, high) in [(0x30, 0x274), (0x40, 0x277), (0x108, 0x276)] {
        record.put(low, &[s0, s1, s2, s3]); // s_wtime, s_lastcheck, s_mkfs_time
        record.put_u8(high, s4);
    }
}
