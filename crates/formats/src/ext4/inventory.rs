//! What is to be written: the tree's inodes by their ext4 numbers, checked against the format's limits.
//!
//! Numbers go by directory: a directory, its files in the order of their names, then its subdirectories likewise. So
//! what lies together in the tree lies together in the inode tables and among the data.

use super::checksum::Checksum;
use super::directory::{self, Entry, Listing};
use super::error::{Error, NodeReason};
use super::node;
use super::value::Value;
use super::xattr::{self, Encoded, SharedBlocks};
use super::{File, Options};
use crate::tree::{Inode, InodeId, Tree, Xattrs};

/// The root directory's number.
pub(super) const ROOT_INODE: u32 = 2;
/// The journal's number.
pub(super) const JOURNAL_INODE: u32 = 8;
/// The first number that is not reserved: `lost+found`.
pub(super) const FIRST_INODE: u32 = 11;

const MAX_LINKS: u32 = 65_000;
const LOST_AND_FOUND: &[u8] = b"lost+found";
/// Stands in for the number of a directory that has been named, but not visited.
const PENDING: u32 = u32::MAX;
static NO_XATTRS: Xattrs = Xattrs::new();

/// The position of an inode: the root, `lost+found`, then all others in the order of their numbers, those of large
/// attribute values last.
pub(super) type Slot = usize;

const ROOT_SLOT: Slot = 0;
const LOST_AND_FOUND_SLOT: Slot = 1;

/// The inode number of a slot.
pub(super) fn number(slot: Slot) -> u32 {
    match slot {
        ROOT_SLOT => ROOT_INODE,
        _ => FIRST_INODE - 1 + slot as u32,
    }
}

/// The slot of an inode number, unless it is a reserved one.
pub(super) fn slot(number: u32) -> Option<Slot> {
    match number {
        ROOT_INODE => Some(ROOT_SLOT),
        _ => number
            .checked_sub(FIRST_INODE - 1)
            .filter(|slot| *slot > 0)
            .map(|slot| slot as Slot),
    }
}

/// Why there is an inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// It is in the tree.
    Tree(InodeId),
    /// It is the `lost+found` that the tree does not have.
    LostAndFound,
    /// It holds the value of an attribute: the one at this position.
    Value(u32),
}

/// One inode.
#[derive(Debug)]
pub(super) struct Record {
    /// Why it is there.
    pub(super) origin: Origin,
    /// The number of the directory that a directory is in.
    pub(super) parent: u32,
    /// How many names an inode has, counting `.` and `..`.
    pub(super) links: u32,
    /// The blocks of a directory, 0 for anything else.
    pub(super) directory_blocks: u32,
    /// The position of its attributes.
    pub(super) xattrs: u32,
}

/// The tree with numbers.
#[derive(Debug)]
pub(super) struct Inventory<'t> {
    tree: &'t Tree<File>,
    records: Vec<Record>,
    /// Numbers by [`InodeId::index`], 0 for what no name reaches.
    numbers: Vec<u32>,
    xattrs: xattr::Table<'t>,
    hash_seed: [u8; 16],
}

impl<'t> Inventory<'t> {
    /// Numbers and checks a tree.
    pub(super) fn of(tree: &'t Tree<File>, options: &Options) -> Result<Self, Error> {
        let mut inventory = Inventory {
            tree,
            records: Vec::new(),
            numbers: vec![0; tree.arena_len()],
            xattrs: xattr::Table::new(Checksum::of_file_system(&options.uuid)),
            hash_seed: options.hash_seed,
        };
        inventory.push(tree.root(), ROOT_INODE)?;
        inventory.place_lost_and_found()?;
        let mut pending = inventory.visit(ROOT_SLOT)?;
        while let Some((id, parent)) = pending.pop() {
            let slot = match inventory.numbers[id.index()] {
                PENDING => inventory.push(id, parent)?,
                _ => LOST_AND_FOUND_SLOT,
            };
            pending.extend(inventory.visit(slot)?);
        }
        inventory.add_values()?;
        Ok(inventory)
    }

