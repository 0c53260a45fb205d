//! The supervisor of a container: it sets everything up, follows the command to its end, and cleans up.
//!
//! In the foreground it is the process of the user's command; in the background a process of its own, this program
//! started anew ([`detached`]). It holds the store's lock only until the container runs: what the container needs of the
//! store is kept by its hold.

mod background;
pub(crate) mod prepare;

use std::path::PathBuf;

use osmith_image::store::{Access, Store};
use osmith_sys::OsError;
use osmith_sys::sandbox::{Exit, Running, WindowSize};
use osmith_sys::signals::Signals;
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal};
use serde::{Deserialize, Serialize};

pub use background::{detached, run_if_supervisor};

use crate::cgroup::Cgroup;
use crate::life::{Container, LOG, LifeLock};
use crate::log::LogWriter;
use crate::network::Pasta;
use crate::root::SharedRoot;
use crate::streams::Conversation;
use crate::{Attachment, ContainerError};
use prepare::Prepared;

/// The size of a terminal that nobody sees.
const UNSEEN_WINDOW: WindowSize = WindowSize {
    rows: 24,
    columns: 80,
};

/// Asks to end at once, whatever the container does.
const KILL: i32 = 9;

/// Signals that are the container's.
const FORWARDED: [Signal; 8] = [
    Signal::HUP,
    Signal::INT,
    Signal::QUIT,
    Signal::TERM,
    Signal::USR1,
    Signal::USR2,
    Signal::CONT,
    Signal::WINCH,
];

/// What a container needs to know of this computer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Surroundings {
    /// `/etc/resolv.conf`.
    pub resolv_conf: Vec<u8>,
    /// The directory of a cgroup2 file system in which cgroups may be made.
    pub cgroups: Option<PathBuf>,
    /// The program that connects networks.
    pub pasta: String,
}

/// Runs a container to its end and returns its exit code. `store` is closed once it runs. `on_start` is called then. A
/// container whose command cannot be executed is removed.
///
/// Must come before any thread.
pub fn foreground(
    container: &Container,
    lock: LifeLock,
    store: Store,
    surroundings: &Surroundings,
    user: Attachment,
    on_start: impl FnOnce(),
) -> Result<u8, ContainerError> {
    let mut signals = Signals::take(&FORWARDED)?;
    let store_path = store.path().to_owned();
    let answer = live(container, store, surroundings, user, &mut signals, on_start);
    let code = match &answer {
        Ok(exit) => exit.shell_code(),
        Err(error) => error.exit_status().into(),
    };
    if container.record().specification.remove_when_ended || !container.has_begun()? {
        container.remove_ended(&Store::open(&store_path, Access::ReadWrite)?)?;
    } else {
        container.note_end(code)?;
    }
    drop(lock);
    answer.map(|_| u8::try_from(code).unwrap_or(u8::MAX))
}

/// What belongs to a container that runs, and ends with it: in this order.
struct Alive {
    running: Running,
    _network: Option<Pasta>,
    _cgroup: Option<Cgroup>,
    _root: SharedRoot,
}

fn live(
    container: &Container,
    store: Store,
    surroundings: &Surroundings,
    user: Attachment,
    signals: &mut Signals,
    on_start: impl FnOnce(),
) -> Result<Exit, ContainerError> {
    let mut log = LogWriter::create(&container.path().join(LOG))?;
    let window = user.window.as_ref().and_then(WindowSize::of);
    let prepared = Prepared::new(container, &store, surroundings, window.unwrap_or(UNSEEN_WINDOW))?;
    let (alive, started, ends) = prepared.start(surroundings)?;
    container.note_start(started.pid)?;
    drop(prepared);
    drop(store);
    on_start();
    let pid1 = open_process(started.pid)?;
    let mut asked_to_end = 0;
    let mut conversation = Conversation::new(ends, user, Some(&mut log))?;
    conversation.follow(&alive.running, signals, |signal| {
        let ends = signal == Signal::INT.as_raw() || signal == Signal::TERM.as_raw();
        asked_to_end += u32::from(ends);
        // A second time is meant, also where the command as pid 1 does not hear the first.
        let signal = if asked_to_end > 1 { KILL } else { signal };
        if let Some(pid1) = &pid1 {
            // It may have ended.
            let _ = osmith_sys::signals::send(pid1, signal);
        }
    })?;
    Ok(alive.running.exit()?)
}

/// `None` if it has ended already.
fn open_process(pid: u32) -> Result<Option<OwnedFd>, ContainerError> {
    let pid_of = i32::try_from(pid).ok().and_then(Pid::from_raw);
    match pid_of.map(|pid| rustix::process::pidfd_open(pid, PidfdFlags::empty())) {
        Some(Ok(process)) => Ok(Some(process)),
        Some(Err(Errno::SRCH)) | None => Ok(None),
        Some(Err(errno)) => Err(OsError::new("watch", format!("process {pid}"), errno).into()),
    }
}
