//! Asking for a name and a password on the terminal.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::sync::atomic::Ordering;

use osmith_report::{Class, Interrupted};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use crate::failure::CommandFailure;
use crate::interrupt;

/// Asks for a password, which is not shown.
pub(crate) fn ask(question: &str) -> Result<String, CommandFailure> {
    let terminal = terminal()?;
    let silent = Silent::new(&terminal).map_err(unreadable)?;
    let answer = line(&terminal, question);
    drop(silent);
    if answer.is_ok() {
        // The end of the line was not shown, either.
        let _ = writeln!(&terminal);
    }
    answer
}

/// Asks for something that may be seen.
pub(crate) fn ask_openly(question: &str) -> Result<String, CommandFailure> {
    line(&terminal()?, question)
}

fn terminal() -> Result<File, CommandFailure> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/tty")
        .map_err(|error| {
            CommandFailure::new(
                Class::Usage,
                "there is no terminal to ask for the name and the password on",
            )
            .because(error)
            .hint("give them with -u NAME --password-stdin")
        })
}

fn line(terminal: &File, question: &str) -> Result<String, CommandFailure> {
    let mut output = terminal;
    output.write_all(question.as_bytes()).map_err(unreadable)?;
    wait_for_line(terminal)?;
    let mut answer = String::new();
    BufReader::new(terminal)
        .read_line(&mut answer)
        .map_err(unreadable)?;
    Ok(answer.trim_end_matches(['\n', '\r']).to_owned())
}

/// Waits until a line was typed, or Ctrl-C: a read would go on after it.
fn wait_for_line(terminal: &File) -> Result<(), CommandFailure> {
    const PATIENCE: Timespec = Timespec {
        tv_sec: 0,
        tv_nsec: 250_000_000,
    };
    let asked = interrupt::asked();
    while !asked.load(Ordering::Relaxed) {
        match poll(&mut [PollFd::new(terminal, PollFlags::IN)], Some(&PATIENCE)) {
            Ok(0) | Err(Errno::INTR) => {}
            Ok(_) => return Ok(()),
            Err(error) => return Err(unreadable(error)),
        }
    }
    // What follows is not to stand beside the question.
    let _ = writeln!(&*terminal);
    Err(CommandFailure::new(Class::Interrupted, Interrupted.to_string()))
}

fn unreadable(error: impl Into<io::Error>) -> CommandFailure {
    CommandFailure::new(Class::Environment, "cannot read from the terminal").because(error.into())
}

/// A terminal that does not show what is typed, as long as this lives.
struct Silent<'a> {
    terminal: &'a File,
    before: Termios,
}

impl<'a> Silent<'a> {
    fn new(terminal: &'a File) -> rustix::io::Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO);
        tcsetattr(terminal, OptionalActions::Flush, &quiet)?;
        Ok(Silent { terminal, before })
    }
}

impl Drop for Silent<'_> {
    fn drop(&mut self) {
        // Nothing more can be done about a terminal that is gone.
        let _ = tcsetattr(self.terminal, OptionalActions::Now, &self.before);
    }
}
