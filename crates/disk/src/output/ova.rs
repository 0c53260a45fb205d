//! An archive of a virtual machine, as vSphere imports it: description, manifest, VMDK.
//!
//! Description and manifest come first, but say how long the VMDK is and what its digest is. Their own lengths are known, so
//! room is left for them, and they are written when the VMDK is complete.

use osmith_formats::ova::{Machine, manifest};
use osmith_formats::tar::{BLOCK_BYTES, MAX_USTAR_BYTES, end_bytes, ustar_header};
use sha2::{Digest, Sha256};

use super::Target;
use crate::error::WriteError;

const DESCRIPTION: &str = "disk.ovf";
const MANIFEST: &str = "disk.mf";

/// An archive around a VMDK that is written from its front to its back.
pub(crate) struct Archive<'a> {
    pub(super) target: Target<'a>,
    machine: Machine,
    time_seconds: i64,
}

/// What there is to say of the VMDK, so far.
#[derive(Default)]
pub(super) struct Member {
    digest: Sha256,
    len_bytes: u64,
}

impl Member {
    /// Takes what comes next.
    pub(super) fn add(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        self.digest.update(bytes);
        self.len_bytes += bytes.len() as u64;
        match self.len_bytes > MAX_USTAR_BYTES {
            true => Err(WriteError::OvaTooLong),
            false => Ok(()),
        }
    }
}

impl<'a> Archive<'a> {
    pub(crate) fn new(target: Target<'a>, machine: Machine, time_seconds: i64) -> Self {
        Archive {
            target,
            machine,
            time_seconds,
        }
    }

    /// Where the VMDK begins.
    pub(super) fn vmdk_offset_bytes(&self) -> u64 {
        let members = [
            self.machine.len_bytes(),
            self.manifest([0; 32], [0; 32]).len() as u64,
        ];
        let before: u64 = members
            .iter()
            .map(|len_bytes| BLOCK_BYTES + len_bytes.next_multiple_of(BLOCK_BYTES))
            .sum();
        before + BLOCK_BYTES
    }

    /// Writes what comes before the VMDK, and what comes after it.
    pub(super) fn finish(&self, vmdk: Member) -> Result<(), WriteError> {
        let description = self.machine.to_xml(vmdk.len_bytes);
        let manifest = self.manifest(Sha256::digest(&description).into(), vmdk.digest.finalize().into());
        let mut head = Vec::new();
        self.append(DESCRIPTION, &description, &mut head)?;
        self.append(MANIFEST, manifest.as_bytes(), &mut head)?;
        head.extend(ustar_header(
            &self.machine.vmdk_name,
            vmdk.len_bytes,
            self.time_seconds,
        )?);
        let end_offset = head.len() as u64 + vmdk.len_bytes;
        self.target
            .write_at(&vec![0; end_bytes(end_offset) as usize], end_offset)?;
        self.target.write_at(&head, 0)
    }

    fn append(&self, name: &str, contents: &[u8], archive: &mut Vec<u8>) -> Result<(), WriteError> {
        archive.extend(ustar_header(name, contents.len() as u64, self.time_seconds)?);
        archive.extend_from_slice(contents);
        archive.resize(archive.len().next_multiple_of(BLOCK_BYTES as usize), 0);
        Ok(())
    }

    fn manifest(&self, of_description: [u8; 32], of_vmdk: [u8; 32]) -> String {
        manifest(&[(DESCRIPTION, of_description), (&self.machine.vmdk_name, of_vmdk)])
    }
}
