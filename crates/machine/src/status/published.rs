//! The state of a machine for everybody: root leaves it in memory after every change, at `run/osmith/status.json`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use osmith_formats::verity::Digest;

use super::{Status, mounts, status};

/// Makes known what can be found out now. Only root finds out all of it.
pub fn publish(root: &Path) -> io::Result<()> {
    let status = status(root).map_err(io::Error::other)?;
    let path = path(root);
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let temporary = path.with_extension("tmp");
    fs::write(&temporary, serde_json::to_vec(&status)?)?;
    fs::rename(&temporary, &path)
}

/// What was published since the machine was started from this deployment.
pub(super) fn read(root: &Path, booted: &Digest) -> Option<Status> {
    let status: Status = serde_json::from_slice(&fs::read(path(root)).ok()?).ok()?;
    let composefs = status.host.status.booted.as_ref()?.composefs.as_ref()?;
    (composefs.verity == booted.to_string()).then_some(status)
}

impl Status {
    /// What everybody sees is as it is now.
    pub(super) fn at_present(mut self, mountinfo: &str) -> Self {
        self.host.status.usr_overlay = mounts::usr_overlay(mountinfo);
        self
    }
}

fn path(root: &Path) -> PathBuf {
    root.join("run/osmith/status.json")
}
