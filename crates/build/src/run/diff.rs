//! What a command changed: from the upper directory of an overlay to a layer.
//!
//! Source: Documentation/filesystems/overlayfs.rst. A whiteout is a character device 0:0, or in a directory whose
//! `overlay.opaque` is `x` an empty file with the attribute `overlay.whiteout`; a directory whose `overlay.opaque` is
//! `y` hides what is below it. The overlay makes only copies of whole files, so there are no other notes to follow.
//!
//! Left out of the layer: what equals the base, mount points, sockets, and attributes that name the machine (labels,
//! overlay's notes, access control lists), as other builders do.

use std::collections::{HashMap, HashSet};
use std::ffi::{CStr, OsStr};
use std::fs;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use osmith_container::root::MountPoints;
use osmith_formats::tree::{Content, Device, Inode, Metadata, Node, Timestamp, Tree, Xattrs};
use osmith_image::layer::{Layer, LayerBuilder, LayerNode, LayerPath, is_kept_attribute};
use osmith_image::store::Store;
use osmith_report::Observer;
use osmith_sys::OsError;
use osmith_sys::file::{open_directory, read_attribute, read_attributes};
use rustix::fs::{major, minor};

use super::RunError;

/// Turns an upper directory into a layer. The regular files leave the directory: they become objects.
pub(super) fn layer_of(
    upper: &Path,
    base: &Tree<Content>,
    mount_points: &MountPoints,
    store: &Store,
    observer: &dyn Observer,
) -> Result<Layer, RunError> {
    let mut changes = scan(upper, observer)?;
    changes.retain(|change| is_change(change, base, mount_points));
    drop_empty_mount_points(&mut changes, mount_points);
    let contents = adopt(upper, &changes, store, observer)?;
    assemble(changes, &contents, base)
}

/// Something the upper directory has.
struct Change {
    path: LayerPath,
    kind: Kind,
    metadata: Metadata,
}

enum Kind {
    Whiteout,
    Directory { opaque: bool },
    Regular(Links),
    Other { node: LayerNode, links: Links },
}

/// Which file it is a name of, if it may have several.
#[derive(Clone, Copy)]
struct Links {
    inode: u64,
    count: u64,
}

/// Everything in the upper directory, parents before children, names in byte order.
fn scan(upper: &Path, observer: &dyn Observer) -> Result<Vec<Change>, RunError> {
    let mut changes = Vec::new();
    let mut pending = vec![LayerPath::default()];
    while let Some(path) = pending.pop() {
        observer.require_running()?;
        let full = full_path(upper, &path);
        let Some(change) = read(&full, path)? else {
            continue;
        };
        if matches!(change.kind, Kind::Directory { .. }) {
            pending.extend(children(&full, &change.path)?);
        }
        changes.push(change);
    }
    Ok(changes)
}

fn full_path(upper: &Path, path: &LayerPath) -> PathBuf {
    upper.join(OsStr::from_bytes(path.as_bytes()))
}

/// The paths in a directory, the last one first.
fn children(full: &Path, path: &LayerPath) -> Result<Vec<LayerPath>, RunError> {
    let failed = |error: &std::io::Error| OsError::from_io("read", full.display(), error);
    let mut names = Vec::new();
    for entry in fs::read_dir(full).map_err(|error| failed(&error))? {
        let name = entry.map_err(|error| failed(&error))?.file_name();
        let child = path.join(name.as_bytes());
        if name.as_bytes().starts_with(b".wh.") {
            return Err(RunError::WhiteoutName {
                path: format!("/{child}"),
            });
        }
        names.push(LayerPath::parse(child.as_bytes())?);
    }
    names.sort_by(|a, b| b.cmp(a));
    Ok(names)
}

/// `None` for a socket: there is nobody to talk to in an image.
fn read(full: &Path, path: LayerPath) -> Result<Option<Change>, RunError> {
    let stat =
        fs::symlink_metadata(full).map_err(|error| OsError::from_io("look at", full.display(), &error))?;
    let kind = stat.file_type();
    let links = Links {
        inode: stat.ino(),
        count: stat.nlink(),
    };
    let other = |node| Kind::Other { node, links };
    let kind = if kind.is_dir() {
        Kind::Directory {
            opaque: overlay_note(full, OPAQUE)?.as_deref() == Some(b"y"),
        }
    } else if kind.is_symlink() {
        let target = fs::read_link(full).map_err(|error| OsError::from_io("read", full.display(), &error))?;
        other(LayerNode::Symlink(target.as_os_str().as_bytes().into()))
    } else if kind.is_char_device() && stat.rdev() == 0 {
        Kind::Whiteout
    } else if kind.is_char_device() {
        other(LayerNode::CharacterDevice(device(stat.rdev())))
    } else if kind.is_block_device() {
        other(LayerNode::BlockDevice(device(stat.rdev())))
    } else if kind.is_fifo() {
        other(LayerNode::Fifo)
    } else if kind.is_socket() {
        return Ok(None);
    } else if stat.len() == 0 && overlay_note(full, WHITEOUT)?.is_some() {
        Kind::Whiteout
    } else {
        Kind::Regular(links)
    };
    let metadata = metadata(full, &stat)?;
    Ok(Some(Change { path, kind, metadata }))
}

