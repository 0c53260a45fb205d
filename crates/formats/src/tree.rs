//! The file tree: what an image, a build root, a disk and a machine have in common.
//!
//! An arena of inodes, as in a file system: a directory maps names to inode numbers, and a hard link is a second
//! name of the same inode. The type parameter is what stands for the contents of a regular file: [`Content`] in an
//! image, a source to copy from when a file system is written.

mod resolve;
mod xattrs;

use std::collections::BTreeMap;

use crate::verity::Digest;

pub use resolve::{ResolveError, Resolved, path_names, shown_path};
pub use xattrs::{XattrSets, Xattrs};

/// Contents up to this many bytes are kept in the tree, longer ones in an object (as composefs does).
pub const INLINE_MAX_BYTES: usize = 64;

/// The number of an inode in its [`Tree`]; numbers of one tree mean nothing in another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InodeId(u32);

impl InodeId {
    /// The position of the inode in the arena, for tables beside the tree.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// A file name or link target: bytes, as Linux has them.
pub type Name = Box<[u8]>;

/// A point in time: seconds since 1970-01-01 UTC and nanoseconds (0 to 999,999,999).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp {
    /// Seconds since the epoch, negative before it.
    pub seconds: i64,
    /// Nanoseconds after `seconds`.
    pub nanoseconds: u32,
}

/// What every inode has besides its kind.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Metadata {
    /// Permission bits with set-uid, set-gid and sticky: `0o7777` at most.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Last modification.
    pub mtime: Timestamp,
    /// Extended attributes.
    pub xattrs: Xattrs,
}

/// The contents of a regular file in an image.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Content {
    /// The bytes themselves, [`INLINE_MAX_BYTES`] at most.
    Inline(Box<[u8]>),
    /// An object of the store, longer than [`INLINE_MAX_BYTES`].
    Object {
        /// The object's name.
        digest: Digest,
        /// Its length.
        size_bytes: u64,
    },
}

impl Content {
    /// The length of the file.
    pub fn size_bytes(&self) -> u64 {
        match self {
            Content::Inline(bytes) => bytes.len() as u64,
            Content::Object { size_bytes, .. } => *size_bytes,
        }
    }
}

/// A device number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Device {
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
}

/// The kind of an inode, and what only that kind has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node<F> {
    /// Names in byte order; `.` and `..` are not among them.
    Directory(BTreeMap<Name, InodeId>),
    /// A regular file.
    Regular(F),
    /// A symbolic link and its target.
    Symlink(Name),
    /// A character device.
    CharacterDevice(Device),
    /// A block device.
    BlockDevice(Device),
    /// A named pipe.
    Fifo,
    /// A Unix socket.
    Socket,
}

/// An inode: metadata and kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inode<F> {
    /// Owner, mode, times, attributes.
    pub metadata: Metadata,
    /// The kind.
    pub node: Node<F>,
}

impl<F> Inode<F> {
    /// The names in a directory; `None` for any other kind.
    pub fn entries(&self) -> Option<&BTreeMap<Name, InodeId>> {
        match &self.node {
            Node::Directory(entries) => Some(entries),
            _ => None,
        }
    }
}

/// A file tree. Inodes that no name reaches any more stay in the arena until [`Tree::map`] copies the tree.
#[derive(Debug, Clone)]
pub struct Tree<F = Content> {
    inodes: Vec<Inode<F>>,
}

impl<F> Tree<F> {
    /// A tree of an empty root directory.
    pub fn new(root: Metadata) -> Self {
        Tree {
            inodes: vec![Inode {
                metadata: root,
                node: Node::Directory(BTreeMap::new()),
            }],
        }
    }

    /// The root directory.
    pub fn root(&self) -> InodeId {
        InodeId(0)
    }

    /// The inode of that number.
    pub fn inode(&self, id: InodeId) -> &Inode<F> {
        &self.inodes[id.index()]
    }

    /// The inode of that number, to change it.
    pub fn inode_mut(&mut self, id: InodeId) -> &mut Inode<F> {
        &mut self.inodes[id.index()]
    }

    /// How many inodes the arena holds, reachable or not: the length of a table indexed by [`InodeId::index`].
    pub fn arena_len(&self) -> usize {
        self.inodes.len()
    }

    /// The inodes of the arena, reachable or not.
    pub fn inodes(&self) -> impl Iterator<Item = &Inode<F>> {
        self.inodes.iter()
    }

    /// The same, to change them.
    pub fn inodes_mut(&mut self) -> impl Iterator<Item = &mut Inode<F>> {
        self.inodes.iter_mut()
    }

    /// The same, for what makes something else of the tree.
    pub fn into_inodes(self) -> impl Iterator<Item = Inode<F>> {
        self.inodes.into_iter()
    }

    /// Adds an inode that has no name yet; see [`Tree::link`].
    pub fn add(&mut self, inode: Inode<F>) -> InodeId {
        let id = InodeId(u32::try_from(self.inodes.len()).unwrap_or(u32::MAX));
        self.inodes.push(inode);
        id
    }

