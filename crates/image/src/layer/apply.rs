//! Puts a layer on a tree.

use std::collections::{BTreeMap, HashMap};

use osmith_formats::tree::{Content, Inode, InodeId, Metadata, Node, Tree};

use super::builder::implied_metadata;
use super::{Entry, Layer, LayerError, LayerNode, LayerPath};

/// The tree below the lowest layer: a root directory, 0755 and root's.
pub fn empty_tree() -> Tree<Content> {
    Tree::new(implied_metadata())
}

/// Changes `tree` as the layer says. After an error the tree is of no use.
///
/// Directories that nothing speaks of are made, mode 0755 and owned by root; so is one in the place of a lower
/// layer's file or link that entries lie below, as in an overlay file system.
pub fn apply(tree: &mut Tree<Content>, layer: &Layer) -> Result<(), LayerError> {
    let lower = lower_links(tree, layer)?;
    for (path, entry) in layer.entries() {
        let Some((parent, name)) = path.split() else {
            apply_root(tree, entry);
            continue;
        };
        if matches!(entry, Entry::Whiteout | Entry::Opaque) {
            hide(tree, path, matches!(entry, Entry::Whiteout));
            continue;
        }
        let directory = ensure_directory(tree, &parent);
        match entry {
            Entry::Node { metadata, node } => place(tree, directory, name, metadata, node),
            Entry::HardLink(target) => {
                let inode = tree
                    .lookup(target.as_bytes())
                    .ok_or_else(|| link_to_nothing(path, target))?;
                tree.link(directory, name, inode);
            }
            Entry::LowerLink(target) => {
                let inode = lower.get(target).ok_or_else(|| link_to_nothing(path, target))?;
                tree.link(directory, name, *inode);
            }
            Entry::Whiteout | Entry::Opaque => {}
        }
    }
    Ok(())
}

/// The files of the tree as it is before the layer, that the layer links to.
fn lower_links<'a>(
    tree: &Tree<Content>,
    layer: &'a Layer,
) -> Result<HashMap<&'a LayerPath, InodeId>, LayerError> {
    let mut found = HashMap::new();
    for (path, entry) in layer.entries() {
        let Entry::LowerLink(target) = entry else {
            continue;
        };
        let inode = tree
            .lookup(target.as_bytes())
            .ok_or_else(|| link_to_nothing(path, target))?;
        if tree.inode(inode).entries().is_some() {
            return Err(LayerError::LinkToDirectory {
                path: path.to_string(),
                target: target.to_string(),
            });
        }
        found.insert(target, inode);
    }
    Ok(found)
}

fn apply_root(tree: &mut Tree<Content>, entry: &Entry) {
    let opaque = match entry {
        Entry::Node {
            metadata,
            node: LayerNode::Directory { opaque },
        } => {
            let root = tree.root();
            tree.inode_mut(root).metadata = metadata.clone();
            *opaque
        }
        Entry::Opaque => true,
        // The builder lets nothing else be the root.
        _ => false,
    };
    if opaque {
        clear(tree, tree.root());
    }
}

/// Removes the path, or what is in it.
fn hide(tree: &mut Tree<Content>, path: &LayerPath, whole: bool) {
    match path.split() {
        Some((parent, name)) if whole => {
            if let Some(directory) = tree.lookup(parent.as_bytes()) {
                tree.unlink(directory, name);
            }
        }
        _ => {
            if let Some(directory) = tree.lookup(path.as_bytes()) {
                clear(tree, directory);
            }
        }
    }
}

fn clear(tree: &mut Tree<Content>, directory: InodeId) {
    if let Node::Directory(entries) = &mut tree.inode_mut(directory).node {
        entries.clear();
    }
}

/// The directory at `path`. What is missing on the way, or is no directory, becomes one.
fn ensure_directory(tree: &mut Tree<Content>, path: &LayerPath) -> InodeId {
    let mut directory = tree.root();
    for name in path
        .as_bytes()
        .split(|byte| *byte == b'/')
        .filter(|name| !name.is_empty())
    {
        directory = match tree.child(directory, name) {
            Some(child) if tree.inode(child).entries().is_some() => child,
            _ => add(
                tree,
                directory,
                name,
                &implied_metadata(),
                Node::Directory(BTreeMap::new()),
            ),
        };
    }
    directory
}

fn place(tree: &mut Tree<Content>, directory: InodeId, name: &[u8], metadata: &Metadata, node: &LayerNode) {
    let node = match node {
        LayerNode::Directory { opaque } => {
            let existing = tree.child(directory, name).filter(|_| !opaque);
            match existing.filter(|child| tree.inode(*child).entries().is_some()) {
                Some(child) => {
                    tree.inode_mut(child).metadata = metadata.clone();
                    return;
                }
                None => Node::Directory(BTreeMap::new()),
            }
        }
        LayerNode::Regular(content) => Node::Regular(content.clone()),
        LayerNode::Symlink(target) => Node::Symlink(target.clone()),
        LayerNode::CharacterDevice(device) => Node::CharacterDevice(*device),
        LayerNode::BlockDevice(device) => Node::BlockDevice(*device),
        LayerNode::Fifo => Node::Fifo,
    };
    add(tree, directory, name, metadata, node);
}

fn add(
    tree: &mut Tree<Content>,
    directory: InodeId,
    name: &[u8],
    metadata: &Metadata,
    node: Node<Content>,
) -> InodeId {
    let inode = tree.add(Inode {
        metadata: metadata.clone(),
        node,
    });
    tree.link(directory, name, inode);
    inode
}

fn link_to_nothing(path: &LayerPath, target: &LayerPath) -> LayerError {
    LayerError::LinkToNothing {
        path: path.to_string(),
        target: target.to_string(),
    }
}
