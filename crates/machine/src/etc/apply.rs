//! Carrying out a merge. Every operation ends in the same state however far it, or those after it, were carried out
//! before: what was interrupted is done again from the start.

use std::collections::HashSet;
use std::fs::File;
use std::os::fd::BorrowedFd;
use std::path::Path;

use osmith_sys::OsError;
use osmith_sys::file::{copy_contents, descriptor_path, remove_attribute, set_attribute};
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid};
use rustix::io::Errno;

use super::folder::{Entry, Folder, kind};
use super::merge::{MergePlan, Operation};
use super::snapshot::{TEMPORARY, UPDATED, permissions};
use super::{EtcError, Result};

/// Labels that the kernel gives to what is new, and that only a policy takes away.
const LABEL: &[u8] = b"security.selinux";

impl MergePlan {
    /// Brings the changes of `current` into `new`, and waits until the medium has them. After an interruption the plan
    /// can be applied again, and so can one that is made then.
    pub fn apply(&self, current: BorrowedFd<'_>, new: BorrowedFd<'_>) -> Result<()> {
        if !self.conflicts.is_empty() {
            return Err(EtcError::Conflicts(self.conflicts.clone()));
        }
        let merge = Merge {
            current: Folder::etc(current),
            new: Folder::etc(new),
        };
        for operation in &self.operations {
            merge.carry_out(operation)?;
        }
        merge.remove(Path::new(UPDATED))?;
        rustix::fs::syncfs(new).map_err(merge.new.failed("write", Path::new("")))?;
        Ok(())
    }
}

/// Two folders of which one is brought into the other.
pub(super) struct Merge<'a> {
    pub(super) current: Folder<'a>,
    pub(super) new: Folder<'a>,
}

