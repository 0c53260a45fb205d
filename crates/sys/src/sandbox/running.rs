//! A sandbox that runs, as its supervisor sees it.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, ExitStatus, Stdio};

use rustix::process::Signal;

use super::messages::{self, Order, Report};
use super::{Entry, Exit, Sandbox, SandboxError, outcome, terminal};
use crate::child::end_with_parent;
use crate::{OsError, Result};

/// Where the command's streams lead, as far as [`super::Streams`] leaves it to the caller.
pub struct StandardStreams {
    /// What it reads.
    pub input: Stdio,
    /// Where its output goes.
    pub output: Stdio,
    /// Where its errors go.
    pub errors: Stdio,
}

/// A command in a sandbox. It is killed when the thread that started it ends, and when this is dropped.
pub struct Running {
    child: Child,
    reports: OwnedFd,
}

/// What is known of a command when it has been executed.
pub struct Started {
    /// Its process id, as the caller's processes know it.
    pub pid: u32,
    /// The other side of its terminal.
    pub terminal: Option<OuterTerminal>,
}

/// The side of a command's terminal that its user sees. It has no end while this exists, also if the command closes its
/// side and opens it again.
pub struct OuterTerminal {
    /// What is read is the command's output, what is written is typed.
    pub file: File,
    _inner: OwnedFd,
}

impl Sandbox {
    /// Starts the command.
    pub fn start(&self, streams: StandardStreams) -> Result<Running, SandboxError> {
        Running::start(&Order::Sandbox(self.clone()), streams)
    }
}

impl Entry {
    /// Starts the command.
    pub fn start(&self, streams: StandardStreams) -> Result<Running, SandboxError> {
        Running::start(&Order::Entry(self.clone()), streams)
    }
}

impl Running {
    fn start(order: &Order, streams: StandardStreams) -> Result<Running, SandboxError> {
        let (mut command, reports) = order.command()?;
        command
            .stdin(streams.input)
            .stdout(streams.output)
            .stderr(streams.errors);
        // Keys that the user's terminal makes signals of are for its own processes.
        command.process_group(0);
        end_with_parent(&mut command, Signal::KILL);
        let child = command
            .spawn()
            .map_err(|error| OsError::from_io("start", "a sandbox", &error))?;
        Ok(Running { child, reports })
    }

    /// Waits for the network namespace of a sandbox with [`super::Network::Private`], and returns it.
    /// [`Running::proceed`] must follow when it is connected.
    pub fn network_namespace(&mut self) -> Result<File, SandboxError> {
        match messages::receive(&self.reports)? {
            Some((Report::Separated, _)) => {}
            Some((report, _)) => return Err(self.unexpected(report)),
            None => return Err(self.killed()?),
        }
        let path = format!("/proc/{}/ns/net", self.child.id());
        let file = File::open(&path).map_err(|error| OsError::from_io("open", path, &error))?;
        Ok(file)
    }

    /// Lets a sandbox whose network is connected go on.
    pub fn proceed(&self) -> Result<(), SandboxError> {
        Ok(messages::proceed(&self.reports)?)
    }

    /// Waits until the command was executed.
    pub fn started(&mut self) -> Result<Started, SandboxError> {
        let mut terminal = None;
        loop {
            match messages::receive(&self.reports)? {
                Some((Report::Terminal, file)) => terminal = file.map(outer_terminal).transpose()?,
                Some((Report::Started { pid }, _)) => {
                    let pid = u32::try_from(pid).unwrap_or_default();
                    return Ok(Started { pid, terminal });
                }
                Some((report, _)) => return Err(self.unexpected(report)),
                None => return Err(self.killed()?),
            }
        }
    }

    /// Becomes readable when the command ends.
    pub fn end(&self) -> BorrowedFd<'_> {
        self.reports.as_fd()
    }

    /// Waits for the end of the command.
    pub fn exit(mut self) -> Result<Exit, SandboxError> {
        while let Some((report, _)) = messages::receive(&self.reports)? {
            if let Some(end) = outcome(report) {
                // All that is inside has ended, and with it what is mounted there.
                self.wait()?;
                return end;
            }
        }
        Err(self.killed()?)
    }

    fn unexpected(&self, report: Report) -> SandboxError {
        match outcome(report) {
            Some(Err(error)) => error,
            Some(Ok(_)) | None => SandboxError::Os(OsError::new(
                "understand",
                "the sandbox's report",
                rustix::io::Errno::PROTO,
            )),
        }
    }

    fn killed(&mut self) -> Result<SandboxError> {
        Ok(SandboxError::Killed(self.wait()?))
    }

    fn wait(&mut self) -> Result<ExitStatus> {
        self.child
            .wait()
            .map_err(|error| OsError::from_io("wait for", "a sandbox", &error))
    }
}

fn outer_terminal(outer: OwnedFd) -> Result<OuterTerminal> {
    let inner = terminal::inner_side(&outer)?;
    Ok(OuterTerminal {
        file: outer.into(),
        _inner: inner,
    })
}

impl Drop for Running {
    fn drop(&mut self) {
        // Nothing to kill and to wait for if it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
