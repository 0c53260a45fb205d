//! Root file systems made of images, kept so that the next container of an image starts at once.
//!
//! ```text
//! roots/<boot>.<64 hex>/lock    locked while somebody uses it; its time says since when it was last used
//!                      /root/   what its maker put there
//! ```
//!
//! Making one costs more than anything else at the start of a container; making one last as well would cost more than
//! that. So nothing of it is synced, and it counts only until the computer starts anew, for which `<boot>` stands.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use osmith_sys::boot_id;
use rustix::fs::FlockOperation;

use super::mounts::is_locked;
use super::{Store, StoreError};
use crate::Sha256Digest;

const ROOTS: &str = "roots";
const ROOT: &str = "root";
const LOCK: &str = "lock";
/// How many that nobody uses are kept.
const UNUSED_MAX: usize = 8;
/// How often, and after which pauses, it is tried to take the place of one that is just being removed.
const TRIES: u32 = 100;
const PAUSE: Duration = Duration::from_millis(10);

/// A root file system in use: it is not removed before this is dropped.
#[derive(Debug)]
pub struct KeptRoot {
    path: PathBuf,
    _lock: File,
}

impl KeptRoot {
    /// The directory that its maker filled. Nobody may change what is in it.
    pub fn path(&self) -> PathBuf {
        self.path.join(ROOT)
    }

    /// Takes the lock; `None` if there is no such root, or no longer.
    fn open(path: PathBuf) -> Result<Option<KeptRoot>, StoreError> {
        let failed = |error| StoreError::io("look at", &path, error);
        let lock = match File::open(path.join(LOCK)) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            lock => lock.map_err(failed)?,
        };
        // Only who removes it has it for himself, and he moves it away before he lets go: then there is none in its place,
        // or another one by now.
        let is_in_place = |lock: &File| {
            let (found, own) = (path.join(LOCK).metadata(), lock.metadata());
            matches!((found, own), (Ok(found), Ok(own)) if (found.dev(), found.ino()) == (own.dev(), own.ino()))
        };
        if !is_locked(&lock, FlockOperation::NonBlockingLockShared) || !is_in_place(&lock) {
            return Ok(None);
        }
        let _ = lock.set_modified(SystemTime::now());
        Ok(Some(KeptRoot { path, _lock: lock }))
    }
}

impl Store {
    /// The root with that key, made if it is missing: `fill` gets an empty directory on the store's file system.
    pub fn kept_root<E: From<StoreError>>(
        &self,
        key: &Sha256Digest,
        fill: impl FnOnce(&Path) -> Result<(), E>,
    ) -> Result<KeptRoot, E> {
        self.require_writable()?;
        let boot = boot_id().map_err(|error| StoreError::io("read", "boot_id", error.errno()))?;
        let path = self.path.join(ROOTS).join(format!("{boot}.{}", key.hex()));
        if let Some(root) = KeptRoot::open(path.clone())? {
            return Ok(root);
        }
        let work = self.work_directory()?;
        let new = work.path().join("new");
        let failed = |error| StoreError::io("create", &path, error);
        fs::create_dir(&new).map_err(failed)?;
        fs::create_dir(new.join(ROOT)).map_err(failed)?;
        fill(&new.join(ROOT))?;
        let root = self.publish_root(&new, path)?;
        self.remove_unused_roots(&boot, UNUSED_MAX)?;
        Ok(root)
    }

    /// Gives a new root its name, or takes the one that somebody else made meanwhile: both are the same.
    fn publish_root(&self, new: &Path, path: PathBuf) -> Result<KeptRoot, StoreError> {
        let failed = |error| StoreError::io("create", &path, error);
        let lock = File::create(new.join(LOCK)).map_err(failed)?;
        rustix::fs::flock(&lock, FlockOperation::NonBlockingLockShared)
            .map_err(|errno| failed(errno.into()))?;
        fs::create_dir_all(self.path.join(ROOTS)).map_err(failed)?;
        for _ in 1..TRIES {
            match fs::rename(new, &path) {
                Ok(()) => return Ok(KeptRoot { path, _lock: lock }),
                Err(_) if path.exists() => {}
                Err(error) => return Err(failed(error)),
            }
            match KeptRoot::open(path.clone())? {
                Some(root) => return Ok(root),
                None => std::thread::sleep(PAUSE),
            }
        }
        Err(failed(std::io::ErrorKind::ResourceBusy.into()))
    }

