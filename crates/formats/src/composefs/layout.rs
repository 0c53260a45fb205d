//! Where everything is in a composefs image, and the bytes.

use super::inodes::{Body, Collected, Inode};
use super::{Error, Reason};
use crate::erofs::{
    Attributes, BLOCK_BITS, BLOCK_BYTES, DataLayout, InodeHeader, SLOT_BYTES, SUPERBLOCK_BYTES,
    SUPERBLOCK_OFFSET, Shared, Superblock, inode_offset,
};
use crate::tree::Timestamp;

pub(super) const MAGIC: u32 = 0xd078_629a;
pub(super) const HEADER_VERSION: u32 = 1;
pub(super) const COMPOSEFS_VERSION: u32 = 1;
const FLAG_HAS_ACL: u32 = 1;
/// The address of a chunk that is a hole.
const HOLE: [u8; 4] = [0xff; 4];

/// An image whose inodes are numbered.
pub(super) struct Image<'a> {
    pub(super) collected: &'a Collected<'a>,
    pub(super) shared: Shared<'a>,
    pub(super) build_time: Timestamp,
    pub(super) has_acl: bool,
}

/// The place of an inode.
struct Place {
    offset: usize,
    /// The first of its data blocks, or where it would be.
    block: usize,
}

/// The place of everything; offsets in bytes.
struct Layout {
    places: Vec<Place>,
    /// The end of the inodes, where the shared attributes start.
    inodes_end: usize,
    blocks_start: usize,
    end: usize,
}

impl<'a> Image<'a> {
    /// The bytes of the image.
    pub(super) fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        let layout = self.layout()?;
        let too_large = |_| self.collected.refuse(0, Reason::TreeSize);
        let references = self.references(&layout).map_err(too_large)?;
        let nid = |inode: u32| (layout.places[inode as usize].offset / SLOT_BYTES) as u64;
        let superblock = Superblock {
            root_nid: u16::try_from(nid(0)).map_err(too_large)?,
            inodes: self.collected.inodes.len() as u64,
            build_time: self.build_time,
            blocks: u32::try_from(layout.end / BLOCK_BYTES).map_err(too_large)?,
            attributes_block: u32::try_from(layout.inodes_end / BLOCK_BYTES).map_err(too_large)?,
            ..Superblock::default()
        };
        let mut out = Vec::with_capacity(layout.end);
        self.append_headers(&mut out, &superblock);
        for (number, (inode, place)) in self.collected.inodes.iter().zip(&layout.places).enumerate() {
            out.resize(place.offset, 0);
            let attributes = self.attributes(inode);
            let header = self.header(number, &attributes, place.block)?;
            header.append_to(&mut out, self.build_time);
            attributes.append_to(&mut out, &references);
            append_tail(inode, header.layout, &mut out, nid);
        }
        out.resize(layout.inodes_end, 0);
        for attribute in self.shared.table() {
            attribute.append_to(&mut out);
        }
        out.resize(layout.blocks_start, 0);
        for (number, (inode, place)) in self.collected.inodes.iter().zip(&layout.places).enumerate() {
            debug_assert_eq!(out.len(), place.block * BLOCK_BYTES);
            if has_blocks(inode) {
                let header = self.header(number, &self.attributes(inode), place.block)?;
                append_blocks(inode, header.layout, &mut out, nid);
            }
        }
        debug_assert_eq!(out.len(), layout.end);
        Ok(out)
    }

    fn attributes(&self, inode: &Inode<'a>) -> Attributes<'a> {
        Attributes::new(inode.attributes().collect(), &self.shared)
    }

    fn append_headers(&self, out: &mut Vec<u8>, superblock: &Superblock) {
        let flags = if self.has_acl { FLAG_HAS_ACL } else { 0 };
        for field in [MAGIC, HEADER_VERSION, flags, COMPOSEFS_VERSION] {
            out.extend_from_slice(&field.to_le_bytes());
        }
        out.resize(SUPERBLOCK_OFFSET, 0);
        out.extend_from_slice(&superblock.to_bytes());
    }

    fn layout(&self) -> Result<Layout, Error> {
        let mut position = SUPERBLOCK_OFFSET + SUPERBLOCK_BYTES;
        let mut places = Vec::with_capacity(self.collected.inodes.len());
        for (number, inode) in self.collected.inodes.iter().enumerate() {
            let attributes = self.attributes(inode);
            let header = self.header(number, &attributes, 0)?;
            let fixed_bytes = header.stored_bytes(self.build_time) + attributes.stored_bytes();
            let tail_bytes = tail_bytes(inode, header.layout);
            let offset = offset(inode, position, fixed_bytes, tail_bytes);
            let block = block_count(inode, header.layout);
            places.push(Place { offset, block });
            position = (offset + fixed_bytes + tail_bytes).next_multiple_of(SLOT_BYTES);
        }
        let shared = self.shared.table().iter();
        let shared_bytes: usize = shared.map(|attribute| attribute.stored_bytes()).sum();
        let blocks_start = (position + shared_bytes).next_multiple_of(BLOCK_BYTES);
        let mut block = blocks_start / BLOCK_BYTES;
        for place in &mut places {
            let count = std::mem::replace(&mut place.block, block);
            block += count;
        }
        Ok(Layout {
            places,
            inodes_end: position,
            blocks_start,
            end: block * BLOCK_BYTES,
        })
    }

    /// References to the shared attributes: words from the start of the block in which the inodes end.
    fn references(&self, layout: &Layout) -> Result<Vec<u32>, std::num::TryFromIntError> {
        let mut offset = layout.inodes_end % BLOCK_BYTES;
        let words = self.shared.table().iter().map(|attribute| {
            let reference = u32::try_from(offset / 4);
            offset += attribute.stored_bytes();
            reference
        });
        words.collect()
    }

    fn header(&self, number: usize, attributes: &Attributes<'_>, block: usize) -> Result<InodeHeader, Error> {
        let inode = &self.collected.inodes[number];
        let too_large = |_| self.collected.refuse(0, Reason::TreeSize);
        let attribute_words = attributes
            .word_count()
            .ok_or_else(|| self.collected.refuse(number, Reason::AttributeCount))?;
        let block = u32::try_from(block).map_err(too_large)?;
        let (layout, union, size_bytes) = match &inode.body {
            Body::Directory(listing) if listing.rest_bytes() == 0 => {
                (DataLayout::FlatPlain, block, listing.size_bytes())
            }
            Body::Directory(listing) => {
                let first = if listing.block_count() > 0 { block } else { 0 };
                (DataLayout::FlatInline, first, listing.size_bytes())
            }
            Body::Inline([]) => (DataLayout::FlatPlain, 0, 0),
            Body::Inline(bytes) => (DataLayout::FlatInline, 0, bytes.len() as u64),
            Body::Object { size_bytes, .. } => {
                (DataLayout::ChunkBased, chunk_format(*size_bytes), *size_bytes)
            }
            Body::Symlink(target) => (DataLayout::FlatInline, 0, target.len() as u64),
            Body::CharacterDevice(device) | Body::BlockDevice(device) => (DataLayout::FlatPlain, *device, 0),
            Body::Fifo | Body::Socket => (DataLayout::FlatPlain, 0, 0),
        };
        let mut header = InodeHeader {
            layout,
            attribute_words,
            mode: inode.body.file_type().mode_bits() | (inode.metadata.mode & 0o7777),
            links: inode.links,
            size_bytes,
            union,
            number: u32::try_from(number).map_err(too_large)?,
            uid: inode.metadata.uid,
            gid: inode.metadata.gid,
            mtime: inode.metadata.mtime,
        };
        if matches!(inode.body, Body::Symlink(_)) {
            let fixed_bytes = header.stored_bytes(self.build_time) + attributes.stored_bytes();
            if fixed_bytes as u64 + size_bytes >= BLOCK_BYTES as u64 {
                header.layout = DataLayout::FlatPlain;
                header.union = block;
            }
        }
        Ok(header)
    }
}

