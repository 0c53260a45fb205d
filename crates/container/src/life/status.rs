//! Whether a container runs, and how it ended.

use osmith_sys::OsError;
use osmith_sys::signals::send;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags};
use serde::{Deserialize, Serialize};

use super::record::now_ns;
use crate::ContainerError;

/// What a killed supervisor could not write: its container was killed with it.
const KILLED: i32 = 137;

/// What the supervisor writes down.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Status {
    process: Option<Process>,
    started_ns: Option<u64>,
    ended_ns: Option<u64>,
    exit_code: Option<i32>,
}

/// A process that cannot be mistaken for a later one with its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// The process id.
    pub pid: u32,
    /// When it began, in ticks since the machine started.
    started_ticks: u64,
}

/// Whether a container runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Its supervisor is at work, its command does not run yet.
    Starting,
    /// Its command runs.
    Running(Lifetime),
    /// It ended, or never began.
    Ended(Ended),
}

/// A command that runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetime {
    /// Its pid 1.
    pub process: Process,
    /// Since when, in nanoseconds since 1970-01-01 UTC.
    pub started_ns: u64,
}

/// How a container ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// The exit code, 128 and the signal for a killed command; `None` if it never ran.
    pub exit_code: Option<i32>,
    /// When it began, in nanoseconds since 1970-01-01 UTC.
    pub started_ns: Option<u64>,
    /// When it ended, if its supervisor did not end with it.
    pub ended_ns: Option<u64>,
}

impl Status {
    pub(super) fn started(pid: u32) -> Result<Self, ContainerError> {
        let started_ticks = started_ticks(pid).unwrap_or_default();
        Ok(Status {
            process: Some(Process { pid, started_ticks }),
            started_ns: Some(now_ns()),
            ..Status::default()
        })
    }

    pub(super) fn ended(self, exit_code: i32) -> Self {
        Status {
            ended_ns: Some(now_ns()),
            exit_code: Some(exit_code),
            ..self
        }
    }

    pub(super) fn state(&self, is_alive: bool) -> State {
        match (is_alive, self.process, self.started_ns, self.ended_ns) {
            (true, Some(process), Some(started_ns), None) => State::Running(Lifetime { process, started_ns }),
            (true, None, _, None) => State::Starting,
            _ => State::Ended(Ended {
                exit_code: self.exit_code.or(self.process.map(|_| KILLED)),
                started_ns: self.started_ns,
                ended_ns: self.ended_ns,
            }),
        }
    }
}

impl Process {
    /// Whether it still exists.
    pub fn exists(&self) -> bool {
        started_ticks(self.pid) == Some(self.started_ticks)
    }

    /// Sends it a signal; nothing if it does not exist any more.
    pub fn signal(&self, signal: i32) -> Result<(), OsError> {
        let failed = |errno| OsError::new("send a signal to", format!("process {}", self.pid), errno);
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        let opened = pid
            .ok_or(Errno::SRCH)
            .and_then(|pid| rustix::process::pidfd_open(pid, PidfdFlags::empty()));
        let process = match opened {
            Err(Errno::SRCH) => return Ok(()),
            opened => opened.map_err(failed)?,
        };
        // What was opened may be a later process with its number.
        match self.exists() {
            true => send(&process, signal).map_err(failed),
            false => Ok(()),
        }
    }
}

/// When a process began: field 22 of proc_pid_stat(5). The second field, in parentheses, may have any characters.
fn started_ticks(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_the_locks_word_and_then_what_was_written() {
        let status = Status::started(std::process::id()).unwrap();
        assert!(matches!(status.state(true), State::Running(_)));
        let State::Ended(killed) = status.state(false) else {
            panic!("it ended");
        };
        assert_eq!((killed.exit_code, killed.ended_ns), (Some(137), None));
        let State::Ended(ended) = status.ended(3).state(true) else {
            panic!("it ended");
        };
        assert_eq!(ended.exit_code, Some(3));
        assert_eq!(Status::default().state(true), State::Starting);
        assert!(matches!(
            Status::default().state(false),
            State::Ended(Ended { exit_code: None, .. })
        ));
    }

    #[test]
    fn a_later_process_of_that_number_is_another_one() {
        let own = Status::started(std::process::id()).unwrap().process.unwrap();
        assert!(own.exists());
        let earlier = Process {
            started_ticks: own.started_ticks - 1,
            ..own
        };
        assert!(!earlier.exists());
        // It would end this program.
        earlier.signal(9).unwrap();
    }
}
