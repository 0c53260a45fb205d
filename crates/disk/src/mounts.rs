//! File systems of their own: where they are mounted, and what of the image goes into them.
//!
//! `/var` and what is below it belong to the machine, so such a file system takes over what the image has there. All
//! else is read-only on a machine: a mount point outside `/var` must be a directory of the image, and nothing in it. The
//! names in the root of an image are often links into `/var` (`/home`, `/srv`), and are followed.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use osmith_formats::tree::{Inode, InodeId, Metadata, Node, Tree};
use osmith_machine::install::{Deployment, FileData, InstallFile, STATE_VAR};

use crate::error::{MountPointReason, PlanError};
use crate::real_path::{Astray, real_path};

/// Directories that the machine itself fills, or that are its operating system.
const RESERVED: [&str; 11] = [
    "boot",
    "dev",
    "etc",
    "ostree",
    "proc",
    "run",
    "sys",
    "sysroot",
    "tmp",
    "usr",
    "composefs",
];

/// A file system of its own: the mount point as it was asked for, and what is in it.
pub(crate) type Separate = (String, Tree<InstallFile>);

/// Takes what belongs into file systems of their own out of the root file system.
pub(crate) fn separate(
    deployment: &mut Deployment,
    image: &Tree,
    paths: &[&str],
) -> Result<Vec<Separate>, PlanError> {
    let (mut targets, mut wrong) = (BTreeMap::new(), Vec::new());
    for path in paths {
        let resolved = resolve(image, path).and_then(|target| match targets.entry(target) {
            Entry::Vacant(entry) => Ok(entry.insert(*path)),
            Entry::Occupied(entry) => Err(MountPointReason::Same(entry.get().to_string())),
        });
        wrong.extend(resolved.err().map(|reason| ((*path).to_owned(), reason)));
    }
    let mut separate = Vec::new();
    // What lies further down is taken first.
    for (target, path) in targets.into_iter().rev() {
        match take(deployment, image, &target) {
            Ok(tree) => separate.push((path.to_owned(), tree)),
            Err(reason) => wrong.push((path.to_owned(), reason)),
        }
    }
    match wrong.is_empty() {
        true => Ok(separate),
        false => Err(PlanError::MountPoints(wrong)),
    }
}

fn take(
    deployment: &mut Deployment,
    image: &Tree,
    target: &[Vec<u8>],
) -> Result<Tree<InstallFile>, MountPointReason> {
    let Some(below_var) = below_var(target) else {
        return empty_directory(image, target).map(Tree::new);
    };
    let directory = ensure_directory(&mut deployment.root, &below_var)?;
    let mut taken = deployment.root.split_off(directory);
    // A file with a name in both parts was doubled: each is read by itself.
    for inode in taken.inodes_mut() {
        if let Node::Regular(file) = &mut inode.node {
            file.source = double(&mut deployment.sources, file.source);
        }
    }
    Ok(taken)
}

fn double(sources: &mut Vec<FileData>, source: u32) -> u32 {
    match sources.get(source as usize).cloned() {
        Some(data) => {
            sources.push(data);
            (sources.len() - 1) as u32
        }
        None => source,
    }
}

fn resolve(image: &Tree, path: &str) -> Result<Vec<Vec<u8>>, MountPointReason> {
    real_path(image, path.as_bytes(), true).map_err(|astray| match astray {
        Astray::Links => MountPointReason::Links,
        Astray::NotDirectory(_) => MountPointReason::NoDirectory,
    })
}

/// The names below `var`, if the path leads there.
fn below_var(path: &[Vec<u8>]) -> Option<Vec<Vec<u8>>> {
    let (first, rest) = path.split_first()?;
    (first == b"var").then(|| rest.to_vec())
}

