//! Changing which deployments a machine has, and which of them starts.
//!
//! ```text
//! stage      an image is written beside what runs, and a boot menu for the shutdown
//! finalize   at the shutdown: local changes of /etc are merged, the boot menus change places in one step
//! rollback   the order of the menu changes, at once
//! collect    what no deployment needs is removed
//! ```
//!
//! Until the menus change places, a machine that is cut off from power starts what it started before.

mod collect;
mod finalize;
mod images;
mod kargs;
mod persistence;
mod pin;
mod repair;
mod rollback;
mod stage;
mod write;

use std::fs;
use std::io;

use osmith_formats::verity::Digest;

use crate::boot_menu::BootMenu;
use crate::esp::Esp;
use crate::machine::Machine;
use crate::staged::StagedDeployment;

pub use crate::deploy_error::DeployError;
pub(crate) use crate::deploy_error::failed;
pub use collect::{Collected, collect};
pub use finalize::{Finalized, finalize, unlock};
pub use images::{image_name, incomplete_layers};
pub use kargs::{KargsChange, change_kargs, kargs};
pub use persistence::{LeftBehind, keeps_etc};
pub use pin::{find_deployment, set_pinned, set_source};
pub use repair::rewrite_documents;
pub(crate) use rollback::os_id;
pub use rollback::{RolledBack, rollback};
pub(crate) use stage::{ESP_SPARE_BYTES, needed_bytes, require_space};
pub use stage::{StageRequest, Staging, stage};
pub(crate) use write::TreeWriter;

/// What stands behind the names of `etc` and of the origin that wait beside those of a deployment that is there.
const STAGED: &str = ".staged";

type Result<T> = std::result::Result<T, DeployError>;

/// Drops what is staged: first what makes the shutdown use it, then the rest.
fn unstage(machine: &Machine, esp: &Esp) -> Result<()> {
    let root = machine.root();
    let staged = StagedDeployment::read(root).ok().flatten();
    StagedDeployment::remove(root).map_err(|error| failed("drop the staged deployment of", root, error))?;
    esp.remove_staged_menu()?;
    let Some(staged) = staged else {
        return Ok(());
    };
    match esp.menu()?.of(&staged.deployment) {
        Some(_) => remove_staged_state(machine, &staged.deployment),
        None => remove_state(machine, &staged.deployment),
    }
}

/// Removes what waits beside the state of a deployment.
fn remove_staged_state(machine: &Machine, deployment: &Digest) -> Result<()> {
    let state = machine.state(deployment);
    remove(&state.join(format!("etc{STAGED}")))?;
    remove(&state.join(format!("{deployment}.origin{STAGED}")))
}

/// Removes the state of a deployment that is in no menu. `/var` is only linked there.
fn remove_state(machine: &Machine, deployment: &Digest) -> Result<()> {
    remove(&machine.state(deployment))
}

/// Removes kernels that no entry of these menus starts.
fn remove_unused_kernels(esp: &Esp, menus: &[&BootMenu]) -> Result<()> {
    for name in esp.kernel_names()? {
        if !menus.iter().any(|menu| menu.uses_kernel(&name)) {
            esp.remove_kernel(&name)?;
        }
    }
    Ok(())
}

/// Removes a file, or a folder with all in it; there need be none.
fn remove(path: &std::path::Path) -> Result<()> {
    let removed = match path.symlink_metadata() {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", path, error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
