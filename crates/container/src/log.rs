//! What a container wrote, in the format of podman's log driver `k8s-file`.
//!
//! ```text
//! 2026-01-02T03:04:05.000000006Z stdout F a whole line
//! 2026-01-02T03:04:05.000000007Z stderr P the beginning of a line that goes on in the next record of its stream
//! ```

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;

use osmith_image::rfc3339;
use osmith_sys::OsError;
use osmith_sys::process::Stream;

use crate::ContainerError;
use crate::life::now_ns;

/// Where the supervisor writes.
pub(crate) struct LogWriter {
    file: File,
}

impl LogWriter {
    pub(crate) fn create(path: &Path) -> Result<Self, ContainerError> {
        let file = OpenOptions::new().create(true).append(true).open(path);
        let file = file.map_err(|error| OsError::from_io("create", path.display(), &error))?;
        Ok(LogWriter { file })
    }

    /// Adds what a stream had, which may begin and end within a line.
    pub(crate) fn write(&mut self, stream: Stream, bytes: &[u8]) -> std::io::Result<()> {
        let time = rfc3339_ns(now_ns());
        let stream = match stream {
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
        };
        let mut text = Vec::with_capacity(bytes.len() + 64);
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (kind, line) = match piece.strip_suffix(b"\n") {
                Some(line) => ('F', line),
                None => ('P', piece),
            };
            write!(text, "{time} {stream} {kind} ")?;
            text.extend_from_slice(line);
            text.push(b'\n');
        }
        self.file.write_all(&text)
    }
}

/// RFC 3339 text of a time in nanoseconds since 1970-01-01 UTC, with nine digits behind the second.
pub fn rfc3339_ns(time_ns: u64) -> String {
    let seconds = rfc3339((time_ns / 1_000_000_000).try_into().unwrap_or(i64::MAX));
    format!(
        "{}.{:09}Z",
        seconds.trim_end_matches('Z'),
        time_ns % 1_000_000_000
    )
}

/// A record of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRecord {
    /// When, RFC 3339.
    pub time: String,
    /// Where it was written.
    pub stream: Stream,
    /// What, with the end of the line if it is there.
    pub bytes: Vec<u8>,
}

impl LogRecord {
    /// Whether it ends a line.
    pub fn ends_line(&self) -> bool {
        self.bytes.ends_with(b"\n")
    }

    /// `None` for a line that is no record, such as one that a loss of power cut off.
    fn parse(line: &[u8]) -> Option<LogRecord> {
        let mut fields = line.strip_suffix(b"\n")?.splitn(4, |byte| *byte == b' ');
        let mut field = || fields.next();
        let time = String::from_utf8(field()?.to_vec()).ok()?;
        let stream = match field()? {
            b"stdout" => Stream::Stdout,
            b"stderr" => Stream::Stderr,
            _ => return None,
        };
        let kind = field()?;
        let mut bytes = field()?.to_vec();
        if kind == b"F" {
            bytes.push(b'\n');
        }
        Some(LogRecord { time, stream, bytes })
    }
}

/// Reads a log, also while it grows.
pub struct LogReader {
    file: BufReader<File>,
    /// The beginning of a record that is being written.
    rest: Vec<u8>,
}

impl LogReader {
    /// `None` if there is no log yet.
    pub fn open(path: &Path) -> Result<Option<Self>, ContainerError> {
        match File::open(path) {
            Ok(file) => Ok(Some(LogReader {
                file: BufReader::new(file),
                rest: Vec::new(),
            })),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(OsError::from_io("open", path.display(), &error).into()),
        }
    }

    /// The next record that is complete; `None` at the end, which may be only for now.
    pub fn next_record(&mut self) -> Result<Option<LogRecord>, ContainerError> {
        loop {
            let read = self.file.read_until(b'\n', &mut self.rest);
            read.map_err(|error| OsError::from_io("read", "the log of a container", &error))?;
            if !self.rest.ends_with(b"\n") {
                return Ok(None);
            }
            let record = LogRecord::parse(&self.rest);
            self.rest.clear();
            if record.is_some() {
                return Ok(record);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_also_in_pieces() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        assert!(LogReader::open(&path).unwrap().is_none());
        let mut writer = LogWriter::create(&path).unwrap();
        writer.write(Stream::Stdout, b"one\ntw").unwrap();
        let mut reader = LogReader::open(&path).unwrap().unwrap();
        let mut next = || {
            reader.next_record().unwrap().map(|record| {
                assert_eq!(record.time.len(), "2026-01-02T03:04:05.000000006Z".len());
                (record.stream, String::from_utf8(record.bytes).unwrap())
            })
        };
        assert_eq!(next(), Some((Stream::Stdout, "one\n".into())));
        assert_eq!(next(), Some((Stream::Stdout, "tw".into())));
        assert_eq!(next(), None);
        writer.write(Stream::Stderr, b"  x y\n\n").unwrap();
        assert_eq!(next(), Some((Stream::Stderr, "  x y\n".into())));
        assert_eq!(next(), Some((Stream::Stderr, "\n".into())));
        std::io::Write::write_all(&mut writer.file, b"cut off\n2026 stdou").unwrap();
        assert_eq!(next(), None);
    }

    #[test]
    fn times_have_nanoseconds() {
        assert_eq!(rfc3339_ns(1_000_000_002), "1970-01-01T00:00:01.000000002Z");
    }
}
