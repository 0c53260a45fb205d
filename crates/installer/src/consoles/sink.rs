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
        let flags = OFlags::NOCTTY | OFlags::NONBLOCK;
        let file = OpenOptions::new()
            .write(true)
            .custom_flags(flags.bits() as i32)
            .open(path)?;
        Ok(Self::start(move |line| {
            // A console that went away is no reason to stop.
            let _ = write_line(&file, line);
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
