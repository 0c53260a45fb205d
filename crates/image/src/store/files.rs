//! Small files and directories below the store's directory: written as a whole or not at all.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::BorrowedFd;
use std::path::Path;

use osmith_sys::file::NewFile;
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

const FILE_MODE: u32 = 0o644;
const DIRECTORY_MODE: Mode = Mode::from_raw_mode(0o755);

/// Where unfinished files are, on the file system of everything else.
pub(super) const TMP: &str = "tmp";

/// A new file on the file system of `root`; see [`NewFile`].
pub(super) fn create(root: BorrowedFd<'_>) -> io::Result<NewFile> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    NewFile::create(rustix::fs::openat(root, TMP, flags, Mode::empty())?, FILE_MODE)
}

/// Names a file `path`, below `root`, in the place of what had that name, in a directory that is made if it is missing.
pub(super) fn replace(new: &mut NewFile, root: BorrowedFd<'_>, path: &str) -> io::Result<()> {
    with_parent(root, path, || new.replace(root, path))
}

/// Writes a whole file and gives it its name at once, in the place of an older one.
pub(super) fn write(root: BorrowedFd<'_>, path: &str, bytes: &[u8]) -> io::Result<()> {
    let mut new = create(root)?;
    new.file().write_all(bytes)?;
    replace(&mut new, root, path)
}

/// [`write()`], and waits until the file and its name are on the disk.
pub(super) fn write_durably(root: BorrowedFd<'_>, path: &str, bytes: &[u8]) -> io::Result<()> {
    let mut new = create(root)?;
    new.file().write_all(bytes)?;
    new.file().sync_all()?;
    replace(&mut new, root, path)?;
    sync_parent(root, path)
}

/// Runs `action`; if it fails because the directory of `path` is missing, makes the directory and tries again.
pub(super) fn with_parent(
    root: BorrowedFd<'_>,
    path: &str,
    mut action: impl FnMut() -> io::Result<()>,
) -> io::Result<()> {
    match action() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            create_directories(root, parent(path))?;
            action()
        }
        other => other,
    }
}

/// Makes a directory and those above it.
pub(super) fn create_directories(root: BorrowedFd<'_>, path: &str) -> io::Result<()> {
    let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
    for prefix in ends
        .filter_map(|end| path.get(..end))
        .filter(|prefix| !prefix.is_empty())
    {
        match rustix::fs::mkdirat(root, prefix, DIRECTORY_MODE) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

pub(super) fn sync_parent(root: BorrowedFd<'_>, path: &str) -> io::Result<()> {
    let parent = match parent(path) {
        "" => ".",
        parent => parent,
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::openat(root, parent, flags, Mode::empty())?;
    Ok(rustix::fs::fsync(directory)?)
}

/// Opens a file for reading; a symbolic link is not followed.
pub(super) fn open(root: BorrowedFd<'_>, path: &str) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    Ok(rustix::fs::openat(root, path, flags, Mode::empty())?.into())
}

/// Reads a whole file; `None` if there is none.
pub(super) fn read(root: BorrowedFd<'_>, path: &str) -> io::Result<Option<Vec<u8>>> {
    let mut file = match open(root, path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

/// The length of a file; `None` if there is none.
pub(super) fn size_bytes(root: BorrowedFd<'_>, path: &str) -> io::Result<Option<u64>> {
    match rustix::fs::statat(root, path, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(u64::try_from(stat.st_size).unwrap_or(0))),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Removes a file; whether there was one.
pub(super) fn remove(root: BorrowedFd<'_>, path: &str) -> io::Result<bool> {
    match rustix::fs::unlinkat(root, path, AtFlags::empty()) {
        Ok(()) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// The names in a directory, in byte order; none if there is no directory. Names that are no UTF-8 are not the
/// store's and left out.
pub(super) fn list(store: &Path, path: &str) -> io::Result<Vec<(String, std::fs::FileType)>> {
    let directory = match std::fs::read_dir(store.join(path)) {
        Ok(directory) => directory,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut names = Vec::new();
    for entry in directory {
        let entry = entry?;
        if let Ok(name) = entry.file_name().into_string() {
            names.push((name, entry.file_type()?));
        }
    }
    names.sort_by(|left, right| left.0.cmp(&right.0));
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::{AsFd, OwnedFd};

    fn root() -> (tempfile::TempDir, OwnedFd) {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join(TMP)).unwrap();
        let fd = File::open(directory.path()).unwrap().into();
        (directory, fd)
    }

    #[test]
    fn files_are_written_below_directories_that_are_missing() {
        let (directory, root) = root();
        write(root.as_fd(), "a/b/c", b"1").unwrap();
        write_durably(root.as_fd(), "a/b/c", b"2").unwrap();
        assert_eq!(read(root.as_fd(), "a/b/c").unwrap().unwrap(), b"2");
        assert_eq!(size_bytes(root.as_fd(), "a/b/c").unwrap(), Some(1));
        assert_eq!(list(directory.path(), "a/b").unwrap()[0].0, "c");
        assert!(remove(root.as_fd(), "a/b/c").unwrap());
        assert!(!remove(root.as_fd(), "a/b/c").unwrap());
        assert_eq!(size_bytes(root.as_fd(), "a/b/c").unwrap(), None);
    }
}
