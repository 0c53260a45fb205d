//! A file and what it includes, line by line: commands, and sections with their bodies.

use std::ops::Range;
use std::sync::Arc;

use crate::arguments::{self, Arguments};
use crate::commands::section;
use crate::line::{self, Line};
use crate::problem::Level;
use crate::reading::Reading;
use crate::table::{self, CommandSpec, Standing};
use crate::words::{self, Word};
use crate::{Included, Includes};

/// So deep do files include each other.
const MAX_DEPTH: usize = 32;
/// So many files are included in all.
const MAX_INCLUDES: usize = 1000;
/// So long are they together.
const MAX_INCLUDED_BYTES: usize = 64 << 20;
/// So long is a line outside of sections.
const MAX_LINE_BYTES: usize = 64 << 10;

/// What an included file that cannot be read is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    /// An error.
    Refused,
    /// A warning if something may still make it.
    Tolerated,
    /// Nothing to talk about.
    Silent,
}

/// A file being read.
pub(crate) struct Document<'i> {
    pub(crate) reading: Reading,
    includes: &'i mut dyn Includes,
    missing: Missing,
    /// Whether only sections are of interest.
    sections_only: bool,
    /// The files that are open, the outermost first.
    open: Vec<Arc<str>>,
    included: usize,
    included_bytes: usize,
    section: Option<OpenSection>,
}

/// A section whose end was not read yet.
struct OpenSection {
    /// `None` for one that there is not: its body is no commands all the same.
    spec: Option<&'static CommandSpec>,
    line: Line,
    /// Of the first line; none if it cannot be split.
    words: Vec<Word>,
    body: String,
}

impl<'i> Document<'i> {
    pub(crate) fn new(
        reading: Reading,
        includes: &'i mut dyn Includes,
        missing: Missing,
        sections_only: bool,
    ) -> Self {
        Document {
            reading,
            includes,
            missing,
            sections_only,
            open: Vec::new(),
            included: 0,
            included_bytes: 0,
            section: None,
        }
    }

    /// Reads the outermost file.
    pub(crate) fn read(&mut self, name: &str, text: &str) {
        self.file(Arc::from(name), text);
        if !self.sections_only {
            self.reading.finish();
        }
    }

    fn file(&mut self, name: Arc<str>, text: &str) {
        self.reading.problems.enter(&name);
        let (text, has_mark) = match text.strip_prefix('\u{feff}') {
            Some(text) => (text, true),
            None => (text, false),
        };
        if has_mark {
            let line = Line {
                file: Arc::clone(&name),
                number: 1,
                text: line::lines(text).next().unwrap_or_default().to_owned(),
            };
            self.reading.problems.add(
                Level::Warning,
                &line,
                0..0,
                "the file begins with a byte order mark",
                "save it as UTF-8 without one",
            );
        }
        self.open.push(Arc::clone(&name));
        let outer = self.section.as_ref().map(|section| section.line.clone());
        for (index, text) in line::lines(text).enumerate() {
            let line = Line {
                file: Arc::clone(&name),
                number: index + 1,
                text: text.to_owned(),
            };
            match self.section.is_some() {
                true => self.body_line(&line),
                false => self.command_line(&line),
            }
        }
        // A section ends in the file that it begins in.
        let is_left_open = |section: &mut OpenSection| {
            outer
                .as_ref()
                .is_none_or(|outer| outer.position(0) != section.line.position(0))
        };
        if let Some(section) = self.section.take_if(|section| is_left_open(section)) {
            self.unfinished(section);
        }
        self.open.pop();
    }

    fn command_line(&mut self, line: &Line) {
        let text = line.text.trim();
        if text.is_empty() || text.starts_with('#') {
            return;
        }
        let is_word = |word: &str| text.split_whitespace().next() == Some(word);
        if self.sections_only && !text.starts_with(['%', '"', '\'', '\\']) {
            return;
        }
        if text.len() > MAX_LINE_BYTES {
            let message = format!("the line is longer than {MAX_LINE_BYTES} bytes");
            let line = Line {
                text: String::new(),
                ..line.clone()
            };
            return self.reading.problems.add(Level::Error, &line, 0..0, message, "");
        }
        let words = self.reading.words(line);
        let Some(first) = words.first() else {
            // What cannot be split may still begin a section, whose body is then no commands.
            if let Some(spec) = table::sections().find(|spec| is_word(spec.name())) {
                self.begin(Some(spec), line, words);
            }
            return;
        };
        let first_span = first.span.clone();
        match first.text.as_str() {
            "%include" | "%ksappend" => self.include(line, words),
            name if name.starts_with('%') => match table::section(name) {
                Some(spec) => self.begin(Some(spec), line, words),
                None => {
                    self.unknown_section(line, name, first_span);
                    if name != "%end" {
                        self.begin(None, line, words);
                    }
                }
            },
            _ if self.sections_only => {}
            _ => self.reading.command(line, words),
        }
    }

