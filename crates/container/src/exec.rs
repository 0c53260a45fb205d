//! One more command in a container that runs.

use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};

use osmith_sys::OsError;
use osmith_sys::file::{open_directory, open_in_root};
use osmith_sys::sandbox::{Entry, Exit, Streams, WindowSize};
use osmith_sys::signals::Signals;
use rustix::fs::{Mode, OFlags};
use rustix::process::Signal;

use crate::life::Container;
use crate::specification::name_of;
use crate::streams::{Conversation, Ends, no_streams, pipes};
use crate::supervise::prepare::{environment, sandbox_user};
use crate::users::{Accounts, User};
use crate::{Attachment, ContainerError};

/// These files are small; more than this is not read.
const FILE_MAX_BYTES: u64 = 16 << 20;

/// The size of a terminal that nobody sees.
const UNSEEN_WINDOW: WindowSize = WindowSize {
    rows: 24,
    columns: 80,
};

/// What to run in a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// `NAME=VALUE`, in place of the container's of that name.
    pub env: Vec<String>,
    /// Where it starts; the container's working directory if not given.
    pub cwd: Option<String>,
    /// Who runs it; the container's user if not given.
    pub user: Option<String>,
    /// Whether it has a terminal.
    pub terminal: bool,
    /// Whether it reads what the user types.
    pub input: bool,
}

/// Runs a command in a container to its end. `cgroups` is the root of the cgroup2 file system, if there is one.
///
/// Must come before any thread, and before this process enters a user namespace.
pub fn run(
    container: &Container,
    command: &Command,
    cgroups: Option<&Path>,
    user: Attachment,
) -> Result<Exit, ContainerError> {
    let process = container.process()?;
    let entry = entry(container, process.pid, command, cgroups, &user)?;
    let mut signals = Signals::take(&[Signal::WINCH])?;
    let (streams, ends) = match command.terminal {
        true => (no_streams(), None),
        false => pipes(command.input).map(|(streams, ends)| (streams, Some(ends)))?,
    };
    let mut running = entry.start(streams)?;
    let started = running.started()?;
    let ends = match (ends, started.terminal) {
        (Some(ends), _) => ends,
        (None, Some(terminal)) => Ends::of_terminal(terminal)?,
        (None, None) => return Err(ContainerError::NotRunning(container.record().name.clone())),
    };
    Conversation::new(ends, user, None)?.follow(&running, &mut signals, |_| {})?;
    Ok(running.exit()?)
}

fn entry(
    container: &Container,
    pid: u32,
    command: &Command,
    cgroups: Option<&Path>,
    attachment: &Attachment,
) -> Result<Entry, ContainerError> {
    let specification = &container.record().specification;
    let user = user(pid, command.user.as_deref().unwrap_or(&specification.user))?;
    let hostname = match specification.hostname.as_str() {
        "" => container.short_id(),
        name => name.to_owned(),
    };
    let window = attachment.window.as_ref().and_then(WindowSize::of);
    Ok(Entry {
        pid,
        argv: command.argv.iter().map(OsString::from).collect(),
        env: environment(&env(&specification.env, command), &user, &hostname),
        cwd: command.cwd.as_ref().unwrap_or(&specification.cwd).into(),
        user: sandbox_user(&user),
        capabilities: specification.capabilities,
        streams: match (command.terminal, command.input) {
            (true, _) => Streams::Terminal(window.unwrap_or(UNSEEN_WINDOW)),
            (false, true) => Streams::All,
            (false, false) => Streams::Output,
        },
        cgroup: cgroups.and_then(|cgroups| cgroup_of(pid, cgroups)),
    })
}

/// The container's variables, with the command's in their place.
fn env(container: &[String], command: &Command) -> Vec<String> {
    let mut env = container.to_vec();
    let terminal = command.terminal.then(|| "TERM=xterm".to_owned());
    for variable in terminal.iter().chain(&command.env) {
        env.retain(|known| name_of(known) != name_of(variable));
        env.push(variable.clone());
    }
    env
}

/// A user by the files that the container has now.
fn user(pid: u32, text: &str) -> Result<User, ContainerError> {
    let root = open_directory(format!("/proc/{pid}/root"))?;
    let read = |path: &str| -> Result<String, OsError> {
        let file = match open_in_root(&root, path, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty()) {
            Err(error) if error.errno() == rustix::io::Errno::NOENT => return Ok(String::new()),
            file => std::fs::File::from(file?),
        };
        let mut bytes = Vec::new();
        file.take(FILE_MAX_BYTES)
            .read_to_end(&mut bytes)
            .map_err(|error| OsError::from_io("read", path, &error))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let accounts = Accounts::parse(&read("/etc/passwd")?, &read("/etc/group")?);
    Ok(accounts.user(text)?)
}

/// The cgroup2 directory of a process: the line `0::PATH` of proc_pid_cgroup(5).
fn cgroup_of(pid: u32, cgroups: &Path) -> Option<PathBuf> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let path = text.lines().find_map(|line| line.strip_prefix("0::"))?;
    Some(cgroups.join(path.trim_start_matches('/')))
}
