//! Paths as the kernel follows them: through symbolic links, inside the tree.

use super::{InodeId, Name, Node, Tree};

/// As many links as Linux follows.
const MAX_LINKS: usize = 40;

/// Why a path of a tree cannot be followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// Something is to be below what is no directory.
    #[error("'{0}' in the image is no directory")]
    NotADirectory(String),
    /// Links lead in a circle.
    #[error("'{0}' in the image leads through too many symbolic links")]
    Loop(String),
}

/// Where a path leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The names of the path without links. Those from `existing` on do not exist.
    pub names: Vec<Name>,
    /// How many of the names exist.
    pub existing: usize,
    /// The last one that exists.
    pub inode: InodeId,
}

impl Resolved {
    /// Whether the whole path exists.
    pub fn exists(&self) -> bool {
        self.existing == self.names.len()
    }
}

/// The names of a path, without empty ones and `.`.
pub fn path_names(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/')
        .filter(|name| !name.is_empty() && *name != b".")
}

/// A path as people write it.
pub fn shown_path(names: &[Name]) -> String {
    format!("/{}", String::from_utf8_lossy(&names.join(&b'/')))
}

impl<F> Tree<F> {
    /// Follows a path from the root; links, also the last one, are followed, and `..` stays inside the root.
    pub fn resolve(&self, path: &[u8]) -> Result<Resolved, ResolveError> {
        let mut pending: Vec<Name> = path_names(path).map(Name::from).collect();
        pending.reverse();
        let mut trail = vec![self.root()];
        let mut names: Vec<Name> = Vec::new();
        let mut links = 0;
        while let Some(name) = pending.pop() {
            let here = trail.last().copied().unwrap_or(self.root());
            if *name == *b".." {
                if trail.len() == names.len() + 1 && names.pop().is_some() {
                    trail.pop();
                } else {
                    names.pop();
                }
                continue;
            }
            let exists = trail.len() == names.len() + 1;
            if exists && self.inode(here).entries().is_none() {
                return Err(ResolveError::NotADirectory(shown_path(&names)));
            }
            let child = if exists { self.child(here, &name) } else { None };
            match child.map(|id| (id, &self.inode(id).node)) {
                Some((_, Node::Symlink(target))) => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(ResolveError::Loop(String::from_utf8_lossy(path).into_owned()));
                    }
                    if target.starts_with(b"/") {
                        names.clear();
                        trail.truncate(1);
                    }
                    let target: Vec<Name> = path_names(target).map(Name::from).collect();
                    pending.extend(target.into_iter().rev());
                }
                Some((id, _)) => {
                    trail.push(id);
                    names.push(name);
                }
                None => names.push(name),
            }
        }
        Ok(Resolved {
            existing: trail.len() - 1,
            inode: trail.last().copied().unwrap_or(self.root()),
            names,
        })
    }
}
