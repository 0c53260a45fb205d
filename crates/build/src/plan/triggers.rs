//! ONBUILD: instructions that a base image wants to be run first.

use osmith_image::ImageConfig;

use crate::containerfile::{Diagnostic, Instruction, Keyword, Severity, Span, parse_instruction};

/// The configuration's name for them.
pub(super) const ON_BUILD: &str = "OnBuild";

/// Takes the triggers out of a configuration. They count as standing at `span`.
pub(super) fn take(
    config: &mut ImageConfig,
    escape: char,
    span: Span,
    findings: &mut Vec<Diagnostic>,
) -> Vec<Instruction> {
    let triggers = config.config.extra.shift_remove(ON_BUILD);
    let texts = triggers.as_ref().and_then(|value| value.as_array());
    let texts = texts.into_iter().flatten().filter_map(|text| text.as_str());
    let mut instructions = Vec::new();
    for text in texts {
        instructions.extend(trigger(text, escape, span, findings));
    }
    instructions
}

fn trigger(text: &str, escape: char, span: Span, findings: &mut Vec<Diagnostic>) -> Option<Instruction> {
    let (instruction, problems) = parse_instruction(text, escape);
    for problem in problems {
        let message = format!("in ONBUILD {text} of the base image: {}", problem.message);
        let finding = match problem.severity {
            Severity::Error => Diagnostic::error(span, message),
            Severity::Warning => Diagnostic::warning(span, message),
        };
        findings.push(finding.with_note(problem.note));
    }
    let mut instruction = instruction?;
    if matches!(instruction.keyword, Keyword::From | Keyword::Onbuild) {
        let message = format!("the base image wants ONBUILD {text}, which no build can do");
        findings.push(Diagnostic::error(span, message));
        return None;
    }
    instruction.place_at(span);
    Some(instruction)
}
