//! Directories that RUN steps keep from build to build: `RUN --mount=type=cache`.
//!
//! ```text
//! mounts/<64 hex>/about.json    whose it is: id, user, group
//! mounts/<64 hex>/<n>/          what it holds; n is 0, and more where users wanted it for themselves
//! mounts/<64 hex>/<n>.lock      locked while somebody uses it
//! ```

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use osmith_report::Interrupted;
use rustix::fs::FlockOperation;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::{Store, StoreError};

const MOUNTS: &str = "mounts";
const ABOUT: &str = "about.json";
const LOCK: &str = "lock";
/// How often somebody who waits looks whether to go on.
const PAUSE: Duration = Duration::from_millis(50);

/// Which directory is meant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CacheIdentity {
    /// Its name.
    pub id: String,
    /// The owner that it was made for.
    pub uid: u32,
    /// The group that it was made for.
    pub gid: u32,
}

/// Who may use a directory at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheSharing {
    /// Everybody who shares.
    Shared,
    /// One user; who comes meanwhile gets another directory.
    Private,
    /// One user; who comes meanwhile waits.
    Locked,
}

/// A directory in use; others that want it for themselves have to wait until this is dropped.
#[derive(Debug)]
pub struct CacheMount {
    path: PathBuf,
    _lock: File,
}

impl CacheMount {
    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// A kept directory in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedCache {
    /// Which.
    pub identity: CacheIdentity,
    /// The length of all files in it.
    pub size_bytes: u64,
    /// When it was last used.
    pub last_used: Option<SystemTime>,
    /// Whether somebody uses it now.
    pub is_used: bool,
}

impl Store {
    /// The directory of that name, made if it is missing: `fill` gets an empty directory on the store's file system and
    /// gives it owner, mode and contents. While `sharing` makes this wait, `require_running` is asked whether to go on.
    pub fn cache_mount<E: From<StoreError>>(
        &self,
        identity: &CacheIdentity,
        sharing: CacheSharing,
        fill: impl Fn(&Path) -> Result<(), E>,
        require_running: impl Fn() -> Result<(), Interrupted>,
    ) -> Result<Option<CacheMount>, E> {
        let directory = self.directory_of(identity)?;
        for number in 0.. {
            let lock = self.open_lock(&directory, number)?;
            let operation = match sharing {
                CacheSharing::Shared => FlockOperation::NonBlockingLockShared,
                CacheSharing::Private | CacheSharing::Locked => FlockOperation::NonBlockingLockExclusive,
            };
            while let Err(errno) = rustix::fs::flock(&lock, operation) {
                match (errno, sharing) {
                    (Errno::WOULDBLOCK, CacheSharing::Private) => break,
                    (Errno::WOULDBLOCK | Errno::INTR, _) if require_running().is_err() => return Ok(None),
                    (Errno::WOULDBLOCK | Errno::INTR, _) => std::thread::sleep(PAUSE),
                    (errno, _) => return Err(StoreError::io("lock", &directory, errno).into()),
                }
            }
            if sharing == CacheSharing::Private && !is_locked(&lock, operation) {
                continue;
            }
            // The lock's time says when it was last used.
            let _ = lock.set_modified(SystemTime::now());
            let path = directory.join(number.to_string());
            if !path.exists() {
                self.fill_new(&path, &fill)?;
            }
            return Ok(Some(CacheMount { path, _lock: lock }));
        }
        Ok(None)
    }

    /// All kept directories, by name.
    pub fn cache_mounts(&self) -> Result<Vec<ListedCache>, StoreError> {
        let mut listed = Vec::new();
        for (name, kind) in self.list_mounts()? {
            let directory = self.path.join(MOUNTS).join(&name);
            let about = fs::read(directory.join(ABOUT)).unwrap_or_default();
            if let (true, Ok(identity)) = (kind.is_dir(), serde_json::from_slice(&about)) {
                listed.push(listed_cache(&directory, identity)?);
            }
        }
        listed.sort_by(|a, b| a.identity.cmp(&b.identity));
        Ok(listed)
    }

    /// Removes a kept directory; false if somebody uses it.
    pub fn remove_cache_mount(&self, identity: &CacheIdentity) -> Result<bool, StoreError> {
        self.require_writable()?;
        let directory = self.mount_path(identity);
        let failed = |error: std::io::Error| StoreError::io("remove", &directory, error);
        let mut locks = Vec::new();
        for lock in locks_in(&directory)? {
            let lock = File::open(lock).map_err(failed)?;
            if !is_locked(&lock, FlockOperation::NonBlockingLockExclusive) {
                return Ok(false);
            }
            locks.push(lock);
        }
        // Whoever comes now makes a new one: the old one is out of the way at once, and removed afterwards.
        let work = self.work_directory()?;
        fs::rename(&directory, work.path().join("removed")).map_err(failed)?;
        work.close().map_err(failed)?;
        Ok(true)
    }

    fn list_mounts(&self) -> Result<Vec<(String, fs::FileType)>, StoreError> {
        match self.path.join(MOUNTS).exists() {
            true => self.list(MOUNTS),
            false => Ok(Vec::new()),
        }
    }

    fn mount_path(&self, identity: &CacheIdentity) -> PathBuf {
        let CacheIdentity { id, uid, gid } = identity;
        let name = crate::Sha256Digest::of(format!("{uid}:{gid}:{id}").as_bytes());
        self.path.join(MOUNTS).join(name.hex())
    }

