//! A command line that makes no sense, and the text of `--help`.

use std::io::Write as _;
use std::process::ExitCode;

use osmith_report::Class;

use crate::failure::{self, CommandFailure};

/// Prints what the parser has to say: help, or an error in the form that `--progress` asks for.
pub(crate) fn report(error: &clap::Error) -> ExitCode {
    let status = u8::try_from(error.exit_code()).unwrap_or(2);
    if error.use_stderr() && wants_json(std::env::args()) {
        let failure = CommandFailure::new(Class::Usage, message(&error.to_string()))
            .hint("osmith COMMAND --help shows the options of a command");
        let _ = std::io::stderr().write_all(failure::render_json(&failure).as_bytes());
    } else {
        // A reader that went away must not become a failure.
        let _ = error.print();
    }
    ExitCode::from(status)
}

/// The parser has failed, so the option is looked for by hand.
fn wants_json(arguments: impl Iterator<Item = String>) -> bool {
    let before_command: Vec<String> = arguments.take_while(|argument| argument != "--").collect();
    before_command
        .iter()
        .any(|argument| argument == "--progress=json")
        || before_command
            .windows(2)
            .any(|pair| pair.iter().eq(["--progress", "json"].iter()))
}

/// The first paragraph of the parser's text in one line, without its `error:`.
fn message(text: &str) -> String {
    let paragraph = text.lines().take_while(|line| !line.is_empty());
    let line = paragraph.map(str::trim).collect::<Vec<_>>().join(" ");
    line.strip_prefix("error: ").unwrap_or(&line).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_asked_for_in_two_ways() {
        let wanted = |text: &str| wants_json(text.split(' ').map(str::to_owned));
        assert!(wanted("osmith --progress json disk"));
        assert!(wanted("osmith disk --progress=json"));
        assert!(!wanted("osmith vm run x -- --progress json"));
        assert!(!wanted("osmith --progress plain"));
    }

    #[test]
    fn the_message_is_one_line() {
        let text = "error: invalid value 'x'\n  [possible values: a, b]\n\nUsage: osmith\n";
        assert_eq!(message(text), "invalid value 'x' [possible values: a, b]");
    }
}
