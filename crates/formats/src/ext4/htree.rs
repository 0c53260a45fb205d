//! The directory index: half-MD4 hashes of names, sorted, over one or two levels.
//!
//! ```text
//! root  0 '.' · 12 '..' (rec_len 4084) · 24 reserved, hash_version, info_length 8, indirect_levels, unused
//!       32 limit 507, count · 36 block · 40 hash, block · ... · 4088 dt_reserved, dt_checksum
//! node  0 empty entry (rec_len 4096) · 8 limit 510, count · 12 block · 16 hash, block · ... · 4088 as above
//! ```
//!
//! Bit 0 of a hash in a pair says that the names of that hash began in the leaf before.

use super::BLOCK_BYTES;
use super::checksum::Checksum;
use super::fields::Fields;

/// Where the count and limit of the root are.
pub(super) const ROOT_PAIRS: usize = 32;
/// Where the count and limit of an inner node are.
const NODE_PAIRS: usize = 8;
/// `dx_tail`.
const TAIL: usize = BLOCK_BYTES as usize - 8;
const HALF_MD4: u8 = 1;

/// The hash of a name and its continuation: names are sorted by both, found by the first.
pub(super) type Hash = (u32, u32);

/// How many leaves each kind of block can point to.
pub(super) const ROOT_LIMIT: usize = (TAIL - ROOT_PAIRS) / 8;
pub(super) const NODE_LIMIT: usize = (TAIL - NODE_PAIRS) / 8;

/// How many blocks of inner nodes so many leaves take; `None` if two levels do not hold them.
pub(super) fn inner_blocks(leaves: usize) -> Option<usize> {
    match leaves {
        _ if leaves <= ROOT_LIMIT => Some(0),
        _ if leaves <= ROOT_LIMIT * NODE_LIMIT => Some(leaves.div_ceil(NODE_LIMIT)),
        _ => None,
    }
}

/// Completes the root, which holds `.` and `..` already, and appends the inner nodes. `hashes` are those of the
/// leaves (with bit 0 for a continuation), which follow.
pub(super) fn write(root: &mut [u8], hashes: &[u32], inode: Checksum) -> Vec<u8> {
    let inner = inner_blocks(hashes.len()).unwrap_or(0);
    root.put_u8(28, HALF_MD4); // hash_version
    root.put_u8(29, 8); // info_length
    root.put_u8(30, u8::from(inner > 0)); // indirect_levels
    let leaves: Vec<(u32, u32)> = hashes.iter().copied().zip(1 + inner as u32..).collect();
    let mut nodes = Vec::with_capacity(inner * BLOCK_BYTES as usize);
    let mut pairs = Vec::with_capacity(inner);
    for (chunk, block) in leaves.chunks(NODE_LIMIT).zip(1..1 + inner as u32) {
        let mut node = [0; BLOCK_BYTES as usize];
        node.put_u16(4, BLOCK_BYTES as u16); // rec_len of the empty entry
        put_pairs(&mut node, NODE_PAIRS, NODE_LIMIT, chunk, inode);
        nodes.extend_from_slice(&node);
        pairs.push((chunk[0].0, block));
    }
    let top = if inner == 0 { &leaves } else { &pairs };
    put_pairs(root, ROOT_PAIRS, ROOT_LIMIT, top, inode);
    nodes
}

fn put_pairs(block: &mut [u8], offset: usize, limit: usize, pairs: &[(u32, u32)], inode: Checksum) {
    for ((hash, target), position) in pairs.iter().zip((offset..).step_by(8)) {
        block.put_u32(position, *hash);
        block.put_u32(position + 4, *target);
    }
    block.put_u16(offset, limit as u16); // over the hash of the first pair, which is none
    block.put_u16(offset + 2, pairs.len() as u16);
    let covered = offset + 8 * pairs.len();
    let checksum = inode.with(&block[..covered]).with(&[0; 8]).value();
    block.put_u32(TAIL + 4, checksum); // dt_checksum
}

