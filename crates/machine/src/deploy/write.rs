//! A tree of files becomes files: below a directory that may have some of them already.
//!
//! Folders and objects that are there stay as they are; every other file and link is made anew and takes the place of
//! what has its name in one step. Nothing here waits for the medium.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use osmith_formats::tree::{Inode, InodeId, Metadata, Node, Timestamp, Tree};
use osmith_image::store::Store;
use osmith_report::Observer;
use osmith_sys::file::{NewFile, copy_contents, open_directory, set_attribute, write_all_at};
use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, Timespec, Timestamps, Uid, XattrFlags, makedev};

use super::{DeployError, failed};
use crate::install::{FileData, InstallFile};

/// What is written.
pub(crate) struct TreeWriter<'a> {
    /// The files.
    pub(crate) tree: &'a Tree<InstallFile>,
    /// Their contents.
    pub(crate) sources: &'a [FileData],
    /// Where objects are read from.
    pub(crate) store: &'a Store,
    /// Who may ask to stop.
    pub(crate) observer: &'a dyn Observer,
}

/// What a link is called until it has its name.
const TEMPORARY: &str = ".osmith-link.tmp";

type Result<T> = std::result::Result<T, DeployError>;

impl TreeWriter<'_> {
    /// Writes the tree below `directory`, which exists.
    pub(crate) fn write(&self, directory: &Path) -> Result<()> {
        let mut named = HashMap::new();
        self.fill(directory, self.tree.root(), &mut named)
    }

    fn fill(&self, path: &Path, folder: InodeId, named: &mut HashMap<InodeId, PathBuf>) -> Result<()> {
        self.observer.require_running()?;
        let directory = open_directory(path)?;
        for (name, id) in self.tree.inode(folder).entries().into_iter().flatten() {
            let child = path.join(OsStr::from_bytes(name));
            if let Some(first) = named.get(id) {
                replace(&child, |temporary| fs::hard_link(first, temporary))?;
                continue;
            }
            self.add(&directory, &child, *id, named)?;
        }
        Ok(())
    }

    fn add(
        &self,
        directory: &OwnedFd,
        path: &Path,
        id: InodeId,
        named: &mut HashMap<InodeId, PathBuf>,
    ) -> Result<()> {
        let inode = self.tree.inode(id);
        match &inode.node {
            Node::Directory(_) => return self.add_folder(path, id, named),
            Node::Regular(file) => self.add_file(directory, path, *file, &inode.metadata)?,
            Node::Symlink(target) => add_link(path, OsStr::from_bytes(target), &inode.metadata)?,
            _ => add_special(path, inode)?,
        }
        named.insert(id, path.to_owned());
        Ok(())
    }

    fn add_folder(&self, path: &Path, id: InodeId, named: &mut HashMap<InodeId, PathBuf>) -> Result<()> {
        let is_new = match fs::create_dir(path) {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
            Err(error) => return Err(failed("create", path, error)),
        };
        self.fill(path, id, named)?;
        match is_new {
            true => describe_folder(path, &self.tree.inode(id).metadata),
            false => Ok(()),
        }
    }

    fn add_file(
        &self,
        directory: &OwnedFd,
        path: &Path,
        file: InstallFile,
        metadata: &Metadata,
    ) -> Result<()> {
        let is_whole = |found: fs::Metadata| found.is_file() && found.len() == file.size_bytes;
        if file.verity && fs::symlink_metadata(path).is_ok_and(is_whole) {
            return Ok(());
        }
        let unwritable = |error| failed("write", path, error);
        let parent = directory.try_clone().map_err(unwritable)?;
        let mut new = NewFile::create(parent, 0o600).map_err(unwritable)?;
        self.copy(file, new.file()).map_err(unwritable)?;
        describe_file(new.file(), metadata).map_err(unwritable)?;
        if file.verity {
            new.close_for_writing().map_err(unwritable)?;
            osmith_sys::verity::enable(new.file())?;
        }
        let name = path.file_name().unwrap_or_default();
        new.replace(directory, name).map_err(unwritable)
    }

    /// Copies the contents of a file.
    pub(crate) fn copy(&self, file: InstallFile, to: &File) -> io::Result<()> {
        match self.sources.get(file.source as usize) {
            Some(FileData::Bytes(bytes)) => write_all_at(to, bytes, 0),
            Some(FileData::Object(digest)) => {
                let object = self.store.read_object(digest).map_err(io::Error::other)?;
                copy_contents(&object, to).map_err(io::Error::other)?;
                Ok(())
            }
            Some(FileData::Record(path)) => {
                let record = self.store.open_record(path).map_err(io::Error::other)?;
                copy_contents(&record, to).map_err(io::Error::other)?;
                Ok(())
            }
            None => Err(io::Error::other("a source has no number")),
        }
    }
}

