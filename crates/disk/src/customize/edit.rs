//! Changing a tree by paths, as a process in it would: links are followed, and nothing but `/etc` and `/var` changes.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use osmith_formats::tree::{Content, Inode, InodeId, Metadata, Name, Node, Timestamp, Tree};
use osmith_machine::install::ReadObject;

use super::CustomizeError;
use crate::real_path::{Astray, real_path};

/// What the machine may write to.
const WRITABLE: [&str; 2] = ["etc", "var"];

/// A tree that is changed.
pub(super) struct Edit<'a, 'o> {
    tree: &'a mut Tree,
    object: &'a mut ReadObject<'o>,
    time: Timestamp,
    changed: BTreeSet<String>,
    problems: Vec<Wrong>,
}

/// Something that the image does not have.
#[derive(Debug)]
pub(super) struct Wrong {
    key: String,
    reason: String,
    remedy: String,
}

/// Owner and permissions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Attributes {
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mode: u16,
}

impl Attributes {
    /// Of root.
    pub(super) const fn of_root(mode: u16) -> Self {
        Attributes { uid: 0, gid: 0, mode }
    }
}

/// Why a path leads nowhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Obstacle {
    /// Too many links.
    Links,
    /// This is no directory, and the path goes on.
    NotDirectory(String),
    /// It leads here, into the image.
    InImage(String),
}

impl Obstacle {
    fn reason(&self, path: &str) -> String {
        match self {
            Obstacle::Links => format!("'{path}' leads through too many links"),
            Obstacle::NotDirectory(file) => format!("'{path}' is below '/{file}', which is no directory"),
            Obstacle::InImage(real) if path.trim_start_matches('/') == real => {
                format!("'{path}' belongs to the image and cannot be written on the machine")
            }
            Obstacle::InImage(real) => {
                format!(
                    "'{path}' is '/{real}', which belongs to the image and cannot be written on the machine"
                )
            }
        }
    }

    fn remedy(&self) -> &'static str {
        match self {
            Obstacle::Links | Obstacle::NotDirectory(_) => "choose another path",
            Obstacle::InImage(_) => {
                "make it in the Containerfile, or make the directory there a link into /var, such as /home -> var/home"
            }
        }
    }
}

impl<'a, 'o> Edit<'a, 'o> {
    pub(super) fn new(tree: &'a mut Tree, object: &'a mut ReadObject<'o>) -> Self {
        let time = tree.inode(tree.root()).metadata.mtime;
        Edit {
            tree,
            object,
            time,
            changed: BTreeSet::new(),
            problems: Vec::new(),
        }
    }

    /// Says that something is wrong with a key.
    pub(super) fn problem(&mut self, key: &str, reason: impl Into<String>, remedy: impl Into<String>) {
        self.problems.push(Wrong {
            key: key.to_owned(),
            reason: reason.into(),
            remedy: remedy.into(),
        });
    }

    pub(super) fn into_problems(self) -> Vec<(String, String, String)> {
        let problems = self.problems.into_iter();
        problems
            .map(|wrong| (wrong.key, wrong.reason, wrong.remedy))
            .collect()
    }

    /// The day of the image, counted from 1970-01-01.
    pub(super) fn day(&self) -> i64 {
        self.time.seconds.div_euclid(86_400)
    }

    /// What was changed, from the root on.
    pub(super) fn changed(&self) -> impl Iterator<Item = &str> {
        self.changed.iter().map(String::as_str)
    }

    /// The path without links, from the root on and without a leading slash; what does not exist stays as it is
    /// written. The last name may stay a link.
    pub(super) fn real_path(&self, path: &str, follow_last: bool) -> Result<String, Obstacle> {
        let real = real_path(self.tree, path.as_bytes(), follow_last).map_err(|astray| match astray {
            Astray::Links => Obstacle::Links,
            Astray::NotDirectory(place) => {
                Obstacle::NotDirectory(String::from_utf8_lossy(&place).into_owned())
            }
        })?;
        Ok(String::from_utf8_lossy(&real.join(&b'/')).into_owned())
    }

