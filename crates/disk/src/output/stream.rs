//! A file that is compressed as a whole, written from the front to the back: threads compress, places are given in the
//! order of the disk, threads write.

use super::Target;
use crate::chunk::{CHUNK_BYTES, Chunk};
use crate::error::WriteError;
use crate::turn::InTurn;

/// How many holes are written in one go.
const HOLES_AT_ONCE: u64 = 256;

/// A stream in which every chunk of the disk has a part, those of zeros all the same one.
pub(super) struct WholeDisk<'a, R: Record> {
    target: Target<'a>,
    /// What stands for a chunk of zeros.
    hole: Part<R::Part>,
    end: InTurn<End<R>>,
}

/// What is written next.
struct End<R> {
    offset_bytes: u64,
    /// How many chunks of the disk are in the file.
    chunks: u64,
    record: R,
}

/// Takes down what is in a stream, in its order.
pub(super) trait Record {
    /// What there is to know of a part.
    type Part: Copy + Send;

    /// So many parts of this kind.
    fn add(&mut self, part: Self::Part, count: u64);
}

impl Record for () {
    type Part = ();

    fn add(&mut self, (): (), _: u64) {}
}

/// What stands for a chunk, and what there is to know of it.
#[derive(Debug, Clone, Default)]
pub(super) struct Part<P> {
    pub(super) bytes: Vec<u8>,
    pub(super) note: P,
}

impl<'a, R: Record> WholeDisk<'a, R> {
    /// A stream that begins with these bytes.
    pub(super) fn create(
        target: Target<'a>,
        head: &[u8],
        hole: Part<R::Part>,
        record: R,
    ) -> Result<Self, WriteError> {
        target.write_at(head, 0)?;
        let end = InTurn::new(End {
            offset_bytes: head.len() as u64,
            chunks: 0,
            record,
        });
        Ok(WholeDisk { target, hole, end })
    }

    pub(super) fn stop(&self) {
        self.end.stop();
    }

    /// Writes a chunk, and the zeros between the one before and this one.
    pub(super) fn write(&self, chunk: &Chunk, part: &Part<R::Part>) -> Result<(), WriteError> {
        let index = chunk.offset_bytes / CHUNK_BYTES as u64;
        let hole_bytes = self.hole.bytes.len() as u64;
        let placed = self.end.with(chunk.sequence, |end| {
            let holes = index.saturating_sub(end.chunks);
            let offset_bytes = end.offset_bytes;
            end.offset_bytes += holes * hole_bytes + part.bytes.len() as u64;
            end.chunks = index + 1;
            end.record.add(self.hole.note, holes);
            end.record.add(part.note, 1);
            (offset_bytes, holes)
        });
        let (offset_bytes, holes) = placed.ok_or(WriteError::Stopped)?;
        write_holes(self.target, &self.hole.bytes, offset_bytes, holes)?;
        self.target
            .write_at(&part.bytes, offset_bytes + holes * hole_bytes)
    }

    /// Writes the zeros up to the end of a disk of that size, and then what is made of all that was taken down.
    pub(super) fn finish(self, disk_bytes: u64, tail: impl FnOnce(R) -> Vec<u8>) -> Result<(), WriteError> {
        let WholeDisk { target, hole, end } = self;
        let mut end = end.into_inner();
        let chunks = disk_bytes.div_ceil(CHUNK_BYTES as u64);
        let holes = chunks.saturating_sub(end.chunks);
        write_holes(target, &hole.bytes, end.offset_bytes, holes)?;
        end.record.add(hole.note, holes);
        target.write_at(
            &tail(end.record),
            end.offset_bytes + holes * hole.bytes.len() as u64,
        )
    }
}

fn write_holes(
    target: Target<'_>,
    hole: &[u8],
    mut offset_bytes: u64,
    mut holes: u64,
) -> Result<(), WriteError> {
    let many = hole.repeat(holes.min(HOLES_AT_ONCE) as usize);
    while holes > 0 {
        let count = holes.min(HOLES_AT_ONCE);
        let bytes = many.get(..count as usize * hole.len()).unwrap_or_default();
        target.write_at(bytes, offset_bytes)?;
        offset_bytes += bytes.len() as u64;
        holes -= count;
    }
    Ok(())
}
