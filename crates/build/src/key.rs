//! Keys of the layer cache: BLAKE3 over everything that a step's result depends on.
//!
//! A key is known before the step runs: it is made of the layers below, the instruction with its variables replaced,
//! what it can see of the configuration, and for each source a hash of the files' names, types, modes, owners, links,
//! attributes and contents. Modification times, titles and proxies are left out.

use std::collections::HashMap;

use osmith_formats::tree::{Content, InodeId, Metadata, Node, Tree};
use osmith_image::layer::LayerId;

use crate::copy::Selection;

/// A key.
pub(crate) type Key = [u8; 32];

/// Takes in pieces, each with its length, so that no two lists of pieces look alike.
pub(crate) struct KeyHasher(blake3::Hasher);

impl KeyHasher {
    /// `purpose` separates keys of different meaning. Its number changes when osmith gives other results.
    pub(crate) fn new(purpose: &str) -> Self {
        KeyHasher(blake3::Hasher::new_derive_key(purpose))
    }

    pub(crate) fn bytes(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.add(bytes.as_ref());
        self
    }

    pub(crate) fn list(mut self, list: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Self {
        let mut count: u64 = 0;
        for item in list {
            self.add(item.as_ref());
            count += 1;
        }
        self.number(count);
        self
    }

    pub(crate) fn option(self, option: Option<impl AsRef<[u8]>>) -> Self {
        self.list(option)
    }

    pub(crate) fn pairs<'p>(self, pairs: impl IntoIterator<Item = &'p (String, String)>) -> Self {
        self.list(pairs.into_iter().flat_map(|(name, value)| [name, value]))
    }

    pub(crate) fn finish(self) -> Key {
        *self.0.finalize().as_bytes()
    }

    fn add(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.update(bytes);
    }

    fn number(&mut self, number: u64) {
        self.0.update(&number.to_le_bytes());
    }
}

/// What layers on top of each other are.
pub(crate) fn chain(layers: &[LayerId]) -> Key {
    KeyHasher::new("osmith build 1: layers")
        .list(layers.iter().map(LayerId::as_bytes))
        .finish()
}

/// What a selection is, and whether it is a single file, for the history.
pub(crate) fn selection(selection: &Selection<'_>) -> Key {
    let mut hasher = KeyHasher::new("osmith build 2: sources");
    let mut seen = HashMap::new();
    for item in &selection.items {
        hasher.add(&item.name);
        let above: Vec<&[u8]> = item.above.iter().map(|above| above.name.as_ref()).collect();
        hasher.add(&above.join(&b'/'));
        for above in &item.above {
            metadata(&mut hasher, &above.metadata);
        }
        subtree(&mut hasher, &selection.tree, item.inode, &mut seen);
    }
    hasher.number(u64::from(selection.is_several));
    hasher.finish()
}

fn subtree(hasher: &mut KeyHasher, tree: &Tree<Content>, top: InodeId, seen: &mut HashMap<InodeId, u64>) {
    let mut pending = vec![(Vec::new(), top)];
    while let Some((path, id)) = pending.pop() {
        hasher.add(&path);
        let next = seen.len() as u64;
        let number = *seen.entry(id).or_insert(next);
        hasher.number(number);
        if number < next {
            continue;
        }
        let inode = tree.inode(id);
        metadata(hasher, &inode.metadata);
        node(hasher, &inode.node);
        for (name, child) in inode.entries().into_iter().flatten().rev() {
            pending.push(([&path[..], b"/", name].concat(), *child));
        }
    }
}

fn metadata(hasher: &mut KeyHasher, metadata: &Metadata) {
    hasher.number(u64::from(metadata.mode));
    hasher.number(u64::from(metadata.uid));
    hasher.number(u64::from(metadata.gid));
    hasher.number(metadata.xattrs.len() as u64);
    for (name, value) in &metadata.xattrs {
        hasher.add(name);
        hasher.add(value);
    }
}

fn node(hasher: &mut KeyHasher, node: &Node<Content>) {
    let number = match node {
        Node::Directory(_) => 0,
        Node::Regular(_) => 1,
        Node::Symlink(_) => 2,
        Node::CharacterDevice(_) => 3,
        Node::BlockDevice(_) => 4,
        Node::Fifo => 5,
        Node::Socket => 6,
    };
    hasher.number(number);
    match node {
        Node::Regular(Content::Inline(bytes)) => hasher.add(bytes),
        Node::Regular(Content::Object { digest, size_bytes }) => {
            hasher.add(digest.as_bytes());
            hasher.number(*size_bytes);
        }
        Node::Symlink(target) => hasher.add(target),
        Node::CharacterDevice(device) | Node::BlockDevice(device) => {
            hasher.number(u64::from(device.major));
            hasher.number(u64::from(device.minor));
        }
        Node::Directory(_) | Node::Fifo | Node::Socket => {}
    }
}
