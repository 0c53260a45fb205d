//! Where everything is in an image.

use std::ops::Range;

use super::super::superblock::FEATURE_COMPAT_CHECKSUM;
use super::super::{
    Attributes, BLOCK_BYTES, DataLayout, InodeHeader, SLOT_BYTES, SUPERBLOCK_BYTES, SUPERBLOCK_OFFSET,
    Shared, Superblock, inode_offset,
};
use super::cluster::{Contents, Form, Segment, Stored, window_log};
use super::index::{self, PlacedCluster};
use super::inodes::{Body, Inode};
use super::pieces::{Piece, Tail};
use super::{Error, Options, Reason};

/// Of a plain file, the rest of a block up to this length is kept behind the inode.
const TAIL_MAX_BYTES: u64 = 2048;
/// The longest compressed form of a cluster that the kernel takes.
const STORED_MAX_BYTES: u32 = 1 << 20;
const FEATURE_ZERO_PADDING: u32 = 0x1;
const FEATURE_COMPRESSION_PARAMETERS: u32 = 0x2;
const FEATURE_FRAGMENTS: u32 = 0x20;
const WINDOW_LOG_MIN: u32 = 10;

/// An image that is planned.
#[derive(Debug, Clone)]
pub struct Layout {
    /// From the superblock to the end of the first block.
    pub(super) superblock: Vec<u8>,
    pub(super) metadata_offset_bytes: u64,
    /// Zeros where the tails are.
    pub(super) metadata: Vec<u8>,
    pub(super) tails: Vec<Tail>,
    pub(super) data: Vec<Piece>,
    pub(super) blocks: u32,
}

/// Where stored contents are.
#[derive(Debug, Clone)]
enum Located {
    /// As they are; `tail_bytes` of them behind the inode.
    Flat { first_block: u32, tail_bytes: u64 },
    /// At an offset in the packed inode.
    Packed(u64),
    /// In clusters.
    Clusters(Range<usize>),
}

/// The place of an inode.
#[derive(Debug)]
struct Place {
    /// In the metadata.
    offset: usize,
    /// The first of the blocks of a directory or a long target.
    block: u32,
}

/// Hands out blocks.
struct Blocks(u32);

impl Blocks {
    fn take(&mut self, count: u64) -> Result<u32, Error> {
        let first = self.0;
        let end = u64::from(first)
            .checked_add(count)
            .and_then(|end| u32::try_from(end).ok());
        self.0 = end.ok_or(Error::TreeSize)?;
        Ok(first)
    }
}

struct Plan<'a> {
    options: &'a Options,
    inodes: &'a [Inode<'a>],
    contents: &'a Contents,
    attributes: Vec<Attributes<'a>>,
    shared: Shared<'a>,
    located: Vec<Located>,
    clusters: Vec<PlacedCluster>,
    places: Vec<Place>,
    /// Where the inodes end in the metadata and the shared attributes begin.
    inodes_end: usize,
    metadata_bytes: usize,
    data: Vec<Piece>,
}

