//! QEMU as a child process, and the terminal it borrows.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use rustix::termios::{self, OptionalActions, Termios};

/// Has the kernel end the child when this program ends, however that happens.
pub(crate) fn end_with_us(command: &mut Command) {
    osmith_sys::child::end_with_parent(command, rustix::process::Signal::TERM);
}

/// Keeps the terminal's Ctrl-C from the child: this program shuts it down in its own way.
///
/// Only for a child that does not read from the terminal: the kernel would stop it.
pub(crate) fn shield_from_terminal(command: &mut Command) {
    command.process_group(0);
}

/// The settings of the terminal on standard input, put back when dropped: a QEMU that is killed leaves it raw.
pub(crate) struct TerminalSettings(Termios);

impl TerminalSettings {
    /// None if standard input is no terminal.
    pub(crate) fn keep() -> Option<Self> {
        termios::tcgetattr(io::stdin()).ok().map(TerminalSettings)
    }
}

impl Drop for TerminalSettings {
    fn drop(&mut self) {
        // A terminal that went away needs no settings.
        let _ = termios::tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
    }
}
