//! Stages: where each begins, what they are called, which one is wanted.

use super::scope::Globals;
use super::{Diagnostics, Read, Wanted};
use crate::containerfile::{
    Arguments, Assignment, Diagnostic, Instruction, Keyword, Lookup, Quoting, Span, Text, expand, nearest,
};

/// A stage as the Containerfile has it.
#[derive(Debug, Clone)]
pub(super) struct Stage<'a> {
    pub(super) name: Option<String>,
    /// FROM.
    pub(super) from: &'a Instruction,
    /// The base, variables replaced.
    pub(super) base: String,
    pub(super) base_span: Span,
    pub(super) instructions: &'a [Instruction],
}

impl Stage<'_> {
    /// The name, or the number.
    pub(super) fn title(&self, index: usize) -> String {
        self.name.clone().unwrap_or_else(|| index.to_string())
    }
}

/// Replaces the variables of a text; a value that is required and missing is a finding.
pub(super) fn expanded(
    text: &Text,
    escape: char,
    lookup: Lookup<'_>,
    findings: &mut Diagnostics,
) -> Option<String> {
    match expand(&text.raw, escape, Quoting::Removed, lookup) {
        Ok(value) => Some(value),
        Err(error) => {
            let mut span = text.span;
            // Where no continuation is inside, the bytes of the text are those of the source.
            if span.end - span.start == text.raw.len() {
                span.start += error.at;
            }
            findings.push(Diagnostic::error(span, error.message).with_note(error.note));
            None
        }
    }
}

/// The stages in the order of the file, and the variables before the first.
pub(super) fn split<'a>(file: Read<'a>, globals: &mut Globals, findings: &mut Diagnostics) -> Vec<Stage<'a>> {
    let starts = file.instructions.iter().enumerate();
    let starts: Vec<usize> = starts
        .filter(|(_, one)| one.keyword == Keyword::From)
        .map(|(at, _)| at)
        .collect();
    let (before, _) = file.instructions.split_at(starts.first().copied().unwrap_or(0));
    for instruction in before {
        if let Arguments::Assignments(pairs) = &instruction.arguments {
            declare(pairs, file.escape, globals, findings);
        }
    }
    let ends = starts.iter().skip(1).copied().chain([file.instructions.len()]);
    let ranges = starts.iter().copied().zip(ends);
    ranges
        .filter_map(|(start, end)| stage(file, start, end, globals, findings))
        .collect()
}

fn declare(pairs: &[Assignment], escape: char, globals: &mut Globals, findings: &mut Diagnostics) {
    let snapshot = globals.clone();
    for pair in pairs {
        let lookup = |name: &str| snapshot.value(name);
        let Some(name) = expanded(&pair.name, escape, &lookup, findings) else {
            continue;
        };
        let default = match &pair.value {
            Some(value) => expanded(value, escape, &lookup, findings),
            None => None,
        };
        if pair.value.is_some() {
            require_no_platform_default(&name, pair.name.span, findings);
        }
        globals.declare(&name, default);
    }
}

/// The platform is that of the build; a default would claim another one.
pub(super) fn require_no_platform_default(name: &str, span: Span, findings: &mut Diagnostics) {
    if matches!(name, "TARGETPLATFORM" | "BUILDPLATFORM") {
        let finding = Diagnostic::error(span, format!("{name} cannot have a default"));
        findings.push(finding.with_note(format!("expected ARG {name}")));
    }
}

fn stage<'a>(
    file: Read<'a>,
    start: usize,
    end: usize,
    globals: &Globals,
    findings: &mut Diagnostics,
) -> Option<Stage<'a>> {
    let from = file.instructions.get(start)?;
    let Arguments::From { image, name } = &from.arguments else {
        return None;
    };
    let base = expanded(image, file.escape, &|name| globals.value(name), findings)?;
    if base.is_empty() {
        let finding = Diagnostic::error(image.span, format!("the image `{}` is empty", image.raw));
        findings
            .push(finding.with_note("give the variable a value: ARG above the first FROM, or --build-arg"));
    }
    Some(Stage {
        name: name.as_ref().map(|name| name.raw.clone()),
        from,
        base,
        base_span: image.span,
        instructions: file.instructions.get(start + 1..end).unwrap_or_default(),
    })
}

/// The stage of that name among the first `before`: exact, then whatever the case, then by number. Of several the
/// last one counts.
pub(super) fn find(stages: &[Stage<'_>], before: usize, name: &str) -> Option<usize> {
    let earlier = stages.get(..before).unwrap_or(stages);
    let named = |matches: &dyn Fn(&str) -> bool| {
        earlier
            .iter()
            .rposition(|stage| stage.name.as_deref().is_some_and(matches))
    };
    named(&|known| known == name)
        .or_else(|| named(&|known| known.eq_ignore_ascii_case(name)))
        .or_else(|| name.parse().ok().filter(|index| *index < earlier.len()))
}

/// The stage to build.
pub(super) fn target(stages: &[Stage<'_>], wanted: &Wanted, findings: &mut Diagnostics) -> Option<usize> {
    let Some(name) = &wanted.target else {
        return stages.len().checked_sub(1);
    };
    let found = find(stages, stages.len(), name);
    if found.is_none() {
        let names: Vec<&str> = stages.iter().filter_map(|stage| stage.name.as_deref()).collect();
        let note = match nearest(name, names.iter().copied()) {
            Some(known) => format!("did you mean {known}?"),
            None if names.is_empty() => "no stage has a name; stages are numbered from 0".to_owned(),
            None => format!("the stages are {}", names.join(", ")),
        };
        let span = stages
            .last()
            .map_or(Span { start: 0, end: 0 }, |stage| stage.from.span);
        findings.push(Diagnostic::error(span, format!("there is no stage `{name}`")).with_note(note));
    }
    found
}

/// Warns of names that several stages have.
pub(super) fn warn_duplicates(stages: &[Stage<'_>], findings: &mut Diagnostics) {
    for (index, stage) in stages.iter().enumerate() {
        let Some(name) = &stage.name else { continue };
        let earlier = stages
            .iter()
            .take(index)
            .any(|other| other.name.as_ref() == Some(name));
        if earlier {
            let finding =
                Diagnostic::warning(stage.from.span, format!("a second stage has the name `{name}`"));
            findings.push(finding.with_note("from here on this one is meant"));
        }
    }
}
