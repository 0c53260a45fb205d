//! `/dev` of a sandbox: a file system in memory with the devices that every program may expect.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, OFlags, makedev};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;

use super::root::attach_in_root;
use crate::mount::{DetachedMount, FileSystem, tmpfs};
use crate::{OsError, Result};

const DEVICES: &[(&str, u32, u32)] = &[
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
];

const LINKS: &[(&str, &str)] = &[
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];

/// The group `tty` of all distributions.
const TTY_GROUP: &str = "5";

/// Mounts it at `dev` in `root`. The umask must be 0.
pub(super) fn mount(root: &OwnedFd) -> Result<()> {
    let mount = tmpfs("osmith", "0755", None)?;
    let no_suid = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    mount.set_attributes(no_suid, MountAttrFlags::empty(), false)?;
    let dev = attach_in_root(root, Path::new("dev"), mount)?;
    for (name, major, minor) in DEVICES {
        make_device(&dev, name, makedev(*major, *minor))?;
    }
    for (name, target) in LINKS {
        rustix::fs::symlinkat(*target, &dev, *name).map_err(|errno| OsError::new("link", *name, errno))?;
    }
    attach_new(&dev, "pts", pseudo_terminals()?)?;
    attach_new(&dev, "shm", tmpfs("osmith", "1777", None)?)?;
    match message_queues() {
        Ok(queues) => attach_new(&dev, "mqueue", queues),
        // Not every kernel has them.
        Err(error) if error.errno() == Errno::NODEV => Ok(()),
        Err(error) => Err(error),
    }
}

/// A user namespace makes no devices, but may show those of the machine.
fn make_device(dev: &OwnedFd, name: &str, number: u64) -> Result<()> {
    let mode = Mode::from_raw_mode(0o666);
    match rustix::fs::mknodat(dev, name, FileType::CharacterDevice, mode, number) {
        Ok(()) => Ok(()),
        Err(Errno::PERM) => {
            let machines = DetachedMount::clone_of(CWD, format!("/dev/{name}"), false)?;
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
            rustix::fs::openat(dev, name, flags, mode)
                .map_err(|errno| OsError::new("create", name, errno))?;
            machines.attach(dev, name).map(drop)
        }
        Err(errno) => Err(OsError::new("create device", name, errno)),
    }
}

fn attach_new(dev: &OwnedFd, name: &str, mount: DetachedMount) -> Result<()> {
    rustix::fs::mkdirat(dev, name, Mode::from_raw_mode(0o755))
        .map_err(|errno| OsError::new("create", name, errno))?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    mount.set_attributes(attributes, MountAttrFlags::empty(), false)?;
    mount.attach(dev, name).map(drop)
}

/// A user namespace with a single id has no group for terminals.
fn pseudo_terminals() -> Result<DetachedMount> {
    let mount = |with_group: bool| {
        let file_system = FileSystem::open("devpts")?;
        file_system.set_flag("newinstance")?;
        file_system.set("ptmxmode", "0666")?;
        file_system.set("mode", "0620")?;
        if with_group {
            file_system.set("gid", TTY_GROUP)?;
        }
        file_system.mount(MountAttrFlags::empty())
    };
    match mount(true) {
        Err(error) if error.errno() == Errno::INVAL => mount(false),
        answer => answer,
    }
}

fn message_queues() -> Result<DetachedMount> {
    FileSystem::open("mqueue")?.mount(MountAttrFlags::MOUNT_ATTR_NODEV)
}
