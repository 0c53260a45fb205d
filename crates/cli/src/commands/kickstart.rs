//! `osmith kickstart`: what is wrong with a Kickstart file.

use std::fs::{self, File};
use std::io::{self, Read, Write as _};
use std::path::Path;

use osmith_kickstart::{
    Dialect, Included, Includes, Level, MissingIncludes, ParseOptions, Parsed, Problem, View, parse,
};
use osmith_report::{Class, Failure};

use super::images::print;
use crate::args::{KickstartCheckArgs, KickstartDialect, ReportFormat};
use crate::failure::{CommandFailure, CommandResult};

const STANDARD_INPUT: &str = "-";
/// The longest file that is read.
const MAX_BYTES: u64 = 16 << 20;

pub(crate) fn check(args: &KickstartCheckArgs) -> CommandResult {
    let (name, text) = read(&args.file)?;
    let options = ParseOptions {
        dialect: match args.dialect {
            Some(KickstartDialect::Rhel9) => Dialect::Rhel9,
            Some(KickstartDialect::Rhel10) | None => Dialect::Rhel10,
        },
        missing_includes: MissingIncludes::Tolerate,
    };
    let view = match args.dialect {
        Some(_) => View::Language,
        None => View::Installer,
    };
    let parsed = parse(&name, &text, &options, &mut LocalFiles);
    let is_accepted = parsed.is_accepted(view, args.strict);
    match args.format {
        ReportFormat::Json => print(&json(&name, &options, view, args.strict, &parsed)?)?,
        ReportFormat::Text => show(&parsed.problems)?,
    }
    let counts = counts(&parsed.problems);
    if !is_accepted {
        let failure = CommandFailure::new(Class::Input, format!("'{name}' is refused: {counts}"));
        return Err(match is_refused_by_view_only(view, args.strict, &parsed) {
            true => failure.hint("it is valid Kickstart: --dialect checks only that"),
            false => failure,
        }
        .into());
    }
    match args.format {
        ReportFormat::Json => Ok(()),
        ReportFormat::Text => print(&format!("'{name}' is accepted: {counts}\n")),
    }
}

/// Whether the language alone would accept the file.
fn is_refused_by_view_only(view: View, is_strict: bool, parsed: &Parsed) -> bool {
    view == View::Installer && parsed.is_accepted(View::Language, is_strict)
}

/// How many problems there are, by level.
fn counts(problems: &[Problem]) -> String {
    let count = |level| problems.iter().filter(|problem| problem.level == level).count();
    format!(
        "{} errors, {} unsupported, {} warnings",
        count(Level::Error),
        count(Level::Unsupported),
        count(Level::Warning)
    )
}

/// Shows problems on standard error: standard output has the verdict.
fn show(problems: &[Problem]) -> CommandResult {
    let text: String = problems
        .iter()
        .map(|problem| format!("{}\n", problem.rendered()))
        .collect();
    io::stderr().write_all(text.as_bytes()).map_err(|error| {
        CommandFailure::new(Class::Environment, "cannot write to standard error")
            .because(error)
            .into()
    })
}

fn json(
    name: &str,
    options: &ParseOptions,
    view: View,
    is_strict: bool,
    parsed: &Parsed,
) -> Result<String, CommandFailure> {
    let problems = parsed.problems.iter().map(|problem| {
        serde_json::json!({
            "level": problem.level.to_string(),
            "file": &*problem.position.file,
            "line": problem.position.line,
            "column": problem.position.column,
            "message": problem.message,
            "remedy": problem.remedy,
        })
    });
    let report = serde_json::json!({
        "file": name,
        "dialect": options.dialect.to_string(),
        "checked-for": match view {
            View::Language => "language",
            View::Installer => "installation",
        },
        "accepted": parsed.is_accepted(view, is_strict),
        "problems": problems.collect::<Vec<_>>(),
    });
    serde_json::to_string_pretty(&report)
        .map(|text| text + "\n")
        .map_err(|error| CommandFailure::new(Class::Internal, "cannot write JSON").because(error))
}

/// The file's name, for messages, and its text.
pub(crate) fn read(path: &Path) -> Result<(String, String), Box<dyn Failure>> {
    let (name, bytes) = match path.to_str() {
        Some(STANDARD_INPUT) => ("standard input".to_owned(), limited(io::stdin().lock())),
        _ => (path.display().to_string(), File::open(path).and_then(limited)),
    };
    let failure = |error: &io::Error| {
        let class = match error.kind() {
            io::ErrorKind::NotFound => Class::NotFound,
            io::ErrorKind::InvalidData | io::ErrorKind::FileTooLarge => Class::Input,
            _ => Class::Environment,
        };
        CommandFailure::new(class, format!("cannot read the Kickstart file '{name}'"))
    };
    match bytes.and_then(text) {
        Ok(text) => Ok((name, text)),
        Err(error) => Err(failure(&error).because(error).into()),
    }
}

/// All bytes, unless there are more than make sense.
fn limited(from: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        let text = format!("it is longer than {MAX_BYTES} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
    }
    Ok(bytes)
}

fn text(bytes: Vec<u8>) -> io::Result<String> {
    String::from_utf8(bytes).map_err(|error| {
        let before = error.as_bytes().iter().take(error.utf8_error().valid_up_to());
        let line = before.filter(|byte| **byte == b'\n').count() + 1;
        let text = format!("it is not UTF-8 in line {line}");
        io::Error::new(io::ErrorKind::InvalidData, text)
    })
}

/// Files of this machine; URLs are not fetched.
struct LocalFiles;

impl Includes for LocalFiles {
    fn read(&mut self, path: &str, including: &str) -> Result<Included, String> {
        if path.contains("://") {
            return Err("URLs are not fetched here".to_owned());
        }
        let beside = Path::new(including).with_file_name(path);
        let found = [Path::new(path), &beside]
            .into_iter()
            .find(|path| path.exists())
            .ok_or_else(|| "there is no such file".to_owned())?;
        let is_file = fs::metadata(found).is_ok_and(|metadata| metadata.is_file());
        if !is_file {
            return Err("it is no file".to_owned());
        }
        let text = File::open(found).and_then(limited).and_then(text);
        Ok(Included {
            name: found.display().to_string(),
            text: text.map_err(|error| crate::failure::without_error_numbers(&error.to_string()))?,
        })
    }
}
