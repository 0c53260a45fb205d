//! Opening without leaving a root, whatever symbolic links and `..` say (`openat2`).

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::{OsError, Result};

/// Opens a directory.
pub fn open_directory(path: impl AsRef<Path>) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, path.as_ref(), flags, Mode::empty())
        .map_err(|errno| OsError::new("open", path.as_ref().display(), errno))
}

/// Opens `path` as a process would whose root directory is `root`: absolute links start there, `..` ends there.
pub fn open_in_root(root: impl AsFd, path: impl AsRef<Path>, flags: OFlags, mode: Mode) -> Result<OwnedFd> {
    open_resolved(root, path.as_ref(), flags, mode, ResolveFlags::IN_ROOT)
}

/// Opens `path` under `directory`; anything that leads out of it, if only on the way, is an error (`EXDEV`).
pub fn open_beneath(
    directory: impl AsFd,
    path: impl AsRef<Path>,
    flags: OFlags,
    mode: Mode,
) -> Result<OwnedFd> {
    open_resolved(directory, path.as_ref(), flags, mode, ResolveFlags::BENEATH)
}

/// Opens `path` under `directory`, through no symbolic link at all (`ELOOP`); the empty path is the directory itself.
pub fn open_without_links(
    directory: impl AsFd,
    path: impl AsRef<Path>,
    flags: OFlags,
    mode: Mode,
) -> Result<OwnedFd> {
    let path = match path.as_ref() {
        path if path.as_os_str().is_empty() => Path::new("."),
        path => path,
    };
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    open_resolved(directory, path, flags | OFlags::NOFOLLOW, mode, resolve)
}

fn open_resolved(
    root: impl AsFd,
    path: &Path,
    flags: OFlags,
    mode: Mode,
    resolve: ResolveFlags,
) -> Result<OwnedFd> {
    let resolve = resolve | ResolveFlags::NO_MAGICLINKS;
    loop {
        match rustix::fs::openat2(&root, path, flags | OFlags::CLOEXEC, mode, resolve) {
            // The kernel saw a rename somewhere and cannot be sure; it wants to be asked again.
            Err(Errno::AGAIN | Errno::INTR) => {}
            answer => return answer.map_err(|errno| OsError::new("open", path.display(), errno)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_stay_in_the_root() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("inside"), "x").unwrap();
        symlink("/inside", directory.path().join("absolute")).unwrap();
        symlink("../../inside", directory.path().join("upwards")).unwrap();
        let root = open_directory(directory.path()).unwrap();
        for name in ["absolute", "upwards", "../inside"] {
            open_in_root(&root, name, OFlags::RDONLY, Mode::empty()).unwrap();
            let error = open_beneath(&root, name, OFlags::RDONLY, Mode::empty()).unwrap_err();
            assert_eq!(error.errno(), Errno::XDEV, "{name}");
        }
        open_beneath(&root, "inside", OFlags::RDONLY, Mode::empty()).unwrap();
    }

    #[test]
    fn no_link_is_followed_where_none_is_wanted() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("folder")).unwrap();
        std::fs::write(directory.path().join("folder/file"), "x").unwrap();
        symlink("folder", directory.path().join("link")).unwrap();
        symlink("file", directory.path().join("folder/link")).unwrap();
        let root = open_directory(directory.path()).unwrap();
        let open = |path: &str| open_without_links(&root, path, OFlags::RDONLY, Mode::empty());
        for path in ["link/file", "folder/link", "link"] {
            assert_eq!(open(path).unwrap_err().errno(), Errno::LOOP, "{path}");
        }
        assert_eq!(open("folder/../..").unwrap_err().errno(), Errno::XDEV);
        open("folder/file").unwrap();
        open("").unwrap();
    }
}