    /// The same for a path that is to be written.
    fn writable(&self, path: &str, follow_last: bool) -> Result<String, Obstacle> {
        let real = self.real_path(path, follow_last)?;
        let is_writable = WRITABLE.iter().any(|top| {
            let rest = real.strip_prefix(top);
            rest.is_some_and(|rest| rest.starts_with('/'))
        });
        if is_writable {
            Ok(real)
        } else {
            Err(Obstacle::InImage(real))
        }
    }

    /// The real path of something that is to be written, or `None` after a problem with the key.
    pub(super) fn place(&mut self, key: &str, path: &str, follow_last: bool) -> Option<String> {
        let found = self.writable(path, follow_last);
        found
            .map_err(|obstacle| self.problem(key, obstacle.reason(path), obstacle.remedy()))
            .ok()
    }

    fn find(&self, path: &str) -> Option<&Inode<Content>> {
        let real = self.real_path(path, true).ok()?;
        Some(self.tree.inode(self.tree.lookup(real.as_bytes())?))
    }

    /// Whether there is a regular file, links followed.
    pub(super) fn is_file(&self, path: &str) -> bool {
        self.find(path)
            .is_some_and(|inode| matches!(inode.node, Node::Regular(_)))
    }

    /// Whether there is a directory, links followed.
    pub(super) fn is_directory(&self, path: &str) -> bool {
        self.find(path).is_some_and(|inode| inode.entries().is_some())
    }

    /// Whether there is anything under the name, even a link that leads nowhere.
    pub(super) fn exists(&self, path: &str) -> bool {
        let real = self.real_path(path, false).ok();
        real.is_some_and(|real| self.tree.lookup(real.as_bytes()).is_some())
    }

    /// Where a link leads, as it is written.
    pub(super) fn link_target(&self, path: &str) -> Option<String> {
        let real = self.real_path(path, false).ok()?;
        match &self.tree.inode(self.tree.lookup(real.as_bytes())?).node {
            Node::Symlink(target) => Some(String::from_utf8_lossy(target).into_owned()),
            _ => None,
        }
    }

    /// The names in a directory, links to it followed.
    pub(super) fn names(&self, path: &str) -> Vec<String> {
        let entries = self.find(path).and_then(Inode::entries).into_iter().flatten();
        entries
            .map(|(name, _)| String::from_utf8_lossy(name).into_owned())
            .collect()
    }

    /// Owner and permissions of what is there, links followed.
    pub(super) fn attributes(&self, path: &str) -> Option<Attributes> {
        let metadata = &self.find(path)?.metadata;
        Some(Attributes {
            uid: metadata.uid,
            gid: metadata.gid,
            mode: metadata.mode,
        })
    }

