//! The last steps of the process that becomes the command.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Gid, Uid};
use rustix::thread::{CapabilitySet, CapabilitySets};

use super::child::{StageError, at, report, report_failure};
use super::{Report, Sandbox, Stage, User};
use crate::{OsError, Result};

/// What a shell returns when it cannot execute a command; nobody looks at it, the report says more.
const NOT_EXECUTED: i32 = 127;

/// Becomes the command; returns only if that fails.
pub(super) fn execute(sandbox: &Sandbox, reports: &File) -> i32 {
    match prepare(sandbox) {
        Err((stage, error)) => report_failure(reports, stage, &error),
        Ok(mut command) => {
            let error = command.exec();
            let not_executed = Report::NotExecuted {
                program: command.get_program().to_string_lossy().into_owned(),
                errno: error.raw_os_error().unwrap_or(Errno::INVAL.raw_os_error()),
            };
            report(reports, &not_executed);
        }
    }
    NOT_EXECUTED
}

fn prepare(sandbox: &Sandbox) -> Result<Command, StageError> {
    let (program, arguments) = sandbox.argv.split_first().ok_or_else(|| {
        let error = OsError::new("execute", "a command without a program", Errno::INVAL);
        (Stage::User, error)
    })?;
    close_inherited().or_else(at(Stage::User))?;
    rustix::process::chdir(&sandbox.cwd)
        .map_err(|errno| OsError::new("change to", sandbox.cwd.display(), errno))
        .or_else(at(Stage::Enter))?;
    rustix::process::umask(Mode::from_raw_mode(0o022));
    become_user(&sandbox.user, sandbox.capabilities).or_else(at(Stage::User))?;
    let mut command = Command::new(program);
    command.args(arguments).env_clear();
    command.envs(sandbox.env.iter().map(|(name, value)| (name, value)));
    Ok(command)
}

/// Nothing of the builder's but its output reaches the command: no terminal, no standard input, no open file.
fn close_inherited() -> Result<()> {
    rustix::process::setsid().map_err(|errno| OsError::new("start", "a session", errno))?;
    let null = rustix::fs::open("/dev/null", OFlags::RDONLY, Mode::empty())
        .map_err(|errno| OsError::new("open", "/dev/null", errno))?;
    rustix::stdio::dup2_stdin(&null).map_err(|errno| OsError::new("replace", "standard input", errno))?;
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
