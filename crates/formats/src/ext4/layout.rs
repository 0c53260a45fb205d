//! The plan: where everything goes, from names and sizes alone.

use super::allocation::{Allocator, Placement, Role, Run};
use super::checksum::Checksum;
use super::error::Error;
use super::extent::ROOT_BYTES;
use super::group::{self, GROUP_BLOCKS, Geometry, MAX_BLOCKS, Usage};
use super::inventory::{Inventory, JOURNAL_INODE, Slot, number};
use super::node::{self, Segment};
use super::superblock::Totals;
use super::{BLOCK_BYTES, File, Options, extent, journal, size};
use crate::tree::{Node, Tree};

const LABEL_BYTES: usize = 16;
const MAX_RESERVED_PERCENT: u8 = 50;

/// A planned file system; see [`Layout::pieces`].
#[derive(Debug)]
pub struct Layout<'t> {
    pub(super) options: Options,
    pub(super) inventory: Inventory<'t>,
    pub(super) geometry: Geometry,
    pub(super) placed: Placed,
    pub(super) usage: Vec<Usage>,
    pub(super) file_system: Checksum,
}

/// Where everything is that is no metadata of groups.
#[derive(Debug)]
pub(super) struct Placed {
    /// In ascending order.
    pub(super) runs: Vec<Run>,
    pub(super) journal: Placement,
    pub(super) journal_blocks: u32,
    /// By [`Slot`].
    pub(super) inodes: Vec<Placement>,
    /// From here on, all blocks are free but those of groups' metadata.
    pub(super) free_from: u64,
}

/// Plans the file system of a tree.
pub fn plan<'t>(tree: &'t Tree<File>, options: &Options) -> Result<Layout<'t>, Error> {
    check_options(options)?;
    let inventory = Inventory::of(tree, options)?;
    let geometry = Geometry::of(options.size_bytes / BLOCK_BYTES, inventory.inodes());
    let fitting = geometry.and_then(|geometry| {
        let placed = place(&inventory, &geometry, options)?;
        Some((geometry, placed))
    });
    let Some((geometry, placed)) = fitting else {
        return Err(Error::TooSmall {
            size_bytes: options.size_bytes,
            needed_bytes: size::needed_bytes(&inventory, options, 0)?,
        });
    };
    let mut layout = Layout {
        options: options.clone(),
        usage: Vec::new(),
        file_system: Checksum::of_file_system(&options.uuid),
        inventory,
        geometry,
        placed,
    };
    layout.usage = layout.count_usage();
    Ok(layout)
}

impl Layout<'_> {
    /// The size of the file system: what [`Options::size_bytes`] gave, but for a remainder too small to be of use.
    pub fn size_bytes(&self) -> u64 {
        self.geometry.blocks * BLOCK_BYTES
    }

    /// How much is free, with what is reserved for root.
    pub fn free_bytes(&self) -> u64 {
        self.free_blocks() * BLOCK_BYTES
    }

    /// What the superblock says beside the options.
    pub(super) fn totals(&self) -> Totals<'_> {
        Totals {
            geometry: &self.geometry,
            free_blocks: self.free_blocks(),
            free_inodes: self.usage.iter().map(|usage| usage.free_inodes).sum(),
            journal: self.journal_i_block(),
            has_values: self.inventory.has_values(),
        }
    }

    /// `i_block` of the journal's inode and its size in bytes, if there is a journal.
    pub(super) fn journal_i_block(&self) -> Option<([u8; ROOT_BYTES], u64)> {
        let blocks = self.placed.journal_blocks;
        let (i_block, _) = self.extent_tree(JOURNAL_INODE, &self.placed.journal);
        (blocks > 0).then_some((i_block, u64::from(blocks) * BLOCK_BYTES))
    }

    /// The root of the extent tree of an inode, and its blocks.
    pub(super) fn extent_tree(&self, number: u32, placement: &Placement) -> ([u8; ROOT_BYTES], Vec<u8>) {
        let runs = &self.placed.runs;
        let mappings: Vec<_> = placement.mapped(runs).iter().map(|run| run.mapping).collect();
        let nodes: Vec<u64> = placement
            .nodes(runs)
            .iter()
            .flat_map(|run| (0..u64::from(run.mapping.blocks)).map(|block| run.mapping.physical + block))
            .collect();
        extent::write(&mappings, &nodes, self.file_system.of_inode(number))
    }

    /// The block bitmap of a group.
    pub(super) fn block_bitmap(&self, group: usize) -> Vec<u8> {
        let blocks = self.geometry.group_blocks(group);
        let padding = blocks.end..blocks.start + GROUP_BLOCKS;
        let taken = blocks.start..self.placed.free_from.clamp(blocks.start, blocks.end);
        let set = self.geometry.fixed_in(group).chain([taken, padding]);
        group::bitmap(set.map(|range| range.start - blocks.start..range.end - blocks.start))
    }

    /// The inode bitmap of a group.
    pub(super) fn inode_bitmap(&self, group: usize) -> Vec<u8> {
        let inodes = u64::from(self.geometry.inodes_per_group);
        let used = u64::from(self.used_inodes(group));
        group::bitmap([0..used, inodes..8 * BLOCK_BYTES].into_iter())
    }

    /// How many inodes of a group are in use: the first ones.
    pub(super) fn used_inodes(&self, group: usize) -> u32 {
        let per_group = u64::from(self.geometry.inodes_per_group);
        let before = group as u64 * per_group;
        self.inventory.inodes().saturating_sub(before).min(per_group) as u32
    }

    fn free_blocks(&self) -> u64 {
        self.usage.iter().map(|usage| u64::from(usage.free_blocks)).sum()
    }

    fn count_usage(&self) -> Vec<Usage> {
        let mut usage: Vec<Usage> = (0..self.geometry.groups.len())
            .map(|group| self.usage_of(group))
            .collect();
        for slot in 0..self.inventory.len() {
            if self.inventory.record(slot).directory_blocks > 0 {
                let group = (number(slot) - 1) / self.geometry.inodes_per_group;
                usage[group as usize].directories += 1;
            }
        }
        usage
    }

    fn usage_of(&self, group: usize) -> Usage {
        let bitmap = self.block_bitmap(group);
        let used_blocks: u32 = bitmap.iter().map(|byte| byte.count_ones()).sum();
        let used_inodes = self.used_inodes(group);
        let free_inodes = self.geometry.inodes_per_group - used_inodes;
        let inode_bitmap_bytes = self.geometry.inodes_per_group as usize / 8;
        let copies = self.geometry.copy_blocks(group);
        // The last group's bitmap says where the file system ends.
        let implied =
            u64::from(used_blocks) == copies.end - copies.start && group + 1 < self.geometry.groups.len();
        Usage {
            free_blocks: GROUP_BLOCKS as u32 - used_blocks,
            free_inodes,
            directories: 0,
            unused_inodes: free_inodes,
            block_bitmap: (!implied).then(|| self.file_system.with(&bitmap).value()),
            inode_bitmap: (used_inodes > 0).then(|| {
                self.file_system
                    .with(&self.inode_bitmap(group)[..inode_bitmap_bytes])
                    .value()
            }),
        }
    }
}

