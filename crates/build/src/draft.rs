//! The tree of a stage while it is made, and what has changed in it since its last layer.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use osmith_container::users::Owner;
use osmith_formats::tree::{
    Content, Inode, InodeId, Metadata, Name, Node, ResolveError, Timestamp, Tree, Xattrs, path_names,
    shown_path,
};
use osmith_image::layer::{Entry, Layer, LayerBuilder, LayerError, LayerNode, LayerPath};

/// A path below the root: its names.
pub(crate) type Names = Vec<Name>;

/// A tree and the changes that are in no layer yet.
#[derive(Debug)]
pub(crate) struct Draft {
    tree: Tree<Content>,
    /// Paths that are new or whose metadata changed.
    touched: BTreeSet<Vec<u8>>,
    /// Paths where something stood that a new directory must not show again.
    replaced: BTreeSet<Vec<u8>>,
    /// Directories that were made only to hold others.
    implied: BTreeSet<Vec<u8>>,
}

impl Draft {
    pub(crate) fn new(tree: Tree<Content>) -> Self {
        Draft {
            tree,
            touched: BTreeSet::new(),
            replaced: BTreeSet::new(),
            implied: BTreeSet::new(),
        }
    }

    pub(crate) fn tree(&self) -> &Tree<Content> {
        &self.tree
    }

    /// Whether something is in no layer yet.
    pub(crate) fn has_changes(&self) -> bool {
        !self.touched.is_empty()
    }

    /// Makes the directories of a path that are missing: 0755, of `owner`. The path of the last one without links.
    pub(crate) fn ensure_directory(
        &mut self,
        path: &[u8],
        owner: Owner,
        mtime: Timestamp,
    ) -> Result<(Names, InodeId), ResolveError> {
        let resolved = self.tree.resolve(path)?;
        let mut here = resolved.inode;
        if self.tree.inode(here).entries().is_none() {
            let existing = resolved.names.get(..resolved.existing).unwrap_or_default();
            return Err(ResolveError::NotADirectory(shown_path(existing)));
        }
        for index in resolved.existing..resolved.names.len() {
            let (above, rest) = resolved.names.split_at(index);
            let Some(name) = rest.first() else { break };
            let metadata = Metadata {
                mode: 0o755,
                uid: owner.uid,
                gid: owner.gid,
                mtime,
                xattrs: Xattrs::new(),
            };
            here = self.place(above, here, name, metadata, Node::Directory(BTreeMap::new()));
            self.implied.insert(joined(above, name));
        }
        Ok((resolved.names, here))
    }

    /// Puts something in a directory, in the place of what is there; an existing directory stays and takes the
    /// metadata of a new one.
    pub(crate) fn place(
        &mut self,
        above: &[Name],
        directory: InodeId,
        name: &[u8],
        metadata: Metadata,
        node: Node<Content>,
    ) -> InodeId {
        let old = self.tree.child(directory, name);
        let is_merged = matches!(node, Node::Directory(_))
            && old.is_some_and(|old| self.tree.inode(old).entries().is_some());
        let path = self.touch(above, name);
        match old {
            Some(old) if is_merged => {
                self.tree.inode_mut(old).metadata = metadata;
                old
            }
            _ => {
                let new = self.tree.add(Inode { metadata, node });
                self.replace(path, directory, name, new);
                new
            }
        }
    }

    /// Gives an inode of this tree one more name.
    pub(crate) fn link(&mut self, above: &[Name], directory: InodeId, name: &[u8], target: InodeId) {
        let path = self.touch(above, name);
        self.replace(path, directory, name, target);
    }

    fn touch(&mut self, above: &[Name], name: &[u8]) -> Vec<u8> {
        let path = joined(above, name);
        self.implied.remove(&path);
        self.touched.insert(path.clone());
        path
    }

    fn replace(&mut self, path: Vec<u8>, directory: InodeId, name: &[u8], new: InodeId) {
        if let Some(old) = self.tree.link(directory, name, new)
            && self.tree.inode(old).entries().is_some()
        {
            self.replaced.insert(path);
        }
    }

