//! The record of operations: who changed a machine, when, from what to what, and what came of it.
//!
//! A file of one JSON object a line, only ever appended to, each line in one write that waits for the medium. A line
//! that a power cut left incomplete is passed over. Unknown keys are kept out of the way of older programs: they are
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

/// The entries of the record `path`, the oldest first; none if there is no record.
pub fn read(path: &Path) -> io::Result<Vec<LogEntry>> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(READ_MAX_BYTES)))?;
    let mut bytes = Vec::new();
    file.take(READ_MAX_BYTES).read_to_end(&mut bytes)?;
    let lines = bytes.split(|byte| *byte == b'\n');
    Ok(lines
        .filter_map(|line| serde_json::from_slice(line).ok())
        .collect())
}

#[cfg(test)]
mod tests {
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
        assert!(read(&path).unwrap().is_empty());
        append(&path, &entry("upgrade")).unwrap();
        append(&path, &entry("rollback")).unwrap();
        assert_eq!(read(&path).unwrap(), [entry("upgrade"), entry("rollback")]);
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
            let found = read(&path).unwrap();
            assert_eq!(found.last(), Some(&entry("rollback")), "{length}");
            // Without its newline alone, the line still counts.
            let expected = 1 + usize::from(length + 1 >= whole.len());
            assert_eq!(found.len(), expected, "{length}");
        }
    }
}
