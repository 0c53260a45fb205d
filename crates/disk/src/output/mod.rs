//! Output formats: what becomes of the chunks of a disk.

mod ami;
mod filled;
mod gce;
mod ova;
mod qcow2;
mod raw;
mod stream;
mod target;
mod vhd;
mod vmdk;
mod xz;
mod zst;

pub(crate) use filled::{Deflater, Filled};
pub(crate) use raw::{Raw, Withheld};
pub(crate) use target::Target;

use gce::Gce;
use osmith_formats::ova::Machine;
use osmith_formats::vhd::{Description, fixed_footer};
use ova::Archive;
use qcow2::Qcow2;
use vhd::DynamicVhd;
use vmdk::Vmdk;
use xz::Xz;
use zst::Zst;

use crate::chunk::Chunks;
use crate::contents;
use crate::error::WriteError;
use crate::identity::Labels;
use crate::plan::Plan;
use crate::spec::{Codec, OutputFile};
use crate::volume::VolumeLayout;

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
    /// Makes what is to be written of a chunk, and waits for nobody: most of the work belongs here.
    fn encode(&mut self, _filled: &Filled<'_>) -> Result<(), WriteError> {
        Ok(())
    }

    /// Writes what was made of it; may wait for the chunks before it.
    fn write(&mut self, filled: &Filled<'_>) -> Result<(), WriteError>;
}

/// The outputs that are written to these files, of a disk that is laid out so.
pub(crate) fn open<'a>(
    plan: &Plan,
    layouts: &[VolumeLayout<'_>],
    targets: impl Iterator<Item = (OutputFile, Target<'a>, Codec)>,
) -> Result<Vec<Box<dyn Output + 'a>>, WriteError> {
    let (size_bytes, labels) = (plan.size_bytes, &plan.stored.labels);
    let geometry = &plan.stored.geometry;
    let raw = |target| {
        let covered = contents::covered_bytes(geometry, layouts, raw::BLOCK_BYTES as u64, raw::MAX_ZEROS);
        Raw::create(target, size_bytes)?.reserve(&covered)
    };
    let (mut vmdk, mut archive) = (None, None);
    let mut outputs: Vec<Box<dyn Output + 'a>> = Vec::new();
    for (file, target, codec) in targets {
        outputs.push(match file {
            OutputFile::Raw => Box::new(raw(target)?),
            OutputFile::Qcow2 => Box::new(Qcow2::create(target, size_bytes, codec)?),
            OutputFile::Vhd => {
                let footer = fixed_footer(size_bytes, &description(labels, labels.vhd_uuid))?;
                Box::new(raw(target)?.with_footer(footer))
            }
            OutputFile::DynamicVhd => {
                let description = description(labels, labels.dynamic_vhd_uuid);
                Box::new(DynamicVhd::create(target, size_bytes, description)?)
            }
            OutputFile::Gce => Box::new(open_gce(plan, layouts, target)?),
            OutputFile::RawZst => Box::new(Zst::create(target, size_bytes)?),
            OutputFile::RawXz => Box::new(Xz::create(target, size_bytes)?),
            // One VMDK, which may go to both.
            OutputFile::Vmdk => {
                vmdk = Some(target);
                continue;
            }
            OutputFile::Ova => {
                archive = Some(Archive::new(target, machine(plan), labels.time_seconds));
                continue;
            }
            // Says nothing of the contents.
            OutputFile::AmiDescription => {
                target.write_at(&ami::description(plan), 0)?;
                continue;
            }
        });
    }
    if vmdk.is_some() || archive.is_some() {
        let vmdk = Vmdk::create(vmdk, archive, size_bytes, labels.vmdk_content_id)?;
        outputs.push(Box::new(vmdk));
    }
    Ok(outputs)
}

fn description(labels: &Labels, uuid: [u8; 16]) -> Description {
    Description {
        uuid,
        time_seconds: labels.time_seconds,
    }
}

fn machine(plan: &Plan) -> Machine {
    Machine {
        name: plan.stored.labels.name.clone(),
        vmdk_name: vmdk::NAME.to_owned(),
        disk_bytes: plan.size_bytes,
    }
}

fn open_gce<'a>(
    plan: &Plan,
    layouts: &[VolumeLayout<'_>],
    target: Target<'a>,
) -> Result<Gce<'a>, WriteError> {
    let stored = &plan.stored;
    let inconsistent = |_| WriteError::Inconsistent("the plan does not fit itself any more");
    let boot_code = stored.contents.boot_code.as_ref();
    let pieces =
        contents::pieces(&stored.table, boot_code, &stored.geometry, layouts).map_err(inconsistent)?;
    let chunks = Chunks::new(pieces);
    Gce::create(target, plan.size_bytes, chunks, stored.labels.time_seconds)
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
