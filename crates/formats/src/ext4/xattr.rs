//! Extended attributes: in the room behind the inode's fields, what does not fit there in one block, and the largest
//! values, as far as the block is too small, in inodes of their own ([`super::value`]).
//!
//! ```text
//! inode  160 magic ea020000 · 164 entries · ... zeros (4) · ... values, from the end, up to 256
//! block    0 h_magic · 4 h_refcount · 8 h_blocks 1 · 12 h_hash · 16 h_checksum · 32 entries · ... values, from the end
//! entry    0 e_name_len · 1 e_name_index · 2 e_value_offs · 4 e_value_inum · 8 e_value_size · 12 e_hash · 16 name
//! ```
//!
//! Value offsets count from the first entry in an inode, from the block's start in a block. Access control lists are
//! converted from the form that system calls use. Equal sets of attributes share their block.

use std::borrow::Cow;
use std::collections::HashMap;

use super::BLOCK_BYTES;
use super::checksum::Checksum;
use super::error::NodeReason;
use super::fields::Fields;
use super::value::{self, Value, Values};
use crate::tree::Xattrs;

/// The room in an inode of 256 bytes with 32 extra ones.
pub(super) const INODE_ROOM_BYTES: usize = 96;
/// How many inodes may share one block.
const SHARES: u32 = 1024;

const BLOCK: usize = BLOCK_BYTES as usize;
const MAGIC: u32 = 0xea02_0000;
const BLOCK_HEADER_BYTES: usize = 32;
const INODE_HEADER_BYTES: usize = 4;
const ENTRY_HEADER_BYTES: usize = 16;
const END_BYTES: usize = 4;
/// Where `e_value_inum` is in an entry.
const VALUE_INODE: usize = 4;
const VALUE_LIMIT: &str = "the longest value has 65536 bytes";
const NAMES_LIMIT: &str =
    "the names of the attributes that are not in the inode must fit one block of 4096 bytes";

/// The attributes of one or more inodes, encoded.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Encoded {
    /// What follows the inode's fields; empty or [`INODE_ROOM_BYTES`] long.
    pub(super) in_inode: Vec<u8>,
    /// The block, without reference count and checksum; empty if none is needed.
    pub(super) block: Vec<u8>,
    /// The blocks of values in inodes of their own.
    pub(super) value_blocks: u64,
    /// The entries in the block that have such a value: where `e_value_inum` is, and the position of the value.
    apart: Vec<(usize, u32)>,
}

/// Every different set of attributes in a tree, encoded once.
#[derive(Debug)]
pub(super) struct Table<'t> {
    positions: HashMap<&'t Xattrs, u32>,
    sets: Vec<Encoded>,
    values: Values<'t>,
    file_system: Checksum,
}

impl<'t> Table<'t> {
    /// A table without sets; `file_system` is where hashes of values start.
    pub(super) fn new(file_system: Checksum) -> Self {
        Table {
            positions: HashMap::new(),
            sets: Vec::new(),
            values: Values::default(),
            file_system,
        }
    }

    /// The position of a set, encoded if it is new.
    pub(super) fn position(&mut self, xattrs: &'t Xattrs) -> Result<u32, NodeReason> {
        if let Some(position) = self.positions.get(xattrs) {
            return Ok(*position);
        }
        let position = self.sets.len() as u32;
        self.sets
            .push(encode(xattrs, &mut self.values, self.file_system)?);
        self.positions.insert(xattrs, position);
        Ok(position)
    }

    /// The set at a position that [`Table::position`] gave.
    pub(super) fn set(&self, position: u32) -> &Encoded {
        &self.sets[position as usize]
    }

    /// How many values need inodes of their own.
    pub(super) fn values(&self) -> u32 {
        self.values.len()
    }

    /// One of these values.
    pub(super) fn value(&self, position: u32) -> &Value<'t> {
        self.values.value(position)
    }

    /// Numbers the inodes of values from `first` on. The sets of all inodes are those at `positions`.
    pub(super) fn number_values(&mut self, first: u32, positions: impl Iterator<Item = u32>) {
        let shared = SharedBlocks::of(self, positions);
        for (set, asking) in self.sets.iter_mut().zip(&shared.asking) {
            for (at, position) in &set.apart {
                set.block.put_u32(*at, first + position);
                self.values.refer(*position, asking.div_ceil(SHARES));
            }
        }
    }
}

/// Which block holds the attributes of which inode, as inodes ask in their order.
#[derive(Debug)]
pub(super) struct SharedBlocks {
    /// By position of the set: how many inodes have yet to ask, if the set needs a block.
    asking: Vec<u32>,
    /// The block in use, and how many more inodes it can take.
    current: Vec<(u64, u32)>,
}

impl SharedBlocks {
    /// For inodes whose sets have these positions.
    pub(super) fn of(table: &Table<'_>, positions: impl Iterator<Item = u32>) -> Self {
        let mut asking = vec![0; table.sets.len()];
        for position in positions.filter(|position| !table.set(*position).block.is_empty()) {
            asking[position as usize] += 1;
        }
        SharedBlocks {
            current: vec![(0, 0); asking.len()],
            asking,
        }
    }

