//! The container of xz: one stream of blocks that are compressed independently of each other.
//!
//! Source: "The .xz File Format" 1.1. Numbers are little-endian; those marked * have seven bits a byte, low ones first.
//!
//! ```text
//! stream header │ blocks: header, LZMA2 data, padding, CRC-32 of the contents │ index: sizes of all blocks │ footer
//! ```
//!
//! Block headers have the sizes of their block*, so that programs can decompress several at a time. The caller compresses.
//!
//! Left out: filters before LZMA2, several streams, other checks than CRC-32.

/// What a file begins with. The check is CRC-32.
pub const STREAM_HEADER: [u8; 12] = [0xfd, b'7', b'z', b'X', b'Z', 0, 0, 1, 0x69, 0x22, 0xde, 0x36];

const STREAM_FLAGS: [u8; 2] = [0, 1];
/// Both sizes are there; one filter.
const BLOCK_FLAGS: u8 = 0x40 | 0x80;
const FILTER_LZMA2: u8 = 0x21;
const CHECK_BYTES: u64 = 4;
/// The index, in place of a block header.
const INDEX_INDICATOR: u8 = 0;

/// A block as the index lists it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    unpadded_bytes: u64,
    contents_bytes: u64,
}

/// What blocks there are, in their order.
#[derive(Debug, Clone, Default)]
pub struct Index {
    /// Blocks of the same sizes that follow each other count as one.
    blocks: Vec<(Block, u64)>,
}

/// Appends a block of LZMA2 data that was made of these contents with a dictionary of so many bytes: a power of two, 4 KiB
/// or more.
pub fn append_block(lzma2: &[u8], contents: &[u8], dictionary_bytes: u32, bytes: &mut Vec<u8>) -> Block {
    let start = bytes.len();
    bytes.extend([0, BLOCK_FLAGS]);
    append_number(lzma2.len() as u64, bytes);
    append_number(contents.len() as u64, bytes);
    let dictionary = (dictionary_bytes.trailing_zeros().saturating_sub(12) * 2) as u8;
    bytes.extend([FILTER_LZMA2, 1, dictionary]);
    pad(start, bytes);
    let header_bytes = bytes.len() - start + 4;
    if let Some(size) = bytes.get_mut(start) {
        *size = (header_bytes / 4 - 1) as u8;
    }
    append_checksum(start, bytes);
    bytes.extend_from_slice(lzma2);
    pad(start, bytes);
    bytes.extend_from_slice(&crc32fast::hash(contents).to_le_bytes());
    Block {
        unpadded_bytes: (header_bytes + lzma2.len()) as u64 + CHECK_BYTES,
        contents_bytes: contents.len() as u64,
    }
}

impl Index {
    /// Adds so many blocks of these sizes.
    pub fn add(&mut self, block: Block, count: u64) {
        match self.blocks.last_mut() {
            Some((last, last_count)) if *last == block => *last_count += count,
            _ => self.blocks.push((block, count)),
        }
    }

    /// The index and the footer, which end the file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![INDEX_INDICATOR];
        append_number(self.blocks.iter().map(|(_, count)| count).sum(), &mut bytes);
        for (block, count) in &self.blocks {
            for _ in 0..*count {
                append_number(block.unpadded_bytes, &mut bytes);
                append_number(block.contents_bytes, &mut bytes);
            }
        }
        pad(0, &mut bytes);
        append_checksum(0, &mut bytes);
        let mut footer = ((bytes.len() / 4 - 1) as u32).to_le_bytes().to_vec();
        footer.extend(STREAM_FLAGS);
        bytes.extend(crc32fast::hash(&footer).to_le_bytes());
        bytes.extend(footer);
        bytes.extend(b"YZ");
        bytes
    }
}

fn append_number(mut number: u64, bytes: &mut Vec<u8>) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

/// Makes what begins at `start` a multiple of four bytes.
fn pad(start: usize, bytes: &mut Vec<u8>) {
    let length = (bytes.len() - start).next_multiple_of(4);
    bytes.resize(start + length, 0);
}

/// Appends the CRC-32 of what begins at `start`.
fn append_checksum(start: usize, bytes: &mut Vec<u8>) {
    let checksum = crc32fast::hash(bytes.get(start..).unwrap_or_default());
    bytes.extend(checksum.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use osmith_testing::oracle;

    use super::*;

    /// LZMA2 without compression: a chunk that resets the dictionary, and the end.
    fn stored(contents: &[u8]) -> Vec<u8> {
        let mut bytes = vec![1];
        bytes.extend((contents.len() as u16 - 1).to_be_bytes());
        bytes.extend(contents);
        bytes.push(0);
        bytes
    }

    #[test]
    fn the_header_has_its_checksum() {
        assert_eq!(STREAM_HEADER[8..], crc32fast::hash(&STREAM_FLAGS).to_le_bytes());
    }

    #[test]
    fn xz_reads_blocks_of_any_length() {
        let Some(xz) = oracle::require("xz") else { return };
        let folder = tempfile::tempdir().unwrap();
        for lengths in [&[][..], &[1], &[1, 2, 3, 4, 5, 5, 5, 60_000], &[300; 200]] {
            let (mut file, mut expected, mut index) = (STREAM_HEADER.to_vec(), Vec::new(), Index::default());
            for (length, byte) in lengths.iter().zip((0..=255).cycle()) {
                let contents = vec![byte; *length];
                index.add(append_block(&stored(&contents), &contents, 1 << 20, &mut file), 1);
                expected.extend(contents);
            }
            file.extend(index.to_bytes());
            let path = folder.path().join("file.xz");
            std::fs::write(&path, &file).unwrap();
            let test = |arguments: &[&str]| {
                let output = Command::new(&xz).args(arguments).arg(&path).output().unwrap();
                let said = String::from_utf8_lossy(&output.stderr).into_owned();
                assert!(output.status.success(), "{lengths:?}: {said}");
                output.stdout
            };
            assert_eq!(test(&["-dc"]), expected);
            assert_eq!(test(&["-dc", "-T2"]), expected);
            let list = String::from_utf8(test(&["-l", "--robot"])).unwrap();
            assert!(list.contains(&format!("file\t1\t{}\t", lengths.len())), "{list}");
        }
    }

    #[test]
    fn equal_blocks_are_counted() {
        let block = append_block(&[0], &[], 4096, &mut Vec::new());
        let (mut one_by_one, mut at_once) = (Index::default(), Index::default());
        (0..1000).for_each(|_| one_by_one.add(block, 1));
        at_once.add(block, 1000);
        assert_eq!(one_by_one.blocks.len(), 1);
        assert_eq!(one_by_one.to_bytes(), at_once.to_bytes());
    }
}