    fn unknown_section(&mut self, line: &Line, name: &str, span: Range<usize>) {
        let known: Vec<_> = table::sections().map(CommandSpec::name).collect();
        let (message, remedy) = match (name, arguments::nearest(name, &known)) {
            ("%end", _) => (
                "there is no section that %end could end".to_owned(),
                "take it out".to_owned(),
            ),
            (_, Some(near)) => (
                format!("unknown section '{name}'"),
                format!("did you mean '{near}'?"),
            ),
            (_, None) => (
                format!("unknown section '{name}'"),
                format!("known are {}", known.join(", ")),
            ),
        };
        self.reading
            .problems
            .add(Level::Error, line, span, message, remedy);
    }

    fn begin(&mut self, spec: Option<&'static CommandSpec>, line: &Line, words: Vec<Word>) {
        self.section = Some(OpenSection {
            spec,
            line: line.clone(),
            words,
            body: String::new(),
        });
    }

    fn body_line(&mut self, line: &Line) {
        let first = line.text.split_whitespace().next().unwrap_or_default();
        match first {
            "%end" => {
                if let Some(section) = self.section.take() {
                    self.finished(section);
                }
            }
            "%include" | "%ksappend" => {
                let words = words::split(&line.text).words;
                self.include(line, words);
            }
            name => match table::section(name) {
                Some(spec) => {
                    if let Some(section) = self.section.take() {
                        self.unfinished(section);
                    }
                    let words = self.reading.words(line);
                    self.begin(Some(spec), line, words);
                }
                None => {
                    if let Some(section) = &mut self.section {
                        section.body.push_str(&line.text);
                        section.body.push('\n');
                    }
                }
            },
        }
    }

    fn unfinished(&mut self, section: OpenSection) {
        let Some(spec) = section.spec else { return };
        let span = section.line.whole();
        let message = format!("{} does not end with %end", spec.name());
        let remedy = "write %end on a line of its own after it, in the same file";
        self.reading
            .problems
            .add(Level::Error, &section.line, span, message, remedy);
    }

    fn finished(&mut self, section: OpenSection) {
        let OpenSection {
            spec: Some(spec),
            line,
            words,
            body,
        } = section
        else {
            return;
        };
        let Reading {
            problems, dialect, ..
        } = &mut self.reading;
        let arguments = match spec.free_in.contains(dialect) {
            true => Arguments::free(&line, words),
            false => arguments::parse(&line, spec, words, *dialect, problems),
        };
        let Some(arguments) = arguments else { return };
        if let Standing::Ignored(why) = spec.standing {
            let message = format!("{} is ignored: {why}", spec.name());
            self.reading.warning(&arguments, "", message, "");
        }
        section::read(&arguments, &body, &mut self.reading);
    }

    fn include(&mut self, line: &Line, words: Vec<Word>) {
        let mut words = words.into_iter();
        let command = words
            .next()
            .map_or_else(|| "%include".to_owned(), |word| word.text);
        let Some(path) = words.next().filter(|word| !word.text.is_empty()) else {
            let message = format!("{command} needs a path or a URL");
            let remedy = format!("write {command} PATH");
            return self
                .reading
                .problems
                .add(Level::Error, line, line.whole(), message, remedy);
        };
        if let Some(surplus) = words.next() {
            let message = format!("{command} takes one path; what follows is ignored");
            self.reading.problems.add(
                Level::Warning,
                line,
                surplus.span,
                message,
                "quote a path with blanks",
            );
        }
        self.included += 1;
        let is_too_much = self.open.len() > MAX_DEPTH
            || self.included > MAX_INCLUDES
            || self.included_bytes > MAX_INCLUDED_BYTES;
        if is_too_much {
            let message = format!(
                "more is included than makes sense: at most {MAX_DEPTH} files deep, {MAX_INCLUDES} files and \
                 {MAX_INCLUDED_BYTES} bytes in all"
            );
            return self
                .reading
                .problems
                .add(Level::Error, line, path.span, message, "");
        }
        match self.includes.read(&path.text, &line.file) {
            Err(reason) => self.missing(line, &path, &reason),
            Ok(Included { name, .. }) if self.open.iter().any(|open| **open == name) => {
                let message = format!("'{}' includes itself", path.text);
                let files: Vec<_> = self.open.iter().map(|open| open.as_ref()).collect();
                let remedy = format!("it is read already, through {}", files.join(", "));
                self.reading
                    .problems
                    .add(Level::Error, line, path.span, message, remedy);
            }
            Ok(Included { name, text }) => {
                self.included_bytes = self.included_bytes.saturating_add(text.len());
                self.file(Arc::from(name), &text);
            }
        }
    }

    fn missing(&mut self, line: &Line, path: &Word, reason: &str) {
        let may_come = path.text.starts_with('/') || path.text.contains("://");
        let (level, remedy) = match self.missing {
            Missing::Silent => return,
            Missing::Tolerated if may_come => (
                Level::Warning,
                "it is read when a machine is installed; %pre may write it before",
            ),
            Missing::Tolerated | Missing::Refused => (Level::Error, "check the path"),
        };
        let message = format!("cannot include '{}': {reason}", path.text);
        self.reading
            .problems
            .add(level, line, path.span.clone(), message, remedy);
    }
}
