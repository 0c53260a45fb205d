//! Output formats: what becomes of the chunks of a disk.

mod qcow2;
mod raw;

pub(crate) use qcow2::Qcow2;
pub(crate) use raw::Raw;

use crate::chunk::Chunk;
use crate::error::WriteError;

/// A file in an output format. Threads write chunks to it, each with a writer of its own.
pub(crate) trait Output: Sync {
    /// A writer for one thread.
    fn writer(&self) -> Result<Box<dyn WriteChunk + '_>, WriteError>;

    /// Ends all waiting of writers: one of the threads failed.
    fn stop(&self);

    /// Completes the file after the last chunk.
    fn finish(self: Box<Self>) -> Result<(), WriteError>;
}

/// Writes chunks.
pub(crate) trait WriteChunk {
    /// Writes the bytes of a chunk.
    fn write(&mut self, chunk: &Chunk, bytes: &[u8]) -> Result<(), WriteError>;
}

/// Whether all bytes are zero. Looks at 64 bytes at a time, which become vector instructions.
fn is_zero(bytes: &[u8]) -> bool {
    let blocks = bytes.chunks_exact(64);
    let rest = blocks.remainder();
    blocks
        .chain([rest])
        .all(|block| block.iter().fold(0, |any, byte| any | byte) == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_byte_is_enough_not_to_be_zero() {
        for length in [0, 1, 63, 64, 65, 4096, 5000] {
            assert!(is_zero(&vec![0; length]));
            for place in [0, length / 2, length.saturating_sub(1)]
                .into_iter()
                .filter(|place| *place < length)
            {
                let mut bytes = vec![0; length];
                bytes[place] = 1;
                assert!(!is_zero(&bytes), "{place} of {length}");
            }
        }
    }
}
