//! `osmith fsck --repair`: what deployments lost comes back from where their images are.

use std::collections::BTreeSet;

use osmith_formats::verity::Digest;
use osmith_image::store::{Image, Store};
use osmith_image::{Sha256Digest, Transferred};
use osmith_machine::check::Damage;
use osmith_machine::deploy;
use osmith_machine::machine::Machine;
use osmith_report::{Class, Event, Failure, Observer, Severity};

use super::fetch::Found;
use super::{Done, open, recorded};
use crate::commands::drift::{check_repository, damage_lines, damaged};
use crate::commands::images::print;
use crate::commands::single_step;
use crate::failure::{CommandFailure, CommandResult, with_causes};
use crate::size::render;

type Fallible<T> = Result<T, Box<dyn Failure>>;

/// Fetches again what is damaged or missing.
pub(crate) fn repair(observer: &dyn Observer) -> CommandResult {
    let machine = open("fsck --repair", observer)?;
    let damages = check_repository(observer)?;
    if damages.is_empty() {
        return print("Nothing is damaged\n");
    }
    print(&damage_lines(&damages))?;
    let message = recorded(&machine, "repair", || {
        let store = machine.open_store()?;
        store.distrust(damages.iter().map(|damage| damage.digest));
        let repaired = repair_all(&machine, &store, &damages, observer)?;
        let message = told(&damages, &repaired.left, &repaired.transferred);
        if !repaired.left.is_empty() {
            print(&format!("{message}\n"))?;
            return Err(failure(repaired));
        }
        Ok(Done {
            value: message.clone(),
            to: Some(machine.logged(&machine.booted())),
            message: Some(message),
        })
    })?;
    print(&format!("{message}\n"))?;
    let is_running = |damage: &Damage| damage.deployments.contains(&machine.booted());
    if damages.iter().any(is_running) {
        observer.observe(Event::Message {
            severity: Severity::Note,
            text: "programs that run may still see what was damaged; restart the machine".to_owned(),
        });
    }
    Ok(())
}

/// What came of all deployments.
struct Repaired {
    transferred: Transferred,
    left: Vec<Damage>,
    /// Why the first deployment could not be repaired.
    failure: Option<Box<dyn Failure>>,
}

/// One deployment after the other; one that cannot be repaired does not keep another from it.
fn repair_all(
    machine: &Machine,
    store: &Store,
    damages: &[Damage],
    observer: &dyn Observer,
) -> Fallible<Repaired> {
    let mut transferred = Transferred::default();
    let mut failure = None;
    let deployments: BTreeSet<_> = damages.iter().flat_map(|damage| &damage.deployments).collect();
    for deployment in deployments {
        match repair_deployment(machine, store, deployment, observer) {
            Ok(more) => transferred += more,
            Err(error) if error.class() == Class::Interrupted => return Err(error),
            Err(error) => {
                let causes = with_causes(error.as_ref());
                observer.observe(Event::Message {
                    severity: Severity::Warning,
                    text: format!("deployment {deployment} was not repaired: {causes}"),
                });
                failure.get_or_insert(error);
            }
        }
    }
    let left = check_repository(observer)?;
    Ok(Repaired {
        transferred,
        left,
        failure,
    })
}

fn repair_deployment(
    machine: &Machine,
    store: &Store,
    deployment: &Digest,
    observer: &dyn Observer,
) -> Fallible<Transferred> {
    let origin = machine.origin(deployment)?;
    let manifest = origin.manifest_digest.ok_or_else(|| {
        let text = "its origin does not say which image it was made of";
        CommandFailure::new(Class::NotFound, text).hint("'osmith upgrade' replaces the deployment")
    })?;
    let (image, transferred) = match whole_image(store, &manifest)? {
        Some(image) => (image, Transferred::default()),
        None => {
            let found = Found::find_again(&origin.source, &manifest, observer)?;
            let title = format!("fetch what is damaged of {}", origin.source.image);
            single_step(observer, title, |step| found.fetch(store, observer, step))?
        }
    };
    if !deploy::rewrite_documents(machine, store, &image, deployment, observer)? {
        observer.observe(Event::Message {
            severity: Severity::Note,
            text: format!(
                "deployment {deployment} was made by another program: only its files were repaired"
            ),
        });
    }
    Ok(transferred)
}

/// The image, if all its contents are in the store.
fn whole_image(store: &Store, manifest: &Sha256Digest) -> Fallible<Option<Image>> {
    let known = deploy::image_name(manifest).and_then(|name| store.image(&name).ok());
    match known {
        Some(image) if deploy::incomplete_layers(store, &image)?.is_empty() => Ok(Some(image)),
        _ => Ok(None),
    }
}

fn told(damages: &[Damage], left: &[Damage], transferred: &Transferred) -> String {
    format!(
        "{} of {} damaged objects repaired, {} fetched in {} layers",
        damages.len().saturating_sub(left.len()),
        damages.len(),
        render(transferred.fetched_bytes),
        transferred.layers_fetched,
    )
}

/// Why there is damage left.
fn failure(repaired: Repaired) -> Box<dyn Failure> {
    repaired.failure.unwrap_or_else(|| {
        let failure = damaged(&repaired.left);
        failure
            .hint("'osmith upgrade' or 'osmith switch' make a new deployment")
            .into()
    })
}
