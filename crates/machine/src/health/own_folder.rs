//! Osmith's own folder on a machine, writable, while everybody else sees the physical root read-only.

use std::path::{Path, PathBuf};

use osmith_sys::file::{descriptor_path, open_directory};
use osmith_sys::mount::{DetachedMount, MountAttrFlags};

use super::HealthError;
use crate::machine::OWN;

/// A mount of the physical root that only this process can use, as long as this is kept. A mount namespace of its own
/// would do the same, but the checks are to see the machine as it is.
#[derive(Debug)]
pub struct OwnFolder {
    mount: DetachedMount,
}

impl OwnFolder {
    /// The folder of the machine whose root directory is `root`. Needs root.
    pub fn open(root: &Path) -> Result<Self, HealthError> {
        let physical = open_directory(root.join("sysroot"))?;
        let mount = DetachedMount::clone_of(&physical, "", false)?;
        mount.set_attributes(MountAttrFlags::empty(), MountAttrFlags::MOUNT_ATTR_RDONLY, false)?;
        Ok(OwnFolder { mount })
    }

    /// Where it is; it need not exist.
    pub fn path(&self) -> PathBuf {
        descriptor_path(&self.mount).join(OWN)
    }
}
