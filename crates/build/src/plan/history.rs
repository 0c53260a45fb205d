//! What an image's history says of an instruction, in podman's words.

use crate::containerfile::{Heredoc, Instruction, Keyword};

/// The instruction in one line, its name in capitals.
pub(super) fn title(instruction: &Instruction) -> String {
    let after = instruction.text.split_once(char::is_whitespace);
    let rest = after.map_or("", |(_, rest)| rest.trim_start());
    format!("{} {rest}", instruction.keyword.name())
}

/// The entry of an instruction that is neither RUN nor COPY nor ADD nor ARG: as it is written.
pub(super) fn entry(instruction: &Instruction) -> String {
    format!("/bin/sh -c #(nop) {}", instruction.text)
}

/// The entry of an ARG: all that have a value by now. The values may be meant for this build alone.
pub(super) fn arg_entry<'n>(names: impl Iterator<Item = &'n str>) -> String {
    format!("/bin/sh -c #(nop) ARG {}", names.collect::<Vec<_>>().join(" "))
}

/// The entry of a RUN: `|2 a=1 b=2 /bin/sh -c TEXT`, with the text as written, whatever runs it, and the heredocs.
pub(super) fn run_entry(
    args: &[(String, String)],
    instruction: &Instruction,
    heredocs: &[Heredoc],
) -> String {
    let written = instruction.text.get(Keyword::Run.name().len() + 1..);
    let mut command = format!("/bin/sh -c {}", written.unwrap_or_default());
    for heredoc in heredocs {
        command += &format!("\n{}", heredoc.written.trim());
    }
    if args.is_empty() {
        return command;
    }
    let pairs: Vec<_> = args
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    format!("|{} {} {command}", pairs.len(), pairs.join(" "))
}

/// A command's line with the heredocs that it opens.
pub(super) fn with_bodies(text: &str, heredocs: &[&Heredoc]) -> String {
    let mut whole = text.to_owned();
    for (index, heredoc) in heredocs.iter().enumerate() {
        whole += if index == 0 { "\n" } else { "" };
        whole += &heredoc.body;
        whole += &heredoc.terminator;
        whole += "\n";
    }
    whole
}
