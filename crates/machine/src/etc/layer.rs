//! A merge as the writable layer of an overlay: what is different from the new `/etc`, and nothing else.
//!
//! ```text
//! a file, link or folder of the layer   covers what has its name below; the contents of folders are merged
//! a character device 0:0                what has its name below is not seen
//! ```
//!
//! Source: Documentation/filesystems/overlayfs.rst of the kernel.

use std::os::fd::BorrowedFd;
use std::path::Path;

use osmith_sys::file::{descriptor_path, read_attributes, set_attribute};
use rustix::fs::{AtFlags, FileType, Mode};
use rustix::io::Errno;

use super::apply::Merge;
use super::folder::Folder;
use super::merge::{MergePlan, Operation};
use super::snapshot::UPDATED;
use super::{EtcError, Result};

impl MergePlan {
    /// Brings the changes of `current` into `layer`, an empty folder that is to be mounted over `new`, and waits until
    /// the medium has them.
    pub fn apply_as_layer(
        &self,
        current: BorrowedFd<'_>,
        new: BorrowedFd<'_>,
        layer: BorrowedFd<'_>,
    ) -> Result<()> {
        if !self.conflicts.is_empty() {
            return Err(EtcError::Conflicts(self.conflicts.clone()));
        }
        // What is mounted is seen with the label of the layer.
        for (name, value) in &read_attributes(descriptor_path(new).join("."))? {
            set_attribute(descriptor_path(layer).join("."), name, value)?;
        }
        let cover = Cover {
            changes: Merge {
                current: Folder::etc(current),
                new: Folder::etc(layer),
            },
            folders: Merge {
                current: Folder::etc(new),
                new: Folder::etc(layer),
            },
        };
        for operation in &self.operations {
            cover.carry_out(operation)?;
        }
        cover.hide(Path::new(UPDATED))?;
        rustix::fs::syncfs(layer).map_err(cover.changes.new.failed("write", Path::new("")))?;
        Ok(())
    }
}

/// What is brought into a layer.
struct Cover<'a> {
    /// From the machine.
    changes: Merge<'a>,
    /// From what is below the layer.
    folders: Merge<'a>,
}

impl Cover<'_> {
    fn carry_out(&self, operation: &Operation) -> Result<()> {
        match operation {
            Operation::Remove(path) => self.hide(path),
            Operation::Copy(path) => match self.changes.current.stat(path)? {
                Some(_) => {
                    self.make_way(path)?;
                    self.changes.carry_out(operation)
                }
                // Gone since the plan was made.
                None => self.hide(path),
            },
        }
    }

    /// Hides what is at a path below the layer; there need be nothing.
    fn hide(&self, path: &Path) -> Result<()> {
        let below = self.folders.current;
        if below.stat(path)?.is_none() {
            return Ok(());
        }
        self.make_way(path)?;
        let entry = self.folders.new.entry(path)?;
        let failed = self.folders.new.failed("hide", path);
        let made = rustix::fs::mknodat(
            &entry.directory,
            &entry.name,
            FileType::CharacterDevice,
            Mode::empty(),
            0,
        );
        Ok(made.map_err(failed)?)
    }

    /// Makes the folders on the way to a path that the layer does not have yet, like those below it.
    fn make_way(&self, path: &Path) -> Result<()> {
        let on_the_way: Vec<&Path> = path.ancestors().skip(1).collect();
        let named = |path: &&Path| !path.as_os_str().is_empty();
        for folder in on_the_way.into_iter().rev().filter(named) {
            let to = self.folders.new.entry(folder)?;
            match rustix::fs::statat(&to.directory, &to.name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(_) => continue,
                Err(Errno::NOENT) => {}
                Err(errno) => return Err(self.folders.new.failed("look at", folder)(errno).into()),
            }
            let stat = self.folders.current.stat(folder)?;
            let stat = stat.ok_or_else(|| self.folders.current.failed("look at", folder)(Errno::NOENT))?;
            let from = self.folders.current.entry(folder)?;
            self.folders.make_directory(&to, folder)?;
            self.folders.give_metadata(&from, &to, &stat, folder)?;
        }
        Ok(())
    }
}