    /// The block of the next inode with that set, 0 if none is needed. `place` finds room for a new one that so many
    /// inodes will share; if there is none, neither is here.
    pub(super) fn next(&mut self, position: u32, place: impl FnOnce(u32) -> Option<u64>) -> Option<u64> {
        let asking = &mut self.asking[position as usize];
        if *asking == 0 {
            return Some(0);
        }
        let (block, room) = &mut self.current[position as usize];
        if *room == 0 {
            *room = (*asking).min(SHARES);
            *block = place(*room)?;
        }
        *asking -= 1;
        *room -= 1;
        Some(*block)
    }

    /// How many blocks there will be.
    pub(super) fn total(&self) -> u64 {
        self.asking
            .iter()
            .map(|asking| u64::from(asking.div_ceil(SHARES)))
            .sum()
    }
}

/// A block as it is stored at block `number`, shared by `refcount` inodes.
pub(super) fn finish_block(block: &[u8], refcount: u32, number: u64, file_system: Checksum) -> Vec<u8> {
    let mut bytes = block.to_vec();
    bytes.put_u32(4, refcount); // h_refcount
    let checksum = file_system.with(&number.to_le_bytes()).with(&bytes).value();
    bytes.put_u32(16, checksum); // h_checksum
    bytes
}

fn encode<'t>(
    xattrs: &'t Xattrs,
    values: &mut Values<'t>,
    file_system: Checksum,
) -> Result<Encoded, NodeReason> {
    let mut attributes = Vec::with_capacity(xattrs.len());
    for (name, value) in xattrs {
        attributes.push(Attribute::parse(name, value)?);
    }
    attributes.sort_by(|a, b| a.sort_key().cmp(&b.sort_key()));
    let mut room = INODE_ROOM_BYTES - INODE_HEADER_BYTES - END_BYTES;
    let (inside, mut outside): (Vec<_>, Vec<_>) = attributes.into_iter().partition(|attribute| {
        let fits = attribute.stored_bytes() <= room;
        if fits {
            room -= attribute.stored_bytes();
        }
        fits
    });
    check_sizes(xattrs, &outside)?;
    let value_blocks = move_apart(&mut outside, values, file_system);
    let (block, apart) = encode_block(&outside);
    Ok(Encoded {
        in_inode: encode_in_inode(&inside),
        block,
        value_blocks,
        apart,
    })
}

fn check_sizes(xattrs: &Xattrs, outside: &[Attribute<'_>]) -> Result<(), NodeReason> {
    let names_bytes: usize = outside.iter().map(Attribute::entry_bytes).sum();
    if outside
        .iter()
        .any(|attribute| attribute.value.len() > value::MAX_BYTES)
    {
        return Err(too_large(xattrs, VALUE_LIMIT));
    }
    match BLOCK_HEADER_BYTES + END_BYTES + names_bytes > BLOCK {
        true => Err(too_large(xattrs, NAMES_LIMIT)),
        false => Ok(()),
    }
}

/// Gives the largest values inodes of their own until the rest fits the block, and says how many blocks those take.
fn move_apart<'t>(outside: &mut [Attribute<'t>], values: &mut Values<'t>, file_system: Checksum) -> u64 {
    let mut missing = BLOCK_HEADER_BYTES + END_BYTES;
    missing += outside.iter().map(Attribute::stored_bytes).sum::<usize>();
    let mut value_blocks = 0;
    while missing > BLOCK {
        let inside = outside.iter_mut().filter(|attribute| attribute.apart.is_none());
        let Some(largest) = inside.max_by_key(|attribute| attribute.value.len()) else {
            break;
        };
        missing -= largest.value.len().next_multiple_of(4);
        value_blocks += value::blocks(largest.value.len());
        largest.apart = Some(values.position(largest.value.clone(), file_system));
    }
    value_blocks
}

fn too_large(xattrs: &Xattrs, limit: &'static str) -> NodeReason {
    let largest = xattrs.iter().max_by_key(|(_, value)| value.len());
    let (name, value_bytes) = largest.map_or((&[][..], 0), |(name, value)| (name, value.len()));
    NodeReason::XattrSize {
        name: String::from_utf8_lossy(name).into_owned(),
        value_bytes,
        limit,
    }
}