    /// The layer of the changes, which are then no changes any more.
    pub(crate) fn take_layer(&mut self) -> Result<Layer, LayerError> {
        let touched = std::mem::take(&mut self.touched);
        let replaced = std::mem::take(&mut self.replaced);
        self.implied.clear();
        let mut builder = LayerBuilder::new();
        let mut first_names: HashMap<InodeId, LayerPath> = HashMap::new();
        for path in touched {
            let Some(id) = self.tree.lookup(&path) else {
                continue;
            };
            let inode = self.tree.inode(id);
            let Some(node) = layer_node(&inode.node, replaced.contains(&path)) else {
                continue;
            };
            let path = LayerPath::parse(&path)?;
            match first_names.get(&id) {
                Some(first) => builder.hard_link(path, first.clone())?,
                None => {
                    builder.add(path.clone(), inode.metadata.clone(), node)?;
                    first_names.insert(id, path);
                }
            }
        }
        Ok(builder.finish())
    }

    /// The layer of the changes for a tree that they were not made on: directories that were made only to hold others
    /// are in it where `lower` has none.
    pub(crate) fn take_layer_over(&mut self, lower: &Tree<Content>) -> Result<Layer, LayerError> {
        let is_there = |path: &&Vec<u8>| {
            let found = lower.lookup(path);
            found.is_some_and(|id| lower.inode(id).entries().is_some())
        };
        for path in std::mem::take(&mut self.implied).iter().filter(is_there) {
            self.touched.remove(path);
        }
        self.take_layer()
    }

    /// Takes over a layer as it is; it does not count as a change.
    pub(crate) fn apply(&mut self, layer: &Layer) -> Result<(), LayerError> {
        osmith_image::layer::apply(&mut self.tree, layer)
    }

    /// Which of the paths above `path`, and it, are directories here.
    pub(crate) fn directories_above(&self, path: &[u8]) -> Vec<Vec<u8>> {
        let names: Vec<&[u8]> = path_names(path).collect();
        let paths = (1..=names.len()).map(|count| names.get(..count).unwrap_or_default().join(&b'/'));
        let is_directory = |path: &Vec<u8>| {
            let found = self.tree.lookup(path);
            found.is_some_and(|id| self.tree.inode(id).entries().is_some())
        };
        paths.filter(is_directory).collect()
    }

    /// Takes over the layer of a RUN that ran on this tree: with the changes before it, it becomes one layer.
    pub(crate) fn absorb(&mut self, run: Layer) -> Result<Layer, LayerError> {
        let before = self.take_layer()?;
        osmith_image::layer::apply(&mut self.tree, &run)?;
        match before.is_empty() {
            true => Ok(run),
            false => combined(&before, &run),
        }
    }
}

fn joined(above: &[Name], name: &[u8]) -> Vec<u8> {
    match above.is_empty() {
        true => name.to_vec(),
        false => [&above.join(&b'/')[..], b"/", name].concat(),
    }
}

/// New directories, and what a command made of them, in one layer.
fn combined(before: &Layer, run: &Layer) -> Result<Layer, LayerError> {
    let is_gone = |path: &LayerPath| {
        run.entries()
            .any(|(gone, entry)| *entry == Entry::Whiteout && (gone == path || path.is_below(gone)))
    };
    let mut builder = LayerBuilder::new();
    let kept = before.entries().filter(|(path, _)| !is_gone(path));
    let from_run = run
        .entries()
        .filter(|(path, entry)| **entry != Entry::Whiteout || before.entry(path).is_none());
    for (path, entry) in kept.chain(from_run) {
        let path = path.clone();
        match entry.clone() {
            Entry::Whiteout => builder.whiteout(path)?,
            Entry::Opaque => builder.opaque(path)?,
            Entry::Node { metadata, node } => builder.add(path, metadata, node)?,
            Entry::HardLink(target) | Entry::LowerLink(target) => builder.hard_link(path, target)?,
        }
    }
    Ok(builder.finish())
}

fn layer_node(node: &Node<Content>, hides_lower: bool) -> Option<LayerNode> {
    Some(match node {
        Node::Directory(_) => LayerNode::Directory { opaque: hides_lower },
        Node::Regular(content) => LayerNode::Regular(content.clone()),
        Node::Symlink(target) => LayerNode::Symlink(target.clone()),
        Node::CharacterDevice(device) => LayerNode::CharacterDevice(*device),
        Node::BlockDevice(device) => LayerNode::BlockDevice(*device),
        Node::Fifo => LayerNode::Fifo,
        Node::Socket => return None,
    })
}
