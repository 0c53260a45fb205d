//! Directories and path tables of one of the two trees.
//!
//! ```text
//! record: 0 its length · 1 0 · 2 sector (both orders) · 10 length (both) · 18 date [7] · 25 flags · 26 0 · 27 0 ·
//!         28 volume 1 (both, u16) · 32 length of the name · 33 name · to an even length
//! table:  0 length of the name · 1 0 · 2 sector · 6 parent's number u16 · 8 name · to an even length
//! ```
//!
//! A record does not cross sectors. Directories are numbered from 1, by depth, then by parent, then by name.

use std::collections::{BTreeMap, BTreeSet};

use super::{Error, File, SECTOR_BYTES, append_both16, append_both32, fill_sector, name, sector, short_date};
use crate::tree::{InodeId, Node, Timestamp, Tree};

const RECORD_BYTES: usize = 33;
const TABLE_ENTRY_BYTES: usize = 8;
const FLAG_DIRECTORY: u8 = 2;

/// Which names a tree has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NameKind {
    Plain,
    Unicode,
}

/// What a directory has under a name.
#[derive(Debug)]
struct Named<'a> {
    identifier: Vec<u8>,
    path: &'a [u8],
    id: InodeId,
}

#[derive(Debug)]
struct Directory<'a> {
    identifier: Vec<u8>,
    /// The position of its parent; its own for the root.
    parent: usize,
    mtime: Timestamp,
    entries: Vec<Named<'a>>,
    sector: u32,
}

/// The directories of a tree, by number.
#[derive(Debug)]
pub(super) struct Collected<'a> {
    directories: Vec<Directory<'a>>,
    /// Their positions.
    positions: BTreeMap<InodeId, usize>,
}

impl<'a> Collected<'a> {
    pub(super) fn of(tree: &'a Tree<File>, kind: NameKind) -> Result<Self, Error> {
        let mut positions = BTreeMap::from([(tree.root(), 0)]);
        let mut directories = vec![Directory::of(tree, tree.root(), vec![0], 0, kind)?];
        let mut next = 0;
        while let Some(directory) = directories.get(next) {
            let mut children = Vec::new();
            for named in &directory.entries {
                if tree.inode(named.id).entries().is_none() {
                    continue;
                }
                let position = directories.len() + children.len();
                if positions.insert(named.id, position).is_some() {
                    return Err(Error::Kind(shown(named.path)));
                }
                children.push((named.identifier.clone(), named.id));
            }
            for (identifier, id) in children {
                directories.push(Directory::of(tree, id, identifier, next, kind)?);
            }
            next += 1;
        }
        if directories.len() > usize::from(u16::MAX) {
            return Err(Error::TooManyDirectories(directories.len()));
        }
        Ok(Collected {
            directories,
            positions,
        })
    }

    /// Gives the directories sectors from `first` on; the one behind the last.
    pub(super) fn place(&mut self, first: u32) -> u32 {
        self.directories.iter_mut().fold(first, |sector, directory| {
            directory.sector = sector;
            sector + directory.sectors()
        })
    }

    pub(super) fn table_bytes(&self) -> usize {
        let entries = self.directories.iter();
        entries
            .map(|directory| TABLE_ENTRY_BYTES + directory.identifier.len().next_multiple_of(2))
            .sum()
    }

    pub(super) fn table_sectors(&self) -> u32 {
        self.table_bytes().div_ceil(SECTOR_BYTES as usize) as u32
    }

    /// Appends the path table with sectors in the order of bytes that `number` makes.
    pub(super) fn append_table(&self, number: fn(u32) -> [u8; 4], out: &mut Vec<u8>) {
        for directory in &self.directories {
            out.extend_from_slice(&[directory.identifier.len() as u8, 0]);
            out.extend_from_slice(&number(directory.sector));
            // Of the four bytes in that order, those of the low half.
            let [a, b, c, d] = number(directory.parent as u32 + 1);
            out.extend_from_slice(&if number(1) == [1, 0, 0, 0] { [a, b] } else { [c, d] });
            out.extend_from_slice(&directory.identifier);
            out.resize(out.len().next_multiple_of(2), 0);
        }
    }

    /// Appends the record of the root, as a descriptor has it.
    pub(super) fn append_root(&self, out: &mut Vec<u8>) {
        out.extend(self.directory_record(0, &[0]));
    }