const OPAQUE: [&CStr; 2] = [c"trusted.overlay.opaque", c"user.overlay.opaque"];
const WHITEOUT: [&CStr; 2] = [c"trusted.overlay.whiteout", c"user.overlay.whiteout"];

fn overlay_note(full: &Path, names: [&CStr; 2]) -> Result<Option<Vec<u8>>, OsError> {
    for name in names {
        if let Some(value) = read_attribute(full, name)? {
            return Ok(Some(value));
        }
    }
    Ok(None)
}

fn device(number: u64) -> Device {
    Device {
        major: major(number),
        minor: minor(number),
    }
}

fn metadata(full: &Path, stat: &fs::Metadata) -> Result<Metadata, OsError> {
    let attributes = read_attributes(full)?
        .into_iter()
        .filter(|(name, _)| is_kept_attribute(name))
        .map(|(name, value)| match &*name {
            CAPABILITY => (name, without_namespace(value)),
            _ => (name, value),
        });
    Ok(Metadata {
        mode: (stat.mode() & 0o7777) as u16,
        uid: stat.uid(),
        gid: stat.gid(),
        mtime: Timestamp {
            seconds: stat.mtime(),
            nanoseconds: u32::try_from(stat.mtime_nsec()).unwrap_or(0),
        },
        xattrs: attributes.collect(),
    })
}

const CAPABILITY: &[u8] = b"security.capability";

/// File capabilities as set in a user namespace name its root; in an image they count for any root.
///
/// Source: `struct vfs_ns_cap_data` (linux/capability.h): a word with revision and flag, two pairs of words, and in
/// revision 3 the root's user id; all little endian.
fn without_namespace(value: Box<[u8]>) -> Box<[u8]> {
    const REVISION_2: u8 = 2;
    const REVISION_3: u8 = 3;
    match &*value {
        [flags, a, b, REVISION_3, sets_and_root @ ..] if sets_and_root.len() == 20 => {
            let mut version_2 = vec![*flags, *a, *b, REVISION_2];
            version_2.extend_from_slice(sets_and_root.get(..16).unwrap_or_default());
            version_2.into()
        }
        _ => value,
    }
}

fn is_change(change: &Change, base: &Tree<Content>, mount_points: &MountPoints) -> bool {
    let path = change.path.as_bytes();
    let before = base.lookup(path).map(|id| base.inode(id));
    match &change.kind {
        Kind::Whiteout => before.is_some(),
        // The time of the root changes with whatever is mounted or made in it.
        Kind::Directory { opaque: false } if change.path.is_root() => {
            before.is_none_or(|before| !is_same(&before.metadata, &change.metadata, false))
        }
        Kind::Directory { opaque } => before.is_none_or(|before| {
            *opaque || before.entries().is_none() || !is_same(&before.metadata, &change.metadata, true)
        }),
        Kind::Regular(_) | Kind::Other { .. } => !mount_points.is_added(path),
    }
}

fn is_same(before: &Metadata, after: &Metadata, with_time: bool) -> bool {
    let kept = |xattrs: &Xattrs| -> Xattrs {
        xattrs
            .iter()
            .filter(|(name, _)| is_kept_attribute(name))
            .collect()
    };
    (before.mode, before.uid, before.gid) == (after.mode, after.uid, after.gid)
        && (!with_time || before.mtime == after.mtime)
        && kept(&before.xattrs) == after.xattrs
}

/// A directory that was made for a mount point is in the layer only if the command put something into it.
fn drop_empty_mount_points(changes: &mut Vec<Change>, mount_points: &MountPoints) {
    let mut needed = HashSet::new();
    let mut kept: Vec<bool> = Vec::with_capacity(changes.len());
    for change in changes.iter().rev() {
        let keep = !mount_points.is_added(change.path.as_bytes()) || needed.contains(&change.path);
        if keep {
            needed.extend(change.path.split().map(|(parent, _)| parent));
        }
        kept.push(keep);
    }
    changes.retain(|_| kept.pop().unwrap_or(true));
}

