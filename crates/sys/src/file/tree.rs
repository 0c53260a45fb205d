//! A directory with all that is in it, copied.

use std::ffi::CString;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid};
use rustix::io::Errno;

use super::copy_contents;
use crate::{OsError, Result};

/// Copies what is in the directory `from` into the empty directory `to`, and its own metadata: owners, modes and times.
///
/// Several names of one file become several files, attributes are not copied, and devices are left out where this
/// process may not make them. Links are not followed.
pub fn copy_tree(from: impl AsFd, to: impl AsFd) -> Result<()> {
    let mut pending = vec![(reopened(&from)?, reopened(&to)?)];
    let mut directories = Vec::new();
    while let Some((from, to)) = pending.pop() {
        for name in names(&from)? {
            let stat = rustix::fs::statat(&from, &name, AtFlags::SYMLINK_NOFOLLOW)
                .map_err(|errno| failed("look at", &name, errno))?;
            if FileType::from_raw_mode(stat.st_mode).is_dir() {
                rustix::fs::mkdirat(&to, &name, Mode::from_raw_mode(0o700))
                    .map_err(|errno| failed("create", &name, errno))?;
                pending.push((opened(&from, &name)?, opened(&to, &name)?));
            } else if copy_file(&from, &to, &name, &stat)? {
                copy_metadata(&to, &name, &stat)?;
            }
        }
        directories.push((from, to));
    }
    // What is made in a directory changes its time: those below come first.
    for (from, to) in directories.iter().rev() {
        let stat = rustix::fs::fstat(from).map_err(|errno| OsError::new("look at", "a directory", errno))?;
        copy_metadata(to, c".", &stat)?;
    }
    Ok(())
}

fn failed(operation: &'static str, name: &std::ffi::CStr, errno: Errno) -> OsError {
    OsError::new(operation, name.to_string_lossy().into_owned(), errno)
}

fn reopened(directory: impl AsFd) -> Result<OwnedFd> {
    opened(directory, c".")
}

fn opened(directory: impl AsFd, name: &std::ffi::CStr) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(directory, name, flags, Mode::empty()).map_err(|errno| failed("open", name, errno))
}

fn names(directory: &OwnedFd) -> Result<Vec<CString>> {
    let failed = |errno| OsError::new("read", "a directory", errno);
    let entries = Dir::read_from(directory).map_err(failed)?;
    let names = entries.map(|entry| Ok(entry.map_err(failed)?.file_name().to_owned()));
    let names: Result<Vec<CString>> = names.collect();
    Ok(names?
        .into_iter()
        .filter(|name| !matches!(name.to_bytes(), b"." | b".."))
        .collect())
}

/// False if it was left out.
fn copy_file(from: &OwnedFd, to: &OwnedFd, name: &CString, stat: &Stat) -> Result<bool> {
    let kind = FileType::from_raw_mode(stat.st_mode);
    let created = match kind {
        FileType::RegularFile => {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let source = rustix::fs::openat(from, name, flags, Mode::empty())
                .map_err(|errno| failed("open", name, errno))?;
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
            let copy = rustix::fs::openat(to, name, flags, Mode::from_raw_mode(0o600))
                .map_err(|errno| failed("create", name, errno))?;
            return copy_contents(&File::from(source), &File::from(copy)).map(|_| true);
        }
        FileType::Symlink => {
            let target = rustix::fs::readlinkat(from, name, Vec::new())
                .map_err(|errno| failed("read", name, errno))?;
            rustix::fs::symlinkat(target, to, name)
        }
        kind => rustix::fs::mknodat(to, name, kind, Mode::from_raw_mode(0o600), stat.st_rdev),
    };
    match created {
        Ok(()) => Ok(true),
        Err(Errno::PERM) if matches!(kind, FileType::CharacterDevice | FileType::BlockDevice) => Ok(false),
        Err(errno) => Err(failed("create", name, errno)),
    }
}

fn copy_metadata(directory: &OwnedFd, name: &std::ffi::CStr, stat: &Stat) -> Result<()> {
    let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    match rustix::fs::chownat(directory, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW) {
        // The user namespace has no such id.
        Ok(()) | Err(Errno::INVAL) => {}
        Err(errno) => return Err(failed("change the owner of", name, errno)),
    }
    if !FileType::from_raw_mode(stat.st_mode).is_symlink() {
        let mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
        rustix::fs::chmodat(directory, name, mode, AtFlags::empty())
            .map_err(|errno| failed("change the mode of", name, errno))?;
    }
    let time = |tv_sec, tv_nsec| Timespec { tv_sec, tv_nsec };
    let times = Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec as _),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec as _),
    };
    rustix::fs::utimensat(directory, name, &times, AtFlags::SYMLINK_NOFOLLOW)
        .map_err(|errno| failed("set the time of", name, errno))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::open_directory;
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    #[test]
    fn the_copy_has_contents_modes_times_and_links() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let path = |name: &str| from.path().join(name);
        fs::create_dir_all(path("a/b")).unwrap();
        fs::write(path("a/b/file"), "text").unwrap();
        symlink("/nowhere", path("a/link")).unwrap();
        let at = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1000);
        fs::set_permissions(path("a/b"), fs::Permissions::from_mode(0o1750)).unwrap();
        File::open(path("a/b/file")).unwrap().set_modified(at).unwrap();
        File::open(path("a")).unwrap().set_modified(at).unwrap();
        let open = |directory: &tempfile::TempDir| open_directory(directory.path()).unwrap();
        copy_tree(open(&from), open(&to)).unwrap();
        let copy = |name: &str| to.path().join(name);
        assert_eq!(fs::read(copy("a/b/file")).unwrap(), b"text");
        assert_eq!(fs::read_link(copy("a/link")).unwrap().to_str(), Some("/nowhere"));
        assert_eq!(fs::metadata(copy("a/b")).unwrap().mode() & 0o7777, 0o1750);
        for name in ["a", "a/b/file"] {
            assert_eq!(
                fs::metadata(copy(name)).unwrap().modified().unwrap(),
                at,
                "{name}"
            );
        }
    }
}
