//! What is behind the inode of a compressed file.
//!
//! ```text
//! header: 0 offset in the packed inode, or 0 · 4 advice u16 · 6 algorithms u8 · 7 logical cluster bits u8
//!         a file that is in the packed inode: its offset u64, the highest bit set; nothing follows
//! then    0 [8] · entry [8] for every 4 KiB of contents
//! entry:  0 kind u16 · 2 offset u16 · 4 where a cluster starts: its block u32
//!                                     where it goes on: distance from its start u16 · distance to the next u16
//! ```
//!
//! The first of the entries where a cluster goes on has the number of its compressed blocks in the place of the
//! distance.

use super::super::BLOCK_BYTES;

/// The length of a header.
pub(super) const HEADER_BYTES: usize = 8;
const ENTRY_BYTES: usize = 8;
const ADVICE_BIG_CLUSTERS: u16 = 0x2;
pub(super) const ZSTD: u8 = 3;
const IN_PACKED: u64 = 1 << 63;
const KIND_START: u16 = 1;
const KIND_FURTHER: u16 = 2;
const HAS_BLOCK_COUNT: u16 = 1 << 11;

/// A cluster in its place.
#[derive(Debug, Clone, Copy)]
pub(super) struct PlacedCluster {
    /// Of the contents.
    pub(super) len_bytes: u32,
    /// Compressed.
    pub(super) stored_bytes: u32,
    pub(super) first_block: u32,
}

impl PlacedCluster {
    /// How many blocks it takes.
    pub(super) fn blocks(&self) -> u32 {
        self.stored_bytes.div_ceil(BLOCK_BYTES as u32)
    }
}

/// The length of the index of a file.
pub(super) fn index_bytes(size_bytes: u64) -> u64 {
    (2 * HEADER_BYTES) as u64 + size_bytes.div_ceil(BLOCK_BYTES as u64) * ENTRY_BYTES as u64
}

/// Appends the header of a file in the packed inode.
pub(super) fn append_packed(offset_bytes: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(&(offset_bytes | IN_PACKED).to_le_bytes());
}

/// Appends the header and the index of a file that consists of these clusters.
pub(super) fn append_index(clusters: &[PlacedCluster], out: &mut Vec<u8>) {
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&ADVICE_BIG_CLUSTERS.to_le_bytes());
    out.extend_from_slice(&[ZSTD, 0]);
    out.extend_from_slice(&[0; HEADER_BYTES]);
    for cluster in clusters {
        append_entry(KIND_START, cluster.first_block.to_le_bytes(), out);
        // At most 1 MiB, so both numbers fit.
        let entries = cluster.len_bytes.div_ceil(BLOCK_BYTES as u32) as u16;
        for distance in 1..entries {
            let before = match distance {
                1 => HAS_BLOCK_COUNT | cluster.blocks() as u16,
                _ => distance,
            };
            let [a, b] = before.to_le_bytes();
            let [c, d] = (entries - distance).to_le_bytes();
            append_entry(KIND_FURTHER, [a, b, c, d], out);
        }
    }
}

fn append_entry(kind: u16, rest: [u8; 4], out: &mut Vec<u8>) {
    out.extend_from_slice(&kind.to_le_bytes());
    out.extend_from_slice(&[0; 2]);
    out.extend_from_slice(&rest);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_has_an_entry_for_every_block_of_contents() {
        let cluster = |len_bytes, stored_bytes, first_block| PlacedCluster {
            len_bytes,
            stored_bytes,
            first_block,
        };
        let mut out = Vec::new();
        append_index(&[cluster(12_288, 5000, 9), cluster(4097, 100, 11)], &mut out);
        assert_eq!(out.len() as u64, index_bytes(12_288 + 4097));
        assert_eq!(out[..16], [0, 0, 0, 0, 2, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        let entries: Vec<&[u8]> = out[16..].chunks(8).collect();
        let expected = [
            [1, 0, 0, 0, 9, 0, 0, 0],
            [2, 0, 0, 0, 2, 8, 2, 0],
            [2, 0, 0, 0, 2, 0, 1, 0],
            [1, 0, 0, 0, 11, 0, 0, 0],
            [2, 0, 0, 0, 1, 8, 1, 0],
        ];
        assert_eq!(entries, expected);
    }
}
