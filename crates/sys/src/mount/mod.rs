//! Mounts, by the file-descriptor interface of the kernel (`fsopen`, `fsmount`, `open_tree`, `move_mount`,
//! `mount_setattr`).
//!
//! A [`DetachedMount`] is in nobody's tree and goes away with its descriptor, so a failure half way leaves nothing
//! behind. [`DetachedMount::attach`] puts it somewhere. What differs between kernels is tried, not looked up:
//!
//! | wanted                                  | kernel | else                                |
//! |-----------------------------------------|--------|-------------------------------------|
//! | EROFS straight from a file              | 6.12   | a read-only loop device             |
//! | overlay layers one by one (`lowerdir+`) | 6.8    | one `lowerdir=` string              |
//! | a detached mount as an overlay layer    | 6.15   | attached to a scratch directory     |
//! | mounting into a detached tree           | 6.15   | attach first: [`mounts_into_detached`] |

#![allow(unsafe_code)]

mod composefs;
mod filesystem;
mod loop_device;
mod overlay;

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::mount::{MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags};
use rustix::thread::UnshareFlags;

pub use composefs::{Composefs, erofs, erofs_on_loop};
pub use filesystem::{FileSystem, tmpfs};
pub use loop_device::{LoopDevice, Stretch, attach as attach_loop_device};
pub use overlay::{Attributes, Feature, Layer, Overlay, probe_user_data_layers};
pub use rustix::mount::MountAttrFlags;

use crate::file::descriptor_path;
use crate::{OsError, Result};

/// A mount that is attached nowhere; dropped, it is unmounted.
#[derive(Debug)]
pub struct DetachedMount {
    tree: OwnedFd,
}

impl DetachedMount {
    /// A new mount of what `path` shows, with the mounts below it if `recursive`; a symbolic link is followed.
    pub fn clone_of(directory: impl AsFd, path: impl AsRef<Path>, recursive: bool) -> Result<Self> {
        let path = path.as_ref();
        let mut flags =
            OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
        if recursive {
            flags |= OpenTreeFlags::AT_RECURSIVE;
        }
        rustix::mount::open_tree(&directory, path, flags)
            .map(|tree| DetachedMount { tree })
            .map_err(|errno| OsError::new("clone the mount of", named(&directory, path).display(), errno))
    }

    /// Attaches the mount at `path`, which must exist; the empty path is `directory` itself. What is returned is the
    /// root of the mount, which stays when that is closed.
    pub fn attach(self, directory: impl AsFd, path: impl AsRef<Path>) -> Result<OwnedFd> {
        self.attach_at(directory, path.as_ref())?;
        Ok(self.tree)
    }

    fn attach_at(&self, directory: impl AsFd, path: &Path) -> Result<()> {
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
        rustix::mount::move_mount(&self.tree, "", &directory, path, flags)
            .map_err(|errno| OsError::new("mount at", named(&directory, path).display(), errno))
    }

    /// Adds and removes attributes of the mount, and of those below it if `recursive`.
    pub fn set_attributes(&self, set: MountAttrFlags, clear: MountAttrFlags, recursive: bool) -> Result<()> {
        set_attributes(&self.tree, set, clear, recursive)
    }

    /// Makes the mount read-only, and those below it if `recursive`.
    pub fn set_read_only(&self, recursive: bool) -> Result<()> {
        let read_only = MountAttrFlags::MOUNT_ATTR_RDONLY;
        self.set_attributes(read_only, MountAttrFlags::empty(), recursive)
    }
}

impl AsFd for DetachedMount {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.tree.as_fd()
    }
}

impl From<OwnedFd> for DetachedMount {
    fn from(tree: OwnedFd) -> Self {
        DetachedMount { tree }
    }
}

/// Adds and removes attributes of the mount whose root is open as `mount`, and of those below it if `recursive`.
pub fn set_attributes(
    mount: impl AsFd,
    set: MountAttrFlags,
    clear: MountAttrFlags,
    recursive: bool,
) -> Result<()> {
    let attributes = libc::mount_attr {
        attr_set: set.bits().into(),
        attr_clr: clear.bits().into(),
        propagation: 0,
        userns_fd: 0,
    };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is a C string, and the kernel only reads the structure, whose size is given and which lives
    // until the call returns.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_fd().as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    if answer == 0 {
        return Ok(());
    }
    let error = std::io::Error::last_os_error();
    let name = named(&mount, Path::new(""));
    Err(OsError::from_io(
        "set the mount attributes of",
        name.display(),
        &error,
    ))
}

/// A path below an open directory, or the directory, as a person knows it.
fn named(directory: impl AsFd, path: &Path) -> PathBuf {
    let place = descriptor_path(directory);
    let place = std::fs::read_link(&place).unwrap_or(place);
    match path.as_os_str().is_empty() {
        true => place,
        false => place.join(path),
    }
}

/// Unmounts what is mounted last at `path`, now, and cleans up when nobody uses it any more.
pub fn detach(path: impl AsRef<Path>) -> Result<()> {
    let path = path.as_ref();
    rustix::mount::unmount(path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW)
        .map_err(|errno| OsError::new("unmount", path.display(), errno))
}

/// Unmounts what is mounted last at `path`, with everything written; refused while somebody uses it.
pub fn unmount(path: impl AsRef<Path>) -> Result<()> {
    let path = path.as_ref();
    rustix::mount::unmount(path, UnmountFlags::NOFOLLOW)
        .map_err(|errno| OsError::new("unmount", path.display(), errno))
}

/// Puts this process into a mount namespace of its own: what is mounted there is seen by nobody else, and ends with
/// the last process in it, however that ends. Threads that run already stay where they are.
pub fn enter_namespace() -> Result<()> {
    // SAFETY: the flag affects neither the file descriptors nor the memory.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS) }
        .map_err(|errno| OsError::new("enter", "a mount namespace", errno))?;
    make_private()
}

/// Cuts this mount namespace off from others: what is mounted here is seen nowhere else, and the reverse.
pub fn make_private() -> Result<()> {
    let flags = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", flags).map_err(|errno| OsError::new("make private", "all mounts", errno))
}

/// Makes the mount whose root is open as `root` the root of this mount namespace, and forgets the old one.
pub fn enter_root(root: impl AsFd) -> Result<()> {
    let failed = |operation| move |errno| OsError::new(operation, "the new root", errno);
    rustix::process::fchdir(&root).map_err(failed("enter"))?;
    // The old root is put on top of the new one, so no directory for it is needed.
    rustix::process::pivot_root(".", ".").map_err(failed("change to"))?;
    rustix::mount::unmount(".", UnmountFlags::DETACH).map_err(failed("unmount the old root under"))?;
    rustix::process::chdir("/").map_err(failed("enter"))
}

/// Whether this kernel mounts into a tree that is itself attached nowhere (Linux 6.15).
pub fn mounts_into_detached() -> Result<bool> {
    let outer = tmpfs("probe", "0755", None)?;
    rustix::fs::mkdirat(&outer, "inner", rustix::fs::Mode::from_raw_mode(0o755))
        .map_err(|errno| OsError::new("create", "a directory in a new tmpfs", errno))?;
    match tmpfs("probe", "0755", None)?.attach(&outer, "inner") {
        Ok(_) => Ok(true),
        Err(error) if error.errno() == rustix::io::Errno::INVAL => Ok(false),
        Err(error) => Err(error),
    }
}
