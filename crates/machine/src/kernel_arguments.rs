//! Kernel arguments: the command line as the kernel splits it, and the argument that names the deployment.
//!
//! Sources: the kernel's `parameters` documentation and `lib/cmdline.c` (double quotes keep blanks together, there is
//! no escape); bootc's initramfs for `composefs=` and `composefs.digest=`.

use std::fmt;

use osmith_formats::verity::Digest;

/// What the kernel argument that names the deployment says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ComposefsArgument {
    /// The deployment: the fs-verity digest of its composefs image.
    pub digest: Digest,
    /// Whether `?` allows a file system without fs-verity.
    pub missing_verity_allowed: bool,
}

/// A `composefs` argument that names no deployment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "kernel argument '{argument}' names no deployment: composefs=[?]<128 hexadecimal digits> is expected"
)]
pub struct ComposefsArgumentError {
    /// The argument as it was given.
    pub argument: String,
}

impl ComposefsArgument {
    /// The argument of a command line, if it has one; the last counts, as everywhere in the kernel.
    pub fn find(command_line: &str) -> Result<Option<Self>, ComposefsArgumentError> {
        let arguments = split(command_line);
        let found = arguments.iter().rev().find_map(|argument| {
            let value = argument.strip_prefix("composefs=");
            value
                .or_else(|| argument.strip_prefix("composefs.digest="))
                .map(|value| (argument, value))
        });
        found
            .map(|(argument, value)| {
                parse_value(value).ok_or_else(|| ComposefsArgumentError {
                    argument: argument.clone(),
                })
            })
            .transpose()
    }
}

impl fmt::Display for ComposefsArgument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = if self.missing_verity_allowed { "?" } else { "" };
        write!(f, "composefs={mark}{}", self.digest)
    }
}

fn parse_value(value: &str) -> Option<ComposefsArgument> {
    let (value, missing_verity_allowed) = match value.strip_prefix('?') {
        Some(rest) => (rest, true),
        None => (value, false),
    };
    let value = value.strip_prefix("v1-sha512-12:").unwrap_or(value);
    Some(ComposefsArgument {
        digest: value.parse().ok()?,
        missing_verity_allowed,
    })
}

/// The arguments of a command line. Quotes group and are dropped.
pub fn split(command_line: &str) -> Vec<String> {
    let mut arguments = Vec::new();
    let mut current = String::new();
    let mut quoted = false;
    for character in command_line.chars() {
        match character {
            '"' => quoted = !quoted,
            _ if character.is_ascii_whitespace() && !quoted => {
                arguments.push(std::mem::take(&mut current));
            }
            _ => current.push(character),
        }
    }
    arguments.push(current);
    arguments.retain(|argument| !argument.is_empty());
    arguments
}

/// Adds arguments to a list, without those that are in it already.
pub fn append(arguments: &mut Vec<String>, added: impl IntoIterator<Item = String>) {
    for argument in added {
        if !arguments.contains(&argument) {
            arguments.push(argument);
        }
    }
}

/// Whether an argument names the deployment.
fn is_composefs(argument: &str) -> bool {
    argument.starts_with("composefs=") || argument.starts_with("composefs.digest=")
}

/// The arguments of an updated deployment: those of the one before, with the name of the new, without what only the old
/// image asked for and with what only the new one asks for.
pub fn update(before: &[String], argument: ComposefsArgument, old: &[String], new: &[String]) -> Vec<String> {
    let dropped = |argument: &String| old.contains(argument) && !new.contains(argument);
    let mut arguments = Vec::new();
    for before in before {
        match is_composefs(before) {
            true => append(&mut arguments, [argument.to_string()]),
            false if dropped(before) => {}
            false => arguments.push(before.clone()),
        }
    }
    append(&mut arguments, [argument.to_string()]);
    let added = new.iter().filter(|argument| !old.contains(argument)).cloned();
    append(&mut arguments, added);
    arguments
}

/// Arguments as one line that [`split`] takes apart again: those with blanks get quotes.
pub fn join(arguments: &[String]) -> String {
    let quoted: Vec<String> = arguments.iter().map(|argument| quote(argument)).collect();
    quoted.join(" ")
}

fn quote(argument: &str) -> String {
    if !argument.contains(|character: char| character.is_ascii_whitespace()) {
        return argument.to_owned();
    }
    match argument.split_once('=') {
        Some((name, value)) if !name.contains(|character: char| character.is_ascii_whitespace()) => {
            format!("{name}=\"{value}\"")
        }
        _ => format!("\"{argument}\""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_keep_blanks_together() {
        assert_eq!(
            split(" root=UUID=1  rw dyndbg=\"file a +p\"\n\"x y\"=1 "),
            ["root=UUID=1", "rw", "dyndbg=file a +p", "x y=1"]
        );
        assert!(split(" \n").is_empty());
    }

    #[test]
    fn the_deployment_is_found_in_every_spelling() {
        let digest = Digest::of(b"image");
        for (text, missing_verity_allowed) in [
            (format!("composefs={digest}"), false),
            (format!("composefs=?{digest}"), true),
            (format!("composefs.digest=v1-sha512-12:{digest}"), false),
            (format!("composefs.digest=?v1-sha512-12:{digest}"), true),
        ] {
            let expected = ComposefsArgument {
                digest,
                missing_verity_allowed,
            };
            let command_line = format!("composefs=nothing rw {text} quiet");
            assert_eq!(ComposefsArgument::find(&command_line), Ok(Some(expected)));
        }
        let argument = ComposefsArgument {
            digest,
            missing_verity_allowed: true,
        };
        assert_eq!(ComposefsArgument::find(&argument.to_string()), Ok(Some(argument)));
    }

    #[test]
    fn a_bad_deployment_is_an_error_and_none_is_none() {
        assert_eq!(ComposefsArgument::find("rw composefsx=1 quiet"), Ok(None));
        let digest = Digest::of(b"").to_string();
        for value in [
            "",
            "?",
            "abc",
            &digest[1..],
            &digest.to_uppercase(),
            &format!("??{digest}"),
        ] {
            let error = ComposefsArgument::find(&format!("composefs={value}")).unwrap_err();
            assert_eq!(error.argument, format!("composefs={value}"));
        }
    }

    #[test]
    fn what_is_joined_splits_again() {
        let arguments = ["root=UUID=1", "rw", "dyndbg=file a +p", "x y", "a b=c d"].map(str::to_owned);
        assert_eq!(
            join(&arguments),
            "root=UUID=1 rw dyndbg=\"file a +p\" \"x y\" \"a b=c d\""
        );
        assert_eq!(split(&join(&arguments)), arguments);
    }

    #[test]
    fn an_update_keeps_what_the_machine_has_of_its_own() {
        let (old, new) = (Digest::of(b"old"), Digest::of(b"new"));
        let argument = ComposefsArgument {
            digest: new,
            missing_verity_allowed: false,
        };
        let words = |text: &str| split(text);
        let before = format!("root=UUID=1 rw mine=1 composefs={old} console=ttyS0 quiet splash");
        let updated = update(
            &split(&before),
            argument,
            &words("console=ttyS0 quiet mine=1"),
            &words("console=ttyS0 console=tty0 mine=1"),
        );
        let expected = format!("root=UUID=1 rw mine=1 composefs={new} console=ttyS0 splash console=tty0");
        assert_eq!(join(&updated), expected);
    }

    #[test]
    fn appending_leaves_out_what_is_there() {
        let mut arguments = split("a b=1");
        append(&mut arguments, split("b=2 a c c"));
        assert_eq!(arguments, ["a", "b=1", "b=2", "c"]);
    }
}
