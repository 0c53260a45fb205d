//! Extended attributes: those of one inode behind its header, those of several in a shared table.
//!
//! ```text
//! header: 0 name filter u32, inverted · 4 count of shared u8 · 5 0 [7]
//! then le32 references to shared ones (in words from the attributes block), then the inode's own:
//! entry:  0 length of the name u8 · 1 prefix u8 · 2 length of the value u16 · name · value · to a multiple of 4
//! ```
//!
//! The filter has a bit for every name that is there (an XXH32 hash), so that most misses read nothing.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use xxhash_rust::xxh32::xxh32;

use super::reader::{Defect, array, u16_at, u32_at};
use crate::verity::{Digest, HASH_BYTES};

const HEADER_BYTES: usize = 12;
const ENTRY_BYTES: usize = 4;
const WORD_BYTES: usize = 4;
const FILTER_SEED: u32 = 0x25bb_e08f;

/// Prefixes that are stored as a number. `lustre.` (5) is left out, as `mkcomposefs` does.
const PREFIXES: [(u8, &[u8]); 5] = [
    (1, b"user."),
    (ACL_ACCESS, b"system.posix_acl_access"),
    (ACL_DEFAULT, b"system.posix_acl_default"),
    (4, b"trusted."),
    (6, b"security."),
];
/// Read, though not written.
const LUSTRE: (u8, &[u8]) = (5, b"lustre.");
const ACL_ACCESS: u8 = 2;
const ACL_DEFAULT: u8 = 3;

/// A value: bytes, or what is made of a digest when it is written, as an image has two of these for every file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Value<'a> {
    /// The bytes.
    Bytes(&'a [u8]),
    /// Four bytes, then those of the digest.
    Digest([u8; 4], &'a Digest),
    /// `/`, then the path of the object.
    ObjectPath(&'a Digest),
}

impl Value<'_> {
    fn len(&self) -> usize {
        match self {
            Value::Bytes(bytes) => bytes.len(),
            Value::Digest(head, _) => head.len() + HASH_BYTES,
            Value::ObjectPath(_) => "/xx/".len() + 2 * (HASH_BYTES - 1),
        }
    }

    fn append_to(&self, out: &mut Vec<u8>) {
        match self {
            Value::Bytes(bytes) => out.extend_from_slice(bytes),
            Value::Digest(head, digest) => {
                out.extend_from_slice(head);
                out.extend_from_slice(digest.as_bytes());
            }
            Value::ObjectPath(digest) => {
                out.push(b'/');
                out.extend_from_slice(digest.object_path().as_bytes());
            }
        }
    }
}

/// A name and its value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Attribute<'a> {
    prefix: u8,
    suffix: Cow<'a, [u8]>,
    value: Value<'a>,
}

impl<'a> Attribute<'a> {
    /// `None` if the name or the value is longer than the format allows: 255 bytes behind the prefix, 65,535 bytes.
    pub(crate) fn new(name: impl Into<Cow<'a, [u8]>>, value: Value<'a>) -> Option<Self> {
        let name = name.into();
        let (prefix, skipped) = PREFIXES
            .iter()
            .find(|(_, prefix)| name.starts_with(prefix))
            .map_or((0, 0), |(number, prefix)| (*number, prefix.len()));
        let suffix = match name {
            Cow::Borrowed(name) => Cow::Borrowed(&name[skipped..]),
            Cow::Owned(name) => Cow::Owned(name[skipped..].to_vec()),
        };
        let fits = u8::try_from(suffix.len()).is_ok() && u16::try_from(value.len()).is_ok();
        fits.then_some(Attribute {
            prefix,
            suffix,
            value,
        })
    }

    /// Whether this is a POSIX access control list.
    pub(crate) fn is_acl(&self) -> bool {
        matches!(self.prefix, ACL_ACCESS | ACL_DEFAULT)
    }

    /// The length of the entry with its padding.
    pub(crate) fn stored_bytes(&self) -> usize {
        (ENTRY_BYTES + self.suffix.len() + self.value.len()).next_multiple_of(WORD_BYTES)
    }

    /// Appends the entry with its padding; `out` must be as aligned as the entry is to be.
    pub(crate) fn append_to(&self, out: &mut Vec<u8>) {
        let end = out.len() + self.stored_bytes();
        out.extend_from_slice(&[self.suffix.len() as u8, self.prefix]);
        out.extend_from_slice(&(self.value.len() as u16).to_le_bytes());
        out.extend_from_slice(&self.suffix);
        self.value.append_to(out);
        out.resize(end, 0);
    }