    /// Names `target` as `name` in `directory`, in the place of what had that name, which is returned.
    ///
    /// Does nothing if `directory` is no directory.
    pub fn link(&mut self, directory: InodeId, name: &[u8], target: InodeId) -> Option<InodeId> {
        match &mut self.inode_mut(directory).node {
            Node::Directory(entries) => entries.insert(name.into(), target),
            _ => None,
        }
    }

    /// Takes a name out of `directory` and returns what it named.
    pub fn unlink(&mut self, directory: InodeId, name: &[u8]) -> Option<InodeId> {
        match &mut self.inode_mut(directory).node {
            Node::Directory(entries) => entries.remove(name),
            _ => None,
        }
    }

    /// The inode that `directory` has under `name`.
    pub fn child(&self, directory: InodeId, name: &[u8]) -> Option<InodeId> {
        self.inode(directory).entries()?.get(name).copied()
    }

    /// The inode at a `/`-separated path from the root; empty components and `.` are skipped, symbolic links are not
    /// followed and `..` is not understood.
    pub fn lookup(&self, path: &[u8]) -> Option<InodeId> {
        path.split(|byte| *byte == b'/')
            .filter(|name| !name.is_empty() && *name != b".")
            .try_fold(self.root(), |directory, name| self.child(directory, name))
    }

    /// Every name of the tree, parents before children, names of a directory in byte order: the path without a
    /// leading `/` (empty for the root), and the inode. A hard-linked inode comes once a name.
    pub fn walk(&self) -> Vec<(Vec<u8>, InodeId)> {
        let mut found = Vec::new();
        let mut pending = vec![(Vec::new(), self.root())];
        while let Some((path, id)) = pending.pop() {
            for (name, child) in self.inode(id).entries().into_iter().flatten().rev() {
                let mut child_path = path.clone();
                if !child_path.is_empty() {
                    child_path.push(b'/');
                }
                child_path.extend_from_slice(name);
                pending.push((child_path, *child));
            }
            found.push((path, id));
        }
        found
    }

    /// How many names each inode has, by [`InodeId::index`]; 0 for what is out of reach. The root counts as named
    /// once.
    pub fn link_counts(&self) -> Vec<u32> {
        let mut counts = vec![0; self.inodes.len()];
        counts[0] = 1;
        let mut pending = vec![self.root()];
        while let Some(id) = pending.pop() {
            for child in self.inode(id).entries().into_iter().flat_map(BTreeMap::values) {
                counts[child.index()] += 1;
                if counts[child.index()] == 1 {
                    pending.push(*child);
                }
            }
        }
        counts
    }

    /// Takes everything below `directory`, which stays and is empty afterwards; the root of what is returned has its
    /// metadata. A file with names in both parts becomes two.
    pub fn split_off(&mut self, directory: InodeId) -> Tree<F>
    where
        F: Clone,
    {
        let mut taken = Tree::new(self.inode(directory).metadata.clone());
        let mut moved: Vec<Option<InodeId>> = vec![None; self.inodes.len()];
        let mut pending = vec![(directory, taken.root())];
        while let Some((source, target)) = pending.pop() {
            for (name, child) in self.inode(source).entries().into_iter().flatten() {
                let copy = *moved[child.index()].get_or_insert_with(|| {
                    let inode = self.inode(*child);
                    let copy = taken.add(Inode {
                        metadata: inode.metadata.clone(),
                        node: map_node(&inode.node, &mut F::clone),
                    });
                    pending.push((*child, copy));
                    copy
                });
                taken.link(target, name, copy);
            }
        }
        self.inode_mut(directory).node = Node::Directory(BTreeMap::new());
        taken
    }

    /// Adds another tree, whose root becomes a directory that has no name yet; see [`Tree::link`].
    pub fn append(&mut self, other: Tree<F>) -> InodeId {
        let start = self.inodes.len() as u32;
        self.inodes.extend(other.inodes.into_iter().map(|mut inode| {
            if let Node::Directory(entries) = &mut inode.node {
                entries.values_mut().for_each(|id| id.0 += start);
            }
            inode
        }));
        InodeId(start)
    }

    /// The same tree with other file contents, without the inodes that no name reaches.
    pub fn map<G>(&self, mut file: impl FnMut(&F) -> G) -> Tree<G> {
        let mut moved: Vec<Option<InodeId>> = vec![None; self.inodes.len()];
        let mut mapped = Tree::new(self.inodes[0].metadata.clone());
        mapped.inodes.reserve_exact(self.inodes.len());
        moved[0] = Some(mapped.root());
        let mut pending = vec![self.root()];
        while let Some(id) = pending.pop() {
            let Some(directory) = moved[id.index()] else {
                continue;
            };
            for (name, child) in self.inode(id).entries().into_iter().flatten() {
                let target = *moved[child.index()].get_or_insert_with(|| {
                    pending.push(*child);
                    let inode = self.inode(*child);
                    mapped.add(Inode {
                        metadata: inode.metadata.clone(),
                        node: map_node(&inode.node, &mut file),
                    })
                });
                mapped.link(directory, name, target);
            }
        }
        mapped
    }
}