    /// Removes roots that nobody uses: those of other starts of the computer than `boot`, and others but the `kept_max`
    /// that were last used. What cannot be removed is in nobody's way.
    pub(super) fn remove_unused_roots(&self, boot: &str, kept_max: usize) -> Result<(), StoreError> {
        let mut unused = Vec::new();
        for (name, path) in self.roots()? {
            let Ok(lock) = File::open(path.join(LOCK)) else {
                continue;
            };
            if !is_locked(&lock, FlockOperation::NonBlockingLockExclusive) {
                continue;
            }
            let is_of_now = name.split('.').next() == Some(boot);
            let used = lock.metadata().and_then(|metadata| metadata.modified()).ok();
            unused.push((used.filter(|_| is_of_now), path, lock));
        }
        unused.sort_by_key(|(used, ..)| std::cmp::Reverse(*used));
        let is_kept = |(number, (used, ..)): &(usize, (Option<SystemTime>, PathBuf, File))| {
            used.is_some() && *number < kept_max
        };
        let superfluous = unused.into_iter().enumerate().filter(|entry| !is_kept(entry));
        let work = self.work_directory()?;
        for (number, (_, path, _lock)) in superfluous {
            let _ = fs::rename(&path, work.path().join(number.to_string()));
        }
        let _ = work.close();
        Ok(())
    }

    /// Whether there is any.
    pub fn has_kept_roots(&self) -> Result<bool, StoreError> {
        Ok(!self.roots()?.is_empty())
    }

    fn roots(&self) -> Result<Vec<(String, PathBuf)>, StoreError> {
        let names = self.list(ROOTS)?.into_iter();
        let path = |name: &String| self.path.join(ROOTS).join(name);
        Ok(names.map(|(name, _)| (name.clone(), path(&name))).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Access;

    fn key(number: usize) -> Sha256Digest {
        Sha256Digest::of(number.to_string().as_bytes())
    }

    fn root(store: &Store, number: usize) -> KeptRoot {
        store
            .kept_root(&key(number), |path| {
                fs::write(path.join("made"), number.to_string()).unwrap();
                Ok::<(), StoreError>(())
            })
            .unwrap()
    }

    #[test]
    fn a_root_is_made_once_and_stays_while_it_is_used() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path(), Access::ReadWrite).unwrap();
        assert!(!store.has_kept_roots().unwrap());
        let first = root(&store, 1);
        let again = store.kept_root(&key(1), |_| panic!("it is there"));
        let again: KeptRoot = again.map_err(|error: StoreError| error).unwrap();
        assert_eq!(fs::read(again.path().join("made")).unwrap(), b"1");
        store.remove_unused_roots("", 0).unwrap();
        drop(first);
        store.remove_unused_roots("", 0).unwrap();
        assert!(again.path().exists());
        drop(again);
        store.remove_unused_roots("", 0).unwrap();
        assert!(!store.has_kept_roots().unwrap());
    }

    #[test]
    fn only_some_that_are_not_used_are_kept_and_none_of_another_boot() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path(), Access::ReadWrite).unwrap();
        let used = root(&store, 0);
        let other = directory.path().join(ROOTS).join("other.0");
        fs::create_dir_all(&other).unwrap();
        fs::write(other.join(LOCK), "").unwrap();
        for number in 1..=UNUSED_MAX + 3 {
            drop(root(&store, number));
        }
        assert!(used.path().exists() && !other.exists());
        assert!(store.roots().unwrap().len() <= UNUSED_MAX + 2);
    }

    #[test]
    fn nothing_is_left_of_a_root_that_could_not_be_made() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path(), Access::ReadWrite).unwrap();
        let failed = store.kept_root(&key(1), |_| Err(StoreError::ReadOnly(PathBuf::new())));
        assert!(failed.is_err() && !store.has_kept_roots().unwrap());
        assert_eq!(store.list("tmp").unwrap(), []);
    }
}
