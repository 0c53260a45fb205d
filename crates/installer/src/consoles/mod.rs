//! Messages for whoever watches: on every active console, in a log, and to a syslog server.
//!
//! ```text
//! line ──▶ run/osmith/install.log
//!      ├──▶ queue ─thread─▶ dev/tty0
//!      ├──▶ queue ─thread─▶ dev/ttyS0
//!      └──▶ queue ─thread─▶ syslog, UDP (RFC 5424, RFC 5426)
//! ```
//!
//! A console that takes nothing, such as a serial line with flow control and nobody at the other end, holds nobody up:
//! its queue fills, and what does not fit is left out there, with a note of how much.

mod sink;
mod syslog;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use osmith_report::{Event, Lines, Observer, Pace, printable};

use crate::boot_options::SyslogServer;
use sink::Sink;

/// The log, below the root folder.
pub const LOG_PATH: &str = "run/osmith/install.log";

/// So much progress is worth a line.
const PROGRESS_PERCENT: u64 = 5;

/// Everything that shows messages.
pub struct Consoles {
    host: PathBuf,
    begun: Instant,
    log: Mutex<Option<File>>,
    sinks: Mutex<Vec<Sink>>,
}

impl Consoles {
    /// The active consoles of a machine whose root folder is `host`, and the log. Never fails: what cannot be opened is
    /// left out, and the others say so.
    pub fn open(host: &Path) -> Self {
        let (log, log_error) = match open_log(&host.join(LOG_PATH)) {
            Ok(log) => (Some(log), None),
            Err(error) => (None, Some(error)),
        };
        let mut sinks = Vec::new();
        let mut failures = Vec::new();
        for name in active_consoles(host) {
            match Sink::console(&host.join("dev").join(&name)) {
                Ok(sink) => sinks.push(sink),
                Err(error) => failures.push(format!("warning: cannot write to the console {name}: {error}")),
            }
        }
        failures.extend(log_error.map(|error| format!("warning: cannot write the log /{LOG_PATH}: {error}")));
        let consoles = Consoles {
            host: host.to_owned(),
            begun: Instant::now(),
            log: Mutex::new(log),
            sinks: Mutex::new(sinks),
        };
        failures.iter().for_each(|failure| consoles.line(failure));
        consoles
    }

    /// From now on a syslog server is told as well. Its name is looked up when the first message is sent.
    pub fn add_syslog(&self, server: &SyslogServer) {
        let host_name = fs::read_to_string(self.host.join("proc/sys/kernel/hostname")).unwrap_or_default();
        let sink = Sink::syslog(server.clone(), host_name.trim());
        self.lock_sinks().push(sink);
    }

    /// Shows a text, line by line. Characters that a terminal would take for a command are shown as what they are.
    pub fn line(&self, text: &str) {
        for line in text.lines() {
            let line = printable(&line.replace('\t', "        "));
            self.write_log(&line);
            for sink in self.lock_sinks().iter_mut() {
                sink.send(&line);
            }
        }
    }

    /// Writes a text into the log alone.
    pub fn log(&self, text: &str) {
        for line in text.lines() {
            self.write_log(&printable(&line.replace('\t', "        ")));
        }
    }

    /// Waits until every console has shown what it was sent, or the time is up: before the machine restarts.
    pub fn flush(&self, wait: Duration) {
        let end = Instant::now() + wait;
        let flushed: Vec<_> = self.lock_sinks().iter_mut().filter_map(Sink::mark).collect();
        for mark in flushed {
            // Who has not done it by then will not be waited for.
            let _ = mark.recv_timeout(end.saturating_duration_since(Instant::now()));
        }
    }

    fn write_log(&self, line: &str) {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = log.as_mut() {
            let seconds = self.begun.elapsed().as_secs_f64();
            // A log that is full stops no installation.
            let _ = writeln!(file, "[{seconds:9.3}] {line}");
        }
    }

    fn lock_sinks(&self) -> std::sync::MutexGuard<'_, Vec<Sink>> {
        self.sinks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Shows the events of the libraries on consoles. What scripts and programs write goes into the log alone.
pub struct ConsoleObserver<'a> {
    consoles: &'a Consoles,
    lines: Mutex<Lines>,
    interrupted: Arc<AtomicBool>,
}

impl<'a> ConsoleObserver<'a> {
    /// An observer; `interrupted` becomes true when the installation is to stop.
    pub fn new(consoles: &'a Consoles, interrupted: Arc<AtomicBool>) -> Self {
        let pace = Pace {
            percent: Some(PROGRESS_PERCENT),
            ..Pace::default()
        };
        ConsoleObserver {
            consoles,
            lines: Mutex::new(Lines::new(pace)),
            interrupted,
        }
    }
}

impl Observer for ConsoleObserver<'_> {
    fn observe(&self, event: Event) {
        if let Event::Output { line, .. } = &event {
            return self.consoles.log(line);
        }
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(line) = lines.line(event, Instant::now()) {
            self.consoles.line(&line);
        }
    }

    fn interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }
}

/// The names of the consoles that the kernel writes to.
fn active_consoles(host: &Path) -> Vec<String> {
    let active = fs::read_to_string(host.join("sys/class/tty/console/active")).unwrap_or_default();
    let names: Vec<String> = active
        .split_ascii_whitespace()
        .filter(|name| !name.contains('/') && !name.starts_with('.'))
        .map(str::to_owned)
        .collect();
    match names.is_empty() {
        true => vec!["console".to_owned()],
        false => names,
    }
}

/// Scripts may write secrets into it.
fn open_log(path: &Path) -> io::Result<File> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
}

#[cfg(test)]
mod tests;
