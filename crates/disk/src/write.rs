//! The pass over the disk: threads take chunks in disk order, read and check what belongs in them, and write them to
//! all outputs.
//!
//! Nothing is queued: a thread carries a chunk from the objects to the outputs, so memory is a few chunks a thread,
//! whatever the size of the disk. A thread only ever waits for chunks taken before its own (for the rest of a file
//! that it needs measured, for its turn in an output), and the thread with the oldest one for nothing.

use std::sync::{Mutex, PoisonError};

use crate::chunk::{CHUNK_BYTES, Chunk, Filling, Segment};
use crate::error::WriteError;
use crate::output::{Deflater, Filled, Output};
use crate::source::Sources;

use osmith_formats::verity::{BLOCK_BYTES, HASH_BYTES, hash_each};
use osmith_sys::file::PageBuffer;

/// Is told how much was written; may stop the work.
pub(crate) type Advance<'a> = dyn Fn(u64) -> Result<(), WriteError> + Sync + 'a;

/// Writes all chunks to all outputs, and completes those.
pub(crate) fn write(
    chunks: impl Iterator<Item = Chunk> + Send,
    sources: &Sources<'_>,
    outputs: Vec<Box<dyn Output + '_>>,
    threads: usize,
    advance: &Advance<'_>,
) -> Result<(), WriteError> {
    let pass = Pass {
        chunks: Mutex::new(chunks),
        sources,
        outputs: &outputs,
        advance,
        failure: Mutex::new(None),
    };
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| pass.work());
        }
    });
    let failure = pass.failure.into_inner().unwrap_or_else(PoisonError::into_inner);
    match failure {
        Some(error) => Err(error),
        None => outputs.into_iter().try_for_each(|output| output.finish()),
    }
}

struct Pass<'a, I> {
    chunks: Mutex<I>,
    sources: &'a Sources<'a>,
    outputs: &'a [Box<dyn Output + 'a>],
    advance: &'a Advance<'a>,
    /// The first one.
    failure: Mutex<Option<WriteError>>,
}

impl<I: Iterator<Item = Chunk>> Pass<'_, I> {
    /// What a thread does.
    fn work(&self) {
        if let Err(error) = self.write_chunks() {
            self.failure
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .get_or_insert(error);
            self.sources.stop();
            self.outputs.iter().for_each(|output| output.stop());
        }
    }

    fn write_chunks(&self) -> Result<(), WriteError> {
        let writers: Result<Vec<_>, _> = self.outputs.iter().map(|output| output.writer()).collect();
        let mut writers = writers?;
        let mut bytes = PageBuffer::new(CHUNK_BYTES);
        let deflater = Deflater::default();
        while let Some(chunk) = self.next_chunk() {
            fill(&chunk.segments, self.sources, &mut bytes)?;
            let filled = Filled::new(&chunk, &bytes, &deflater);
            for writer in &mut writers {
                writer.encode(&filled)?;
            }
            for writer in &mut writers {
                writer.write(&filled)?;
            }
            (self.advance)(chunk.segments.iter().map(|segment| segment.len as u64).sum())?;
        }
        Ok(())
    }

    /// The next chunk, unless a thread failed.
    fn next_chunk(&self) -> Option<Chunk> {
        let mut chunks = self.chunks.lock().unwrap_or_else(PoisonError::into_inner);
        let failed = self
            .failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_some();
        if failed { None } else { chunks.next() }
    }
}

/// Makes the bytes of a chunk.
fn fill(segments: &[Segment], sources: &Sources<'_>, bytes: &mut [u8]) -> Result<(), WriteError> {
    let mut end = 0;
    for segment in segments {
        bytes.get_mut(end..segment.start).ok_or(BEYOND)?.fill(0);
        end = segment.start + segment.len;
    }
    bytes.get_mut(end..).ok_or(BEYOND)?.fill(0);
    for segment in segments {
        let space = space_of(segment, bytes)?;
        match &segment.filling {
            Filling::Bytes(filling) => space.copy_from_slice(filling.get(..space.len()).ok_or(BEYOND)?),
            Filling::Data { file, at_bytes } => sources.read(*file, *at_bytes, space)?,
            Filling::Verity { .. } => {}
        }
    }
    hash(segments, sources, bytes)?;
    for segment in segments {
        if let Filling::Verity { file, at_bytes } = &segment.filling {
            sources.verity(*file, *at_bytes, space_of(segment, bytes)?)?;
        }
    }
    Ok(())
}

const BEYOND: WriteError = WriteError::Inconsistent("a segment ends behind its chunk");

fn space_of<'a>(segment: &Segment, bytes: &'a mut [u8]) -> Result<&'a mut [u8], WriteError> {
    bytes
        .get_mut(segment.start..segment.start + segment.len)
        .ok_or(BEYOND)
}

/// Hashes the contents of all files in a chunk together, since most files are shorter than what is hashed at once.
fn hash(segments: &[Segment], sources: &Sources<'_>, bytes: &[u8]) -> Result<(), WriteError> {
    let mut blocks = Vec::with_capacity(CHUNK_BYTES / BLOCK_BYTES);
    let mut parts = Vec::with_capacity(segments.len());
    for segment in segments {
        let Filling::Data { file, at_bytes } = segment.filling else {
            continue;
        };
        if !sources.is_measured(file)? {
            continue;
        }
        // What follows the end of the file in its last block is zero, as fs-verity wants it.
        let padded = segment.start + segment.len.next_multiple_of(BLOCK_BYTES);
        let (whole, _) = bytes
            .get(segment.start..padded)
            .ok_or(BEYOND)?
            .as_chunks::<BLOCK_BYTES>();
        parts.push((file, at_bytes, whole.len()));
        blocks.extend(whole);
    }
    let mut hashes = Vec::with_capacity(blocks.len() * HASH_BYTES);
    hash_each(&blocks, &mut hashes);
    let mut rest = hashes.as_slice();
    for (file, at_bytes, block_count) in parts {
        let (of_part, others) = rest.split_at_checked(block_count * HASH_BYTES).ok_or(BEYOND)?;
        sources.take_hashes(file, at_bytes, of_part)?;
        rest = others;
    }
    Ok(())
}