/// Makes something under a name of its own and moves it to `path`.
fn replace(path: &Path, make: impl FnOnce(&Path) -> io::Result<()>) -> Result<()> {
    let temporary = path.with_file_name(TEMPORARY);
    let made = match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => make(&temporary).and_then(|()| fs::rename(&temporary, path)),
    };
    // A hard link over another name of the same file does nothing, and stays.
    let _ = fs::remove_file(&temporary);
    made.map_err(|error| failed("write", path, error))
}

fn add_link(path: &Path, target: &OsStr, metadata: &Metadata) -> Result<()> {
    if fs::read_link(path).is_ok_and(|found| found == target) {
        return Ok(());
    }
    replace(path, |temporary| {
        std::os::unix::fs::symlink(target, temporary)?;
        describe(temporary, metadata)
    })
}

fn add_special(path: &Path, inode: &Inode<InstallFile>) -> Result<()> {
    let (kind, device) = match &inode.node {
        Node::CharacterDevice(device) => (FileType::CharacterDevice, makedev(device.major, device.minor)),
        Node::BlockDevice(device) => (FileType::BlockDevice, makedev(device.major, device.minor)),
        Node::Socket => (FileType::Socket, 0),
        _ => (FileType::Fifo, 0),
    };
    replace(path, |temporary| {
        rustix::fs::mknodat(CWD, temporary, kind, Mode::from_raw_mode(0o600), device)?;
        let mode = Mode::from_raw_mode(inode.metadata.mode.into());
        rustix::fs::chmodat(CWD, temporary, mode, AtFlags::empty())?;
        describe(temporary, &inode.metadata)
    })
}

/// Owner, permissions, attributes and time of a folder that was filled.
fn describe_folder(path: &Path, metadata: &Metadata) -> Result<()> {
    let described = describe(path, metadata).and_then(|()| {
        let mode = Mode::from_raw_mode(metadata.mode.into());
        Ok(rustix::fs::chmodat(CWD, path, mode, AtFlags::empty())?)
    });
    described.map_err(|error| failed("describe", path, error))
}

/// Owner, attributes and time of what is no regular file, never through a link.
fn describe(path: &Path, metadata: &Metadata) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(metadata.uid), Gid::from_raw(metadata.gid));
    rustix::fs::chownat(CWD, path, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
    for (name, value) in &metadata.xattrs {
        set_attribute(path, name, value).map_err(|error| io::Error::from(error.errno()))?;
    }
    let times = times(metadata.mtime);
    Ok(rustix::fs::utimensat(
        CWD,
        path,
        &times,
        AtFlags::SYMLINK_NOFOLLOW,
    )?)
}

/// The same for an open regular file, with its permissions.
fn describe_file(file: &File, metadata: &Metadata) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(metadata.uid), Gid::from_raw(metadata.gid));
    rustix::fs::fchown(file, Some(uid), Some(gid))?;
    rustix::fs::fchmod(file, Mode::from_raw_mode(metadata.mode.into()))?;
    for (name, value) in &metadata.xattrs {
        rustix::fs::fsetxattr(file, name, value, XattrFlags::empty())?;
    }
    Ok(rustix::fs::futimens(file, &times(metadata.mtime))?)
}

fn times(mtime: Timestamp) -> Timestamps {
    let time = |tv_nsec| Timespec {
        tv_sec: mtime.seconds,
        tv_nsec,
    };
    Timestamps {
        last_access: time(rustix::fs::UTIME_OMIT),
        last_modification: time(mtime.nanoseconds.into()),
    }
}
