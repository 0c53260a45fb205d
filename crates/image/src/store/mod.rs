//! The store: every image, layer and file content of one place, and what builds remember.
//!
//! ```text
//! store.json                        the format of the store
//! objects/<2 hex>/<126 hex>         file contents longer than 64 bytes, by fs-verity digest (SHA-512), mode 0644
//! layers/<64 hex>                   layer records, by the SHA-256 of their contents
//! diffs/<64 hex>                    JSON: which record a diff ID is
//! tars/<64 hex>                     JSON: the diff ID of a record's own tar stream, by the record
//! blobs/sha256/<64 hex>             manifests, indexes, configurations, and layers as they came or as they leave
//! compressed/<64 hex>-<codec>-<n>   JSON: the blob of a compressed own layer, by its diff ID
//! origins/<64 hex>                  JSON: the repositories that a blob was seen in, by its digest
//! images/<64 hex>                   JSON: an image that exists, by the digest of its manifest
//! names/<domain>/<path>:<tag>       the digest of a manifest, or of an index of manifests
//! cache/<2 hex>/<62 hex>            what builds remember, by key
//! mounts/<64 hex>/                  directories that RUN steps keep from build to build
//! holds/<64 hex>                    the digest of the manifest of an image that a container runs on, by its ID
//! containers/, volumes/             the containers' own
//! tmp/                              unfinished files; emptied when nobody uses the store
//! ```
//!
//! The store is safe against being killed at any point: files get their name when they are whole, a name of an image
//! is written after everything it means is on the disk, and what nothing names is removed by [`Store::prune`]. Using
//! a store holds a shared lock on its directory, removing things from it an exclusive one. Objects are named without
//! waiting for the disk; one `syncfs` before a name is written is enough, and an object that a crash cut short is
//! noticed by its length and written again.

mod cache;
mod error;
mod files;
mod holds;
mod images;
mod indexes;
mod intake;
mod layers;
mod mounts;
mod objects;
mod origins;
mod outgoing;
mod prune;
mod records;
mod roots;

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::RwLock;

use osmith_formats::verity::Digest;
use rustix::fs::FlockOperation;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

pub use error::StoreError;
pub(crate) use error::{io_class, io_hints};
pub use images::{DamagedImage, Image, ImageParts, LayerSource, Listed, Listing};
pub use indexes::{ImageIndex, ListedIndex, Named};
pub(crate) use intake::{Contents, Intake, ObjectBytes, Slot, WHOLE_MAX_BYTES};
pub use layers::TarStream;
pub use mounts::{CacheIdentity, CacheMount, CacheSharing, ListedCache};
pub use objects::{ContentReader, ObjectWriter};
pub use outgoing::Encoding;
pub(crate) use outgoing::{IncomingBlob, OutgoingBytes, OwnLayer, Prepared};
pub use prune::{Damage, PruneOptions, Pruned};
pub use records::{Record, RecordContents};
pub use roots::KeptRoot;

const FORMAT_FILE: &str = "store.json";
/// What a damaged format file is called.
const FORMAT_KIND: &str = "description";
const FORMAT: u32 = 1;
const ALGORITHM: &str = "fsverity-sha512-12";
const OBJECTS: &str = "objects";
const ORIGINS: &str = "origins";
const NAMES: &str = "names";
const CONTAINERS: &str = "containers";
const VOLUMES: &str = "volumes";
const DIRECTORIES: [&str; 14] = [
    OBJECTS,
    "layers",
    "diffs",
    "tars",
    "blobs/sha256",
    "compressed",
    ORIGINS,
    "images",
    NAMES,
    "cache",
    holds::HOLDS,
    CONTAINERS,
    VOLUMES,
    files::TMP,
];

/// What a store is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Reading only; the right to write is not needed.
    ReadOnly,
    /// Reading and writing; a store that is missing is made.
    ReadWrite,
}

