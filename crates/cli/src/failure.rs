//! How a failure looks and which exit status it has.

use std::error::Error;
use std::fmt::Write as _;
use std::io::Write as _;

use osmith_report::{Class, Failure};

use crate::progress::Console;

/// What a command ends with when it fails.
pub(crate) type CommandResult = Result<(), Box<dyn Failure>>;

/// The exit status of a class of failures.
pub(crate) fn exit_status(class: Class) -> u8 {
    match class {
        Class::Usage => 2,
        Class::Interrupted => 130,
        _ => 1,
    }
}

/// Tells of a failure on standard error, for a person or for a program.
pub(crate) fn report(failure: &dyn Failure, console: &Console) {
    let text = match console.is_json() {
        true => render_json(failure),
        false => render(failure),
    };
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// The failure as lines for a person: what and why, the place, and the hints.
pub(crate) fn render(failure: &dyn Failure) -> String {
    let mut text = format!("error: {}\n", with_causes(failure));
    if let Some(excerpt) = excerpt(failure) {
        let _ = writeln!(text, "{}", excerpt.trim_end());
    }
    for hint in failure.hints() {
        let _ = writeln!(text, "hint: {hint}");
    }
    text
}

/// The failure as one JSON line, in the form of an event.
pub(crate) fn render_json(failure: &dyn Failure) -> String {
    let value = serde_json::json!({
        "event": "failed",
        "class": failure.class(),
        "error": with_causes(failure),
        "excerpt": excerpt(failure),
        "hints": failure.hints(),
    });
    format!("{value}\n")
}

/// Where a user interrupted the work is not what failed.
fn excerpt(failure: &dyn Failure) -> Option<String> {
    failure
        .excerpt()
        .filter(|_| failure.class() != Class::Interrupted)
}

/// The message followed by its causes, leaving out those whose words are in it already.
pub(crate) fn with_causes(failure: &dyn Failure) -> String {
    if failure.class() == Class::Interrupted {
        return "interrupted".to_owned();
    }
    let mut text = failure.to_string();
    let mut cause = failure.source();
    while let Some(error) = cause {
        let words = error.to_string();
        if !text.contains(&words) {
            let _ = write!(text, ": {words}");
        }
        cause = error.source();
    }
    without_error_numbers(&text)
}

/// Rust adds ` (os error 2)` to the words of an error of the operating system; the words say it already.
pub(crate) fn without_error_numbers(text: &str) -> String {
    const START: &str = " (os error ";
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(START) {
        plain.push_str(before);
        rest = match after.split_once(')') {
            Some((number, behind)) if number.bytes().all(|byte| byte.is_ascii_digit()) => behind,
            _ => {
                plain.push_str(START);
                after
            }
        };
    }
    plain + rest
}

/// A failure of the program itself: its arguments, its terminal, the files it was told to read.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct CommandFailure {
    class: Class,
    message: String,
    hints: Vec<String>,
    #[source]
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl CommandFailure {
    pub(crate) fn new(class: Class, message: impl Into<String>) -> Self {
        CommandFailure {
            class,
            message: message.into(),
            hints: Vec::new(),
            source: None,
        }
    }

    pub(crate) fn because(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }
}

impl Failure for CommandFailure {
    fn class(&self) -> Class {
        self.class
    }

    fn hints(&self) -> Vec<String> {
        self.hints.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_numbers_are_left_out() {
        for (text, plain) in [
            ("no file (os error 2)", "no file"),
            ("a (os error 17): b (os error 2)", "a: b"),
            ("a (os error x) (os error ", "a (os error x) (os error "),
        ] {
            assert_eq!(without_error_numbers(text), plain);
        }
    }
}
