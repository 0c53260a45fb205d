//! Commands in JSON or shell form: RUN, CMD, ENTRYPOINT, SHELL, HEALTHCHECK; and the bodies of heredocs.

use serde_json::Value;

use super::diagnostic::Diagnostic;
use super::heredoc::{self, Opening};
use super::instruction::{Arguments, Command, Heredoc};
use super::lines::Logical;
use super::parse::{Parser, Rest, skip_blanks};

impl Parser<'_> {
    pub(super) fn run(&mut self, rest: &Rest<'_>) -> Option<Arguments> {
        let command = self.command(rest)?;
        if matches!(command, Command::Exec(_)) {
            return Some(Arguments::Run {
                command,
                heredocs: Vec::new(),
                is_script: false,
            });
        }
        self.require_closed_names(rest)?;
        let openings = heredoc::openings(rest.text(), self.lines.escape);
        let is_script = matches!(openings.as_slice(), [only] if only.range == (0..rest.text().len()));
        let mut heredocs = Vec::new();
        for opening in openings {
            heredocs.extend(self.body(rest.line, rest.at, opening)?);
        }
        Some(Arguments::Run {
            command,
            is_script: is_script && !heredocs.is_empty(),
            heredocs,
        })
    }

    /// A quote in the name of a heredoc that is never closed is an error of its own: no shell takes it.
    pub(super) fn require_closed_names(&mut self, rest: &Rest<'_>) -> Option<()> {
        let Some((range, name)) = heredoc::broken(rest.text(), self.lines.escape) else {
            return Some(());
        };
        let span = rest.line.span(range.start + rest.at..range.end + rest.at);
        let message = format!("a quote in the name of heredoc `{name}` is never closed");
        self.error(span, message, format!("expected <<{name} or <<'{name}'"));
        // What is most likely its body is no list of unknown instructions.
        self.lines.heredoc(&name, false);
        None
    }

    /// The body of a heredoc; the outer `None` if it never ends, the inner if it is none after all.
    pub(super) fn body(&mut self, line: &Logical, base: usize, opening: Opening) -> Option<Option<Heredoc>> {
        let span = line.span(opening.range.start + base..opening.range.end + base);
        let Some(body) = self.lines.heredoc(&opening.name, opening.strips_tabs) else {
            if opening.is_detached {
                return Some(None);
            }
            let name = &opening.name;
            self.error(
                span,
                format!("heredoc `{name}` is never closed"),
                format!("expected a line below that is `{name}` and nothing else"),
            );
            self.lines.skip_all();
            return None;
        };
        Some(Some(Heredoc {
            name: opening.name,
            expands: opening.expands,
            body: body.text,
            written: body.written,
            terminator: body.terminator,
            span,
        }))
    }

    /// A command in JSON or shell form; `None`, with a finding, if it is an array of other things than strings.
    pub(super) fn command(&mut self, rest: &Rest<'_>) -> Option<Command> {
        let text = rest.text();
        if let Some(words) = self.array(rest)? {
            return Some(Command::Exec(words));
        }
        if text.starts_with("[\"") || text.starts_with("['") {
            let finding = Diagnostic::warning(
                rest.line.span(rest.range()),
                "this begins like a JSON array but is none: it is run by the shell",
            );
            let note = "expected [\"PROGRAM\", \"ARGUMENT\"] with double quotes";
            self.diagnostics.push(finding.with_note(note));
        }
        Some(Command::Shell(text.to_owned()))
    }

    /// The strings of a JSON array; the inner `None` if it is no array, the outer, with a finding, if something else than
    /// strings is in it.
    pub(super) fn array(&mut self, rest: &Rest<'_>) -> Option<Option<Vec<String>>> {
        if !rest.text().starts_with('[') {
            return Some(None);
        }
        let Ok(values) = serde_json::from_str::<Vec<Value>>(rest.text()) else {
            return Some(None);
        };
        let mut strings = Vec::new();
        for value in values {
            match value {
                Value::String(string) => strings.push(string),
                other => {
                    let note = match other {
                        Value::Array(_) | Value::Object(_) => {
                            "expected double quotes around each word".to_owned()
                        }
                        other => format!("expected \"{other}\""),
                    };
                    let message = "an array with something else than strings";
                    self.error(rest.line.span(rest.range()), message, note);
                    return None;
                }
            }
        }
        Some(Some(strings))
    }

    pub(super) fn shell(&mut self, rest: &Rest<'_>) -> Option<Arguments> {
        match self.array(rest)? {
            Some(words) if !words.is_empty() => Some(Arguments::Shell(words)),
            _ => {
                let usage = format!("expected {}", rest.keyword.grammar().usage);
                self.error(
                    rest.line.span(rest.range()),
                    "SHELL takes a JSON array of strings",
                    usage,
                );
                None
            }
        }
    }

    pub(super) fn healthcheck(&mut self, rest: &Rest<'_>) -> Option<Arguments> {
        let words = rest.words(self.lines.escape);
        let first = words.first()?.clone();
        let word = &rest.line.text[first.clone()];
        if word.eq_ignore_ascii_case("none") && words.len() == 1 {
            return Some(Arguments::Healthcheck(None));
        }
        let kind = word.to_ascii_uppercase();
        if kind != "CMD" || words.len() == 1 {
            let message = match kind.as_str() {
                "CMD" => "HEALTHCHECK CMD has no command",
                "NONE" => "HEALTHCHECK NONE takes nothing more",
                _ => "HEALTHCHECK takes CMD with a command, or NONE",
            };
            let usage = format!("expected {}", rest.keyword.grammar().usage);
            self.error(rest.line.span(first), message, usage);
            return None;
        }
        let mut command = Rest {
            keyword: rest.keyword,
            line: rest.line,
            at: first.end,
        };
        skip_blanks(&mut command);
        let command = self.command(&command)?;
        if command == Command::Exec(Vec::new()) {
            let usage = format!("expected {}", rest.keyword.grammar().usage);
            self.error(
                rest.line.span(rest.range()),
                "HEALTHCHECK CMD has no command",
                usage,
            );
            return None;
        }
        Some(Arguments::Healthcheck(Some(command)))
    }
}
