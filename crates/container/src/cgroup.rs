//! The cgroup of a container with systemd: a directory of a cgroup2 file system that is its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use osmith_sys::OsError;

use crate::ContainerError;

/// How often removing it is tried: its processes take a moment to end.
const TRIES: u32 = 50;
const PAUSE: Duration = Duration::from_millis(20);

/// A cgroup that is removed, with all in it, when this is dropped.
pub(crate) struct Cgroup {
    path: PathBuf,
}

impl Cgroup {
    /// A new one in the directory `parent`, which is made if it is missing.
    pub(crate) fn create(parent: &Path, name: &str) -> Result<Self, ContainerError> {
        let path = parent.join(name);
        fs::create_dir_all(&path)
            .map_err(|error| ContainerError::Cgroup(OsError::from_io("create", path.display(), &error)))?;
        Ok(Cgroup { path })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        remove(&self.path);
    }
}

/// Ends all that is in a cgroup and removes it, with those below. What cannot be removed stays: an empty directory in
/// memory.
pub(crate) fn remove(path: &Path) {
    // Before Linux 5.14 there is no such file; the end of pid 1 has ended the others as well.
    let _ = fs::write(path.join("cgroup.kill"), "1");
    for _ in 0..TRIES {
        if remove_tree(path).is_ok() {
            return;
        }
        sleep(PAUSE);
    }
}

/// The files of a cgroup go with its directory.
fn remove_tree(path: &Path) -> std::io::Result<()> {
    let entries = match fs::read_dir(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path())?;
        }
    }
    fs::remove_dir(path)
}
