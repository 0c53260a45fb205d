//! The bytes, in ascending order.

use super::super::{BLOCK_BYTES, SUPERBLOCK_OFFSET};
use super::layout::Layout;

/// A stretch of the image. What no piece covers, from the first block on, is zero.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Metadata.
    Bytes {
        /// Where on the device.
        offset_bytes: u64,
        /// What.
        bytes: Vec<u8>,
    },
    /// A part of a file that is not compressed.
    Data {
        /// Where on the device.
        offset_bytes: u64,
        /// Its [`super::File::source`].
        source: u32,
        /// Where in the file.
        file_offset_bytes: u64,
        /// How much.
        len_bytes: u64,
    },
    /// A compressed cluster, whole.
    Cluster {
        /// Where on the device.
        offset_bytes: u64,
        /// Its number.
        cluster: u32,
        /// Its compressed length.
        len_bytes: u32,
    },
}

impl Piece {
    /// Where on the device it begins.
    pub fn offset_bytes(&self) -> u64 {
        match self {
            Piece::Bytes { offset_bytes, .. }
            | Piece::Data { offset_bytes, .. }
            | Piece::Cluster { offset_bytes, .. } => *offset_bytes,
        }
    }
}

/// The tail of a plain file, behind its inode.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tail {
    /// Where in the metadata.
    pub(super) offset: usize,
    pub(super) source: u32,
    pub(super) file_offset_bytes: u64,
    pub(super) len_bytes: usize,
}

impl Layout {
    /// Everything to be written, sorted by offset, without overlaps.
    pub fn pieces(&self) -> impl Iterator<Item = Piece> + '_ {
        let superblock = Piece::Bytes {
            offset_bytes: SUPERBLOCK_OFFSET as u64,
            bytes: self.superblock.clone(),
        };
        let data = self.data.iter().cloned();
        std::iter::once(superblock)
            .chain(self.metadata_pieces())
            .chain(data)
    }

    /// The length of the file system: whole blocks, from the start of the device.
    pub fn size_bytes(&self) -> u64 {
        u64::from(self.blocks) * BLOCK_BYTES as u64
    }

    /// The metadata, with the tails of files between its parts.
    fn metadata_pieces(&self) -> impl Iterator<Item = Piece> + '_ {
        let mut position = 0;
        let end = self.metadata.len();
        let tails = self.tails.iter().map(Some).chain([None]);
        let pieces = tails.flat_map(move |tail| {
            let start = position;
            let until = tail.map_or(end, |tail| tail.offset);
            position = tail.map_or(end, |tail| tail.offset + tail.len_bytes);
            let bytes = Piece::Bytes {
                offset_bytes: self.metadata_offset_bytes + start as u64,
                bytes: self.metadata[start..until].to_vec(),
            };
            let data = tail.map(|tail| Piece::Data {
                offset_bytes: self.metadata_offset_bytes + tail.offset as u64,
                source: tail.source,
                file_offset_bytes: tail.file_offset_bytes,
                len_bytes: tail.len_bytes as u64,
            });
            [Some(bytes).filter(|_| start < until), data]
        });
        pieces.flatten()
    }
}