fn encode_in_inode(attributes: &[Attribute<'_>]) -> Vec<u8> {
    if attributes.is_empty() {
        return Vec::new();
    }
    let mut room = vec![0; INODE_ROOM_BYTES];
    room.put_u32(0, MAGIC); // h_magic
    put_attributes(&mut room[INODE_HEADER_BYTES..], 0, attributes, |_| 0);
    room
}

fn encode_block(attributes: &[Attribute<'_>]) -> (Vec<u8>, Vec<(usize, u32)>) {
    if attributes.is_empty() {
        return (Vec::new(), Vec::new());
    }
    let mut block = vec![0; BLOCK];
    block.put_u32(0, MAGIC); // h_magic
    block.put_u32(8, 1); // h_blocks
    let hash = attributes
        .iter()
        .fold(0, |hash: u32, attribute| hash.rotate_left(16) ^ attribute.hash());
    block.put_u32(12, hash); // h_hash
    let apart = put_attributes(&mut block, BLOCK_HEADER_BYTES, attributes, |attribute| {
        attribute.hash()
    });
    (block, apart)
}

/// Entries from `first_entry` on, values from the end of `area` back. Returns where the inodes of values belong.
fn put_attributes(
    area: &mut [u8],
    first_entry: usize,
    attributes: &[Attribute<'_>],
    hash: impl Fn(&Attribute<'_>) -> u32,
) -> Vec<(usize, u32)> {
    let mut entry = first_entry;
    let mut value_start = area.len();
    let mut apart = Vec::new();
    for attribute in attributes {
        let value = attribute.value_here();
        value_start -= value.len().next_multiple_of(4);
        let offset = if value.is_empty() { 0 } else { value_start };
        apart.extend(
            attribute
                .apart
                .map(|(position, _)| (entry + VALUE_INODE, position)),
        );
        area.put_u8(entry, attribute.suffix.len() as u8); // e_name_len
        area.put_u8(entry + 1, attribute.index); // e_name_index
        area.put_u16(entry + 2, offset as u16); // e_value_offs
        area.put_u32(entry + 8, attribute.value.len() as u32); // e_value_size
        area.put_u32(entry + 12, hash(attribute)); // e_hash
        area.put(entry + ENTRY_HEADER_BYTES, attribute.suffix);
        area.put(value_start, value);
        entry += attribute.entry_bytes();
    }
    apart
}

/// An attribute with its namespace as a number and its value in ext4's form.
struct Attribute<'a> {
    index: u8,
    suffix: &'a [u8],
    value: Cow<'a, [u8]>,
    /// If the value has an inode of its own: its position among those, and its hash.
    apart: Option<(u32, u32)>,
}

impl<'a> Attribute<'a> {
    fn parse(name: &'a [u8], value: &'a [u8]) -> Result<Self, NodeReason> {
        const NAMESPACES: [(&[u8], u8); 3] = [(b"user.", 1), (b"trusted.", 4), (b"security.", 6)];
        let text = || String::from_utf8_lossy(name).into_owned();
        let acl = |index| match acl_to_disk(value) {
            Some(value) => Ok(Attribute {
                index,
                suffix: &[],
                value: value.into(),
                apart: None,
            }),
            None => Err(NodeReason::Acl(text())),
        };
        match name {
            b"system.posix_acl_access" => return acl(2),
            b"system.posix_acl_default" => return acl(3),
            _ => {}
        }
        for (prefix, index) in NAMESPACES {
            if let Some(suffix) = name
                .strip_prefix(prefix)
                .filter(|suffix| (1..=255).contains(&suffix.len()))
            {
                return Ok(Attribute {
                    index,
                    suffix,
                    value: value.into(),
                    apart: None,
                });
            }
        }
        Err(NodeReason::XattrName(text()))
    }

    /// The order that blocks keep their entries in.
    fn sort_key(&self) -> (u8, usize, &[u8]) {
        (self.index, self.suffix.len(), self.suffix)
    }

    fn entry_bytes(&self) -> usize {
        (ENTRY_HEADER_BYTES + self.suffix.len()).next_multiple_of(4)
    }

    /// The value, unless it has an inode of its own.
    fn value_here(&self) -> &[u8] {
        match self.apart {
            Some(_) => &[],
            None => &self.value,
        }
    }

    fn stored_bytes(&self) -> usize {
        self.entry_bytes() + self.value_here().len().next_multiple_of(4)
    }

    /// `e_hash`: name bytes, then value words or the hash of a value in an inode of its own.
    fn hash(&self) -> u32 {
        let name = self
            .suffix
            .iter()
            .fold(0u32, |hash, byte| hash.rotate_left(5) ^ u32::from(*byte));
        if let Some((_, value_hash)) = self.apart {
            return name.rotate_left(16) ^ value_hash;
        }
        self.value.chunks(4).fold(name, |hash, bytes| {
            let mut word = [0; 4];
            word[..bytes.len()].copy_from_slice(bytes);
            hash.rotate_left(16) ^ u32::from_le_bytes(word)
        })
    }
}

/// An access control list in ext4's form: version 1, and no id where the tag needs none. The form of system calls is
/// version 2 and `tag, perm, id` (16, 16 and 32 bits) throughout.
fn acl_to_disk(value: &[u8]) -> Option<Vec<u8>> {
    const USER: u16 = 2;
    const GROUP: u16 = 8;
    const WITHOUT_ID: [u16; 4] = [1, 4, 0x10, 0x20];
    let entries = value.strip_prefix(&[2, 0, 0, 0])?;
    let mut disk = vec![1, 0, 0, 0];
    for entry in entries.chunks(8) {
        let &[tag_lo, tag_hi, _, _, _, _, _, _] = entry else {
            return None;
        };
        match u16::from_le_bytes([tag_lo, tag_hi]) {
            USER | GROUP => disk.extend_from_slice(entry),
            tag if WITHOUT_ID.contains(&tag) => disk.extend_from_slice(&entry[..4]),
            _ => return None,
        }
    }
    Some(disk)
}
