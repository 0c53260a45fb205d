//! What is wrong, or will be, with an image that machines are to boot.
//!
//! Each [`Check`] looks at one thing in the tree of an image, says why it matters and which line of a Containerfile
//! mends it. Those of `bootc container lint` have its names, so that what is skipped there can be skipped here.
//!
//! Source of those: `bootc-container-lint(8)`. Left out: what only the ostree backend needs, unless the image is made
//! for it.

mod checks;
mod view;

use osmith_image::store::{Image, Store, StoreError};
use osmith_report::{Class, Failure};
use serde::Serialize;

pub use checks::CHECKS;
pub use view::View;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// A machine does not boot, or not as it should.
    Error,
    /// It will be a nuisance some day.
    Warning,
}

/// One thing to look at.
#[derive(Debug)]
pub struct Check {
    /// Its name, for `--skip`.
    pub name: &'static str,
    /// How bad a finding is.
    pub severity: Severity,
    /// What should be, and why.
    pub reason: &'static str,
    /// What to write into the Containerfile.
    pub remedy: &'static str,
    /// What is not as it should be, each a path or a sentence; empty if all is well.
    find: fn(&View<'_>) -> Result<Vec<String>, LintError>,
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The name of the check.
    pub check: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What should be, and why.
    pub reason: &'static str,
    /// What to write into the Containerfile.
    pub remedy: &'static str,
    /// What is not as it should be.
    pub items: Vec<String>,
}

/// Why an image could not be looked at.
#[derive(Debug, thiserror::Error)]
pub enum LintError {
    /// A file cannot be read.
    #[error("cannot read '/{path}' of the image")]
    Read {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Failure for LintError {
    fn class(&self) -> Class {
        match self {
            LintError::Read { .. } => Class::Environment,
            LintError::Store(error) => error.class(),
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            LintError::Read { .. } => Vec::new(),
            LintError::Store(error) => error.hints(),
        }
    }
}

/// What the checks find that are not skipped, in their order.
pub fn lint(store: &Store, image: &Image, skip: &[&str]) -> Result<Vec<Finding>, LintError> {
    let view = View::new(store, image)?;
    let mut findings = Vec::new();
    for check in CHECKS.iter().filter(|check| !skip.contains(&check.name)) {
        let items = (check.find)(&view)?;
        if !items.is_empty() {
            findings.push(Finding {
                check: check.name,
                severity: check.severity,
                reason: check.reason,
                remedy: check.remedy,
                items,
            });
        }
    }
    Ok(findings)
}
