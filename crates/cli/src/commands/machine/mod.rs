//! Commands on a machine that runs a deployment.

mod fetch;
mod finalizer;
mod health;
mod kargs;
mod order;
mod record;
mod repair;
mod status;
mod update;
mod usr_overlay;

use std::path::Path;
use std::process::Command;

use osmith_machine::log::{LogEntry, LoggedDeployment, LoggedResult};
use osmith_machine::machine::{self, Machine};
use osmith_report::{Class, Failure, Observer};

use crate::failure::{CommandFailure, CommandResult};

pub(crate) use fetch::Found;
pub(crate) use health::health;
pub(crate) use kargs::kargs;
pub(crate) use order::{finalize, pin, rollback, unpin};
pub(crate) use record::log;
pub(crate) use repair::repair;
pub(crate) use status::status;
pub(crate) use update::{switch, upgrade};
pub(crate) use usr_overlay::usr_overlay;

/// The root directory of this machine.
const ROOT: &str = "/";

/// Opens this machine for changes. From then on this process sees mounts of its own, in which the physical root can be
/// written to.
fn open(operation: &str, observer: &dyn Observer) -> Result<Machine, Box<dyn Failure>> {
    machine::running(Path::new(ROOT))?;
    require_root(operation)?;
    let views = machine::make_writable(Path::new(ROOT))?;
    Ok(Machine::open(Path::new(ROOT), views, operation, observer)?)
}

fn require_root(operation: &str) -> Result<(), CommandFailure> {
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let failure = CommandFailure::new(Class::Environment, "only root can change what this machine runs");
    Err(failure.hint(format!("sudo osmith {operation}")))
}

/// What an operation did, for the record.
struct Done<T> {
    /// What the command goes on with.
    value: T,
    /// What the machine runs or is to run then; nothing is recorded without it.
    to: Option<LoggedDeployment>,
    /// What there is to say.
    message: Option<String>,
}

/// Runs an operation and writes into the record how it ended. What cannot be recorded does not undo the operation.
fn recorded<T>(
    machine: &Machine,
    operation: &str,
    work: impl FnOnce() -> Result<Done<T>, Box<dyn Failure>>,
) -> Result<T, Box<dyn Failure>> {
    let from = machine.logged(&machine.booted());
    let (result, entry) = match work() {
        Ok(done) => {
            let entry = done.to.map(|to| (Some(to), LoggedResult::Success, done.message));
            (Ok(done.value), entry)
        }
        Err(failure) if failure.class() == Class::Interrupted => (Err(failure), None),
        Err(failure) => {
            let message = crate::failure::with_causes(failure.as_ref());
            (Err(failure), Some((None, LoggedResult::Failure, Some(message))))
        }
    };
    if let Some((to, outcome, message)) = entry {
        let entry = LogEntry {
            time: record::now(),
            operation: operation.to_owned(),
            actor: record::actor(),
            from: Some(from),
            to,
            result: outcome,
            message,
        };
        machine.log(&entry)?;
        // Who may not see it all otherwise is told a little late, then.
        let _ = osmith_machine::status::publish(Path::new(ROOT));
    }
    result
}

/// Restarts the machine.
fn reboot() -> CommandResult {
    let failed = || CommandFailure::new(Class::Environment, "cannot restart the machine");
    match Command::new("systemctl").arg("reboot").status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(failed()
            .because(std::io::Error::other(format!("systemctl: {status}")))
            .into()),
        Err(error) => Err(failed().because(error).into()),
    }
}
