//! What a sandbox shows beside its root file system: files, directories of the machine, trees, memory.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;
use serde::{Deserialize, Serialize};

use super::Root;
use super::path_bytes;
use super::root::{Staging, attach_in_root, mount as mount_root};
use crate::file::{copy_tree, open_beneath, open_in_root};
use crate::mount::{DetachedMount, tmpfs};
use crate::{OsError, Result};

/// Something that is shown inside and is in no layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Where, inside. It must exist there, a directory for a directory and else a file, unless it is below `/dev` or
    /// a file system in memory that is shown before.
    #[serde(with = "path_bytes")]
    pub target: PathBuf,
    /// What.
    pub source: Source,
    /// Nothing can be changed there.
    pub read_only: bool,
    /// Set-user-id and set-group-id programs there give no rights.
    pub no_suid: bool,
    /// Devices there cannot be opened.
    pub no_devices: bool,
    /// Programs there cannot be executed.
    pub no_exec: bool,
}

/// What is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Source {
    /// A file with these contents.
    File {
        /// Permission bits.
        mode: u32,
        /// Owner.
        uid: u32,
        /// Group.
        gid: u32,
        /// Contents.
        bytes: Vec<u8>,
    },
    /// A file or directory of the machine, with what is mounted below it. Links in the path are followed there.
    Machine(#[serde(with = "path_bytes")] PathBuf),
    /// A part of another root file system.
    Tree {
        /// The root file system.
        root: Root,
        /// The file or directory in it.
        #[serde(with = "path_bytes")]
        path: PathBuf,
    },
    /// A new file system in memory.
    Memory {
        /// Permission bits of its root, unless that is a copy.
        mode: u32,
        /// The most it holds; half of the machine's memory if not given.
        size_bytes: Option<u64>,
        /// Whether it begins as a copy of what is at the target.
        copies_target: bool,
    },
}

impl Mount {
    /// A mount without further restrictions.
    pub fn new(target: impl Into<PathBuf>, source: Source) -> Self {
        Mount {
            target: target.into(),
            source,
            read_only: false,
            no_suid: false,
            no_devices: false,
            no_exec: false,
        }
    }

    /// A file of root's with these contents.
    pub fn file(target: impl Into<PathBuf>, mode: u32, bytes: impl Into<Vec<u8>>) -> Self {
        let source = Source::File {
            mode,
            uid: 0,
            gid: 0,
            bytes: bytes.into(),
        };
        Mount::new(target, source)
    }

    fn restrictions(&self) -> MountAttrFlags {
        let flags = [
            (self.read_only, MountAttrFlags::MOUNT_ATTR_RDONLY),
            (self.no_suid, MountAttrFlags::MOUNT_ATTR_NOSUID),
            (self.no_devices, MountAttrFlags::MOUNT_ATTR_NODEV),
            (self.no_exec, MountAttrFlags::MOUNT_ATTR_NOEXEC),
        ];
        let wanted = flags.into_iter().filter(|(is_wanted, _)| *is_wanted);
        wanted.map(|(_, flag)| flag).collect()
    }
}

/// Shows each in its place, in this order.
pub(super) fn attach_all(root: &OwnedFd, staging: &Staging, mounts: &[Mount]) -> Result<()> {
    let mut own = vec![Path::new("/dev")];
    for (number, mount) in mounts.iter().enumerate() {
        let shown = detached(root, staging, mount, &format!("mount{number}"))?;
        let restrictions = mount.restrictions();
        if !restrictions.is_empty() {
            shown.set_attributes(restrictions, MountAttrFlags::empty(), true)?;
        }
        ensure_in_memory(root, &own, &mount.target, is_directory(&shown)?)?;
        attach_in_root(root, &mount.target, shown)?;
        if matches!(mount.source, Source::Memory { .. }) {
            own.push(&mount.target);
        }
    }
    Ok(())
}

/// What is to be shown, attached nowhere. `name` is free in the staging area.
fn detached(root: &OwnedFd, staging: &Staging, mount: &Mount, name: &str) -> Result<DetachedMount> {
    match &mount.source {
        Source::Machine(path) => DetachedMount::clone_of(CWD, path, true),
        Source::Tree { root, path } => {
            let tree = mount_root(root, staging, name)?;
            let part = open_in_root(&tree, path, OFlags::PATH, Mode::empty())?;
            DetachedMount::clone_of(part, "", true)
        }
        Source::Memory {
            mode,
            size_bytes,
            copies_target,
        } => {
            let memory = tmpfs("osmith", &format!("{mode:o}"), *size_bytes)?;
            if *copies_target {
                let target = open_in_root(root, &mount.target, OFlags::DIRECTORY, Mode::empty())?;
                copy_tree(&target, &memory)?;
            }
            Ok(memory)
        }
        Source::File {
            mode,
            uid,
            gid,
            bytes,
        } => {
            let failed = |errno| OsError::new("create the contents of", mount.target.display(), errno);
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
            let file = rustix::fs::openat(staging.directory(), name, flags, Mode::from_raw_mode(*mode))
                .map_err(failed)?;
            rustix::fs::fchown(&file, Some(Uid::from_raw(*uid)), Some(Gid::from_raw(*gid)))
                .map_err(failed)?;
            std::io::Write::write_all(&mut File::from(file), bytes)
                .map_err(|error| OsError::from_io("write", mount.target.display(), &error))?;
            DetachedMount::clone_of(staging.directory(), name, false)
        }
    }
}

fn is_directory(mount: &DetachedMount) -> Result<bool> {
    let stat = rustix::fs::fstat(mount).map_err(|errno| OsError::new("look at", "a mount", errno))?;
    Ok(FileType::from_raw_mode(stat.st_mode).is_dir())
}

/// What is shown in the sandbox's own file systems in memory, at one of `own`, is made there, with the directories above
/// it.
fn ensure_in_memory(root: &OwnedFd, own: &[&Path], path: &Path, is_directory: bool) -> Result<()> {
    let Some((own, below)) = innermost(own, path) else {
        return Ok(());
    };
    let failed = |errno| OsError::new("create", path.display(), errno);
    let mut directory = open_in_root(root, own, OFlags::PATH, Mode::empty())?;
    let directories = if is_directory { Some(below) } else { below.parent() };
    for name in directories.into_iter().flatten() {
        match rustix::fs::mkdirat(&directory, name, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(failed(errno)),
        }
        directory = open_beneath(&directory, name, OFlags::PATH | OFlags::DIRECTORY, Mode::empty())?;
    }
    if is_directory {
        return Ok(());
    }
    let flags = OFlags::CREATE | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let name = below.file_name().unwrap_or_default();
    rustix::fs::openat(&directory, name, flags, Mode::from_raw_mode(0o644))
        .map(drop)
        .map_err(failed)
}

/// The longest of `directories` that `path` is below, and the way from there.
fn innermost<'a>(directories: &[&'a Path], path: &'a Path) -> Option<(&'a Path, &'a Path)> {
    let below = |directory: &&'a Path| {
        let rest = path.strip_prefix(directory).ok()?;
        (!rest.as_os_str().is_empty()).then_some((*directory, rest))
    };
    let above = directories.iter().filter_map(below);
    above.max_by_key(|(directory, _)| directory.components().count())
}
