//! Where lines go: a queue, and a thread that empties it as fast as the other side takes it.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;

use super::syslog::Syslog;
use crate::boot_options::SyslogServer;

/// So many lines may wait: more than a plan has, less than a minute of a slow serial line.
const QUEUE_LINES: usize = 500;
/// A console that takes nothing for so long is given no more of a line.
const PATIENCE: Timespec = Timespec {
    tv_sec: 2,
    tv_nsec: 0,
};

enum Item {
    Line(String),
    /// Everything before it is done.
    Mark(SyncSender<()>),
}

/// One receiver of lines.
pub(super) struct Sink {
    queue: SyncSender<Item>,
    left_out: u64,
}

impl Sink {
    /// A console, opened so that it never becomes the controlling terminal and never waits.
    pub(super) fn console(path: &Path) -> io::Result<Self> {
        let path = path.to_owned();
        let open = move || {
            let flags = OFlags::NOCTTY | OFlags::NONBLOCK;
            OpenOptions::new()
                .write(true)
                .custom_flags(flags.bits() as i32)
                .open(&path)
        };
        let mut file = open()?;
        Ok(Self::start(move |line| {
            // A console that went away is no reason to stop.
            let _ = write_or_reopen(&mut file, &open, line);
        }))
    }

    /// A syslog server.
    pub(super) fn syslog(server: SyslogServer, host_name: &str) -> Self {
        let mut syslog = Syslog::new(server, host_name);
        Self::start(move |line| syslog.send(line))
    }

    pub(super) fn start(write: impl FnMut(&str) + Send + 'static) -> Self {
        let (queue, received) = sync_channel(QUEUE_LINES);
        // It ends with the queue; if it is stuck then, nobody waits for it.
        thread::spawn(move || work(&received, write));
        Sink { queue, left_out: 0 }
    }

    /// Takes a line if there is room for it.
    pub(super) fn send(&mut self, line: &str) {
        if self.left_out > 0 {
            let note = format!("... {} lines are left out here ...", self.left_out);
            match self.queue.try_send(Item::Line(note)) {
                Ok(()) => self.left_out = 0,
                Err(_) => {
                    self.left_out += 1;
                    return;
                }
            }
        }
        if let Err(TrySendError::Full(_)) = self.queue.try_send(Item::Line(line.to_owned())) {
            self.left_out += 1;
        }
    }

    /// Something that says when all lines so far are shown; none if the queue is full.
    pub(super) fn mark(&mut self) -> Option<Receiver<()>> {
        let (sender, receiver) = sync_channel(1);
        self.queue.try_send(Item::Mark(sender)).ok()?;
        Some(receiver)
    }
}

fn work(received: &Receiver<Item>, mut write: impl FnMut(&str)) {
    while let Ok(item) = received.recv() {
        match item {
            Item::Line(line) => write(&line),
            // Whoever waited may have gone.
            Item::Mark(done) => drop(done.try_send(())),
        }
    }
}

/// When a shell ends that had a console for itself, the kernel hangs the console up for all who have it open; who opens it
/// again can write again.
fn write_or_reopen(file: &mut File, open: impl Fn() -> io::Result<File>, line: &str) -> io::Result<()> {
    match write_line(file, line) {
        Err(error) if error.kind() != io::ErrorKind::TimedOut => {
            *file = open()?;
            write_line(file, line)
        }
        other => other,
    }
}

fn write_line(mut file: &File, line: &str) -> io::Result<()> {
    let text = format!("{line}\r\n");
    let mut rest = text.as_bytes();
    while !rest.is_empty() {
        match file.write(rest) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => rest = rest.get(count..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let mut waiting = [PollFd::new(file, PollFlags::OUT)];
                if poll(&mut waiting, Some(&PATIENCE))? == 0 {
                    return Err(io::ErrorKind::TimedOut.into());
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_console_that_was_hung_up_is_opened_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("console");
        fs::write(&path, "").expect("a console");
        // One that cannot be written to any more.
        let mut file = File::open(&path).expect("opened");
        let open = || OpenOptions::new().append(true).open(&path);
        for line in ["one", "two"] {
            write_or_reopen(&mut file, open, line).expect("written");
        }
        assert_eq!(fs::read_to_string(&path).expect("read"), "one\r\ntwo\r\n");
        let mut file = File::open(&path).expect("opened");
        let gone = || Err(io::ErrorKind::NotFound.into());
        write_or_reopen(&mut file, gone, "three").expect_err("it is gone");
    }
}
