//! The text of a Containerfile: byte spans, and the lines and columns people count in.

/// A range of bytes in the source text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Span {
    /// The first byte.
    pub start: usize,
    /// The byte after the last one.
    pub end: usize,
}

/// A place as people count: both numbers begin at 1, the column counts characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The character in the line.
    pub column: usize,
}

/// A Containerfile's name and text. The text is valid UTF-8 without a byte order mark.
#[derive(Debug, Clone)]
pub struct Source {
    name: String,
    text: String,
    line_starts: Vec<usize>,
}

impl Source {
    /// The text of `bytes`; bytes that are no UTF-8 become `?` one for one, and the spans of their runs are returned.
    pub(super) fn new(name: &str, bytes: &[u8]) -> (Source, Vec<Span>) {
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let (text, invalid) = text_of(bytes);
        let line_starts = std::iter::once(0)
            .chain(text.match_indices('\n').map(|(at, _)| at + 1))
            .collect();
        let source = Source {
            name: name.to_owned(),
            text,
            line_starts,
        };
        (source, invalid)
    }

    /// The name the file was given under.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many lines there are; text after the last newline counts as one.
    pub(crate) fn line_count(&self) -> usize {
        match self.line_starts.last() {
            Some(start) if *start == self.text.len() => self.line_starts.len() - 1,
            _ => self.line_starts.len(),
        }
    }

    /// The span of a line (counted from 0) without its line end.
    pub(crate) fn line_span(&self, index: usize) -> Span {
        let length = self.text.len();
        let start = self.line_starts.get(index).copied().unwrap_or(length);
        let next = self.line_starts.get(index + 1).copied().unwrap_or(length);
        let line = self.slice(Span { start, end: next });
        let line = line.strip_suffix('\n').unwrap_or(line);
        let line = line.strip_suffix('\r').unwrap_or(line);
        Span {
            start,
            end: start + line.len(),
        }
    }

    /// The byte after a line (counted from 0) and its line end.
    pub(super) fn line_end(&self, index: usize) -> usize {
        self.line_starts
            .get(index + 1)
            .copied()
            .unwrap_or(self.text.len())
    }

    /// The text of a span; empty for a span outside the text.
    pub fn slice(&self, span: Span) -> &str {
        self.text.get(span.start..span.end).unwrap_or_default()
    }

    /// Line and column of a byte.
    pub fn position(&self, offset: usize) -> Position {
        let index = self.line_starts.partition_point(|start| *start <= offset).max(1) - 1;
        let start = self.line_starts.get(index).copied().unwrap_or(0);
        let before = self.slice(Span {
            start,
            end: offset.min(self.text.len()),
        });
        Position {
            line: index + 1,
            column: before.chars().count() + 1,
        }
    }

    /// The line of `span` with a marker under it and `note` beside the marker:
    ///
    /// ```text
    ///  3 | RUNN apt-get update
    ///    | ^^^^ did you mean `RUN`?
    /// ```
    pub fn excerpt(&self, span: Span, note: &str) -> String {
        let Position { line, column } = self.position(span.start);
        let line_span = self.line_span(line - 1);
        let shown = self.slice(line_span).replace('\t', " ");
        let marked = self.slice(Span {
            start: span.start,
            end: span.end.min(line_span.end).max(span.start),
        });
        let number = line.to_string();
        let margin = " ".repeat(number.len());
        let indent = " ".repeat(column - 1);
        let marker = "^".repeat(marked.chars().count().max(1));
        let excerpt = format!(" {number} | {shown}\n {margin} | {indent}{marker} {note}");
        excerpt.trim_end().to_owned()
    }
}

fn text_of(bytes: &[u8]) -> (String, Vec<Span>) {
    let mut text = String::with_capacity(bytes.len());
    let mut invalid: Vec<Span> = Vec::new();
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        if !chunk.invalid().is_empty() {
            let start = text.len();
            text.extend(chunk.invalid().iter().map(|_| '?'));
            let end = text.len();
            match invalid.last_mut().filter(|last| last.end == start) {
                Some(last) => last.end = end,
                None => invalid.push(Span { start, end }),
            }
        }
    }
    (text, invalid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters_and_line_ends_are_no_part_of_a_line() {
        let (source, invalid) = Source::new("f", "\u{feff}é a\r\nb".as_bytes());
        assert!(invalid.is_empty());
        assert_eq!(source.line_count(), 2);
        assert_eq!(source.slice(source.line_span(0)), "é a");
        assert_eq!(source.position(3), Position { line: 1, column: 3 });
        assert_eq!(source.position(6), Position { line: 2, column: 1 });
        assert_eq!(source.position(900), Position { line: 2, column: 2 });
    }

    #[test]
    fn bytes_that_are_no_utf8_keep_their_places() {
        let (source, invalid) = Source::new("f", b"a\xff\xfeb");
        assert_eq!(source.slice(source.line_span(0)), "a??b");
        assert_eq!(invalid, [Span { start: 1, end: 3 }]);
    }

    #[test]
    fn an_empty_file_has_no_lines() {
        assert_eq!(Source::new("f", b"").0.line_count(), 0);
    }
}
