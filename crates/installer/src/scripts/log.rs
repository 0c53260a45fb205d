//! What a script writes: into its log, and the last of it for messages.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::path::{Component, Path};

use osmith_report::printable;
use osmith_sys::file::{open_directory, open_in_root};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

/// So many lines are shown if it fails.
const LAST_LINES: usize = 12;

/// Where the lines of a script go.
#[derive(Default)]
pub(super) struct Output {
    log: Option<File>,
    last_lines: VecDeque<String>,
}

impl Output {
    /// Opens a log by its path in the system whose root folder that is, links and all. What is in it stays; folders
    /// that are missing are made.
    pub(super) fn open(root: &Path, path: &str) -> io::Result<Self> {
        let root = open_directory(root)?;
        let relative = Path::new(path.trim_start_matches('/'));
        if let Some(folder) = relative.parent() {
            create_folders(&root, folder)?;
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::APPEND | OFlags::NOCTTY;
        let log = open_in_root(&root, relative, flags, Mode::from_raw_mode(0o600))?;
        Ok(Output {
            log: Some(log.into()),
            last_lines: VecDeque::new(),
        })
    }

    /// Takes a line; the error is that of the log, which gets no more after it.
    pub(super) fn write(&mut self, line: &[u8]) -> Option<io::Error> {
        if self.last_lines.len() == LAST_LINES {
            self.last_lines.pop_front();
        }
        self.last_lines
            .push_back(printable(&String::from_utf8_lossy(line)));
        let log = self.log.as_mut()?;
        let written = log.write_all(&[line, b"\n"].concat());
        if written.is_err() {
            self.log = None;
        }
        written.err()
    }

    pub(super) fn into_last_lines(self) -> Vec<String> {
        self.last_lines.into()
    }
}

fn create_folders(root: &OwnedFd, folder: &Path) -> io::Result<()> {
    let mut made = Path::new("").to_owned();
    for component in folder.components() {
        let parent = made.clone();
        match component {
            Component::Normal(name) => made.push(name),
            _ => return Err(io::ErrorKind::InvalidInput.into()),
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        match open_in_root(root, &made, flags, Mode::empty()) {
            Ok(_) => continue,
            Err(error) if error.errno() == Errno::NOENT => {}
            Err(error) => return Err(error.into()),
        }
        let parent = match parent.as_os_str().is_empty() {
            true => root.try_clone()?,
            false => open_in_root(root, &parent, flags, Mode::empty())?,
        };
        let name = made.file_name().unwrap_or_default();
        rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o755))?;
    }
    Ok(())
}
