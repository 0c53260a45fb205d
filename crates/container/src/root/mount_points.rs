//! The tree as a command sees it: what a layer has, and the places where something is mounted for the command.

use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use osmith_formats::tree::{Content, Inode, InodeId, Metadata, Node, Tree};
use osmith_sys::OsError;
use osmith_sys::sandbox::{Mount, Source};

use super::RootError;

/// What Linux itself allows on one path.
const LINKS_MAX: u32 = 40;

/// Directories that the sandbox mounts something on.
const DIRECTORIES: [&str; 3] = ["/proc", "/sys", "/dev"];

/// Where something is to be mounted.
#[derive(Debug, Clone, Copy)]
pub struct Target<'t> {
    /// The absolute path.
    pub path: &'t Path,
    /// Whether it is a directory or a file.
    pub is_directory: bool,
}

impl<'t> Target<'t> {
    /// The target of a mount that shows no tree; of a part of a tree, the caller knows what it is.
    pub fn of(mount: &'t Mount) -> Result<Self, RootError> {
        let is_directory = match &mount.source {
            Source::File { .. } => false,
            Source::Memory { .. } | Source::Tree { .. } => true,
            Source::Machine(path) => {
                let failed = |error: std::io::Error| OsError::from_io("look at", path.display(), &error);
                path.metadata().map_err(failed)?.is_dir()
            }
        };
        Ok(Target {
            path: &mount.target,
            is_directory,
        })
    }
}

/// A tree with mount points.
pub struct MountPoints {
    /// The tree.
    pub tree: Tree<Content>,
    /// The paths that were added to it, without a leading `/`.
    added: BTreeSet<Vec<u8>>,
}

