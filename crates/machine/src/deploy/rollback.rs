//! Back to the deployment before: the order of the boot menu changes at once, and nothing else.

use osmith_formats::verity::Digest;

use super::{DeployError, Result, unstage};
use crate::boot_menu::{BootMenu, MenuEntry};
use crate::esp::Esp;
use crate::machine::Machine;
use crate::staged::StagedDeployment;

/// What came of a rollback.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RolledBack {
    /// An update was staged; it was dropped, and the deployment that runs starts next.
    Dropped(Digest),
    /// This deployment starts next.
    Queued(Digest),
}

/// Goes back to the deployment before the one that runs. With an update staged, only that is dropped; a second rollback
/// takes the first one back.
pub fn rollback(machine: &Machine) -> Result<RolledBack> {
    let esp = machine.esp()?;
    let staged = StagedDeployment::read(machine.root()).ok().flatten();
    if let Some(staged) = staged {
        unstage(machine, &esp)?;
        return Ok(RolledBack::Dropped(staged.deployment));
    }
    let menu = esp.menu()?;
    let target = target(&menu, &machine.booted())?;
    put_first(&esp, menu, &target)?;
    Ok(RolledBack::Queued(target))
}

/// The deployment that runs, if another one starts next; else the next one in the menu that may start by itself.
fn target(menu: &BootMenu, booted: &Digest) -> Result<Digest> {
    let usable = |entry: &&MenuEntry| !entry.counter.is_some_and(|counter| counter.is_exhausted());
    let mut deployments = menu
        .entries
        .iter()
        .filter(usable)
        .filter_map(MenuEntry::deployment);
    match deployments.next() {
        Some(first) if first != *booted && menu.of(booted).is_some() => Ok(*booted),
        _ => deployments
            .find(|deployment| deployment != booted)
            .ok_or(DeployError::NothingToRollBackTo),
    }
}

/// Makes a deployment of the menu the first, in one step.
fn put_first(esp: &Esp, menu: BootMenu, deployment: &Digest) -> Result<()> {
    let (mut entries, others): (Vec<_>, Vec<_>) = menu
        .entries
        .into_iter()
        .partition(|entry| entry.deployment().as_ref() == Some(deployment));
    let os_id = entries.first().map_or("linux", os_id).to_owned();
    entries.extend(others);
    esp.write_staged_menu(&BootMenu { entries }.in_this_order(&os_id))?;
    Ok(esp.exchange_menus()?)
}

/// The ID of the system of an entry, as its sort key has it.
pub(crate) fn os_id(entry: &MenuEntry) -> &str {
    let key = entry
        .entry
        .sort_key
        .as_deref()
        .and_then(|key| key.strip_prefix("bootc-"));
    key.and_then(|key| key.rsplit_once('-'))
        .map_or("linux", |(id, _)| id)
}
