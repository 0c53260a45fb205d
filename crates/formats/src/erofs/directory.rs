//! Directory contents: blocks of entries, each block sorted and complete in itself.
//!
//! ```text
//! block: entry [12] × n · names, one behind the other, without terminator
//! entry: 0 nid u64 · 8 offset of the name in the block u16 · 10 kind u8 · 11 0
//! ```
//!
//! A name ends where the next begins; the last ends at the end of the block, or at a NUL if the block is longer.

use super::{BLOCK_BYTES, FileType};

const ENTRY_BYTES: usize = 12;
/// A rest longer than this gets a block of its own.
const INLINE_MAX_BYTES: usize = BLOCK_BYTES / 2;

/// A name in a directory.
#[derive(Debug)]
pub(crate) struct Entry<'a> {
    pub(crate) name: &'a [u8],
    /// The position of the inode in the writer's table.
    pub(crate) inode: u32,
    pub(crate) file_type: FileType,
}

/// The names of a directory in byte order, `.` and `..` among them, cut into blocks.
#[derive(Debug)]
pub(crate) struct Listing<'a> {
    blocks: Vec<Vec<Entry<'a>>>,
    rest: Vec<Entry<'a>>,
    rest_bytes: usize,
}

impl<'a> Listing<'a> {
    /// Sorts the entries and cuts them into blocks. No name may be longer than 255 bytes.
    pub(crate) fn new(mut entries: Vec<Entry<'a>>) -> Self {
        entries.sort_unstable_by_key(|entry| entry.name);
        let mut listing = Listing {
            blocks: Vec::new(),
            rest: Vec::new(),
            rest_bytes: 0,
        };
        for entry in entries {
            let entry_bytes = ENTRY_BYTES + entry.name.len();
            if listing.rest_bytes + entry_bytes > BLOCK_BYTES {
                listing.close_block();
            }
            listing.rest_bytes += entry_bytes;
            listing.rest.push(entry);
        }
        if listing.rest_bytes > INLINE_MAX_BYTES {
            listing.close_block();
        }
        listing
    }

    fn close_block(&mut self) {
        self.blocks.push(std::mem::take(&mut self.rest));
        self.rest_bytes = 0;
    }

    /// How many whole blocks precede the rest.
    pub(crate) fn block_count(&self) -> usize {
        self.blocks.len()
    }

    /// The length of what follows the whole blocks, to be stored behind the inode.
    pub(crate) fn rest_bytes(&self) -> usize {
        self.rest_bytes
    }

    /// The size of the directory.
    pub(crate) fn size_bytes(&self) -> u64 {
        (self.blocks.len() * BLOCK_BYTES + self.rest_bytes) as u64
    }

    /// How many directories are listed: the link count.
    pub(crate) fn directory_count(&self) -> u32 {
        let entries = self.blocks.iter().flatten().chain(&self.rest);
        entries
            .filter(|entry| entry.file_type == FileType::Directory)
            .count() as u32
    }

    /// Appends the rest; `nid` gives the number of the inode at a position of the writer's table.
    pub(crate) fn append_rest(&self, out: &mut Vec<u8>, nid: impl Fn(u32) -> u64) {
        append_entries(&self.rest, out, nid);
    }

    /// Appends the whole blocks.
    pub(crate) fn append_blocks(&self, out: &mut Vec<u8>, nid: impl Fn(u32) -> u64) {
        for block in &self.blocks {
            append_entries(block, out, &nid);
            out.resize(out.len().next_multiple_of(BLOCK_BYTES), 0);
        }
    }
}

fn append_entries(entries: &[Entry<'_>], out: &mut Vec<u8>, nid: impl Fn(u32) -> u64) {
    let mut name_offset = entries.len() * ENTRY_BYTES;
    for entry in entries {
        out.extend_from_slice(&nid(entry.inode).to_le_bytes());
        out.extend_from_slice(&(name_offset as u16).to_le_bytes());
        out.extend_from_slice(&[entry.file_type as u8, 0]);
        name_offset += entry.name.len();
    }
    for entry in entries {
        out.extend_from_slice(entry.name);
    }
}

/// Appends the names and inode numbers of a block, or of a rest; `None` if it is malformed.
pub(super) fn parse_entries<'b>(block: &'b [u8], found: &mut Vec<(&'b [u8], u64)>) -> Option<()> {
    let Some(entry) = block.first_chunk::<ENTRY_BYTES>() else {
        return block.is_empty().then_some(());
    };
    let names_start = name_offset(entry);
    let (entries, rest) = block.get(..names_start)?.as_chunks::<ENTRY_BYTES>();
    if entries.is_empty() || !rest.is_empty() {
        return None;
    }
    let mut following = entries.iter().skip(1).map(name_offset);
    for entry in entries {
        let (nid, _) = entry.split_first_chunk::<8>()?;
        let start = name_offset(entry);
        let name = match following.next() {
            Some(end) => block.get(start..end)?,
            None => block.get(start..)?.split(|byte| *byte == 0).next()?,
        };
        if start < names_start {
            return None;
        }
        found.push((name, u64::from_le_bytes(*nid)));
    }
    Some(())
}

fn name_offset(entry: &[u8; ENTRY_BYTES]) -> usize {
    let [.., low, high, _, _] = *entry;
    usize::from(u16::from_le_bytes([low, high]))
}