    /// A digest is a hash already.
    fn hash_value(&self) -> u64 {
        let (Value::Digest(_, digest) | Value::ObjectPath(digest)) = self.value else {
            let mut hasher = DefaultHasher::new();
            self.hash(&mut hasher);
            return hasher.finish();
        };
        let [first, ..] = digest.as_bytes().as_chunks().0 else {
            return 0;
        };
        let kind = u64::from(matches!(self.value, Value::ObjectPath(_)));
        u64::from_le_bytes(*first).wrapping_add(kind)
    }

    fn filter_bit(&self) -> u32 {
        1 << (xxh32(&self.suffix, FILTER_SEED + u32::from(self.prefix)) % 32)
    }

    /// By full name, then by length of the value, then by value. Attributes of one name have values of one kind.
    fn compare(&self, other: &Self) -> Ordering {
        let names = match self.prefix == other.prefix {
            true => self.suffix.cmp(&other.suffix),
            false => self.full_name().cmp(other.full_name()),
        };
        names
            .then_with(|| self.value.len().cmp(&other.value.len()))
            .then_with(|| self.value.cmp(&other.value))
    }

    fn full_name(&self) -> impl Iterator<Item = u8> {
        let prefix = PREFIXES.iter().find(|(number, _)| *number == self.prefix);
        let prefix = prefix.map_or(&[][..], |(_, text)| *text);
        prefix.iter().chain(&*self.suffix).copied()
    }
}

/// The attributes of one inode, as they are stored.
#[derive(Debug)]
pub(crate) struct Attributes<'a> {
    own: Vec<Attribute<'a>>,
    /// Positions in the shared table.
    shared: Vec<u32>,
    filter: u32,
}

impl<'a> Attributes<'a> {
    /// Sorts attributes, and takes from the table what is there.
    pub(crate) fn new(mut all: Vec<Attribute<'a>>, table: &Shared<'a>) -> Self {
        all.sort_by(Attribute::compare);
        let filter = all
            .iter()
            .fold(0, |filter, attribute| filter | attribute.filter_bit());
        let mut shared = Vec::new();
        all.retain(|attribute| {
            let position = table.position(attribute);
            shared.extend(position);
            position.is_none()
        });
        Attributes {
            own: all,
            shared,
            filter,
        }
    }

    /// The length of all that [`Attributes::append_to`] writes.
    pub(crate) fn stored_bytes(&self) -> usize {
        if self.own.is_empty() && self.shared.is_empty() {
            return 0;
        }
        let own: usize = self.own.iter().map(Attribute::stored_bytes).sum();
        HEADER_BYTES + self.shared.len() * WORD_BYTES + own
    }

    /// The `i_xattr_icount` field of the inode; `None` if there are too many attributes for it, or for the count of
    /// shared ones.
    pub(crate) fn word_count(&self) -> Option<u16> {
        u8::try_from(self.shared.len()).ok()?;
        match self.stored_bytes() {
            0 => Some(0),
            bytes => u16::try_from(1 + (bytes - HEADER_BYTES) / WORD_BYTES).ok(),
        }
    }

    /// Appends the attributes; `references` are those of the shared table.
    pub(crate) fn append_to(&self, out: &mut Vec<u8>, references: &[u32]) {
        if self.stored_bytes() == 0 {
            return;
        }
        out.extend_from_slice(&(!self.filter).to_le_bytes());
        out.extend_from_slice(&[self.shared.len() as u8, 0, 0, 0, 0, 0, 0, 0]);
        for position in &self.shared {
            out.extend_from_slice(&references[*position as usize].to_le_bytes());
        }
        for attribute in &self.own {
            attribute.append_to(out);
        }
    }
}

/// The attributes that occur more than once.
#[derive(Debug)]
pub(crate) struct Shared<'a> {
    /// In descending order, as `mkcomposefs` writes them.
    table: Vec<Attribute<'a>>,
    /// Hashes of the attributes and their positions in the table, in order.
    positions: Vec<(u64, u32)>,
}

