//! COPY and ADD as edits of a tree: no file is copied, no directory mounted.
//!
//! Sources come from the build context, an earlier stage or an image, all as trees; [`transfer`] puts them into the
//! tree of a stage by the rules of `podman build`.

mod archive;
mod mode;
mod select;

use std::borrow::Cow;
use std::collections::HashMap;

use osmith_container::users::Owner;
use osmith_formats::tree::{
    Content, InodeId, Metadata, Name, Node, ResolveError, Timestamp, Tree, path_names, shown_path,
};
use osmith_image::layer::is_kept_attribute;

pub use archive::ArchiveError;
pub(crate) use archive::unpack;
pub use mode::BadMode;
pub(crate) use mode::ModeChange;
pub use select::SelectError;
pub(crate) use select::{Listing, join, matching_all, tree_selection};

use crate::draft::{Draft, Names};

/// What the sources of one COPY or ADD are.
#[derive(Debug)]
pub(crate) struct Selection<'t> {
    pub(crate) tree: Cow<'t, Tree<Content>>,
    pub(crate) items: Vec<Item>,
    /// Whether there were several sources or a pattern matched several files.
    pub(crate) is_several: bool,
}

impl<'t> Selection<'t> {
    /// Nothing.
    pub(crate) fn empty() -> Self {
        Selection {
            tree: Cow::Owned(Tree::new(Metadata::default())),
            items: Vec::new(),
            is_several: false,
        }
    }

    /// The same selection with a tree of its own.
    pub(crate) fn into_owned(self) -> Selection<'static> {
        Selection {
            tree: Cow::Owned(self.tree.into_owned()),
            items: self.items,
            is_several: self.is_several,
        }
    }
}

/// One thing to copy.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    /// The name it has in a directory.
    pub(crate) name: Name,
    /// The directories between it and the destination, for `--parents`; the last one of a directory is itself.
    pub(crate) above: Vec<Above>,
    /// Where it is in the tree of the selection.
    pub(crate) inode: InodeId,
    /// Whether it is what an archive contained, which keeps its owners and modes.
    pub(crate) is_unpacked: bool,
    /// Whether it came from a server.
    pub(crate) is_download: bool,
}

/// A directory that is made because something is copied with its parents.
#[derive(Debug, Clone)]
pub(crate) struct Above {
    pub(crate) name: Name,
    /// That of the directory in the source.
    pub(crate) metadata: Metadata,
}

/// How things are put into the tree.
#[derive(Debug)]
pub(crate) struct Placement<'p> {
    /// Absolute, with a final `/` for a directory.
    pub(crate) destination: &'p str,
    /// The working directory.
    pub(crate) workdir: &'p str,
    /// `--chown`.
    pub(crate) chown: Option<Owner>,
    /// `--chmod`.
    pub(crate) chmod: Option<ModeChange>,
    /// The modification time of directories that are made.
    pub(crate) now: Timestamp,
}

/// How many files and bytes were put into the tree.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Copied {
    pub(crate) files: u64,
    pub(crate) size_bytes: u64,
}

/// Puts the selection into the tree.
pub(crate) fn transfer(
    draft: &mut Draft,
    selection: &Selection<'_>,
    placement: &Placement<'_>,
) -> Result<Copied, ResolveError> {
    let mut copy = Copy {
        draft,
        tree: &selection.tree,
        placement,
        linked: HashMap::new(),
        copied: Copied::default(),
    };
    let has_parents = selection.items.iter().any(|item| !item.above.is_empty());
    let into_directory = selection.is_several || has_parents || copy.is_directory(placement)?;
    for item in &selection.items {
        let is_tree = selection.tree.inode(item.inode).entries().is_some();
        if !is_tree && !into_directory {
            copy.file(item)?;
            continue;
        }
        let (above, directory) = copy.above(item)?;
        if is_tree {
            copy.merge(above, directory, item)?;
        } else {
            copy.place(&above, directory, &item.name, item.inode, item.is_unpacked);
        }
    }
    Ok(copy.copied)
}

struct Copy<'a> {
    draft: &'a mut Draft,
    tree: &'a Tree<Content>,
    placement: &'a Placement<'a>,
    /// New inodes of sources that have several names.
    linked: HashMap<InodeId, InodeId>,
    copied: Copied,
}

