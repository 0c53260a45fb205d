//! Identifiers: derived, not drawn, so that the same image and seed give the same disk.

use osmith_formats::gpt::Guid;
use osmith_image::{Reference, Sha256Digest};
use sha2::{Digest, Sha256};

/// Changes whenever identifiers are derived in another way.
const DOMAIN: &[u8] = b"osmith disk identifiers 1\0";

/// What identifiers are derived from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Identity<'a> {
    pub(crate) seed: u64,
    /// The image; disks of different images can stand in one machine.
    pub(crate) manifest_digest: &'a Sha256Digest,
}

impl Identity<'_> {
    /// A random-type UUID for a role: each role of a disk has another one.
    pub(crate) fn guid(&self, role: &str) -> Guid {
        Guid::from_random_bytes(self.bytes(role))
    }

    /// The identity of a FAT file system.
    pub(crate) fn volume_id(&self, role: &str) -> u32 {
        let [a, b, c, d, ..] = self.bytes(role);
        u32::from_le_bytes([a, b, c, d])
    }

    /// The same as `/dev/disk/by-uuid` has it.
    pub(crate) fn volume_uuid(&self, role: &str) -> String {
        volume_uuid(self.volume_id(role))
    }

    /// Sixteen bytes for a role.
    pub(crate) fn bytes(&self, role: &str) -> [u8; 16] {
        let mut hasher = Sha256::new();
        hasher.update(DOMAIN);
        hasher.update(self.seed.to_le_bytes());
        hasher.update(self.manifest_digest.as_bytes());
        hasher.update(role);
        let hash: [u8; 32] = hasher.finalize().into();
        let mut bytes = [0; 16];
        bytes.copy_from_slice(hash.split_at(16).0);
        bytes
    }
}

/// What output formats say of a disk beside its contents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Labels {
    /// What the image is called, without registry and tag.
    pub(crate) name: String,
    pub(crate) vmdk_content_id: u32,
    pub(crate) vhd_uuid: [u8; 16],
    pub(crate) dynamic_vhd_uuid: [u8; 16],
    /// When the image was made.
    pub(crate) time_seconds: i64,
}

impl Labels {
    pub(crate) fn derive(identity: &Identity<'_>, image: &Reference, time_seconds: i64) -> Self {
        let path = image.path();
        Labels {
            name: path.rsplit('/').next().unwrap_or(path).to_owned(),
            vmdk_content_id: identity.volume_id("vmdk content"),
            vhd_uuid: identity.bytes("vhd"),
            dynamic_vhd_uuid: identity.bytes("dynamic vhd"),
            time_seconds,
        }
    }
}

/// The identity of a FAT file system as `/dev/disk/by-uuid` has it.
pub(crate) fn volume_uuid(volume_id: u32) -> String {
    format!("{:04X}-{:04X}", volume_id >> 16, volume_id & 0xffff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seed_image_and_role_all_count() {
        let (one, other) = (Sha256Digest::of(b"1"), Sha256Digest::of(b"2"));
        let identity = |seed, manifest_digest| Identity {
            seed,
            manifest_digest,
        };
        let guid = identity(0, &one).guid("root");
        assert_eq!(guid, identity(0, &one).guid("root"));
        assert_ne!(guid, identity(1, &one).guid("root"));
        assert_ne!(guid, identity(0, &other).guid("root"));
        assert_ne!(guid, identity(0, &one).guid("esp"));
        assert_eq!(guid.to_string().as_bytes()[14], b'4');
    }
}
