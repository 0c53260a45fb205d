//! The layer between two trees.

use std::collections::{BTreeMap, HashMap};

use osmith_formats::tree::{Content, Inode, InodeId, Node, Tree};

use super::{Entry, Layer, LayerError, LayerNode, LayerPath, apply};

/// The layer that makes `upper` of `lower`: every path that differs in kind, metadata, content or in the other names
/// of its file, and whiteouts. Sockets are left out.
pub fn diff(lower: &Tree<Content>, upper: &Tree<Content>) -> Layer {
    let (before, after) = (Names::of(lower), Names::of(upper));
    let mut entries = BTreeMap::new();
    let mut first_names: HashMap<InodeId, LayerPath> = HashMap::new();
    for (path, id) in &after.by_path {
        let unchanged = before
            .by_path
            .get(path)
            .is_some_and(|old| same(&before, *old, &after, *id));
        if unchanged {
            continue;
        }
        let inode = upper.inode(*id);
        let Some(node) = layer_node(&inode.node) else {
            continue;
        };
        let entry = match first_names.get(id) {
            Some(first) => Entry::HardLink(first.clone()),
            None => {
                first_names.insert(*id, path.clone());
                Entry::Node {
                    metadata: inode.metadata.clone(),
                    node,
                }
            }
        };
        entries.insert(path.clone(), entry);
    }
    entries.extend(whiteouts(&before, &after));
    Layer {
        entries: entries.into_iter().collect(),
    }
}

/// One layer that does what `layers`, applied one after the other on `base`, do.
pub fn squash<'a>(
    base: &Tree<Content>,
    layers: impl IntoIterator<Item = &'a Layer>,
) -> Result<Layer, LayerError> {
    let mut top = base.clone();
    for layer in layers {
        apply(&mut top, layer)?;
    }
    Ok(diff(base, &top))
}

/// A tree by path, and the paths of each inode that has several.
struct Names<'a> {
    tree: &'a Tree<Content>,
    by_path: BTreeMap<LayerPath, InodeId>,
    linked: HashMap<InodeId, Vec<LayerPath>>,
}

impl<'a> Names<'a> {
    fn of(tree: &'a Tree<Content>) -> Self {
        let counts = tree.link_counts();
        let mut by_path = BTreeMap::new();
        let mut linked: HashMap<_, Vec<_>> = HashMap::new();
        for (path, id) in tree.walk() {
            let path = LayerPath::trusted(&path);
            if counts.get(id.index()).is_some_and(|count| *count > 1) {
                linked.entry(id).or_default().push(path.clone());
            }
            by_path.insert(path, id);
        }
        Names {
            tree,
            by_path,
            linked,
        }
    }

    fn is_directory(&self, path: &LayerPath) -> bool {
        self.by_path
            .get(path)
            .is_some_and(|id| self.tree.inode(*id).entries().is_some())
    }
}

fn same(before: &Names, old: InodeId, after: &Names, new: InodeId) -> bool {
    let (old_inode, new_inode) = (before.tree.inode(old), after.tree.inode(new));
    old_inode.metadata == new_inode.metadata
        && same_node(old_inode, new_inode)
        && before.linked.get(&old) == after.linked.get(&new)
}

fn same_node(old: &Inode<Content>, new: &Inode<Content>) -> bool {
    match (&old.node, &new.node) {
        (Node::Directory(_), Node::Directory(_)) => true,
        (old, new) => old == new,
    }
}

/// What is gone from a directory that is still one. What was below is gone with it. A socket in the place of a file
/// is not said by a layer, so the file is gone, too.
fn whiteouts<'a>(before: &'a Names, after: &'a Names) -> impl Iterator<Item = (LayerPath, Entry)> + 'a {
    let is_in_layer = |path: &LayerPath| {
        after
            .by_path
            .get(path)
            .is_some_and(|id| !matches!(after.tree.inode(*id).node, Node::Socket))
    };
    before
        .by_path
        .keys()
        .filter(move |path| !is_in_layer(path))
        .filter(|path| {
            path.split()
                .is_some_and(|(parent, _)| after.is_directory(&parent))
        })
        .map(|path| (path.clone(), Entry::Whiteout))
}

fn layer_node(node: &Node<Content>) -> Option<LayerNode> {
    Some(match node {
        Node::Directory(_) => LayerNode::Directory { opaque: false },
        Node::Regular(content) => LayerNode::Regular(content.clone()),
        Node::Symlink(target) => LayerNode::Symlink(target.clone()),
        Node::CharacterDevice(device) => LayerNode::CharacterDevice(*device),
        Node::BlockDevice(device) => LayerNode::BlockDevice(*device),
        Node::Fifo => LayerNode::Fifo,
        Node::Socket => return None,
    })
}
