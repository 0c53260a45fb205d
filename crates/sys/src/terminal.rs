//! The user's terminal, as long as what is typed there is meant for another one.

use std::os::fd::OwnedFd;

use rustix::termios::{OptionalActions, Termios};

use crate::{OsError, Result};

/// A terminal that passes on every key as it is; dropped, it is as it was before.
pub struct RawTerminal {
    terminal: OwnedFd,
    before: Termios,
}

impl RawTerminal {
    /// Changes the terminal.
    pub fn enter(terminal: OwnedFd) -> Result<Self> {
        let failed = |errno| OsError::new("change", "the mode of the terminal", errno);
        let before = rustix::termios::tcgetattr(&terminal).map_err(failed)?;
        let mut raw = before.clone();
        raw.make_raw();
        rustix::termios::tcsetattr(&terminal, OptionalActions::Flush, &raw).map_err(failed)?;
        Ok(RawTerminal { terminal, before })
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        // The terminal may be gone.
        let _ = rustix::termios::tcsetattr(&self.terminal, OptionalActions::Flush, &self.before);
    }
}
