//! Sources of COPY and ADD: paths and patterns, from the root of a context or tree on.

use std::borrow::Cow;
use std::collections::BTreeSet;

use osmith_formats::tree::{Content, Inode, InodeId, Metadata, Name, Node, ResolveError, Tree, path_names};

use super::{Above, Item, Selection};
use crate::context::{Dialect, Glob, Ignore, is_pattern};

/// Why sources cannot be found.
#[derive(Debug, thiserror::Error)]
pub enum SelectError {
    /// There is nothing of that name.
    #[error("there is no '{0}'")]
    NotFound(String),
    /// A pattern matches nothing.
    #[error("'{0}' matches nothing")]
    NoMatch(String),
    /// A pattern is malformed.
    #[error("'{0}' is no pattern: a set or an escape is not finished")]
    BadPattern(String),
    /// A path leads out of the context.
    #[error("'{0}' is outside of the build context")]
    Outside(String),
    /// Everything is excluded.
    #[error("everything that '{path}' means is excluded by '{ignore_file}'")]
    Ignored {
        /// The source.
        path: String,
        /// The name of the ignore file.
        ignore_file: String,
    },
    /// A path of a stage or image leads nowhere.
    #[error(transparent)]
    Path(#[from] ResolveError),
    /// Somebody writes to the file.
    #[error("'{0}' in the build context changed while it was read")]
    Changed(String),
    /// The operating system refused.
    #[error("cannot {operation} '{path}' in the build context")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] osmith_image::store::StoreError),
    /// The user asked to stop.
    #[error(transparent)]
    Interrupted(#[from] osmith_report::Interrupted),
}

/// Something whose directories can be listed. Paths are relative to its root; links are followed inside it.
pub(crate) trait Listing {
    /// The names in a directory in byte order; none if it is no directory.
    fn names(&mut self, directory: &[u8]) -> Result<Vec<Name>, SelectError>;
    /// Whether there is something at the path.
    fn exists(&mut self, path: &[u8]) -> Result<bool, SelectError>;
    /// Whether it is a directory, and no link to one.
    fn is_directory(&mut self, path: &[u8]) -> Result<bool, SelectError>;
}

/// What a source means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Matched {
    /// Paths without `.`, `..` and leading slash; empty for the root.
    pub(crate) paths: Vec<Vec<u8>>,
    /// Whether the source is a pattern.
    pub(crate) is_pattern: bool,
    /// How many names of each path stand before a `/./`.
    pivot: usize,
}

impl Matched {
    /// The directories that `--parents` makes between the destination and the path's last name: all but what is before
    /// `/./`. The last one of a directory is itself. `metadata` tells that of a path.
    pub(crate) fn above(
        &self,
        path: &[u8],
        is_directory: bool,
        mut metadata: impl FnMut(&[u8]) -> Result<Metadata, SelectError>,
    ) -> Result<Vec<Above>, SelectError> {
        let mut above = Vec::new();
        let mut here = Vec::new();
        let names: Vec<&[u8]> = path_names(path).collect();
        for (index, name) in names.iter().enumerate() {
            here = join(&here, name);
            if index >= self.pivot && (is_directory || index + 1 < names.len()) {
                above.push(Above {
                    name: (*name).into(),
                    metadata: metadata(&here)?,
                });
            }
        }
        Ok(above)
    }
}

/// The paths that a source means; at least one.
pub(crate) fn matching(listing: &mut dyn Listing, source: &str) -> Result<Matched, SelectError> {
    let mut paths: Vec<Vec<u8>> = vec![Vec::new()];
    for name in clean(source)? {
        paths = match is_pattern(name) {
            true if name == "**" => directories(listing, paths)?,
            true => step(listing, &paths, name, source)?,
            false => paths.iter().map(|path| join(path, name.as_bytes())).collect(),
        };
    }
    let mut found = Vec::new();
    for path in paths {
        if listing.exists(&path)? {
            found.push(path);
        }
    }
    let pivot = match source.split_once("/./") {
        Some((before, _)) => clean(before)?.len(),
        None => 0,
    };
    match (found.is_empty(), is_pattern(source)) {
        (false, is_pattern) => Ok(Matched {
            paths: found,
            is_pattern,
            pivot,
        }),
        (true, true) => Err(SelectError::NoMatch(source.to_owned())),
        (true, false) => Err(SelectError::NotFound(source.to_owned())),
    }
}

/// What each of the sources means; at least one means something. Beside others a pattern may match nothing.
pub(crate) fn matching_all<'s>(
    listing: &mut dyn Listing,
    sources: &'s [String],
) -> Result<Vec<(&'s str, Matched)>, SelectError> {
    let mut all = Vec::new();
    let mut unmatched = None;
    for source in sources {
        match matching(listing, source) {
            Err(error @ SelectError::NoMatch(_)) => unmatched = unmatched.or(Some(error)),
            matched => all.push((source.as_str(), matched?)),
        }
    }
    match unmatched {
        Some(error) if all.is_empty() => Err(error),
        _ => Ok(all),
    }
}

