//! What speaks against an installation, all at once.

use std::sync::Arc;

use osmith_kickstart::{Level, Position, Problem};

/// The problems that are found while a file is planned.
#[derive(Debug)]
pub(super) struct Problems {
    file: Arc<str>,
    found: Vec<Problem>,
}

impl Problems {
    /// None yet, of the file of that name.
    pub(super) fn of(file: &str) -> Self {
        Problems {
            file: file.into(),
            found: Vec::new(),
        }
    }

    /// The installation cannot be; without a place it is the whole file's fault.
    pub(super) fn refuse(
        &mut self,
        position: Option<&Position>,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.add(Level::Unsupported, position, message.into(), remedy.into());
    }

    /// The installation may not be what was meant.
    pub(super) fn warn(
        &mut self,
        position: Option<&Position>,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.add(Level::Warning, position, message.into(), remedy.into());
    }

    fn add(&mut self, level: Level, position: Option<&Position>, message: String, remedy: String) {
        let whole_file = || Position {
            file: Arc::clone(&self.file),
            line: 1,
            column: 1,
        };
        self.found.push(Problem {
            level,
            position: position.cloned().unwrap_or_else(whole_file),
            message,
            remedy,
            excerpt: String::new(),
        });
    }

    /// Those that refuse, if there are some; else the warnings. In the order of the file.
    pub(super) fn finish(mut self) -> Result<Vec<Problem>, Vec<Problem>> {
        self.found
            .sort_by_key(|problem| (problem.position.line, problem.position.column));
        let is_refused = self.found.iter().any(|problem| problem.level > Level::Warning);
        match is_refused {
            true => Err(self.found),
            false => Ok(self.found),
        }
    }
}