/// The hash of a name, with bytes taken as signed (the superblock's flag says so). A seed of zeros stands for MD4's
/// own start.
pub(super) fn hash(name: &[u8], seed: &[u8; 16]) -> Hash {
    let mut state = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];
    if seed.iter().any(|byte| *byte != 0) {
        for (word, bytes) in state.iter_mut().zip(seed.chunks_exact(4)) {
            *word = bytes
                .iter()
                .rev()
                .fold(0, |word, byte| word << 8 | u32::from(*byte));
        }
    }
    let mut rest = name;
    while !rest.is_empty() {
        half_md4(&mut state, &words(rest));
        rest = rest.get(32..).unwrap_or_default();
    }
    let major = state[1] & !1;
    // The largest value marks the end of a directory.
    let major = if major == 0xffff_fffe { 0xffff_fffc } else { major };
    (major, state[2])
}

/// The next 32 bytes of a name as words, padded with the number of bytes left.
fn words(name: &[u8]) -> [u32; 8] {
    let pad = u32::from_le_bytes([name.len() as u8; 4]);
    let mut words = [pad; 8];
    let head = &name[..name.len().min(32)];
    for (word, bytes) in words.iter_mut().zip(head.chunks(4)) {
        for byte in bytes {
            *word = (*word << 8).wrapping_add(i32::from(*byte as i8) as u32);
        }
    }
    words
}

/// Three rounds of eight steps each: MD4 with half of the steps left out.
fn half_md4(state: &mut [u32; 4], words: &[u32; 8]) {
    type Mix = fn(u32, u32, u32) -> u32;
    const ROUNDS: [(Mix, u32, [usize; 8], [u32; 4]); 3] = [
        (
            |x, y, z| z ^ (x & (y ^ z)),
            0,
            [0, 1, 2, 3, 4, 5, 6, 7],
            [3, 7, 11, 19],
        ),
        (
            |x, y, z| (x & y).wrapping_add((x ^ y) & z),
            0x5a82_7999,
            [1, 3, 5, 7, 0, 2, 4, 6],
            [3, 5, 9, 13],
        ),
        (
            |x, y, z| x ^ y ^ z,
            0x6ed9_eba1,
            [3, 7, 2, 6, 1, 5, 0, 4],
            [3, 9, 11, 15],
        ),
    ];
    let [mut a, mut b, mut c, mut d] = *state;
    for (mix, constant, order, shifts) in ROUNDS {
        for (index, shift) in order.into_iter().zip(shifts.into_iter().cycle()) {
            let mixed = a
                .wrapping_add(mix(b, c, d))
                .wrapping_add(words[index])
                .wrapping_add(constant)
                .rotate_left(shift);
            (a, b, c, d) = (d, mixed, b, c);
        }
    }
    for (word, value) in state.iter_mut().zip([a, b, c, d]) {
        *word = word.wrapping_add(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_debugfs() {
        let seed: [u8; 16] = std::array::from_fn(|i| i as u8);
        let long = b"a-name-of-more-than-thirty-two-bytes-in-all";
        for (name, seeded, plain) in [
            (
                &b"abc"[..],
                (0x3f42_d26a, 0xcb7a_9705),
                (0xd196_a868, 0xc420_eb28),
            ),
            (
                b"lost+found",
                (0xf06b_5bf6, 0x6b1b_6f5e),
                (0x591d_e422, 0x6ffc_56e0),
            ),
            (long, (0x4ab2_f3e2, 0x244f_f552), (0x6721_c4f6, 0x69a5_e839)),
            (
                b"\xc3\xa4\xff",
                (0xa473_ec42, 0x197b_87a1),
                (0x1bd4_5aaa, 0xed61_a18c),
            ),
        ] {
            assert_eq!(hash(name, &seed), seeded);
            assert_eq!(hash(name, &[0; 16]), plain);
        }
    }

    #[test]
    fn two_levels_hold_a_quarter_of_a_million_leaves() {
        assert_eq!((ROOT_LIMIT, NODE_LIMIT), (507, 510));
        assert_eq!(inner_blocks(507), Some(0));
        assert_eq!(inner_blocks(508), Some(1));
        assert_eq!(inner_blocks(511), Some(2));
        assert_eq!(inner_blocks(507 * 510), Some(507));
        assert_eq!(inner_blocks(507 * 510 + 1), None);
    }
}
