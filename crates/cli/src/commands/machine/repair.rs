//! `osmith fsck --repair`: what deployments lost comes back from where their images are.

use std::collections::BTreeSet;

use osmith_formats::verity::Digest;
use osmith_image::Transferred;
use osmith_image::store::{Image, Store};
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
        let repaired = Repair::of(&machine, &damages, observer)?;
        let message = repaired.message();
        if !repaired.left.is_empty() {
            print(&format!("{message}\n"))?;
            return Err(repaired.failure());
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
            text: "the kernel may still refuse what was damaged; restart the machine".to_owned(),
        });
    }
    Ok(())
}

/// What came of all deployments.
#[derive(Default)]
struct Repair {
    /// What was damaged.
    found: BTreeSet<Digest>,
    transferred: Transferred,
    left: Vec<Damage>,
    /// Why the first deployment could not be repaired.
    reason: Option<Box<dyn Failure>>,
}

impl Repair {
    /// Repairs until nothing new is found: an image that is damaged does not say what else is.
    fn of(machine: &Machine, damages: &[Damage], observer: &dyn Observer) -> Fallible<Self> {
        let store = machine.open_store()?;
        let mut repair = Repair {
            left: damages.to_vec(),
            ..Repair::default()
        };
        loop {
            let known = repair.found.clone();
            let is_new = |damage: &&Damage| !known.contains(&damage.digest);
            let new: Vec<_> = repair.left.iter().filter(is_new).cloned().collect();
            if new.is_empty() {
                return Ok(repair);
            }
            if !known.is_empty() {
                print(&damage_lines(&new))?;
            }
            repair.found.extend(new.iter().map(|damage| damage.digest));
            store.distrust(new.iter().map(|damage| damage.digest));
            repair.repair_all(machine, &store, &new, observer)?;
            repair.left = check_repository(observer)?;
        }
    }

    /// One deployment after the other; one that cannot be repaired does not keep another from it.
    fn repair_all(
        &mut self,
        machine: &Machine,
        store: &Store,
        damages: &[Damage],
        observer: &dyn Observer,
    ) -> Fallible<()> {
        let deployments: BTreeSet<_> = damages.iter().flat_map(|damage| &damage.deployments).collect();
        for deployment in deployments {
            match repair_deployment(machine, store, deployment, observer) {
                Ok(more) => self.transferred += more,
                Err(error) if error.class() == Class::Interrupted => return Err(error),
                Err(error) => {
                    let causes = with_causes(error.as_ref());
                    observer.observe(Event::Message {
                        severity: Severity::Warning,
                        text: format!("deployment {deployment} was not repaired: {causes}"),
                    });
                    self.reason.get_or_insert(error);
                }
            }
        }
        Ok(())
    }

    fn message(&self) -> String {
        format!(
            "{} of {} damaged objects repaired, {} fetched in {} layers",
            self.found.len().saturating_sub(self.left.len()),
            self.found.len(),
            render(self.transferred.fetched_bytes),
            self.transferred.layers_fetched,
        )
    }

    /// Why there is damage left.
    fn failure(self) -> Box<dyn Failure> {
        self.reason.unwrap_or_else(|| {
            let failure = damaged(&self.left);
            failure
                .hint("'osmith upgrade' or 'osmith switch' make a new deployment")
                .into()
        })
    }
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
    let known = deploy::image_name(&manifest).and_then(|name| store.image(&name).ok());
    let (image, transferred) = match known {
        Some(image) if deploy::incomplete_layers(store, &image)?.is_empty() => {
            (image, Transferred::default())
        }
        known => {
            let config = known.as_ref().map(Image::id);
            let found = Found::find_again(&origin.source, &manifest, config, observer)?;
            let title = format!("fetch what is damaged of {}", origin.source.image);
            let (fetched, transferred) =
                single_step(observer, title, |step| found.fetch(store, observer, step))?;
            (known.unwrap_or(fetched), transferred)
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
