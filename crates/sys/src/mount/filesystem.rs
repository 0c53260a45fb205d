//! Making a mount from a file system type and its options.

use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};

use super::DetachedMount;
use crate::{OsError, Result};

/// A file system that is being configured.
#[derive(Debug)]
pub struct FileSystem {
    configuration: OwnedFd,
    kind: &'static str,
}

impl FileSystem {
    /// Starts with the type: `tmpfs`, `erofs`, `overlay`.
    pub fn open(kind: &'static str) -> Result<Self> {
        rustix::mount::fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)
            .map(|configuration| FileSystem { configuration, kind })
            .map_err(|errno| OsError::new("set up", format!("a file system of type {kind}"), errno))
    }

    /// Sets an option that has a value.
    pub fn set(&self, option: &str, value: &str) -> Result<()> {
        rustix::mount::fsconfig_set_string(&self.configuration, option, value)
            .map_err(|errno| self.failed(format!("set option {option}={value} of"), errno))
    }

    /// Sets an option that has none.
    pub fn set_flag(&self, option: &str) -> Result<()> {
        rustix::mount::fsconfig_set_flag(&self.configuration, option)
            .map_err(|errno| self.failed(format!("set option {option} of"), errno))
    }

    /// Makes the mount.
    pub fn mount(self, attributes: MountAttrFlags) -> Result<DetachedMount> {
        rustix::mount::fsconfig_create(&self.configuration).map_err(|errno| self.failed("mount", errno))?;
        let flags = FsMountFlags::FSMOUNT_CLOEXEC;
        rustix::mount::fsmount(self.configuration.as_fd(), flags, attributes)
            .map(DetachedMount::from)
            .map_err(|errno| self.failed("mount", errno))
    }

    fn failed(&self, operation: impl Into<std::borrow::Cow<'static, str>>, errno: Errno) -> OsError {
        OsError::new(operation, self.kind, errno).with_detail(self.messages())
    }

    /// What the kernel has to say about the last failure; its lines start with `e `, `w ` or `i `.
    fn messages(&self) -> String {
        let mut messages = Vec::new();
        let mut buffer = [0; 1024];
        while let Ok(read_bytes @ 1..) = rustix::io::read(&self.configuration, &mut buffer) {
            let line = String::from_utf8_lossy(&buffer[..read_bytes]);
            messages.push(line.trim_end().get(2..).unwrap_or_default().to_owned());
        }
        messages.join("; ")
    }
}

/// An empty file system in memory; `mode` is octal.
pub fn tmpfs(source: &str, mode: &str, size_bytes: Option<u64>) -> Result<DetachedMount> {
    let file_system = FileSystem::open("tmpfs")?;
    file_system.set("source", source)?;
    file_system.set("mode", mode)?;
    if let Some(size_bytes) = size_bytes {
        file_system.set("size", &size_bytes.to_string())?;
    }
    file_system.mount(MountAttrFlags::empty())
}
