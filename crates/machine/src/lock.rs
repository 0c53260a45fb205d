//! One operation at a time changes a machine.
//!
//! The lock is an advisory one on a file of the machine's, which holds who has it: it ends with its process, however
//! that ends.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use osmith_report::{Class, Event, Failure, Interrupted, Observer, Severity};
use rustix::fs::FlockOperation;
use rustix::io::Errno;

/// How often a lock that somebody has is tried again.
const PAUSE: Duration = Duration::from_millis(200);
/// What is read of who has the lock.
const HOLDER_MAX_BYTES: u64 = 512;

/// The right to change a machine, until it is dropped.
#[derive(Debug)]
pub struct MachineLock {
    _file: File,
}

/// Why the lock cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// The file cannot be used.
    #[error("cannot lock '{}'", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Waiting was interrupted.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

impl Failure for LockError {
    fn class(&self) -> Class {
        match self {
            LockError::File { .. } => Class::Environment,
            LockError::Interrupted(_) => Class::Interrupted,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            LockError::File { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                vec!["run the command as root".to_owned()]
            }
            _ => Vec::new(),
        }
    }
}

impl MachineLock {
    /// Takes the lock of the file `path`, which is made if it is missing. Waits while another process has it, and says
    /// so. `operation` is what others are told: `upgrade`.
    pub fn acquire(path: &Path, operation: &str, observer: &dyn Observer) -> Result<Self, LockError> {
        let failed = |source| LockError::File {
            path: path.to_owned(),
            source,
        };
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(failed)?;
        let mut is_told = false;
        loop {
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => break,
                Err(Errno::WOULDBLOCK) if !is_told => {
                    let text = format!("waiting for {} to end", holder(&mut file).map_err(failed)?);
                    observer.observe(Event::Message {
                        severity: Severity::Note,
                        text,
                    });
                    is_told = true;
                }
                Err(Errno::WOULDBLOCK) => {
                    observer.require_running()?;
                    std::thread::sleep(PAUSE);
                }
                Err(Errno::INTR) => {}
                Err(errno) => return Err(failed(errno.into())),
            }
        }
        sign(&mut file, operation).map_err(failed)?;
        Ok(MachineLock { _file: file })
    }
}

fn sign(file: &mut File, operation: &str) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "'{operation}' (process {})", std::process::id())
}

fn holder(file: &mut File) -> io::Result<String> {
    let mut text = String::new();
    file.rewind()?;
    file.take(HOLDER_MAX_BYTES).read_to_string(&mut text)?;
    Ok(match text.trim() {
        "" => "another operation".to_owned(),
        holder => holder.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use osmith_report::Silent;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicBool, Ordering};

    #[derive(Default)]
    struct Listener {
        messages: Mutex<Vec<String>>,
        stop: AtomicBool,
    }

    impl Observer for Listener {
        fn observe(&self, event: Event) {
            if let Event::Message { text, .. } = event {
                self.messages.lock().unwrap().push(text);
                self.stop.store(true, Ordering::SeqCst);
            }
        }

        fn interrupted(&self) -> bool {
            self.stop.load(Ordering::SeqCst)
        }
    }

    #[test]
    fn who_waits_is_told_for_whom_and_may_give_up() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        let lock = MachineLock::acquire(&path, "upgrade", &Silent).unwrap();
        let listener = Listener::default();
        let waiting = MachineLock::acquire(&path, "rollback", &listener);
        assert!(matches!(waiting, Err(LockError::Interrupted(_))));
        let expected = format!("waiting for 'upgrade' (process {}) to end", std::process::id());
        assert_eq!(*listener.messages.lock().unwrap(), [expected]);
        drop(lock);
        MachineLock::acquire(&path, "rollback", &Silent).unwrap();
    }

    #[test]
    fn a_lock_that_becomes_free_is_taken() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        let lock = MachineLock::acquire(&path, "upgrade", &Silent).unwrap();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| MachineLock::acquire(&path, "rollback", &Silent));
            std::thread::sleep(PAUSE);
            drop(lock);
            waiting.join().unwrap().unwrap();
        });
    }

    #[test]
    fn a_place_that_is_missing_is_named() {
        let error = MachineLock::acquire(Path::new("/no/such/lock"), "x", &Silent).unwrap_err();
        assert_eq!(error.to_string(), "cannot lock '/no/such/lock'");
    }
}
