//! Extents: which blocks of a file are where.
//!
//! ```text
//! header  0 eh_magic f30a · 2 eh_entries · 4 eh_max · 6 eh_depth · 8 eh_generation
//! extent  0 ee_block · 4 ee_len · 6 ee_start_hi · 8 ee_start_lo             (12 bytes, depth 0)
//! index   0 ei_block · 4 ei_leaf_lo · 8 ei_leaf_hi · 10 unused              (12 bytes, depth 1 and above)
//! ```
//!
//! The inode holds a header and four entries; a block holds 340 and, in its last four bytes, the checksum.

use super::BLOCK_BYTES;
use super::checksum::Checksum;
use super::fields::Fields;

/// The longest extent.
pub(super) const EXTENT_BLOCKS: u32 = 32768;
/// The space for the root of the tree: `i_block`.
pub(super) const ROOT_BYTES: usize = 60;

const MAGIC: u16 = 0xf30a;
const HEADER_BYTES: usize = 12;
const ENTRY_BYTES: usize = 12;
const ROOT_ENTRIES: usize = (ROOT_BYTES - HEADER_BYTES) / ENTRY_BYTES;
const NODE_ENTRIES: usize = (BLOCK_BYTES as usize - HEADER_BYTES - 4) / ENTRY_BYTES;

/// Blocks of a file that lie together; of any length, longer ones take several extents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mapping {
    /// The first block, in the file.
    pub(super) logical: u32,
    /// The first block, in the file system.
    pub(super) physical: u64,
    /// How many.
    pub(super) blocks: u32,
}

/// How many blocks the tree of so many extents takes outside of the inode.
pub(super) fn node_blocks(extents: u64) -> u64 {
    let mut level = extents;
    let mut total = 0;
    while level > ROOT_ENTRIES as u64 {
        level = level.div_ceil(NODE_ENTRIES as u64);
        total += level;
    }
    total
}

/// How many extents so many contiguous blocks take.
pub(super) fn extents_of(blocks: u32) -> u64 {
    u64::from(blocks.div_ceil(EXTENT_BLOCKS))
}

/// The tree as it is stored: `i_block`, and the node blocks one after the other (leaves first), which lie in the
/// blocks `nodes`, [`node_blocks`] of them.
pub(super) fn write(mappings: &[Mapping], nodes: &[u64], inode: Checksum) -> ([u8; ROOT_BYTES], Vec<u8>) {
    let mut nodes = nodes.iter().copied();
    let mut level: Vec<Entry> = mappings.iter().flat_map(split).collect();
    let mut depth = 0;
    let mut bytes = Vec::new();
    while level.len() > ROOT_ENTRIES {
        let mut above = Vec::with_capacity(level.len().div_ceil(NODE_ENTRIES));
        for entries in level.chunks(NODE_ENTRIES) {
            above.push(Entry::index(entries[0].block, nodes.next().unwrap_or_default()));
            bytes.extend_from_slice(&node(entries, depth, inode));
        }
        level = above;
        depth += 1;
    }
    let mut root = [0; ROOT_BYTES];
    put_entries(&mut root, &level, ROOT_ENTRIES, depth);
    (root, bytes)
}

/// An extent or index entry; both start with the first block of the file they cover.
struct Entry {
    block: u32,
    rest: [u8; 8],
}

impl Entry {
    fn extent(mapping: Mapping) -> Self {
        let mut rest = [0; 8];
        rest.put_u16(0, mapping.blocks as u16); // ee_len: 32768 is still an initialised extent
        rest.put_u16(2, (mapping.physical >> 32) as u16); // ee_start_hi
        rest.put_u32(4, mapping.physical as u32); // ee_start_lo
        Entry {
            block: mapping.logical,
            rest,
        }
    }

    fn index(block: u32, physical: u64) -> Self {
        let mut rest = [0; 8];
        rest.put_u32(0, physical as u32); // ei_leaf_lo
        rest.put_u16(4, (physical >> 32) as u16); // ei_leaf_hi
        Entry { block, rest }
    }
}

fn split(mapping: &Mapping) -> impl Iterator<Item = Entry> + use<> {
    let Mapping {
        logical,
        physical,
        blocks,
    } = *mapping;
    (0..blocks).step_by(EXTENT_BLOCKS as usize).map(move |start| {
        Entry::extent(Mapping {
            logical: logical + start,
            physical: physical + u64::from(start),
            blocks: (blocks - start).min(EXTENT_BLOCKS),
        })
    })
}

fn node(entries: &[Entry], depth: u16, inode: Checksum) -> [u8; BLOCK_BYTES as usize] {
    let mut block = [0; BLOCK_BYTES as usize];
    put_entries(&mut block, entries, NODE_ENTRIES, depth);
    let end = HEADER_BYTES + NODE_ENTRIES * ENTRY_BYTES;
    let checksum = inode.with(&block[..end]).value();
    block.put_u32(end, checksum); // et_checksum
    block
}

fn put_entries(record: &mut [u8], entries: &[Entry], room: usize, depth: u16) {
    record.put_u16(0, MAGIC); // eh_magic
    record.put_u16(2, entries.len() as u16); // eh_entries
    record.put_u16(4, room as u16); // eh_max
    record.put_u16(6, depth); // eh_depth
    for (entry, offset) in entries.iter().zip((HEADER_BYTES..).step_by(ENTRY_BYTES)) {
        record.put_u32(offset, entry.block);
        record.put(offset + 4, &entry.rest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scattered(count: u32) -> Vec<Mapping> {
        (0..count)
            .map(|i| Mapping {
                logical: 2 * i,
                physical: 1000 + 3 * u64::from(i),
                blocks: 1,
            })
            .collect()
    }

    #[test]
    fn four_extents_stay_in_the_inode() {
        let (root, nodes) = write(&scattered(4), &[], Checksum::START);
        assert!(nodes.is_empty());
        assert_eq!(root[..8], [0x0a, 0xf3, 4, 0, 4, 0, 0, 0]);
        assert_eq!(root[12..24], [0, 0, 0, 0, 1, 0, 0, 0, 0xe8, 3, 0, 0]);
    }

    #[test]
    fn the_announced_number_of_blocks_is_written() {
        for (extents, blocks, depth) in [
            (5, 1, 1),
            (340, 1, 1),
            (341, 2, 1),
            (1360, 4, 1),
            (1361, 6, 2),
            (462_401, 1367, 3),
        ] {
            assert_eq!(node_blocks(extents), blocks, "{extents}");
            let nodes: Vec<u64> = (0..blocks).collect();
            let (root, bytes) = write(&scattered(extents as u32), &nodes, Checksum::START);
            assert_eq!(bytes.len() as u64, blocks * BLOCK_BYTES);
            assert_eq!(root[6], depth);
        }
    }

    #[test]
    fn a_long_mapping_is_cut() {
        let long = Mapping {
            logical: 5,
            physical: 0x1_2345_6789,
            blocks: 2 * EXTENT_BLOCKS + 1,
        };
        assert_eq!(extents_of(long.blocks), 3);
        let (root, _) = write(&[long], &[], Checksum::START);
        assert_eq!(root[2], 3);
        assert_eq!(root[12..24], [5, 0, 0, 0, 0, 0x80, 1, 0, 0x89, 0x67, 0x45, 0x23]);
        assert_eq!(root[36..42], [5, 0, 1, 0, 1, 0]);
    }
}
