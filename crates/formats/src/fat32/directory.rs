//! The entries of a directory.
//!
//! ```text
//! 0 short name [11] · 11 attributes · 12 0 · 13 creation, 10 ms · 14 creation time, date · 18 access date
//! 20 cluster, high half · 22 write time, date · 26 cluster, low half · 28 length
//! ```
//!
//! A long name stands before its short one, last part first: 13 UTF-16 units an entry.

use super::name::Entry;
use super::{Allocation, Directory, FIRST_CLUSTER, File};
use crate::calendar::civil_date;
use crate::tree::{Node, Timestamp, Tree};

pub(super) const ENTRY_BYTES: usize = 32;

const ATTRIBUTE_VOLUME_ID: u8 = 0x08;
const ATTRIBUTE_DIRECTORY: u8 = 0x10;
const ATTRIBUTE_ARCHIVE: u8 = 0x20;
const ATTRIBUTE_LONG_NAME: u8 = 0x0f;
const LAST_LONG_ENTRY: u8 = 0x40;
const UNITS_PER_ENTRY: usize = 13;
/// Where the 13 units are in an entry.
const UNIT_OFFSETS: [usize; UNITS_PER_ENTRY] = [1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30];

/// What an entry says besides its name.
struct Facts {
    attributes: u8,
    created: Timestamp,
    written: Timestamp,
    first_cluster: u32,
    size_bytes: u32,
}

/// The bytes of a directory, whole clusters.
pub(super) fn to_bytes(
    tree: &Tree<File>,
    directory: &Directory,
    allocation: &Allocation,
    created: Timestamp,
    label: Option<[u8; 11]>,
) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(directory.size_bytes as usize);
    let written = tree.inode(directory.id).metadata.mtime;
    let of = |attributes, first_cluster| Facts {
        attributes,
        created,
        written,
        first_cluster,
        size_bytes: 0,
    };
    if directory.first_cluster != FIRST_CLUSTER {
        let this = of(ATTRIBUTE_DIRECTORY, directory.first_cluster);
        bytes.extend_from_slice(&short_entry(b".          ", &this));
        let parent = of(ATTRIBUTE_DIRECTORY, directory.parent_cluster);
        bytes.extend_from_slice(&short_entry(b"..         ", &parent));
    } else if let Some(label) = label {
        bytes.extend_from_slice(&short_entry(&label, &of(ATTRIBUTE_VOLUME_ID, 0)));
    }
    for (position, name) in directory.names.iter().enumerate() {
        append_long_name(&mut bytes, name);
        let inode = tree.inode(name.id);
        let (attributes, size_bytes) = match &inode.node {
            // Files of 4 GiB and more were refused.
            Node::Regular(file) => (ATTRIBUTE_ARCHIVE, file.size_bytes as u32),
            _ => (ATTRIBUTE_DIRECTORY, 0),
        };
        let first_cluster = allocation.first_cluster(directory, position);
        let facts = Facts {
            attributes,
            created,
            written: inode.metadata.mtime,
            first_cluster,
            size_bytes,
        };
        bytes.extend_from_slice(&short_entry(&name.short, &facts));
    }
    bytes.resize(directory.size_bytes as usize, 0);
    bytes
}

/// How many entries a long name takes.
pub(super) fn long_entries(units: usize) -> usize {
    units.div_ceil(UNITS_PER_ENTRY)
}

fn short_entry(name: &[u8; 11], facts: &Facts) -> [u8; ENTRY_BYTES] {
    let (created_time, created_date) = dos_time(facts.created);
    let (written_time, written_date) = dos_time(facts.written);
    let cluster = facts.first_cluster.to_le_bytes();
    let mut entry = [0; ENTRY_BYTES];
    entry[..11].copy_from_slice(name);
    entry[11] = facts.attributes;
    entry[14..16].copy_from_slice(&created_time.to_le_bytes());
    entry[16..18].copy_from_slice(&created_date.to_le_bytes());
    entry[18..20].copy_from_slice(&written_date.to_le_bytes());
    entry[20..22].copy_from_slice(&cluster[2..]);
    entry[22..24].copy_from_slice(&written_time.to_le_bytes());
    entry[24..26].copy_from_slice(&written_date.to_le_bytes());
    entry[26..28].copy_from_slice(&cluster[..2]);
    entry[28..].copy_from_slice(&facts.size_bytes.to_le_bytes());
    entry
}

fn append_long_name(bytes: &mut Vec<u8>, name: &Entry) {
    let sum = name
        .short
        .iter()
        .fold(0_u8, |sum, byte| sum.rotate_right(1).wrapping_add(*byte));
    let parts = long_entries(name.long.len());
    for (index, units) in name.long.chunks(UNITS_PER_ENTRY).enumerate().rev() {
        let mut entry = [0; ENTRY_BYTES];
        let last = if index + 1 == parts { LAST_LONG_ENTRY } else { 0 };
        entry[0] = (index + 1) as u8 | last;
        entry[11] = ATTRIBUTE_LONG_NAME;
        entry[13] = sum;
        // A name that ends within the entry is ended by 0; what follows is filled with ones.
        let padded = units.iter().copied().chain([0]).chain(std::iter::repeat(0xffff));
        for (offset, unit) in UNIT_OFFSETS.into_iter().zip(padded) {
            entry[offset..offset + 2].copy_from_slice(&unit.to_le_bytes());
        }
        bytes.extend_from_slice(&entry);
    }
}

/// Time and date as FAT has them, in UTC: two-second steps from 1980 to 2107.
fn dos_time(time: Timestamp) -> (u16, u16) {
    const FIRST: i64 = 315_532_800;
    const LAST: i64 = 4_354_819_198;
    let seconds = time.seconds.clamp(FIRST, LAST);
    let (year, month, day) = civil_date(seconds.div_euclid(86_400));
    let of_day = seconds.rem_euclid(86_400);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    let clock = hour << 11 | minute << 5 | (second / 2);
    let date = (year - 1980) << 9 | month << 5 | day;
    (clock as u16, date as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        let at = |seconds| {
            let (clock, date) = dos_time(Timestamp {
                seconds,
                nanoseconds: 0,
            });
            let day = (1980 + (date >> 9), date >> 5 & 15, date & 31);
            (day, (clock >> 11, clock >> 5 & 63, (clock & 31) * 2))
        };
        assert_eq!(at(0), ((1980, 1, 1), (0, 0, 0)));
        assert_eq!(at(951_782_399), ((2000, 2, 28), (23, 59, 58)));
        assert_eq!(at(951_782_400), ((2000, 2, 29), (0, 0, 0)));
        assert_eq!(at(1_767_225_599), ((2025, 12, 31), (23, 59, 58)));
        assert_eq!(at(1_795_399_323), ((2026, 11, 23), (2, 2, 2)));
        assert_eq!(at(i64::MAX), ((2107, 12, 31), (23, 59, 58)));
    }
}
