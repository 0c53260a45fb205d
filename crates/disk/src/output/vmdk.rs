//! A streamOptimized VMDK, in a file of its own, in an OVA, or in both: threads compress, places are given in the order of
//! the disk, threads write.

use libdeflater::adler32;
use osmith_formats::vmdk::{GRAIN_BYTES, PackedGrain, StreamLayout, pack_grain};

use super::ova::{Archive, Member};
use super::{Filled, Output, Target, WriteChunk};
use crate::chunk::CHUNK_BYTES;
use crate::error::WriteError;
use crate::turn::InTurn;

/// The name of the file, which its descriptor knows.
pub(super) const NAME: &str = "disk.vmdk";

/// A VMDK.
pub(crate) struct Vmdk<'a> {
    /// Where it goes, and from which offset on.
    copies: Vec<(Target<'a>, u64)>,
    archive: Option<Archive<'a>>,
    stream: InTurn<Stream>,
}

struct Stream {
    layout: StreamLayout,
    /// What an archive has to say of it.
    member: Option<Member>,
}

impl<'a> Vmdk<'a> {
    /// A VMDK of a disk of that size, in an empty file, in an archive, or in both.
    pub(crate) fn create(
        file: Option<Target<'a>>,
        archive: Option<Archive<'a>>,
        disk_bytes: u64,
        content_id: u32,
    ) -> Result<Self, WriteError> {
        let layout = StreamLayout::new(disk_bytes, content_id)?;
        let head = layout.head(NAME);
        let mut member = archive.as_ref().map(|_| Member::default());
        if let Some(member) = &mut member {
            member.add(&head)?;
        }
        let in_archive = archive
            .as_ref()
            .map(|archive| (archive.target, archive.vmdk_offset_bytes()));
        let disk = Vmdk {
            copies: file
                .map(|target| (target, 0))
                .into_iter()
                .chain(in_archive)
                .collect(),
            archive,
            stream: InTurn::new(Stream { layout, member }),
        };
        write_to(&disk.copies, &head, 0)?;
        Ok(disk)
    }
}

fn write_to(copies: &[(Target<'_>, u64)], bytes: &[u8], offset_bytes: u64) -> Result<(), WriteError> {
    copies
        .iter()
        .try_for_each(|(target, start)| target.write_at(bytes, start + offset_bytes))
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
        self.stream.stop();
    }

    fn finish(self: Box<Self>) -> Result<(), WriteError> {
        let Vmdk {
            copies,
            archive,
            stream,
        } = *self;
        let Stream { layout, member } = stream.into_inner();
        let (offset_bytes, tail) = layout.finish()?;
        write_to(&copies, &tail, offset_bytes)?;
        if let (Some(archive), Some(mut member)) = (archive, member) {
            member.add(&tail)?;
            archive.finish(member)?;
        }
        Ok(())
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
        let (packed, grains) = (&self.packed, &self.grains);
        let placed = self.disk.stream.with(filled.chunk.sequence, |stream| {
            let placed = stream.layout.place(grains)?;
            if let Some(member) = &mut stream.member {
                member.add(&placed.before)?;
                member.add(packed)?;
            }
            Ok::<_, WriteError>(placed)
        });
        let placed = placed.ok_or(WriteError::Stopped)??;
        let copies = &self.disk.copies;
        write_to(copies, &placed.before, placed.offset_bytes)?;
        let behind = placed.offset_bytes + placed.before.len() as u64;
        write_to(copies, &self.packed, behind)
    }
}
