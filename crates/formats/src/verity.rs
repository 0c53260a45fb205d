//! fs-verity digests and Merkle trees: SHA-512, blocks of 4,096 bytes, no salt.
//!
//! Source: the kernel's `Documentation/filesystems/fsverity.rst`. Each 4 KiB block of the file (the last one padded
//! with zeros) is hashed; the hashes fill the blocks of the next level, up to one root hash. The digest of the file
//! is the hash of the 256-byte descriptor:
//!
//! ```text
//! 0 version 1 · 1 algorithm 2 (SHA-512) · 2 log2 of the block 12 · 3 salt length 0 · 4 le32 0 · 8 le64 file size
//! 16 root hash [64] · 80 salt [32] · 112 zeros [144]
//! ```
//!
//! An empty file has a root hash of zeros; a file of one block has that block's hash as its root and no tree.

#[cfg(target_arch = "x86_64")]
mod lanes;

use std::fmt;
use std::str::FromStr;

use sha2::{Digest as _, Sha512};

/// The block that is hashed, and the block of the tree.
pub const BLOCK_BYTES: usize = 4096;
/// What is hashed at once.
pub type Block = [u8; BLOCK_BYTES];
/// The length of a SHA-512 hash.
pub const HASH_BYTES: usize = 64;
/// The length of the descriptor.
pub const DESCRIPTOR_BYTES: usize = 256;

const HASHES_PER_BLOCK: usize = BLOCK_BYTES / HASH_BYTES;

/// The fs-verity digest of a file: the name of an object, 128 hexadecimal digits as text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; HASH_BYTES]);

/// A text that is no digest of 128 lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no fs-verity SHA-512 digest: 128 lower-case hexadecimal digits are expected")]
pub struct DigestError(String);

impl Digest {
    /// The digest with these bytes.
    pub fn new(bytes: [u8; HASH_BYTES]) -> Self {
        Digest(bytes)
    }

    /// The digest of a whole file in memory.
    pub fn of(data: &[u8]) -> Self {
        let mut hasher = Hasher::new();
        hasher.update(data);
        hasher.finish().digest
    }

    /// The bytes of the digest.
    pub fn as_bytes(&self) -> &[u8; HASH_BYTES] {
        &self.0
    }

    /// The path of the object below a repository's `objects/`: two digits, `/`, the other 126.
    pub fn object_path(&self) -> String {
        let mut digits = [0; 2 * HASH_BYTES];
        let (directory, name) = self.digits(&mut digits).split_at(2);
        [directory, "/", name].concat()
    }
}

impl Digest {
    /// The digits, without the allocations of a text that is made digit by digit: an image has 100,000 objects.
    fn digits<'b>(&self, buffer: &'b mut [u8; 2 * HASH_BYTES]) -> &'b str {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        for (pair, byte) in buffer.chunks_exact_mut(2).zip(self.0) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        std::str::from_utf8(buffer).unwrap_or_default()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.digits(&mut [0; 2 * HASH_BYTES]))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({}…)", hex::encode(&self.0[..6]))
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let mut bytes = [0; HASH_BYTES];
        let lower_case = text.bytes().all(|byte| !byte.is_ascii_uppercase());
        match hex::decode_to_slice(text, &mut bytes) {
            Ok(()) if lower_case => Ok(Digest(bytes)),
            _ => Err(DigestError(text.to_owned())),
        }
    }
}

/// What [`Hasher::finish`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Measured {
    /// The digest of the file.
    pub digest: Digest,
    /// The length of the file.
    pub size_bytes: u64,
    /// The hash at the top of the tree.
    pub root_hash: [u8; HASH_BYTES],
    /// The tree as a file system stores it: root level first, leaf level last, each level whole blocks; empty for
    /// files of at most one block.
    pub tree: Vec<u8>,
}

