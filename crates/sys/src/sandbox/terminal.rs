//! The terminal of a command: a pair of pseudo-terminals in the sandbox's own devpts.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Gid, Mode, OFlags, Uid};
use rustix::pty::OpenptFlags;
use rustix::termios::Winsize;
use serde::{Deserialize, Serialize};

use super::User;
use crate::file::open_in_root;
use crate::mount::DetachedMount;
use crate::{OsError, Result};

/// The size of a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowSize {
    /// Lines.
    pub rows: u16,
    /// Characters a line.
    pub columns: u16,
}

impl WindowSize {
    /// That of an open terminal; `None` if it is none, or does not know.
    pub fn of(terminal: impl AsFd) -> Option<WindowSize> {
        let size = rustix::termios::tcgetwinsize(terminal).ok()?;
        let is_known = size.ws_row > 0 && size.ws_col > 0;
        is_known.then_some(WindowSize {
            rows: size.ws_row,
            columns: size.ws_col,
        })
    }

    /// Gives a terminal this size; whoever uses it is told.
    pub fn apply(self, terminal: impl AsFd) -> Result<()> {
        let size = Winsize {
            ws_row: self.rows,
            ws_col: self.columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        rustix::termios::tcsetwinsize(terminal, size)
            .map_err(|errno| OsError::new("set", "the size of a terminal", errno))
    }
}

/// Both sides of a new terminal.
pub(super) struct Terminal {
    /// What the user sees and types.
    pub(super) outer: OwnedFd,
    /// What the command has.
    pub(super) inner: OwnedFd,
}

impl Terminal {
    /// A new one of the devpts that is mounted at `dev/pts` in `root`. It belongs to `user`.
    pub(super) fn open(root: &OwnedFd, size: WindowSize, user: &User) -> Result<Self> {
        let failed = |errno| OsError::new("create", "a terminal", errno);
        let flags = OFlags::RDWR | OFlags::NOCTTY;
        let outer = open_in_root(root, "dev/pts/ptmx", flags, Mode::empty())?;
        rustix::pty::unlockpt(&outer).map_err(failed)?;
        let inner = inner_side(&outer)?;
        size.apply(&outer)?;
        rustix::fs::fchown(&inner, Some(Uid::from_raw(user.uid)), None::<Gid>).map_err(failed)?;
        Ok(Terminal { outer, inner })
    }

    /// Shows it as `dev/console` in `root`.
    pub(super) fn attach_console(&self, root: &OwnedFd) -> Result<()> {
        let path = rustix::pty::ptsname(&self.outer, Vec::new())
            .map_err(|errno| OsError::new("find", "the name of a terminal", errno))?;
        let path = String::from_utf8_lossy(path.to_bytes()).into_owned();
        let inner = open_in_root(root, &path, OFlags::PATH, Mode::empty())?;
        let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::NOCTTY;
        drop(open_in_root(
            root,
            "dev/console",
            flags,
            Mode::from_raw_mode(0o600),
        )?);
        let console = open_in_root(root, "dev/console", OFlags::PATH, Mode::empty())?;
        DetachedMount::clone_of(inner, "", false)?
            .attach(console, "")
            .map(drop)
    }
}

/// The inner side, by the outer one.
pub(super) fn inner_side(outer: &OwnedFd) -> Result<OwnedFd> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    rustix::pty::ioctl_tiocgptpeer(outer, flags)
        .map_err(|errno| OsError::new("open", "the inner side of a terminal", errno))
}

/// Makes a terminal the one of this process's session, and all three streams.
pub(super) fn take(inner: &OwnedFd) -> Result<()> {
    let failed = |errno| OsError::new("take", "the terminal", errno);
    rustix::process::ioctl_tiocsctty(inner).map_err(failed)?;
    rustix::stdio::dup2_stdin(inner).map_err(failed)?;
    rustix::stdio::dup2_stdout(inner).map_err(failed)?;
    rustix::stdio::dup2_stderr(inner).map_err(failed)
}
