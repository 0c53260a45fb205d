//! A folder whose contents are reached by paths from it, never through a symbolic link.

use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use osmith_sys::OsError;
use osmith_sys::file::open_without_links;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::{EtcError, Result};

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY);
/// Which kinds are neither compared nor merged.
const IGNORED: [FileType; 4] = [
    FileType::Fifo,
    FileType::Socket,
    FileType::CharacterDevice,
    FileType::BlockDevice,
];

/// A directory of the folder, and a name in it.
pub(super) struct Entry {
    pub(super) directory: Rc<OwnedFd>,
    pub(super) name: OsString,
}

/// The folder.
#[derive(Clone, Copy)]
pub(super) struct Folder<'a> {
    folder: BorrowedFd<'a>,
    /// How a person knows it.
    name: &'static str,
}

impl<'a> Folder<'a> {
    pub(super) fn new(folder: BorrowedFd<'a>, name: &'static str) -> Self {
        Folder { folder, name }
    }

    /// An `/etc`.
    pub(super) fn etc(folder: BorrowedFd<'a>) -> Self {
        Folder::new(folder, "/etc")
    }

    /// A path as a person knows it.
    pub(super) fn shown(self, path: &Path) -> String {
        match path.as_os_str().is_empty() {
            true => self.name.to_owned(),
            false => format!("{}/{}", self.name, path.display()),
        }
    }

    /// The error of an operation on a path.
    pub(super) fn failed(self, operation: &'static str, path: &Path) -> impl Fn(Errno) -> OsError {
        let object = self.shown(path);
        move |errno| OsError::new(operation, &object, errno)
    }

    /// The same error with the path as a person knows it.
    pub(super) fn named(self, error: &OsError, path: &Path) -> EtcError {
        OsError::new(error.operation().to_owned(), self.shown(path), error.errno()).into()
    }

    /// Opens a directory; the empty path is the folder itself.
    pub(super) fn open_directory(self, path: &Path) -> Result<OwnedFd> {
        open_without_links(self.folder, path, DIRECTORY, Mode::empty())
            .map_err(|error| self.named(&error, path))
    }

    /// The directory that a path is in, and its last name.
    pub(super) fn entry(self, path: &Path) -> Result<Entry> {
        Ok(Entry {
            directory: Rc::new(self.open_directory(path.parent().unwrap_or(Path::new("")))?),
            name: path.file_name().unwrap_or_default().to_owned(),
        })
    }

    /// What is at a path; `None` if nothing is, and if it is of an ignored kind.
    pub(super) fn stat(self, path: &Path) -> Result<Option<Stat>> {
        let entry = match self.entry(path) {
            Err(error) if error.is_missing() => return Ok(None),
            entry => entry?,
        };
        let stat = self.stat_entry(&entry, path)?;
        Ok(stat.filter(|stat| !is_ignored(stat)))
    }

    /// What has a name; `None` if nothing has.
    fn stat_entry(self, entry: &Entry, path: &Path) -> Result<Option<Stat>> {
        match rustix::fs::statat(&entry.directory, &entry.name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(self.failed("look at", path)(errno).into()),
        }
    }

    /// All paths below a directory, parents before children, the ignored kinds among them.
    pub(super) fn walk(self, start: &Path) -> Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        self.visit(start, &mut |_, path, _| {
            found.push(path);
            Ok(())
        })?;
        Ok(found)
    }

    /// Shows all that is below a directory, parents before children, the ignored kinds too. What goes away meanwhile is
    /// passed over.
    pub(super) fn visit(
        self,
        start: &Path,
        visitor: &mut dyn FnMut(&Entry, PathBuf, &Stat) -> Result<()>,
    ) -> Result<()> {
        let mut pending = vec![start.to_owned()];
        while let Some(path) = pending.pop() {
            let directory = match self.open_directory(&path) {
                Err(error) if error.is_missing() && path != start => continue,
                directory => Rc::new(directory?),
            };
            for name in names(&directory).map_err(|errno| self.failed("list", &path)(errno))? {
                let child = path.join(&name);
                let entry = Entry {
                    directory: Rc::clone(&directory),
                    name,
                };
                let Some(stat) = self.stat_entry(&entry, &child)? else {
                    continue;
                };
                if kind(&stat) == FileType::Directory {
                    pending.push(child.clone());
                }
                match visitor(&entry, child, &stat) {
                    Err(error) if error.is_missing() => {}
                    answer => answer?,
                }
            }
        }
        Ok(())
    }
}

/// Whether this is of a kind that is neither compared nor merged.
pub(super) fn is_ignored(stat: &Stat) -> bool {
    IGNORED.contains(&kind(stat))
}

/// The names in a directory beside `.` and `..`, sorted.
fn names(directory: impl AsFd) -> rustix::io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let name = entry?.file_name().to_bytes().to_vec();
        names.push(OsString::from_vec(name));
    }
    names.retain(|name| name != "." && name != "..");
    names.sort();
    Ok(names)
}

/// The kind of what is there.
pub(super) fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}