impl<F> Tree<F> {
    /// The same tree with other file contents, in the memory of this one; without the inodes that no name reaches.
    pub fn into_map<G>(self, mut file: impl FnMut(F) -> G) -> Tree<G> {
        let names = self.link_counts();
        let mut kept = 0;
        let moved: Vec<InodeId> = names
            .iter()
            .map(|count| {
                let id = InodeId(kept);
                kept += u32::from(*count > 0);
                id
            })
            .collect();
        let inodes = self.inodes.into_iter().zip(names).filter(|(_, count)| *count > 0);
        let inodes = inodes.map(|(Inode { metadata, node }, _)| Inode {
            metadata,
            node: match node {
                Node::Directory(mut entries) => {
                    entries.values_mut().for_each(|id| *id = moved[id.index()]);
                    Node::Directory(entries)
                }
                Node::Regular(content) => Node::Regular(file(content)),
                Node::Symlink(target) => Node::Symlink(target),
                Node::CharacterDevice(device) => Node::CharacterDevice(device),
                Node::BlockDevice(device) => Node::BlockDevice(device),
                Node::Fifo => Node::Fifo,
                Node::Socket => Node::Socket,
            },
        });
        Tree {
            inodes: inodes.collect(),
        }
    }
}

fn map_node<F, G>(node: &Node<F>, file: &mut impl FnMut(&F) -> G) -> Node<G> {
    match node {
        Node::Directory(_) => Node::Directory(BTreeMap::new()),
        Node::Regular(content) => Node::Regular(file(content)),
        Node::Symlink(target) => Node::Symlink(target.clone()),
        Node::CharacterDevice(device) => Node::CharacterDevice(*device),
        Node::BlockDevice(device) => Node::BlockDevice(*device),
        Node::Fifo => Node::Fifo,
        Node::Socket => Node::Socket,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(content: u8) -> Inode<u8> {
        Inode {
            metadata: Metadata::default(),
            node: Node::Regular(content),
        }
    }

    fn sample() -> Tree<u8> {
        let mut tree = Tree::new(Metadata::default());
        let usr = tree.add(Inode {
            metadata: Metadata::default(),
            node: Node::Directory(BTreeMap::new()),
        });
        tree.link(tree.root(), b"usr", usr);
        let shared = tree.add(file(1));
        tree.link(usr, b"b", shared);
        tree.link(usr, b"a", shared);
        let gone = tree.add(file(2));
        tree.link(usr, b"c", gone);
        tree.unlink(usr, b"c");
        tree
    }

    #[test]
    fn a_part_is_taken_out_whole() {
        let mut tree = sample();
        let usr = tree.lookup(b"usr").unwrap();
        let outside = tree.child(usr, b"a").unwrap();
        tree.link(tree.root(), b"d", outside);
        let taken = tree.split_off(usr);
        let names = |tree: &Tree<u8>| tree.walk().into_iter().map(|(path, _)| path).collect::<Vec<_>>();
        assert_eq!(names(&tree), [b"".to_vec(), b"d".to_vec(), b"usr".to_vec()]);
        assert_eq!(names(&taken), [b"".to_vec(), b"a".to_vec(), b"b".to_vec()]);
        assert_eq!(taken.lookup(b"a"), taken.lookup(b"b"));
        assert_eq!(taken.inode(taken.lookup(b"a").unwrap()).node, Node::Regular(1));
        let back = tree.append(taken);
        tree.link(tree.root(), b"usr", back);
        assert_eq!(names(&tree), [&b""[..], b"d", b"usr", b"usr/a", b"usr/b"]);
        assert_eq!(tree.lookup(b"usr/a"), tree.lookup(b"usr/b"));
    }

    #[test]
    fn walk_is_in_order_with_parents_first() {
        let paths: Vec<_> = sample().walk().into_iter().map(|(path, _)| path).collect();
        assert_eq!(
            paths,
            [
                b"".to_vec(),
                b"usr".to_vec(),
                b"usr/a".to_vec(),
                b"usr/b".to_vec()
            ]
        );
    }

    #[test]
    fn map_keeps_hard_links_and_drops_what_is_out_of_reach() {
        let tree = sample();
        let mapped = tree.map(|content| content + 1);
        assert_eq!(mapped.arena_len(), 3);
        assert_eq!(mapped.lookup(b"/usr/a"), mapped.lookup(b"usr/./b"));
        let id = mapped.lookup(b"usr/a").unwrap();
        assert_eq!(mapped.inode(id).node, Node::Regular(2));
        assert_eq!(mapped.link_counts()[id.index()], 2);
        let moved = tree.into_map(|content| content + 1);
        assert_eq!(moved.arena_len(), 3);
        assert!(
            moved
                .walk()
                .iter()
                .map(|(path, _)| path)
                .eq(mapped.walk().iter().map(|(path, _)| path))
        );
        let id = moved.lookup(b"usr/b").unwrap();
        assert_eq!(moved.lookup(b"usr/a"), Some(id));
        assert_eq!(moved.inode(id), mapped.inode(mapped.lookup(b"usr/b").unwrap()));
    }
}
