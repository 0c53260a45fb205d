//! Lines of files, and the problems found in them.

use std::ops::Range;
use std::sync::Arc;

use crate::problem::{Level, Position, Problem};
use crate::secrets;

/// A line of a file.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    /// The file's name.
    pub(crate) file: Arc<str>,
    /// Counted from 1.
    pub(crate) number: usize,
    /// Without its line end.
    pub(crate) text: String,
}

impl Line {
    /// The place of a byte of the line.
    pub(crate) fn position(&self, at: usize) -> Position {
        let before = self.text.get(..at).unwrap_or(&self.text);
        Position {
            file: Arc::clone(&self.file),
            line: self.number,
            column: before.chars().count() + 1,
        }
    }

    /// Everything but the blanks around it.
    pub(crate) fn whole(&self) -> Range<usize> {
        let start = self.text.len() - self.text.trim_start().len();
        start..start.max(self.text.trim_end().len())
    }
}

/// The lines of a file with their line ends taken off: `\n`, `\r\n`, or the end of the file.
pub(crate) fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.split_terminator('\n')
        .map(|line| line.strip_suffix('\r').unwrap_or(line))
}

/// The problems found so far.
#[derive(Debug, Default)]
pub(crate) struct Problems {
    found: Vec<Problem>,
    /// In the order in which they were first read.
    files: Vec<Arc<str>>,
}

impl Problems {
    /// Remembers the order of files.
    pub(crate) fn enter(&mut self, file: &Arc<str>) {
        if !self.files.contains(file) {
            self.files.push(Arc::clone(file));
        }
    }

    /// Notes what is wrong at a span of a line.
    pub(crate) fn add(
        &mut self,
        level: Level,
        line: &Line,
        span: Range<usize>,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.found.push(Problem {
            level,
            position: line.position(span.start),
            // Messages quote words.
            message: secrets::without_credentials(message.into()),
            remedy: remedy.into(),
            excerpt: excerpt(line, span),
        });
    }

    /// How many there are of at least that level.
    pub(crate) fn count(&self, level: Level) -> usize {
        self.found.iter().filter(|problem| problem.level >= level).count()
    }

    /// All of them in the order of the files and their lines.
    pub(crate) fn into_sorted(self) -> Vec<Problem> {
        let Problems { mut found, files } = self;
        found.sort_by_key(|problem| {
            let place = &problem.position;
            let file = files.iter().position(|file| *file == place.file);
            (file, place.line, place.column)
        });
        found.dedup();
        found
    }
}

/// The line with a marker below, secrets replaced.
fn excerpt(line: &Line, span: Range<usize>) -> String {
    let (shown, span) = secrets::covered(&line.text, span);
    let before = shown.get(..span.start).unwrap_or(&shown).chars().count();
    let marked = shown.get(span).unwrap_or_default().chars().count();
    let shown: String = shown
        .chars()
        .map(|character| if character.is_control() { ' ' } else { character })
        .collect();
    let number = line.number.to_string();
    let margin = " ".repeat(number.len());
    let indent = " ".repeat(before);
    let marker = "^".repeat(marked.max(1));
    format!(" {number} | {}\n {margin} | {indent}{marker}", shown.trim_end())
}
