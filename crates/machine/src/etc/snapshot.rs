//! What is in a folder, as far as it is compared.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use osmith_formats::tree::{XattrSets, Xattrs};
use osmith_sys::OsError;
use osmith_sys::file::{descriptor_path, open_without_links, read_attributes};
use rustix::fs::{FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};

use super::folder::{Entry, Folder, is_ignored, kind};
use super::{Aspect, Result};

/// What systemd leaves in `/etc` when it has seen an update.
pub(super) const UPDATED: &str = ".updated";
/// What a merge leaves if it is interrupted.
pub(super) const TEMPORARY: &str = ".osmith-merge.tmp";
const READ_BYTES: usize = 64 << 10;

/// The items of a folder by their paths from it; the folder itself is not among them.
pub type Snapshot = BTreeMap<PathBuf, Item>;

/// A file, folder or symbolic link, as far as it is compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Permission bits; 0 for links, which have none.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Extended attributes.
    pub xattrs: Xattrs,
    /// The kind, and what only that kind has.
    pub kind: ItemKind,
}

/// The kind of an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ItemKind {
    /// A folder.
    Directory,
    /// A regular file.
    Regular {
        /// The SHA-256 of its contents, or of what else is compared.
        fingerprint: [u8; 32],
    },
    /// A symbolic link.
    Symlink {
        /// Its target.
        target: Box<[u8]>,
    },
}

impl Item {
    /// Whether this is a folder.
    pub fn is_directory(&self) -> bool {
        self.kind == ItemKind::Directory
    }

    /// In what it differs from another one.
    pub(super) fn differences(&self, other: &Item) -> Vec<Aspect> {
        let is_kind = std::mem::discriminant(&self.kind) != std::mem::discriminant(&other.kind);
        let found = [
            (is_kind, Aspect::Kind),
            (!is_kind && self.kind != other.kind, Aspect::Content),
            (!is_kind && self.mode != other.mode, Aspect::Mode),
            ((self.uid, self.gid) != (other.uid, other.gid), Aspect::Owner),
            (self.xattrs != other.xattrs, Aspect::Attributes),
        ];
        let found = found.into_iter().filter(|(is_there, _)| *is_there);
        found.map(|(_, aspect)| aspect).collect()
    }
}

/// How files are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    /// By their contents.
    Contents,
    /// By length and modification time, which finds what a program replaced without reading anything.
    Times,
}

/// Reads all of an `/etc`. What goes away meanwhile is not in it.
pub fn snapshot(folder: BorrowedFd<'_>) -> Result<Snapshot> {
    read(Folder::etc(folder), Comparison::Contents)
}

/// Reads all of a folder.
pub(super) fn read(folder: Folder<'_>, comparison: Comparison) -> Result<Snapshot> {
    let mut sets = XattrSets::default();
    let mut items = Snapshot::new();
    folder.visit(Path::new(""), &mut |entry, path, stat| {
        let is_left_out = path.as_os_str() == UPDATED || entry.name == TEMPORARY || is_ignored(stat);
        if !is_left_out {
            let mut item = item(folder, comparison, entry, &path, stat)?;
            item.xattrs = item.xattrs.shared(&mut sets);
            items.insert(path, item);
        }
        Ok(())
    })?;
    Ok(items)
}

/// What has a name.
fn item(folder: Folder<'_>, comparison: Comparison, entry: &Entry, path: &Path, stat: &Stat) -> Result<Item> {
    let kind = match kind(stat) {
        FileType::Directory => ItemKind::Directory,
        FileType::Symlink => ItemKind::Symlink {
            target: folder.target(entry, path)?,
        },
        _ => ItemKind::Regular {
            fingerprint: match comparison {
                Comparison::Contents => folder.digest(&folder.open_file(entry, path)?, path)?,
                Comparison::Times => times(stat),
            },
        },
    };
    let is_link = matches!(kind, ItemKind::Symlink { .. });
    Ok(Item {
        mode: if is_link { 0 } else { permissions(stat) },
        uid: stat.st_uid,
        gid: stat.st_gid,
        xattrs: folder.attributes(entry, path)?,
        kind,
    })
}

/// The permission bits.
pub(super) fn permissions(stat: &Stat) -> u16 {
    (stat.st_mode & 0o7777) as u16
}

/// Length and modification time.
fn times(stat: &Stat) -> [u8; 32] {
    let text = format!("{} {} {}", stat.st_size, stat.st_mtime, stat.st_mtime_nsec);
    Sha256::digest(text).into()
}

impl Folder<'_> {
    /// The target of a symbolic link.
    pub(super) fn target(self, entry: &Entry, path: &Path) -> Result<Box<[u8]>> {
        let target = rustix::fs::readlinkat(&entry.directory, &entry.name, Vec::new());
        Ok(target
            .map_err(self.failed("read the link", path))?
            .into_bytes()
            .into())
    }

    /// The extended attributes of what has a name.
    pub(super) fn attributes(self, entry: &Entry, path: &Path) -> Result<Xattrs> {
        let found = read_attributes(descriptor_path(&entry.directory).join(&entry.name));
        Ok(found
            .map_err(|error| self.named(&error, path))?
            .into_iter()
            .collect())
    }

    /// Opens a regular file for reading.
    pub(super) fn open_file(self, entry: &Entry, path: &Path) -> Result<File> {
        // What became a pipe meanwhile must not make anybody wait.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file: OwnedFd = open_without_links(entry.directory.as_fd(), &entry.name, flags, Mode::empty())
            .map_err(|error| self.named(&error, path))?;
        let stat = rustix::fs::fstat(&file).map_err(self.failed("look at", path))?;
        match kind(&stat) {
            FileType::RegularFile => Ok(file.into()),
            _ => Err(self.failed("read", path)(Errno::STALE).into()),
        }
    }

    fn digest(self, mut file: &File, path: &Path) -> Result<[u8; 32]> {
        let mut hasher = Sha256::new();
        let mut buffer = vec![0; READ_BYTES];
        loop {
            match file.read(&mut buffer) {
                Ok(0) => return Ok(hasher.finalize().into()),
                Ok(length) => hasher.update(buffer.get(..length).unwrap_or_default()),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(OsError::from_io("read", self.shown(path), &error).into()),
            }
        }
    }
}
