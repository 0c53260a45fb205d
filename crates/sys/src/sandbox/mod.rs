//! Running a command in a root file system of its own: the sandbox of RUN steps and of `osmith run`.
//!
//! ```text
//! caller ── re-executes its own program ──▶ outer: new mount, pid, ipc, uts (cgroup, net) namespaces
//!   ▲ lines of output, report                 └─▶ init: pid 1, mounts the root, /proc /sys /dev, files; reaps
//!   └───────────────────────────────────────────────└─▶ the command: user, capabilities, environment
//! ```
//!
//! The caller may have threads, so it may not fork; the program it starts anew has one thread, and may. It knows
//! itself by a hidden first argument: `main` has to call [`run_if_child`] before anything else. All mounts are made
//! in the new mount namespace and end with its last process; each process dies with the one above it.
//!
//! A RUN step runs to its end ([`Sandbox::run`]). A container is [started](Sandbox::start) and followed by its
//! supervisor; its command may be pid 1 itself, have a terminal, a cgroup, and a network namespace that the supervisor
//! connects. [`Entry`] is one more command in a container that runs.
//!
//! Left out on purpose: making or removing cgroups, seccomp filters, connecting a network.

#![allow(unsafe_code)]

mod child;
mod command;
mod devices;
mod entry;
mod messages;
mod mounts;
mod root;
mod running;
mod system;
mod terminal;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Stdio;

use rustix::io::Errno;
use serde::{Deserialize, Serialize};

pub use child::run_if_child;
pub use entry::Entry;
pub use mounts::{Mount, Source};
pub use running::{OuterTerminal, Running, StandardStreams, Started};
pub use terminal::WindowSize;

use crate::OsError;
use crate::mount::Attributes;
use crate::process::{self, ProcessError, Stream};
use messages::{Order, Report};

/// The capabilities a RUN step has (those of podman): CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL, SETGID, SETUID,
/// SETPCAP, NET_BIND_SERVICE, SYS_CHROOT, SETFCAP.
pub const DEFAULT_CAPABILITIES: u64 = 0x8004_05fb;
/// All there are: up to CHECKPOINT_RESTORE.
pub const ALL_CAPABILITIES: u64 = (1 << 41) - 1;

/// [`DEFAULT_CAPABILITIES`] with others added and some dropped. If all are dropped, those remain that are added.
pub fn capabilities(added: u64, dropped: u64) -> u64 {
    match dropped & ALL_CAPABILITIES == ALL_CAPABILITIES {
        true => added,
        false => (DEFAULT_CAPABILITIES | added) & !dropped,
    }
}

/// What to run, and in which surroundings. Paths of the machine are absolute.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Sandbox {
    /// What the command sees as `/`. It must have the directories `proc`, `sys` and `dev`.
    pub root: Root,
    /// An empty directory to mount things on; what is mounted there is not seen outside.
    #[serde(with = "path_bytes")]
    pub scratch: PathBuf,
    /// The program and its arguments. A program without `/` is looked up in the `PATH` of `env`.
    pub argv: Vec<OsString>,
    /// The whole environment.
    pub env: Vec<(OsString, OsString)>,
    /// Where the command starts, inside.
    #[serde(with = "path_bytes")]
    pub cwd: PathBuf,
    /// Who runs it.
    pub user: User,
    /// The host name inside.
    pub hostname: String,
    /// What it may reach.
    pub network: Network,
    /// The capabilities it may have, as a bit mask; an ordinary user gets them only from set-uid programs.
    pub capabilities: u64,
    /// What is shown beside the root file system, in the order in which it is mounted.
    pub mounts: Vec<Mount>,
    /// Who is pid 1.
    pub init: Init,
    /// What the command reads from and writes to.
    pub streams: Streams,
    /// A directory of a cgroup2 file system that the command starts in. It is all that is seen inside, writable, at
    /// `/sys/fs/cgroup`.
    #[serde(with = "optional_path_bytes")]
    pub cgroup: Option<PathBuf>,
}

/// Who is pid 1 of a sandbox. With it, everything inside ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Init {
    /// A process of ours that takes care of orphans, until the command ends.
    Reaper,
    /// The command.
    Command,
}

/// What a command reads from and writes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Streams {
    /// It reads nothing; its output goes where the caller wants it.
    Output,
    /// All three as the caller wants them.
    All,
    /// A new terminal of the sandbox, which is also `/dev/console`.
    Terminal(WindowSize),
}

/// The root file system of a sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Root {
    /// A directory as it is, writable.
    Directory(#[serde(with = "path_bytes")] PathBuf),
    /// Something read-only, as it is.
    ReadOnly {
        /// The tree.
        lower: Lower,
        /// Where overlayfs finds its notes in it.
        attributes: Attributes,
    },
    /// Something read-only, and a directory that takes the changes.
    Overlay {
        /// The read-only part.
        lower: Lower,
        /// Takes the changes, in the form of overlayfs.
        #[serde(with = "path_bytes")]
        upper: PathBuf,
        /// An empty directory beside `upper`.
        #[serde(with = "path_bytes")]
        work: PathBuf,
        /// Where overlayfs keeps its notes in `upper`.
        attributes: Attributes,
    },
}

