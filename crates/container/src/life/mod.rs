//! The containers of a store: each a directory, and as long as it lives a process that holds its lock.
//!
//! ```text
//! containers/lock                    taken while names are given away
//! containers/<64 hex>/container.json what the container is; with it the container exists
//!                     status.json    when it started, which process is its pid 1, how it ended
//!                     lock           held by the supervisor, from the beginning to the end
//!                     log            what it wrote
//!                     upper, work    what it changed in its root file system
//! ```
//!
//! Whether a container runs is asked of the lock alone: a killed supervisor, and a machine that lost its power, let go of
//! it. No process id is trusted without it.

mod record;
mod status;
mod stop;

use std::fs::{self, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use osmith_image::Sha256Digest;
use osmith_image::store::Store;
use osmith_sys::OsError;
use rustix::fs::FlockOperation;
use rustix::io::Errno;

pub use record::Record;
pub(crate) use record::{now_ns, require_name};
pub use status::{Ended, Lifetime, Process, State};

use crate::ContainerError;
use crate::log::LogReader;
use crate::specification::Specification;
use record::{read_json, write_json};
use status::Status;

const RECORD: &str = "container.json";
const STATUS: &str = "status.json";
const LOCK: &str = "lock";
pub(crate) const LOG: &str = "log";

/// How much of an ID lists show.
const SHORT_ID_DIGITS: usize = 12;

/// The containers of a store.
#[derive(Debug, Clone)]
pub struct Containers {
    path: PathBuf,
}

/// A container.
#[derive(Debug, Clone)]
pub struct Container {
    path: PathBuf,
    record: Record,
}

/// The right to be a container's supervisor. Lost with the last process that has it.
#[derive(Debug)]
pub struct LifeLock {
    file: File,
}

impl LifeLock {
    /// For a process that goes on with the container's life.
    pub fn into_file(self) -> File {
        self.file
    }

    /// What another process handed over.
    pub fn from_file(file: File) -> Self {
        LifeLock { file }
    }
}

impl Containers {
    /// Those in the directory `path`, which may be missing.
    pub fn new(path: PathBuf) -> Self {
        Containers { path }
    }

    /// All of them, the oldest first.
    pub fn list(&self) -> Result<Vec<Container>, ContainerError> {
        let mut containers = Vec::new();
        for path in self.directories()? {
            if let Some(container) = Container::open(path)? {
                containers.push(container);
            }
        }
        containers.sort_by_key(|container| container.record.created_ns);
        Ok(containers)
    }

    /// The one with that name, ID, or beginning of an ID.
    pub fn find(&self, text: &str) -> Result<Container, ContainerError> {
        let mut found = Vec::new();
        for container in self.list()? {
            if container.record.name == text || container.id() == text {
                return Ok(container);
            }
            if !text.is_empty() && container.id().starts_with(text) {
                found.push(container);
            }
        }
        match (found.pop(), found.is_empty()) {
            (Some(container), true) => Ok(container),
            (Some(_), false) => Err(ContainerError::Ambiguous(text.to_owned())),
            (None, _) => Err(ContainerError::Unknown(text.to_owned())),
        }
    }

    /// The one that was made last.
    pub fn latest(&self) -> Result<Container, ContainerError> {
        self.list()?.pop().ok_or(ContainerError::NoContainers)
    }

    /// Makes a container of an image of `store`, which stays as long as the container. The caller is its supervisor, or hands the lock to one.
    pub fn create(
        &self,
        store: &Store,
        name: Option<&str>,
        specification: Specification,
    ) -> Result<(Container, LifeLock), ContainerError> {
        let record = Record::new(name, specification)?;
        create_directory(&self.path)?;
        let _names = self.lock_names()?;
        self.require_free(&record.name)?;
        store.hold(&record.id, &record.specification.image.digest)?;
        let path = self.path.join(record.id.hex());
        create_directory(&path)?;
        let lock = LifeLock {
            file: new_lock(&path.join(LOCK))?,
        };
        write_json(&path, RECORD, &record)?;
        Ok((Container { path, record }, lock))
    }

    /// Removes containers that nobody will remove otherwise: those that were to be removed at their end, but whose
    /// supervisor was killed, and what is left of others whose making or removing was.
    pub fn sweep(&self, store: &Store) -> Result<(), ContainerError> {
        create_directory(&self.path)?;
        let _names = self.lock_names()?;
        for path in self.directories()? {
            if is_locked(&path)? {
                continue;
            }
            match Container::open(path.clone())? {
                Some(container) if container.record.specification.remove_when_ended => {
                    container.remove(store)?;
                }
                Some(_) => {}
                None => remove_directory(&path)?,
            }
        }
        let known: Vec<String> = self.names_of_directories()?;
        for (holder, _) in store.holds()? {
            if !known.contains(&holder.hex()) {
                store.release(&holder)?;
            }
        }
        Ok(())
    }

    fn directories(&self) -> Result<Vec<PathBuf>, ContainerError> {
        let names = self.names_of_directories()?.into_iter();
        Ok(names.map(|name| self.path.join(name)).collect())
    }

    fn names_of_directories(&self) -> Result<Vec<String>, ContainerError> {
        let failed = |error| OsError::from_io("list", self.path.display(), &error);
        let entries = match fs::read_dir(&self.path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(failed)?,
        };
        let mut names = Vec::new();
        for entry in entries {
            let name = entry
                .map_err(failed)?
                .file_name()
                .into_string()
                .unwrap_or_default();
            if Sha256Digest::from_hex(&name).is_ok() {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn require_free(&self, name: &str) -> Result<(), ContainerError> {
        let other = self.list()?.into_iter().find(|other| other.record.name == name);
        match other {
            None => Ok(()),
            Some(other) => Err(ContainerError::NameTaken {
                name: name.to_owned(),
                id: other.short_id(),
            }),
        }
    }

    fn lock_names(&self) -> Result<File, ContainerError> {
        let path = self.path.join(LOCK);
        let file = File::create(&path).map_err(|error| OsError::from_io("create", path.display(), &error))?;
        rustix::fs::flock(&file, FlockOperation::LockExclusive)
            .map_err(|errno| OsError::new("lock", path.display(), errno))?;
        Ok(file)
    }
}

impl Container {
    /// `None` if it does not exist yet, or no longer.
    fn open(path: PathBuf) -> Result<Option<Container>, ContainerError> {
        let record = read_json(&path.join(RECORD))?;
        Ok(record.map(|record| Container { path, record }))
    }

    /// What it is.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// Its ID: 64 hexadecimal digits.
    pub fn id(&self) -> String {
        self.record.id.hex()
    }

    /// The beginning of its ID, as lists show it.
    pub fn short_id(&self) -> String {
        self.id().chars().take(SHORT_ID_DIGITS).collect()
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it runs, or how it ended.
    pub fn state(&self) -> Result<State, ContainerError> {
        // In this order: what ends between the two is read as it ended.
        let is_alive = is_locked(&self.path)?;
        let status: Status = read_json(&self.path.join(STATUS))?.unwrap_or_default();
        Ok(status.state(is_alive))
    }

    /// What it wrote; `None` if it never began.
    pub fn log(&self) -> Result<Option<LogReader>, ContainerError> {
        LogReader::open(&self.path.join(LOG))
    }

    /// Its pid 1.
    pub fn process(&self) -> Result<Process, ContainerError> {
        match self.state()? {
            State::Running(lifetime) if lifetime.process.exists() => Ok(lifetime.process),
            _ => Err(ContainerError::NotRunning(self.record.name.clone())),
        }
    }

    /// Whether its command was ever executed.
    pub(crate) fn has_begun(&self) -> Result<bool, ContainerError> {
        let status: Option<Status> = read_json(&self.path.join(STATUS))?;
        Ok(status.is_some())
    }

    pub(crate) fn note_start(&self, pid: u32) -> Result<(), ContainerError> {
        write_json(&self.path, STATUS, &Status::started(pid)?)
    }

    pub(crate) fn note_end(&self, exit_code: i32) -> Result<(), ContainerError> {
        let status: Status = read_json(&self.path.join(STATUS))?.unwrap_or_default();
        write_json(&self.path, STATUS, &status.ended(exit_code))
    }

    /// Removes it, with all it changed. It must not run. Its volumes stay.
    pub fn remove(&self, store: &Store) -> Result<(), ContainerError> {
        if is_locked(&self.path)? {
            return Err(ContainerError::IsRunning(self.record.name.clone()));
        }
        self.remove_ended(store)
    }

    /// [`Container::remove`] by its supervisor, which still has the lock.
    pub(crate) fn remove_ended(&self, store: &Store) -> Result<(), ContainerError> {
        let record = self.path.join(RECORD);
        match fs::remove_file(&record) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(OsError::from_io("remove", record.display(), &error).into());
            }
            _ => {}
        }
        remove_directory(&self.path)?;
        Ok(store.release(&self.record.id)?)
    }
}

fn remove_directory(path: &Path) -> Result<(), ContainerError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(OsError::from_io("remove", path.display(), &error).into())
        }
        _ => Ok(()),
    }
}

/// For its owner alone, like the store.
fn create_directory(path: &Path) -> Result<(), ContainerError> {
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            Err(OsError::from_io("create", path.display(), &error).into())
        }
        _ => Ok(()),
    }
}

fn new_lock(path: &Path) -> Result<File, ContainerError> {
    let file = File::create(path).map_err(|error| OsError::from_io("create", path.display(), &error))?;
    rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)
        .map_err(|errno| OsError::new("lock", path.display(), errno))?;
    Ok(file)
}

/// Whether a supervisor lives.
fn is_locked(path: &Path) -> Result<bool, ContainerError> {
    let path = path.join(LOCK);
    let file = match File::open(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        file => file.map_err(|error| OsError::from_io("open", path.display(), &error))?,
    };
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => Ok(false),
        Err(Errno::WOULDBLOCK) => Ok(true),
        Err(errno) => Err(OsError::new("look at the lock", path.display(), errno).into()),
    }
}
