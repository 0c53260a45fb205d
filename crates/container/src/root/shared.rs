//! Roots that containers of one image share, kept from one container to the next.
//!
//! ```text
//! facts.json    what is asked of the image's tree at every start
//! lower/        the lower, of the kind that the key names
//! ```
//!
//! With them a container starts without the tree of its image: reading it and writing a lower takes longer than all
//! the rest.

use std::cell::OnceCell;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use osmith_formats::tree::{Content, Inode, Metadata, Node, Timestamp, Tree};
use osmith_image::Sha256Digest;
use osmith_image::store::{KeptRoot, Store, StoreError};
use osmith_sys::OsError;
use osmith_sys::sandbox::Lower;
use serde::{Deserialize, Serialize};

use super::lower::{lower_in, write_lower};
use super::mount_points::Target;
use super::{LowerKind, MountPoints, RootError, overlay_attributes, possible_kinds, try_kinds};
use crate::users::{Accounts, account_files};

const FACTS: &str = "facts.json";
const LOWER: &str = "lower";
/// Changes with what is written for the same image.
const FORMAT: u32 = 1;

/// The tree of an image, merged when somebody asks for it.
pub(crate) struct ImageTree<'s> {
    store: &'s Store,
    image: Sha256Digest,
    tree: OnceCell<Tree<Content>>,
}

impl<'s> ImageTree<'s> {
    /// Of the image with this manifest.
    pub(crate) fn new(store: &'s Store, image: Sha256Digest) -> Self {
        ImageTree {
            store,
            image,
            tree: OnceCell::new(),
        }
    }

    /// The store of the image.
    pub(crate) fn store(&self) -> &'s Store {
        self.store
    }

    /// The tree.
    pub(crate) fn tree(&self) -> Result<&Tree<Content>, StoreError> {
        if let Some(tree) = self.tree.get() {
            return Ok(tree);
        }
        let tree = self.store.image_of_digest(&self.image)?.tree(self.store)?;
        Ok(self.tree.get_or_init(|| tree))
    }
}

/// What a container's root has besides what its image has; see [`MountPoints::for_container`].
pub(crate) struct Additions<'a> {
    pub(crate) targets: Vec<Target<'a>>,
    pub(crate) files: Vec<&'a Path>,
    pub(crate) directory: &'a Path,
}

/// A root in use.
pub(crate) struct SharedRoot {
    kept: KeptRoot,
    kind: LowerKind,
    facts: Facts,
}

/// What is asked of the tree at every start.
#[derive(Debug, Serialize, Deserialize)]
struct Facts {
    passwd: String,
    group: String,
    mode: u16,
    uid: u32,
    gid: u32,
    /// Seconds and nanoseconds.
    mtime: (i64, u32),
    xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

impl SharedRoot {
    /// Calls `start` with a root of the first kind that this machine can mount; it is called again with another one if
    /// mounting it is what failed.
    pub(crate) fn with<T>(
        image: &ImageTree<'_>,
        additions: &Additions<'_>,
        mut start: impl FnMut(&SharedRoot) -> Result<T, RootError>,
    ) -> Result<(SharedRoot, T), RootError> {
        let (_, answer) = try_kinds(possible_kinds(image.store)?, |kind| {
            let root = SharedRoot::open(kind, image, additions)?;
            let answer = start(&root)?;
            Ok((root, answer))
        })?;
        Ok(answer)
    }

    fn open(kind: LowerKind, image: &ImageTree<'_>, additions: &Additions<'_>) -> Result<Self, RootError> {
        let key = key(kind, &image.image, additions);
        let kept = image
            .store
            .kept_root(&key, |directory| -> Result<(), RootError> {
                let tree = image.tree()?;
                let points = MountPoints::for_container(
                    tree,
                    &additions.targets,
                    &additions.files,
                    additions.directory,
                )?;
                let facts = serde_json::to_vec(&Facts::of(image.store, &points.tree)?).unwrap_or_default();
                let path = directory.join(FACTS);
                fs::write(&path, facts).map_err(|error| OsError::from_io("write", path.display(), &error))?;
                let lower = directory.join(LOWER);
                fs::create_dir(&lower)
                    .map_err(|error| OsError::from_io("create", lower.display(), &error))?;
                write_lower(
                    kind,
                    overlay_attributes(),
                    image.store,
                    &lower,
                    None,
                    &points.tree,
                )
            })?;
        let path = kept.path().join(FACTS);
        let bytes = fs::read(&path).map_err(|error| OsError::from_io("read", path.display(), &error))?;
        let facts = serde_json::from_slice(&bytes).map_err(|_| StoreError::Damaged {
            what: "root",
            name: path.display().to_string(),
        })?;
        Ok(SharedRoot { kept, kind, facts })
    }

    /// For the sandbox.
    pub(crate) fn lower(&self, store: &Store) -> Lower {
        lower_in(self.kind, self.directory(), store)
    }

    fn directory(&self) -> PathBuf {
        self.kept.path().join(LOWER)
    }

    /// The accounts of the image.
    pub(crate) fn accounts(&self) -> Accounts {
        Accounts::parse(&self.facts.passwd, &self.facts.group)
    }

    /// The root directory, without what is in it.
    pub(crate) fn directory_inode(&self) -> Inode<Content> {
        let Facts { mode, uid, gid, .. } = self.facts;
        let (seconds, nanoseconds) = self.facts.mtime;
        let xattrs = self.facts.xattrs.iter();
        Inode {
            metadata: Metadata {
                mode,
                uid,
                gid,
                mtime: Timestamp { seconds, nanoseconds },
                xattrs: xattrs
                    .map(|(name, value)| (name.as_slice(), value.as_slice()))
                    .collect(),
            },
            node: Node::Directory(Default::default()),
        }
    }
}

impl Facts {
    fn of(store: &Store, tree: &Tree<Content>) -> Result<Facts, RootError> {
        let (passwd, group) = account_files(store, tree)?;
        let metadata = &tree.inode(tree.root()).metadata;
        let xattrs = metadata.xattrs.iter();
        Ok(Facts {
            passwd,
            group,
            mode: metadata.mode,
            uid: metadata.uid,
            gid: metadata.gid,
            mtime: (metadata.mtime.seconds, metadata.mtime.nanoseconds),
            xattrs: xattrs
                .map(|(name, value)| (name.to_vec(), value.to_vec()))
                .collect(),
        })
    }
}

/// Roots with equal keys are equal.
fn key(kind: LowerKind, image: &Sha256Digest, additions: &Additions<'_>) -> Sha256Digest {
    let mut text = format!("{FORMAT} {kind:?} {:?} {image}", overlay_attributes()).into_bytes();
    let mut add = |mark: u8, path: &Path| {
        text.extend([0, mark]);
        text.extend(path.as_os_str().as_bytes());
    };
    for target in &additions.targets {
        add(if target.is_directory { b'd' } else { b'f' }, target.path);
    }
    for file in &additions.files {
        add(b'u', file);
    }
    add(b'w', additions.directory);
    Sha256Digest::of(&text)
}
