//! A supervisor that is a process of its own, and outlives the command that started it.

//! It gets its order as standard input, the container's lock as standard error, and tells how it began on standard
//! output; then it has none of them any more.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

use osmith_image::store::{Access, Store};
use osmith_report::{Class, Failure};
use osmith_sys::OsError;
use rustix::fs::{MemfdFlags, Mode, OFlags};
use serde::{Deserialize, Serialize};

use super::{Surroundings, foreground};
use crate::life::{Container, Containers, LifeLock};
use crate::{Attachment, ContainerError};

/// The hidden first argument.
const ARGUMENT: &str = "--osmith-container-supervisor";

/// What the supervisor is told.
#[derive(Debug, Serialize, Deserialize)]
struct Order {
    store: PathBuf,
    container: String,
    surroundings: Surroundings,
}

/// How the container began.
#[derive(Debug, Serialize, Deserialize)]
enum Beginning {
    Running,
    Failed {
        class: Class,
        words: String,
        hints: Vec<String>,
        exit_status: u8,
    },
}

/// Starts a container whose supervisor goes on without this process, and waits until its command runs.
pub fn detached(
    container: &Container,
    lock: LifeLock,
    store: Store,
    surroundings: &Surroundings,
) -> Result<(), ContainerError> {
    let order = Order {
        store: store.path().to_owned(),
        container: container.id(),
        surroundings: surroundings.clone(),
    };
    drop(store);
    let failed = |error: &std::io::Error| OsError::from_io("start", "a supervisor", error);
    let mut supervisor = Command::new("/proc/self/exe")
        .arg(ARGUMENT)
        .stdin(order.to_file().map_err(|error| failed(&error))?)
        .stdout(Stdio::piped())
        .stderr(lock.into_file())
        .current_dir("/")
        .spawn()
        .map_err(|error| failed(&error))?;
    let mut bytes = Vec::new();
    if let Some(mut answer) = supervisor.stdout.take() {
        answer.read_to_end(&mut bytes).map_err(|error| failed(&error))?;
    }
    match serde_json::from_slice(&bytes) {
        Ok(Beginning::Running) => Ok(()),
        Ok(Beginning::Failed {
            class,
            words,
            hints,
            exit_status,
        }) => Err(ContainerError::Reported {
            class,
            words,
            hints,
            exit_status,
        }),
        Err(_) => Err(ContainerError::SupervisorKilled),
    }
}

/// Does the work of a supervisor if this process was started as one; `None` in any other process. Call it first in
/// `main`.
pub fn run_if_supervisor() -> Option<ExitCode> {
    if std::env::args_os().nth(1)? != ARGUMENT {
        return None;
    }
    Some(match supervise() {
        Some(()) => ExitCode::SUCCESS,
        None => ExitCode::FAILURE,
    })
}

/// `None` if what it was told makes no sense: then somebody else has started it.
fn supervise() -> Option<()> {
    let mut bytes = Vec::new();
    std::io::stdin().lock().read_to_end(&mut bytes).ok()?;
    let order: Order = serde_json::from_slice(&bytes).ok()?;
    let lock = std::io::stderr().as_fd().try_clone_to_owned().ok()?;
    let answer = File::from(std::io::stdout().as_fd().try_clone_to_owned().ok()?);
    close_streams().ok()?;
    // It may be one already.
    let _ = rustix::process::setsid();
    let mut answer = Some(answer);
    let on_start = || tell(answer.take(), &Beginning::Running);
    let ended = order.follow(lock, on_start);
    if let Err(error) = ended {
        tell(answer.take(), &Beginning::of(&error));
    }
    Some(())
}

impl Order {
    fn to_file(&self) -> std::io::Result<File> {
        let mut file = File::from(rustix::fs::memfd_create("supervisor", MemfdFlags::CLOEXEC)?);
        file.write_all(&serde_json::to_vec(self)?)?;
        file.rewind()?;
        Ok(file)
    }

    fn follow(&self, lock: OwnedFd, on_start: impl FnOnce()) -> Result<(), ContainerError> {
        let store = Store::open(&self.store, Access::ReadWrite)?;
        let container = Containers::new(store.containers_path()).find(&self.container)?;
        let lock = LifeLock::from_file(lock.into());
        foreground(
            &container,
            lock,
            store,
            &self.surroundings,
            Attachment::default(),
            on_start,
        )
        .map(drop)
    }
}

impl Beginning {
    fn of(error: &ContainerError) -> Self {
        let mut words = error.to_string();
        let mut cause = std::error::Error::source(error);
        while let Some(error) = cause {
            words = format!("{words}: {error}");
            cause = error.source();
        }
        Beginning::Failed {
            class: error.class(),
            words,
            hints: error.hints(),
            exit_status: error.exit_status(),
        }
    }
}

/// Whoever started this may be gone.
fn tell(place: Option<File>, beginning: &Beginning) {
    if let Some(mut place) = place
        && let Ok(bytes) = serde_json::to_vec(beginning)
    {
        let _ = place.write_all(&bytes);
    }
}

fn close_streams() -> rustix::io::Result<()> {
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)
}