impl Copy<'_> {
    /// Whether the destination is a directory, for a single file.
    fn is_directory(&self, placement: &Placement<'_>) -> Result<bool, ResolveError> {
        let destination = placement.destination;
        if destination.ends_with('/') || destination == placement.workdir {
            return Ok(true);
        }
        let resolved = self.draft.tree().resolve(destination.as_bytes())?;
        Ok(resolved.exists() && self.draft.tree().inode(resolved.inode).entries().is_some())
    }

    fn directory(&mut self, path: &[u8]) -> Result<(Names, InodeId), ResolveError> {
        let owner = self.placement.chown.unwrap_or_default();
        self.draft.ensure_directory(path, owner, self.placement.now)
    }

    /// The directory that an item or its contents go into: the destination or, with `--parents`, one below it.
    fn above(&mut self, item: &Item) -> Result<(Names, InodeId), ResolveError> {
        let (mut names, mut directory) = self.directory(self.placement.destination.as_bytes())?;
        for Above { name, metadata } in &item.above {
            let node = Node::Directory(Default::default());
            let metadata = self.metadata(metadata, &node);
            directory = self.draft.place(&names, directory, name, metadata, node);
            names.push(name.clone());
        }
        Ok((names, directory))
    }

    /// A file takes the destination's name. A link there that leads to no directory is replaced.
    fn file(&mut self, item: &Item) -> Result<(), ResolveError> {
        let names: Vec<&[u8]> = path_names(self.placement.destination.as_bytes()).collect();
        let Some((name, parent)) = names.split_last() else {
            return Err(ResolveError::NotADirectory("/".to_owned()));
        };
        let (above, directory) = self.directory(&parent.join(&b'/'))?;
        self.place(&above, directory, name, item.inode, item.is_unpacked);
        Ok(())
    }

    /// Puts what is in a source directory into a directory of the tree, and what is in those below.
    fn merge(&mut self, above: Names, directory: InodeId, item: &Item) -> Result<(), ResolveError> {
        let mut pending = vec![(above, directory, item.inode)];
        while let Some((above, directory, source)) = pending.pop() {
            if self.draft.tree().inode(directory).entries().is_none() {
                return Err(ResolveError::NotADirectory(shown_path(&above)));
            }
            let tree = self.tree;
            for (name, child) in tree.inode(source).entries().into_iter().flatten() {
                let placed = self.place(&above, directory, name, *child, item.is_unpacked);
                if tree.inode(*child).entries().is_some() {
                    let mut path = above.clone();
                    path.push(name.clone());
                    pending.push((path, placed, *child));
                }
            }
        }
        Ok(())
    }

    fn place(
        &mut self,
        above: &[Name],
        directory: InodeId,
        name: &[u8],
        source: InodeId,
        is_unpacked: bool,
    ) -> InodeId {
        if let Some(known) = self.linked.get(&source).copied() {
            self.draft.link(above, directory, name, known);
            return known;
        }
        let inode = self.tree.inode(source);
        let node = match &inode.node {
            Node::Directory(_) => Node::Directory(Default::default()),
            other => other.clone(),
        };
        let metadata = match is_unpacked {
            true => inode.metadata.clone(),
            false => self.metadata(&inode.metadata, &inode.node),
        };
        if let Node::Regular(content) = &inode.node {
            self.copied.files += 1;
            self.copied.size_bytes += content.size_bytes();
        }
        let is_directory = matches!(node, Node::Directory(_));
        let placed = self.draft.place(above, directory, name, metadata, node);
        if !is_directory {
            self.linked.insert(source, placed);
        }
        placed
    }

    fn metadata(&self, source: &Metadata, node: &Node<Content>) -> Metadata {
        let owner = self.placement.chown.unwrap_or(Owner {
            uid: source.uid,
            gid: source.gid,
        });
        let mode = match (&self.placement.chmod, node) {
            (Some(_), Node::Symlink(_)) | (None, _) => source.mode,
            (Some(change), node) => change.apply(source.mode, matches!(node, Node::Directory(_))),
        };
        Metadata {
            mode,
            uid: owner.uid,
            gid: owner.gid,
            mtime: Timestamp {
                nanoseconds: 0,
                ..source.mtime
            },
            xattrs: source
                .xattrs
                .iter()
                .filter(|(name, _)| is_kept_attribute(name))
                .collect(),
        }
    }
}
