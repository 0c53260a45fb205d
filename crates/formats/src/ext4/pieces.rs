//! The bytes: pieces in ascending order, each made when it is asked for.

use std::borrow::Cow;
use std::ops::Range;

use super::allocation::{Role, Run};
use super::extent::{Mapping, ROOT_BYTES};
use super::fields::Fields;
use super::group::{self, INODE_BYTES};
use super::inode::{self, Fixed, Times};
use super::inventory::{JOURNAL_INODE, Origin, Slot, number, slot};
use super::layout::{Layout, file};
use super::superblock::{self, SUPERBLOCK_BYTES};
use super::value::Value;
use super::{BLOCK_BYTES, Piece, journal, node, xattr};
use crate::tree::{Metadata, Node, Timestamp};

/// Inode tables come in pieces of so many blocks (1 MiB).
const TABLE_PIECE_BLOCKS: u64 = 256;

/// Metadata of a group, by the block it is at.
#[derive(Debug, Clone, Copy)]
enum GroupPart {
    Superblock(usize),
    Descriptors,
    BlockBitmap(usize),
    InodeBitmap(usize),
    /// A part of the inode table: group, first block in the table, number of blocks.
    InodeTable(usize, u64, u64),
}

impl Layout<'_> {
    /// Everything to be written, sorted by offset, without overlaps. What no piece covers must read as zeros.
    pub fn pieces(&self) -> impl Iterator<Item = Piece> + '_ {
        let mut parts = self.group_parts().into_iter().peekable();
        let mut runs = self.placed.runs.iter().peekable();
        std::iter::from_fn(move || {
            loop {
                let run_block = runs.peek().map_or(u64::MAX, |run| run.mapping.physical);
                if let Some((block, part)) = parts.next_if(|(block, _)| *block < run_block) {
                    return Some(self.group_piece(block, part));
                }
                if let Some(piece) = self.run_piece(runs.next()?) {
                    return Some(piece);
                }
            }
        })
    }

    /// The bytes that pieces cover, in whole blocks, in no order: found without making any piece.
    pub fn covered_bytes(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        let parts = self.group_parts().into_iter().map(|(block, part)| {
            let blocks = match part {
                GroupPart::Superblock(_) | GroupPart::BlockBitmap(_) | GroupPart::InodeBitmap(_) => 1,
                GroupPart::Descriptors => (self.descriptors().len() as u64).div_ceil(BLOCK_BYTES),
                GroupPart::InodeTable(_, _, blocks) => blocks,
            };
            (block, blocks)
        });
        let runs = self.placed.runs.iter().filter_map(|run| {
            let Mapping {
                logical,
                physical,
                blocks,
            } = run.mapping;
            match (run.role, logical) {
                (Role::Journal, 0) => Some((physical, 1)),
                (Role::Journal, _) => None,
                _ => Some((physical, u64::from(blocks))),
            }
        });
        let blocks = parts.chain(runs);
        blocks.map(|(first, count)| first * BLOCK_BYTES..(first + count) * BLOCK_BYTES)
    }

    fn group_parts(&self) -> Vec<(u64, GroupPart)> {
        let mut parts = Vec::new();
        for (number, group) in self.geometry.groups.iter().enumerate() {
            let copy = self.geometry.copy_blocks(number);
            if !copy.is_empty() {
                parts.push((copy.start, GroupPart::Superblock(number)));
                parts.push((copy.start + 1, GroupPart::Descriptors));
            }
            if self.usage[number].block_bitmap.is_some() {
                parts.push((group.block_bitmap, GroupPart::BlockBitmap(number)));
            }
            if self.usage[number].inode_bitmap.is_some() {
                parts.push((group.inode_bitmap, GroupPart::InodeBitmap(number)));
            }
            let table_bytes = u64::from(self.used_inodes(number)) * INODE_BYTES as u64;
            let used_blocks = table_bytes.div_ceil(BLOCK_BYTES);
            for first in (0..used_blocks).step_by(TABLE_PIECE_BLOCKS as usize) {
                let blocks = (used_blocks - first).min(TABLE_PIECE_BLOCKS);
                parts.push((
                    group.inode_table + first,
                    GroupPart::InodeTable(number, first, blocks),
                ));
            }
        }
        parts.sort_by_key(|(block, _)| *block);
        parts
    }

    fn group_piece(&self, block: u64, part: GroupPart) -> Piece {
        let bytes = match part {
            GroupPart::Superblock(group) => {
                superblock::write(&self.options, &self.totals(), group as u16).to_vec()
            }
            GroupPart::Descriptors => self.descriptors(),
            GroupPart::BlockBitmap(group) => self.block_bitmap(group),
            GroupPart::InodeBitmap(group) => self.inode_bitmap(group),
            GroupPart::InodeTable(group, first, blocks) => self.inode_table(group, first, blocks),
        };
        let boot_block = match block {
            0 => SUPERBLOCK_BYTES as u64,
            _ => 0,
        };
        Piece::Bytes {
            offset_bytes: block * BLOCK_BYTES + boot_block,
            bytes,
        }
    }

    fn descriptors(&self) -> Vec<u8> {
        let groups = self.geometry.groups.iter().zip(&self.usage).zip(0..);
        groups
            .flat_map(|((group, usage), number)| group::descriptor(number, group, usage, self.file_system))
            .collect()
    }

    fn inode_table(&self, group: usize, first: u64, blocks: u64) -> Vec<u8> {
        let per_block = BLOCK_BYTES / INODE_BYTES as u64;
        let before = u64::from(self.geometry.inodes_per_group) * group as u64;
        let numbers = before + 1 + first * per_block..=before + (first + blocks) * per_block;
        numbers.flat_map(|number| self.inode(number as u32)).collect()
    }

    fn inode(&self, inode_number: u32) -> [u8; INODE_BYTES] {
        let checksum = self.file_system.of_inode(inode_number);
        if inode_number == JOURNAL_INODE {
            return self
                .journal_inode()
                .map_or([0; INODE_BYTES], |inode| inode::write(&inode, checksum));
        }
        match slot(inode_number).filter(|slot| *slot < self.inventory.len()) {
            Some(slot) => match self.inventory.value(slot) {
                Some(value) => inode::write(&self.value_inode(slot, value), checksum),
                None => inode::write(&self.tree_inode(slot), checksum),
            },
            None => [0; INODE_BYTES],
        }
    }

    fn journal_inode(&self) -> Option<Fixed<'static>> {
        let (i_block, size_bytes) = self.journal_i_block()?;
        Some(Fixed {
            mode: inode::REGULAR | 0o600,
            uid: 0,
            gid: 0,
            size_bytes,
            links: 1,
            blocks: self.placed.journal.blocks(&self.placed.runs),
            flags: inode::EXTENTS,
            i_block,
            xattr_block: 0,
            xattrs: &[],
            times: Times::unread(self.options.time, self.options.time),
            version: 0,
        })
    }

    /// The modification time of 0 keeps readers from taking it for an inode of the older form, where that is the
    /// number of the inode with the attribute.
    fn value_inode(&self, slot: Slot, value: &Value<'_>) -> Fixed<'static> {
        Fixed {
            mode: inode::REGULAR | 0o600,
            uid: 0,
            gid: 0,
            size_bytes: value.bytes.len() as u64,
            links: 1,
            blocks: self.placed.inodes[slot].blocks(&self.placed.runs),
            flags: inode::EXTENTS | inode::VALUE,
            i_block: self.i_block(slot),
            xattr_block: 0,
            xattrs: &[],
            times: Times {
                access: Timestamp {
                    seconds: i64::from(value.hash as i32),
                    nanoseconds: 0,
                },
                change: Timestamp::default(),
                modification: Timestamp::default(),
                creation: self.options.time,
            },
            version: value.references,
        }
    }

    fn tree_inode(&self, slot: Slot) -> Fixed<'_> {
        let placement = self.placed.inodes[slot];
        let record = self.inventory.record(slot);
        let metadata = self.metadata(slot);
        let xattrs = self.inventory.xattrs(slot);
        let Contents {
            kind,
            size_bytes,
            flags,
            i_block,
        } = self.contents(slot);
        Fixed {
            mode: kind | metadata.mode & 0o7777,
            uid: metadata.uid,
            gid: metadata.gid,
            size_bytes,
            links: record.links as u16,
            blocks: placement.blocks(&self.placed.runs) + xattrs.value_blocks,
            flags,
            i_block,
            xattr_block: placement.xattr_block,
            xattrs: &xattrs.in_inode,
            times: Times::unread(metadata.mtime, self.options.time),
            version: 0,
        }
    }

    /// Owner, mode, times and attributes; those of a `lost+found` made here are usual.
    fn metadata(&self, slot: Slot) -> Cow<'_, Metadata> {
        match self.inventory.inode(slot) {
            Some(inode) => Cow::Borrowed(&inode.metadata),
            None => Cow::Owned(Metadata {
                mode: 0o700,
                mtime: self.options.time,
                ..Metadata::default()
            }),
        }
    }

    fn contents(&self, slot: Slot) -> Contents {
        let without_blocks = |kind, i_block| Contents {
            kind,
            size_bytes: 0,
            flags: 0,
            i_block,
        };
        match self.inventory.inode(slot).map(|inode| &inode.node) {
            None | Some(Node::Directory(_)) => self.directory(slot),
            Some(Node::Regular(file)) => Contents {
                kind: inode::REGULAR,
                size_bytes: file.size_bytes,
                flags: inode::EXTENTS | if file.verity { inode::VERITY } else { 0 },
                i_block: self.i_block(slot),
            },
            Some(Node::Symlink(target)) => self.symlink(slot, target),
            Some(Node::CharacterDevice(device)) => {
                without_blocks(inode::CHARACTER_DEVICE, inode::device(device))
            }
            Some(Node::BlockDevice(device)) => without_blocks(inode::BLOCK_DEVICE, inode::device(device)),
            Some(Node::Fifo) => without_blocks(inode::FIFO, [0; ROOT_BYTES]),
            Some(Node::Socket) => without_blocks(inode::SOCKET, [0; ROOT_BYTES]),
        }
    }

    fn directory(&self, slot: Slot) -> Contents {
        let record = self.inventory.record(slot);
        let indexed = record.origin != Origin::LostAndFound && record.directory_blocks > 1;
        Contents {
            kind: inode::DIRECTORY,
            size_bytes: u64::from(record.directory_blocks) * BLOCK_BYTES,
            flags: inode::EXTENTS | if indexed { inode::INDEXED } else { 0 },
            i_block: self.i_block(slot),
        }
    }

    fn symlink(&self, slot: Slot, target: &[u8]) -> Contents {
        let fast = target.len() <= node::FAST_SYMLINK_BYTES;
        let mut i_block = [0; ROOT_BYTES];
        match fast {
            true => i_block.put(0, target),
            false => i_block = self.i_block(slot),
        }
        Contents {
            kind: inode::SYMLINK,
            size_bytes: target.len() as u64,
            flags: if fast { 0 } else { inode::EXTENTS },
            i_block,
        }
    }

    fn i_block(&self, slot: Slot) -> [u8; ROOT_BYTES] {
        self.extent_tree(number(slot), &self.placed.inodes[slot]).0
    }

    /// What a run holds; `None` for the unwritten part of the journal.
    fn run_piece(&self, run: &Run) -> Option<Piece> {
        let bytes = match (run.role, slot(run.owner)) {
            (Role::Journal, _) if run.mapping.logical == 0 => {
                journal::superblock(self.placed.journal_blocks, &self.options.uuid)
            }
            (Role::Journal, _) => return None,
            (Role::ExtentNodes, None) => {
                self.part_of(run, &self.extent_tree(run.owner, &self.placed.journal).1)
            }
            (_, None) => return None,
            (Role::Data | Role::Verity, Some(slot)) => return self.file_piece(run, slot),
            (Role::Directory, Some(slot)) => {
                let inode = self.file_system.of_inode(run.owner);
                self.part_of(run, &self.inventory.directory_bytes(slot, inode))
            }
            (Role::Symlink, Some(slot)) => match &self.inventory.inode(slot)?.node {
                Node::Symlink(target) => target.to_vec(),
                _ => return None,
            },
            (Role::Value, Some(slot)) => self.part_of(run, &self.inventory.value(slot)?.bytes),
            (Role::ExtentNodes, Some(slot)) => {
                self.part_of(run, &self.extent_tree(run.owner, &self.placed.inodes[slot]).1)
            }
            (Role::Xattrs, Some(slot)) => {
                let block = &self.inventory.xattrs(slot).block;
                xattr::finish_block(block, run.mapping.logical, run.mapping.physical, self.file_system)
            }
        };
        Some(Piece::Bytes {
            offset_bytes: run.mapping.physical * BLOCK_BYTES,
            bytes,
        })
    }

    /// The part of an inode's contents that is in one run.
    fn part_of(&self, run: &Run, bytes: &[u8]) -> Vec<u8> {
        let start = u64::from(run.mapping.logical) * BLOCK_BYTES;
        let length = u64::from(run.mapping.blocks) * BLOCK_BYTES;
        bytes[start as usize..bytes.len().min((start + length) as usize)].to_vec()
    }

    fn file_piece(&self, run: &Run, slot: Slot) -> Option<Piece> {
        let Origin::Tree(inode) = self.inventory.record(slot).origin else {
            return None;
        };
        let file = file(&self.inventory, slot)?;
        let offset_bytes = run.mapping.physical * BLOCK_BYTES;
        let start = u64::from(run.mapping.logical) * BLOCK_BYTES;
        let length = u64::from(run.mapping.blocks) * BLOCK_BYTES;
        Some(match run.role {
            Role::Verity => Piece::Verity {
                offset_bytes,
                inode,
                source: file.source,
                region_offset_bytes: start - u64::from(node::verity_start(file)) * BLOCK_BYTES,
                len_bytes: length,
            },
            _ => Piece::Data {
                offset_bytes,
                inode,
                source: file.source,
                file_offset_bytes: start,
                len_bytes: length.min(file.size_bytes - start),
            },
        })
    }
}

/// What differs between the kinds of inodes.
struct Contents {
    kind: u16,
    size_bytes: u64,
    flags: u32,
    i_block: [u8; ROOT_BYTES],
}