impl Merge<'_> {
    /// Carries out one operation.
    pub(super) fn carry_out(&self, operation: &Operation) -> Result<()> {
        match operation {
            Operation::Remove(path) => self.remove(path),
            Operation::Copy(path) => match self.current.stat(path)? {
                Some(stat) => self.copy(path, &stat),
                // Gone since the plan was made.
                None => self.remove(path),
            },
        }
    }

    fn copy(&self, path: &Path, stat: &Stat) -> Result<()> {
        let from = self.current.entry(path)?;
        let to = self.new.entry(path)?;
        let there = rustix::fs::statat(&to.directory, &to.name, AtFlags::SYMLINK_NOFOLLOW).ok();
        let is_there = there.map(|there| kind(&there));
        if kind(stat) == FileType::Directory {
            if is_there.is_some_and(|kind| kind != FileType::Directory) {
                self.remove(path)?;
            }
            self.make_directory(&to, path)?;
            return self.give_metadata(&from, &to, stat, path);
        }
        let temporary = Entry {
            directory: to.directory,
            name: TEMPORARY.into(),
        };
        self.make_copy(&from, &temporary, stat, path)?;
        if is_there == Some(FileType::Directory) {
            self.remove(path)?;
        }
        rustix::fs::renameat(&temporary.directory, TEMPORARY, &temporary.directory, &to.name)
            .map_err(self.new.failed("replace", path))?;
        Ok(())
    }

    /// Removes what is at a path in the new folder, with all below it.
    fn remove(&self, path: &Path) -> Result<()> {
        let entry = match self.new.entry(path) {
            Err(error) if error.is_missing() => return Ok(()),
            entry => entry?,
        };
        match self.unlink(&entry, AtFlags::empty(), path) {
            Err(error) if error.errno() == Errno::ISDIR => {}
            answer => return Ok(answer?),
        }
        // Not through this link or that: the paths are those of directories that were opened.
        for below in self.new.walk(path)?.iter().rev() {
            self.remove_one(below)?;
        }
        Ok(self.unlink(&entry, AtFlags::REMOVEDIR, path)?)
    }

    fn remove_one(&self, path: &Path) -> Result<()> {
        let entry = self.new.entry(path)?;
        match self.unlink(&entry, AtFlags::empty(), path) {
            Err(error) if error.errno() == Errno::ISDIR => {
                Ok(self.unlink(&entry, AtFlags::REMOVEDIR, path)?)
            }
            answer => Ok(answer?),
        }
    }

    /// Removes a name; there need be none.
    fn unlink(&self, entry: &Entry, flags: AtFlags, path: &Path) -> Result<(), OsError> {
        match rustix::fs::unlinkat(&entry.directory, &entry.name, flags) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(self.new.failed("remove", path)(errno)),
        }
    }

    pub(super) fn make_directory(&self, to: &Entry, path: &Path) -> Result<()> {
        match rustix::fs::mkdirat(&to.directory, &to.name, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => Ok(()),
            Err(errno) => Err(self.new.failed("create", path)(errno).into()),
        }
    }

    /// Makes a file or link that is like `from`, in the place of one that an interruption left.
    fn make_copy(&self, from: &Entry, to: &Entry, stat: &Stat, path: &Path) -> Result<()> {
        self.unlink(to, AtFlags::empty(), path)?;
        if kind(stat) == FileType::Symlink {
            let target = std::ffi::CString::new(self.current.target(from, path)?)
                .map_err(|_| self.new.failed("copy", path)(Errno::INVAL))?;
            rustix::fs::symlinkat(target, &to.directory, &to.name)
                .map_err(self.new.failed("create", path))?;
        } else {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let copy = rustix::fs::openat(&to.directory, &to.name, flags, Mode::RUSR | Mode::WUSR);
            let copy = File::from(copy.map_err(self.new.failed("create", path))?);
            copy_contents(&self.current.open_file(from, path)?, &copy)
                .map_err(|error| self.new.named(&error, path))?;
        }
        self.give_metadata(from, to, stat, path)?;
        let times = Timestamps {
            last_access: timespec(stat.st_atime, stat.st_atime_nsec),
            last_modification: timespec(stat.st_mtime, stat.st_mtime_nsec),
        };
        rustix::fs::utimensat(&to.directory, &to.name, &times, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(self.new.failed("set the times of", path))?;
        Ok(())
    }

    /// Owner, mode and attributes: in this order, as a new owner takes set-id bits and capabilities away.
    pub(super) fn give_metadata(&self, from: &Entry, to: &Entry, stat: &Stat, path: &Path) -> Result<()> {
        let (owner, group) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::chownat(&to.directory, &to.name, Some(owner), Some(group), flags)
            .map_err(self.new.failed("change the owner of", path))?;
        if kind(stat) != FileType::Symlink {
            let mode = Mode::from_raw_mode(permissions(stat).into());
            rustix::fs::chmodat(&to.directory, &to.name, mode, AtFlags::empty())
                .map_err(self.new.failed("change the mode of", path))?;
        }
        self.give_attributes(from, to, path)
    }

    fn give_attributes(&self, from: &Entry, to: &Entry, path: &Path) -> Result<()> {
        let wanted = self.current.attributes(from, path)?;
        let place = descriptor_path(&to.directory).join(&to.name);
        let named = |error: OsError| self.new.named(&error, path);
        let names: HashSet<&[u8]> = wanted.iter().map(|(name, _)| name).collect();
        for (name, _) in &self.new.attributes(to, path)? {
            if !names.contains(name) && name != LABEL {
                remove_attribute(&place, name).map_err(named)?;
            }
        }
        for (name, value) in &wanted {
            set_attribute(&place, name, value).map_err(named)?;
        }
        Ok(())
    }
}

/// The type of nanoseconds differs from processor to processor.
fn timespec(seconds: i64, nanoseconds: impl TryInto<i64>) -> Timespec {
    Timespec {
        tv_sec: seconds,
        tv_nsec: nanoseconds.try_into().unwrap_or_default(),
    }
}