/// An image store that is open. All methods may be called from several threads at once.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    /// The directory, with the lock.
    root: File,
    access: Access,
    owner: ObjectOwner,
    /// Objects that are there and damaged: see [`Store::distrust`].
    distrusted: RwLock<BTreeSet<Digest>>,
}

/// Who looks after the objects of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum ObjectOwner {
    /// The store.
    #[default]
    Store,
    /// A composefs repository, in whose directory they are: see [`Store::open_in_repository`].
    Repository,
}

#[derive(Debug, Serialize, Deserialize)]
struct Format {
    format: u32,
    algorithm: String,
    #[serde(default, skip_serializing_if = "ObjectOwner::is_store")]
    objects: ObjectOwner,
}

impl ObjectOwner {
    fn is_store(&self) -> bool {
        *self == ObjectOwner::Store
    }
}

impl Store {
    /// Opens the store in the directory `path`, and with [`Access::ReadWrite`] makes it if it is missing.
    ///
    /// Waits while another process removes things from the store.
    pub fn open(path: &Path, access: Access) -> Result<Store, StoreError> {
        if path.metadata().is_ok_and(|metadata| !metadata.is_dir()) {
            return Err(StoreError::NotADirectory(path.to_owned()));
        }
        if access == Access::ReadWrite {
            create_private(path).map_err(|error| StoreError::io("create the image store", path, error))?;
            rustix::fs::access(path, rustix::fs::Access::WRITE_OK)
                .map_err(|errno| StoreError::io("write to the image store", path, errno))?;
        }
        let root = File::open(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => StoreError::NoStore(path.to_owned()),
            _ => StoreError::io("open the image store", path, error),
        })?;
        let mut store = Store {
            path: path.to_owned(),
            root,
            access,
            owner: ObjectOwner::Store,
            distrusted: RwLock::default(),
        };
        store.lock()?;
        store.owner = store.require_format()?.objects;
        Ok(store)
    }

    /// Opens the store in the directory `path` whose objects are those of a composefs repository, or makes it: every
    /// object that is written gets fs-verity where there is some, and the store never removes one. `objects` is the
    /// repository's directory of objects, as a symbolic link in `path` names it.
    pub fn open_in_repository(path: &Path, objects: &Path) -> Result<Store, StoreError> {
        if !path.join(FORMAT_FILE).exists() {
            let failed = |error| StoreError::io("create the image store", path, error);
            create_private(path).map_err(failed)?;
            match std::os::unix::fs::symlink(objects, path.join(OBJECTS)) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed(error)),
                _ => {}
            }
            let root = File::open(path).map_err(failed)?;
            initialize(root.as_fd(), ObjectOwner::Repository).map_err(failed)?;
        }
        Store::open(path, Access::ReadWrite)
    }

    /// The directory of the store.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The directory of the objects, for mounting.
    pub fn objects_path(&self) -> PathBuf {
        self.path.join("objects")
    }

    /// The directory of the containers, which may be missing. The store itself does not look into it.
    pub fn containers_path(&self) -> PathBuf {
        self.path.join(CONTAINERS)
    }

    /// The directory of the containers' named volumes, which may be missing. The store itself does not look into it.
    pub fn volumes_path(&self) -> PathBuf {
        self.path.join(VOLUMES)
    }

    /// What the store was opened for.
    pub fn access(&self) -> Access {
        self.access
    }

    /// A new directory on the store's file system for work in progress, removed when dropped (and, after a crash, when
    /// the store is next opened by nobody else).
    pub fn work_directory(&self) -> Result<tempfile::TempDir, StoreError> {
        self.require_writable()?;
        let parent = self.path.join(files::TMP);
        tempfile::Builder::new()
            .prefix("work-")
            .tempdir_in(&parent)
            .map_err(|error| StoreError::io("create a directory in", parent, error))
    }

    /// Waits until everything written so far is on the disk.
    pub fn sync(&self) -> Result<(), StoreError> {
        rustix::fs::syncfs(&self.root).map_err(|error| StoreError::io("write to the disk", &self.path, error))
    }

    fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    fn require_writable(&self) -> Result<(), StoreError> {
        match self.access {
            Access::ReadWrite => Ok(()),
            Access::ReadOnly => Err(StoreError::ReadOnly(self.path.clone())),
        }
    }

    /// An error about a path below the store's directory.
    fn io(&self, operation: &'static str, path: &str, source: impl Into<io::Error>) -> StoreError {
        StoreError::io(operation, self.path.join(path), source)
    }

    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, StoreError> {
        files::read(self.root(), path).map_err(|error| self.io("read", path, error))
    }

    fn write(&self, path: &str, bytes: &[u8]) -> Result<(), StoreError> {
        self.require_writable()?;
        let written = match self.owner {
            ObjectOwner::Store => files::write(self.root(), path, bytes),
            // A machine's power may fail, and the next try is to find nothing cut short.
            ObjectOwner::Repository => files::write_durably(self.root(), path, bytes),
        };
        written.map_err(|error| self.io("write", path, error))
    }

    fn contains(&self, path: &str) -> Result<bool, StoreError> {
        let size_bytes =
            files::size_bytes(self.root(), path).map_err(|error| self.io("look for", path, error))?;
        Ok(size_bytes.is_some())
    }

    fn list(&self, path: &str) -> Result<Vec<(String, std::fs::FileType)>, StoreError> {
        files::list(&self.path, path).map_err(|error| self.io("list", path, error))
    }

    /// Takes the shared lock. Whoever finds the store unused removes what a crash left in `tmp/`.
    fn lock(&self) -> Result<(), StoreError> {
        let failed = |error: Errno| StoreError::io("lock", &self.path, error);
        if self.access == Access::ReadWrite {
            match rustix::fs::flock(&self.root, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => self.remove_unfinished(),
                Err(Errno::WOULDBLOCK) => {}
                Err(error) => return Err(failed(error)),
            }
        }
        retry_interrupted(|| rustix::fs::flock(&self.root, FlockOperation::LockShared)).map_err(failed)
    }

    /// Runs `action` under the exclusive lock.
    fn exclusively<T>(&self, action: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
        self.require_writable()?;
        let failed = |error: Errno| match error {
            Errno::WOULDBLOCK => StoreError::Busy(self.path.clone()),
            error => StoreError::io("lock", &self.path, error),
        };
        let result = rustix::fs::flock(&self.root, FlockOperation::NonBlockingLockExclusive)
            .map_err(failed)
            .and_then(|()| action());
        // A conversion that fails has given up the shared lock.
        retry_interrupted(|| rustix::fs::flock(&self.root, FlockOperation::LockShared)).map_err(failed)?;
        result
    }

    /// Removes what is in `tmp/`. What cannot be removed (a work directory of other users' files) is in nobody's way.
    fn remove_unfinished(&self) {
        let directory = self.path.join(files::TMP);
        for (name, kind) in files::list(&self.path, files::TMP).unwrap_or_default() {
            let path = directory.join(name);
            let _ = match kind.is_dir() {
                true => std::fs::remove_dir_all(path),
                false => std::fs::remove_file(path),
            };
        }
    }

    fn require_format(&self) -> Result<Format, StoreError> {
        match self.read(FORMAT_FILE)? {
            Some(bytes) => self.known_format(&bytes),
            None if self.access == Access::ReadWrite => {
                self.require_empty()?;
                initialize(self.root(), ObjectOwner::Store)
                    .map_err(|error| StoreError::io("create the image store", &self.path, error))
            }
            None => Err(StoreError::NoStore(self.path.clone())),
        }
    }

    fn known_format(&self, bytes: &[u8]) -> Result<Format, StoreError> {
        match serde_json::from_slice::<Format>(bytes) {
            Ok(format) if format.format == FORMAT && format.algorithm == ALGORITHM => Ok(format),
            Ok(format) => Err(StoreError::Format {
                path: self.path.clone(),
                format: format!("{} with {}", format.format, format.algorithm),
            }),
            Err(_) => Err(StoreError::Damaged {
                what: FORMAT_KIND,
                name: self.path.join(FORMAT_FILE).display().to_string(),
            }),
        }
    }

    /// A first attempt to make a store that was cut off may be continued.
    fn require_empty(&self) -> Result<(), StoreError> {
        let foreign = self.list("")?.into_iter().any(|(name, _)| {
            name != "lost+found" && !DIRECTORIES.iter().any(|own| own.split('/').next() == Some(&name))
        });
        match foreign {
            true => Err(StoreError::NotAStore(self.path.clone())),
            false => Ok(()),
        }
    }
}

