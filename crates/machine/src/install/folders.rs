//! Building a tree by paths.

use std::collections::BTreeMap;

use osmith_formats::tree::{Content, Inode, InodeId, Metadata, Node, Timestamp, Tree};
use osmith_formats::verity::Digest;

use super::{FileData, InstallFile};

/// A tree that grows by paths; folders on the way are made, all belong to root and have one modification time.
pub(super) struct Folders {
    tree: Tree<InstallFile>,
    sources: Vec<FileData>,
    mtime: Timestamp,
}

impl Folders {
    /// An empty tree, whose files add their contents to `sources`.
    pub(super) fn new(mtime: Timestamp, sources: Vec<FileData>) -> Self {
        Folders {
            tree: Tree::new(metadata(0o755, mtime)),
            sources,
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

    /// A file of these bytes that all may read.
    pub(super) fn bytes(&mut self, path: &str, bytes: Vec<u8>, verity: bool) {
        let file = self.source(bytes.len() as u64, FileData::Bytes(bytes), verity);
        self.add(path, 0o644, Node::Regular(file));
    }

    /// A file with the contents of a record of the store.
    pub(super) fn record(&mut self, path: &str, size_bytes: u64, record: String) {
        let file = self.source(size_bytes, FileData::Record(record), false);
        self.add(path, 0o644, Node::Regular(file));
    }

    /// A file of text.
    pub(super) fn text(&mut self, path: &str, text: &str) {
        self.bytes(path, text.as_bytes().to_vec(), false);
    }

    /// A file with the contents of one of the image.
    pub(super) fn content(&mut self, path: &str, content: &Content) {
        let file = self.plain(content);
        self.add(path, 0o644, Node::Regular(file));
    }

    /// A folder of objects, named by the digits of their digests but for the first two.
    pub(super) fn objects(&mut self, path: &str, objects: &[(Digest, u64)]) {
        let folder = self.folder(path);
        let named = objects.iter().map(|(digest, size_bytes)| {
            let file = self.source(*size_bytes, FileData::Object(*digest), true);
            let id = self.tree.add(Inode {
                metadata: metadata(0o644, self.mtime),
                node: Node::Regular(file),
            });
            (digest.object_path().as_bytes()[3..].into(), id)
        });
        let entries = named.collect();
        self.tree.inode_mut(folder).node = Node::Directory(entries);
    }

    fn source(&mut self, size_bytes: u64, data: FileData, verity: bool) -> InstallFile {
        self.sources.push(data);
        InstallFile {
            source: (self.sources.len() - 1) as u32,
            size_bytes,
            verity,
        }
    }

    /// A file without fs-verity.
    fn plain(&mut self, content: &Content) -> InstallFile {
        let data = match content {
            Content::Inline(bytes) => FileData::Bytes(bytes.to_vec()),
            Content::Object { digest, .. } => FileData::Object(*digest),
        };
        self.source(content.size_bytes(), data, false)
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
    pub(super) fn copy(&mut self, path: &str, from: &Tree, folder: InodeId) {
        let mut copies = BTreeMap::new();
        let root = self.folder(path);
        self.tree.inode_mut(root).metadata = from.inode(folder).metadata.clone();
        let mut pending = vec![(folder, root)];
        while let Some((source, target)) = pending.pop() {
            for (name, child) in from.inode(source).entries().into_iter().flatten() {
                let copy = *copies.entry(*child).or_insert_with(|| {
                    let inode = self.copy_inode(from.inode(*child));
                    let copy = self.tree.add(inode);
                    pending.push((*child, copy));
                    copy
                });
                self.tree.link(target, name, copy);
            }
        }
    }

    /// An inode without the names in it.
    fn copy_inode(&mut self, inode: &Inode<Content>) -> Inode<InstallFile> {
        let node = match &inode.node {
            Node::Directory(_) => Node::Directory(BTreeMap::new()),
            Node::Regular(content) => Node::Regular(self.plain(content)),
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

    /// Takes a name out of a folder, if it is there.
    pub(super) fn remove(&mut self, folder: &str, name: &str) {
        let folder = self.folder(folder);
        self.tree.unlink(folder, name.as_bytes());
    }

    /// The tree and the contents of its files.
    pub(super) fn finish(self) -> (Tree<InstallFile>, Vec<FileData>) {
        (self.tree, self.sources)
    }
}

fn metadata(mode: u16, mtime: Timestamp) -> Metadata {
    Metadata {
        mode,
        mtime,
        ..Metadata::default()
    }
}