    /// How many slots there are.
    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    /// The record of a slot.
    pub(super) fn record(&self, slot: Slot) -> &Record {
        &self.records[slot]
    }

    /// The tree's inode of a slot, if it has one.
    pub(super) fn inode(&self, slot: Slot) -> Option<&'t Inode<File>> {
        match self.records[slot].origin {
            Origin::Tree(id) => Some(self.tree.inode(id)),
            Origin::LostAndFound | Origin::Value(_) => None,
        }
    }

    /// The attribute value that a slot is for, if it is for one.
    pub(super) fn value(&self, slot: Slot) -> Option<&Value<'t>> {
        match self.records[slot].origin {
            Origin::Value(position) => Some(self.xattrs.value(position)),
            Origin::Tree(_) | Origin::LostAndFound => None,
        }
    }

    /// Whether there are inodes for attribute values.
    pub(super) fn has_values(&self) -> bool {
        self.xattrs.values() > 0
    }

    /// The attributes of a slot.
    pub(super) fn xattrs(&self, slot: Slot) -> &Encoded {
        self.xattrs.set(self.records[slot].xattrs)
    }

    /// The blocks for attributes that do not fit their inodes.
    pub(super) fn xattr_blocks(&self) -> SharedBlocks {
        SharedBlocks::of(&self.xattrs, self.records.iter().map(|record| record.xattrs))
    }

    /// How many inodes are in use: the number of the last one.
    pub(super) fn inodes(&self) -> u64 {
        u64::from(number(self.records.len() - 1))
    }

    /// The blocks of a directory; `inode` is the start of its checksums.
    pub(super) fn directory_bytes(&self, slot: Slot, inode: Checksum) -> Vec<u8> {
        let listing = Listing {
            own: number(slot),
            parent: self.records[slot].parent,
            entries: self.entries(slot),
        };
        match self.records[slot].origin {
            Origin::LostAndFound => directory::write_lost_and_found(&listing, inode),
            _ => directory::write(&listing, &self.hash_seed, inode),
        }
    }

    fn entries(&self, slot: Slot) -> Vec<Entry<'t>> {
        let made_here = (slot == ROOT_SLOT && self.makes_lost_and_found()).then_some(Entry {
            name: LOST_AND_FOUND,
            inode: FIRST_INODE,
            file_type: directory::DIRECTORY_TYPE,
        });
        let children = self.inode(slot).and_then(Inode::entries).into_iter().flatten();
        let named = children.map(|(name, child)| Entry {
            name,
            inode: self.numbers[child.index()],
            file_type: node::file_type(&self.tree.inode(*child).node),
        });
        made_here.into_iter().chain(named).collect()
    }

    fn makes_lost_and_found(&self) -> bool {
        self.records[LOST_AND_FOUND_SLOT].origin == Origin::LostAndFound
    }

    fn place_lost_and_found(&mut self) -> Result<(), Error> {
        match self.tree.child(self.tree.root(), LOST_AND_FOUND) {
            Some(id) if self.tree.inode(id).entries().is_some() => {
                self.push(id, ROOT_INODE)?;
            }
            Some(id) => return Err(self.refuse(id, NodeReason::LostAndFound)),
            None => {
                let xattrs = self.xattrs.position(&NO_XATTRS);
                self.records.push(Record {
                    origin: Origin::LostAndFound,
                    parent: ROOT_INODE,
                    links: 2,
                    directory_blocks: directory::LOST_AND_FOUND_BLOCKS,
                    xattrs: xattrs.map_err(|reason| self.refuse(self.tree.root(), reason))?,
                });
            }
        }
        Ok(())
    }

    /// Gives an inode the next number.
    fn push(&mut self, id: InodeId, parent: u32) -> Result<Slot, Error> {
        let inode = self.tree.inode(id);
        let xattrs = node::check(inode).and_then(|()| self.xattrs.position(&inode.metadata.xattrs));
        let slot = self.records.len();
        self.records.push(Record {
            origin: Origin::Tree(id),
            parent,
            links: 1,
            directory_blocks: 0,
            xattrs: xattrs.map_err(|reason| self.refuse(id, reason))?,
        });
        self.numbers[id.index()] = number(slot);
        Ok(slot)
    }

    /// Gives the attribute values that need it the last numbers.
    fn add_values(&mut self) -> Result<(), Error> {
        let positions = self.records.iter().map(|record| record.xattrs);
        self.xattrs.number_values(number(self.records.len()), positions);
        for position in 0..self.xattrs.values() {
            let xattrs = self.xattrs.position(&NO_XATTRS);
            self.records.push(Record {
                origin: Origin::Value(position),
                parent: 0,
                links: 1,
                directory_blocks: 0,
                xattrs: xattrs.map_err(|reason| self.refuse(self.tree.root(), reason))?,
            });
        }
        Ok(())
    }

    /// Numbers what is in a directory, except for its subdirectories, which are returned with the number of this
    /// one, last first.
    fn visit(&mut self, slot: Slot) -> Result<Vec<(InodeId, u32)>, Error> {
        let mut subdirectories = Vec::new();
        let Origin::Tree(id) = self.records[slot].origin else {
            return Ok(subdirectories);
        };
        let Some(entries) = self.tree.inode(id).entries() else {
            return Ok(subdirectories);
        };
        for (name, child) in entries {
            node::check_name(name).map_err(|reason| self.refuse_name(id, name, reason))?;
            if self.tree.inode(*child).entries().is_some() {
                self.await_directory(*child)?;
                subdirectories.push((*child, number(slot)));
            } else {
                self.add_name(*child)?;
            }
        }
        self.finish_directory(slot, id, subdirectories.len())?;
        subdirectories.reverse();
        Ok(subdirectories)
    }

    fn await_directory(&mut self, id: InodeId) -> Result<(), Error> {
        let known = &mut self.numbers[id.index()];
        match *known {
            0 => *known = PENDING,
            // The tree's own lost+found has its number before it has been named.
            FIRST_INODE if self.records[LOST_AND_FOUND_SLOT].links == 1 => {
                self.records[LOST_AND_FOUND_SLOT].links = 2;
            }
            _ => return Err(self.refuse(id, NodeReason::DirectoryLinks)),
        }
        Ok(())
    }

    fn add_name(&mut self, id: InodeId) -> Result<(), Error> {
        let Some(known) = slot(self.numbers[id.index()]) else {
            return self.push(id, 0).map(drop);
        };
        self.records[known].links += 1;
        match self.records[known].links {
            links if links > MAX_LINKS => Err(self.refuse(id, NodeReason::Links)),
            _ => Ok(()),
        }
    }

    fn finish_directory(&mut self, slot: Slot, id: InodeId, subdirectories: usize) -> Result<(), Error> {
        let entries = self.entries(slot);
        let blocks = directory::blocks(entries.iter().map(|entry| entry.name), &self.hash_seed);
        let blocks = blocks.ok_or_else(|| self.refuse(id, NodeReason::DirectorySize))?;
        let made_here = usize::from(slot == ROOT_SLOT && self.makes_lost_and_found());
        let links = 2 + subdirectories + made_here;
        let record = &mut self.records[slot];
        record.directory_blocks = blocks;
        // `dir_nlink`: 1 stands for more than can be counted.
        record.links = if links > MAX_LINKS as usize {
            1
        } else {
            links as u32
        };
        Ok(())
    }

    fn refuse(&self, id: InodeId, reason: NodeReason) -> Error {
        let found = self
            .tree
            .walk()
            .into_iter()
            .find(|(_, candidate)| *candidate == id);
        let path = found.map(|(path, _)| path).unwrap_or_default();
        Error::Node {
            path: String::from_utf8_lossy(&path).into_owned(),
            reason,
        }
    }

    fn refuse_name(&self, directory: InodeId, name: &[u8], reason: NodeReason) -> Error {
        match self.refuse(directory, reason) {
            Error::Node { path, reason } => Error::Node {
                path: format!("{path}/{}", String::from_utf8_lossy(name)),
                reason,
            },
            other => other,
        }
    }
}
