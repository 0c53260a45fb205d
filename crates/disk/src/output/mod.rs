//! Output formats: what becomes of the chunks of a disk.

mod filled;
mod qcow2;
mod raw;
mod target;
mod vhd;
mod vmdk;

pub(crate) use filled::{Deflater, Filled};
pub(crate) use raw::Raw;
pub(crate) use target::Target;

use osmith_formats::vhd::{Description, fixed_footer};
use qcow2::Qcow2;
use vhd::DynamicVhd;
use vmdk::Vmdk;

use crate::error::WriteError;
use crate::plan::Plan;
use crate::spec::{Codec, OutputFile};

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

/// The outputs that are written to these files.
pub(crate) fn open<'a>(
    plan: &Plan,
    targets: impl Iterator<Item = (OutputFile, Target<'a>, Codec)>,
) -> Result<Vec<Box<dyn Output + 'a>>, WriteError> {
    let (size_bytes, labels) = (plan.size_bytes, &plan.stored.labels);
    let mut outputs: Vec<Box<dyn Output + 'a>> = Vec::new();
    for (file, target, codec) in targets {
        outputs.push(match file {
            OutputFile::Raw => Box::new(Raw::create(target, size_bytes)?),
            OutputFile::Qcow2 => Box::new(Qcow2::create(target, size_bytes, codec)?),
            OutputFile::Vmdk => Box::new(Vmdk::create(target, size_bytes, labels.vmdk_content_id)?),
            OutputFile::Vhd => {
                let description = Description {
                    uuid: labels.vhd_uuid,
                    time_seconds: labels.time_seconds,
                };
                let footer = fixed_footer(size_bytes, &description)?;
                Box::new(Raw::create(target, size_bytes)?.with_footer(footer))
            }
            OutputFile::DynamicVhd => {
                let description = Description {
                    uuid: labels.dynamic_vhd_uuid,
                    time_seconds: labels.time_seconds,
                };
                Box::new(DynamicVhd::create(target, size_bytes, description)?)
            }
        });
    }
    Ok(outputs)
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