/// Makes the directories, then the file that says this is a store.
fn initialize(root: BorrowedFd<'_>, objects: ObjectOwner) -> io::Result<Format> {
    for directory in DIRECTORIES {
        files::create_directories(root, directory)?;
    }
    let format = Format {
        format: FORMAT,
        algorithm: ALGORITHM.to_owned(),
        objects,
    };
    files::write_durably(root, FORMAT_FILE, &crate::manifest::to_json(&format))?;
    Ok(format)
}

/// Makes a directory for its owner alone: images have files like `/etc/shadow`. One that is there stays as it is.
fn create_private(path: &Path) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    match std::fs::DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

fn retry_interrupted(mut call: impl FnMut() -> rustix::io::Result<()>) -> rustix::io::Result<()> {
    loop {
        match call() {
            Err(Errno::INTR) => continue,
            other => return other,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_store_is_made_once_and_opened_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("new/store");
        assert!(matches!(
            Store::open(&path, Access::ReadOnly),
            Err(StoreError::NoStore(_))
        ));
        let first = Store::open(&path, Access::ReadWrite).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o700);
        let second = Store::open(&path, Access::ReadOnly).unwrap();
        assert!(matches!(second.work_directory(), Err(StoreError::ReadOnly(_))));
        drop(first);
    }

    #[test]
    fn other_directories_and_formats_are_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("precious"), b"x").unwrap();
        assert!(matches!(
            Store::open(directory.path(), Access::ReadWrite),
            Err(StoreError::NotAStore(_))
        ));
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(
            directory.path().join(FORMAT_FILE),
            br#"{"format":2,"algorithm":"x"}"#,
        )
        .unwrap();
        assert!(matches!(
            Store::open(directory.path(), Access::ReadWrite),
            Err(StoreError::Format { .. })
        ));
        std::fs::write(directory.path().join(FORMAT_FILE), b"{").unwrap();
        assert!(matches!(
            Store::open(directory.path(), Access::ReadWrite),
            Err(StoreError::Damaged { .. })
        ));
    }

    #[test]
    fn leftovers_are_removed_when_nobody_uses_the_store() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path(), Access::ReadWrite).unwrap();
        let leftover = directory.path().join("tmp/work-x");
        std::fs::create_dir(&leftover).unwrap();
        std::fs::write(leftover.join("file"), b"x").unwrap();
        let other = Store::open(directory.path(), Access::ReadWrite).unwrap();
        assert!(leftover.exists(), "somebody may be working there");
        drop((store, other));
        Store::open(directory.path(), Access::ReadWrite).unwrap();
        assert!(!leftover.exists());
    }

    #[test]
    fn exclusive_use_needs_the_store_alone() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path(), Access::ReadWrite).unwrap();
        let other = Store::open(directory.path(), Access::ReadOnly).unwrap();
        assert!(matches!(store.exclusively(|| Ok(())), Err(StoreError::Busy(_))));
        drop(other);
        store.exclusively(|| Ok(())).unwrap();
        Store::open(directory.path(), Access::ReadOnly).unwrap();
    }
}
