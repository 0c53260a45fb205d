//! Commands in JSON or shell form: RUN, CMD, ENTRYPOINT, SHELL, HEALTHCHECK; and the bodies of heredocs.

use super::diagnostic::Diagnostic;
use super::heredoc::{self, Opening};
use super::instruction::{Arguments, Command, Heredoc};
use super::lines::Logical;
use super::parse::{Parser, Rest, skip_blanks};

impl Parser<'_> {
    pub(super) fn run(&mut self, rest: &Rest<'_>) -> Option<Arguments> {
        let command = self.command(rest);
        if matches!(command, Command::Exec(_)) {
            return Some(Arguments::Run {
                command,
                heredocs: Vec::new(),
                is_script: false,
            });
        }
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

    /// A command in JSON or shell form.
    pub(super) fn command(&mut self, rest: &Rest<'_>) -> Command {
        let text = rest.text();
        if let Some(words) = json(text) {
            return Command::Exec(words);
        }
        if text.starts_with("[\"") || text.starts_with("['") {
            let finding = Diagnostic::warning(
                rest.line.span(rest.range()),
                "this begins like a JSON array but is none: it is run by the shell",
            );
            let note = "expected [\"PROGRAM\", \"ARGUMENT\"] with double quotes";
            self.diagnostics.push(finding.with_note(note));
        }
        Command::Shell(text.to_owned())
    }

    pub(super) fn shell(&mut self, rest: &Rest<'_>) -> Option<Arguments> {
        match json(rest.text()) {
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
        if !word.eq_ignore_ascii_case("cmd") || words.len() == 1 {
            let usage = format!("expected {}", rest.keyword.grammar().usage);
            self.error(
                rest.line.span(first),
                "HEALTHCHECK takes CMD with a command, or NONE",
                usage,
            );
            return None;
        }
        let mut command = Rest {
            keyword: rest.keyword,
            line: rest.line,
            at: first.end,
        };
        skip_blanks(&mut command);
        Some(Arguments::Healthcheck(Some(self.command(&command))))
    }
}

/// The strings of a JSON array; `None` if it is anything else.
pub(super) fn json(text: &str) -> Option<Vec<String>> {
    text.starts_with('[').then(|| serde_json::from_str(text).ok())?
}
