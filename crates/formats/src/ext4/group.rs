//! Block groups: how the file system is divided, where the metadata of each group is, and its descriptor.
//!
//! ```text
//! descriptor  0 bg_block_bitmap · 4 bg_inode_bitmap · 8 bg_inode_table · c bg_free_blocks_count · e bg_free_inodes_count
//!             10 bg_used_dirs_count · 12 bg_flags · 18 bg_block_bitmap_csum · 1a bg_inode_bitmap_csum
//!             1c bg_itable_unused · 1e bg_checksum · 20 high halves, in the same order
//! ```
//!
//! The bitmaps and inode tables of 16 groups lie together at the start of the first; copies of the superblock and the
//! descriptors lie at the start of the groups 0, 1 and the powers of 3, 5 and 7.

use std::ops::Range;

use super::BLOCK_BYTES;
use super::checksum::Checksum;
use super::fields::Fields;

/// Blocks in a group, but for the last.
pub(super) const GROUP_BLOCKS: u64 = 8 * BLOCK_BYTES;
/// The size of an inode.
pub(super) const INODE_BYTES: usize = 256;
/// The size of a descriptor.
pub(super) const DESCRIPTOR_BYTES: usize = 64;
/// `s_log_groups_per_flex`.
pub(super) const LOG_GROUPS_PER_FLEX: u8 = 4;

const GROUPS_PER_FLEX: usize = 1 << LOG_GROUPS_PER_FLEX;
const INODES_PER_BLOCK: u64 = BLOCK_BYTES / INODE_BYTES as u64;
const DESCRIPTORS_PER_BLOCK: u64 = BLOCK_BYTES / DESCRIPTOR_BYTES as u64;
const MAX_INODES_PER_GROUP: u64 = 8 * BLOCK_BYTES;
/// One inode is made for so many blocks (16 KiB).
const BLOCKS_PER_INODE: u64 = 4;
/// A last group with less room than this beside its own metadata is left out.
const LAST_GROUP_BLOCKS: u64 = 50;
/// Descriptors may take half of a group.
const MAX_DESCRIPTOR_BLOCKS: u64 = GROUP_BLOCKS / 2;
/// The most blocks that a file system can have.
pub(super) const MAX_BLOCKS: u64 = MAX_DESCRIPTOR_BLOCKS * DESCRIPTORS_PER_BLOCK * GROUP_BLOCKS;

/// `EXT4_BG_INODE_UNINIT`, `EXT4_BG_BLOCK_UNINIT`, `EXT4_BG_INODE_ZEROED`.
const INODE_UNINIT: u16 = 1;
const BLOCK_UNINIT: u16 = 2;
const INODE_ZEROED: u16 = 4;

/// Where the metadata of a group is, in blocks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) block_bitmap: u64,
    pub(super) inode_bitmap: u64,
    pub(super) inode_table: u64,
}

/// How the file system is divided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Geometry {
    /// `s_blocks_count`.
    pub(super) blocks: u64,
    /// `s_inodes_per_group`.
    pub(super) inodes_per_group: u32,
    /// How many blocks one copy of all descriptors takes.
    pub(super) descriptor_blocks: u64,
    /// Every group.
    pub(super) groups: Vec<Group>,
    /// The blocks of all the above, in order.
    pub(super) fixed: Vec<Range<u64>>,
}

impl Geometry {
    /// Divides that many blocks, or a few less; `None` if they are too few for the metadata of that many inodes.
    pub(super) fn of(blocks: u64, inodes: u64) -> Option<Self> {
        let inodes_per_group = inodes_per_group(blocks, inodes)?;
        let table_blocks = u64::from(inodes_per_group) / INODES_PER_BLOCK;
        let blocks = without_small_last_group(blocks, table_blocks)?;
        let inodes_per_group = inodes_per_group.max(self::inodes_per_group(blocks, inodes)?);
        let count = blocks.div_ceil(GROUP_BLOCKS) as usize;
        let mut geometry = Geometry {
            blocks,
            inodes_per_group,
            descriptor_blocks: (count as u64).div_ceil(DESCRIPTORS_PER_BLOCK),
            groups: vec![Group::default(); count],
            fixed: Vec::new(),
        };
        geometry.place();
        let end = geometry.fixed.last().map_or(0, |range| range.end);
        (end <= blocks).then_some(geometry)
    }

    /// How many blocks are left for everything else.
    pub(super) fn free_blocks(&self) -> u64 {
        let fixed: u64 = self.fixed.iter().map(|range| range.end - range.start).sum();
        self.blocks - fixed
    }

    /// How many inodes there are.
    pub(super) fn inodes(&self) -> u32 {
        self.inodes_per_group * self.groups.len() as u32
    }