    pub(super) fn append_directories(&self, tree: &Tree<File>, out: &mut Vec<u8>) -> Result<(), Error> {
        for (position, directory) in self.directories.iter().enumerate() {
            append_record(self.directory_record(position, &[0]), out);
            append_record(self.directory_record(directory.parent, &[1]), out);
            for named in &directory.entries {
                append_record(self.record(tree, named)?, out);
            }
            fill_sector(out);
        }
        Ok(())
    }

    fn record(&self, tree: &Tree<File>, named: &Named<'_>) -> Result<Vec<u8>, Error> {
        let inode = tree.inode(named.id);
        let Node::Regular(file) = &inode.node else {
            let position = self.positions.get(&named.id).copied();
            return Ok(self.directory_record(position.unwrap_or_default(), &named.identifier));
        };
        let size_bytes = u32::try_from(file.size_bytes).map_err(|_| Error::FileTooLong(shown(named.path)))?;
        let sector = match size_bytes {
            0 => 0,
            _ => sector(&shown(named.path), file.offset_bytes)?,
        };
        Ok(record(
            &named.identifier,
            sector,
            size_bytes,
            inode.metadata.mtime,
            0,
        ))
    }

    fn directory_record(&self, position: usize, identifier: &[u8]) -> Vec<u8> {
        let directory = &self.directories[position];
        let size_bytes = directory.sectors() * SECTOR_BYTES as u32;
        record(
            identifier,
            directory.sector,
            size_bytes,
            directory.mtime,
            FLAG_DIRECTORY,
        )
    }
}

impl<'a> Directory<'a> {
    fn of(
        tree: &'a Tree<File>,
        id: InodeId,
        identifier: Vec<u8>,
        parent: usize,
        kind: NameKind,
    ) -> Result<Self, Error> {
        let mut taken = BTreeSet::new();
        let mut entries = Vec::new();
        for (name, child) in tree.inode(id).entries().into_iter().flatten() {
            let is_directory = match &tree.inode(*child).node {
                Node::Directory(_) => true,
                Node::Regular(_) => false,
                _ => return Err(Error::Kind(shown(name))),
            };
            let text = name::text(name).ok_or_else(|| Error::Name(shown(name)))?;
            let identifier = match kind {
                NameKind::Plain => name::plain(text, is_directory, &mut taken),
                NameKind::Unicode => name::unicode(text, is_directory),
            };
            entries.push(Named {
                identifier,
                path: name,
                id: *child,
            });
        }
        entries.sort_by(|a, b| a.identifier.cmp(&b.identifier));
        Ok(Directory {
            identifier,
            parent,
            mtime: tree.inode(id).metadata.mtime,
            entries,
            sector: 0,
        })
    }

    fn sectors(&self) -> u32 {
        let own = [1, 1].into_iter();
        let lengths = own.chain(self.entries.iter().map(|named| named.identifier.len()));
        let end = lengths.fold(0, |position, length| {
            place_record(position, record_bytes(length)).1
        });
        end.div_ceil(SECTOR_BYTES as usize) as u32
    }
}

fn record_bytes(identifier_bytes: usize) -> usize {
    (RECORD_BYTES + identifier_bytes).next_multiple_of(2)
}

/// Where a record starts and ends, if the last one ends at `position`.
fn place_record(position: usize, record_bytes: usize) -> (usize, usize) {
    let room = SECTOR_BYTES as usize - position % SECTOR_BYTES as usize;
    let start = if record_bytes > room {
        position + room
    } else {
        position
    };
    (start, start + record_bytes)
}

fn append_record(record: Vec<u8>, out: &mut Vec<u8>) {
    let (start, _) = place_record(out.len(), record.len());
    out.resize(start, 0);
    out.extend(record);
}

fn record(identifier: &[u8], sector: u32, size_bytes: u32, mtime: Timestamp, flags: u8) -> Vec<u8> {
    let length = record_bytes(identifier.len());
    // A name has at most 66 units.
    let mut bytes = vec![length as u8, 0];
    append_both32(sector, &mut bytes);
    append_both32(size_bytes, &mut bytes);
    bytes.extend_from_slice(&short_date(mtime));
    bytes.extend_from_slice(&[flags, 0, 0]);
    append_both16(1, &mut bytes);
    bytes.push(identifier.len() as u8);
    bytes.extend_from_slice(identifier);
    bytes.resize(length, 0);
    bytes
}

fn shown(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}