impl MountPoints {
    /// Adds to `base` what is missing of the system's directories and of `targets`. Symbolic links are followed, inside
    /// the tree, as they will be when mounting.
    pub fn new(base: &Tree<Content>, targets: &[Target<'_>]) -> Result<Self, RootError> {
        let mut points = MountPoints {
            tree: base.clone(),
            added: BTreeSet::new(),
        };
        for directory in DIRECTORIES {
            points.add_directory(directory.as_bytes())?;
        }
        for target in targets {
            // What is below the sandbox's own file systems needs nothing in the tree.
            if DIRECTORIES
                .iter()
                .any(|directory| target.path.starts_with(directory))
            {
                continue;
            }
            let path = target.path.as_os_str().as_bytes();
            match target.is_directory {
                true => points.add_directory(path)?,
                false => points.add_file(path)?,
            }
        }
        Ok(points)
    }

    /// A tree as it is, on which nothing is mounted.
    pub fn none(tree: Tree<Content>) -> Self {
        MountPoints {
            tree,
            added: BTreeSet::new(),
        }
    }

    /// The same for a container, whose root file system becomes no layer: at `files`, what is a link becomes a file of its
    /// own, since it may lead to where something else is mounted; and `directory` is there.
    pub fn for_container(
        base: &Tree<Content>,
        targets: &[Target<'_>],
        files: &[&Path],
        directory: &Path,
    ) -> Result<Self, RootError> {
        let mut tree = base.clone();
        for file in files {
            unlink_symlink(&mut tree, file);
        }
        let mut points = MountPoints::new(&tree, targets)?;
        points.add_directory(directory.as_os_str().as_bytes())?;
        Ok(points)
    }

    /// Whether the path is a mount point, or a directory on the way to one, that the base does not have.
    pub fn is_added(&self, path: &[u8]) -> bool {
        self.added.contains(path)
    }

    fn add_directory(&mut self, path: &[u8]) -> Result<(), RootError> {
        let found = self.resolve(path)?;
        match self.tree.inode(found.id).entries() {
            Some(_) => Ok(()),
            None => Err(in_the_way(path, "it is no directory")),
        }
    }

    fn add_file(&mut self, path: &[u8]) -> Result<(), RootError> {
        let directory_of = |path: &[u8]| path.iter().rposition(|byte| *byte == b'/');
        let (parent, name) = match directory_of(path) {
            Some(slash) => (&path[..slash], &path[slash + 1..]),
            None => (&path[..0], path),
        };
        if matches!(name, b"" | b"." | b"..") {
            return Err(in_the_way(path, "that is no name of a file"));
        }
        let mut directory = self.resolve(parent)?;
        let mut name = name.to_vec();
        for _ in 0..LINKS_MAX {
            let Some(found) = self.tree.child(directory.id, &name) else {
                self.add(&directory, &name, Node::Regular(Content::Inline(Box::default())))?;
                return Ok(());
            };
            let target = match &self.tree.inode(found).node {
                Node::Directory(_) => return Err(in_the_way(path, "a directory is there")),
                Node::Symlink(target) => target.to_vec(),
                _ => return Ok(()),
            };
            let (parent, last) = match directory_of(&target) {
                Some(slash) => (&target[..=slash], &target[slash + 1..]),
                None => (&target[..0], &target[..]),
            };
            directory = self.resolve_from(directory, parent)?;
            name = last.to_vec();
            if matches!(last, b"" | b"." | b"..") {
                return Err(in_the_way(path, "a link to a directory is there"));
            }
        }
        Err(in_the_way(path, "too many symbolic links lead there"))
    }

    fn resolve(&mut self, path: &[u8]) -> Result<Place, RootError> {
        let root = self.root();
        self.resolve_from(root, path)
    }

    fn root(&self) -> Place {
        Place {
            id: self.tree.root(),
            above: Vec::new(),
        }
    }

    /// The directory at `path`, seen from `start`; directories that are missing are added.
    fn resolve_from(&mut self, start: Place, path: &[u8]) -> Result<Place, RootError> {
        let mut place = if path.first() == Some(&b'/') {
            self.root()
        } else {
            start
        };
        let mut rest: Vec<Vec<u8>> = names_reversed(path);
        let mut links = 0;
        while let Some(name) = rest.pop() {
            if name == b".." {
                place.leave();
                continue;
            }
            let Some(found) = self.tree.child(place.id, &name) else {
                place = self.add(&place, &name, Node::Directory(Default::default()))?;
                continue;
            };
            match &self.tree.inode(found).node {
                Node::Directory(_) => place.enter(name, found),
                Node::Symlink(target) if links < LINKS_MAX => {
                    links += 1;
                    if target.first() == Some(&b'/') {
                        place = self.root();
                    }
                    rest.extend(names_reversed(target));
                }
                Node::Symlink(_) => return Err(in_the_way(path, "too many symbolic links lead there")),
                _ => return Err(in_the_way(path, "a file is on the way")),
            }
        }
        Ok(place)
    }

    fn add(&mut self, place: &Place, name: &[u8], node: Node<Content>) -> Result<Place, RootError> {
        if name.len() > 255 {
            return Err(in_the_way(name, "the name is too long"));
        }
        let mut metadata = plain_directory(&self.tree.inode(self.tree.root()).metadata);
        if !matches!(node, Node::Directory(_)) {
            metadata.mode = 0o644;
        }
        let id = self.tree.add(Inode { metadata, node });
        self.tree.link(place.id, name, id);
        let mut added = place.clone();
        added.enter(name.to_vec(), id);
        self.added.insert(added.path());
        Ok(added)
    }
}

/// Removes the link at a path, if it is one.
fn unlink_symlink(tree: &mut Tree<Content>, path: &Path) {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return;
    };
    let parent = parent.as_os_str().as_bytes();
    let Some(parent) = tree.lookup(parent.strip_prefix(b"/").unwrap_or(parent)) else {
        return;
    };
    let found = tree.child(parent, name.as_bytes());
    if found.is_some_and(|found| matches!(tree.inode(found).node, Node::Symlink(_))) {
        tree.unlink(parent, name.as_bytes());
    }
}

/// A directory, and the way to it from the root.
#[derive(Clone)]
struct Place {
    id: InodeId,
    above: Vec<(Vec<u8>, InodeId)>,
}

impl Place {
    fn enter(&mut self, name: Vec<u8>, id: InodeId) {
        self.above.push((name, std::mem::replace(&mut self.id, id)));
    }

    /// Above the root is the root.
    fn leave(&mut self) {
        if let Some((_, parent)) = self.above.pop() {
            self.id = parent;
        }
    }