fn check_options(options: &Options) -> Result<(), Error> {
    let refuse = |option, value: String, reason| {
        Err(Error::Option {
            option,
            value,
            reason,
        })
    };
    if options.label.len() > LABEL_BYTES {
        return refuse("label", options.label.clone(), "16 bytes at most");
    }
    if !node::is_time(&options.time) {
        return refuse("time", options.time.seconds.to_string(), "1901 to 2310 at most");
    }
    if options.reserved_percent > MAX_RESERVED_PERCENT {
        return refuse(
            "reserved percentage",
            options.reserved_percent.to_string(),
            "50 at most",
        );
    }
    if options.size_bytes / BLOCK_BYTES > MAX_BLOCKS {
        return refuse("size", options.size_bytes.to_string(), "128 TiB at most");
    }
    match options.journal_bytes {
        Some(bytes) if bytes != 0 && !journal::SIZES.contains(&bytes) => {
            refuse("journal size", bytes.to_string(), "0, or 4 MiB to 40 GiB")
        }
        _ => Ok(()),
    }
}

/// How many blocks the journal of a file system of so many blocks takes.
pub(super) fn journal_blocks(options: &Options, blocks: u64) -> u32 {
    match options.journal_bytes {
        Some(bytes) => (bytes / BLOCK_BYTES) as u32,
        None => journal::usual_blocks(blocks),
    }
}

/// What is stored in the blocks of an inode, except for contents of files.
pub(super) fn metadata_segment(inventory: &Inventory<'_>, slot: Slot) -> Option<(Role, Segment)> {
    let (role, blocks) = match (
        inventory.inode(slot).map(|inode| &inode.node),
        inventory.value(slot),
    ) {
        (Some(Node::Symlink(target)), _) if target.len() > node::FAST_SYMLINK_BYTES => (Role::Symlink, 1),
        (None, Some(value)) => (Role::Value, value.blocks()),
        _ => (Role::Directory, inventory.record(slot).directory_blocks),
    };
    let segment = Segment {
        logical: 0,
        blocks,
        verity: false,
    };
    (blocks > 0).then_some((role, segment))
}

/// The contents that a slot stores.
pub(super) fn file<'t>(inventory: &Inventory<'t>, slot: Slot) -> Option<&'t File> {
    match &inventory.inode(slot)?.node {
        Node::Regular(file) => Some(file),
        _ => None,
    }
}

/// Places everything: journal, directories and other small things, then contents; `None` if there is no room.
fn place(inventory: &Inventory<'_>, geometry: &Geometry, options: &Options) -> Option<Placed> {
    let mut allocator = Allocator::new(geometry);
    let journal_blocks = journal_blocks(options, geometry.blocks);
    let journal_segment = Segment {
        logical: 0,
        blocks: journal_blocks,
        verity: false,
    };
    let journal = allocator.place(JOURNAL_INODE, Role::Journal, &[journal_segment])?;
    let mut inodes = vec![Placement::default(); inventory.len()];
    let mut xattr_blocks = inventory.xattr_blocks();
    for (slot, inode) in inodes.iter_mut().enumerate() {
        if let Some((role, segment)) = metadata_segment(inventory, slot) {
            *inode = allocator.place(number(slot), role, &[segment])?;
        }
        let set = inventory.record(slot).xattrs;
        inode.xattr_block = xattr_blocks.next(set, |shares| allocator.place_xattrs(number(slot), shares))?;
    }
    for (slot, inode) in inodes.iter_mut().enumerate() {
        if let Some(file) = file(inventory, slot) {
            let xattr_block = inode.xattr_block;
            *inode = allocator.place(number(slot), Role::Data, &node::segments(file))?;
            inode.xattr_block = xattr_block;
        }
    }
    let (runs, free_from) = allocator.finish();
    Some(Placed {
        runs,
        journal,
        journal_blocks,
        inodes,
        free_from,
    })
}