    /// The text of a file, links followed; `None` if there is none. Bytes that are no UTF-8 are replaced.
    pub(super) fn text(&mut self, path: &str) -> Result<Option<String>, CustomizeError> {
        let content = match self.find(path).map(|inode| &inode.node) {
            Some(Node::Regular(content)) => content.clone(),
            _ => return Ok(None),
        };
        let bytes = match content {
            Content::Inline(bytes) => bytes.to_vec(),
            Content::Object { digest, .. } => {
                (self.object)(&digest).map_err(|source: io::Error| CustomizeError::Read {
                    path: path.trim_start_matches('/').to_owned(),
                    source,
                })?
            }
        };
        Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// Writes a file at a real path, in the place of what is there.
    pub(super) fn write(&mut self, real: &str, bytes: &[u8], attributes: Attributes) {
        self.add(real, Node::Regular(Content::Inline(bytes.into())), attributes);
    }

    /// Writes a file of the system below `/etc`, with the permissions that it has or else `mode`; says if it cannot.
    pub(super) fn write_etc(&mut self, key: &str, path: &str, text: &str, mode: u16) {
        let attributes = self.attributes(path).unwrap_or(Attributes::of_root(mode));
        if let Some(real) = self.place(key, path, true) {
            self.write(&real, text.as_bytes(), attributes);
        }
    }

    /// Makes a link at a real path, in the place of what is there.
    pub(super) fn link(&mut self, real: &str, target: &str) {
        self.add(
            real,
            Node::Symlink(target.as_bytes().into()),
            Attributes::of_root(0o777),
        );
    }

    /// Makes a directory at a real path if there is none, and all on the way to it for root; `true` if it is new.
    pub(super) fn directory(&mut self, real: &str, attributes: Attributes) -> bool {
        if self.tree.lookup(real.as_bytes()).is_some() {
            return false;
        }
        self.add(real, Node::Directory(BTreeMap::new()), attributes);
        true
    }

    /// Sets owner and permissions at a real path.
    pub(super) fn set_attributes(&mut self, real: &str, attributes: Attributes) {
        if let Some(id) = self.tree.lookup(real.as_bytes()) {
            self.changed.insert(real.to_owned());
            let metadata = &mut self.tree.inode_mut(id).metadata;
            (metadata.uid, metadata.gid) = (attributes.uid, attributes.gid);
            metadata.mode = attributes.mode;
        }
    }

    /// Takes a name away.
    pub(super) fn remove(&mut self, real: &str) {
        let (parent, name) = split(real);
        if let Some(parent) = self.tree.lookup(parent.as_bytes()) {
            self.tree.unlink(parent, name.as_bytes());
            self.changed.insert(real.to_owned());
        }
    }

    /// Copies what is in a directory of the tree into another one, for a new owner.
    pub(super) fn copy_for(&mut self, from: &str, real: &str, (uid, gid): (u32, u32)) {
        let source = self.real_path(from, true).ok();
        let source = source.and_then(|source| self.tree.lookup(source.as_bytes()));
        let target = self.tree.lookup(real.as_bytes());
        let Some(pair) = source.zip(target) else { return };
        let mut pending = vec![pair];
        while let Some((source, target)) = pending.pop() {
            let entries: Vec<(Name, InodeId)> = match self.tree.inode(source).entries() {
                Some(entries) => entries.iter().map(|(name, id)| (name.clone(), *id)).collect(),
                None => Vec::new(),
            };
            for (name, id) in entries {
                let mut inode = self.tree.inode(id).clone();
                if inode.entries().is_some() {
                    inode.node = Node::Directory(BTreeMap::new());
                }
                (inode.metadata.uid, inode.metadata.gid) = (uid, gid);
                let copy = self.tree.add(inode);
                self.tree.link(target, &name, copy);
                pending.push((id, copy));
            }
        }
    }

    fn add(&mut self, real: &str, node: Node<Content>, attributes: Attributes) {
        let (parent, name) = split(real);
        let parent = self.parent(parent);
        let id = self.tree.add(Inode {
            metadata: self.metadata(attributes),
            node,
        });
        self.tree.link(parent, name.as_bytes(), id);
        self.changed.insert(real.to_owned());
    }

    /// The directory at a real path; what is missing is made.
    fn parent(&mut self, real: &str) -> InodeId {
        let mut directory = self.tree.root();
        let mut path = String::new();
        for name in names(real) {
            path = format!("{path}/{name}");
            directory = match self.tree.child(directory, name.as_bytes()) {
                Some(child) => child,
                None => {
                    let child = self.tree.add(Inode {
                        metadata: self.metadata(Attributes::of_root(0o755)),
                        node: Node::Directory(BTreeMap::new()),
                    });
                    self.tree.link(directory, name.as_bytes(), child);
                    self.changed.insert(path.trim_start_matches('/').to_owned());
                    child
                }
            };
        }
        directory
    }

    fn metadata(&self, attributes: Attributes) -> Metadata {
        Metadata {
            mode: attributes.mode,
            uid: attributes.uid,
            gid: attributes.gid,
            mtime: self.time,
            ..Metadata::default()
        }
    }
}

fn names(path: &str) -> impl DoubleEndedIterator<Item = &str> {
    path.split('/').filter(|name| !name.is_empty() && *name != ".")
}

/// The directory of a real path, and the name in it.
pub(super) fn split(real: &str) -> (&str, &str) {
    real.rsplit_once('/').unwrap_or(("", real))
}
