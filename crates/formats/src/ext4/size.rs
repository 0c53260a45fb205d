//! How large a file system has to be.

use super::error::Error;
use super::extent;
use super::group::{Geometry, MAX_BLOCKS};
use super::inventory::Inventory;
use super::layout::{file, journal_blocks, metadata_segment};
use super::node::{self, Segment};
use super::{BLOCK_BYTES, File, Options};
use crate::tree::Tree;

/// Each interruption by groups' metadata can add an extent, and that a block on each level of an extent tree.
const BLOCKS_PER_INTERRUPTION: u64 = 4;

/// The smallest [`Options::size_bytes`] that holds the tree and leaves `free_bytes`, or a little more.
pub fn minimum_size_bytes(tree: &Tree<File>, options: &Options, free_bytes: u64) -> Result<u64, Error> {
    let inventory = Inventory::of(tree, options)?;
    needed_bytes(&inventory, options, free_bytes)
}

/// The smallest [`Options::size_bytes`] that leaves as many bytes as `free_bytes` says, which is told what the smallest
/// of all is.
pub fn roomy_size_bytes(
    tree: &Tree<File>,
    options: &Options,
    free_bytes: impl FnOnce(u64) -> u64,
) -> Result<u64, Error> {
    let inventory = Inventory::of(tree, options)?;
    let full = needed_bytes(&inventory, options, 0)?;
    needed_bytes(&inventory, options, free_bytes(full))
}

/// The same as [`minimum_size_bytes`], for a tree with numbers.
pub(super) fn needed_bytes(
    inventory: &Inventory<'_>,
    options: &Options,
    free_bytes: u64,
) -> Result<u64, Error> {
    let stored = stored_blocks(inventory) + free_bytes.div_ceil(BLOCK_BYTES);
    let mut blocks = stored;
    while blocks <= MAX_BLOCKS {
        let missing = match Geometry::of(blocks, inventory.inodes()) {
            Some(geometry) => {
                let interruptions = geometry.fixed.len() as u64 * BLOCKS_PER_INTERRUPTION;
                let journal = u64::from(journal_blocks(options, geometry.blocks));
                (stored + journal + interruptions).saturating_sub(geometry.free_blocks())
            }
            None => 1,
        };
        if missing == 0 {
            return Ok(blocks * BLOCK_BYTES);
        }
        blocks += missing;
    }
    Err(Error::TooLarge {
        needed_bytes: blocks.saturating_mul(BLOCK_BYTES),
        limit_bytes: MAX_BLOCKS * BLOCK_BYTES,
    })
}

/// The blocks of everything that is no metadata of groups and no journal, if nothing interrupts it.
fn stored_blocks(inventory: &Inventory<'_>) -> u64 {
    let inodes = (0..inventory.len()).map(|slot| {
        let metadata = metadata_segment(inventory, slot).map_or(0, |(_, segment)| with_extents(&[segment]));
        let contents = file(inventory, slot).map_or(0, |file| with_extents(&node::segments(file)));
        metadata + contents
    });
    inodes.sum::<u64>() + inventory.xattr_blocks().total()
}

fn with_extents(segments: &[Segment]) -> u64 {
    let blocks: u64 = segments.iter().map(|segment| u64::from(segment.blocks)).sum();
    blocks
        + extent::node_blocks(
            segments
                .iter()
                .map(|segment| extent::extents_of(segment.blocks))
                .sum(),
        )
}
