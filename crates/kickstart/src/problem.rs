//! What is wrong with a Kickstart file, where, and how bad that is.

use std::fmt;
use std::sync::Arc;

use osmith_report::{Class, Failure, printable};

/// A place in a file, counted from 1; columns count characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Position {
    /// The name of the file, as it was given or included.
    pub file: Arc<str>,
    /// The line.
    pub line: usize,
    /// The character in it.
    pub column: usize,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", printable(&self.file), self.line, self.column)
    }
}

/// How bad a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Accepted; it has no effect, or perhaps not the one that was meant.
    Warning,
    /// Valid Kickstart that osmith cannot carry out, or a value that makes no sense: an installation is refused before
    /// a disk is touched.
    Unsupported,
    /// Not valid, or a contradiction: always refused.
    Error,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Level::Warning => "warning",
            Level::Unsupported => "unsupported",
            Level::Error => "error",
        })
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// How bad it is.
    pub level: Level,
    /// Where.
    pub position: Position,
    /// What is wrong, without a final full stop.
    pub message: String,
    /// What to do instead; may be empty.
    pub remedy: String,
    /// The line with a marker under it, without secrets; may be empty.
    pub excerpt: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Problem {
            level,
            position,
            message,
            ..
        } = self;
        write!(f, "{position}: {level}: {}", printable(message))
    }
}

impl Problem {
    /// The problem, its line and what to do, a line each and without a final line end:
    ///
    /// ```text
    /// ks.cfg:3:10: error: unknown option '--lok' of rootpw
    ///  3 | rootpw --lok
    ///    |        ^^^^^ did you mean '--lock'?
    /// ```
    pub fn rendered(&self) -> String {
        let remedy = printable(&self.remedy);
        let text = match (self.excerpt.as_str(), remedy.as_str()) {
            ("", "") => self.to_string(),
            ("", remedy) => format!("{self}\n  {remedy}"),
            (excerpt, remedy) => format!("{self}\n{excerpt} {remedy}"),
        };
        text.trim_end().to_owned()
    }
}

/// Who asks whether a file is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// Whether it is valid in its dialect, whatever osmith can do.
    Language,
    /// Whether osmith installs from it.
    Installer,
}

impl View {
    /// The mildest level that is refused.
    pub fn refused_from(self, is_strict: bool) -> Level {
        match (self, is_strict) {
            (_, true) => Level::Warning,
            (View::Installer, false) => Level::Unsupported,
            (View::Language, false) => Level::Error,
        }
    }
}

/// Why an installation from a file is refused; never empty.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", rendered(.0))]
pub struct KickstartError(pub Vec<Problem>);

impl Failure for KickstartError {
    fn class(&self) -> Class {
        Class::Input
    }
}

fn rendered(problems: &[Problem]) -> String {
    let lines: Vec<_> = problems.iter().map(Problem::rendered).collect();
    lines.join("\n")
}
