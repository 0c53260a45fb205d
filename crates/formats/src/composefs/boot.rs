//! The tree a machine boots from, made of the tree of its image.

use std::collections::BTreeMap;

use super::selinux;
use crate::tree::{Content, Inode, InodeId, Node, Timestamp, Tree};
use crate::verity::Digest;

const CAPABILITY: &[u8] = b"security.capability";

/// An image that no machine can boot from.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// A directory that must be there is not.
    #[error("boot tree: '/{0}' is missing or no directory")]
    NoDirectory(&'static str),
    /// A directory has several names, or contains itself.
    #[error("boot tree: a directory of the image has several names")]
    DirectoryLinks,
    /// A file cannot be read.
    #[error("boot tree: '/{path}' cannot be read")]
    Unreadable {
        /// The path of the file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// A file of the SELinux policy is missing, or no regular file.
    #[error("boot tree: '/{0}' of the SELinux policy is missing or no regular file")]
    NoPolicyFile(String),
    /// A line of the SELinux policy is malformed.
    #[error("boot tree: '/{path}' line {line}: {reason}")]
    PolicyLine {
        /// The path of the file.
        path: String,
        /// The number of the line, from 1.
        line: usize,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A pattern of the SELinux policy cannot be used.
    #[error("boot tree: a pattern of SELinux policy '{policy}' cannot be used: {reason}")]
    PolicyPattern {
        /// The name of the policy.
        policy: String,
        /// What the pattern is and what is wrong with it.
        reason: String,
    },
}

/// The tree whose [`super::image`] a machine boots from: what must not depend on the builder is taken out.
///
/// * `/` has the metadata of `/usr`; `/run`, if there, is empty and has the modification time of `/usr`.
/// * Of all attributes `security.capability` alone stays.
/// * `/boot` and `/sysroot` must exist and become empty, with the seconds of the modification time of `/usr`.
/// * SELinux labels are those of the policy of the image; without a policy there are none. `object` reads an object:
///   the files of the policy are among them.
pub fn bootable(
    mut tree: Tree<Content>,
    object: &mut dyn FnMut(&Digest) -> std::io::Result<Vec<u8>>,
) -> Result<Tree<Content>, BootError> {
    let usr = directory(&tree, "usr")?;
    let metadata = tree.inode(usr).metadata.clone();
    let mtime = metadata.mtime;
    let root = tree.root();
    tree.inode_mut(root).metadata = metadata;
    if let Ok(run) = directory(&tree, "run") {
        empty(tree.inode_mut(run), mtime);
    }
    for name in ["boot", "sysroot"] {
        let id = directory(&tree, name)?;
        let nanoseconds = tree.inode(id).metadata.mtime.nanoseconds;
        empty(tree.inode_mut(id), Timestamp { nanoseconds, ..mtime });
    }
    let mut tree = tree.into_map(|content| content);
    require_one_name(&tree)?;
    for inode in tree.inodes_mut() {
        inode.metadata.xattrs.retain(|name, _| name == CAPABILITY);
    }
    selinux::label(&mut tree, object)?;
    Ok(tree)
}

fn directory(tree: &Tree<Content>, name: &'static str) -> Result<InodeId, BootError> {
    let found = tree.child(tree.root(), name.as_bytes());
    found
        .filter(|id| tree.inode(*id).entries().is_some())
        .ok_or(BootError::NoDirectory(name))
}

fn empty(directory: &mut Inode<Content>, mtime: Timestamp) {
    directory.node = Node::Directory(BTreeMap::new());
    directory.metadata.mtime = mtime;
}

/// Of every directory, so that a walk of the tree ends.
fn require_one_name(tree: &Tree<Content>) -> Result<(), BootError> {
    let links = tree.link_counts();
    let mut pending = vec![tree.root()];
    while let Some(id) = pending.pop() {
        let Some(entries) = tree.inode(id).entries() else {
            continue;
        };
        if links[id.index()] > 1 {
            return Err(BootError::DirectoryLinks);
        }
        pending.extend(entries.values());
    }
    Ok(())
}
