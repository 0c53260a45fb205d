//! The tree of an image, as checks look at it. Paths have no leading `/`; links are followed inside the tree.

use std::io::Read;

use osmith_formats::tree::{Content, Inode, InodeId, Node, Tree};
use osmith_image::store::{Image, Store, StoreError};

use crate::LintError;

/// Longer files are not looked into.
const TEXT_MAX_BYTES: u64 = 4 << 20;

/// An image.
pub struct View<'i> {
    pub(crate) store: &'i Store,
    pub(crate) image: &'i Image,
    pub(crate) tree: Tree<Content>,
}

impl<'i> View<'i> {
    /// Merges the layers of an image.
    pub fn new(store: &'i Store, image: &'i Image) -> Result<Self, StoreError> {
        Ok(View {
            tree: image.tree(store)?,
            store,
            image,
        })
    }

    /// What is at the path itself: of a link, the link.
    pub(crate) fn entry(&self, path: &str) -> Option<&Inode<Content>> {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        let directory = self.follow(parent)?;
        let id = self.tree.child(directory, name.as_bytes())?;
        Some(self.tree.inode(id))
    }

    /// Where the path leads.
    pub(crate) fn follow(&self, path: &str) -> Option<InodeId> {
        let found = self.tree.resolve(path.as_bytes()).ok()?;
        found.exists().then_some(found.inode)
    }

    /// Whether the path leads to a directory.
    pub(crate) fn is_directory(&self, path: &str) -> bool {
        self.follow(path)
            .is_some_and(|id| self.tree.inode(id).entries().is_some())
    }

    /// Whether the path leads to a regular file.
    pub(crate) fn is_file(&self, path: &str) -> bool {
        self.follow(path)
            .is_some_and(|id| matches!(self.tree.inode(id).node, Node::Regular(_)))
    }

    /// The names in a directory; none if it is no directory. Those that are no UTF-8 are shown as well as possible.
    pub(crate) fn names(&self, path: &str) -> Vec<String> {
        let entries = self.follow(path).and_then(|id| self.tree.inode(id).entries());
        let names = entries.into_iter().flatten();
        names
            .map(|(name, _)| String::from_utf8_lossy(name).into_owned())
            .collect()
    }

    /// The text of a regular file; `None` if there is none, or it is too long for a text.
    pub(crate) fn text(&self, path: &str) -> Result<Option<String>, LintError> {
        let inode = self.follow(path).map(|id| self.tree.inode(id));
        let Some(Node::Regular(content)) = inode.map(|inode| &inode.node) else {
            return Ok(None);
        };
        if content.size_bytes() > TEXT_MAX_BYTES {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        let mut reader = self.store.read_content(content)?;
        reader.read_to_end(&mut bytes).map_err(|source| LintError::Read {
            path: path.to_owned(),
            source,
        })?;
        Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// The texts of the files in a directory whose names end so, in the order of their names.
    pub(crate) fn texts(&self, directory: &str, ending: &str) -> Result<Vec<String>, LintError> {
        let mut texts = Vec::new();
        for name in self.names(directory).iter().filter(|name| name.ends_with(ending)) {
            texts.extend(self.text(&format!("{directory}/{name}"))?);
        }
        Ok(texts)
    }

    /// Everything below a directory: paths with a leading `/` and what is there, parents first. Links are not followed.
    pub(crate) fn below(&self, directory: &str) -> Vec<(String, &Inode<Content>)> {
        let mut found = Vec::new();
        let mut pending: Vec<(String, InodeId)> = self
            .follow(directory)
            .map(|id| (format!("/{directory}"), id))
            .into_iter()
            .collect();
        while let Some((path, id)) = pending.pop() {
            let entries = self.tree.inode(id).entries().into_iter().flatten();
            for (name, child) in entries.rev() {
                pending.push((format!("{path}/{}", String::from_utf8_lossy(name)), *child));
            }
            found.push((path, self.tree.inode(id)));
        }
        found.into_iter().skip(1).collect()
    }
}
