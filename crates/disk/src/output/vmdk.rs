//! A streamOptimized VMDK: threads compress, places are given in the order of the disk, threads write.

use libdeflater::adler32;
use osmith_formats::vmdk::{GRAIN_BYTES, PackedGrain, StreamLayout, pack_grain};

use super::{Filled, Output, Target, WriteChunk};
use crate::chunk::CHUNK_BYTES;
use crate::error::WriteError;
use crate::turn::InTurn;

/// The name that the descriptor has for the file.
const NAME: &str = "disk.vmdk";

/// A VMDK.
pub(crate) struct Vmdk<'a> {
    target: Target<'a>,
    layout: InTurn<StreamLayout>,
}

impl<'a> Vmdk<'a> {
    /// A VMDK of a disk of that size in an empty file.
    pub(crate) fn create(target: Target<'a>, disk_bytes: u64, content_id: u32) -> Result<Self, WriteError> {
        let layout = StreamLayout::new(disk_bytes, content_id)?;
        target.write_at(&layout.head(NAME), 0)?;
        Ok(Vmdk {
            target,
            layout: InTurn::new(layout),
        })
    }
}

impl Output for Vmdk<'_> {
    fn writer(&self) -> Result<Box<dyn WriteChunk + '_>, WriteError> {
        Ok(Box::new(VmdkWriter {
            disk: self,
            packed: Vec::with_capacity(CHUNK_BYTES),
            grains: Vec::new(),
        }))
    }

    fn stop(&self) {
        self.layout.stop();
    }

    fn finish(self: Box<Self>) -> Result<(), WriteError> {
        let (offset_bytes, tail) = self.layout.into_inner().finish()?;
        self.target.write_at(&tail, offset_bytes)
    }
}

struct VmdkWriter<'a> {
    disk: &'a Vmdk<'a>,
    /// The grains of a chunk, one behind the other.
    packed: Vec<u8>,
    grains: Vec<PackedGrain>,
}

impl WriteChunk for VmdkWriter<'_> {
    fn encode(&mut self, filled: &Filled<'_>) -> Result<(), WriteError> {
        self.packed.clear();
        self.grains.clear();
        let first = filled.chunk.offset_bytes / GRAIN_BYTES;
        for (index, (bytes, grain)) in filled.grains().zip(first..).enumerate() {
            if !filled.is_zero_grain(index) {
                let deflated = filled.deflated_grain(index)?;
                let packed = pack_grain(grain, deflated, adler32(bytes), &mut self.packed);
                self.grains.push(packed);
            }
        }
        Ok(())
    }

    fn write(&mut self, filled: &Filled<'_>) -> Result<(), WriteError> {
        let grains = &self.grains;
        let placed = self
            .disk
            .layout
            .with(filled.chunk.sequence, |layout| layout.place(grains));
        let placed = placed.ok_or(WriteError::Stopped)??;
        let target = self.disk.target;
        target.write_at(&placed.before, placed.offset_bytes)?;
        target.write_at(&self.packed, placed.offset_bytes + placed.before.len() as u64)
    }
}