impl<'a> Shared<'a> {
    /// Finds them among the attributes of all inodes, which `all` lists as often as it is called. Most occur once: of
    /// these only a hash is kept.
    pub(crate) fn of<I: Iterator<Item = Attribute<'a>>>(all: impl Fn() -> I) -> Self {
        let mut hashes: Vec<u64> = all().map(|attribute| attribute.hash_value()).collect();
        hashes.sort_unstable();
        let repeated: Vec<u64> = hashes
            .chunk_by(|a, b| a == b)
            .filter_map(|equal| equal.get(1).copied())
            .collect();
        drop(hashes);
        let mut counts: BTreeMap<Attribute<'a>, u32> = BTreeMap::new();
        for attribute in all().filter(|attribute| repeated.binary_search(&attribute.hash_value()).is_ok()) {
            *counts.entry(attribute).or_default() += 1;
        }
        counts.retain(|_, count| *count > 1);
        let mut table: Vec<Attribute<'a>> = counts.into_keys().collect();
        table.sort_by(|a, b| b.compare(a));
        let hashes = table.iter().map(Attribute::hash_value);
        let mut positions: Vec<(u64, u32)> = hashes.zip(0..).collect();
        positions.sort_unstable();
        Shared { table, positions }
    }

    /// The table: in descending order, as `mkcomposefs` writes it.
    pub(crate) fn table(&self) -> &[Attribute<'a>] {
        &self.table
    }

    fn position(&self, attribute: &Attribute<'a>) -> Option<u32> {
        let hash = attribute.hash_value();
        let start = self.positions.partition_point(|(other, _)| *other < hash);
        let equal = self.positions.get(start..)?.iter();
        let mut equal = equal.take_while(|(other, _)| *other == hash);
        let is_it = |position: u32| self.table.get(position as usize) == Some(attribute);
        equal
            .find(|(_, position)| is_it(*position))
            .map(|(_, position)| *position)
    }
}

/// An attribute of an image that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StoredAttribute<'a> {
    prefix: &'static [u8],
    suffix: &'a [u8],
    pub(crate) value: &'a [u8],
}

impl StoredAttribute<'_> {
    /// The full name.
    pub(crate) fn name(&self) -> Vec<u8> {
        [self.prefix, self.suffix].concat()
    }

    /// Whether this is its full name.
    pub(crate) fn has_name(&self, name: &[u8]) -> bool {
        name.strip_prefix(self.prefix) == Some(self.suffix)
    }

    /// The length of the full name.
    pub(crate) fn name_bytes(&self) -> usize {
        self.prefix.len() + self.suffix.len()
    }
}

/// The length of the area behind an inode whose `i_xattr_icount` field this is.
pub(super) fn area_bytes(word_count: u16) -> u64 {
    match word_count.checked_sub(1) {
        None => 0,
        Some(words) => HEADER_BYTES as u64 + u64::from(words) * WORD_BYTES as u64,
    }
}

/// The attributes of the inode with this area, those of `shared`, which starts with the attributes block, first.
pub(super) fn parse<'b>(area: &'b [u8], shared: &'b [u8]) -> Result<Vec<StoredAttribute<'b>>, Defect> {
    let mut found = Vec::new();
    if area.is_empty() {
        return Ok(found);
    }
    let [count] = array(area, 4)?;
    let own_offset = HEADER_BYTES + usize::from(count) * WORD_BYTES;
    for offset in (HEADER_BYTES..own_offset).step_by(WORD_BYTES) {
        let place = u32_at(area, offset).map_err(|_| Defect::Attributes)?;
        let place = usize::try_from(place)
            .ok()
            .and_then(|words| words.checked_mul(WORD_BYTES));
        let entry = place.and_then(|place| shared.get(place..));
        found.push(parse_entry(entry.ok_or(Defect::Range)?)?.0);
    }
    let mut own = area.get(own_offset..).ok_or(Defect::Attributes)?;
    while !own.is_empty() {
        let (attribute, rest) = parse_entry(own)?;
        found.push(attribute);
        own = rest;
    }
    Ok(found)
}

/// The attribute at the start, and what follows it.
fn parse_entry(bytes: &[u8]) -> Result<(StoredAttribute<'_>, &[u8]), Defect> {
    let [name_bytes, number] = array(bytes, 0).map_err(|_| Defect::Attributes)?;
    let value_bytes = u16_at(bytes, 2).map_err(|_| Defect::Attributes)?;
    let prefix = match number {
        0 => &[],
        _ => PREFIXES
            .into_iter()
            .chain([LUSTRE])
            .find_map(|(known, prefix)| (known == number).then_some(prefix))
            .ok_or(Defect::AttributePrefix(number))?,
    };
    let value_offset = ENTRY_BYTES + usize::from(name_bytes);
    let end = value_offset + usize::from(value_bytes);
    let (Some(suffix), Some(value)) = (bytes.get(ENTRY_BYTES..value_offset), bytes.get(value_offset..end))
    else {
        return Err(Defect::Attributes);
    };
    let attribute = StoredAttribute {
        prefix,
        suffix,
        value,
    };
    let rest = bytes.get(end.next_multiple_of(WORD_BYTES)..);
    Ok((attribute, rest.unwrap_or_default()))
}
