//! Lines of files, and the problems found in them.

use std::collections::{BTreeMap, BTreeSet};
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

/// So many problems are told.
const MAX_PROBLEMS: usize = 1000;
/// So many characters of a line are shown before and after what is wrong.
const SHOWN_AROUND: usize = 100;

/// The problems found so far.
#[derive(Debug, Default)]
pub(crate) struct Problems {
    found: Vec<Problem>,
    errors: usize,
    /// Levels of which some are not told.
    cut: BTreeSet<Level>,
    /// In the order in which they were first read.
    files: BTreeMap<Arc<str>, usize>,
}

impl Problems {
    /// Remembers the order of files.
    pub(crate) fn enter(&mut self, file: &Arc<str>) {
        let next = self.files.len();
        self.files.entry(Arc::clone(file)).or_insert(next);
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
        self.errors += usize::from(level == Level::Error);
        let (mut message, mut remedy) = (message.into(), remedy.into());
        if self.found.len() >= MAX_PROBLEMS {
            // Who is accepted must not depend on what is left out.
            if !self.cut.insert(level) {
                return;
            }
            message += ", and there are more than are told";
            remedy.clear();
        }
        self.found.push(Problem {
            level,
            position: line.position(span.start),
            // Messages quote words.
            message: secrets::without_credentials(message),
            remedy,
            excerpt: excerpt(line, span),
        });
    }

    /// Whether no more errors are told: no need to look for good advice.
    pub(crate) fn is_full(&self) -> bool {
        self.cut.contains(&Level::Error)
    }

    /// How many errors there are.
    pub(crate) fn errors(&self) -> usize {
        self.errors
    }

    /// All of them in the order of the files and their lines.
    pub(crate) fn into_sorted(self) -> Vec<Problem> {
        let Problems { mut found, files, .. } = self;
        found.sort_by_key(|problem| {
            let place = &problem.position;
            (files.get(&place.file).copied(), place.line, place.column)
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
    let left_out = before.saturating_sub(SHOWN_AROUND);
    let marked = marked.clamp(1, SHOWN_AROUND);
    let shown: String = shown
        .chars()
        .skip(left_out)
        .take(before - left_out + marked + SHOWN_AROUND)
        .map(|character| if character.is_control() { ' ' } else { character })
        .collect();
    let number = line.number.to_string();
    let margin = " ".repeat(number.len());
    let indent = " ".repeat(before - left_out);
    let marker = "^".repeat(marked);
    format!(" {number} | {}\n {margin} | {indent}{marker}", shown.trim_end())
}
