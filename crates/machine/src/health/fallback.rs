//! After a deployment ran out of tries: what is recorded of it, and its place in the menu.

use osmith_formats::verity::Digest;
use osmith_report::Observer;

use super::HealthError;
use super::boot::{Boot, file_error, now};
use crate::boot_menu::{BootMenu, MenuEntry};
use crate::deploy::os_id;
use crate::esp::Esp;
use crate::failures::{FailedDeployment, Failures};
use crate::log::{self, LogEntry, LoggedResult};

/// Records the deployments that ran out of tries, other than the one that runs. The record of failures comes first: what
/// is missing in the record of operations is added at the next start.
pub(super) fn record(
    boot: &Boot<'_>,
    menu: &BootMenu,
    booted: &Digest,
    observer: &dyn Observer,
) -> Result<(), HealthError> {
    let failed: Vec<_> = exhausted(menu)
        .filter(|(deployment, _)| deployment != booted)
        .collect();
    if failed.is_empty() {
        return Ok(());
    }
    let _lock = boot.lock(observer)?;
    let mut failures = Failures::read(&boot.failures())?;
    let mut is_changed = false;
    for (deployment, tries) in &failed {
        if failures.find_deployment(deployment).is_none() {
            let failure = give_up(boot, &failures, deployment, *tries);
            failures.record(failure);
            is_changed = true;
        }
    }
    if is_changed {
        observer.require_running()?;
        failures.write(&boot.failures())?;
    }
    for (deployment, _) in &failed {
        if let Some(failure) = failures.find_deployment(deployment) {
            log_once(boot, deployment, booted, failure, observer)?;
        }
    }
    Ok(())
}

/// The deployments without tries left, and how many they had.
fn exhausted(menu: &BootMenu) -> impl Iterator<Item = (Digest, u32)> {
    menu.entries.iter().filter_map(|entry| {
        let counter = entry.counter.filter(|counter| counter.is_exhausted())?;
        Some((entry.deployment()?, counter.done))
    })
}

fn give_up(boot: &Boot<'_>, failures: &Failures, deployment: &Digest, tries: u32) -> FailedDeployment {
    let origin = boot.origin(deployment);
    let last = failures.tries_of(deployment).next_back();
    FailedDeployment {
        check: last.and_then(|failed| failed.check.clone()),
        deployment: deployment.to_string(),
        image: origin.as_ref().map(|origin| origin.source.image.clone()),
        transport: origin.as_ref().map(|origin| origin.source.transport.clone()),
        manifest_digest: origin.and_then(|origin| origin.manifest_digest),
        reason: match last {
            Some(failed) => failed.reason.clone(),
            None => format!("did not start: no health check was reached in {tries} tries"),
        },
        time: now(),
        tries,
    }
}

fn log_once(
    boot: &Boot<'_>,
    failed: &Digest,
    booted: &Digest,
    failure: &FailedDeployment,
    observer: &dyn Observer,
) -> Result<(), HealthError> {
    const OPERATION: &str = "fallback";
    let path = boot.log_path();
    let known = log::read(&path).map_err(file_error("read", &path))?.entries;
    let is_known = known.iter().any(|entry| {
        let from = entry.from.as_ref();
        entry.operation == OPERATION
            && entry.time == failure.time
            && from.is_some_and(|from| from.deployment == failure.deployment)
    });
    if is_known {
        return Ok(());
    }
    observer.require_running()?;
    boot.append_log(&LogEntry {
        time: failure.time.clone(),
        operation: OPERATION.to_owned(),
        actor: boot.actor.clone(),
        from: Some(boot.logged(failed)),
        to: Some(boot.logged(booted)),
        result: LoggedResult::Success,
        message: Some(format!(
            "given up after {} tries: {}",
            failure.tries, failure.reason
        )),
    })
}

/// Whether deployments that failed come last by their sort keys too, and not only because the boot loader puts them
/// there.
pub(super) fn is_in_order(menu: &BootMenu) -> bool {
    let without_counters = menu.entries.iter().map(|entry| {
        let entry = MenuEntry {
            counter: None,
            ..entry.clone()
        };
        (entry.file_name(), entry.entry.to_text())
    });
    BootMenu::new(without_counters).deployments() == menu.deployments()
}

/// Gives the entries sort keys that keep the order in which the boot loader offers them: the one that starts next stays
/// the first, whoever chose it. A menu that an update left for the shutdown is brought in line instead, as that takes the
/// place of the other.
pub(super) fn reorder(
    boot: &Boot<'_>,
    esp: &Esp,
    booted: &Digest,
    is_healthy: bool,
    observer: &dyn Observer,
) -> Result<(), HealthError> {
    let is_staged = boot.root.join("run/composefs/staged-deployment").exists();
    let staged = esp.staged_menu()?.filter(|_| is_staged);
    observer.require_running()?;
    match staged {
        Some(mut staged) => {
            let is_booted = |entry: &&mut MenuEntry| entry.deployment().as_ref() == Some(booted);
            if let Some(entry) = staged.entries.iter_mut().find(is_booted)
                && is_healthy
            {
                entry.counter = None;
            }
            esp.write_staged_menu(&staged)?;
        }
        None => {
            let menu = esp.menu()?;
            let first = menu.entries.first().map_or("linux", os_id).to_owned();
            esp.write_staged_menu(&menu.in_this_order(&first))?;
            observer.require_running()?;
            esp.exchange_menus()?;
        }
    }
    Ok(())
}
