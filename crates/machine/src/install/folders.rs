//! Building a tree by paths.

use std::collections::BTreeMap;

use osmith_formats::tree::{Inode, InodeId, Metadata, Node, Timestamp, Tree};

use super::{FileData, InstallFile};

/// A tree that grows by paths; folders on the way are made, all belong to root and have one modification time.
pub(super) struct Folders {
    tree: Tree<InstallFile>,
    mtime: Timestamp,
}

impl Folders {
    /// An empty tree.
    pub(super) fn new(mtime: Timestamp) -> Self {
        Folders {
            tree: Tree::new(metadata(0o755, mtime)),
            mtime,
        }
    }

    /// The folder at a path.
    pub(super) fn folder(&mut self, path: &str) -> InodeId {
        let names = path.split('/').filter(|name| !name.is_empty());
        names.fold(self.tree.root(), |parent, name| self.child(parent, name))
    }

    fn child(&mut self, parent: InodeId, name: &str) -> InodeId {
        if let Some(child) = self.tree.child(parent, name.as_bytes()) {
            return child;
        }
        let folder = Inode {
            metadata: metadata(0o755, self.mtime),
            node: Node::Directory(BTreeMap::new()),
        };
        let child = self.tree.add(folder);
        self.tree.link(parent, name.as_bytes(), child);
        child
    }

    /// Sets the permissions of a folder, which is made if needed.
    pub(super) fn folder_mode(&mut self, path: &str, mode: u16) {
        let id = self.folder(path);
        self.tree.inode_mut(id).metadata.mode = mode;
    }

    /// A file that all may read.
    pub(super) fn file(&mut self, path: &str, file: InstallFile) {
        self.add(path, 0o644, Node::Regular(file));
    }

    /// A file of text.
    pub(super) fn text(&mut self, path: &str, text: &str) {
        let data = FileData::Bytes(text.as_bytes().to_vec());
        self.file(path, InstallFile { data, verity: false });
    }

    /// A symbolic link.
    pub(super) fn symlink(&mut self, path: &str, target: &str) {
        self.add(path, 0o777, Node::Symlink(target.as_bytes().into()));
    }

    fn add(&mut self, path: &str, mode: u16, node: Node<InstallFile>) {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        let parent = self.folder(parent);
        let id = self.tree.add(Inode {
            metadata: metadata(mode, self.mtime),
            node,
        });
        self.tree.link(parent, name.as_bytes(), id);
    }

    /// Copies a folder of another tree with all below it; hard links within it stay hard links.
    pub(super) fn copy<F>(
        &mut self,
        path: &str,
        from: &Tree<F>,
        folder: InodeId,
        file: impl Fn(&F) -> InstallFile,
    ) {
        let mut copies = BTreeMap::new();
        let root = self.folder(path);
        self.tree.inode_mut(root).metadata = from.inode(folder).metadata.clone();
        let mut pending = vec![(folder, root)];
        while let Some((source, target)) = pending.pop() {
            for (name, child) in from.inode(source).entries().into_iter().flatten() {
                let copy = *copies.entry(*child).or_insert_with(|| {
                    let copy = self.tree.add(copy_inode(from.inode(*child), &file));
                    pending.push((*child, copy));
                    copy
                });
                self.tree.link(target, name, copy);
            }
        }
    }

    /// Takes a name out of a folder, if it is there.
    pub(super) fn remove(&mut self, folder: &str, name: &str) {
        let folder = self.folder(folder);
        self.tree.unlink(folder, name.as_bytes());
    }

    /// The tree.
    pub(super) fn finish(self) -> Tree<InstallFile> {
        self.tree
    }
}

fn metadata(mode: u16, mtime: Timestamp) -> Metadata {
    Metadata {
        mode,
        mtime,
        ..Metadata::default()
    }
}

/// An inode without the names in it.
fn copy_inode<F>(inode: &Inode<F>, file: impl Fn(&F) -> InstallFile) -> Inode<InstallFile> {
    let node = match &inode.node {
        Node::Directory(_) => Node::Directory(BTreeMap::new()),
        Node::Regular(content) => Node::Regular(file(content)),
        Node::Symlink(target) => Node::Symlink(target.clone()),
        Node::CharacterDevice(device) => Node::CharacterDevice(*device),
        Node::BlockDevice(device) => Node::BlockDevice(*device),
        Node::Fifo => Node::Fifo,
        Node::Socket => Node::Socket,
    };
    Inode {
        metadata: inode.metadata.clone(),
        node,
    }
}
