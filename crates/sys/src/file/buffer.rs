//! Memory to read into and write from.

use std::ops::{Deref, DerefMut};

const PAGE_BYTES: usize = 4096;

/// Bytes of which the first is the first of a page, as in the kernel's own cache: the string instructions that it
/// copies with are slow on some processors where source and target are shifted by a few bytes, and writes past the
/// cache must start so.
#[derive(Debug)]
pub struct PageBuffer {
    storage: Vec<u8>,
    start: usize,
    len_bytes: usize,
}

impl PageBuffer {
    /// Zeros of that length.
    pub fn new(len_bytes: usize) -> Self {
        let storage = vec![0; len_bytes + PAGE_BYTES];
        let start = storage.as_ptr().align_offset(PAGE_BYTES).min(PAGE_BYTES);
        PageBuffer {
            storage,
            start,
            len_bytes,
        }
    }
}

impl Deref for PageBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.storage[self.start..self.start + self.len_bytes]
    }
}

impl DerefMut for PageBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.storage[self.start..self.start + self.len_bytes]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_with_a_page_also_after_it_was_moved() {
        let buffers: Vec<_> = [0, 1, 4096, 100_000].map(PageBuffer::new).into();
        for (mut buffer, length) in buffers.into_iter().zip([0, 1, 4096, 100_000]) {
            assert_eq!(buffer.len(), length);
            assert_eq!(buffer.as_ptr().addr() % PAGE_BYTES, 0);
            buffer.fill(1);
        }
    }
}
