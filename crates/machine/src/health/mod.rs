//! Whether the deployment that runs is healthy, and what follows from it.
//!
//! A new deployment has a boot counter. At every start the boot loader takes one off; the checks here then decide:
//!
//! ```text
//! all passed         the counter goes, the deployment stays                        (blessed)
//! one failed         the reason is recorded, the machine is to start again         (a try less)
//! no tries left      the boot loader starts the previous deployment; there it is recorded that the other one failed
//! not reached        the same: whether the kernel panics or the start hangs, the tries run out
//! ```
//!
//! A deployment without counter is checked too, and never left. Nothing here starts the machine again: that is for who
//! is told to. Source for the counters: the Boot Loader Specification, systemd's "Automatic Boot Assessment".

mod boot;
mod checks;
mod error;
mod fallback;
mod own_folder;
mod run;

pub use boot::{Boot, BootReport, DeadlineReport, Restart};
pub use checks::{Check, Checks, find};
pub use error::HealthError;
pub use own_folder::OwnFolder;
pub use run::{CheckOutcome, CheckResult, run};

/// Whether no check failed that must not fail.
pub fn is_healthy(results: &[CheckResult]) -> bool {
    first_failure(results).is_none()
}

fn first_failure(results: &[CheckResult]) -> Option<&CheckResult> {
    results
        .iter()
        .find(|result| result.required && !result.has_passed())
}

#[cfg(test)]
mod tests;
