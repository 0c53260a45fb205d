//! What an instruction of a stage reads: variables as they were before it, and the names of stages and images.

use super::evaluate::Planner;
use super::scope::Scope;
use super::stages::expanded;
use super::{Origin, TransferSource};
use crate::containerfile::{Diagnostic, Flag, Heredoc, Quoting, Span, Text, expand};

/// One instruction's view of the build.
pub(super) struct Reader<'p, 'a> {
    /// The stage it belongs to.
    pub(super) stage: usize,
    /// The variables before the instruction.
    pub(super) scope: Scope,
    pub(super) planner: &'p mut Planner<'a>,
}

impl Reader<'_, '_> {
    /// The text with its variables replaced; `None`, with a finding, if that cannot be done.
    pub(super) fn expand(&mut self, text: &Text) -> Option<String> {
        let scope = &self.scope;
        let escape = self.planner.escape();
        expanded(
            text,
            escape,
            &|name| scope.value(name),
            &mut self.planner.findings,
        )
    }

    /// The value of a flag; `true` for a switch without one.
    pub(super) fn flag(&mut self, flag: &Flag) -> Option<String> {
        match &flag.value {
            Some(text) => self.expand(text),
            None => Some("true".to_owned()),
        }
    }

    /// The value of a switch.
    pub(super) fn switch(&mut self, flag: &Flag) -> Option<bool> {
        let value = self.flag(flag)?;
        let parsed = value.to_ascii_lowercase().parse().ok();
        if parsed.is_none() {
            let message = format!("flag --{} takes true or false", flag.name);
            self.error(flag.span, message, format!("it is `{value}` here"));
        }
        parsed
    }

    /// The stage, context or image of that name.
    pub(super) fn origin(&mut self, name: &str, span: Span) -> Option<Origin> {
        self.planner.origin(self.stage, name, span)
    }

    pub(super) fn error(&mut self, span: Span, message: impl Into<String>, note: impl Into<String>) {
        self.planner
            .findings
            .push(Diagnostic::error(span, message).with_note(note));
    }

    pub(super) fn warn(&mut self, span: Span, message: impl Into<String>, note: impl Into<String>) {
        self.planner
            .findings
            .push(Diagnostic::warning(span, message).with_note(note));
    }

    /// The file of a heredoc.
    pub(super) fn inline(&mut self, heredoc: &Heredoc) -> Option<TransferSource> {
        let name = heredoc.name.clone();
        if !heredoc.expands {
            let text = heredoc.body.clone();
            return Some(TransferSource::Inline { name, text });
        }
        let scope = &self.scope;
        let lookup = |name: &str| scope.value(name);
        match expand(&heredoc.body, self.planner.escape(), Quoting::Kept, &lookup) {
            Ok(text) => Some(TransferSource::Inline { name, text }),
            Err(error) => {
                self.error(heredoc.span, error.message, error.note);
                None
            }
        }
    }
}
