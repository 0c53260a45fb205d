//! Why a script did not run, or ended the installation.

use std::io;
use std::path::{Path, PathBuf};

use osmith_report::{Class, Failure, Interrupted};
use osmith_sys::OsError;
use osmith_sys::sandbox::{Exit, SandboxError};

/// Why a script did not run, or ended the installation.
#[derive(Debug, thiserror::Error)]
pub enum ScriptError {
    /// It failed.
    #[error("{script} {}", ending(*exit))]
    Failed {
        /// The script and its position.
        script: String,
        /// How it ended.
        exit: Exit,
        /// The last lines that it wrote.
        last_lines: Vec<String>,
    },
    /// The program that is to run it cannot be started.
    #[error("{script} cannot be started by the interpreter '{interpreter}': {reason}")]
    Interpreter {
        /// The script and its position.
        script: String,
        /// The interpreter.
        interpreter: String,
        /// What is wrong with it.
        reason: String,
    },
    /// It is to run inside the installed system, which is not there yet.
    #[error("{script} cannot run in the installed system before there is one")]
    NoTarget {
        /// The script and its position.
        script: String,
    },
    /// It cannot run inside the installed system.
    #[error("{script} cannot run in the installed system")]
    Target {
        /// The script and its position.
        script: String,
        /// Why.
        source: Box<SandboxError>,
    },
    /// It cannot be followed.
    #[error("{script} cannot be followed")]
    Os {
        /// The script and its position.
        script: String,
        /// Why.
        source: OsError,
    },
    /// A file that it needs cannot be made.
    #[error("cannot {operation} '{}'", path.display())]
    Prepare {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Somebody asked to stop.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

impl ScriptError {
    pub(super) fn prepare(operation: &'static str, path: &Path, source: io::Error) -> Self {
        ScriptError::Prepare {
            operation,
            path: path.to_owned(),
            source,
        }
    }
}

fn ending(exit: Exit) -> String {
    match exit {
        Exit::Code(code) => format!("ended with the exit status {code}"),
        Exit::Signal(signal) => format!("was killed by signal {signal}"),
    }
}

impl Failure for ScriptError {
    fn class(&self) -> Class {
        match self {
            ScriptError::Failed { .. } => Class::Command,
            ScriptError::Interpreter { .. } => Class::Input,
            ScriptError::NoTarget { .. } => Class::Internal,
            ScriptError::Target { .. } | ScriptError::Os { .. } | ScriptError::Prepare { .. } => {
                Class::Environment
            }
            ScriptError::Interrupted(_) => Class::Interrupted,
        }
    }

    fn hints(&self) -> Vec<String> {
        let hint = match self {
            ScriptError::Failed { .. } => {
                "without --erroronfail the installation goes on after a script that fails"
            }
            ScriptError::Interpreter { .. } => {
                "correct --interpreter=, or add that program to the image: live system and installed one are the same"
            }
            _ => return Vec::new(),
        };
        vec![hint.to_owned()]
    }

    fn excerpt(&self) -> Option<String> {
        match self {
            ScriptError::Failed { last_lines, .. } if !last_lines.is_empty() => {
                let lines = last_lines.iter().map(|line| format!("  | {line}"));
                Some(lines.collect::<Vec<_>>().join("\n"))
            }
            _ => None,
        }
    }
}
