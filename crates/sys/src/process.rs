//! Child processes whose output is seen line by line, and that never outlive this process.

use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal};

use crate::child::end_with_parent;
use crate::{OsError, Result};

/// Where a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Why a child process has no result.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// The caller wanted it to stop; it was killed.
    #[error("interrupted")]
    Interrupted,
    /// It could not be started or followed.
    #[error(transparent)]
    Os(#[from] OsError),
}

/// A longer line is passed on in pieces.
const LINE_MAX_BYTES: usize = 64 << 10;

/// How often the caller is asked whether to go on.
const ASK_INTERVAL: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 50_000_000,
};

/// Runs a command to its end. `on_line` gets each line of output without its end, as it comes. While it runs,
/// `interrupted` is asked several times a second; when it says yes, the command and its process group are killed.
///
/// Output that processes left behind by the command still write after its end is not waited for.
pub fn run(
    command: &mut Command,
    mut on_line: impl FnMut(Stream, &[u8]),
    interrupted: impl Fn() -> bool,
) -> Result<ExitStatus, ProcessError> {
    let program = command.get_program().to_string_lossy().into_owned();
    command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    end_with_parent(command, Signal::KILL);
    let mut child = command
        .spawn()
        .map_err(|error| OsError::from_io("start", &program, &error))?;
    let followed = follow(&mut child, &mut on_line, &interrupted);
    if followed.is_err() {
        kill(&child);
    }
    let status = child
        .wait()
        .map_err(|error| OsError::from_io("wait for", &program, &error))?;
    followed.map(|()| status)
}

fn kill(child: &Child) {
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    if let Some(group) = group {
        // Fails if everything in it has ended.
        let _ = rustix::process::kill_process_group(group, Signal::KILL);
    }
}

fn follow(
    child: &mut Child,
    on_line: &mut impl FnMut(Stream, &[u8]),
    interrupted: &impl Fn() -> bool,
) -> Result<(), ProcessError> {
    let ended = open_process(child)?;
    let mut pipes = Vec::new();
    if let Some(pipe) = child.stdout.take() {
        pipes.push(LinePipe::new(Stream::Stdout, pipe.into()));
    }
    if let Some(pipe) = child.stderr.take() {
        pipes.push(LinePipe::new(Stream::Stderr, pipe.into()));
    }
    loop {
        if interrupted() {
            return Err(ProcessError::Interrupted);
        }
        let readiness = wait(&pipes, &ended)?;
        for (pipe, ready) in pipes.iter_mut().zip(&readiness.pipes) {
            if *ready {
                pipe.read(on_line)?;
            }
        }
        pipes.retain(|pipe| !pipe.at_end);
        let has_output = readiness.pipes.contains(&true);
        if readiness.ended && (pipes.is_empty() || !has_output) {
            break;
        }
    }
    for pipe in &mut pipes {
        pipe.finish(on_line);
    }
    Ok(())
}

fn open_process(child: &Child) -> Result<OwnedFd> {
    i32::try_from(child.id())
        .ok()
        .and_then(Pid::from_raw)
        .ok_or(Errno::SRCH)
        .and_then(|pid| rustix::process::pidfd_open(pid, PidfdFlags::empty()))
        .map_err(|errno| OsError::new("watch", "a child process", errno))
}

struct Readiness {
    pipes: Vec<bool>,
    ended: bool,
}

fn wait(pipes: &[LinePipe], ended: &OwnedFd) -> Result<Readiness> {
    let mut descriptors: Vec<PollFd<'_>> = pipes
        .iter()
        .map(|pipe| PollFd::from_borrowed_fd(pipe.pipe.as_fd(), PollFlags::IN))
        .collect();
    descriptors.push(PollFd::from_borrowed_fd(ended.as_fd(), PollFlags::IN));
    match poll(&mut descriptors, Some(&ASK_INTERVAL)) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(errno) => return Err(OsError::new("wait for", "the output of a child process", errno)),
    }
    let mut ready: Vec<bool> = descriptors
        .iter()
        .map(|descriptor| !descriptor.revents().is_empty())
        .collect();
    let ended = ready.pop().unwrap_or(true);
    Ok(Readiness { pipes: ready, ended })
}

