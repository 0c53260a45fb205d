//! What goes between a command and its user: one loop that waits for all of it.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::Stdio;

use osmith_sys::OsError;
use osmith_sys::process::Stream;
use osmith_sys::sandbox::{OuterTerminal, Running, StandardStreams, WindowSize};
use osmith_sys::signals::Signals;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use crate::ContainerError;
use crate::log::LogWriter;

const PIECE_BYTES: usize = 16 << 10;
/// What ends the input of a terminal that has lines.
const END_OF_INPUT: u8 = 4;
/// A window has changed its size.
const WINCH: i32 = 28;

/// The user's side: as far as there is one.
#[derive(Debug, Default)]
pub struct Attachment {
    /// What the user types.
    pub input: Option<File>,
    /// Where the output goes.
    pub output: Option<File>,
    /// Where the errors go.
    pub errors: Option<File>,
    /// The user's terminal, whose size the command's follows.
    pub window: Option<OwnedFd>,
}

/// The command's side.
pub(crate) struct Ends {
    /// Where input is written; kept open if nobody writes.
    input: Option<File>,
    /// What it writes.
    outputs: Vec<(Stream, File)>,
    /// Its terminal; then there is nothing else.
    terminal: Option<OuterTerminal>,
}

impl Ends {
    /// Those of a terminal.
    pub(crate) fn of_terminal(terminal: OuterTerminal) -> Result<Self, ContainerError> {
        let again = || terminal.file.try_clone();
        let failed = |error| OsError::from_io("open", "a terminal again", &error);
        Ok(Ends {
            input: Some(again().map_err(failed)?),
            outputs: vec![(Stream::Stdout, again().map_err(failed)?)],
            terminal: Some(terminal),
        })
    }
}

/// Pipes for a command without a terminal: what it gets, and our ends of them.
pub(crate) fn pipes(with_input: bool) -> Result<(StandardStreams, Ends), ContainerError> {
    let pipe = || {
        let pipe = std::io::pipe().map_err(|error| OsError::from_io("create", "a pipe", &error))?;
        Ok::<_, OsError>((OwnedFd::from(pipe.0), OwnedFd::from(pipe.1)))
    };
    let (output, its_output) = pipe()?;
    let (errors, its_errors) = pipe()?;
    let (its_input, input) = match with_input {
        true => pipe().map(|(read, write)| (Stdio::from(read), Some(write)))?,
        false => (Stdio::null(), None),
    };
    let streams = StandardStreams {
        input: its_input,
        output: its_output.into(),
        errors: its_errors.into(),
    };
    let ends = Ends {
        input: input.map(File::from),
        outputs: vec![(Stream::Stdout, output.into()), (Stream::Stderr, errors.into())],
        terminal: None,
    };
    Ok((streams, ends))
}

/// What a command gets before it has its terminal.
pub(crate) fn no_streams() -> StandardStreams {
    StandardStreams {
        input: Stdio::null(),
        output: Stdio::null(),
        errors: Stdio::null(),
    }
}

/// One command and one user.
pub(crate) struct Conversation<'a> {
    ends: Ends,
    user: Attachment,
    log: Option<&'a mut LogWriter>,
    /// Typed, and not yet taken by the command.
    pending: Vec<u8>,
}

impl<'a> Conversation<'a> {
    pub(crate) fn new(
        ends: Ends,
        user: Attachment,
        log: Option<&'a mut LogWriter>,
    ) -> Result<Self, ContainerError> {
        if let Some(input) = &ends.input {
            // A command that does not read must not keep its output from being passed on.
            rustix::io::ioctl_fionbio(input, true)
                .map_err(|errno| OsError::new("prepare", "the input of a command", errno))?;
        }
        Ok(Conversation {
            ends,
            user,
            log,
            pending: Vec::new(),
        })
    }

    /// Passes everything on until the command has ended. `on_signal` gets each signal to this process.
    pub(crate) fn follow(
        &mut self,
        running: &Running,
        signals: &mut Signals,
        mut on_signal: impl FnMut(i32),
    ) -> Result<(), ContainerError> {
        loop {
            let ready = self.wait(running.end(), signals.as_fd())?;
            while let Some(signal) = signals.take_next() {
                match signal {
                    WINCH => self.follow_window(),
                    signal => on_signal(signal),
                }
            }
            self.pass_on(&ready);
            if ready.has_ended {
                self.drain();
                return Ok(());
            }
        }
    }

