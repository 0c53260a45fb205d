//! Commands on containers: run, exec, ps, logs, stop, rm.

mod cgroups;
mod exec;
mod fetch;
mod list;
mod logs;
pub(crate) mod options;
mod remove;
mod run;

use std::fs::File;
use std::io::IsTerminal;
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;

use osmith_container::life::{Container, Containers};
use osmith_container::{Attachment, ContainerError};
use osmith_image::ReferenceError;
use osmith_image::store::{Access, Store, StoreError};
use osmith_report::{Class, Failure};
use osmith_sys::terminal::RawTerminal;

pub(crate) use exec::exec;
pub(crate) use list::ps;
pub(crate) use logs::logs;
pub(crate) use remove::{rm, stop};
pub(crate) use run::run;

use crate::args::{Global, WhichContainers};
use crate::failure::{self, CommandFailure};
use crate::location;
use crate::progress::Console;

/// What podman ends with if it is itself what failed.
const OWN_FAILURE: u8 = 125;

/// Why a command whose exit status is another command's has none of it.
enum NoStatus {
    Container(ContainerError),
    Other(Box<dyn Failure>),
}

macro_rules! from_failures {
    ($($failure:ty),*) => {
        $(impl From<$failure> for NoStatus {
            fn from(failure: $failure) -> Self {
                NoStatus::Other(failure.into())
            }
        })*
    };
}

from_failures!(StoreError, ReferenceError, CommandFailure, Box<dyn Failure>);

impl From<ContainerError> for NoStatus {
    fn from(error: ContainerError) -> Self {
        NoStatus::Container(error)
    }
}

/// The command's exit status, or podman's for what went wrong, which is told.
fn finish(result: Result<u8, NoStatus>, console: &Console) -> ExitCode {
    let (failure, status): (Box<dyn Failure>, u8) = match result {
        Ok(code) => return ExitCode::from(code),
        Err(NoStatus::Container(error)) => {
            let status = error.exit_status();
            (error.into(), status)
        }
        Err(NoStatus::Other(failure)) => (failure, OWN_FAILURE),
    };
    failure::report(failure.as_ref(), console);
    ExitCode::from(status)
}

/// The containers of the store, which is closed again: a command may run for long.
fn containers(global: &Global) -> Result<Containers, Box<dyn Failure>> {
    let store = Store::open(&location::store(global)?, Access::ReadOnly)?;
    Ok(Containers::new(store.containers_path()))
}

fn chosen(containers: &Containers, which: &WhichContainers) -> Result<Vec<Container>, ContainerError> {
    match (which.all, which.latest) {
        (true, _) => containers.list(),
        (false, true) => Ok(vec![containers.latest()?]),
        (false, false) => which
            .containers
            .iter()
            .map(|name| containers.find(name))
            .collect(),
    }
}

/// This command's streams as the user's side of a conversation.
struct Own {
    attachment: Attachment,
    /// Keeps the terminal from changing what is typed.
    _raw: Option<RawTerminal>,
}

impl Own {
    fn streams(input: bool, terminal: bool) -> Result<Self, CommandFailure> {
        let attachment = Attachment {
            input: input.then(|| again(std::io::stdin())).transpose()?,
            output: Some(again(std::io::stdout())?),
            errors: Some(again(std::io::stderr())?),
            window: (terminal && std::io::stdout().is_terminal())
                .then(|| again(std::io::stdout()).map(OwnedFd::from))
                .transpose()?,
        };
        let is_typed = input && terminal && std::io::stdin().is_terminal();
        let raw = is_typed
            .then(|| RawTerminal::enter(again(std::io::stdin())?.into()).map_err(broken))
            .transpose()?;
        Ok(Own {
            attachment,
            _raw: raw,
        })
    }
}

fn again(stream: impl AsFd) -> Result<File, CommandFailure> {
    stream
        .as_fd()
        .try_clone_to_owned()
        .map(File::from)
        .map_err(broken)
}

fn broken(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> CommandFailure {
    CommandFailure::new(
        Class::Environment,
        "cannot use this command's own input and output",
    )
    .because(error)
}