/// The read-only part of a root file system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Lower {
    /// A directory.
    Directory(#[serde(with = "path_bytes")] PathBuf),
    /// A directory of files without contents, whose overlay attributes (of the kind the changes have) name objects.
    Stubs {
        /// The directory.
        #[serde(with = "path_bytes")]
        directory: PathBuf,
        /// The objects.
        #[serde(with = "path_bytes")]
        objects: PathBuf,
    },
    /// A composefs image and its objects.
    Composefs {
        /// The EROFS image.
        #[serde(with = "path_bytes")]
        image: PathBuf,
        /// The objects.
        #[serde(with = "path_bytes")]
        objects: PathBuf,
    },
}

/// Who runs a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
}

impl User {
    /// Root, in no further group.
    pub const ROOT: User = User {
        uid: 0,
        gid: 0,
        groups: Vec::new(),
    };
}

/// What a sandbox reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Network {
    /// The network of the machine.
    Host,
    /// Nothing but its own loopback device.
    None,
    /// A network namespace that is connected from outside, before anything runs in it.
    Private,
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Exit {
    /// By itself, with this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

impl Exit {
    /// The code a shell gives: 128 and the signal for a killed command.
    pub fn shell_code(self) -> i32 {
        match self {
            Exit::Code(code) => code,
            Exit::Signal(signal) => 128 + signal,
        }
    }
}

/// What was being done when setting up failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    /// Entering the namespaces.
    Namespaces,
    /// Mounting the root file system.
    Root,
    /// Mounting `/proc`, `/sys`, `/dev` and the mounts asked for.
    System,
    /// Entering the root file system.
    Enter,
    /// Becoming the user.
    User,
}

impl std::fmt::Display for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Stage::Namespaces => "entering the namespaces",
            Stage::Root => "mounting the root file system",
            Stage::System => "mounting the system's directories",
            Stage::Enter => "entering the root file system",
            Stage::User => "becoming the user",
        })
    }
}

/// Why a command in a sandbox has no exit code.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The sandbox could not be set up.
    #[error("{stage}: {error}")]
    SetUp {
        /// What was being done.
        stage: Stage,
        /// What failed.
        error: OsError,
    },
    /// The command could not be executed.
    #[error("cannot execute {program}: {}", crate::error::describe(*.errno))]
    Execute {
        /// The program.
        program: String,
        /// Why.
        errno: Errno,
    },
    /// The caller wanted it to stop; everything inside was killed.
    #[error("interrupted")]
    Interrupted,
    /// The sandbox ended without a word: it was killed from outside.
    #[error("the sandbox was killed ({0})")]
    Killed(std::process::ExitStatus),
    /// The sandbox could not be started.
    #[error(transparent)]
    Os(#[from] OsError),
}

impl Sandbox {
    /// Runs the command to its end. `on_line` gets each line of its output as it comes; when `interrupted` says yes,
    /// everything inside is killed.
    pub fn run(
        &self,
        on_line: impl FnMut(Stream, &[u8]),
        interrupted: impl Fn() -> bool,
    ) -> Result<Exit, SandboxError> {
        let (mut command, reports) = Order::Sandbox(self.clone()).command()?;
        command.stdin(Stdio::null());
        let status = process::run(&mut command, on_line, interrupted).map_err(|error| match error {
            ProcessError::Interrupted => SandboxError::Interrupted,
            ProcessError::Os(error) => SandboxError::Os(error),
        })?;
        // This side of the socket has to be closed to see its end.
        drop(command);
        while let Some((report, _)) = messages::receive(&reports)? {
            if let Some(end) = outcome(report) {
                return end;
            }
        }
        Err(SandboxError::Killed(status))
    }
}

/// The end that a report tells of, if it does.
fn outcome(report: Report) -> Option<Result<Exit, SandboxError>> {
    match report {
        Report::Ended(exit) => Some(Ok(exit)),
        Report::NotExecuted { program, errno } => Some(Err(SandboxError::Execute {
            program,
            errno: Errno::from_raw_os_error(errno),
        })),
        Report::Failed {
            stage,
            operation,
            object,
            errno,
            detail,
        } => Some(Err(SandboxError::SetUp {
            stage,
            error: OsError::new(operation, object, Errno::from_raw_os_error(errno)).with_detail(detail),
        })),
        Report::Separated | Report::Terminal | Report::Started { .. } => None,
    }
}

/// Paths as bytes: they need not be UTF-8.
mod path_bytes {
    use std::ffi::OsString;
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    use std::path::{Path, PathBuf};

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(path.as_os_str().as_bytes())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
        let bytes = Vec::<u8>::deserialize(deserializer)?;
        Ok(OsString::from_vec(bytes).into())
    }
}

/// The same for a path that need not be there.
mod optional_path_bytes {
    use std::ffi::OsString;
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    use std::path::PathBuf;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(path: &Option<PathBuf>, serializer: S) -> Result<S::Ok, S::Error> {
        path.as_ref()
            .map(|path| path.as_os_str().as_bytes())
            .serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<PathBuf>, D::Error> {
        let bytes = Option::<Vec<u8>>::deserialize(deserializer)?;
        Ok(bytes.map(|bytes| OsString::from_vec(bytes).into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_added_and_dropped() {
        assert_eq!(capabilities(0, 0), DEFAULT_CAPABILITIES);
        assert_eq!(capabilities(1 << 21, 1), (DEFAULT_CAPABILITIES | 1 << 21) & !1);
        assert_eq!(capabilities(ALL_CAPABILITIES, 2), ALL_CAPABILITIES & !2);
        assert_eq!(capabilities(1, ALL_CAPABILITIES), 1);
    }
}
