//! Writable layers over folders of the read-only root.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use osmith_sys::file::open_beneath;
use osmith_sys::mount::{Attributes, DetachedMount, Feature, Layer, Overlay, tmpfs};
use osmith_sys::{OsError, Result};
use rustix::fs::{Gid, Mode, OFlags, Uid};
use rustix::io::Errno;

/// The folders of a layer in the folder that holds it.
pub(crate) const UPPER: &str = "upper";
pub(crate) const WORK: &str = "work";
const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY);

/// A layer in memory: gone with the next start.
pub(crate) fn in_memory(source: &str, lower: Layer, scratch: &Path) -> Result<DetachedMount> {
    in_memory_of(source, lower, scratch, None)
}

/// The same with at most so many bytes; half of the memory if nothing is said.
pub(crate) fn in_memory_of(
    source: &str,
    lower: Layer,
    scratch: &Path,
    size_bytes: Option<u64>,
) -> Result<DetachedMount> {
    let memory = tmpfs("osmith", "0755", size_bytes)?;
    // An overlay does not take its upper layer from a mount that is attached nowhere on kernels before 6.15.
    let folder = scratch.join("upper");
    std::fs::create_dir_all(&folder).map_err(|error| OsError::from_io("create", folder.display(), &error))?;
    let place = osmith_sys::file::open_directory(&folder)?;
    let memory = memory.attach(&place, "")?;
    overlay(source, lower, &memory, Feature::Unset, scratch)
}

/// A layer in `upper` and `work` of a folder of the deployment's state. What overlay can do only as long as the folder
/// below stays the same is switched off: `/var` has another one after an update.
pub(crate) fn on_disk(
    name: &'static str,
    root: BorrowedFd,
    state: &OwnedFd,
    scratch: &Path,
) -> Result<DetachedMount> {
    let lower = open_beneath(root, name, DIRECTORY, Mode::empty())?;
    over(Layer::Attached(lower.as_fd()), state, scratch)
}

/// A layer in `upper` and `work` of a folder that stays.
pub(crate) fn over(lower: Layer, folder: &OwnedFd, scratch: &Path) -> Result<DetachedMount> {
    overlay("overlay", lower, folder, Feature::Off, scratch)
}

fn overlay(
    source: &str,
    lower: Layer,
    folder: &OwnedFd,
    copies: Feature,
    scratch: &Path,
) -> Result<DetachedMount> {
    let upper = ensure_upper(folder, lower)?;
    let (work, _) = ensure_folder(folder, WORK, 0o700)?;
    let overlay = Overlay {
        source,
        lower,
        data: None,
        upper: Some((upper.as_fd(), work.as_fd())),
        attributes: Attributes::Trusted,
        metacopy: copies,
        redirect: copies,
        verity_required: false,
        volatile: false,
    };
    overlay.mount(scratch)
}

/// The writable layer of a folder; a new one has owner and permissions of the folder below, as what is mounted is seen
/// with those of the layer.
pub(crate) fn ensure_upper(folder: impl AsFd, lower: impl AsFd) -> Result<OwnedFd> {
    let (upper, is_new) = ensure_folder(folder, UPPER, 0o755)?;
    if is_new {
        describe(&upper, lower.as_fd()).map_err(|errno| OsError::new("describe", UPPER, errno))?;
    }
    Ok(upper)
}

fn describe(upper: &OwnedFd, lower: BorrowedFd<'_>) -> rustix::io::Result<()> {
    let stat = rustix::fs::fstat(lower)?;
    rustix::fs::fchown(
        upper,
        Some(Uid::from_raw(stat.st_uid)),
        Some(Gid::from_raw(stat.st_gid)),
    )?;
    rustix::fs::fchmod(upper, Mode::from_raw_mode(stat.st_mode & 0o7777))
}

/// A folder, and whether it was made.
fn ensure_folder(parent: impl AsFd, name: &'static str, mode: u32) -> Result<(OwnedFd, bool)> {
    let is_new = match rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(mode)) {
        Ok(()) => true,
        Err(Errno::EXIST) => false,
        Err(errno) => return Err(OsError::new("create", name, errno)),
    };
    Ok((open_beneath(parent, name, DIRECTORY, Mode::empty())?, is_new))
}
