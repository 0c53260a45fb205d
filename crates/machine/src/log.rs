//! The record of operations: who changed a machine, when, from what to what, and what came of it.
//!
//! A file of one JSON object a line, only ever appended to, each line in one write that waits for the medium. A line
//! that a power cut left incomplete, or that is damaged, is told apart. Unknown keys are kept out of the way of older programs: they are
//! ignored.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

/// What is read of a record at most, from its end.
const READ_MAX_BYTES: u64 = 16 << 20;

/// Who started an operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// The name of the user, as well as it is known.
    pub user: String,
    /// The number of the user.
    pub uid: u32,
}

/// A deployment in the record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoggedDeployment {
    /// The deployment.
    pub deployment: String,
    /// The name of its image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The digest of its manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// What the image calls its version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// How an operation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LoggedResult {
    /// It did its work.
    Success,
    /// It failed.
    Failure,
}

/// An operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogEntry {
    /// When it ended, RFC 3339 in UTC.
    pub time: String,
    /// What was done: `upgrade`, `switch`, `rollback`, `finalize`...
    pub operation: String,
    /// Who did it.
    pub actor: Actor,
    /// What ran, or was first in the boot menu, before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<LoggedDeployment>,
    /// What is to run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<LoggedDeployment>,
    /// How it ended.
    pub result: LoggedResult,
    /// What there is to say: why it failed, what it means.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// Appends an entry to the record `path`, which is made if it is missing.
pub fn append(path: &Path, entry: &LogEntry) -> io::Result<()> {
    let mut file = File::options().append(true).create(true).read(true).open(path)?;
    let mut line = serde_json::to_vec(entry)?;
    line.push(b'\n');
    if !ends_with_newline(&mut file)? {
        line.insert(0, b'\n');
    }
    file.write_all(&line)?;
    file.sync_all()
}

/// What is there may end within a line.
fn ends_with_newline(file: &mut File) -> io::Result<bool> {
    if file.seek(SeekFrom::End(0))? == 0 {
        return Ok(true);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

/// What a record says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Record {
    /// The entries, the oldest first.
    pub entries: Vec<LogEntry>,
    /// Where lines begin that are no entries, in bytes from the beginning of the file.
    pub damaged_bytes: Vec<u64>,
}

/// Reads the record `path`, as far as its end goes; there need be none.
pub fn read(path: &Path) -> io::Result<Record> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Record::default()),
        Err(error) => return Err(error),
    };
    let length = file.metadata()?.len();
    let first_byte = length.saturating_sub(READ_MAX_BYTES);
    file.seek(SeekFrom::Start(first_byte))?;
    let mut bytes = Vec::new();
    file.take(READ_MAX_BYTES).read_to_end(&mut bytes)?;
    Ok(parse(&bytes, first_byte))
}

/// The lines of the end of a record; what does not begin with the file begins within a line.
fn parse(bytes: &[u8], first_byte: u64) -> Record {
    let mut record = Record::default();
    let mut offset_bytes = first_byte;
    for (index, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        let is_part = index == 0 && first_byte > 0;
        match serde_json::from_slice(line) {
            _ if is_part || line.is_empty() => {}
            Ok(entry) => record.entries.push(entry),
            Err(_) => record.damaged_bytes.push(offset_bytes),
        }
        offset_bytes += line.len() as u64 + 1;
    }
    record
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry(operation: &str) -> LogEntry {
        LogEntry {
            time: "2026-01-02T03:04:05Z".to_owned(),
            operation: operation.to_owned(),
            actor: Actor {
                user: "root".to_owned(),
                uid: 0,
            },
            from: None,
            to: Some(LoggedDeployment {
                deployment: "ab".to_owned(),
                image: Some("registry.example/os:1".to_owned()),
                digest: None,
                version: None,
            }),
            result: LoggedResult::Success,
            message: None,
        }
    }

    #[test]
    fn entries_come_back_in_order() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log.jsonl");
        assert_eq!(read(&path).unwrap(), Record::default());
        append(&path, &entry("upgrade")).unwrap();
        append(&path, &entry("rollback")).unwrap();
        let record = read(&path).unwrap();
        assert_eq!(record.entries, [entry("upgrade"), entry("rollback")]);
        assert!(record.damaged_bytes.is_empty());
    }

    #[test]
    fn a_line_that_was_cut_off_costs_only_itself() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log.jsonl");
        append(&path, &entry("upgrade")).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for length in 0..=whole.len() {
            std::fs::write(&path, &whole[..length]).unwrap();
            append(&path, &entry("rollback")).unwrap();
            let Record {
                entries: found,
                damaged_bytes,
            } = read(&path).unwrap();
            assert_eq!(found.last(), Some(&entry("rollback")), "{length}");
            // Without its newline alone, the line still counts.
            let expected = 1 + usize::from(length + 1 >= whole.len());
            assert_eq!(found.len(), expected, "{length}");
            let is_damaged = expected == 1 && length > 0;
            assert_eq!(damaged_bytes, vec![0; usize::from(is_damaged)], "{length}");
        }
    }

    #[test]
    fn the_end_of_a_long_record_begins_within_a_line() {
        let line = serde_json::to_string(&entry("upgrade")).unwrap();
        let text = format!("{line}\nnonsense\n{line}\n");
        let start = 5;
        let record = parse(&text.as_bytes()[start..], start as u64);
        assert_eq!(record.entries.len(), 1);
        assert_eq!(record.damaged_bytes, [line.len() as u64 + 1]);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_bytes_cost_only_their_lines(
            before in proptest::collection::vec(any::<u8>(), 0..60),
            after in proptest::collection::vec(any::<u8>(), 0..60),
        ) {
            let line = serde_json::to_vec(&entry("upgrade")).unwrap();
            let text = [&before[..], b"\n", &line, b"\n", &after].concat();
            let record = parse(&text, 0);
            prop_assert_eq!(&record.entries, &[entry("upgrade")]);
            let is_line = |line: &&[u8]| !line.is_empty();
            let lines = |bytes: &[u8]| bytes.split(|byte| *byte == b'\n').filter(is_line).count();
            prop_assert_eq!(record.damaged_bytes.len(), lines(&before) + lines(&after));
            for offset in record.damaged_bytes {
                let offset = offset as usize;
                prop_assert!(offset == 0 || text[offset - 1] == b'\n');
            }
        }
    }
}
