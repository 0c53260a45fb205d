//! An ordinary user as root of a user namespace, with the subordinate ids of `/etc/subuid` and `/etc/subgid`.
//!
//! The user's own id becomes 0; the subordinate ids become 1 and up. Files made inside by id 0 belong to the user
//! outside. The set-uid programs `newuidmap` and `newgidmap` write the maps of more than one id.

#![allow(unsafe_code)]

use std::io::{Read, Write};
use std::ops::Range;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};

use rustix::io::Errno;
use rustix::process::{Pid, getgid, getuid};
use rustix::thread::UnshareFlags;

use crate::{OsError, Result, mount};

/// As many ids as distributions need: those of packages and `nobody` (65534).
pub const WANTED_IDS: u32 = 65536;

const CANNOT_RUN: &str = "it cannot be run";

/// Why there is no user namespace.
#[derive(Debug, thiserror::Error)]
pub enum UserNamespaceError {
    /// The kernel, its settings or a security module refuse.
    #[error("this machine lets ordinary users have no user namespace: {0}")]
    Refused(OsError),
    /// A map could not be written.
    #[error("{program} cannot map the ids {ids:?}: {reason}")]
    Map {
        /// `newuidmap` or `newgidmap`.
        program: &'static str,
        /// Which subordinate ids.
        ids: Range<u32>,
        /// What the program said.
        reason: String,
    },
    /// Threads run already; only a process with one thread may enter a user namespace.
    #[error("cannot enter a user namespace: the process has {0} threads already")]
    Threads(usize),
    /// Something else went wrong.
    #[error(transparent)]
    Os(#[from] OsError),
}

impl UserNamespaceError {
    /// What to do about it.
    pub fn hints(&self) -> Vec<String> {
        match self {
            UserNamespaceError::Refused(_) => vec![
                "as root: sysctl user.max_user_namespaces=15000 kernel.unprivileged_userns_clone=1".into(),
                "on Ubuntu, as root: sysctl kernel.apparmor_restrict_unprivileged_userns=0".into(),
                "or run the command as root".into(),
            ],
            UserNamespaceError::Map { reason, .. } if reason.starts_with(CANNOT_RUN) => vec![
                "newuidmap and newgidmap must be installed: apt install uidmap, or dnf install shadow-utils"
                    .into(),
            ],
            UserNamespaceError::Map { .. } => vec![
                "check that newuidmap and newgidmap are set-uid (package uidmap, or shadow-utils), and that \
                 /etc/subuid and /etc/subgid give these ids to the user"
                    .into(),
            ],
            UserNamespaceError::Threads(_) | UserNamespaceError::Os(_) => Vec::new(),
        }
    }
}

/// The subordinate ids of a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubordinateIds {
    /// User ids.
    pub uids: Range<u32>,
    /// Group ids.
    pub gids: Range<u32>,
}

impl SubordinateIds {
    /// Looks them up in the contents of `/etc/subuid` and `/etc/subgid`; of several ranges the largest counts. `None`
    /// unless there are both. Lines are `name-or-uid:first:count`.
    pub fn find(subuid: &[u8], subgid: &[u8], user_name: &str, uid: u32) -> Option<Self> {
        let uid = uid.to_string();
        Some(SubordinateIds {
            uids: largest_range(subuid, user_name, &uid)?,
            gids: largest_range(subgid, user_name, &uid)?,
        })
    }
}

fn largest_range(file: &[u8], user_name: &str, uid: &str) -> Option<Range<u32>> {
    let range = |line: &str| {
        let mut fields = line.trim().split(':');
        fields.next().filter(|name| *name == user_name || *name == uid)?;
        let first: u32 = fields.next()?.parse().ok()?;
        let count: u32 = fields.next()?.parse().ok()?;
        let end = first.checked_add(count)?;
        (count > 0).then_some(first..end)
    };
    String::from_utf8_lossy(file)
        .lines()
        .filter_map(range)
        .max_by_key(|range| range.len())
}

/// What is mapped in the user namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IdMap {
    /// The user is 0, this many subordinate ids follow.
    Subordinate(SubordinateIds),
    /// The user is 0, and there is no other id: files cannot be given to anybody else.
    Single,
}

impl IdMap {
    /// How many user ids there are.
    pub fn uid_count(&self) -> u32 {
        match self {
            IdMap::Subordinate(ids) => 1 + count(&ids.uids),
            IdMap::Single => 1,
        }
    }
}

fn count(range: &Range<u32>) -> u32 {
    range.end.saturating_sub(range.start).min(WANTED_IDS - 1)
}

/// Puts this process into a new user namespace, as its root, and into a new mount namespace of its own.
///
/// Call this first in `main`: only a process with one thread can do it. Everything it starts is in there as well.
pub fn enter(map: &IdMap) -> Result<(), UserNamespaceError> {
    require_single_thread()?;
    match map {
        IdMap::Single => {
            let (uid, gid) = (getuid().as_raw(), getgid().as_raw());
            unshare()?;
            write_proc("setgroups", "deny")?;
            write_proc("uid_map", &format!("0 {uid} 1"))?;
            write_proc("gid_map", &format!("0 {gid} 1"))?;
        }
        IdMap::Subordinate(ids) => {
            let mapper = Mapper::start(ids)?;
            unshare()?;
            mapper.finish(ids)?;
        }
    }
    mount::make_private()?;
    Ok(())
}

/// Whether this process is in a user namespace whose ids are not those of the machine.
pub fn is_inside() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let fields: Vec<&str> = map.split_whitespace().collect();
    fields != ["0", "0", "4294967295"] && !fields.is_empty()
}

