//! What is wrong with a Containerfile, where, and what was expected there.

use super::source::{Position, Source, Span};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The file works, though perhaps not as meant.
    Warning,
    /// The file cannot be built.
    Error,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// Where.
    pub span: Span,
    /// What is wrong, without a final full stop.
    pub message: String,
    /// What was expected, or what to write instead; may be empty.
    pub note: String,
}

impl Diagnostic {
    /// A finding that prevents the build.
    pub fn error(span: Span, message: impl Into<String>) -> Self {
        Diagnostic {
            severity: Severity::Error,
            span,
            message: message.into(),
            note: String::new(),
        }
    }

    /// A finding that does not.
    pub fn warning(span: Span, message: impl Into<String>) -> Self {
        Diagnostic {
            severity: Severity::Warning,
            ..Diagnostic::error(span, message)
        }
    }

    /// The same finding with what was expected.
    pub fn with_note(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }

    /// `FILE:LINE:COLUMN: MESSAGE`.
    pub fn headline(&self, source: &Source) -> String {
        let Position { line, column } = source.position(self.span.start);
        format!("{}:{line}:{column}: {}", source.name(), self.message)
    }

    /// The line it is about, with a marker and the note.
    pub fn excerpt(&self, source: &Source) -> String {
        source.excerpt(self.span, &self.note)
    }
}

/// The name in `known` that `word` was most likely meant to be: at most a third of its letters differ.
pub(crate) fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let word: Vec<char> = word.chars().flat_map(char::to_lowercase).take(32).collect();
    known
        .into_iter()
        .map(|name| {
            let letters: Vec<char> = name.chars().flat_map(char::to_lowercase).collect();
            (edit_distance(&word, &letters), name)
        })
        .filter(|(distance, name)| *distance <= (name.len() / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// Insertions, deletions, replacements and swaps of neighbours that turn `a` into `b`.
fn edit_distance(a: &[char], b: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let replaced = last[j] + usize::from(x != y);
            let mut best = replaced.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && a[i - 1] == *y && *x == b[j - 1] {
                best = best.min(before[j - 1] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_found_and_far_ones_are_not() {
        let known = ["RUN", "FROM", "ENTRYPOINT", "COPY"];
        for (word, expected) in [
            ("RUNN", Some("RUN")),
            ("form", Some("FROM")),
            ("ENTRYPIONT", Some("ENTRYPOINT")),
            ("xyzzy", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, known), expected, "{word}");
        }
    }
}
