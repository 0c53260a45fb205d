//! The disk, cut into chunks: what threads take and work on.
//!
//! Pieces arrive in disk order and are made only when they are asked for, so that the metadata of a large file system
//! is never in memory as a whole. A chunk starts at a multiple of its length and holds what lies there; where nothing
//! lies there is no chunk.

use osmith_machine::install::InstallFile;

/// The length of a chunk: large enough for system calls to cost little, and whole clusters of every output format.
pub(crate) const CHUNK_BYTES: usize = 1 << 20;

/// What a stretch of the disk holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Filling {
    /// These bytes.
    Bytes(Vec<u8>),
    /// Contents of a file, from this offset on: a multiple of the fs-verity block.
    Data { file: InstallFile, at_bytes: u64 },
    /// The verity region of a file, from this offset on. The data of the file comes before it.
    Verity { file: InstallFile, at_bytes: u64 },
}

/// A stretch of the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) offset_bytes: u64,
    pub(crate) len_bytes: u64,
    pub(crate) filling: Filling,
}

/// A part of a piece in a chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Segment {
    /// Where in the chunk.
    pub(crate) start: usize,
    pub(crate) len: usize,
    pub(crate) filling: Filling,
}

/// What the disk holds from `offset_bytes` on, for [`CHUNK_BYTES`]; the rest of it is zeros.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Chunk {
    /// How many chunks come before it.
    pub(crate) sequence: u64,
    pub(crate) offset_bytes: u64,
    /// In ascending order.
    pub(crate) segments: Vec<Segment>,
}

/// Cuts pieces into chunks.
#[derive(Debug)]
pub(crate) struct Chunks<I> {
    pieces: I,
    /// What the last chunk left of its last piece.
    rest: Option<Piece>,
    sequence: u64,
}

impl Piece {
    /// Metadata at that place.
    pub(crate) fn bytes(offset_bytes: u64, bytes: Vec<u8>) -> Self {
        Piece {
            offset_bytes,
            len_bytes: bytes.len() as u64,
            filling: Filling::Bytes(bytes),
        }
    }

    /// The first `len_bytes`, and what remains.
    fn split(mut self, len_bytes: u64) -> (Piece, Option<Piece>) {
        if len_bytes >= self.len_bytes {
            return (self, None);
        }
        let filling = match &mut self.filling {
            Filling::Bytes(bytes) => Filling::Bytes(bytes.split_off((len_bytes as usize).min(bytes.len()))),
            Filling::Data { file, at_bytes } => Filling::Data {
                file: *file,
                at_bytes: *at_bytes + len_bytes,
            },
            Filling::Verity { file, at_bytes } => Filling::Verity {
                file: *file,
                at_bytes: *at_bytes + len_bytes,
            },
        };
        let rest = Piece {
            offset_bytes: self.offset_bytes + len_bytes,
            len_bytes: self.len_bytes - len_bytes,
            filling,
        };
        self.len_bytes = len_bytes;
        (self, Some(rest))
    }
}

impl<I: Iterator<Item = Piece>> Chunks<I> {
    /// Chunks of these pieces, which are in ascending order and do not overlap.
    pub(crate) fn new(pieces: I) -> Self {
        Chunks {
            pieces,
            rest: None,
            sequence: 0,
        }
    }
}

impl<I: Iterator<Item = Piece>> Iterator for Chunks<I> {
    type Item = Chunk;

    fn next(&mut self) -> Option<Chunk> {
        let mut piece = self.rest.take().or_else(|| self.pieces.next())?;
        let chunk_bytes = CHUNK_BYTES as u64;
        let offset_bytes = piece.offset_bytes / chunk_bytes * chunk_bytes;
        let end = offset_bytes + chunk_bytes;
        let mut segments = Vec::new();
        loop {
            if piece.offset_bytes >= end {
                self.rest = Some(piece);
                break;
            }
            let room = end - piece.offset_bytes;
            let (head, rest) = piece.split(room);
            segments.push(Segment {
                start: (head.offset_bytes - offset_bytes) as usize,
                len: head.len_bytes as usize,
                filling: head.filling,
            });
            self.rest = rest;
            match self.rest.take().or_else(|| self.pieces.next()) {
                Some(next) => piece = next,
                None => break,
            }
        }
        self.sequence += 1;
        Some(Chunk {
            sequence: self.sequence - 1,
            offset_bytes,
            segments,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;
    const FILE: InstallFile = InstallFile {
        source: 3,
        size_bytes: 4 * MIB,
        verity: true,
    };

    fn data(offset_bytes: u64, len_bytes: u64) -> Piece {
        Piece {
            offset_bytes,
            len_bytes,
            filling: Filling::Data {
                file: FILE,
                at_bytes: 8192,
            },
        }
    }

    #[test]
    fn pieces_are_cut_at_chunks() {
        let pieces = [
            Piece::bytes(MIB - 2, vec![1, 2, 3]),
            data(MIB + 4096, 2 * MIB),
            data(7 * MIB, 10),
        ];
        let chunks: Vec<_> = Chunks::new(pieces.into_iter()).collect();
        let places: Vec<_> = chunks
            .iter()
            .map(|chunk| {
                let segments = chunk.segments.iter().map(|segment| (segment.start, segment.len));
                (
                    chunk.sequence,
                    chunk.offset_bytes / MIB,
                    segments.collect::<Vec<_>>(),
                )
            })
            .collect();
        assert_eq!(
            places,
            [
                (0, 0, vec![(CHUNK_BYTES - 2, 2)]),
                (1, 1, vec![(0, 1), (4096, CHUNK_BYTES - 4096)]),
                (2, 2, vec![(0, CHUNK_BYTES)]),
                (3, 3, vec![(0, 4096)]),
                (4, 7, vec![(0, 10)]),
            ]
        );
        assert_eq!(chunks[1].segments[0].filling, Filling::Bytes(vec![3]));
        let at = 8192 + MIB - 4096;
        assert_eq!(
            chunks[2].segments[0].filling,
            Filling::Data {
                file: FILE,
                at_bytes: at
            }
        );
    }

    #[test]
    fn nothing_gives_no_chunk() {
        assert_eq!(Chunks::new(std::iter::empty()).next(), None);
    }
}
