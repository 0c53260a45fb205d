//! The Kickstart language: text becomes typed commands with positions, or all that is wrong with it.
//!
//! ```text
//!                  %include               table of commands      typed commands
//! text ─▶ lines ─────────────▶ words ─────────────────────▶ options ─────────────▶ Kickstart
//! ```
//!
//! The dialects are those of RHEL 9 and RHEL 10. [`parse`] finds all problems of a file at once, each with its place,
//! a [`Level`] and the way out. Nothing is read from disk in here: the caller's [`Includes`] does that. What takes a
//! machine or an image to know, such as whether a disk or a time zone exists, is checked where the file is carried out.
#![forbid(unsafe_code)]

mod arguments;
mod commands;
mod document;
mod line;
mod model;
mod problem;
mod reading;
mod secrets;
mod table;
mod words;

use std::fmt;
use std::str::FromStr;

pub use model::*;
pub use problem::{KickstartError, Level, Position, Problem, View};
pub use secrets::without_secrets;

use document::{Document, Missing};
use reading::Reading;

/// Whose Kickstart it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Dialect {
    /// Red Hat Enterprise Linux 9.
    Rhel9,
    /// Red Hat Enterprise Linux 10.
    #[default]
    Rhel10,
}

impl Dialect {
    /// Every dialect.
    pub const ALL: [Dialect; 2] = [Dialect::Rhel9, Dialect::Rhel10];
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Dialect::Rhel9 => "rhel9",
            Dialect::Rhel10 => "rhel10",
        })
    }
}

/// There is no such dialect.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no dialect '{0}'; known are rhel9 and rhel10")]
pub struct UnknownDialect(pub String);

impl FromStr for Dialect {
    type Err = UnknownDialect;

    fn from_str(text: &str) -> Result<Self, UnknownDialect> {
        let is_it = |dialect: &Dialect| dialect.to_string().eq_ignore_ascii_case(text);
        Dialect::ALL
            .into_iter()
            .find(is_it)
            .ok_or_else(|| UnknownDialect(text.to_owned()))
    }
}

/// What a file includes.
pub trait Includes {
    /// The text behind `path`, a path or URL as it stands in the file named `including`. A relative path may also stand
    /// beside that file. The error is the reason why there is none.
    fn read(&mut self, path: &str, including: &str) -> Result<Included, String>;
}

/// A file that is included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Included {
    /// Its name, for positions and against loops: the same file has the same name.
    pub name: String,
    /// What is in it.
    pub text: String,
}

/// Nothing can be included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoIncludes;

impl Includes for NoIncludes {
    fn read(&mut self, _: &str, _: &str) -> Result<Included, String> {
        Err("no files are read here".to_owned())
    }
}

/// What an included file that cannot be read is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MissingIncludes {
    /// An error: an installation needs it.
    #[default]
    Refuse,
    /// A warning if it is an absolute path or a URL, as `%pre` or a server may make it; an error else.
    Tolerate,
}

/// How a file is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ParseOptions {
    /// Whose Kickstart it is.
    pub dialect: Dialect,
    /// What an included file that cannot be read is.
    pub missing_includes: MissingIncludes,
}

/// A file that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parsed {
    /// What it asks for, as far as it makes sense.
    pub kickstart: Kickstart,
    /// Everything that is wrong with it, in the order of the file.
    pub problems: Vec<Problem>,
}

impl Parsed {
    /// Whether the file is accepted. With `is_strict` warnings are errors.
    pub fn is_accepted(&self, view: View, is_strict: bool) -> bool {
        let refused = view.refused_from(is_strict);
        self.problems.iter().all(|problem| problem.level < refused)
    }

    /// What to install, or why that is refused. With `is_strict` warnings are errors.
    pub fn require_accepted(self, view: View, is_strict: bool) -> Result<Kickstart, KickstartError> {
        if self.is_accepted(view, is_strict) {
            return Ok(self.kickstart);
        }
        let refused = view.refused_from(is_strict);
        let problems = self.problems.into_iter();
        Err(KickstartError(
            problems.filter(|problem| problem.level >= refused).collect(),
        ))
    }
}

/// What is found before the real parse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreScripts {
    /// The scripts of `%pre`, in the order of the file.
    pub scripts: Vec<Script>,
    /// What is wrong with the sections; what is wrong with the rest is told by the real parse.
    pub problems: Vec<Problem>,
}

/// What the file `name` asks for, and everything that is wrong with it.
pub fn parse(name: &str, text: &str, options: &ParseOptions, includes: &mut dyn Includes) -> Parsed {
    let missing = match options.missing_includes {
        MissingIncludes::Refuse => Missing::Refused,
        MissingIncludes::Tolerate => Missing::Tolerated,
    };
    let mut document = Document::new(Reading::new(options.dialect), includes, missing, false);
    document.read(name, text);
    let Reading {
        kickstart, problems, ..
    } = document.reading;
    Parsed {
        kickstart,
        problems: problems.into_sorted(),
    }
}

/// The scripts that run before the real parse, because they may write what the file includes: an included file that
/// is missing is no problem yet.
pub fn pre_scripts(
    name: &str,
    text: &str,
    options: &ParseOptions,
    includes: &mut dyn Includes,
) -> PreScripts {
    let reading = Reading::new(options.dialect);
    let mut document = Document::new(reading, includes, Missing::Silent, true);
    document.read(name, text);
    let Reading {
        kickstart, problems, ..
    } = document.reading;
    let mut scripts = kickstart.scripts;
    scripts.retain(|script| script.section == Section::Pre);
    PreScripts {
        scripts,
        problems: problems.into_sorted(),
    }
}
