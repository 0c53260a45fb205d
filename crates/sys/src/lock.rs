//! Locks between processes (`flock`): held while the [`Lock`] lives, released by the kernel when the process dies.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::fs::FlockOperation;
use rustix::io::Errno;

use crate::OsError;

/// Who else may hold the lock at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// Other shared holders.
    Shared,
    /// Nobody.
    Exclusive,
}

/// A process that holds a lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its number, as this process sees it.
    pub pid: u32,
    /// Its command name; empty if it could not be read.
    pub command: String,
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.command.as_str() {
            "" => write!(f, "process {}", self.pid),
            command => write!(f, "process {} ({command})", self.pid),
        }
    }
}

/// Why a lock was not had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Somebody else holds it, and waiting was not wanted or was given up.
    #[error("{object} is in use{}", by(.holders))]
    Held {
        /// What was to be locked.
        object: String,
        /// By whom, as far as this process may see it.
        holders: Vec<Holder>,
    },
    /// The kernel refused.
    #[error(transparent)]
    Os(#[from] OsError),
}

fn by(holders: &[Holder]) -> String {
    let names: Vec<String> = holders.iter().map(Holder::to_string).collect();
    match names.as_slice() {
        [] => String::new(),
        names => format!(" by {}", names.join(", ")),
    }
}

/// A lock that is held.
#[derive(Debug)]
pub struct Lock {
    file: OwnedFd,
}

impl Lock {
    /// Locks an open file or directory without waiting; `object` is its name in errors.
    pub fn try_acquire(file: OwnedFd, sharing: Sharing, object: &str) -> Result<Lock, LockError> {
        Self::acquire(file, sharing, object, || false)
    }

    /// Locks an open file or directory, and while somebody else holds it, asks `keep_waiting` ten times a second.
    pub fn acquire(
        file: OwnedFd,
        sharing: Sharing,
        object: &str,
        mut keep_waiting: impl FnMut() -> bool,
    ) -> Result<Lock, LockError> {
        let operation = match sharing {
            Sharing::Shared => FlockOperation::NonBlockingLockShared,
            Sharing::Exclusive => FlockOperation::NonBlockingLockExclusive,
        };
        loop {
            match rustix::fs::flock(&file, operation) {
                Ok(()) => return Ok(Lock { file }),
                Err(Errno::INTR) => {}
                Err(Errno::WOULDBLOCK) if keep_waiting() => std::thread::sleep(Duration::from_millis(100)),
                Err(Errno::WOULDBLOCK) => {
                    return Err(LockError::Held {
                        object: object.to_owned(),
                        holders: holders(&file),
                    });
                }
                Err(errno) => return Err(OsError::new("lock", object, errno).into()),
            }
        }
    }

    /// The locked file.
    pub fn file(&self) -> &OwnedFd {
        &self.file
    }
}

/// The processes with a lock on `file`, from the kernel's table; none where the table cannot be read.
pub fn holders(file: impl AsFd) -> Vec<Holder> {
    let Ok(stat) = rustix::fs::fstat(file) else {
        return Vec::new();
    };
    let table = std::fs::read_to_string("/proc/locks").unwrap_or_default();
    let (major, minor) = (rustix::fs::major(stat.st_dev), rustix::fs::minor(stat.st_dev));
    let wanted = format!("{major:02x}:{minor:02x}:{}", stat.st_ino);
    holder_pids(&table, &wanted)
        .into_iter()
        .map(|pid| Holder {
            pid,
            command: std::fs::read_to_string(format!("/proc/{pid}/comm"))
                .unwrap_or_default()
                .trim_end()
                .to_owned(),
        })
        .collect()
}

/// Lines are `1: FLOCK  ADVISORY  WRITE 1234 fe:01:5678 0 EOF`, those who wait have `->` after the number.
fn holder_pids(table: &str, wanted: &str) -> Vec<u32> {
    let holder = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        match fields.as_slice() {
            [_, "FLOCK", _, _, pid, inode, ..] if *inode == wanted => pid.parse().ok(),
            _ => None,
        }
    };
    table.lines().filter_map(holder).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exclusive_keeps_others_out_and_names_the_holder() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let open = || OwnedFd::from(std::fs::File::open(file.path()).unwrap());
        let first = Lock::try_acquire(open(), Sharing::Exclusive, "the store").unwrap();
        let LockError::Held { holders, .. } =
            Lock::try_acquire(open(), Sharing::Shared, "the store").unwrap_err()
        else {
            panic!("not held")
        };
        assert_eq!(holders[0].pid, std::process::id());
        drop(first);
        let _one = Lock::try_acquire(open(), Sharing::Shared, "the store").unwrap();
        let _two = Lock::try_acquire(open(), Sharing::Shared, "the store").unwrap();
        let mut asked = 0;
        let waited = Lock::acquire(open(), Sharing::Exclusive, "the store", || {
            asked += 1;
            asked < 3
        });
        assert!(waited.is_err());
        assert_eq!(asked, 3);
    }

    #[test]
    fn reads_the_kernels_table() {
        let table = "1: FLOCK  ADVISORY  WRITE 12 fe:01:99 0 EOF\n1: -> FLOCK  ADVISORY  WRITE 13 fe:01:99 0 EOF\n\
                     2: POSIX  ADVISORY  WRITE 14 fe:01:99 0 EOF\n3: FLOCK  ADVISORY  READ 15 fe:01:98 0 EOF\n";
        assert_eq!(holder_pids(table, "fe:01:99"), [12]);
    }
}