impl Measured {
    /// What a file of `size_bytes` measures whose blocks have these hashes, in their order (see [`hash_blocks`]).
    pub fn from_leaves(size_bytes: u64, leaves: Vec<u8>) -> Self {
        let mut levels = vec![leaves];
        while let Some(level) = levels.last_mut().filter(|level| level.len() > HASH_BYTES) {
            level.resize(level.len().next_multiple_of(BLOCK_BYTES), 0);
            let mut above = Vec::with_capacity(level.len() / HASHES_PER_BLOCK);
            hash_blocks(level, &mut above);
            levels.push(above);
        }
        let mut root_hash = [0; HASH_BYTES];
        if let Some(root) = levels.pop().filter(|root| !root.is_empty()) {
            root_hash.copy_from_slice(&root);
        }
        levels.reverse();
        // Most files have one level, which then need not be copied.
        let tree = match levels.len() {
            1 => levels.pop().unwrap_or_default(),
            _ => levels.concat(),
        };
        let digest = Digest(Sha512::digest(descriptor(size_bytes, &root_hash)).into());
        Measured {
            digest,
            size_bytes,
            root_hash,
            tree,
        }
    }

    /// The descriptor, as a file system stores it behind the tree.
    pub fn descriptor(&self) -> [u8; DESCRIPTOR_BYTES] {
        descriptor(self.size_bytes, &self.root_hash)
    }
}

/// The digests of several files in memory. For small files this takes less time than one after the other: blocks of all
/// of them are hashed at once, level by level.
pub fn digests_of(files: &[&[u8]]) -> Vec<Digest> {
    let digest = |(data, root): (&&[u8], Vec<u8>)| {
        let mut root_hash = [0; HASH_BYTES];
        root_hash[..root.len()].copy_from_slice(&root);
        Digest(Sha512::digest(descriptor(data.len() as u64, &root_hash)).into())
    };
    files.iter().zip(root_hashes(files)).map(digest).collect()
}

/// The root hash of each file; of an empty file nothing.
fn root_hashes(files: &[&[u8]]) -> Vec<Vec<u8>> {
    let mut hashes = Vec::new();
    hash_padded(files, &mut hashes);
    let mut rest = hashes.as_slice();
    let own = |data: &&[u8]| {
        let (own, others) = rest.split_at(data.len().div_ceil(BLOCK_BYTES) * HASH_BYTES);
        rest = others;
        own.to_vec()
    };
    let mut levels: Vec<Vec<u8>> = files.iter().map(own).collect();
    let mut open: Vec<&mut Vec<u8>> = levels
        .iter_mut()
        .filter(|level| level.len() > HASH_BYTES)
        .collect();
    if !open.is_empty() {
        let above = root_hashes(&open.iter().map(|level| level.as_slice()).collect::<Vec<_>>());
        for (level, root) in open.iter_mut().zip(above) {
            **level = root;
        }
    }
    levels
}

/// Appends the hash of each block of each of `files`, the last ones padded with zeros.
fn hash_padded(files: &[&[u8]], hashes: &mut Vec<u8>) {
    let tails = files.iter().map(|data| data.as_chunks::<BLOCK_BYTES>().1);
    let tails: Vec<Block> = tails
        .filter(|tail| !tail.is_empty())
        .map(|tail| {
            let mut block = [0; BLOCK_BYTES];
            block[..tail.len()].copy_from_slice(tail);
            block
        })
        .collect();
    let mut padded = tails.iter();
    let mut blocks: Vec<&Block> = Vec::new();
    for data in files {
        let (whole, tail) = data.as_chunks::<BLOCK_BYTES>();
        blocks.extend(whole);
        if !tail.is_empty() {
            blocks.extend(padded.next());
        }
    }
    hash_each(&blocks, hashes);
}

/// Measures a file that arrives in pieces.
#[derive(Debug, Default)]
pub struct Hasher {
    size_bytes: u64,
    partial: Vec<u8>,
    leaves: Vec<u8>,
}

