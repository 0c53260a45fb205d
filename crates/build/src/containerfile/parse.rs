//! Instructions from logical lines.

use std::ops::Range;

use super::diagnostic::{Diagnostic, Severity, nearest};
use super::expand::{Quoting, expand};
use super::heredoc;
use super::instruction::{Arguments, Assignment, Heredoc, Instruction, Keyword, Source as CopySource, Text};
use super::lines::{Lines, Logical};
use super::source::{Source, Span};
use super::words;

/// The instructions of a Containerfile.
#[derive(Debug, Clone)]
pub struct Containerfile {
    /// Its text.
    pub source: Source,
    /// The escape character: `\`, or `` ` `` by a directive.
    pub escape: char,
    /// In the order of the file.
    pub instructions: Vec<Instruction>,
}

/// What [`parse`] found: instructions that could be read, and everything that is wrong.
#[derive(Debug, Clone)]
pub struct Parsed {
    /// The instructions.
    pub containerfile: Containerfile,
    /// The findings in the order of the file.
    pub diagnostics: Vec<Diagnostic>,
}

impl Parsed {
    /// Whether a finding prevents the build.
    pub fn has_errors(&self) -> bool {
        self.diagnostics
            .iter()
            .any(|finding| finding.severity == Severity::Error)
    }
}

/// Reads a Containerfile. `name` is only for messages.
pub fn parse(name: &str, bytes: &[u8]) -> Parsed {
    let (source, invalid) = Source::new(name, bytes);
    let mut diagnostics: Vec<Diagnostic> = invalid.into_iter().map(not_utf8).collect();
    let (escape, first_line) = directives(&source, &mut diagnostics);
    let mut parser = Parser {
        lines: Lines::new(&source, first_line, escape),
        diagnostics,
        untaken: None,
    };
    let instructions = parser.instructions();
    let mut diagnostics = parser.diagnostics;
    check_order(&source, &instructions, &mut diagnostics);
    diagnostics.sort_by_key(|finding| finding.span.start);
    Parsed {
        containerfile: Containerfile {
            source,
            escape,
            instructions,
        },
        diagnostics,
    }
}

/// Reads a single instruction, such as one that an image keeps for others, and what is wrong with it.
pub(crate) fn parse_instruction(text: &str, escape: char) -> (Option<Instruction>, Vec<Diagnostic>) {
    let (source, _) = Source::new("", text.as_bytes());
    let mut parser = Parser {
        lines: Lines::new(&source, 0, escape),
        diagnostics: Vec::new(),
        untaken: None,
    };
    let instruction = parser.instructions().into_iter().next();
    (instruction, parser.diagnostics)
}

fn not_utf8(span: Span) -> Diagnostic {
    Diagnostic::error(span, "this is no UTF-8 text").with_note("a Containerfile is UTF-8")
}

/// The escape character and the first line after the directives (`# name=value` lines at the top).
fn directives(source: &Source, diagnostics: &mut Vec<Diagnostic>) -> (char, usize) {
    let mut escape = None;
    let mut seen: Vec<String> = Vec::new();
    for index in 0..source.line_count() {
        let span = source.line_span(index);
        let Some((name, value)) = directive(source.slice(span)) else {
            return (escape.unwrap_or('\\'), index);
        };
        if seen.contains(&name) {
            let finding = Diagnostic::error(span, format!("directive `{name}` is given twice"));
            diagnostics.push(finding.with_note("expected it once; remove this line or the one above"));
        } else if name == "escape" {
            match value {
                "\\" | "`" => escape = value.chars().next(),
                _ => diagnostics.push(
                    Diagnostic::error(span, format!("`{value}` cannot be the escape character"))
                        .with_note("expected `\\` or a backtick"),
                ),
            }
        }
        seen.push(name);
    }
    (escape.unwrap_or('\\'), source.line_count())
}

fn directive(line: &str) -> Option<(String, &str)> {
    let (name, value) = line.trim().strip_prefix('#')?.split_once('=')?;
    let name = name.trim().to_ascii_lowercase();
    let value = value.trim();
    let known = matches!(name.as_str(), "escape" | "syntax" | "check");
    (known && !value.is_empty()).then_some((name, value))
}

