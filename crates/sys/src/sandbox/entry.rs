//! One more command in a sandbox that runs.

use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use rustix::process::{Pid, PidfdFlags};
use rustix::thread::ThreadNameSpaceType as Kind;
use serde::{Deserialize, Serialize};

use super::child::{StageError, at, follow};
use super::command::Payload;
use super::messages::{Report, report};
use super::{Stage, Streams, User, optional_path_bytes, path_bytes, terminal::Terminal};
use crate::file::open_directory;
use crate::{OsError, Result};

/// A command for a sandbox that runs. Who starts it is root there, or whose user namespace it is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Entry {
    /// A process of the sandbox.
    pub pid: u32,
    /// The program and its arguments. A program without `/` is looked up in the `PATH` of `env`.
    pub argv: Vec<OsString>,
    /// The whole environment.
    pub env: Vec<(OsString, OsString)>,
    /// Where the command starts, inside.
    #[serde(with = "path_bytes")]
    pub cwd: PathBuf,
    /// Who runs it.
    pub user: User,
    /// The capabilities it may have, as a bit mask; an ordinary user gets them only from set-uid programs.
    pub capabilities: u64,
    /// What it reads from and writes to.
    pub streams: Streams,
    /// The directory of the cgroup that it joins, if this process may move there.
    #[serde(with = "optional_path_bytes")]
    pub cgroup: Option<PathBuf>,
}

const KINDS: [(&str, Kind); 7] = [
    ("user", Kind::USER),
    ("mnt", Kind::MOUNT),
    ("pid", Kind::PROCESS_ID),
    ("ipc", Kind::INTER_PROCESS_COMMUNICATION),
    ("uts", Kind::HOST_NAME_AND_NIS_DOMAIN_NAME),
    ("net", Kind::NETWORK),
    ("cgroup", Kind::CONTROL_GROUP),
];

/// Does the work of the child.
pub(super) fn run(entry: &Entry, socket: &OwnedFd) -> Result<(), StageError> {
    if let Some(cgroup) = &entry.cgroup {
        // Processes may be moved only within what belongs to the user; outside of it the command runs as well.
        let _ = std::fs::write(cgroup.join("cgroup.procs"), "0");
    }
    enter_namespaces(entry.pid).or_else(at(Stage::Namespaces))?;
    let terminal = match entry.streams {
        Streams::Terminal(size) => {
            let root = open_directory("/").or_else(at(Stage::System))?;
            let terminal = Terminal::open(&root, size, &entry.user).or_else(at(Stage::System))?;
            report(socket, &Report::Terminal, Some(terminal.outer.as_fd()));
            Some(terminal.inner)
        }
        Streams::Output | Streams::All => None,
    };
    let payload = Payload {
        argv: &entry.argv,
        env: &entry.env,
        cwd: &entry.cwd,
        user: &entry.user,
        capabilities: entry.capabilities,
        streams: entry.streams,
        terminal,
    };
    follow(socket, || payload.execute(socket))
}

/// Only those that are others than this process's: entering its own again may be refused.
fn enter_namespaces(pid: u32) -> Result<()> {
    let process = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let failed = |errno| OsError::new("enter", format!("the namespaces of process {pid}"), errno);
    let process = process.ok_or_else(|| failed(rustix::io::Errno::SRCH))?;
    let pidfd = rustix::process::pidfd_open(process, PidfdFlags::empty()).map_err(failed)?;
    let mut others = Kind::empty();
    for (name, kind) in KINDS {
        let of = |process: &str| rustix::fs::stat(format!("/proc/{process}/ns/{name}"));
        let theirs = of(&pid.to_string()).map_err(failed)?;
        if of("self").map_err(failed)?.st_ino != theirs.st_ino {
            others |= kind;
        }
    }
    rustix::thread::move_into_thread_name_spaces(pidfd.as_fd(), others).map_err(failed)
}
