//! What the caller and the child of a sandbox tell each other: the order in a file in memory, then packets on a socket.

use std::fs::File;
use std::io::{IoSlice, IoSliceMut, Read, Seek, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::io::{Errno, FdFlags};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};
use serde::{Deserialize, Serialize};

use super::{Entry, Exit, Sandbox, Stage};
use crate::{OsError, Result};

/// The hidden first argument. The numbers of two open files follow: the order, and the socket.
pub(super) const CHILD_ARGUMENT: &str = "--osmith-sandbox-child";

/// The longest report: those of failures have paths and words of the kernel.
const REPORT_MAX_BYTES: usize = 64 << 10;

/// What the child is to do.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Order {
    Sandbox(Sandbox),
    Entry(Entry),
}

/// What the child tells.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Report {
    /// It is in its namespaces, and waits for the network to be connected.
    Separated,
    /// The other side of the command's terminal comes with it.
    Terminal,
    /// The command was executed.
    Started {
        pid: i32,
    },
    Ended(Exit),
    NotExecuted {
        program: String,
        errno: i32,
    },
    Failed {
        stage: Stage,
        operation: String,
        object: String,
        errno: i32,
        detail: String,
    },
}

impl Order {
    /// This program once more, as the child that gets the order, and our side of its socket.
    pub(super) fn command(&self) -> Result<(Command, OwnedFd)> {
        let flags = SocketFlags::CLOEXEC;
        let (ours, theirs) = rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)
            .map_err(|errno| OsError::new("create", "a socket", errno))?;
        let order = self.to_file()?;
        let mut command = Command::new("/proc/self/exe");
        command
            .arg(CHILD_ARGUMENT)
            .args([order.as_raw_fd(), theirs.as_raw_fd()].map(|number| number.to_string()))
            .env_clear();
        let keep_open = move || {
            rustix::io::fcntl_setfd(&order, FdFlags::empty())?;
            rustix::io::fcntl_setfd(&theirs, FdFlags::empty())?;
            Ok(())
        };
        // SAFETY: between fork and exec two system calls are made; nothing is allocated, no lock is taken.
        unsafe { command.pre_exec(keep_open) };
        Ok((command, ours))
    }

    fn to_file(&self) -> Result<File> {
        let bytes = postcard::to_stdvec(self).map_err(|error| {
            OsError::new("encode", "the sandbox", Errno::INVAL).with_detail(error.to_string())
        })?;
        let mut file: File = rustix::fs::memfd_create("sandbox", rustix::fs::MemfdFlags::CLOEXEC)
            .map_err(|errno| OsError::new("create", "a file in memory", errno))?
            .into();
        file.write_all(&bytes)
            .and_then(|()| file.rewind())
            .map_err(|error| OsError::from_io("write", "a file in memory", &error))?;
        Ok(file)
    }

    /// The order of this process, and its side of the socket; `None` if that is not what its arguments name.
    pub(super) fn of_this_process() -> Option<(Order, OwnedFd)> {
        let mut numbers = std::env::args().skip(2);
        let mut file = File::from(inherited(&numbers.next()?)?);
        let socket = inherited(&numbers.next()?)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).ok()?;
        Some((postcard::from_bytes(&bytes).ok()?, socket))
    }
}

fn inherited(number: &str) -> Option<OwnedFd> {
    let number: RawFd = number.parse().ok().filter(|number| *number > 2)?;
    // SAFETY: the caller left this descriptor open for this process alone, and nothing else here knows its number.
    let file = unsafe { OwnedFd::from_raw_fd(number) };
    rustix::io::fcntl_setfd(&file, FdFlags::CLOEXEC).ok()?;
    Some(file)
}

/// Tells the caller. If it is gone there is nobody to tell.
pub(super) fn report(socket: &OwnedFd, report: &Report, file: Option<BorrowedFd<'_>>) {
    let Ok(bytes) = postcard::to_stdvec(report) else {
        return;
    };
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let files: Vec<BorrowedFd<'_>> = file.into_iter().collect();
    if !files.is_empty() {
        ancillary.push(SendAncillaryMessage::ScmRights(&files));
    }
    let _ = rustix::net::sendmsg(
        socket,
        &[IoSlice::new(&bytes)],
        &mut ancillary,
        SendFlags::NOSIGNAL,
    );
}

pub(super) fn report_failure(socket: &OwnedFd, stage: Stage, error: &OsError) {
    let failed = Report::Failed {
        stage,
        operation: error.operation().to_owned(),
        object: error.object().to_owned(),
        errno: error.errno().raw_os_error(),
        detail: error.detail().unwrap_or_default().to_owned(),
    };
    report(socket, &failed, None);
}

/// The next report, with the file that comes with it; `None` after the last one.
pub(super) fn receive(socket: &OwnedFd) -> Result<Option<(Report, Option<OwnedFd>)>> {
    let failed = |errno| OsError::new("read", "the sandbox's report", errno);
    let mut bytes = vec![0; REPORT_MAX_BYTES];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let message = loop {
        let mut buffers = [IoSliceMut::new(&mut bytes)];
        match rustix::net::recvmsg(socket, &mut buffers, &mut ancillary, RecvFlags::CMSG_CLOEXEC) {
            Err(Errno::INTR) => {}
            // A child that was killed before it read what it was told.
            Err(Errno::CONNRESET) => return Ok(None),
            answer => break answer.map_err(failed)?,
        }
    };
    let file = ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut files) => files.next(),
        _ => None,
    });
    let bytes = bytes.get(..message.bytes).unwrap_or_default();
    if bytes.is_empty() {
        return Ok(None);
    }
    let report = postcard::from_bytes(bytes).map_err(|_| failed(Errno::BADMSG))?;
    Ok(Some((report, file)))
}

/// Tells the child to go on.
pub(super) fn proceed(socket: &OwnedFd) -> Result<()> {
    rustix::net::send(socket, b"x", SendFlags::NOSIGNAL)
        .map(drop)
        .map_err(|errno| OsError::new("write to", "the sandbox", errno))
}

/// Waits until the caller says so; whether it did.
pub(super) fn may_proceed(socket: impl AsFd) -> bool {
    let mut byte = [0];
    loop {
        match rustix::net::recv(&socket, &mut byte, RecvFlags::empty()) {
            Err(Errno::INTR) => {}
            answer => return answer.is_ok_and(|(_, read_bytes)| read_bytes == 1),
        }
    }
}