struct LinePipe {
    stream: Stream,
    pipe: std::fs::File,
    line: Vec<u8>,
    at_end: bool,
}

impl LinePipe {
    fn new(stream: Stream, pipe: OwnedFd) -> Self {
        LinePipe {
            stream,
            pipe: pipe.into(),
            line: Vec::new(),
            at_end: false,
        }
    }

    fn read(&mut self, on_line: &mut impl FnMut(Stream, &[u8])) -> Result<()> {
        let mut buffer = [0; 16 << 10];
        match self.pipe.read(&mut buffer) {
            Ok(0) => self.finish(on_line),
            Ok(read_bytes) => self.take(&buffer[..read_bytes], on_line),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(OsError::from_io("read", "the output of a child process", &error)),
        }
        Ok(())
    }

    fn take(&mut self, bytes: &[u8], on_line: &mut impl FnMut(Stream, &[u8])) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(piece);
            if self.line.ends_with(b"\n") || self.line.len() >= LINE_MAX_BYTES {
                self.emit(on_line);
            }
        }
    }

    fn emit(&mut self, on_line: &mut impl FnMut(Stream, &[u8])) {
        let line = self.line.strip_suffix(b"\n").unwrap_or(&self.line);
        on_line(self.stream, line.strip_suffix(b"\r").unwrap_or(line));
        self.line.clear();
    }

    fn finish(&mut self, on_line: &mut impl FnMut(Stream, &[u8])) {
        self.at_end = true;
        if !self.line.is_empty() {
            self.emit(on_line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdin(Stdio::null());
        command
    }

    fn lines_of(script: &str) -> (Vec<(Stream, String)>, ExitStatus) {
        let mut lines = Vec::new();
        let on_line = |stream, line: &[u8]| lines.push((stream, String::from_utf8_lossy(line).into_owned()));
        let status = run(&mut shell(script), on_line, || false).unwrap();
        (lines, status)
    }

    #[test]
    fn lines_of_both_streams_and_the_exit_code() {
        let (lines, status) = lines_of("echo one; printf 'two\\r\\nrest'; sleep 0.1; echo err >&2; exit 3");
        assert_eq!(status.code(), Some(3));
        let text = |wanted| {
            let of_stream = lines.iter().filter(|(stream, _)| *stream == wanted);
            of_stream.map(|(_, line)| line.as_str()).collect::<Vec<_>>()
        };
        assert_eq!(text(Stream::Stdout), ["one", "two", "rest"]);
        assert_eq!(text(Stream::Stderr), ["err"]);
    }

    #[test]
    fn much_output_and_one_endless_line() {
        let (lines, _) = lines_of("head -c 3000000 /dev/zero | tr '\\0' x; echo; yes | head -n 100000");
        let bytes: usize = lines.iter().map(|(_, line)| line.len()).sum();
        assert_eq!(bytes, 3_100_000);
        assert!(lines.len() > 100_000 + 3_000_000 / (LINE_MAX_BYTES + (16 << 10)));
    }

    #[test]
    fn leftover_processes_are_not_waited_for() {
        let begun = Instant::now();
        let (lines, _) = lines_of("sleep 5 & echo done");
        assert_eq!(lines, [(Stream::Stdout, "done".to_owned())]);
        assert!(begun.elapsed() < Duration::from_secs(4));
    }

    #[test]
    fn interruption_kills_the_whole_group() {
        let marker = tempfile::NamedTempFile::new().unwrap();
        let script = format!("(sleep 0.5; echo late > {0}) & sleep 5", marker.path().display());
        let begun = Instant::now();
        let stop = || begun.elapsed() > Duration::from_millis(100);
        let answer = run(&mut shell(&script), |_, _| {}, stop);
        assert!(matches!(answer, Err(ProcessError::Interrupted)));
        std::thread::sleep(Duration::from_millis(700));
        assert_eq!(std::fs::read(marker.path()).unwrap(), b"");
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = run(&mut Command::new("/no/such/program"), |_, _| {}, || false).unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot start /no/such/program: No such file or directory"
        );
    }
}
