//! What is wrong with a configuration, all at once.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use osmith_report::{Class, Failure};

/// A place in a file, counted from 1; columns count characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The character in it.
    pub column: usize,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where; `None` if the configuration comes from no file.
    pub position: Option<Position>,
    /// The dotted key, such as `customizations.user[1].name`; empty for the file.
    pub key: String,
    /// What is wrong.
    pub reason: String,
    /// What to do instead; may be empty.
    pub remedy: String,
}

/// Everything that is wrong with a configuration; never empty.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", rendered(.file.as_deref(), .problems))]
pub struct ConfigurationError {
    /// The name of the file, for the places.
    pub file: Option<String>,
    /// In the order of the file.
    pub problems: Vec<Problem>,
}

impl ConfigurationError {
    /// The same, saying in which file.
    pub fn in_file(self, file: impl Into<String>) -> Self {
        ConfigurationError {
            file: Some(file.into()),
            ..self
        }
    }
}

impl Failure for ConfigurationError {
    fn class(&self) -> Class {
        Class::Input
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.reason)?;
        match self.remedy.as_str() {
            "" => Ok(()),
            remedy => write!(f, " ({remedy})"),
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// `file:line:column: key: reason (remedy)`, a line each.
fn rendered(file: Option<&str>, problems: &[Problem]) -> String {
    let place = |problem: &Problem| match (file, problem.position) {
        (Some(file), Some(position)) => format!("{file}:{position}: "),
        (Some(file), None) => format!("{file}: "),
        (None, Some(position)) => format!("line {}, column {}: ", position.line, position.column),
        (None, None) => String::new(),
    };
    let line = |problem: &Problem| format!("{}{problem}", place(problem));
    match problems {
        [problem] => line(problem),
        _ => {
            let lines: Vec<_> = problems
                .iter()
                .map(|problem| format!("\n  {}", line(problem)))
                .collect();
            format!(
                "the configuration has {} errors:{}",
                problems.len(),
                lines.concat()
            )
        }
    }
}

/// Where the keys of a configuration stand, for errors that are found later.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Positions(BTreeMap<String, Position>);

impl Positions {
    /// Where a key stands, or the nearest key around it that is there.
    pub fn of(&self, key: &str) -> Option<Position> {
        let mut key = key;
        loop {
            if let Some(position) = self.0.get(key) {
                return Some(*position);
            }
            key = &key[..key.rfind(['.', '['])?];
        }
    }

    pub(crate) fn set(&mut self, key: String, position: Position) {
        self.0.insert(key, position);
    }
}

/// The problems that are found in a file.
#[derive(Debug)]
pub(crate) struct Problems {
    text: String,
    line_starts: Vec<usize>,
    found: Vec<(usize, Problem)>,
}

impl Problems {
    pub(crate) fn of(bytes: &[u8]) -> Self {
        // Up to the first wrong byte, the text has the places of the bytes.
        let text = String::from_utf8_lossy(bytes).into_owned();
        let ends = text.match_indices('\n').map(|(at, _)| at + 1);
        let line_starts = std::iter::once(0).chain(ends).collect();
        Problems {
            text,
            line_starts,
            found: Vec::new(),
        }
    }

    pub(crate) fn add(
        &mut self,
        span: Range<usize>,
        key: &str,
        reason: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        let problem = Problem {
            position: Some(self.position(span.start)),
            key: key.to_owned(),
            reason: reason.into(),
            remedy: remedy.into(),
        };
        self.found.push((span.start, problem));
    }

    pub(crate) fn position(&self, offset: usize) -> Position {
        let line = self.line_starts.partition_point(|start| *start <= offset);
        let start = self.line_starts.get(line.saturating_sub(1)).copied().unwrap_or(0);
        let before = self.text.get(start..offset).unwrap_or_default();
        Position {
            line,
            column: before.chars().count() + 1,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    pub(crate) fn into_error(mut self) -> ConfigurationError {
        self.found.sort_by_key(|(offset, _)| *offset);
        ConfigurationError {
            file: None,
            problems: self.found.into_iter().map(|(_, problem)| problem).collect(),
        }
    }
}