/// The directory at those names of the machine's `/var`, made where it is missing.
fn ensure_directory(root: &mut Tree<InstallFile>, names: &[Vec<u8>]) -> Result<InodeId, MountPointReason> {
    let var = root
        .lookup(STATE_VAR.as_bytes())
        .ok_or(MountPointReason::Missing)?;
    names.iter().try_fold(var, |parent, name| {
        if let Some(child) = root.child(parent, name) {
            let is_directory = root.inode(child).entries().is_some();
            return is_directory.then_some(child).ok_or(MountPointReason::NoDirectory);
        }
        let above = &root.inode(parent).metadata;
        let directory = Inode {
            metadata: Metadata {
                mode: 0o755,
                uid: 0,
                gid: 0,
                ..above.clone()
            },
            node: Node::Directory(Default::default()),
        };
        let child = root.add(directory);
        root.link(parent, name, child);
        Ok(child)
    })
}

/// A directory of the image that a file system can be mounted on.
fn empty_directory(image: &Tree, path: &[Vec<u8>]) -> Result<Metadata, MountPointReason> {
    let first = path.first().ok_or(MountPointReason::Reserved)?;
    if RESERVED.iter().any(|name| name.as_bytes() == first) {
        return Err(MountPointReason::Reserved);
    }
    let id = image.lookup(&path.join(&b'/')).ok_or(MountPointReason::Missing)?;
    let inode = image.inode(id);
    match inode.entries() {
        Some(entries) if entries.is_empty() => Ok(inode.metadata.clone()),
        Some(_) => Err(MountPointReason::NotEmpty),
        None => Err(MountPointReason::NoDirectory),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use osmith_formats::tree::Content;

    fn image() -> Tree {
        let mut tree: Tree = Tree::new(Metadata::default());
        let root = tree.root();
        let mut directory = |parent, name: &str| {
            let id = tree.add(Inode {
                metadata: Metadata::default(),
                node: Node::Directory(Default::default()),
            });
            tree.link(parent, name.as_bytes(), id);
            id
        };
        let (var, srv, _) = (
            directory(root, "var"),
            directory(root, "opt"),
            directory(root, "data"),
        );
        directory(var, "home");
        let mut add = |parent, name: &str, node| {
            let id = tree.add(Inode {
                metadata: Metadata::default(),
                node,
            });
            tree.link(parent, name.as_bytes(), id);
        };
        add(root, "home", Node::Symlink(b"var/home".as_slice().into()));
        add(root, "loop", Node::Symlink(b"/loop".as_slice().into()));
        add(root, "up", Node::Symlink(b"../../var".as_slice().into()));
        add(
            srv,
            "file",
            Node::Regular(Content::Inline(b"1".as_slice().into())),
        );
        tree
    }

    fn resolved(path: &str) -> Result<String, MountPointReason> {
        let names = resolve(&image(), path)?;
        Ok(String::from_utf8(names.join(&b'/')).unwrap())
    }

    #[test]
    fn links_are_followed_within_the_image() {
        assert_eq!(resolved("/var/log"), Ok("var/log".to_owned()));
        assert_eq!(resolved("/home"), Ok("var/home".to_owned()));
        assert_eq!(resolved("/home/x"), Ok("var/home/x".to_owned()));
        assert_eq!(resolved("/up/lib"), Ok("var/lib".to_owned()));
        assert_eq!(resolved("/loop/x"), Err(MountPointReason::Links));
        assert_eq!(resolved("/opt/file/x"), Err(MountPointReason::NoDirectory));
    }

    #[test]
    fn outside_of_var_a_mount_point_is_an_empty_directory() {
        let check = |path: &str| empty_directory(&image(), &resolve(&image(), path).unwrap());
        assert!(check("/data").is_ok());
        assert_eq!(check("/opt"), Err(MountPointReason::NotEmpty));
        assert_eq!(check("/opt/file2"), Err(MountPointReason::Missing));
        assert_eq!(check("/usr/local"), Err(MountPointReason::Reserved));
        assert_eq!(check("/"), Err(MountPointReason::Reserved));
    }
}