/// How large the one chunk of a file is: the logarithm of its length in blocks.
fn chunk_format(size_bytes: u64) -> u32 {
    let bits = u64::BITS - size_bytes.saturating_sub(1).leading_zeros();
    bits.saturating_sub(BLOCK_BITS)
}

/// The length of the data behind an inode and its attributes.
fn tail_bytes(inode: &Inode<'_>, layout: DataLayout) -> usize {
    match &inode.body {
        Body::Directory(listing) => listing.rest_bytes(),
        Body::Inline(bytes) => bytes.len(),
        Body::Object { size_bytes: 0, .. } => 0,
        Body::Object { .. } => HOLE.len(),
        Body::Symlink(target) if layout == DataLayout::FlatInline => target.len(),
        _ => 0,
    }
}

/// Whether an inode can have blocks of its own.
fn has_blocks(inode: &Inode<'_>) -> bool {
    matches!(inode.body, Body::Directory(_) | Body::Symlink(_))
}

/// How many blocks of its own an inode has.
fn block_count(inode: &Inode<'_>, layout: DataLayout) -> usize {
    match &inode.body {
        Body::Directory(listing) => listing.block_count(),
        Body::Symlink(_) if layout == DataLayout::FlatPlain => 1,
        _ => 0,
    }
}

/// Where an inode starts if the last one ends at `position`. The whole target of a link counts, even where it gets a
/// block of its own.
fn offset(inode: &Inode<'_>, position: usize, fixed_bytes: usize, tail_bytes: usize) -> usize {
    match inode.body {
        Body::Symlink(target) => inode_offset(position, fixed_bytes, target.len(), true),
        _ => inode_offset(position, fixed_bytes, tail_bytes, false),
    }
}

fn append_tail(inode: &Inode<'_>, layout: DataLayout, out: &mut Vec<u8>, nid: impl Fn(u32) -> u64) {
    match &inode.body {
        Body::Directory(listing) => listing.append_rest(out, nid),
        Body::Inline(bytes) => out.extend_from_slice(bytes),
        Body::Object { size_bytes, .. } if *size_bytes > 0 => out.extend_from_slice(&HOLE),
        Body::Symlink(target) if layout == DataLayout::FlatInline => out.extend_from_slice(target),
        _ => {}
    }
}

fn append_blocks(inode: &Inode<'_>, layout: DataLayout, out: &mut Vec<u8>, nid: impl Fn(u32) -> u64) {
    match &inode.body {
        Body::Directory(listing) => listing.append_blocks(out, nid),
        Body::Symlink(target) if layout == DataLayout::FlatPlain => {
            out.extend_from_slice(target);
            out.resize(out.len().next_multiple_of(BLOCK_BYTES), 0);
        }
        _ => {}
    }
}