/// Makes objects of the regular files, in parallel; the contents are returned by inode number.
fn adopt(
    upper: &Path,
    changes: &[Change],
    store: &Store,
    observer: &dyn Observer,
) -> Result<HashMap<u64, Content>, RunError> {
    let mut seen = HashSet::new();
    let files: Vec<(&LayerPath, u64)> = changes
        .iter()
        .filter_map(|change| match change.kind {
            Kind::Regular(links) => Some((&change.path, links.inode)),
            _ => None,
        })
        .filter(|(_, inode)| seen.insert(*inode))
        .collect();
    let next = AtomicUsize::new(0);
    let contents = Mutex::new(HashMap::with_capacity(files.len()));
    let work = || -> Result<(), RunError> {
        while let Some((path, inode)) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
            observer.require_running()?;
            let content = adopt_file(upper, path, store)?;
            contents
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner)
                .insert(*inode, content);
        }
        Ok(())
    };
    let threads = std::thread::available_parallelism().map_or(1, |count| count.get().min(files.len()));
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        running.into_iter().try_for_each(|thread| match thread.join() {
            Ok(answer) => answer,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    })?;
    Ok(contents
        .into_inner()
        .unwrap_or_else(std::sync::PoisonError::into_inner))
}

fn adopt_file(upper: &Path, path: &LayerPath, store: &Store) -> Result<Content, RunError> {
    let Some((parent, name)) = path.split() else {
        return Ok(Content::Inline(Box::default()));
    };
    let directory = open_directory(full_path(upper, &parent))?;
    Ok(store.adopt_file(directory.as_fd(), OsStr::from_bytes(name))?)
}

fn assemble(
    changes: Vec<Change>,
    contents: &HashMap<u64, Content>,
    base: &Tree<Content>,
) -> Result<Layer, RunError> {
    let mut builder = LayerBuilder::new();
    let mut first_names: HashMap<u64, LayerPath> = HashMap::new();
    for Change { path, kind, metadata } in changes {
        let before = base.lookup(path.as_bytes()).map(|id| base.inode(id));
        let (node, links) = match kind {
            Kind::Whiteout => {
                builder.whiteout(path)?;
                continue;
            }
            Kind::Directory { opaque } => {
                let hides = opaque && before.is_some_and(|before| before.entries().is_some());
                builder.add(
                    path,
                    whole_seconds(metadata),
                    LayerNode::Directory { opaque: hides },
                )?;
                continue;
            }
            Kind::Regular(links) => {
                let content = contents.get(&links.inode).cloned();
                let empty = || Content::Inline(Box::default());
                (LayerNode::Regular(content.unwrap_or_else(empty)), links)
            }
            Kind::Other { node, links } => (node, links),
        };
        if links.count > 1 {
            if let Some(first) = first_names.get(&links.inode) {
                builder.hard_link(path, first.clone())?;
                continue;
            }
            first_names.insert(links.inode, path.clone());
        } else if before.is_some_and(|before| is_unchanged(before, &node, &metadata)) {
            continue;
        }
        builder.add(path, whole_seconds(metadata), node)?;
    }
    Ok(builder.finish())
}

/// Opening a file for writing is enough to have it copied.
fn is_unchanged(before: &Inode<Content>, node: &LayerNode, metadata: &Metadata) -> bool {
    let same_node = match (&before.node, node) {
        (Node::Regular(before), LayerNode::Regular(after)) => before == after,
        (Node::Symlink(before), LayerNode::Symlink(after)) => before == after,
        _ => false,
    };
    same_node && is_same(&before.metadata, metadata, true)
}

/// Fractions of seconds are in no layer: not all programs that read it keep them.
fn whole_seconds(mut metadata: Metadata) -> Metadata {
    metadata.mtime.nanoseconds = 0;
    metadata
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_lose_their_namespace() {
        let mut version_3 = vec![1, 0, 0, 3];
        version_3.extend(1..=16);
        let version_2: Vec<u8> = [vec![1, 0, 0, 2], (1..=16).collect()].concat();
        version_3.extend([0xa0, 0x86, 1, 0]);
        assert_eq!(*without_namespace(version_3.into()), version_2);
        let unchanged = without_namespace(version_2.clone().into());
        assert_eq!(*unchanged, version_2);
    }

    #[test]
    fn attributes_of_the_machine_are_left_out() {
        let kept = |name: &str| is_kept_attribute(name.as_bytes());
        assert!(kept("user.mime_type") && kept("security.capability") && kept("security.ima"));
        let left_out = [
            "user.overlay.origin",
            "trusted.overlay.opaque",
            "security.selinux",
            "system.posix_acl_access",
        ];
        assert!(!left_out.iter().any(|name| kept(name)));
    }
}