fn require_single_thread() -> Result<(), UserNamespaceError> {
    let threads = std::fs::read_dir("/proc/self/task")
        .map_err(|error| OsError::from_io("count", "the threads of this process", &error))?
        .count();
    match threads {
        1 => Ok(()),
        threads => Err(UserNamespaceError::Threads(threads)),
    }
}

fn unshare() -> Result<(), UserNamespaceError> {
    let flags = UnshareFlags::NEWUSER | UnshareFlags::NEWNS;
    // SAFETY: neither flag affects the file descriptors, the memory or other threads: there are none.
    unsafe { rustix::thread::unshare_unsafe(flags) }
        .map_err(|errno| UserNamespaceError::Refused(OsError::new("enter", "a user namespace", errno)))
}

fn write_proc(name: &str, text: &str) -> Result<(), UserNamespaceError> {
    let path = format!("/proc/self/{name}");
    std::fs::write(&path, text)
        .map_err(|error| UserNamespaceError::Refused(OsError::from_io("write", path, &error)))
}

/// A child that stays outside, since only from there the maps may be written, and waits for the namespace.
struct Mapper {
    child: Pid,
    start: std::io::PipeWriter,
    messages: std::io::PipeReader,
}

impl Mapper {
    fn start(ids: &SubordinateIds) -> Result<Self> {
        let pipe = || std::io::pipe().map_err(|error| OsError::from_io("create", "a pipe", &error));
        let (start_reader, start) = pipe()?;
        let (messages, messages_writer) = pipe()?;
        let target = std::process::id();
        // SAFETY: the process has a single thread (checked by the caller), so the child may run any code.
        match unsafe { libc::fork() } {
            -1 => {
                let error = std::io::Error::last_os_error();
                Err(OsError::from_io("start", "a process", &error))
            }
            0 => {
                drop((start, messages));
                let code = write_maps(target, ids, start_reader, messages_writer);
                // SAFETY: ends the child without running what the parent registered for its own end.
                unsafe { libc::_exit(code) }
            }
            child => Pid::from_raw(child)
                .map(|child| Mapper {
                    child,
                    start,
                    messages,
                })
                .ok_or_else(|| OsError::new("start", "a process", Errno::INVAL)),
        }
    }

    fn finish(self, ids: &SubordinateIds) -> Result<(), UserNamespaceError> {
        let Mapper {
            child,
            mut start,
            mut messages,
        } = self;
        let io =
            |operation, error: &std::io::Error| OsError::from_io(operation, "the mapping process", error);
        start.write_all(b"x").map_err(|error| io("start", &error))?;
        drop(start);
        let mut reason = String::new();
        messages
            .read_to_string(&mut reason)
            .map_err(|error| io("read from", &error))?;
        let status = rustix::process::waitpid(Some(child), rustix::process::WaitOptions::empty())
            .map_err(|errno| OsError::new("wait for", "the mapping process", errno))?;
        let status = status.map(|(_, status)| ExitStatus::from_raw(status.as_raw()));
        match status.and_then(|status| status.code()) {
            Some(0) => Ok(()),
            Some(2) => Err(map_error("newgidmap", &ids.gids, &reason)),
            _ => Err(map_error("newuidmap", &ids.uids, &reason)),
        }
    }
}

fn map_error(program: &'static str, ids: &Range<u32>, reason: &str) -> UserNamespaceError {
    UserNamespaceError::Map {
        program,
        ids: ids.clone(),
        reason: reason.trim().to_owned(),
    }
}

/// The work of the child: 0, or 1 or 2 for the program that failed.
fn write_maps(
    target: u32,
    ids: &SubordinateIds,
    mut start: std::io::PipeReader,
    messages: std::io::PipeWriter,
) -> i32 {
    // Without its byte the parent is gone or has no namespace.
    if start.read_exact(&mut [0]).is_err() {
        return 0;
    }
    let own_ids = (getuid().as_raw(), getgid().as_raw());
    if !write_map("newuidmap", target, own_ids.0, &ids.uids, &messages) {
        return 1;
    }
    if !write_map("newgidmap", target, own_ids.1, &ids.gids, &messages) {
        return 2;
    }
    0
}

fn write_map(
    program: &str,
    target: u32,
    own_id: u32,
    ids: &Range<u32>,
    mut messages: &std::io::PipeWriter,
) -> bool {
    let numbers = [target, 0, own_id, 1, 1, ids.start, count(ids)];
    let output = messages.try_clone().map(Stdio::from);
    let status = Command::new(program)
        .args(numbers.map(|number| number.to_string()))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(output.unwrap_or_else(|_| Stdio::null()))
        .status();
    match status {
        Ok(status) => status.success(),
        Err(error) => {
            // If even this cannot be said, the failure itself still is.
            let _ = write!(messages, "{CANNOT_RUN}: {error}");
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_largest_range_of_the_name_or_number() {
        let subuid = b"other:1:9\nme:100000:10\n# comment\n1000:200000:65536\nme:x:y\nme:4294967295:5\n";
        let ids = SubordinateIds::find(subuid, b"me:300000:65536\n", "me", 1000).unwrap();
        assert_eq!(ids.uids, 200_000..265_536);
        assert_eq!(ids.gids, 300_000..365_536);
        assert_eq!(IdMap::Subordinate(ids).uid_count(), 65536);
        assert_eq!(SubordinateIds::find(subuid, b"", "me", 1000), None);
    }

    #[test]
    fn a_process_with_threads_is_refused() {
        // The test harness itself runs this in a second thread.
        let error = enter(&IdMap::Single).unwrap_err();
        assert!(matches!(error, UserNamespaceError::Threads(2..)), "{error}");
    }
}