    fn wait(&self, end: BorrowedFd<'_>, signals: BorrowedFd<'_>) -> Result<Ready, ContainerError> {
        let readable = |file| PollFd::from_borrowed_fd(file, PollFlags::IN);
        let mut files = vec![readable(end), readable(signals)];
        files.extend(self.ends.outputs.iter().map(|(_, file)| readable(file.as_fd())));
        let outputs = self.ends.outputs.len();
        match (&self.user.input, &self.ends.input) {
            (_, Some(input)) if !self.pending.is_empty() => {
                files.push(PollFd::from_borrowed_fd(input.as_fd(), PollFlags::OUT));
            }
            (Some(input), Some(_)) => files.push(readable(input.as_fd())),
            _ => {}
        }
        match poll(&mut files, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(OsError::new("wait for", "a command", errno).into()),
        }
        let mut ready = files.iter().map(|file| !file.revents().is_empty());
        let has_ended = ready.next().unwrap_or(true);
        ready.next();
        Ok(Ready {
            has_ended,
            outputs: ready.by_ref().take(outputs).collect(),
            input: ready.next().unwrap_or(false),
        })
    }

    fn pass_on(&mut self, ready: &Ready) {
        let mut outputs = std::mem::take(&mut self.ends.outputs);
        let mut is_ready = ready.outputs.iter();
        outputs.retain_mut(|(stream, file)| {
            !is_ready.next().copied().unwrap_or(false) || self.pass_output(*stream, file)
        });
        self.ends.outputs = outputs;
        if ready.input {
            match self.pending.is_empty() {
                true => self.read_input(),
                false => self.write_input(),
            }
        }
    }

    /// Whether there may be more. The inner side of a terminal is held open, so its end is an error as well.
    fn pass_output(&mut self, stream: Stream, file: &mut File) -> bool {
        let mut piece = [0; PIECE_BYTES];
        match file.read(&mut piece) {
            Ok(0) => false,
            Ok(read_bytes) => {
                self.show(stream, piece.get(..read_bytes).unwrap_or_default());
                true
            }
            Err(error) => matches!(
                error.kind(),
                std::io::ErrorKind::Interrupted | std::io::ErrorKind::WouldBlock
            ),
        }
    }

    /// A user who does not look any more, and a full disk, do not stop a command.
    fn show(&mut self, stream: Stream, bytes: &[u8]) {
        if let Some(log) = &mut self.log {
            let _ = log.write(stream, bytes);
        }
        let place = match stream {
            Stream::Stdout => &mut self.user.output,
            Stream::Stderr => &mut self.user.errors,
        };
        if let Some(file) = place
            && file.write_all(bytes).is_err()
        {
            *place = None;
        }
    }

    fn read_input(&mut self) {
        let mut piece = [0; PIECE_BYTES];
        let read = self.user.input.as_mut().map(|input| input.read(&mut piece));
        match read {
            Some(Err(error)) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Some(Ok(read_bytes)) if read_bytes > 0 => {
                self.pending
                    .extend_from_slice(piece.get(..read_bytes).unwrap_or_default());
                self.write_input();
            }
            _ => self.end_input(),
        }
    }

    fn end_input(&mut self) {
        self.user.input = None;
        match self.ends.terminal.is_some() {
            true => self.pending.push(END_OF_INPUT),
            false => self.ends.input = None,
        }
    }

    fn write_input(&mut self) {
        let Some(input) = &mut self.ends.input else {
            return;
        };
        match input.write(&self.pending) {
            Ok(written_bytes) => drop(self.pending.drain(..written_bytes)),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            // The command reads no more.
            Err(_) => {
                self.pending.clear();
                self.ends.input = None;
            }
        }
    }

    fn follow_window(&self) {
        if let (Some(window), Some(terminal)) = (&self.user.window, &self.ends.terminal)
            && let Some(size) = WindowSize::of(window)
        {
            // The next change is another chance.
            let _ = size.apply(&terminal.file);
        }
    }

    /// What was written before the end, and no more: something outside may hold a pipe open.
    fn drain(&mut self) {
        for (stream, mut file) in std::mem::take(&mut self.ends.outputs) {
            if rustix::io::ioctl_fionbio(&file, true).is_ok() {
                let mut piece = [0; PIECE_BYTES];
                while let Ok(read_bytes @ 1..) = file.read(&mut piece) {
                    self.show(stream, piece.get(..read_bytes).unwrap_or_default());
                }
            }
        }
    }
}

struct Ready {
    has_ended: bool,
    outputs: Vec<bool>,
    input: bool,
}
