//! New files that get their name only when they are complete.
//!
//! The file is made without a name (`O_TMPFILE`) in some directory, and gets one on the same file system at the end. On
//! file systems without nameless files (FAT) it has a temporary name, which goes away with the [`NewFile`]. Nothing
//! remains after a crash on the former, a file `.osmith-*.tmp` on the latter.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use super::descriptor_path;

/// A file that has no name yet. Nothing here waits for the medium: that is for who wrote the file, and for the
/// directory it is named in.
#[derive(Debug)]
pub struct NewFile {
    file: File,
    directory: OwnedFd,
    temporary_name: Option<OsString>,
}

impl NewFile {
    /// Makes an empty file on the file system of `directory`; `mode` is subject to the umask.
    pub fn create(directory: impl Into<OwnedFd>, mode: u32) -> io::Result<Self> {
        let directory = directory.into();
        let mode = Mode::from_raw_mode(mode);
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        match rustix::fs::openat(&directory, ".", flags, mode) {
            Ok(file) => Ok(NewFile {
                file: file.into(),
                directory,
                temporary_name: None,
            }),
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::NOENT | Errno::INVAL) => {
                Self::create_named(directory, mode)
            }
            Err(errno) => Err(errno.into()),
        }
    }

    fn create_named(directory: OwnedFd, mode: Mode) -> io::Result<Self> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC;
        loop {
            let name = temporary_name()?;
            match rustix::fs::openat(&directory, &name, flags, mode) {
                Ok(file) => {
                    return Ok(NewFile {
                        file: file.into(),
                        directory,
                        temporary_name: Some(name),
                    });
                }
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// The file, to write to it.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Gives up writing to the file, as fs-verity asks for; it can still be read and named.
    pub fn close_for_writing(&mut self) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let path = descriptor_path(&self.file);
        self.file = rustix::fs::openat(CWD, path, flags, Mode::empty())?.into();
        Ok(())
    }

    /// Gives the file a name, a path from `directory` on, which must not exist (`AlreadyExists`).
    pub fn create_new(&mut self, directory: impl AsFd, path: impl AsRef<Path>) -> io::Result<()> {
        let (directory, path) = (directory.as_fd(), path.as_ref());
        match &self.temporary_name {
            None => link_descriptor(self.file.as_fd(), directory, path.as_os_str())?,
            Some(temporary) => rustix::fs::renameat_with(
                &self.directory,
                temporary,
                directory,
                path,
                RenameFlags::NOREPLACE,
            )?,
        }
        self.temporary_name = None;
        Ok(())
    }

    /// Gives the file a name, a path from `directory` on, in the place of what had that name.
    pub fn replace(&mut self, directory: impl AsFd, path: impl AsRef<Path>) -> io::Result<()> {
        while self.temporary_name.is_none() {
            let temporary = temporary_name()?;
            match link_descriptor(self.file.as_fd(), self.directory.as_fd(), &temporary) {
                Ok(()) => self.temporary_name = Some(temporary),
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        if let Some(temporary) = &self.temporary_name {
            rustix::fs::renameat(&self.directory, temporary, directory, path.as_ref())?;
        }
        self.temporary_name = None;
        Ok(())
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if let Some(name) = &self.temporary_name {
            // Nobody is left to be told; the name is recognisable as a leftover.
            let _ = rustix::fs::unlinkat(&self.directory, name, AtFlags::empty());
        }
    }
}

/// The kernel wants a privilege for `AT_EMPTY_PATH` before Linux 6.10, but none for the way through `/proc`, which in
/// turn may not be mounted.
fn link_descriptor(file: BorrowedFd<'_>, directory: BorrowedFd<'_>, path: &OsStr) -> rustix::io::Result<()> {
    match rustix::fs::linkat(file, "", directory, path, AtFlags::EMPTY_PATH) {
        Err(Errno::NOENT | Errno::PERM | Errno::ACCESS) => rustix::fs::linkat(
            CWD,
            descriptor_path(file),
            directory,
            path,
            AtFlags::SYMLINK_FOLLOW,
        ),
        other => other,
    }
}

fn temporary_name() -> io::Result<OsString> {
    let mut bytes = [0_u8; 8];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
    Ok(format!(".osmith-{:016x}.tmp", u64::from_ne_bytes(bytes)).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::io::Write;

    fn directory() -> (tempfile::TempDir, OwnedFd) {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("below")).unwrap();
        let descriptor = super::super::open_directory(directory.path()).unwrap();
        (directory, descriptor)
    }

    fn named(descriptor: &OwnedFd) -> NewFile {
        let descriptor = descriptor.try_clone().unwrap();
        NewFile::create_named(descriptor, Mode::from_raw_mode(0o644)).unwrap()
    }

    fn nameless(descriptor: &OwnedFd) -> NewFile {
        NewFile::create(descriptor.try_clone().unwrap(), 0o644).unwrap()
    }

    fn names(directory: &tempfile::TempDir) -> Vec<OsString> {
        let mut names: Vec<_> = fs::read_dir(directory.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn appears_only_when_named_and_never_replaces() {
        for create in [named, nameless] {
            let (directory, descriptor) = directory();
            let mut new = create(&descriptor);
            new.file().write_all(b"first").unwrap();
            assert!(!directory.path().join("below/a").exists());
            new.create_new(&descriptor, "below/a").unwrap();
            drop(new);
            let mut second = create(&descriptor);
            second.file().write_all(b"second").unwrap();
            let error = second.create_new(&descriptor, "below/a").unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
            assert_eq!(fs::read(directory.path().join("below/a")).unwrap(), b"first");
            second.replace(&descriptor, "below/a").unwrap();
            assert_eq!(fs::read(directory.path().join("below/a")).unwrap(), b"second");
            assert_eq!(names(&directory), ["below"]);
        }
    }

    #[test]
    fn what_is_closed_for_writing_can_be_named_and_read() {
        for create in [named, nameless] {
            let (directory, descriptor) = directory();
            let mut new = create(&descriptor);
            new.file().write_all(b"whole").unwrap();
            new.close_for_writing().unwrap();
            new.file().write_all(b" and more").unwrap_err();
            new.create_new(&descriptor, "a").unwrap();
            assert_eq!(fs::read(directory.path().join("a")).unwrap(), b"whole");
        }
    }

    #[test]
    fn a_name_that_cannot_be_given_can_be_given_later() {
        for create in [named, nameless] {
            let (directory, descriptor) = directory();
            let mut new = create(&descriptor);
            new.file().write_all(b"new").unwrap();
            let error = new.replace(&descriptor, "missing/a").unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::NotFound);
            fs::create_dir(directory.path().join("missing")).unwrap();
            new.replace(&descriptor, "missing/a").unwrap();
            assert_eq!(fs::read(directory.path().join("missing/a")).unwrap(), b"new");
            assert_eq!(names(&directory), ["below", "missing"]);
        }
    }

    #[test]
    fn given_up_leaves_nothing() {
        for create in [named, nameless] {
            let (directory, descriptor) = directory();
            drop(create(&descriptor));
            let mut refused = create(&descriptor);
            refused.replace(&descriptor, "no/where").unwrap_err();
            drop(refused);
            assert_eq!(names(&directory), ["below"]);
        }
    }
}
