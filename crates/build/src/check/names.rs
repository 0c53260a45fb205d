//! Rules about names: of instructions and stages.

use super::Warning;
use crate::containerfile::{Arguments, Containerfile, Diagnostic, Instruction, Keyword, Span};

/// Names with a meaning of their own in FROM and `--from`.
const RESERVED: [&str; 2] = ["scratch", "context"];

pub(super) fn check(file: &Containerfile) -> Vec<Warning> {
    let mut warnings = casing(file);
    for instruction in file
        .instructions
        .iter()
        .filter(|one| one.keyword == Keyword::From)
    {
        warnings.extend(stage(file, instruction));
    }
    warnings
}

/// Instructions are written in the case of most of them.
fn casing(file: &Containerfile) -> Vec<Warning> {
    let is_upper = |one: &&Instruction| word(one).chars().all(|letter| !letter.is_ascii_lowercase());
    let is_lower = |one: &&Instruction| word(one).chars().all(|letter| !letter.is_ascii_uppercase());
    let upper = file.instructions.iter().filter(is_upper).count();
    let lower = file.instructions.iter().filter(is_lower).count();
    let wants_upper = upper >= lower;
    let is_other = |one: &&Instruction| !(if wants_upper { is_upper(one) } else { is_lower(one) });
    let others = file.instructions.iter().filter(is_other);
    let warning = |one: &Instruction| {
        let name = one.keyword.name();
        let wanted = if wants_upper {
            name.to_owned()
        } else {
            name.to_ascii_lowercase()
        };
        let message = format!("`{}` is written otherwise than most instructions", word(one));
        Warning {
            rule: "ConsistentInstructionCasing",
            finding: Diagnostic::warning(name_span(one), message).with_note(format!("expected {wanted}")),
        }
    };
    others.map(warning).collect()
}

fn word(instruction: &Instruction) -> &str {
    instruction.text.split_whitespace().next().unwrap_or_default()
}

fn name_span(instruction: &Instruction) -> Span {
    let start = instruction.span.start;
    Span {
        start,
        end: start + word(instruction).len(),
    }
}

fn stage(file: &Containerfile, from: &Instruction) -> Vec<Warning> {
    let Arguments::From { name: Some(name), .. } = &from.arguments else {
        return Vec::new();
    };
    let mut warnings = Vec::new();
    let mut warn = |rule, message: String, note: String| {
        let finding = Diagnostic::warning(name.span, message).with_note(note);
        warnings.push(Warning { rule, finding });
    };
    if name.raw.chars().any(|letter| letter.is_uppercase()) {
        let message = format!("the name of the stage `{}` has upper-case letters", name.raw);
        warn(
            "StageNameCasing",
            message,
            format!("expected {}", name.raw.to_lowercase()),
        );
    }
    if RESERVED.contains(&name.raw.as_str()) {
        let message = format!(
            "the name of the stage `{}` means something else already",
            name.raw
        );
        warn("ReservedStageName", message, "expected another name".to_owned());
    }
    let text = file.source.slice(from.span);
    let separator = text
        .split_whitespace()
        .find(|word| word.eq_ignore_ascii_case("as"));
    let is_upper = |text: &str| text.chars().all(|letter| !letter.is_ascii_lowercase());
    if let Some(separator) = separator
        && is_upper(separator) != is_upper(word(from))
    {
        let wanted = if is_upper(word(from)) { "AS" } else { "as" };
        let message = format!("`{separator}` is written otherwise than `{}`", word(from));
        warn("FromAsCasing", message, format!("expected {wanted}"));
    }
    warnings
}
