//! Attribute values too large for the block of their inode (`ea_inode`): each is the contents of an inode that has no
//! name, and every entry with that value names the inode.
//!
//! ```text
//! entry  4 e_value_inum · 8 e_value_size · 12 e_hash: that of the name, then the value's
//! inode  8 i_atime: CRC-32C of the value · c i_ctime: references (high) · 24 l_i_version: references (low)
//! ```
//!
//! An entry in a block counts as one reference, however many inodes share the block. The inode that has the attribute
//! counts the value's blocks among its own.

use std::borrow::Cow;
use std::collections::HashMap;

use super::BLOCK_BYTES;
use super::checksum::Checksum;

/// `XATTR_SIZE_MAX`: the longest value that system calls take.
pub(super) const MAX_BYTES: usize = 65536;

/// A value with an inode of its own.
#[derive(Debug)]
pub(super) struct Value<'t> {
    pub(super) bytes: Cow<'t, [u8]>,
    /// The checksum of the bytes.
    pub(super) hash: u32,
    /// How many entries have it.
    pub(super) references: u32,
}

impl Value<'_> {
    /// How many blocks it takes.
    pub(super) fn blocks(&self) -> u32 {
        blocks(self.bytes.len()) as u32
    }
}

/// How many blocks a value of that length takes.
pub(super) fn blocks(value_bytes: usize) -> u64 {
    (value_bytes as u64).div_ceil(BLOCK_BYTES)
}

/// Every different value that has an inode of its own.
#[derive(Debug, Default)]
pub(super) struct Values<'t> {
    positions: HashMap<Cow<'t, [u8]>, u32>,
    values: Vec<Value<'t>>,
}

impl<'t> Values<'t> {
    /// The position of a value, and its hash.
    pub(super) fn position(&mut self, bytes: Cow<'t, [u8]>, file_system: Checksum) -> (u32, u32) {
        let next = self.values.len() as u32;
        let position = *self.positions.entry(bytes.clone()).or_insert(next);
        if position == next {
            self.values.push(Value {
                hash: file_system.with(&bytes).value(),
                bytes,
                references: 0,
            });
        }
        (position, self.values[position as usize].hash)
    }

    /// Takes note of that many more entries with a value.
    pub(super) fn refer(&mut self, position: u32, entries: u32) {
        self.values[position as usize].references += entries;
    }

    /// How many there are.
    pub(super) fn len(&self) -> u32 {
        self.values.len() as u32
    }

    /// The value at a position that [`Values::position`] gave.
    pub(super) fn value(&self, position: u32) -> &Value<'t> {
        &self.values[position as usize]
    }
}
