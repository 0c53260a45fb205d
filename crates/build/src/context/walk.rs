//! Walks through parts of a build context: a tree whose files are still to be read.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use osmith_formats::tree::{Device, Inode, InodeId, Metadata, Name, Node, Timestamp, Tree, Xattrs};
use osmith_image::layer::is_kept_attribute;
use osmith_report::Observer;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::ignore::{Ignore, Matches};
use super::memo::FileKey;
use crate::copy::{SelectError, join};

/// A file that is to be read.
#[derive(Debug)]
pub(super) struct Job {
    /// From the root of the context on.
    pub(super) path: Vec<u8>,
    pub(super) key: FileKey,
}

/// What is found; files are numbers of jobs.
pub(super) struct Walk<'c> {
    root: BorrowedFd<'c>,
    ignore: &'c Ignore,
    excludes: &'c Ignore,
    observer: &'c dyn Observer,
    pub(super) tree: Tree<usize>,
    pub(super) jobs: Vec<Job>,
    by_inode: HashMap<(u64, u64), InodeId>,
    /// Excluded directories that stay only if something below is taken back: parent, name, directory.
    conditional: Vec<(InodeId, Name, InodeId)>,
}

/// A directory that is to be listed.
struct Pending {
    path: Vec<u8>,
    /// The path from the source on, for `--exclude`.
    below: Vec<u8>,
    directory: InodeId,
    ignored: Matches,
}

impl<'c> Walk<'c> {
    pub(super) fn new(
        root: BorrowedFd<'c>,
        ignore: &'c Ignore,
        excludes: &'c Ignore,
        observer: &'c dyn Observer,
    ) -> Self {
        Walk {
            root,
            ignore,
            excludes,
            observer,
            tree: Tree::new(Metadata::default()),
            jobs: Vec::new(),
            by_inode: HashMap::new(),
            conditional: Vec::new(),
        }
    }

    /// Adds what is at `path`, following links, under `name` in the root of the tree; `None` if it is excluded.
    pub(super) fn add(&mut self, path: &[u8], name: &[u8]) -> Result<Option<InodeId>, SelectError> {
        let text = String::from_utf8_lossy(path);
        let ignored = self.ignore.matches(&text);
        let is_ignored = self.ignore.decide(&ignored);
        let own_name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        let handle = open(self.root, path, OFlags::PATH)?;
        let stat = rustix::fs::fstat(&handle).map_err(|errno| failure("look at", path, errno))?;
        let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        let is_excluded = !is_directory && self.excludes.excludes_path(&String::from_utf8_lossy(own_name));
        if is_excluded || (is_ignored && !(is_directory && self.ignore.may_take_back_below(&text))) {
            return Ok(None);
        }
        let Some(inode) = self.inode(path, handle.as_fd(), b"", &stat)? else {
            return Ok(None);
        };
        let root = self.tree.root();
        self.tree.link(root, name, inode);
        if is_directory {
            self.descend(Pending {
                path: path.to_vec(),
                below: Vec::new(),
                directory: inode,
                ignored,
            })?;
            self.drop_empty();
            if is_ignored
                && self
                    .tree
                    .inode(inode)
                    .entries()
                    .is_none_or(|entries| entries.is_empty())
            {
                self.tree.unlink(root, name);
                return Ok(None);
            }
        }
        Ok(Some(inode))
    }

    fn descend(&mut self, top: Pending) -> Result<(), SelectError> {
        let mut pending = vec![top];
        while let Some(here) = pending.pop() {
            self.observer.require_running()?;
            let handle = open(self.root, &here.path, OFlags::RDONLY | OFlags::DIRECTORY)?;
            self.tree.inode_mut(here.directory).metadata.xattrs = attributes(handle.as_fd(), &here.path)?;
            for name in names(&handle, &here.path)? {
                pending.extend(self.child(&here, handle.as_fd(), &name)?);
            }
        }
        Ok(())
    }

    /// Adds a name of a directory; a directory is given back to be listed.
    fn child(
        &mut self,
        here: &Pending,
        handle: BorrowedFd<'_>,
        name: &[u8],
    ) -> Result<Option<Pending>, SelectError> {
        let path = join(&here.path, name);
        let below = join(&here.below, name);
        let text = String::from_utf8_lossy(&path);
        let ignored = self.ignore.matches_below(&here.ignored, &text);
        let is_ignored = self.ignore.decide(&ignored);
        if self.excludes.excludes_path(&String::from_utf8_lossy(&below)) {
            return Ok(None);
        }
        if is_ignored && !self.ignore.takes_back() {
            return Ok(None);
        }
        let stat = rustix::fs::statat(handle, name, AtFlags::SYMLINK_NOFOLLOW);
        let stat = stat.map_err(|errno| failure("look at", &path, errno))?;
        let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        if is_ignored && !(is_directory && self.ignore.may_take_back_below(&text)) {
            return Ok(None);
        }
        let Some(inode) = self.inode(&path, handle, name, &stat)? else {
            return Ok(None);
        };
        self.tree.link(here.directory, name, inode);
        if is_ignored {
            self.conditional.push((here.directory, name.into(), inode));
        }
        Ok(is_directory.then_some(Pending {
            path,
            below,
            directory: inode,
            ignored,
        }))
    }

    /// Takes excluded directories out in which nothing was taken back.
    fn drop_empty(&mut self) {
        while let Some((parent, name, directory)) = self.conditional.pop() {
            if self
                .tree
                .inode(directory)
                .entries()
                .is_some_and(|entries| entries.is_empty())
            {
                self.tree.unlink(parent, &name);
            }
        }
    }