/// A stage begins with FROM; only ARG may stand before the first.
fn check_order(source: &Source, instructions: &[Instruction], diagnostics: &mut Vec<Diagnostic>) {
    let first_from = instructions.iter().position(|one| one.keyword == Keyword::From);
    let before = &instructions[..first_from.unwrap_or(instructions.len())];
    let misplaced = before.iter().find(|one| one.keyword != Keyword::Arg);
    let has_errors = diagnostics
        .iter()
        .any(|finding| finding.severity == Severity::Error);
    if let Some(instruction) = misplaced {
        let message = format!("{} stands before the first FROM", instruction.keyword.name());
        let finding = Diagnostic::error(instruction.span, message);
        diagnostics.push(finding.with_note("expected FROM IMAGE above; only ARG may come before it"));
    } else if first_from.is_none() && !has_errors {
        let end = source.line_span(source.line_count().saturating_sub(1));
        let message = match instructions.is_empty() {
            true => "there are no instructions",
            false => "there is no FROM",
        };
        let finding = Diagnostic::error(end, message);
        diagnostics.push(finding.with_note("expected FROM IMAGE, or FROM scratch"));
    }
}

pub(super) struct Parser<'s> {
    pub(super) lines: Lines<'s>,
    pub(super) diagnostics: Vec<Diagnostic>,
    /// What looks like a heredoc on the line of the instruction before, which takes none.
    untaken: Option<Untaken>,
}

/// What looks like a heredoc.
struct Untaken {
    keyword: Keyword,
    opening: heredoc::Opening,
    span: Span,
}

/// An instruction's line after its name: `line.text[at..]` is still unread.
pub(super) struct Rest<'l> {
    pub(super) keyword: Keyword,
    pub(super) line: &'l Logical,
    pub(super) at: usize,
}

impl Rest<'_> {
    pub(super) fn text(&self) -> &str {
        self.line.text.get(self.at..).unwrap_or_default()
    }

    /// The words that are left, as ranges of the line.
    pub(super) fn words(&self, escape: char) -> Vec<Range<usize>> {
        words::split(self.text(), escape)
            .into_iter()
            .map(|word| word.start + self.at..word.end + self.at)
            .collect()
    }

    pub(super) fn range(&self) -> Range<usize> {
        self.at..self.line.text.len()
    }
}

