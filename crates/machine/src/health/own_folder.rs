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

#[cfg(test)]
mod tests {
    use osmith_sys::mount::enter_namespace;

    use super::*;

    #[test]
    fn it_can_be_written_to_though_the_root_is_read_only() {
        if !osmith_testing::oracle::require_root("a read-only mount") {
            return;
        }
        // Only the thread of this test sees the mount.
        enter_namespace().unwrap();
        let root = tempfile::tempdir().unwrap();
        let sysroot = root.path().join("sysroot");
        std::fs::create_dir_all(sysroot.join(OWN)).unwrap();
        let physical = open_directory(&sysroot).unwrap();
        let mount = DetachedMount::clone_of(&physical, "", false).unwrap();
        mount.set_read_only(false).unwrap();
        let mount = mount.attach(&physical, "").unwrap();
        let file = sysroot.join(OWN).join("file");
        let error = std::fs::write(&file, "").unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
        let own = OwnFolder::open(root.path()).unwrap();
        std::fs::write(own.path().join("file"), "text").unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "text");
        drop((own, mount));
        osmith_sys::mount::detach(&sysroot).unwrap();
    }
}