impl Hasher {
    /// A hasher that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes of the file. Whole blocks in one call are the fast way.
    pub fn update(&mut self, mut data: &[u8]) {
        self.size_bytes += data.len() as u64;
        if !self.partial.is_empty() {
            let missing = BLOCK_BYTES - self.partial.len();
            let (head, tail) = data.split_at(missing.min(data.len()));
            self.partial.extend_from_slice(head);
            data = tail;
            if self.partial.len() < BLOCK_BYTES {
                return;
            }
            hash_blocks(&self.partial, &mut self.leaves);
            self.partial.clear();
        }
        let whole = data.len() / BLOCK_BYTES * BLOCK_BYTES;
        hash_blocks(&data[..whole], &mut self.leaves);
        self.partial.extend_from_slice(&data[whole..]);
    }

    /// The digest and the tree of all that was given.
    pub fn finish(mut self) -> Measured {
        if !self.partial.is_empty() {
            self.partial.resize(BLOCK_BYTES, 0);
            hash_blocks(&self.partial, &mut self.leaves);
        }
        Measured::from_leaves(self.size_bytes, self.leaves)
    }
}

/// The length of the tree of a file of that length.
pub fn tree_bytes(size_bytes: u64) -> u64 {
    let mut blocks = size_bytes.div_ceil(BLOCK_BYTES as u64);
    let mut total = 0;
    while blocks > 1 {
        blocks = blocks.div_ceil(HASHES_PER_BLOCK as u64);
        total += blocks;
    }
    total * BLOCK_BYTES as u64
}

fn descriptor(size_bytes: u64, root_hash: &[u8; HASH_BYTES]) -> [u8; DESCRIPTOR_BYTES] {
    let mut bytes = [0; DESCRIPTOR_BYTES];
    bytes[..3].copy_from_slice(&[1, 2, 12]);
    bytes[8..16].copy_from_slice(&size_bytes.to_le_bytes());
    bytes[16..80].copy_from_slice(root_hash);
    bytes
}

/// Appends the hash of each block of `blocks`, whose length is a multiple of [`BLOCK_BYTES`]; blocks of one file may
/// be hashed in any order and by any thread, [`Measured::from_leaves`] puts them together.
///
/// Several blocks at once are the fast way, of whatever files.
pub fn hash_blocks(blocks: &[u8], hashes: &mut Vec<u8>) {
    let (blocks, _) = blocks.as_chunks();
    hash_each(&blocks.iter().collect::<Vec<_>>(), hashes);
}

/// [`hash_blocks`] for blocks that do not lie together.
pub fn hash_each(blocks: &[&Block], hashes: &mut Vec<u8>) {
    for block in hash_lanes(blocks, hashes) {
        hashes.extend_from_slice(&Sha512::digest(block));
    }
}

