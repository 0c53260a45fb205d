//! The last steps of the process that becomes the command.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Gid, Uid};
use rustix::thread::{CapabilitySet, CapabilitySets};

use super::child::{StageError, at, die_with_parent};
use super::messages::{Report, report, report_failure};
use super::{Sandbox, Stage, Streams, User, terminal};
use crate::{OsError, Result};

/// What a shell returns when it cannot execute a command; nobody looks at it, the report says more.
const NOT_EXECUTED: i32 = 127;

/// A command, and who and where it is.
pub(super) struct Payload<'a> {
    pub(super) argv: &'a [OsString],
    pub(super) env: &'a [(OsString, OsString)],
    pub(super) cwd: &'a Path,
    pub(super) user: &'a User,
    pub(super) capabilities: u64,
    pub(super) streams: Streams,
    /// The inner side, for a command with a terminal.
    pub(super) terminal: Option<OwnedFd>,
}

impl<'a> Payload<'a> {
    pub(super) fn of(sandbox: &'a Sandbox, terminal: Option<OwnedFd>) -> Self {
        Payload {
            argv: &sandbox.argv,
            env: &sandbox.env,
            cwd: &sandbox.cwd,
            user: &sandbox.user,
            capabilities: sandbox.capabilities,
            streams: sandbox.streams,
            terminal,
        }
    }

    /// Becomes the command; returns only if that fails.
    pub(super) fn execute(&self, socket: &OwnedFd) -> i32 {
        match self.prepare() {
            Err((stage, error)) => report_failure(socket, stage, &error),
            Ok(mut command) => {
                let error = command.exec();
                let not_executed = Report::NotExecuted {
                    program: command.get_program().to_string_lossy().into_owned(),
                    errno: error.raw_os_error().unwrap_or(Errno::INVAL.raw_os_error()),
                };
                report(socket, &not_executed, None);
            }
        }
        NOT_EXECUTED
    }

    fn prepare(&self) -> Result<Command, StageError> {
        let (program, arguments) = self.argv.split_first().ok_or_else(|| {
            let error = OsError::new("execute", "a command without a program", Errno::INVAL);
            (Stage::User, error)
        })?;
        self.connect().or_else(at(Stage::User))?;
        rustix::process::chdir(self.cwd)
            .map_err(|errno| OsError::new("change to", self.cwd.display(), errno))
            .or_else(at(Stage::Enter))?;
        rustix::process::umask(Mode::from_raw_mode(0o022));
        become_user(self.user, self.capabilities).or_else(at(Stage::User))?;
        // Becoming another user undid it.
        die_with_parent().or_else(at(Stage::User))?;
        let mut command = Command::new(program);
        command.args(arguments).env_clear();
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        Ok(command)
    }

    /// Nothing of the caller's but the streams it gave reaches the command: no terminal, no open file.
    fn connect(&self) -> Result<()> {
        rustix::process::setsid().map_err(|errno| OsError::new("start", "a session", errno))?;
        if let Some(terminal) = &self.terminal {
            terminal::take(terminal)?;
        }
        if self.streams == Streams::Output {
            let null = rustix::fs::open("/dev/null", OFlags::RDONLY, Mode::empty())
                .map_err(|errno| OsError::new("open", "/dev/null", errno))?;
            rustix::stdio::dup2_stdin(&null)
                .map_err(|errno| OsError::new("replace", "standard input", errno))?;
        }
        close_inherited()
    }
}

fn close_inherited() -> Result<()> {
    // SAFETY: takes numbers only; descriptors stay open until the command is executed.
    let answer = unsafe { libc::close_range(3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC as libc::c_int) };
    match answer {
        0 => Ok(()),
        _ => {
            let error = std::io::Error::last_os_error();
            Err(OsError::from_io("close", "inherited files", &error))
        }
    }
}

fn become_user(user: &User, capabilities: u64) -> Result<()> {
    let allowed = CapabilitySet::from_bits_retain(capabilities);
    bound_capabilities(allowed)?;
    let groups: Vec<Gid> = user.groups.iter().copied().map(Gid::from_raw).collect();
    set_groups(&groups)?;
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    rustix::thread::set_thread_res_gid(gid, gid, gid)
        .map_err(|errno| OsError::new("become", format!("group {}", user.gid), errno))?;
    rustix::thread::set_thread_res_uid(uid, uid, uid)
        .map_err(|errno| OsError::new("become", format!("user {}", user.uid), errno))?;
    if user.uid == 0 {
        limit_capabilities(allowed)
    } else {
        Ok(())
    }
}

/// A user namespace with a single id may not set groups, and has none to drop.
fn set_groups(groups: &[Gid]) -> Result<()> {
    match rustix::thread::set_thread_groups(groups) {
        Err(Errno::PERM) if groups.is_empty() => Ok(()),
        answer => answer.map_err(|errno| OsError::new("set", "the supplementary groups", errno)),
    }
}

/// Takes all other capabilities away from this process's programs, for good. The kernel refuses numbers that it does
/// not know.
fn bound_capabilities(allowed: CapabilitySet) -> Result<()> {
    for number in 0..u64::BITS {
        let capability = CapabilitySet::from_bits_retain(1 << number);
        if allowed.contains(capability) {
            continue;
        }
        match rustix::thread::remove_capability_from_bounding_set(capability) {
            Ok(()) => {}
            Err(Errno::INVAL) => break,
            Err(errno) => return Err(OsError::new("drop", format!("capability {number}"), errno)),
        }
    }
    Ok(())
}

fn limit_capabilities(allowed: CapabilitySet) -> Result<()> {
    let failed = |errno| OsError::new("limit", "the capabilities", errno);
    let permitted = rustix::thread::capabilities(None).map_err(failed)?.permitted & allowed;
    let sets = CapabilitySets {
        effective: permitted,
        permitted,
        inheritable: CapabilitySet::empty(),
    };
    rustix::thread::set_capabilities(None, sets).map_err(failed)
}