    fn path(&self) -> Vec<u8> {
        let names: Vec<&[u8]> = self.above.iter().map(|(name, _)| name.as_slice()).collect();
        names.join(&b'/')
    }
}

/// What a directory has that no layer speaks of.
fn plain_directory(like: &Metadata) -> Metadata {
    Metadata {
        mode: 0o755,
        mtime: like.mtime,
        ..Metadata::default()
    }
}

fn names_reversed(path: &[u8]) -> Vec<Vec<u8>> {
    path.split(|byte| *byte == b'/')
        .filter(|name| !name.is_empty() && *name != b".")
        .map(<[u8]>::to_vec)
        .rev()
        .collect()
}

fn in_the_way(path: &[u8], reason: &'static str) -> RootError {
    RootError::MountPoint {
        path: String::from_utf8_lossy(path).into_owned(),
        reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Directories end with `/`, links have `path -> target`, everything else is a file.
    fn tree(lines: &[&str]) -> Tree<Content> {
        let mut tree = Tree::new(Metadata {
            mode: 0o750,
            ..Metadata::default()
        });
        for line in lines {
            let (path, node) = match line.split_once(" -> ") {
                Some((path, target)) => (path, Node::Symlink(target.as_bytes().into())),
                None if line.ends_with('/') => {
                    (line.trim_end_matches('/'), Node::Directory(Default::default()))
                }
                None => (*line, Node::Regular(Content::Inline(Box::from(*b"x")))),
            };
            let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
            let parent = tree.lookup(parent.as_bytes()).unwrap();
            let metadata = Metadata {
                mode: 0o700,
                ..Metadata::default()
            };
            let id = tree.add(Inode { metadata, node });
            tree.link(parent, name.as_bytes(), id);
        }
        tree
    }

    fn targets<'t>(files: &[&'t str]) -> Vec<Target<'t>> {
        let target = |path: &&'t str| Target {
            path: Path::new(*path),
            is_directory: false,
        };
        files.iter().map(target).collect()
    }

    fn added(lines: &[&str], files: &[&str]) -> Result<Vec<String>, RootError> {
        let points = MountPoints::new(&tree(lines), &targets(files))?;
        let text = |path: &Vec<u8>| String::from_utf8(path.clone()).unwrap();
        let added: Vec<String> = points.added.iter().map(text).collect();
        for path in &added {
            assert!(points.tree.lookup(path.as_bytes()).is_some(), "{path}");
        }
        Ok(added)
    }

    const SYSTEM: [&str; 3] = ["proc/", "sys/", "dev/"];

    #[test]
    fn what_is_missing_is_added_and_parents_keep_their_metadata() {
        let base = tree(&["etc/", "etc/hosts"]);
        let files = ["/etc/resolv.conf", "/etc/hosts", "/run/a/b", "/dev/pipes/x"];
        let points = MountPoints::new(&base, &targets(&files)).unwrap();
        let paths: Vec<_> = points
            .added
            .iter()
            .map(|path| str::from_utf8(path).unwrap())
            .collect();
        assert_eq!(
            paths,
            ["dev", "etc/resolv.conf", "proc", "run", "run/a", "run/a/b", "sys"]
        );
        for path in ["", "etc", "etc/hosts"] {
            let inode = |tree: &Tree<Content>| {
                tree.lookup(path.as_bytes())
                    .map(|id| tree.inode(id).metadata.clone())
            };
            assert_eq!(inode(&base), inode(&points.tree), "{path}");
        }
    }

    #[test]
    fn links_are_followed_inside_the_tree() {
        let lines = [
            &SYSTEM[..],
            &[
                "etc/",
                "etc/a -> ../../run/x/y",
                "etc/b -> /etc/c",
                "etc/c -> d",
                "run -> /etc/../var/run",
                "var/",
            ],
        ]
        .concat();
        assert_eq!(
            added(&lines, &["/etc/a"]).unwrap(),
            ["var/run", "var/run/x", "var/run/x/y"]
        );
        assert_eq!(added(&lines, &["/etc/b"]).unwrap(), ["etc/d"]);
        assert_eq!(added(&lines, &["/run/z"]).unwrap(), ["var/run", "var/run/z"]);
    }

    #[test]
    fn what_is_in_the_way_is_an_error() {
        let lines = [&SYSTEM[..], &["file", "dir/", "loop -> loop", "up -> dir/.."]].concat();
        for path in ["/file/x", "/dir", "/loop", "/loop/x", "/up", "/", "/dir/.."] {
            let error = added(&lines, &[path]).unwrap_err();
            assert!(matches!(error, RootError::MountPoint { .. }), "{path}: {error}");
        }
        assert!(added(&["proc"], &[]).is_err());
    }
}
