//! Directories: entries in blocks, each with a checksum; an index ([`super::htree`]) from the second block on, as
//! kernels never index a directory that has grown without one.
//!
//! ```text
//! entry  0 inode · 4 rec_len · 6 name_len · 7 file_type · 8 name        (padded to 4 bytes)
//! tail   4084 0 · 4088 rec_len 12 · 4090 0 · 4091 file_type de · 4092 det_checksum
//! ```

use std::ops::Range;

use super::BLOCK_BYTES;
use super::checksum::Checksum;
use super::fields::Fields;
use super::htree;

/// How many blocks `lost+found` has from the start, so that `e2fsck` needs none when the disk is full.
pub(super) const LOST_AND_FOUND_BLOCKS: u32 = 4;
/// The kind of a directory in an entry.
pub(super) const DIRECTORY_TYPE: u8 = 2;

const BLOCK: usize = BLOCK_BYTES as usize;
const TAIL_BYTES: usize = 12;
const LEAF_BYTES: usize = BLOCK - TAIL_BYTES;
const DOT_BYTES: usize = 12;
/// Leaves of an index keep a fifth of their space for new names, as after `e2fsck -D`.
const LEAF_FILL_BYTES: usize = LEAF_BYTES / 5 * 4;

/// A name in a directory.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry<'a> {
    pub(super) name: &'a [u8],
    pub(super) inode: u32,
    /// The code of the kind: 1 regular, 2 directory, 3 character device, 4 block device, 5 fifo, 6 socket, 7 link.
    pub(super) file_type: u8,
}

/// A directory's names and place.
#[derive(Debug)]
pub(super) struct Listing<'a> {
    pub(super) own: u32,
    pub(super) parent: u32,
    pub(super) entries: Vec<Entry<'a>>,
}

/// How many blocks these names take; `None` if the index does not hold them.
pub(super) fn blocks<'a>(names: impl Iterator<Item = &'a [u8]> + Clone, hash_seed: &[u8; 16]) -> Option<u32> {
    if fits_one_block(names.clone()) {
        return Some(1);
    }
    let (_, leaves) = sort(names, hash_seed);
    let inner = htree::inner_blocks(leaves.len())?;
    u32::try_from(1 + inner + leaves.len()).ok()
}

/// The blocks of a directory; `inode` is the start of its checksums. Has the length that [`blocks`] says, and whether
/// it is indexed.
pub(super) fn write(listing: &Listing<'_>, hash_seed: &[u8; 16], inode: Checksum) -> Vec<u8> {
    let names = listing.entries.iter().map(|entry| entry.name);
    if fits_one_block(names.clone()) {
        let dots = dots(listing);
        return leaf(dots.into_iter().chain(listing.entries.iter().copied()), inode).to_vec();
    }
    let (order, leaves) = sort(names, hash_seed);
    let mut bytes = vec![0; BLOCK];
    let [dot, dot_dot] = dots(listing);
    put_entry(&mut bytes, 0, &dot, DOT_BYTES);
    put_entry(&mut bytes, DOT_BYTES, &dot_dot, BLOCK - DOT_BYTES);
    let hashes: Vec<u32> = leaves.iter().map(|leaf| leaf.hash).collect();
    let inner = htree::write(&mut bytes, &hashes, inode);
    bytes.extend_from_slice(&inner);
    for Leaf { names, .. } in leaves {
        let entries = order[names]
            .iter()
            .map(|(_, index)| listing.entries[*index as usize]);
        bytes.extend_from_slice(&leaf(entries, inode));
    }
    bytes
}

/// The blocks of an empty `lost+found`: not indexed, though there are several.
pub(super) fn write_lost_and_found(listing: &Listing<'_>, inode: Checksum) -> Vec<u8> {
    let mut bytes = leaf(dots(listing).into_iter(), inode).to_vec();
    for _ in 1..LOST_AND_FOUND_BLOCKS {
        bytes.extend_from_slice(&leaf(std::iter::empty(), inode));
    }
    bytes
}

/// A leaf of the index: the smallest hash in it (with bit 0 if the leaf before ends with it), and its names.
struct Leaf {
    hash: u32,
    names: Range<usize>,
}

/// The names by hash, as positions in the listing, and how they are cut into leaves.
fn sort<'a>(
    names: impl Iterator<Item = &'a [u8]>,
    hash_seed: &[u8; 16],
) -> (Vec<(htree::Hash, u32)>, Vec<Leaf>) {
    let mut order = Vec::new();
    let mut lengths = Vec::new();
    for (name, index) in names.zip(0..) {
        order.push((htree::hash(name, hash_seed), index));
        lengths.push(name.len() as u8);
    }
    order.sort_unstable();
    let leaves = cut(&order, &lengths);
    (order, leaves)
}

