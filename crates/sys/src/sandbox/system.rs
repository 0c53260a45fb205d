//! What a command expects of a Linux system around its files: `/proc`, `/sys`, `/dev`, a loopback device.
//!
//! What is hidden or read-only in `/proc` and `/sys` is what container engines agree on: it speaks of the machine,
//! not of the container.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;

use super::{Network, Sandbox, devices, root::attach_in_root};
use crate::file::open_in_root;
use crate::mount::{DetachedMount, FileSystem, tmpfs};
use crate::{OsError, Result};

const HIDDEN: &[&str] = &[
    "proc/acpi",
    "proc/asound",
    "proc/interrupts",
    "proc/kcore",
    "proc/keys",
    "proc/latency_stats",
    "proc/sched_debug",
    "proc/scsi",
    "proc/timer_list",
    "proc/timer_stats",
    "sys/dev/block",
    "sys/devices/virtual/powercap",
    "sys/firmware",
];

const READ_ONLY: &[&str] = &[
    "proc/bus",
    "proc/fs",
    "proc/irq",
    "proc/sys",
    "proc/sysrq-trigger",
];

fn inert() -> MountAttrFlags {
    MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_NOEXEC
}

/// Mounts all of it. Only while the machine's own `/proc` and `/sys` are in sight does the kernel let a user namespace
/// have new ones.
pub(super) fn mount_all(root: &OwnedFd, sandbox: &Sandbox) -> Result<()> {
    attach_in_root(root, Path::new("proc"), proc()?)?;
    attach_in_root(root, Path::new("sys"), sysfs(sandbox.network)?)?;
    if sandbox.cgroup.is_some() {
        let cgroups = FileSystem::open("cgroup2")?.mount(inert())?;
        attach_in_root(root, Path::new("sys/fs/cgroup"), cgroups)?;
    }
    devices::mount(root)?;
    HIDDEN.iter().try_for_each(|path| hide(root, Path::new(path)))?;
    READ_ONLY
        .iter()
        .try_for_each(|path| make_read_only(root, Path::new(path)))
}

/// Where the machine's `/proc` is covered in places, as inside containers, a user namespace gets no new one.
fn proc() -> Result<DetachedMount> {
    let new = FileSystem::open("proc").and_then(|file_system| file_system.mount(inert()));
    match new {
        Err(error) if error.errno() == Errno::PERM => DetachedMount::clone_of(CWD, "/proc", true),
        answer => answer,
    }
}

/// Only the owner of a network namespace may mount its sysfs.
fn sysfs(network: Network) -> Result<DetachedMount> {
    let attributes = inert() | MountAttrFlags::MOUNT_ATTR_RDONLY;
    let new = FileSystem::open("sysfs").and_then(|file_system| file_system.mount(attributes));
    match new {
        Err(error) if error.errno() == Errno::PERM && network == Network::Host => {
            let machines = DetachedMount::clone_of(CWD, "/sys", true)?;
            machines.set_read_only(true)?;
            Ok(machines)
        }
        answer => answer,
    }
}

/// The path itself, if this kernel has it.
fn open_if_there(root: &OwnedFd, path: &Path) -> Result<Option<OwnedFd>> {
    match open_in_root(root, path, OFlags::PATH, Mode::empty()) {
        Ok(target) => Ok(Some(target)),
        Err(error) if error.errno() == Errno::NOENT => Ok(None),
        Err(error) => Err(error),
    }
}

fn hide(root: &OwnedFd, path: &Path) -> Result<()> {
    let Some(target) = open_if_there(root, path)? else {
        return Ok(());
    };
    let stat = rustix::fs::fstat(&target).map_err(|errno| OsError::new("look at", path.display(), errno))?;
    let cover = match rustix::fs::FileType::from_raw_mode(stat.st_mode).is_dir() {
        true => {
            let empty = tmpfs("osmith", "0555", Some(4096))?;
            empty.set_read_only(false)?;
            empty
        }
        false => DetachedMount::clone_of(root, "dev/null", false)?,
    };
    cover.attach(&target, "").map(drop)
}

fn make_read_only(root: &OwnedFd, path: &Path) -> Result<()> {
    let Some(target) = open_if_there(root, path)? else {
        return Ok(());
    };
    let clone = DetachedMount::clone_of(&target, "", true)?;
    clone.set_read_only(true)?;
    clone.attach(&target, "").map(drop)
}
