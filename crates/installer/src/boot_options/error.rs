//! What is wrong with a kernel command line.

use std::fmt;

use osmith_report::{Class, Failure};

/// What is wrong with one argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootProblem {
    /// As it was given, without passwords.
    pub argument: String,
    /// What is wrong with it.
    pub reason: String,
    /// A right one.
    pub example: String,
}

impl fmt::Display for BootProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let BootProblem {
            argument,
            reason,
            example,
        } = self;
        write!(f, "kernel argument '{argument}': {reason} (right is: {example})")
    }
}

/// A kernel command line that cannot be followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", lines(.problems))]
pub struct BootOptionsError {
    /// All that is wrong, in the order of the arguments; at least one.
    pub problems: Vec<BootProblem>,
}

fn lines(problems: &[BootProblem]) -> String {
    let lines: Vec<String> = problems.iter().map(BootProblem::to_string).collect();
    lines.join("\n")
}

impl Failure for BootOptionsError {
    fn class(&self) -> Class {
        Class::Usage
    }

    fn hints(&self) -> Vec<String> {
        vec!["correct the kernel command line in the boot menu, or where it comes from: PXE, iPXE or the medium".to_owned()]
    }
}
