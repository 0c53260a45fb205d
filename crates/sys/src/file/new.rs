//! New files that get their name only when they are complete.
//!
//! The file is made without a name (`O_TMPFILE`) in the directory of its later name, and linked there at the end. On
//! file systems without nameless files (FAT) it has a temporary name, which goes away with the [`NewFile`]. Nothing
//! remains after a crash on the former, a file `.osmith-*.tmp` on the latter.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use super::descriptor_path;
use crate::{OsError, Result};

/// When a new file has to be on the medium.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Before it gets its name; and its name before the call returns.
    Synced,
    /// Some time later: the caller makes one [`sync_file_system`] for many files.
    Deferred,
}

/// A file that has no name yet.
#[derive(Debug)]
pub struct NewFile {
    file: File,
    directory: OwnedFd,
    temporary_name: Option<OsString>,
    durability: Durability,
}

impl NewFile {
    /// Makes an empty file that will get a name in `directory`; `mode` is subject to the umask.
    pub fn create(directory: impl AsFd, mode: u32, durability: Durability) -> Result<Self> {
        let directory = directory
            .as_fd()
            .try_clone_to_owned()
            .map_err(|error| OsError::from_io("keep open", "a directory", &error))?;
        let mode = Mode::from_raw_mode(mode);
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        match rustix::fs::openat(&directory, ".", flags, mode) {
            Ok(file) => Ok(NewFile {
                file: file.into(),
                directory,
                temporary_name: None,
                durability,
            }),
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::NOENT | Errno::INVAL) => {
                Self::create_named(directory, mode, durability)
            }
            Err(errno) => Err(OsError::new("create a file in", name_of(&directory), errno)),
        }
    }

    fn create_named(directory: OwnedFd, mode: Mode, durability: Durability) -> Result<Self> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC;
        loop {
            let name = temporary_name()?;
            match rustix::fs::openat(&directory, &name, flags, mode) {
                Ok(file) => {
                    return Ok(NewFile {
                        file: file.into(),
                        directory,
                        temporary_name: Some(name),
                        durability,
                    });
                }
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(OsError::new("create a file in", name_of(&directory), errno)),
            }
        }
    }

    /// The file, to write to it.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Gives the file its name, which must not exist (`EEXIST`).
    pub fn create_new(mut self, name: impl AsRef<OsStr>) -> Result<File> {
        let name = name.as_ref();
        self.sync_contents(name)?;
        let linked = match &self.temporary_name {
            None => link_descriptor(self.file.as_fd(), self.directory.as_fd(), name),
            Some(temporary) => rustix::fs::renameat_with(
                &self.directory,
                temporary,
                &self.directory,
                name,
                RenameFlags::NOREPLACE,
            ),
        };
        linked.map_err(|errno| OsError::new("create", name.display(), errno))?;
        self.temporary_name = None;
        self.finish(name)
    }

    /// Gives the file its name, in the place of what had that name.
    pub fn replace(mut self, name: impl AsRef<OsStr>) -> Result<File> {
        let name = name.as_ref();
        self.sync_contents(name)?;
        while self.temporary_name.is_none() {
            let temporary = temporary_name()?;
            match link_descriptor(self.file.as_fd(), self.directory.as_fd(), &temporary) {
                Ok(()) => self.temporary_name = Some(temporary),
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(OsError::new("create", name.display(), errno)),
            }
        }
        if let Some(temporary) = &self.temporary_name {
            rustix::fs::renameat(&self.directory, temporary, &self.directory, name)
                .map_err(|errno| OsError::new("replace", name.display(), errno))?;
        }
        self.temporary_name = None;
        self.finish(name)
    }

    fn sync_contents(&self, name: &OsStr) -> Result<()> {
        if self.durability == Durability::Deferred {
            return Ok(());
        }
        rustix::fs::fsync(&self.file).map_err(|errno| OsError::new("sync", name.display(), errno))
    }

    fn finish(self, name: &OsStr) -> Result<File> {
        if self.durability == Durability::Synced {
            rustix::fs::fsync(&self.directory)
                .map_err(|errno| OsError::new("sync the directory of", name.display(), errno))?;
        }
        self.file
            .try_clone()
            .map_err(|error| OsError::from_io("keep open", name.display(), &error))
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

/// Writes a whole file, durably, in the place of what had that name.
pub fn write_atomically(
    directory: impl AsFd,
    name: impl AsRef<OsStr>,
    mode: u32,
    bytes: &[u8],
) -> Result<()> {
    let name = name.as_ref();
    let new = NewFile::create(directory, mode, Durability::Synced)?;
    new.file()
        .write_all(bytes)
        .map_err(|error| OsError::from_io("write", name.display(), &error))?;
    new.replace(name).map(drop)
}

/// Brings everything written to the file system of `file` onto the medium.
pub fn sync_file_system(file: impl AsFd) -> Result<()> {
    rustix::fs::syncfs(&file).map_err(|errno| OsError::new("sync the file system of", name_of(file), errno))
}

/// The kernel wants a privilege for `AT_EMPTY_PATH` before Linux 6.10, but none for the way through `/proc`, which in
/// turn may not be mounted.
fn link_descriptor(file: BorrowedFd<'_>, directory: BorrowedFd<'_>, name: &OsStr) -> rustix::io::Result<()> {
    let through_proc = rustix::fs::linkat(
        CWD,
        descriptor_path(file),
        directory,
        name,
        AtFlags::SYMLINK_FOLLOW,
    );
    match through_proc {
        Err(Errno::NOENT) => rustix::fs::linkat(file, "", directory, name, AtFlags::EMPTY_PATH),
        other => other,
    }
}

fn temporary_name() -> Result<OsString> {
    let mut bytes = [0_u8; 8];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
        .map_err(|errno| OsError::new("read", "random bytes", errno))?;
    Ok(format!(".osmith-{:016x}.tmp", u64::from_ne_bytes(bytes)).into())
}

/// The path of an open file, for messages.
fn name_of(file: impl AsFd) -> String {
    let link = rustix::fs::readlink(descriptor_path(&file), Vec::new());
    link.map_or_else(
        |_| "an open file".to_owned(),
        |path| path.to_string_lossy().into_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn directory() -> (tempfile::TempDir, OwnedFd) {
        let directory = tempfile::tempdir().unwrap();
        let descriptor = super::super::open_directory(directory.path()).unwrap();
        (directory, descriptor)
    }

    fn named(descriptor: &OwnedFd) -> NewFile {
        let descriptor = descriptor.try_clone().unwrap();
        NewFile::create_named(descriptor, Mode::from_raw_mode(0o644), Durability::Synced).unwrap()
    }

    fn nameless(descriptor: &OwnedFd) -> NewFile {
        NewFile::create(descriptor, 0o644, Durability::Synced).unwrap()
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
    fn appears_only_when_finished_and_never_replaces() {
        for create in [named, nameless] {
            let (directory, descriptor) = directory();
            let new = create(&descriptor);
            new.file().write_all(b"first").unwrap();
            assert!(!directory.path().join("a").exists());
            new.create_new("a").unwrap();
            let second = create(&descriptor);
            second.file().write_all(b"second").unwrap();
            assert_eq!(second.create_new("a").unwrap_err().errno(), Errno::EXIST);
            assert_eq!(fs::read(directory.path().join("a")).unwrap(), b"first");
            assert_eq!(names(&directory), ["a"]);
        }
    }

    #[test]
    fn replaces_in_one_step() {
        for create in [named, nameless] {
            let (directory, descriptor) = directory();
            fs::write(directory.path().join("a"), "old").unwrap();
            let new = create(&descriptor);
            new.file().write_all(b"new").unwrap();
            new.replace("a").unwrap();
            assert_eq!(fs::read(directory.path().join("a")).unwrap(), b"new");
            assert_eq!(names(&directory), ["a"]);
        }
    }

    #[test]
    fn given_up_leaves_nothing() {
        for create in [named, nameless] {
            let (directory, descriptor) = directory();
            drop(create(&descriptor));
            assert!(names(&directory).is_empty());
        }
    }

    #[test]
    fn writes_whole_files() {
        let (directory, descriptor) = directory();
        write_atomically(&descriptor, "f", 0o600, b"text").unwrap();
        assert_eq!(fs::read(directory.path().join("f")).unwrap(), b"text");
        let error = write_atomically(&descriptor, "no/where", 0o600, b"").unwrap_err();
        assert_eq!(error.errno(), Errno::NOENT);
    }
}
