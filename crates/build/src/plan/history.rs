//! What an image's history says of an instruction, in podman's words.

use crate::containerfile::{Arguments, Heredoc, Instruction, Keyword};

/// The instruction in one line, its name in capitals.
pub(super) fn title(instruction: &Instruction) -> String {
    let after = instruction.text.split_once(char::is_whitespace);
    let rest = after.map_or("", |(_, rest)| rest.trim_start());
    format!("{} {rest}", instruction.keyword.name())
}

/// The entry of an instruction that is neither RUN nor COPY nor ADD.
pub(super) fn entry(instruction: &Instruction) -> String {
    match &instruction.arguments {
        // The values of ARGs may be meant for this build alone.
        Arguments::Assignments(pairs) if instruction.keyword == Keyword::Arg => {
            let names: Vec<_> = pairs.iter().map(|pair| pair.name.raw.as_str()).collect();
            format!("/bin/sh -c #(nop) ARG {}", names.join(" "))
        }
        _ => format!("/bin/sh -c #(nop) {}", title(instruction)),
    }
}

/// The entry of a RUN: `|2 a=1 b=2 /bin/sh -c TEXT`; `shell` is `None` for the JSON form.
pub(super) fn run_entry(args: &[(String, String)], shell: Option<&[String]>, text: &str) -> String {
    let command = match shell {
        None => text.to_owned(),
        Some(shell) => format!("{} {text}", shell.join(" ")),
    };
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
pub(super) fn with_bodies(text: &str, heredocs: &[Heredoc]) -> String {
    let mut whole = text.to_owned();
    for (index, heredoc) in heredocs.iter().enumerate() {
        whole += if index == 0 { "\n" } else { "" };
        whole += &heredoc.body;
        whole += &heredoc.terminator;
        whole += "\n";
    }
    whole
}