    /// The inode of a file; sockets have none. `name` is empty if `handle` is the file itself.
    fn inode(
        &mut self,
        path: &[u8],
        handle: BorrowedFd<'_>,
        name: &[u8],
        stat: &Stat,
    ) -> Result<Option<InodeId>, SelectError> {
        let identity = (stat.st_dev, stat.st_ino);
        if let Some(known) = self.by_inode.get(&identity) {
            return Ok(Some(*known));
        }
        let node = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => Node::Directory(Default::default()),
            FileType::RegularFile => {
                self.jobs.push(Job {
                    path: path.to_vec(),
                    key: key(stat),
                });
                Node::Regular(self.jobs.len() - 1)
            }
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(handle, name, Vec::new());
                let target = target.map_err(|errno| failure("read the link", path, errno))?;
                Node::Symlink(target.as_bytes().into())
            }
            FileType::CharacterDevice => Node::CharacterDevice(device(stat)),
            FileType::BlockDevice => Node::BlockDevice(device(stat)),
            FileType::Fifo => Node::Fifo,
            FileType::Socket | FileType::Unknown => return Ok(None),
        };
        let is_directory = matches!(node, Node::Directory(_));
        let inode = self.tree.add(Inode {
            metadata: metadata(stat),
            node,
        });
        if stat.st_nlink > 1 && !is_directory {
            self.by_inode.insert(identity, inode);
        }
        Ok(Some(inode))
    }
}

/// Owners are of this machine, not of the image; set-uid and set-gid would be meant for them.
fn metadata(stat: &Stat) -> Metadata {
    Metadata {
        mode: (stat.st_mode & 0o1777) as u16,
        uid: 0,
        gid: 0,
        mtime: Timestamp {
            seconds: stat.st_mtime,
            nanoseconds: 0,
        },
        xattrs: Xattrs::new(),
    }
}

/// The metadata of a directory as it goes into images.
pub(super) fn directory_metadata(root: BorrowedFd<'_>, path: &[u8]) -> Result<Metadata, SelectError> {
    let handle = open(root, path, OFlags::RDONLY | OFlags::DIRECTORY)?;
    let stat = rustix::fs::fstat(&handle).map_err(|errno| failure("look at", path, errno))?;
    Ok(Metadata {
        xattrs: attributes(handle.as_fd(), path)?,
        ..metadata(&stat)
    })
}

pub(super) fn key(stat: &Stat) -> FileKey {
    FileKey {
        device: stat.st_dev,
        inode: stat.st_ino,
        size_bytes: stat.st_size as u64,
        mtime: (stat.st_mtime, stat.st_mtime_nsec as u32),
        ctime: (stat.st_ctime, stat.st_ctime_nsec as u32),
    }
}

fn device(stat: &Stat) -> Device {
    Device {
        major: rustix::fs::major(stat.st_rdev),
        minor: rustix::fs::minor(stat.st_rdev),
    }
}

/// Opens something of the context; links lead nowhere outside of it.
pub(super) fn open(root: BorrowedFd<'_>, path: &[u8], flags: OFlags) -> Result<OwnedFd, SelectError> {
    let name = if path.is_empty() { b".".as_slice() } else { path };
    osmith_sys::file::open_in_root(root, OsStr::from_bytes(name), flags, Mode::empty())
        .map_err(|error| failure("open", path, error.errno()))
}

pub(super) fn failure(operation: &'static str, path: &[u8], errno: Errno) -> SelectError {
    SelectError::Io {
        operation,
        path: String::from_utf8_lossy(path).into_owned(),
        source: io::Error::from(errno),
    }
}

/// The names in a directory in byte order.
pub(super) fn names(directory: &OwnedFd, path: &[u8]) -> Result<Vec<Name>, SelectError> {
    let failed = |errno| failure("list", path, errno);
    let mut names = Vec::new();
    for entry in Dir::read_from(directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().to_bytes();
        if !matches!(name, b"." | b"..") {
            names.push(name.into());
        }
    }
    names.sort();
    Ok(names)
}

/// The attributes of an open file that go into images.
pub(super) fn attributes(file: BorrowedFd<'_>, path: &[u8]) -> Result<Xattrs, SelectError> {
    let failed = |errno| failure("read the attributes of", path, errno);
    let list = grown(|buffer| rustix::fs::flistxattr(file, buffer)).map_err(failed)?;
    let mut attributes = Xattrs::new();
    for name in list
        .split(|byte| *byte == 0)
        .filter(|name| is_kept_attribute(name))
    {
        match grown(|buffer| rustix::fs::fgetxattr(file, name, buffer)) {
            Ok(value) => {
                attributes.insert(name.into(), value.into());
            }
            Err(Errno::NODATA) => {}
            Err(errno) => return Err(failed(errno)),
        }
    }
    Ok(attributes)
}

/// Calls with a larger buffer until the answer fits; file systems without attributes answer with nothing.
fn grown(mut call: impl FnMut(&mut [u8]) -> rustix::io::Result<usize>) -> rustix::io::Result<Vec<u8>> {
    let mut buffer = vec![0; 256];
    loop {
        match call(&mut buffer) {
            Ok(length) => {
                buffer.truncate(length);
                return Ok(buffer);
            }
            Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
            Err(Errno::RANGE) if buffer.len() < 1 << 20 => buffer.resize(buffer.len() * 16, 0),
            Err(errno) => return Err(errno),
        }
    }
}
