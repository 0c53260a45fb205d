//! The tree a machine boots from, made of the tree of its image.

use std::collections::BTreeMap;

use crate::tree::{Content, Inode, InodeId, Node, Timestamp, Tree};
use crate::verity::Digest;

const CAPABILITY: &[u8] = b"security.capability";

/// An image that no machine can boot from.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// A directory that must be there is not.
    #[error("boot tree: '/{0}' is missing or no directory")]
    NoDirectory(&'static str),
    /// The image has an SELinux policy, whose labels cannot be given yet.
    #[error("boot tree: SELinux policy '{policy}' cannot be applied: labelling is not supported")]
    SelinuxPolicy {
        /// The name of the policy (`targeted`).
        policy: String,
    },
    /// A file of the SELinux policy cannot be read.
    #[error("boot tree: '/{path}' cannot be read")]
    Unreadable {
        /// The path of the file.
        path: String,
        /// Why.
        source: std::io::Error,
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
    tree: &Tree<Content>,
    object: &mut dyn FnMut(&Digest) -> std::io::Result<Vec<u8>>,
) -> Result<Tree<Content>, BootError> {
    let mut tree = tree.map(Clone::clone);
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
    let mut tree = tree.map(Clone::clone);
    keep_capabilities(&mut tree);
    if let Some(policy) = policy_name(&tree, object)? {
        return Err(BootError::SelinuxPolicy { policy });
    }
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

fn keep_capabilities(tree: &mut Tree<Content>) {
    for (_, id) in tree.walk() {
        let metadata = &mut tree.inode_mut(id).metadata;
        metadata.xattrs.retain(|name, _| **name == *CAPABILITY);
    }
}

/// The policy that `/etc/selinux/config` names.
fn policy_name(
    tree: &Tree<Content>,
    object: &mut dyn FnMut(&Digest) -> std::io::Result<Vec<u8>>,
) -> Result<Option<String>, BootError> {
    let Some(config) = read(tree, "etc/selinux/config", object)? else {
        return Ok(None);
    };
    let text = String::from_utf8_lossy(&config);
    let mut settings = text.lines().filter_map(|line| line.split_once('='));
    let policy = settings.find(|(key, _)| key.trim().eq_ignore_ascii_case("SELINUXTYPE"));
    Ok(policy.map(|(_, value)| value.trim().to_owned()))
}

fn read(
    tree: &Tree<Content>,
    path: &str,
    object: &mut dyn FnMut(&Digest) -> std::io::Result<Vec<u8>>,
) -> Result<Option<Vec<u8>>, BootError> {
    let Some(id) = tree.lookup(path.as_bytes()) else {
        return Ok(None);
    };
    match &tree.inode(id).node {
        Node::Regular(Content::Inline(bytes)) => Ok(Some(bytes.to_vec())),
        Node::Regular(Content::Object { digest, .. }) => match object(digest) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(source) => Err(BootError::Unreadable {
                path: path.to_owned(),
                source,
            }),
        },
        _ => Ok(None),
    }
}