impl Parser<'_> {
    fn instructions(&mut self) -> Vec<Instruction> {
        let mut instructions = Vec::new();
        while let Some(line) = self.lines.next_logical(&mut self.diagnostics) {
            instructions.extend(self.instruction(&line));
        }
        instructions
    }

    pub(super) fn error(&mut self, span: Span, message: impl Into<String>, note: impl Into<String>) {
        self.diagnostics
            .push(Diagnostic::error(span, message).with_note(note));
    }

    fn instruction(&mut self, line: &Logical) -> Option<Instruction> {
        let name_end = line.text.find(char::is_whitespace).unwrap_or(line.text.len());
        let name = &line.text[..name_end];
        let Some(keyword) = Keyword::parse(name) else {
            self.unknown_instruction(line, name);
            return None;
        };
        let mut rest = Rest {
            keyword,
            line,
            at: name_end,
        };
        self.untaken = None;
        let known = self.diagnostics.len();
        let flags = self.flags(&mut rest);
        skip_blanks(&mut rest);
        if rest.text().is_empty() && self.diagnostics.len() > known {
            return None;
        }
        if rest.text().is_empty() {
            let usage = format!("expected {}", keyword.grammar().usage);
            let message = format!("{} needs an argument", keyword.name());
            self.error(line.span(0..name_end), message, usage);
            return None;
        }
        let arguments = self.arguments(&rest)?;
        self.untaken = self.untaken_of(&rest);
        Some(Instruction {
            keyword,
            flags,
            arguments,
            text: line.text.clone(),
            span: line.whole(),
        })
    }

    fn unknown_instruction(&mut self, line: &Logical, name: &str) {
        if let Some(untaken) = self.untaken.take() {
            self.untaken_heredoc(untaken, name);
            return;
        }
        let begins = |known: &&str| {
            let start = name.get(..known.len());
            start.is_some_and(|start| start.eq_ignore_ascii_case(known))
        };
        let note = match nearest(name, Keyword::names()).map(str::to_owned) {
            Some(known) => format!("did you mean {known}?"),
            None => match Keyword::names().find(begins) {
                Some(known) => format!(
                    "did you mean {known} {}?",
                    name.get(known.len()..).unwrap_or_default()
                ),
                None => "expected an instruction such as FROM, RUN, COPY".to_owned(),
            },
        };
        let shown: String = name.chars().take(40).collect();
        self.error(
            line.span(0..name.len()),
            format!("unknown instruction `{shown}`"),
            note,
        );
        // What may be a heredoc's body is no list of further unknown instructions.
        for opening in heredoc::openings(&line.text, self.lines.escape) {
            self.lines.heredoc(&opening.name, opening.strips_tabs);
        }
    }

    /// The first of what looks like heredocs and is none.
    fn untaken_of(&self, rest: &Rest<'_>) -> Option<Untaken> {
        let takes = [Keyword::Run, Keyword::Copy, Keyword::Add, Keyword::Onbuild];
        if takes.contains(&rest.keyword) {
            return None;
        }
        let text = &rest.line.text;
        let starts = |at: usize| heredoc::openings(text.get(at..).unwrap_or_default(), self.lines.escape);
        // Behind `=` too: ENV a=<<NAME.
        let at = text.find("<<")?;
        let opening = starts(at).into_iter().next()?;
        Some(Untaken {
            keyword: rest.keyword,
            span: rest.line.span(opening.range.start + at..opening.range.end + at),
            opening,
        })
    }

    /// An unknown instruction after what looks like a heredoc: most likely its first line.
    fn untaken_heredoc(&mut self, untaken: Untaken, first: &str) {
        let Untaken {
            keyword,
            opening,
            span,
        } = untaken;
        let message = format!("{} takes no heredoc", keyword.name());
        self.error(span, message, "only RUN, COPY and ADD do");
        if first != opening.name {
            self.lines.heredoc(&opening.name, opening.strips_tabs);
        }
    }

    fn arguments(&mut self, rest: &Rest<'_>) -> Option<Arguments> {
        match rest.keyword {
            Keyword::From => self.from(rest),
            Keyword::Run => self.run(rest),
            Keyword::Copy | Keyword::Add => self.transfer(rest),
            Keyword::Cmd | Keyword::Entrypoint => Some(Arguments::Command(self.command(rest)?)),
            Keyword::Shell => self.shell(rest),
            Keyword::Env | Keyword::Label => self.pairs(rest),
            Keyword::Arg => self.declarations(rest),
            Keyword::Expose => self.words(rest),
            Keyword::Volume => match self.array(rest)? {
                Some(words) if words.is_empty() => {
                    let usage = format!("expected {}", rest.keyword.grammar().usage);
                    self.error(rest.line.span(rest.range()), "VOLUME has no directory", usage);
                    None
                }
                Some(words) => Some(Arguments::Words(self.json_words(rest, words)?)),
                None => self.words(rest),
            },
            Keyword::User | Keyword::Workdir | Keyword::StopSignal => {
                Some(Arguments::Text(self.expandable(rest.line, rest.range())?))
            }
            Keyword::Maintainer => Some(Arguments::Text(literal(rest.line, rest.range()))),
            Keyword::Healthcheck => self.healthcheck(rest),
            Keyword::Onbuild => self.onbuild(rest),
        }
    }

    fn from(&mut self, rest: &Rest<'_>) -> Option<Arguments> {
        let words = rest.words(self.lines.escape);
        let is_as = |word: &Range<usize>| rest.line.text[word.clone()].eq_ignore_ascii_case("as");
        let (image, name) = match words.as_slice() {
            [image] => (image, None),
            [image, separator, name] if is_as(separator) => (image, Some(name)),
            [_, extra, ..] => {
                let usage = format!("expected {}", rest.keyword.grammar().usage);
                self.error(
                    rest.line.span(extra.start..rest.line.text.len()),
                    "unexpected words after the image",
                    usage,
                );
                return None;
            }
            [] => return None,
        };
        Some(Arguments::From {
            image: self.expandable(rest.line, image.clone())?,
            name: name.map(|name| literal(rest.line, name.clone())),
        })
    }

    fn transfer(&mut self, rest: &Rest<'_>) -> Option<Arguments> {
        if let Some(words) = self.array(rest)? {
            let mut words = self.json_words(rest, words)?;
            let destination = words.pop();
            let sources: Vec<_> = words.into_iter().map(CopySource::Path).collect();
            return self.transfer_of(rest, sources, destination);
        }
        self.require_closed_names(rest)?;
        let mut openings = heredoc::openings(rest.text(), self.lines.escape);
        let mut sources = Vec::new();
        let mut after = rest.at;
        for word in rest.words(self.lines.escape) {
            if word.start < after {
                continue;
            }
            let opened = openings.iter().position(|one| {
                one.range.start + rest.at == word.start && one.range.end + rest.at >= word.end
            });
            let heredoc = match opened.map(|index| openings.remove(index)) {
                Some(opening) => {
                    after = opening.range.end + rest.at;
                    self.body(rest.line, rest.at, opening)?
                }
                None => None,
            };
            sources.push(match heredoc {
                Some(heredoc) => {
                    self.check_body(&heredoc);
                    CopySource::Heredoc(heredoc)
                }
                None => CopySource::Path(self.expandable(rest.line, word)?),
            });
        }
        let destination = match sources.pop() {
            Some(CopySource::Path(destination)) => Some(destination),
            Some(CopySource::Heredoc(heredoc)) => {
                let name = rest.keyword.name();
                let message = format!("{name} ends with a heredoc, where its destination should be");
                self.error(
                    heredoc.span,
                    message,
                    format!("expected {name} <<{} DESTINATION", heredoc.name),
                );
                return None;
            }
            None => None,
        };
        self.transfer_of(rest, sources, destination)
    }

    fn transfer_of(
        &mut self,
        rest: &Rest<'_>,
        sources: Vec<CopySource>,
        destination: Option<Text>,
    ) -> Option<Arguments> {
        match destination {
            Some(destination) if !sources.is_empty() => Some(Arguments::Transfer { sources, destination }),
            _ => {
                let name = rest.keyword.name();
                let usage = format!("expected {}", rest.keyword.grammar().usage);
                self.error(
                    rest.line.span(rest.range()),
                    format!("{name} needs a source and a destination"),
                    usage,
                );
                None
            }
        }
    }

    fn check_body(&mut self, heredoc: &Heredoc) {
        if !heredoc.expands {
            return;
        }
        let checked = expand(&heredoc.body, self.lines.escape, Quoting::Kept, &|_| None);
        if let Err(error) = checked
            && !error.depends_on_values
        {
            let message = format!("in the body of heredoc `{}`: {}", heredoc.name, error.message);
            let note = format!("quote the name to keep the body as it is: <<'{}'", heredoc.name);
            self.error(heredoc.span, message, note);
        }
    }

    /// `NAME=VALUE...` or `NAME REST OF LINE`.
    fn pairs(&mut self, rest: &Rest<'_>) -> Option<Arguments> {
        let escape = self.lines.escape;
        let words = rest.words(escape);
        let first = words.first()?.clone();
        if words::equals_sign(&rest.line.text[first.clone()], escape).is_none() {
            let value = first.end + blanks(&rest.line.text[first.end..])..rest.line.text.len();
            if value.is_empty() {
                let name = &rest.line.text[first.clone()];
                let keyword = rest.keyword.name();
                let message = format!("{keyword} `{name}` has no value");
                self.error(
                    rest.line.span(first),
                    message,
                    format!("expected {keyword} {name}=VALUE"),
                );
                return None;
            }
            return Some(Arguments::Assignments(vec![Assignment {
                name: self.expandable(rest.line, first)?,
                value: Some(self.expandable(rest.line, value)?),
            }]));
        }
        let assignments = words.into_iter().map(|word| self.assignment(rest, word, true));
        let assignments: Vec<_> = assignments.collect();
        assignments
            .into_iter()
            .collect::<Option<_>>()
            .map(Arguments::Assignments)
    }

    fn declarations(&mut self, rest: &Rest<'_>) -> Option<Arguments> {
        let words = rest.words(self.lines.escape);
        let assignments: Vec<_> = words
            .into_iter()
            .map(|word| self.assignment(rest, word, false))
            .collect();
        assignments
            .into_iter()
            .collect::<Option<_>>()
            .map(Arguments::Assignments)
    }

    fn assignment(&mut self, rest: &Rest<'_>, word: Range<usize>, needs_value: bool) -> Option<Assignment> {
        let text = &rest.line.text[word.clone()];
        let equals = words::equals_sign(text, self.lines.escape).map(|at| word.start + at);
        if equals == Some(word.start) {
            self.error(
                rest.line.span(word),
                "there is no name before `=`",
                "expected NAME=VALUE",
            );
            return None;
        }
        if equals.is_none() && needs_value {
            let note = "expected NAME=VALUE; quote a value that contains blanks";
            self.error(rest.line.span(word), format!("`{text}` has no `=`"), note);
            return None;
        }
        let name = word.start..equals.unwrap_or(word.end);
        let value = match equals {
            Some(at) => Some(self.expandable(rest.line, at + 1..word.end)?),
            None => None,
        };
        Some(Assignment {
            name: self.expandable(rest.line, name)?,
            value,
        })
    }

    fn words(&mut self, rest: &Rest<'_>) -> Option<Arguments> {
        let words = rest.words(self.lines.escape);
        let words: Vec<_> = words
            .into_iter()
            .map(|word| self.expandable(rest.line, word))
            .collect();
        words.into_iter().collect::<Option<_>>().map(Arguments::Words)
    }

    fn json_words(&mut self, rest: &Rest<'_>, words: Vec<String>) -> Option<Vec<Text>> {
        let span = rest.line.span(rest.range());
        let texts = words.into_iter().map(|raw| Text { raw, span });
        let texts: Vec<_> = texts.map(|text| self.checked(text, |_| span)).collect();
        texts.into_iter().collect()
    }

    fn onbuild(&mut self, rest: &Rest<'_>) -> Option<Arguments> {
        let inner = rest.line.tail(rest.at);
        let word = inner.text.split_whitespace().next().unwrap_or_default();
        let forbidden = [Keyword::Onbuild, Keyword::From, Keyword::Maintainer];
        if let Some(keyword) = Keyword::parse(word).filter(|keyword| forbidden.contains(keyword)) {
            let message = format!("ONBUILD cannot trigger {}", keyword.name());
            let note = "expected any instruction but FROM, ONBUILD and MAINTAINER";
            self.error(inner.span(0..word.len()), message, note);
            return None;
        }
        Some(Arguments::Onbuild(Box::new(self.instruction(&inner)?)))
    }

    /// A piece of the line in which variables will be replaced; `None`, with a finding, if that cannot work.
    pub(super) fn expandable(&mut self, line: &Logical, range: Range<usize>) -> Option<Text> {
        let text = literal(line, range.clone());
        self.checked(text, |at| line.span(range.start + at..range.end))
    }

    fn checked(&mut self, text: Text, place: impl Fn(usize) -> Span) -> Option<Text> {
        match expand(&text.raw, self.lines.escape, Quoting::Removed, &|_| None) {
            Err(error) if !error.depends_on_values => {
                self.error(place(error.at), error.message, error.note);
                None
            }
            _ => Some(text),
        }
    }
}

fn literal(line: &Logical, range: Range<usize>) -> Text {
    Text {
        raw: line.text.get(range.clone()).unwrap_or_default().to_owned(),
        span: line.span(range),
    }
}

fn blanks(text: &str) -> usize {
    text.len() - text.trim_start().len()
}

pub(super) fn skip_blanks(rest: &mut Rest<'_>) {
    rest.at += blanks(rest.text());
}