/// Hashes as many blocks as pay on this CPU several at once and returns the others.
#[cfg(target_arch = "x86_64")]
fn hash_lanes<'a, 'b>(blocks: &'a [&'b Block], hashes: &mut Vec<u8>) -> &'a [&'b Block] {
    match lanes::Lanes::detect() {
        Some(cpu) => cpu.hash(blocks, hashes),
        None => blocks,
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn hash_lanes<'a, 'b>(blocks: &'a [&'b Block], _: &mut Vec<u8>) -> &'a [&'b Block] {
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Digests printed by `fsverity digest --hash-alg=sha512` for files of `n` bytes `i % 251`.
    const GOLDEN: &[(usize, &str)] = &[
        (
            0,
            "ccf9e5aea1c2a64efa2f2354a6024b90dffde6bbc017825045dce374474e13d10adb9dadcc6ca8e17a3c075fbd31336e8f266ae6fa93a6c3bed66f9e784e5abf",
        ),
        (
            1,
            "9fcf5172b085b1c8f9365eecb37a1869e193a4705654a5829f11939cd01d5c0fd97276be8cd9d49f76cfc8dcfeb80f8128e3548a1de50b56912b9e3fc7bde27b",
        ),
        (
            4095,
            "1f4a9ea21af349cae1d1aa1ce4e560ce6d1e5882d8e2e7696b5afd14191f876e608444553101ba7ff16386a79c7e8739b2905ed14baf8036ebd05e6f09063b2a",
        ),
        (
            4096,
            "7bf994782b368ecc4e20ce9144701b1a30524d5bbc90987625de22eebc8cf370ec846c1b5e77f9099c6f6cfc0b590359b9ac8083a43e5f7fa5ec05a25dab6e03",
        ),
        (
            4097,
            "97a1e45daaa69bd7b31908cf835318ba36476984ffa7f4a5913c0187db04ce5f19dc80306f493741d4ad1cdd212b7a9d2691aa3d42563d35471363fbb0fc7f1c",
        ),
        (
            262144,
            "f3d1adb48d9e641487f0674034e494b8e1ad589f9430b34f2a7e56acdf05180753d3f491f48c0958a8482edb1cda90fc82f0edd2bc6d22573bc743abd8e42a48",
        ),
        (
            262145,
            "db774f463acc1e672e4da91d045eb146f2647efec545951fb7005067ff9899da3ae94dc206531b40985587ce4e5eb173a235d51b488074067d9e34131814b9de",
        ),
        (
            20000001,
            "9c4e2ac0cae8c051e19d3bab595f6367b8d6134d42de67c60731ca8c929ce45f4b529de97ab1a13f356570cdfc455eb4c6496ba79c3d112cb07bb24f1dd9311b",
        ),
    ];

    fn pattern(length: usize) -> Vec<u8> {
        (0..length).map(|i| (i % 251) as u8).collect()
    }

    #[test]
    fn digests_are_those_of_fsverity() {
        for (length, expected) in GOLDEN {
            assert_eq!(
                Digest::of(&pattern(*length)).to_string(),
                *expected,
                "{length} bytes"
            );
        }
    }

    #[test]
    fn any_number_of_blocks_hashes_as_sha2_does() {
        let data = pattern(BLOCK_BYTES * 11);
        for count in 0..=11 {
            let blocks = &data[..count * BLOCK_BYTES];
            let mut hashes = vec![7];
            hash_blocks(blocks, &mut hashes);
            let expected: Vec<u8> = blocks.chunks(BLOCK_BYTES).flat_map(Sha512::digest).collect();
            assert_eq!(hashes[0], 7);
            assert_eq!(hashes[1..], expected, "{count} blocks");
        }
    }

    #[test]
    fn pieces_do_not_matter_and_the_tree_has_the_announced_length() {
        for length in [0, 1, 4095, 4096, 4097, 262_144, 262_145, 20_000_001] {
            let data = pattern(length);
            let mut hasher = Hasher::new();
            for piece in data.chunks(10_007) {
                hasher.update(piece);
            }
            let measured = hasher.finish();
            assert_eq!(measured.digest, Digest::of(&data));
            assert_eq!(measured.tree.len() as u64, tree_bytes(length as u64));
        }
    }

    #[test]
    fn several_files_at_once_have_the_digests_that_each_has() {
        let data = pattern(700_000);
        let lengths = [
            0, 1, 4096, 4097, 0, 262_144, 262_145, 12_288, 500, 600_000, 8191, 8192,
        ];
        for count in 0..=lengths.len() {
            let files: Vec<&[u8]> = lengths[..count].iter().map(|length| &data[..*length]).collect();
            let expected: Vec<Digest> = files.iter().map(|file| Digest::of(file)).collect();
            assert_eq!(digests_of(&files), expected);
        }
    }

    #[test]
    fn text_that_is_no_digest_is_refused() {
        let digest = Digest::of(b"x");
        assert_eq!(digest.to_string().parse(), Ok(digest));
        for text in ["", "ab", &"g".repeat(128), &"A".repeat(128), &"a".repeat(130)] {
            assert!(text.parse::<Digest>().is_err(), "{text}");
        }
    }
}
