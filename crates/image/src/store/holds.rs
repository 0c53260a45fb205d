//! Images that something other than a name needs: the containers that run on them.
//!
//! A holder has a name of 64 hexadecimal digits. Its file `holds/<holder>` has the digest of the image's manifest. As
//! long as it is there, neither [`Store::prune`] nor [`Store::remove_image`] takes anything away that the image needs.

use super::images::parse_digest;
use super::{Store, StoreError, files};
use crate::digest::Sha256Digest;

pub(super) const HOLDS: &str = "holds";

impl Store {
    /// Keeps the image with this manifest until [`Store::release`].
    pub fn hold(&self, holder: &Sha256Digest, image: &Sha256Digest) -> Result<(), StoreError> {
        self.require_writable()?;
        let path = hold_path(holder);
        let content = format!("{image}\n");
        files::write_durably(self.root(), &path, content.as_bytes())
            .map_err(|error| self.io("write", &path, error))
    }

    /// Lets go of what the holder holds, if it holds anything.
    pub fn release(&self, holder: &Sha256Digest) -> Result<(), StoreError> {
        self.require_writable()?;
        let path = hold_path(holder);
        files::remove(self.root(), &path)
            .map(drop)
            .map_err(|error| self.io("remove", &path, error))
    }

    /// All holders, and the digests of the manifests that they hold.
    pub fn holds(&self) -> Result<Vec<(Sha256Digest, Sha256Digest)>, StoreError> {
        let mut holds = Vec::new();
        for (name, _) in self.list(HOLDS)? {
            let Ok(holder) = Sha256Digest::from_hex(&name) else {
                continue;
            };
            let Some(bytes) = self.read(&hold_path(&holder))? else {
                continue;
            };
            let digest = parse_digest(&bytes).ok_or(StoreError::Damaged { what: "hold", name })?;
            holds.push((holder, digest));
        }
        Ok(holds)
    }

    /// An error that names the holders of an image, if there are any.
    pub(super) fn require_not_held(&self, digest: &Sha256Digest) -> Result<(), StoreError> {
        let holds = self.holds()?.into_iter();
        let holders: Vec<_> = holds
            .filter(|(_, held)| held == digest)
            .map(|(holder, _)| holder)
            .collect();
        match holders.is_empty() {
            true => Ok(()),
            false => Err(StoreError::Held {
                image: *digest,
                holders,
            }),
        }
    }
}

fn hold_path(holder: &Sha256Digest) -> String {
    format!("{HOLDS}/{}", holder.hex())
}
