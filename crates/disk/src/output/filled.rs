//! A chunk with its bytes, and what several outputs want to know of them, which is computed once.

use std::cell::{OnceCell, RefCell};
use std::ops::Range;

use libdeflater::{CompressionLvl, Compressor};

use super::is_zero;
use crate::chunk::{CHUNK_BYTES, Chunk};
use crate::error::WriteError;

/// What qcow2 and VMDK compress at a time.
pub(crate) const GRAIN: usize = 64 << 10;
const GRAINS: usize = CHUNK_BYTES / GRAIN;
/// Compression is most of the work: with level 4 a whole disk took 1.6 times the processor time.
const DEFLATE_LEVEL: i32 = 1;

/// A chunk with its bytes, in the hands of one thread.
pub(crate) struct Filled<'a> {
    pub(crate) chunk: &'a Chunk,
    /// [`CHUNK_BYTES`].
    pub(crate) bytes: &'a [u8],
    deflater: &'a Deflater,
    zero_grains: OnceCell<[bool; GRAINS]>,
    deflated: OnceCell<Deflated>,
}

/// The compressor of one thread.
pub(crate) struct Deflater(RefCell<Compressor>);

/// The grains that are not zero, each as a raw deflate stream.
#[derive(Default)]
struct Deflated {
    packed: Vec<u8>,
    grains: Vec<Range<usize>>,
}

impl Default for Deflater {
    fn default() -> Self {
        let level = CompressionLvl::new(DEFLATE_LEVEL).unwrap_or_default();
        Deflater(RefCell::new(Compressor::new(level)))
    }
}

impl<'a> Filled<'a> {
    pub(crate) fn new(chunk: &'a Chunk, bytes: &'a [u8], deflater: &'a Deflater) -> Self {
        Filled {
            chunk,
            bytes,
            deflater,
            zero_grains: OnceCell::new(),
            deflated: OnceCell::new(),
        }
    }

    /// The bytes, grain by grain.
    pub(crate) fn grains(&self) -> impl Iterator<Item = &'a [u8]> {
        self.bytes.chunks_exact(GRAIN)
    }

    /// Whether that grain is all zeros.
    pub(crate) fn is_zero_grain(&self, index: usize) -> bool {
        let zero_grains = self.zero_grains.get_or_init(|| {
            let mut zero = [true; GRAINS];
            for (zero, grain) in zero.iter_mut().zip(self.grains()) {
                *zero = is_zero(grain);
            }
            zero
        });
        zero_grains.get(index).copied().unwrap_or(true)
    }

    /// That grain, which is not all zeros, as a raw deflate stream. It may be longer than the grain.
    pub(crate) fn deflated_grain(&self, index: usize) -> Result<&[u8], WriteError> {
        let deflated = match self.deflated.get() {
            Some(deflated) => deflated,
            None => {
                let deflated = self.deflate()?;
                self.deflated.get_or_init(|| deflated)
            }
        };
        let grain = deflated.grains.get(index).cloned();
        grain
            .and_then(|range| deflated.packed.get(range))
            .ok_or(WriteError::Inconsistent("a grain lies behind its chunk"))
    }

    fn deflate(&self) -> Result<Deflated, WriteError> {
        let mut compressor = self.deflater.0.borrow_mut();
        let bound = compressor.deflate_compress_bound(GRAIN);
        let mut deflated = Deflated {
            packed: Vec::with_capacity(CHUNK_BYTES / 2 + bound),
            grains: Vec::with_capacity(GRAINS),
        };
        for (index, grain) in self.grains().enumerate() {
            let start = deflated.packed.len();
            if !self.is_zero_grain(index) {
                deflated.packed.resize(start + bound, 0);
                let room = deflated.packed.get_mut(start..).unwrap_or_default();
                let length = compressor.deflate_compress(grain, room);
                let length =
                    length.map_err(|error| WriteError::Compress(std::io::Error::other(error.to_string())))?;
                deflated.packed.truncate(start + length);
            }
            deflated.grains.push(start..deflated.packed.len());
        }
        Ok(deflated)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grains_are_found_again() {
        let mut bytes = vec![0; CHUNK_BYTES];
        bytes[3 * GRAIN..4 * GRAIN].fill(7);
        bytes[CHUNK_BYTES - 1] = 9;
        let chunk = Chunk {
            sequence: 0,
            offset_bytes: 0,
            segments: Vec::new(),
        };
        let deflater = Deflater::default();
        let filled = Filled::new(&chunk, &bytes, &deflater);
        for (index, grain) in filled.grains().enumerate() {
            let is_zero = ![3, GRAINS - 1].contains(&index);
            assert_eq!(filled.is_zero_grain(index), is_zero);
            if !is_zero {
                let mut inflated = vec![0; GRAIN];
                let packed = filled.deflated_grain(index).unwrap();
                libdeflater::Decompressor::new()
                    .deflate_decompress(packed, &mut inflated)
                    .unwrap();
                assert_eq!(inflated, grain);
            }
        }
        assert!(filled.deflated_grain(GRAINS).is_err());
    }
}