/// The names of a source; `..` must not lead out.
fn clean(source: &str) -> Result<Vec<&str>, SelectError> {
    let mut names = Vec::new();
    for name in source.split('/') {
        match name {
            "" | "." => {}
            ".." => {
                names
                    .pop()
                    .ok_or_else(|| SelectError::Outside(source.to_owned()))?;
            }
            name => names.push(name),
        }
    }
    Ok(names)
}

fn step(
    listing: &mut dyn Listing,
    paths: &[Vec<u8>],
    pattern: &str,
    source: &str,
) -> Result<Vec<Vec<u8>>, SelectError> {
    let bad = |_| SelectError::BadPattern(source.to_owned());
    let glob = Glob::parse(pattern, Dialect::Source).map_err(bad)?;
    let mut found = Vec::new();
    for path in paths {
        let names = listing.names(path)?.into_iter();
        let matching = names.filter(|name| glob.matches(&String::from_utf8_lossy(name)));
        found.extend(matching.map(|name| join(path, &name)));
    }
    Ok(found)
}

/// The paths and all directories below them, for `**`.
fn directories(listing: &mut dyn Listing, paths: Vec<Vec<u8>>) -> Result<Vec<Vec<u8>>, SelectError> {
    let mut found = BTreeSet::new();
    let mut pending = paths;
    while let Some(path) = pending.pop() {
        for name in listing.names(&path)? {
            let below = join(&path, &name);
            if !found.contains(&below) && listing.is_directory(&below)? {
                pending.push(below);
            }
        }
        found.insert(path);
    }
    Ok(found.into_iter().collect())
}

pub(crate) fn join(path: &[u8], name: &[u8]) -> Vec<u8> {
    match path.is_empty() {
        true => name.to_vec(),
        false => [path, b"/", name].concat(),
    }
}

struct TreeListing<'t>(&'t Tree<Content>);

impl Listing for TreeListing<'_> {
    fn names(&mut self, directory: &[u8]) -> Result<Vec<Name>, SelectError> {
        let found = self.0.resolve(directory)?;
        let entries = self.0.inode(found.inode).entries().filter(|_| found.exists());
        Ok(entries
            .into_iter()
            .flat_map(|entries| entries.keys().cloned())
            .collect())
    }

    fn exists(&mut self, path: &[u8]) -> Result<bool, SelectError> {
        Ok(self.0.resolve(path)?.exists())
    }

    fn is_directory(&mut self, path: &[u8]) -> Result<bool, SelectError> {
        let inode = self.0.lookup(path).map(|id| self.0.inode(id));
        Ok(inode.is_some_and(|inode| inode.entries().is_some()))
    }
}

/// The sources in a stage or image.
pub(crate) fn tree_selection<'t>(
    tree: &'t Tree<Content>,
    sources: &[String],
    excludes: &Ignore,
    keeps_parents: bool,
) -> Result<Selection<'t>, SelectError> {
    let mut items = Vec::new();
    let mut tree = Cow::Borrowed(tree);
    for (_, matched) in matching_all(&mut TreeListing(&tree), sources)? {
        for path in &matched.paths {
            let mut inode = tree.resolve(path)?.inode;
            let name: Name = path_names(path).last().unwrap_or_default().into();
            let is_directory = tree.inode(inode).entries().is_some();
            let above = match keeps_parents {
                true => matched.above(path, is_directory, |path| {
                    Ok(tree.inode(tree.resolve(path)?.inode).metadata.clone())
                })?,
                false => Vec::new(),
            };
            if !excludes.is_empty() {
                if excludes.excludes_path(&String::from_utf8_lossy(&name)) {
                    continue;
                }
                inode = without(tree.to_mut(), inode, excludes);
            }
            items.push(Item {
                above,
                name,
                inode,
                is_unpacked: false,
                is_download: false,
            });
        }
    }
    let is_several = items.len() > 1 || sources.len() > 1;
    Ok(Selection {
        tree,
        items,
        is_several,
    })
}

/// A copy of a directory of the tree that lacks what is excluded; paths count from the directory.
fn without(tree: &mut Tree<Content>, directory: InodeId, excludes: &Ignore) -> InodeId {
    if tree.inode(directory).entries().is_none() {
        return directory;
    }
    let top = empty_copy(tree, directory);
    let mut pending = vec![(Vec::new(), directory, top)];
    while let Some((path, source, copy)) = pending.pop() {
        let entries: Vec<_> = tree
            .inode(source)
            .entries()
            .into_iter()
            .flatten()
            .map(|(name, id)| (name.clone(), *id))
            .collect();
        for (name, child) in entries {
            let child_path = join(&path, &name);
            if excludes.excludes_path(&String::from_utf8_lossy(&child_path)) {
                continue;
            }
            if tree.inode(child).entries().is_none() {
                tree.link(copy, &name, child);
                continue;
            }
            let child_copy = empty_copy(tree, child);
            tree.link(copy, &name, child_copy);
            pending.push((child_path, child, child_copy));
        }
    }
    top
}

fn empty_copy(tree: &mut Tree<Content>, directory: InodeId) -> InodeId {
    let metadata: Metadata = tree.inode(directory).metadata.clone();
    tree.add(Inode {
        metadata,
        node: Node::Directory(Default::default()),
    })
}