fn cut(order: &[(htree::Hash, u32)], lengths: &[u8]) -> Vec<Leaf> {
    let mut leaves = Vec::new();
    let mut start = 0;
    let mut filled = 0;
    for (position, (_, index)) in order.iter().enumerate() {
        let length = entry_bytes(usize::from(lengths[*index as usize]));
        if filled + length > LEAF_FILL_BYTES {
            leaves.push(Leaf::new(order, start..position));
            (start, filled) = (position, 0);
        }
        filled += length;
    }
    leaves.push(Leaf::new(order, start..order.len()));
    leaves
}

impl Leaf {
    fn new(order: &[(htree::Hash, u32)], names: Range<usize>) -> Self {
        let hash_at = |position: usize| order.get(position).map(|((hash, _), _)| *hash);
        let hash = hash_at(names.start).unwrap_or_default();
        let continued = names.start > 0 && hash_at(names.start - 1) == Some(hash);
        Leaf {
            hash: hash | u32::from(continued),
            names,
        }
    }
}

fn fits_one_block<'a>(names: impl Iterator<Item = &'a [u8]>) -> bool {
    let mut filled = 2 * DOT_BYTES;
    for name in names {
        filled += entry_bytes(name.len());
        if filled > LEAF_BYTES {
            return false;
        }
    }
    true
}

fn entry_bytes(name_bytes: usize) -> usize {
    (8 + name_bytes).next_multiple_of(4)
}

fn dots(listing: &Listing<'_>) -> [Entry<'static>; 2] {
    let entry = |name, inode| Entry {
        name,
        inode,
        file_type: DIRECTORY_TYPE,
    };
    [entry(b".", listing.own), entry(b"..", listing.parent)]
}

/// A block of entries; the last one takes what room is left, and without any an empty one takes all of it.
fn leaf<'a>(entries: impl Iterator<Item = Entry<'a>>, inode: Checksum) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    let mut end = 0;
    let mut last = 0;
    for entry in entries {
        last = end;
        let length = entry_bytes(entry.name.len());
        put_entry(&mut block, last, &entry, length);
        end += length;
    }
    block.put_u16(last + 4, (LEAF_BYTES - last) as u16);
    block.put_u16(LEAF_BYTES + 4, TAIL_BYTES as u16); // det_rec_len
    block.put_u8(LEAF_BYTES + 7, 0xde); // det_reserved_ft
    let checksum = inode.with(&block[..LEAF_BYTES]).value();
    block.put_u32(LEAF_BYTES + 8, checksum); // det_checksum
    block
}

fn put_entry(block: &mut [u8], offset: usize, entry: &Entry<'_>, length: usize) {
    block.put_u32(offset, entry.inode); // inode
    block.put_u16(offset + 4, length as u16); // rec_len
    block.put_u8(offset + 6, entry.name.len() as u8); // name_len
    block.put_u8(offset + 7, entry.file_type); // file_type
    block.put(offset + 8, entry.name);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(names: &[Vec<u8>]) -> Listing<'_> {
        let entries = names.iter().map(|name| Entry {
            name,
            inode: 20,
            file_type: 1,
        });
        Listing {
            own: 12,
            parent: 2,
            entries: entries.collect(),
        }
    }

    #[test]
    fn the_announced_number_of_blocks_is_written() {
        for count in [0, 1, 14, 15, 16, 100, 9000] {
            let names: Vec<Vec<u8>> = (0..count).map(|i| format!("{i:0255}").into_bytes()).collect();
            let announced = blocks(names.iter().map(Vec::as_slice), &[3; 16]).unwrap();
            let bytes = write(&named(&names), &[3; 16], Checksum::START);
            assert_eq!(bytes.len(), announced as usize * BLOCK, "{count} names");
        }
    }

    #[test]
    fn a_full_block_is_not_indexed() {
        // 254 entries of 16 bytes and the two dots leave 4060 - 4064 < 0: the 255th does not fit.
        let names = |count| -> Vec<Vec<u8>> { (0..count).map(|i| format!("{i:08}").into_bytes()).collect() };
        let seed = [0; 16];
        assert_eq!(blocks(names(253).iter().map(Vec::as_slice), &seed), Some(1));
        assert_eq!(blocks(names(254).iter().map(Vec::as_slice), &seed), Some(3));
    }

    #[test]
    fn a_leaf_that_continues_a_hash_says_so() {
        let order: Vec<(htree::Hash, u32)> = (0..40).map(|i| ((if i < 5 { 2 } else { 8 }, i), i)).collect();
        let hashes: Vec<u32> = cut(&order, &[255; 40]).iter().map(|leaf| leaf.hash).collect();
        assert_eq!(hashes, [2, 9, 9, 9]);
    }
}