pub(super) fn plan(
    options: &Options,
    inodes: &[Inode<'_>],
    contents: &Contents,
    compressed_bytes: &[u32],
) -> Result<Layout, Error> {
    let fits = |length: &u32| (1..=STORED_MAX_BYTES).contains(length);
    if compressed_bytes.len() != contents.clusters.len() || !compressed_bytes.iter().all(fits) {
        return Err(Error::Lengths {
            expected: contents.clusters.len(),
            found: compressed_bytes.len(),
        });
    }
    let shared = Shared::of(|| inodes.iter().flat_map(Inode::attributes));
    let attributes = inodes
        .iter()
        .map(|inode| Attributes::new(inode.attributes().collect(), &shared));
    let clusters = contents.clusters.iter().zip(compressed_bytes);
    let mut plan = Plan {
        options,
        inodes,
        contents,
        attributes: attributes.collect(),
        shared,
        located: Vec::new(),
        clusters: clusters
            .map(|(cluster, stored_bytes)| PlacedCluster {
                len_bytes: cluster.len_bytes,
                stored_bytes: *stored_bytes,
                first_block: 0,
            })
            .collect(),
        places: Vec::new(),
        inodes_end: 0,
        metadata_bytes: 0,
        data: Vec::new(),
    };
    plan.located = contents.stored.iter().map(|stored| plan.locate(stored)).collect();
    plan.place_inodes()?;
    let blocks = plan.place_blocks()?;
    plan.into_layout(blocks)
}

impl<'a> Plan<'a> {
    /// Decides on the form of stored contents; the blocks are not known yet.
    fn locate(&self, stored: &Stored) -> Located {
        let plain_blocks = stored.size_bytes.div_ceil(BLOCK_BYTES as u64);
        match &stored.form {
            Form::Placed(block) => Located::Flat {
                first_block: *block,
                tail_bytes: 0,
            },
            Form::Plain(_) => plain(stored.size_bytes),
            Form::Packed(offset) => Located::Packed(*offset),
            Form::Clusters(range) => {
                let clusters = self.clusters.get(range.clone()).unwrap_or_default();
                let blocks: u64 = clusters.iter().map(|cluster| u64::from(cluster.blocks())).sum();
                if plain_blocks > 1 && blocks < plain_blocks {
                    Located::Clusters(range.clone())
                } else if self.is_packed_inode(stored) {
                    Located::Flat {
                        first_block: 0,
                        tail_bytes: 0,
                    }
                } else {
                    plain(stored.size_bytes)
                }
            }
        }
    }

    fn is_packed_inode(&self, stored: &Stored) -> bool {
        let packed = self
            .contents
            .packed
            .and_then(|position| self.contents.stored.get(position));
        packed.is_some_and(|packed| std::ptr::eq(packed, stored))
    }

    /// Gives every inode its offset in the metadata. The first 32 bytes stay free: 0 is no inode number.
    fn place_inodes(&mut self) -> Result<(), Error> {
        let mut position = SLOT_BYTES;
        for number in 0..self.inodes.len() {
            let header = self.header(number, 0)?;
            let fixed_bytes =
                header.stored_bytes(self.options.build_time) + self.attributes[number].stored_bytes();
            let inode = &self.inodes[number];
            let tail_bytes = self.tail_bytes(inode, header.layout);
            let is_symlink =
                matches!(inode.body, Body::Symlink(_)) && header.layout == DataLayout::FlatInline;
            // An index is read entry by entry and may cross blocks.
            let whole_bytes = match header.layout {
                DataLayout::CompressedFull => 0,
                _ => tail_bytes,
            };
            let offset = inode_offset(position, fixed_bytes, whole_bytes, is_symlink);
            self.places.push(Place { offset, block: 0 });
            position = (offset + fixed_bytes).next_multiple_of(8) + tail_bytes;
            position = position.next_multiple_of(SLOT_BYTES);
        }
        let shared = self.shared.table().iter();
        let shared_bytes: usize = shared.map(|attribute| attribute.stored_bytes()).sum();
        self.inodes_end = position;
        self.metadata_bytes = position + shared_bytes;
        Ok(())
    }

    /// The length of what is behind an inode and its attributes.
    fn tail_bytes(&self, inode: &Inode<'_>, layout: DataLayout) -> usize {
        match &inode.body {
            Body::Directory(listing) => listing.rest_bytes(),
            Body::Symlink(target) if layout == DataLayout::FlatInline => target.len(),
            Body::Regular(position) => match &self.located[*position] {
                Located::Flat { tail_bytes, .. } => *tail_bytes as usize,
                Located::Packed(_) => index::HEADER_BYTES,
                Located::Clusters(_) => {
                    index::index_bytes(self.contents.stored[*position].size_bytes) as usize
                }
            },
            _ => 0,
        }
    }

    /// Gives blocks to directories and long targets, then to plain contents, then to clusters; the end of all.
    fn place_blocks(&mut self) -> Result<u32, Error> {
        let mut blocks = Blocks(self.options.first_block);
        blocks.take(self.metadata_bytes.div_ceil(BLOCK_BYTES) as u64)?;
        for (number, inode) in self.inodes.iter().enumerate() {
            let count = match &inode.body {
                Body::Directory(listing) => listing.block_count(),
                Body::Symlink(_) if self.header(number, 0)?.layout == DataLayout::FlatPlain => 1,
                _ => continue,
            };
            self.places[number].block = blocks.take(count as u64)?;
        }
        for (stored, located) in self.contents.stored.iter().zip(&mut self.located) {
            let Located::Flat {
                first_block,
                tail_bytes,
            } = located
            else {
                continue;
            };
            let stored_bytes = stored.size_bytes - *tail_bytes;
            let segments: Vec<(Segment, u64)> = match &stored.form {
                Form::Plain(source) => vec![(whole(*source), stored_bytes)],
                Form::Clusters(range) => self.contents.segments(range, stored_bytes),
                Form::Placed(_) | Form::Packed(_) => continue,
            };
            *first_block = blocks.take(stored_bytes.div_ceil(BLOCK_BYTES as u64))?;
            let mut offset_bytes = u64::from(*first_block) * BLOCK_BYTES as u64;
            for (segment, len_bytes) in segments {
                if len_bytes > 0 {
                    self.data.push(Piece::Data {
                        offset_bytes,
                        source: segment.source,
                        file_offset_bytes: segment.file_offset_bytes,
                        len_bytes,
                    });
                }
                offset_bytes += len_bytes;
            }
        }
        self.place_clusters(&mut blocks)?;
        Ok(blocks.0)
    }

    /// A frame ends where its last block ends: readers skip zeros before it.
    fn place_clusters(&mut self, blocks: &mut Blocks) -> Result<(), Error> {
        for located in &self.located {
            let Located::Clusters(range) = located else {
                continue;
            };
            for number in range.clone() {
                let cluster = &mut self.clusters[number];
                cluster.first_block = blocks.take(cluster.blocks().into())?;
                let end = (u64::from(cluster.first_block) + u64::from(cluster.blocks())) * BLOCK_BYTES as u64;
                self.data.push(Piece::Cluster {
                    offset_bytes: end - u64::from(cluster.stored_bytes),
                    cluster: number as u32,
                    len_bytes: cluster.stored_bytes,
                });
            }
        }
        Ok(())
    }

    fn header(&self, number: usize, block: u32) -> Result<InodeHeader, Error> {
        let inode = &self.inodes[number];
        let attributes = &self.attributes[number];
        let attribute_words = attributes
            .word_count()
            .ok_or_else(|| inode.refuse(self.inodes, Reason::AttributeCount))?;
        let (layout, union, size_bytes) = match &inode.body {
            Body::Directory(listing) if listing.rest_bytes() == 0 => {
                (DataLayout::FlatPlain, block, listing.size_bytes())
            }
            Body::Directory(listing) => (DataLayout::FlatInline, block, listing.size_bytes()),
            Body::Regular(position) => self.regular(*position),
            Body::Symlink(target) => (DataLayout::FlatInline, 0, target.len() as u64),
            Body::CharacterDevice(device) | Body::BlockDevice(device) => (DataLayout::FlatPlain, *device, 0),
            Body::Empty | Body::Fifo | Body::Socket => (DataLayout::FlatPlain, 0, 0),
        };
        let mut header = InodeHeader {
            layout,
            attribute_words,
            mode: inode.body.file_type().mode_bits() | inode.permissions,
            links: inode.links,
            size_bytes,
            union,
            number: number as u32 + 1,
            uid: inode.uid,
            gid: inode.gid,
            mtime: inode.mtime,
        };
        if matches!(inode.body, Body::Symlink(_)) {
            let fixed_bytes = header.stored_bytes(self.options.build_time) + attributes.stored_bytes();
            if fixed_bytes as u64 + size_bytes >= BLOCK_BYTES as u64 {
                header.layout = DataLayout::FlatPlain;
                header.union = block;
            }
        }
        Ok(header)
    }

    fn regular(&self, position: usize) -> (DataLayout, u32, u64) {
        let size_bytes = self.contents.stored[position].size_bytes;
        match &self.located[position] {
            Located::Flat {
                first_block,
                tail_bytes: 0,
            } => (DataLayout::FlatPlain, *first_block, size_bytes),
            Located::Flat { first_block, .. } => (DataLayout::FlatInline, *first_block, size_bytes),
            Located::Packed(_) => (DataLayout::CompressedFull, 0, size_bytes),
            Located::Clusters(range) => {
                let blocks = self.clusters[range.clone()]
                    .iter()
                    .map(PlacedCluster::blocks)
                    .sum();
                (DataLayout::CompressedFull, blocks, size_bytes)
            }
        }
    }

    fn nid(&self, position: u32) -> u64 {
        (self.places[position as usize].offset / SLOT_BYTES) as u64
    }

    fn into_layout(self, blocks: u32) -> Result<Layout, Error> {
        let mut metadata = Vec::with_capacity(self.metadata_bytes);
        let mut tails = Vec::new();
        let references = self.references()?;
        for (number, place) in self.places.iter().enumerate() {
            metadata.resize(place.offset, 0);
            let header = self.header(number, place.block)?;
            header.append_to(&mut metadata, self.options.build_time);
            self.attributes[number].append_to(&mut metadata, &references);
            self.append_tail(number, header.layout, &mut metadata, &mut tails);
        }
        metadata.resize(self.inodes_end, 0);
        for attribute in self.shared.table() {
            attribute.append_to(&mut metadata);
        }
        metadata.resize(metadata.len().next_multiple_of(BLOCK_BYTES), 0);
        for (number, inode) in self.inodes.iter().enumerate() {
            match &inode.body {
                Body::Directory(listing) => {
                    listing.append_blocks(&mut metadata, |position| self.nid(position))
                }
                Body::Symlink(target) if self.header(number, 0)?.layout == DataLayout::FlatPlain => {
                    metadata.extend_from_slice(target);
                    metadata.resize(metadata.len().next_multiple_of(BLOCK_BYTES), 0);
                }
                _ => {}
            }
        }
        Ok(Layout {
            superblock: self.superblock(blocks)?,
            metadata_offset_bytes: u64::from(self.options.first_block) * BLOCK_BYTES as u64,
            metadata,
            tails,
            data: self.data,
            blocks,
        })
    }

    fn append_tail(&self, number: usize, layout: DataLayout, out: &mut Vec<u8>, tails: &mut Vec<Tail>) {
        match &self.inodes[number].body {
            Body::Directory(listing) => listing.append_rest(out, |position| self.nid(position)),
            Body::Symlink(target) if layout == DataLayout::FlatInline => out.extend_from_slice(target),
            Body::Regular(position) => match &self.located[*position] {
                Located::Flat { tail_bytes: 0, .. } => {}
                Located::Flat { tail_bytes, .. } => {
                    let stored = &self.contents.stored[*position];
                    let len_bytes = *tail_bytes as usize;
                    tails.extend(self.contents.source(stored).map(|source| Tail {
                        offset: out.len(),
                        source,
                        file_offset_bytes: stored.size_bytes - tail_bytes,
                        len_bytes,
                    }));
                    out.resize(out.len() + len_bytes, 0);
                }
                Located::Packed(offset) => {
                    out.resize(out.len().next_multiple_of(8), 0);
                    index::append_packed(*offset, out);
                }
                Located::Clusters(range) => {
                    out.resize(out.len().next_multiple_of(8), 0);
                    index::append_index(&self.clusters[range.clone()], out);
                }
            },
            _ => {}
        }
    }

    /// References to the shared attributes: words from the start of the block in which the inodes end.
    fn references(&self) -> Result<Vec<u32>, Error> {
        let mut offset = self.inodes_end % BLOCK_BYTES;
        let words = self.shared.table().iter().map(|attribute| {
            let reference = u32::try_from(offset / 4).map_err(|_| Error::TreeSize);
            offset += attribute.stored_bytes();
            reference
        });
        words.collect()
    }

    /// The rest of the first block, with the parameters of Zstandard behind the superblock.
    fn superblock(&self, blocks: u32) -> Result<Vec<u8>, Error> {
        let mut volume_name = [0; 16];
        let name = self.options.volume_name.bytes();
        volume_name.iter_mut().zip(name).for_each(|(to, from)| *to = from);
        let attributes_block = u64::from(self.options.first_block) + (self.inodes_end / BLOCK_BYTES) as u64;
        let is_compressed = !self.contents.clusters.is_empty();
        let packed = self.contents.packed.map(|_| self.inodes.len() as u32 - 1);
        let mut incompatible_features = 0;
        if is_compressed {
            incompatible_features |= FEATURE_ZERO_PADDING | FEATURE_COMPRESSION_PARAMETERS;
        }
        if packed.is_some() {
            incompatible_features |= FEATURE_FRAGMENTS;
        }
        let superblock = Superblock {
            root_nid: u16::try_from(self.nid(0)).map_err(|_| Error::TreeSize)?,
            inodes: self.inodes.len() as u64,
            build_time: self.options.build_time,
            blocks,
            metadata_block: self.options.first_block,
            attributes_block: u32::try_from(attributes_block).map_err(|_| Error::TreeSize)?,
            uuid: self.options.uuid,
            volume_name,
            compatible_features: FEATURE_COMPAT_CHECKSUM,
            incompatible_features,
            algorithms: if is_compressed { 1 << index::ZSTD } else { 0 },
            packed_nid: packed.map_or(0, |position| self.nid(position)),
        };
        let mut bytes = superblock.to_bytes().to_vec();
        if is_compressed {
            let window = window_log(self.options.cluster_bytes) - WINDOW_LOG_MIN;
            bytes.extend_from_slice(&[6, 0, 0, window as u8]);
        }
        debug_assert!(bytes.len() <= SUPERBLOCK_BYTES + 8);
        bytes.resize(BLOCK_BYTES - SUPERBLOCK_OFFSET, 0);
        // The kernel's checksum is not inverted at the end.
        let checksum = !crc32c::crc32c(&bytes);
        bytes[4..8].copy_from_slice(&checksum.to_le_bytes());
        Ok(bytes)
    }
}

fn plain(size_bytes: u64) -> Located {
    let rest = size_bytes % BLOCK_BYTES as u64;
    Located::Flat {
        first_block: 0,
        tail_bytes: if rest <= TAIL_MAX_BYTES { rest } else { 0 },
    }
}

fn whole(source: u32) -> Segment {
    Segment {
        source,
        file_offset_bytes: 0,
        len_bytes: 0,
    }
}

impl Contents {
    /// Where the first `total_bytes` of some clusters come from; parts of one file that follow each other are one.
    fn segments(&self, clusters: &Range<usize>, total_bytes: u64) -> Vec<(Segment, u64)> {
        let mut found: Vec<(Segment, u64)> = Vec::new();
        let mut left_bytes = total_bytes;
        let clusters = self.clusters.get(clusters.clone()).unwrap_or_default();
        for segment in clusters.iter().flat_map(|cluster| &cluster.segments) {
            let len_bytes = left_bytes.min(segment.len_bytes.into());
            left_bytes -= len_bytes;
            match found.last_mut() {
                Some((last, length)) if last.source == segment.source => *length += len_bytes,
                _ => found.push((*segment, len_bytes)),
            }
        }
        found
    }

    /// The source of contents that have one.
    fn source(&self, stored: &Stored) -> Option<u32> {
        match &stored.form {
            Form::Plain(source) => Some(*source),
            Form::Clusters(range) => Some(self.clusters.get(range.start)?.segments.first()?.source),
            Form::Placed(_) | Form::Packed(_) => None,
        }
    }
}
