//! `osmith rollback`, `pin`, `unpin`, and what happens at the shutdown.

use std::path::PathBuf;

use osmith_formats::verity::Digest;
use osmith_machine::deploy::{self, Finalized, RolledBack};
use osmith_machine::machine::Machine;
use osmith_report::Observer;

use super::{Done, open, reboot, recorded};
use crate::args::{FinalizeArgs, PinArgs, RollbackArgs};
use crate::commands::images::print;
use crate::failure::CommandResult;

pub(crate) fn rollback(args: &RollbackArgs, observer: &dyn Observer) -> CommandResult {
    let machine = open("rollback", observer)?;
    let rolled_back = recorded(&machine, "rollback", || {
        let rolled_back = deploy::rollback(&machine)?;
        let (to, message) = match rolled_back {
            RolledBack::Dropped(staged) => (machine.booted(), Some(format!("dropped the staged {staged}"))),
            RolledBack::Queued(next) => (next, None),
        };
        Ok(Done {
            value: rolled_back,
            to: Some(machine.logged(&to)),
            message,
        })
    })?;
    let text = match rolled_back {
        RolledBack::Dropped(staged) => {
            format!(
                "The staged update was dropped: {}\n",
                described(&machine, &staged)
            )
        }
        RolledBack::Queued(next) if next == machine.booted() => {
            "The rollback was taken back: the next reboot starts what runs now.\n".to_owned()
        }
        RolledBack::Queued(next) => format!("Next reboot: {}\n", described(&machine, &next)),
    };
    print(&text)?;
    if let RolledBack::Queued(next) = rolled_back
        && !deploy::keeps_etc(&machine, &next).unwrap_or(true)
    {
        print("Its image makes /etc anew at every start.\n")?;
    }
    match rolled_back {
        RolledBack::Queued(_) if args.apply => reboot(),
        _ => Ok(()),
    }
}

pub(crate) fn pin(args: &PinArgs, observer: &dyn Observer) -> CommandResult {
    set_pinned(args, true, observer)
}

pub(crate) fn unpin(args: &PinArgs, observer: &dyn Observer) -> CommandResult {
    set_pinned(args, false, observer)
}

fn set_pinned(args: &PinArgs, pinned: bool, observer: &dyn Observer) -> CommandResult {
    let operation = if pinned { "pin" } else { "unpin" };
    let machine = open(operation, observer)?;
    let deployment = recorded(&machine, operation, || {
        let deployment = deploy::find_deployment(&machine, args.deployment.as_deref())?;
        let is_changed = deploy::set_pinned(&machine, &deployment, pinned)?;
        Ok(Done {
            value: deployment,
            to: is_changed.then(|| machine.logged(&deployment)),
            message: None,
        })
    })?;
    let state = if pinned { "Pinned" } else { "Not pinned" };
    print(&format!("{state}: {}\n", described(&machine, &deployment)))
}

pub(crate) fn finalize(_: &FinalizeArgs, observer: &dyn Observer) -> CommandResult {
    let machine = open("finalize", observer)?;
    let finalized = recorded(&machine, "finalize", || {
        let finalized = deploy::finalize(&machine)?;
        let (to, message) = match &finalized {
            Finalized::Done { deployment, shadowed } => (Some(machine.logged(deployment)), told(shadowed)),
            _ => (None, None),
        };
        Ok(Done {
            value: finalized,
            to,
            message,
        })
    })?;
    match finalized {
        Finalized::Nothing => Ok(()),
        Finalized::Locked(_) => print("What is staged was only downloaded and does not start.\n"),
        Finalized::Done { deployment, .. } => {
            print(&format!("Starts next: {}\n", described(&machine, &deployment)))
        }
    }
}

/// What of the image's `/etc` does not come into effect, as it was changed here.
pub(super) fn told(shadowed: &[PathBuf]) -> Option<String> {
    let paths: Vec<_> = shadowed
        .iter()
        .map(|path| format!("/etc/{}", path.display()))
        .collect();
    match paths.as_slice() {
        [] => None,
        paths => Some(format!(
            "changed here, so the image's version is not used: {}",
            paths.join(", ")
        )),
    }
}

/// A deployment with the image it is of.
pub(super) fn described(machine: &Machine, deployment: &Digest) -> String {
    match machine.origin(deployment) {
        Ok(origin) => format!("{} ({deployment})", origin.source.image),
        Err(_) => deployment.to_string(),
    }
}
