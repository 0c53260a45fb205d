//! A tree written to a directory, as the lower of an overlay where no EROFS can be mounted.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{lchown, symlink};
use std::path::{Path, PathBuf};

use osmith_formats::tree::{Content, Inode, InodeId, Metadata, Node, Timestamp, Tree};
use osmith_image::store::Store;
use osmith_sys::OsError;
use osmith_sys::file::{copy_contents, set_attribute};
use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, makedev};
use rustix::io::Errno;

use super::RunError;

/// What a regular file becomes.
pub(super) trait WriteContents {
    /// Fills the empty file at `path`.
    fn write(&self, content: &Content, file: &File, path: &Path) -> Result<(), RunError>;
}

/// Files without contents, with the attributes by which overlayfs finds the object.
pub(super) struct Stubs;

impl WriteContents for Stubs {
    fn write(&self, content: &Content, file: &File, path: &Path) -> Result<(), RunError> {
        match content {
            Content::Inline(bytes) => write_all(file, bytes, path),
            Content::Object { digest, size_bytes } => {
                file.set_len(*size_bytes)
                    .map_err(|error| OsError::from_io("set the size of", path.display(), &error))?;
                let redirect = format!("/{}", digest.object_path());
                set_attribute(path, b"user.overlay.metacopy", b"")?;
                set_attribute(path, b"user.overlay.redirect", redirect.as_bytes())?;
                Ok(())
            }
        }
    }
}

/// Copies of the objects, sharing their blocks where the file system can.
pub(super) struct Copies<'a> {
    /// Where the objects are.
    pub(super) store: &'a Store,
}

impl WriteContents for Copies<'_> {
    fn write(&self, content: &Content, file: &File, path: &Path) -> Result<(), RunError> {
        match content {
            Content::Inline(bytes) => write_all(file, bytes, path),
            Content::Object { digest, .. } => {
                copy_contents(&self.store.read_object(digest)?, file)?;
                Ok(())
            }
        }
    }
}

fn write_all(mut file: &File, bytes: &[u8], path: &Path) -> Result<(), RunError> {
    file.write_all(bytes)
        .map_err(|error| OsError::from_io("write", path.display(), &error).into())
}

/// Writes a tree into an empty directory.
///
/// What a user namespace may not have is left out: devices, owners without an id there, attributes other than file
/// capabilities and `user.*`.
pub(super) fn write(
    tree: &Tree<Content>,
    directory: &Path,
    contents: &dyn WriteContents,
) -> Result<(), RunError> {
    let mut first_names: HashMap<InodeId, PathBuf> = HashMap::new();
    let walk = tree.walk();
    for (name, id) in &walk {
        let path = directory.join(OsStr::from_bytes(name));
        let inode = tree.inode(*id);
        match first_names.get(id) {
            Some(first) => {
                fs::hard_link(first, &path)
                    .map_err(|error| OsError::from_io("link", path.display(), &error))?;
            }
            None if name.is_empty() => {}
            None => {
                if create(inode, &path, contents)? && !matches!(inode.node, Node::Directory(_)) {
                    set_metadata(&path, &inode.metadata)?;
                    first_names.insert(*id, path);
                }
            }
        }
    }
    // What is created in a directory changes its time, and may need its mode.
    for (name, id) in walk.iter().rev() {
        let inode = tree.inode(*id);
        if matches!(inode.node, Node::Directory(_)) {
            set_metadata(&directory.join(OsStr::from_bytes(name)), &inode.metadata)?;
        }
    }
    Ok(())
}

/// Makes the file without its metadata; false if it was left out.
fn create(inode: &Inode<Content>, path: &Path, contents: &dyn WriteContents) -> Result<bool, RunError> {
    let created = match &inode.node {
        Node::Directory(_) => fs::create_dir(path),
        Node::Regular(content) => {
            let file =
                File::create_new(path).map_err(|error| OsError::from_io("create", path.display(), &error))?;
            return contents.write(content, &file, path).map(|()| true);
        }
        Node::Symlink(target) => symlink(OsStr::from_bytes(target), path),
        Node::CharacterDevice(device) => {
            return make_node(
                path,
                FileType::CharacterDevice,
                makedev(device.major, device.minor),
            );
        }
        Node::BlockDevice(device) => {
            return make_node(path, FileType::BlockDevice, makedev(device.major, device.minor));
        }
        Node::Fifo => return make_node(path, FileType::Fifo, 0),
        Node::Socket => return make_node(path, FileType::Socket, 0),
    };
    created.map_err(|error| OsError::from_io("create", path.display(), &error))?;
    Ok(true)
}

fn make_node(path: &Path, kind: FileType, device: u64) -> Result<bool, RunError> {
    match rustix::fs::mknodat(CWD, path, kind, Mode::from_raw_mode(0o600), device) {
        Ok(()) => Ok(true),
        Err(Errno::PERM) => Ok(false),
        Err(errno) => Err(OsError::new("create", path.display(), errno).into()),
    }
}

/// Gives a file its owner, mode, attributes and time, in this order: each takes away what may be lost by the one
/// before.
pub(super) fn set_metadata(path: &Path, metadata: &Metadata) -> Result<(), OsError> {
    match lchown(path, Some(metadata.uid), Some(metadata.gid)) {
        // The user namespace has no such id.
        Err(error) if error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => {}
        answer => answer.map_err(|error| OsError::from_io("change the owner of", path.display(), &error))?,
    }
    let is_link = fs::symlink_metadata(path)
        .map_err(|error| OsError::from_io("look at", path.display(), &error))?
        .is_symlink();
    if !is_link {
        rustix::fs::chmod(path, Mode::from_raw_mode(metadata.mode.into()))
            .map_err(|errno| OsError::new("change the mode of", path.display(), errno))?;
    }
    for (name, value) in &metadata.xattrs {
        if (name.starts_with(b"user.") && !is_link) || **name == *b"security.capability" {
            set_attribute(path, name, value)?;
        }
    }
    let time = timespec(metadata.mtime);
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)
        .map_err(|errno| OsError::new("set the time of", path.display(), errno))
}

fn timespec(time: Timestamp) -> Timespec {
    Timespec {
        tv_sec: time.seconds,
        tv_nsec: time.nanoseconds.into(),
    }
}