    fn directory_of(&self, identity: &CacheIdentity) -> Result<PathBuf, StoreError> {
        self.require_writable()?;
        let directory = self.mount_path(identity);
        if !directory.join(ABOUT).exists() {
            fs::create_dir_all(&directory).map_err(|error| StoreError::io("create", &directory, error))?;
            let about = serde_json::to_vec(identity).unwrap_or_default();
            let name = directory.strip_prefix(&self.path).unwrap_or(&directory);
            self.write(&format!("{}/{ABOUT}", name.display()), &about)?;
        }
        Ok(directory)
    }

    fn open_lock(&self, directory: &Path, number: u32) -> Result<File, StoreError> {
        let path = directory.join(format!("{number}.{LOCK}"));
        let opened = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path);
        opened.map_err(|error| StoreError::io("open", path, error))
    }

    /// Makes the directory under its name when it is whole.
    fn fill_new<E: From<StoreError>>(
        &self,
        path: &Path,
        fill: impl Fn(&Path) -> Result<(), E>,
    ) -> Result<(), E> {
        let work = self.work_directory()?;
        let new = work.path().join("new");
        let failed = |error: std::io::Error| StoreError::io("create", path, error);
        fs::create_dir(&new).map_err(failed)?;
        fill(&new)?;
        match fs::rename(&new, path) {
            // Somebody who shares it was faster.
            Err(_) if path.exists() => Ok(()),
            answer => Ok(answer.map_err(failed)?),
        }
    }
}

/// Whether the lock could be taken, for as long as the file is open.
pub(super) fn is_locked(lock: &File, operation: FlockOperation) -> bool {
    rustix::fs::flock(lock, operation).is_ok()
}

fn locks_in(directory: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let failed = |error: std::io::Error| StoreError::io("list", directory, error);
    let mut locks = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|extension| extension == LOCK) {
            locks.push(path);
        }
    }
    Ok(locks)
}

fn listed_cache(directory: &Path, identity: CacheIdentity) -> Result<ListedCache, StoreError> {
    let mut listed = ListedCache {
        identity,
        size_bytes: size_of(directory)?,
        last_used: None,
        is_used: false,
    };
    for lock in locks_in(directory)? {
        let failed = |error: std::io::Error| StoreError::io("look at", &lock, error);
        let file = File::open(&lock).map_err(failed)?;
        let used = file
            .metadata()
            .and_then(|metadata| metadata.modified())
            .map_err(failed)?;
        listed.last_used = listed.last_used.max(Some(used));
        listed.is_used |= !is_locked(&file, FlockOperation::NonBlockingLockExclusive);
    }
    Ok(listed)
}

/// What others change meanwhile is not counted.
fn size_of(directory: &Path) -> Result<u64, StoreError> {
    let mut size_bytes = 0;
    let is_own = |path: &Path| path.parent() == Some(directory);
    let mut pending = vec![directory.to_owned()];
    while let Some(here) = pending.pop() {
        let entries = match fs::read_dir(&here) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(StoreError::io("list", here, error)),
        };
        for entry in entries.flatten() {
            match entry.metadata() {
                Ok(metadata) if metadata.is_dir() => pending.push(entry.path()),
                // Beside the directories there are locks and a description.
                Ok(metadata) if !is_own(&entry.path()) => size_bytes += metadata.len(),
                Ok(_) | Err(_) => {}
            }
        }
    }
    Ok(size_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Access;

    fn identity() -> CacheIdentity {
        CacheIdentity {
            id: "/var/cache/apt".to_owned(),
            uid: 0,
            gid: 0,
        }
    }

    fn taken(store: &Store, sharing: CacheSharing, patience: bool) -> Option<CacheMount> {
        let fill = |path: &Path| {
            fs::write(path.join("seed"), "s").unwrap();
            Ok::<(), StoreError>(())
        };
        let running = || if patience { Ok(()) } else { Err(Interrupted) };
        store.cache_mount(&identity(), sharing, fill, running).unwrap()
    }

    #[test]
    fn the_three_ways_of_sharing() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path(), Access::ReadWrite).unwrap();
        assert_eq!(store.cache_mounts().unwrap(), []);
        let first = taken(&store, CacheSharing::Shared, true).unwrap();
        assert!(first.path().join("seed").exists());
        let second = taken(&store, CacheSharing::Shared, true).unwrap();
        assert_eq!(first.path(), second.path());
        assert!(taken(&store, CacheSharing::Locked, false).is_none());
        let own = taken(&store, CacheSharing::Private, true).unwrap();
        assert_ne!(own.path(), first.path());
        let listed = store.cache_mounts().unwrap();
        assert!(listed[0].is_used && listed[0].last_used.is_some());
        assert!(!store.remove_cache_mount(&identity()).unwrap());
        drop((first, second));
        let locked = taken(&store, CacheSharing::Locked, true).unwrap();
        assert!(taken(&store, CacheSharing::Shared, false).is_none());
        drop((locked, own));
        assert!(!store.cache_mounts().unwrap()[0].is_used);
        assert!(store.remove_cache_mount(&identity()).unwrap());
        assert_eq!(store.cache_mounts().unwrap(), []);
    }

    #[test]
    fn what_a_private_user_wrote_is_found_again() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path(), Access::ReadWrite).unwrap();
        let mount = taken(&store, CacheSharing::Private, true).unwrap();
        fs::write(mount.path().join("kept"), "k").unwrap();
        drop(mount);
        let again = taken(&store, CacheSharing::Private, true).unwrap();
        assert!(again.path().join("kept").exists());
    }
}
