//! Extended attributes: those of one inode behind its header, those of several in a shared table.
//!
//! ```text
//! header: 0 name filter u32, inverted · 4 count of shared u8 · 5 0 [7]
//! then le32 references to shared ones (in words from the attributes block), then the inode's own:
//! entry:  0 length of the name u8 · 1 prefix u8 · 2 length of the value u16 · name · value · to a multiple of 4
//! ```
//!
//! The filter has a bit for every name that is there (an XXH32 hash), so that most misses read nothing.

use std::cmp::Ordering;
use std::collections::HashMap;

use xxhash_rust::xxh32::xxh32;

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
const ACL_ACCESS: u8 = 2;
const ACL_DEFAULT: u8 = 3;

/// A name and its value.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Attribute {
    prefix: u8,
    suffix: Box<[u8]>,
    value: Box<[u8]>,
}

impl Attribute {
    /// `None` if the name or the value is longer than the format allows: 255 bytes behind the prefix, 65,535 bytes.
    pub(crate) fn new(name: &[u8], value: &[u8]) -> Option<Self> {
        let (prefix, suffix) = PREFIXES
            .iter()
            .find_map(|(number, prefix)| Some((*number, name.strip_prefix(*prefix)?)))
            .unwrap_or((0, name));
        let fits = u8::try_from(suffix.len()).is_ok() && u16::try_from(value.len()).is_ok();
        fits.then(|| Attribute {
            prefix,
            suffix: suffix.into(),
            value: value.into(),
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
        out.extend_from_slice(&self.value);
        out.resize(end, 0);
    }

    fn filter_bit(&self) -> u32 {
        1 << (xxh32(&self.suffix, FILTER_SEED + u32::from(self.prefix)) % 32)
    }

    /// By full name, then by length of the value, then by value.
    fn compare(&self, other: &Self) -> Ordering {
        self.full_name()
            .cmp(other.full_name())
            .then_with(|| self.value.len().cmp(&other.value.len()))
            .then_with(|| self.value.cmp(&other.value))
    }

    fn full_name(&self) -> impl Iterator<Item = u8> {
        let prefix = PREFIXES.iter().find(|(number, _)| *number == self.prefix);
        let prefix = prefix.map_or(&[][..], |(_, text)| *text);
        prefix.iter().chain(&self.suffix).copied()
    }
}

/// The attributes of one inode.
#[derive(Debug, Default)]
pub(crate) struct Attributes {
    own: Vec<Attribute>,
    /// Positions in the shared table.
    shared: Vec<usize>,
    filter: u32,
}

impl Attributes {
    /// Adds an attribute.
    pub(crate) fn add(&mut self, attribute: Attribute) {
        self.filter |= attribute.filter_bit();
        self.own.push(attribute);
    }

    /// The attributes that are not in the shared table.
    pub(crate) fn own(&self) -> &[Attribute] {
        &self.own
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
            out.extend_from_slice(&references[*position].to_le_bytes());
        }
        for attribute in &self.own {
            attribute.append_to(out);
        }
    }
}

/// Sorts the attributes of every inode and moves those that occur more than once into the shared table, which is
/// returned: in descending order, as `mkcomposefs` writes it.
pub(crate) fn share<'a>(inodes: impl IntoIterator<Item = &'a mut Attributes>) -> Vec<Attribute> {
    let mut inodes: Vec<_> = inodes.into_iter().collect();
    let mut uses: HashMap<&Attribute, u32> = HashMap::new();
    for inode in &mut inodes {
        inode.own.sort_by(Attribute::compare);
    }
    for attribute in inodes.iter().flat_map(|inode| &inode.own) {
        *uses.entry(attribute).or_default() += 1;
    }
    let repeated = uses.into_iter().filter(|(_, count)| *count > 1);
    let mut table: Vec<Attribute> = repeated.map(|(attribute, _)| attribute.clone()).collect();
    table.sort_by(|a, b| b.compare(a));
    let positions: HashMap<&Attribute, usize> = table.iter().zip(0..).collect();
    for Attributes { own, shared, .. } in inodes {
        own.retain(|attribute| match positions.get(attribute) {
            Some(position) => {
                shared.push(*position);
                false
            }
            None => true,
        });
    }
    table
}