    /// The blocks of an inode table.
    pub(super) fn table_blocks(&self) -> u64 {
        u64::from(self.inodes_per_group) / INODES_PER_BLOCK
    }

    /// The blocks of a group.
    pub(super) fn group_blocks(&self, group: usize) -> Range<u64> {
        let start = group as u64 * GROUP_BLOCKS;
        start..(start + GROUP_BLOCKS).min(self.blocks)
    }

    /// The blocks of a group that hold copies of the superblock and the descriptors.
    pub(super) fn copy_blocks(&self, group: usize) -> Range<u64> {
        let start = group as u64 * GROUP_BLOCKS;
        match has_superblock(group) {
            true => start..start + 1 + self.descriptor_blocks,
            false => start..start,
        }
    }

    /// The parts of [`Geometry::fixed`] that lie in a group.
    pub(super) fn fixed_in(&self, group: usize) -> impl Iterator<Item = Range<u64>> + '_ {
        let blocks = self.group_blocks(group);
        let first = self.fixed.partition_point(|range| range.end <= blocks.start);
        let inside = self.fixed[first..]
            .iter()
            .take_while(move |range| range.start < blocks.end);
        inside.map(move |range| range.start.max(blocks.start)..range.end.min(blocks.end))
    }

    fn place(&mut self) {
        for first in (0..self.groups.len()).step_by(GROUPS_PER_FLEX) {
            let flex = first..(first + GROUPS_PER_FLEX).min(self.groups.len());
            let mut cursor = first as u64 * GROUP_BLOCKS;
            for group in flex.clone() {
                self.fixed.push(self.copy_blocks(group));
                self.groups[group].block_bitmap = self.place_run(&mut cursor, 1);
            }
            for group in flex.clone() {
                self.groups[group].inode_bitmap = self.place_run(&mut cursor, 1);
            }
            for group in flex {
                self.groups[group].inode_table = self.place_run(&mut cursor, self.table_blocks());
            }
        }
        self.fixed.retain(|range| !range.is_empty());
        self.fixed.sort_by_key(|range| range.start);
        self.fixed.dedup_by(|next, before| {
            let adjacent = next.start == before.end;
            if adjacent {
                before.end = next.end;
            }
            adjacent
        });
    }

    /// Takes the next blocks that are no copies.
    fn place_run(&mut self, cursor: &mut u64, blocks: u64) -> u64 {
        let first = (*cursor / GROUP_BLOCKS) as usize;
        let last = ((*cursor + blocks - 1) / GROUP_BLOCKS) as usize;
        for group in first..=last {
            let copy = self.copy_blocks(group);
            if copy.start < *cursor + blocks && *cursor < copy.end {
                *cursor = copy.end;
            }
        }
        let start = *cursor;
        *cursor += blocks;
        self.fixed.push(start..*cursor);
        start
    }
}

/// `sparse_super`: which groups have copies of the superblock.
pub(super) fn has_superblock(group: usize) -> bool {
    let is_power_of = |base: usize| {
        let mut power = base;
        while power < group {
            power *= base;
        }
        power == group
    };
    group <= 1 || is_power_of(3) || is_power_of(5) || is_power_of(7)
}

fn inodes_per_group(blocks: u64, inodes: u64) -> Option<u32> {
    let groups = blocks.div_ceil(GROUP_BLOCKS).max(1);
    let most = MAX_INODES_PER_GROUP.min(u64::from(u32::MAX) / groups / INODES_PER_BLOCK * INODES_PER_BLOCK);
    let needed = inodes.div_ceil(groups).next_multiple_of(INODES_PER_BLOCK);
    let usual = (blocks / BLOCKS_PER_INODE)
        .div_ceil(groups)
        .next_multiple_of(INODES_PER_BLOCK);
    (needed <= most).then(|| usual.clamp(needed, most) as u32)
}

fn without_small_last_group(blocks: u64, table_blocks: u64) -> Option<u64> {
    let last = blocks % GROUP_BLOCKS;
    let group = (blocks / GROUP_BLOCKS) as usize;
    let copy = match has_superblock(group) {
        true => 1 + (group as u64 + 1).div_ceil(DESCRIPTORS_PER_BLOCK),
        false => 0,
    };
    match blocks - last {
        0 if last == 0 => None,
        _ if last == 0 || last >= copy + 2 + table_blocks + LAST_GROUP_BLOCKS => Some(blocks),
        0 => None,
        rest => Some(rest),
    }
}

/// What a descriptor says beside where things are.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Usage {
    pub(super) free_blocks: u32,
    pub(super) free_inodes: u32,
    pub(super) directories: u32,
    /// Inodes at the end of the table that were never used.
    pub(super) unused_inodes: u32,
    /// The checksum of the block bitmap; `None` if it is not stored, as it follows from the rest.
    pub(super) block_bitmap: Option<u32>,
    /// The checksum of the inode bitmap; `None` if no inode is used.
    pub(super) inode_bitmap: Option<u32>,
}

