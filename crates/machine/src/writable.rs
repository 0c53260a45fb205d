//! Writable layers over folders of the read-only root.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use osmith_sys::file::open_beneath;
use osmith_sys::mount::{Attributes, DetachedMount, Feature, Layer, Overlay, tmpfs};
use osmith_sys::{OsError, Result};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY);

/// A layer in memory: gone with the next start.
pub(crate) fn in_memory(source: &str, lower: Layer, scratch: &Path) -> Result<DetachedMount> {
    let memory = tmpfs("osmith", "0755", None)?;
    // An overlay does not take its upper layer from a mount that is attached nowhere on kernels before 6.15.
    let folder = scratch.join("upper");
    std::fs::create_dir_all(&folder).map_err(|error| OsError::from_io("create", folder.display(), &error))?;
    let place = osmith_sys::file::open_directory(&folder)?;
    let memory = memory.attach(&place, "")?;
    overlay(source, lower, &memory, scratch)
}

/// A layer in `upper` and `work` of a folder of the deployment's state.
pub(crate) fn on_disk(
    name: &'static str,
    root: BorrowedFd,
    state: &OwnedFd,
    scratch: &Path,
) -> Result<DetachedMount> {
    let lower = open_beneath(root, name, DIRECTORY, Mode::empty())?;
    overlay(name, Layer::Attached(lower.as_fd()), state, scratch)
}

fn overlay(source: &str, lower: Layer, folder: &OwnedFd, scratch: &Path) -> Result<DetachedMount> {
    let upper = ensure_folder(folder, "upper", 0o755)?;
    let work = ensure_folder(folder, "work", 0o700)?;
    let overlay = Overlay {
        source,
        lower,
        data: None,
        upper: Some((upper.as_fd(), work.as_fd())),
        attributes: Attributes::Trusted,
        metacopy: Feature::Unset,
        redirect: Feature::Unset,
        verity_required: false,
        volatile: false,
    };
    overlay.mount(scratch)
}

fn ensure_folder(parent: &OwnedFd, name: &'static str, mode: u32) -> Result<OwnedFd> {
    match rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(mode)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(OsError::new("create", name, errno)),
    }
    open_beneath(parent, name, DIRECTORY, Mode::empty())
}
