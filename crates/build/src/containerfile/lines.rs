//! From source lines to logical lines: continuations joined, comments dropped, places kept.
//!
//! A line whose last character besides blanks is the escape character goes on with the next line; an escape
//! character that is itself escaped does not count. Comments and blank lines inside a continuation are dropped.

use std::ops::Range;

use super::diagnostic::Diagnostic;
use super::source::{Source, Span};

/// An instruction's line after joining. Offsets into `text` can be turned into places of the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Logical {
    /// The joined text without blanks at both ends.
    pub(super) text: String,
    /// Where pieces of `text` come from: (offset in `text`, offset in the source), both ascending.
    pieces: Vec<(usize, usize)>,
}

impl Logical {
    /// The place in the source of a range of `text`.
    pub(super) fn span(&self, range: Range<usize>) -> Span {
        let start = self.source_offset(range.start);
        let end = match range.is_empty() {
            true => start,
            false => self.source_offset(range.end - 1) + 1,
        };
        Span { start, end }
    }

    /// The place of the whole line.
    pub(super) fn whole(&self) -> Span {
        self.span(0..self.text.len())
    }

    fn source_offset(&self, offset: usize) -> usize {
        let after = self.pieces.partition_point(|(at, _)| *at <= offset);
        match after.checked_sub(1).and_then(|index| self.pieces.get(index)) {
            Some((at, source)) => source + (offset - at),
            None => 0,
        }
    }

    /// The part of this line from `offset` on, places kept.
    pub(super) fn tail(&self, offset: usize) -> Logical {
        let text = self.text.get(offset..).unwrap_or_default().to_owned();
        let mut pieces = vec![(0, self.source_offset(offset))];
        pieces.extend(
            self.pieces
                .iter()
                .filter(|(at, _)| *at > offset)
                .map(|(at, source)| (at - offset, *source)),
        );
        Logical { text, pieces }
    }
}

/// The body of a heredoc.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Body {
    /// The lines between, each with its line end.
    pub(super) text: String,
    /// The same with tabs that were to be removed.
    pub(super) written: String,
    /// The line that ended it, as written.
    pub(super) terminator: String,
}

/// Reads logical lines and heredoc bodies one after another.
pub(super) struct Lines<'s> {
    source: &'s Source,
    /// The next source line, counted from 0.
    next: usize,
    /// The escape character.
    pub(super) escape: char,
}

impl<'s> Lines<'s> {
    pub(super) fn new(source: &'s Source, first: usize, escape: char) -> Self {
        Lines {
            source,
            next: first,
            escape,
        }
    }

    /// The next instruction's line; blank lines and comments before it are skipped.
    pub(super) fn next_logical(&mut self, diagnostics: &mut Vec<Diagnostic>) -> Option<Logical> {
        let mut text = String::new();
        let mut pieces = Vec::new();
        let mut continues = false;
        while self.next < self.source.line_count() {
            let span = self.source.line_span(self.next);
            let line = self.source.slice(span);
            let content = line.trim_start();
            self.next += 1;
            if content.is_empty() && continues {
                diagnostics.push(blank_continuation(span));
            }
            if content.is_empty() || content.starts_with('#') {
                continue;
            }
            let content = if continues { line } else { content };
            pieces.push((text.len(), span.end - content.len()));
            let joined = self.without_continuation(content);
            text.push_str(joined.unwrap_or(content));
            continues = joined.is_some();
            if !continues {
                break;
            }
        }
        text.truncate(text.trim_end().len());
        (!pieces.is_empty()).then_some(Logical { text, pieces })
    }

    /// The line without its continuation mark, or `None` if it does not go on.
    fn without_continuation<'l>(&self, line: &'l str) -> Option<&'l str> {
        let content = line.trim_end_matches([' ', '\t']).strip_suffix(self.escape)?;
        (!content.ends_with(self.escape)).then_some(content)
    }

    /// Leaves the rest of the file unread.
    pub(super) fn skip_all(&mut self) {
        self.next = self.source.line_count();
    }

    /// The body of a heredoc that ends at `name`; `None`, with nothing consumed, if no line does.
    pub(super) fn heredoc(&mut self, name: &str, strip_tabs: bool) -> Option<Body> {
        let count = self.source.line_count();
        let is_end = |index: &usize| {
            let line = self.source.slice(self.source.line_span(*index));
            let line = if strip_tabs {
                line.trim_start_matches('\t')
            } else {
                line
            };
            line == name
        };
        let end = (self.next..count).find(is_end)?;
        let mut text = String::new();
        let mut written = String::new();
        for index in self.next..end {
            let start = self.source.line_span(index).start;
            let line = self.source.slice(Span {
                start,
                end: self.source.line_end(index),
            });
            written.push_str(line);
            text.push_str(if strip_tabs {
                line.trim_start_matches('\t')
            } else {
                line
            });
        }
        self.next = end + 1;
        let terminator = self.source.slice(self.source.line_span(end)).to_owned();
        Some(Body {
            text,
            written,
            terminator,
        })
    }
}

fn blank_continuation(span: Span) -> Diagnostic {
    Diagnostic::warning(span, "an empty line inside a continued instruction")
        .with_note("the instruction goes on below; remove this line or the escape character above it")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logical(text: &str) -> (Vec<Logical>, Vec<Diagnostic>) {
        let (source, _) = Source::new("f", text.as_bytes());
        let mut lines = Lines::new(&source, 0, '\\');
        let mut diagnostics = Vec::new();
        let mut found = Vec::new();
        while let Some(line) = lines.next_logical(&mut diagnostics) {
            found.push(line);
        }
        (found, diagnostics)
    }

    #[test]
    fn continuations_are_joined_and_comments_inside_dropped() {
        let (lines, diagnostics) = logical("  RUN a \\  \n# no\n  b\\\n\nc\nRUN d\\\\\nRUN e \\");
        let texts: Vec<_> = lines.iter().map(|line| line.text.as_str()).collect();
        assert_eq!(texts, ["RUN a   bc", "RUN d\\\\", "RUN e"]);
        assert_eq!(diagnostics.len(), 1);
    }

    #[test]
    fn a_line_may_be_long() {
        let text = format!("LABEL a={}\\\n{}", "b".repeat(1 << 20), "c".repeat(1 << 20));
        let (lines, _) = logical(&text);
        assert_eq!(lines[0].text.len(), "LABEL a=".len() + (2 << 20));
    }

    #[test]
    fn places_survive_joining_and_cutting() {
        let text = "RUN a \\\n b";
        let (lines, _) = logical(text);
        let at = lines[0].text.find('b').unwrap();
        assert_eq!(lines[0].span(at..at + 1), Span { start: 9, end: 10 });
        let tail = lines[0].tail(4);
        assert_eq!(tail.text, "a  b");
        assert_eq!(tail.span(3..4), Span { start: 9, end: 10 });
        assert_eq!(tail.span(0..1), Span { start: 4, end: 5 });
    }

    #[test]
    fn heredoc_bodies_keep_their_bytes_and_tabs_are_stripped_on_request() {
        let (source, _) = Source::new("f", b"\ta\r\n\tE\nE\nrest");
        let mut lines = Lines::new(&source, 0, '\\');
        assert_eq!(lines.heredoc("X", false), None);
        let body = lines.heredoc("E", true).unwrap();
        assert_eq!((body.text.as_str(), body.terminator.as_str()), ("a\r\n", "\tE"));
        let mut lines = Lines::new(&source, 0, '\\');
        assert_eq!(lines.heredoc("E", false).unwrap().text, "\ta\r\n\tE\n");
    }
}