impl Usage {
    fn flags(&self) -> u16 {
        let inodes = self.inode_bitmap.map_or(INODE_UNINIT, |_| 0);
        let blocks = self.block_bitmap.map_or(BLOCK_UNINIT, |_| 0);
        INODE_ZEROED | inodes | blocks
    }
}

/// The descriptor of a group.
pub(super) fn descriptor(
    number: u32,
    group: &Group,
    usage: &Usage,
    file_system: Checksum,
) -> [u8; DESCRIPTOR_BYTES] {
    let mut record = [0; DESCRIPTOR_BYTES];
    record.put_u64_split(0x0, 0x20, group.block_bitmap); // bg_block_bitmap
    record.put_u64_split(0x4, 0x24, group.inode_bitmap); // bg_inode_bitmap
    record.put_u64_split(0x8, 0x28, group.inode_table); // bg_inode_table
    record.put_u32_split(0xc, 0x2c, usage.free_blocks); // bg_free_blocks_count
    record.put_u32_split(0xe, 0x2e, usage.free_inodes); // bg_free_inodes_count
    record.put_u32_split(0x10, 0x30, usage.directories); // bg_used_dirs_count
    record.put_u16(0x12, usage.flags()); // bg_flags
    record.put_u32_split(0x18, 0x38, usage.block_bitmap.unwrap_or(0)); // bg_block_bitmap_csum
    record.put_u32_split(0x1a, 0x3a, usage.inode_bitmap.unwrap_or(0)); // bg_inode_bitmap_csum
    record.put_u32_split(0x1c, 0x32, usage.unused_inodes); // bg_itable_unused
    let checksum = file_system.with(&number.to_le_bytes()).with(&record).value();
    record.put_u16(0x1e, checksum as u16); // bg_checksum
    record
}

/// A bitmap of one block, with these bits set.
pub(super) fn bitmap(set: impl Iterator<Item = Range<u64>>) -> Vec<u8> {
    let mut bytes = vec![0u8; BLOCK_BYTES as usize];
    for range in set {
        let (mut bit, end) = (range.start as usize, range.end as usize);
        while bit < end && (bit % 8 != 0 || end - bit < 8) {
            bytes[bit / 8] |= 1 << (bit % 8);
            bit += 1;
        }
        bytes[bit / 8..(end / 8).max(bit / 8)].fill(0xff);
        for bit in bit.max(end / 8 * 8)..end {
            bytes[bit / 8] |= 1 << (bit % 8);
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_are_in_groups_0_1_and_powers_of_3_5_and_7() {
        let with: Vec<usize> = (0..130).filter(|group| has_superblock(*group)).collect();
        assert_eq!(with, [0, 1, 3, 5, 7, 9, 25, 27, 49, 81, 125]);
    }

    #[test]
    fn bitmaps_set_what_they_are_told() {
        for (start, end) in [
            (0, 0),
            (0, 1),
            (3, 6),
            (3, 9),
            (7, 8),
            (8, 16),
            (5, 100),
            (32760, 32768),
            (1, 32768),
        ] {
            let bytes = bitmap(std::iter::once(start..end));
            for bit in 0..GROUP_BLOCKS {
                let set = bytes[bit as usize / 8] >> (bit % 8) & 1 == 1;
                assert_eq!(set, (start..end).contains(&bit), "bit {bit} of {start}..{end}");
            }
        }
    }

    #[test]
    fn metadata_never_overlaps_and_lies_inside() {
        for groups in [1u64, 2, 15, 16, 17, 26, 33, 50] {
            for rest in [0, 300, 562, 563, 564, 700, 5000, 32767] {
                for inodes in [11, 9000, 32768 * groups] {
                    let blocks = (groups - 1) * GROUP_BLOCKS + rest;
                    let Some(geometry) = Geometry::of(blocks, inodes) else {
                        continue;
                    };
                    assert!(geometry.blocks <= blocks);
                    assert!(u64::from(geometry.inodes()) >= inodes);
                    let apart = geometry.fixed.windows(2).all(|pair| pair[0].end < pair[1].start);
                    assert!(apart, "{geometry:?}");
                    let copies: u64 = (0..geometry.groups.len())
                        .map(|group| geometry.copy_blocks(group))
                        .map(|range| range.end - range.start)
                        .sum();
                    let tables = geometry.groups.len() as u64 * (2 + geometry.table_blocks());
                    assert_eq!(geometry.blocks - geometry.free_blocks(), copies + tables);
                }
            }
        }
    }
}
