//! `osmith upgrade` and `osmith switch`: another image becomes the next deployment.

use std::path::Path;

use osmith_formats::verity::Digest;
use osmith_image::{Sha256Digest, Transferred};
use osmith_machine::deploy::{self, StageRequest, Staging};
use osmith_machine::failures::Failures;
use osmith_machine::machine::Machine;
use osmith_machine::origin::{ImageSource, Origin};
use osmith_machine::staged::StagedDeployment;
use osmith_report::{Class, Event, Failure, Observer, Severity};

use super::fetch::Found;
use super::finalizer;
use super::order::{described, told as told_shadowed};
use super::{Done, ROOT, open, reboot, recorded};
use crate::args::{SwitchArgs, UpgradeArgs};
use crate::commands::images::print;
use crate::commands::single_step;
use crate::failure::{CommandFailure, CommandResult};
use crate::size::render;

type Fallible<T> = Result<T, Box<dyn Failure>>;

pub(crate) fn upgrade(args: &UpgradeArgs, observer: &dyn Observer) -> CommandResult {
    let machine = open("upgrade", observer)?;
    let next = Next::of(&machine)?;
    if args.from_downloaded {
        return use_downloaded(&machine, args.apply);
    }
    let latest = Found::find(&next.origin.source, observer)?;
    if args.check {
        return print(&checked(&next, &latest));
    }
    let request = Request {
        operation: "upgrade",
        source: next.origin.source.clone(),
        download_only: args.download_only,
        retry: args.retry,
        apply: args.apply,
    };
    request.run(&machine, &next, &latest, observer)
}

pub(crate) fn switch(args: &SwitchArgs, observer: &dyn Observer) -> CommandResult {
    let machine = open("switch", observer)?;
    let next = Next::of(&machine)?;
    let source = ImageSource {
        image: image_name(args)?,
        transport: args.transport.clone(),
        signature: next.origin.source.signature.clone(),
    };
    if args.mutate_in_place {
        deploy::set_source(&machine, &machine.booted(), source.clone())?;
        return print(&format!("From now on this machine follows {}\n", source.image));
    }
    let latest = Found::find(&source, observer)?;
    let request = Request {
        operation: "switch",
        source,
        download_only: false,
        retry: args.retry,
        apply: false,
    };
    request.run(&machine, &next, &latest, observer)?;
    if args.retain {
        deploy::set_pinned(&machine, &machine.booted(), true)?;
    }
    let is_staged = StagedDeployment::read(Path::new(ROOT)).ok().flatten().is_some();
    if args.apply && is_staged { reboot() } else { Ok(()) }
}

/// A path must mean the same wherever and whenever the machine looks for it.
fn image_name(args: &SwitchArgs) -> Fallible<String> {
    if args.transport == "registry" {
        return Ok(args.image.clone());
    }
    let absolute = std::path::absolute(Path::new(&args.image)).map_err(|error| {
        CommandFailure::new(Class::Usage, format!("cannot tell where '{}' is", args.image)).because(error)
    })?;
    Ok(absolute.to_string_lossy().into_owned())
}

/// What the machine runs after the next reboot, if nothing else is done.
struct Next {
    deployment: Digest,
    origin: Origin,
    staged: Option<StagedDeployment>,
}

impl Next {
    fn of(machine: &Machine) -> Fallible<Self> {
        let staged = StagedDeployment::read(Path::new(ROOT)).ok().flatten();
        let is_whole = |staged: &StagedDeployment| machine.staged_origin(&staged.deployment).is_ok();
        let staged = staged.filter(is_whole);
        let (deployment, origin) = match staged {
            Some(staged) => (staged.deployment, machine.staged_origin(&staged.deployment)?),
            None => (machine.booted(), machine.origin(&machine.booted())?),
        };
        Ok(Next {
            deployment,
            origin,
            staged,
        })
    }

    fn runs(&self, manifest: &Sha256Digest) -> bool {
        self.origin.manifest_digest.as_ref() == Some(manifest)
    }
}

/// What `--check` found.
fn checked(next: &Next, latest: &Found) -> String {
    let image = &next.origin.source.image;
    if next.runs(&latest.manifest_digest()) {
        return format!("No changes in {image}: {}\n", latest.manifest_digest());
    }
    let bytes = latest
        .manifest()
        .layers
        .iter()
        .map(|layer| layer.size_bytes)
        .sum();
    let mut text = format!(
        "Update available for {image}\n  Digest: {}\n",
        latest.manifest_digest()
    );
    for (label, value) in [
        ("Version", latest.version()),
        ("Created", latest.config().created.as_deref()),
    ] {
        text += &value.map_or_else(String::new, |value| format!("  {label}: {value}\n"));
    }
    text + &format!(
        "  Layers: {}, {}\n",
        latest.manifest().layers.len(),
        render(bytes)
    )
}

fn use_downloaded(machine: &Machine, apply: bool) -> CommandResult {
    finalizer::ensure_active()?;
    let staged = recorded(machine, "upgrade", || {
        let staged = deploy::unlock(machine)?;
        Ok(Done {
            value: staged,
            to: Some(machine.logged(&staged)),
            message: Some("what was downloaded starts next".to_owned()),
        })
    })?;
    print(&format!("Next reboot: {}\n", described(machine, &staged)))?;
    if apply { reboot() } else { Ok(()) }
}

/// An image that shall run next.
struct Request {
    operation: &'static str,
    source: ImageSource,
    download_only: bool,
    retry: bool,
    apply: bool,
}

impl Request {
    fn run(&self, machine: &Machine, next: &Next, latest: &Found, observer: &dyn Observer) -> CommandResult {
        let is_next = next.runs(&latest.manifest_digest()) && next.origin.source == self.source;
        if is_next && next.staged.is_none() {
            return print(&format!(
                "No changes in {}: {}\n",
                self.source.image,
                latest.manifest_digest()
            ));
        }
        finalizer::ensure_active()?;
        match next.staged {
            Some(staged) if is_next && staged.download_only == self.download_only => {
                print(&format!(
                    "Already staged: {}\n",
                    described(machine, &next.deployment)
                ))?;
                return if self.apply { reboot() } else { Ok(()) };
            }
            Some(staged) if is_next && staged.download_only => return use_downloaded(machine, self.apply),
            _ => {}
        }
        if let Some(reason) = self.refusal(machine, &latest.manifest_digest())? {
            observer.observe(Event::Message {
                severity: Severity::Warning,
                text: reason,
            });
            return Ok(());
        }
        let staging = recorded(machine, self.operation, || self.stage(machine, latest, observer))?;
        match staging {
            Staging::Running(_) => {
                print("The image has the files that run already; only its name was noted.\n")
            }
            Staging::Staged {
                deployment,
                shadowed,
                left,
            } => {
                for left in left {
                    observer.observe(Event::Message {
                        severity: Severity::Warning,
                        text: left.to_string(),
                    });
                }
                if let Some(text) = told_shadowed(&shadowed) {
                    observer.observe(Event::Message {
                        severity: Severity::Note,
                        text,
                    });
                }
                let when = if self.download_only {
                    "Downloaded"
                } else {
                    "Next reboot"
                };
                print(&format!("{when}: {}\n", described(machine, &deployment)))?;
                if self.apply { reboot() } else { Ok(()) }
            }
        }
    }

    /// Why an image is not staged that did not become healthy before.
    fn refusal(&self, machine: &Machine, manifest: &Sha256Digest) -> Fallible<Option<String>> {
        let path = machine.failures_path();
        let mut failures = Failures::read(&path)?;
        let Some(failed) = failures.find_manifest(manifest) else {
            return Ok(None);
        };
        if self.retry {
            if let Ok(deployment) = failed.deployment.parse() {
                failures.forget(&deployment);
                failures.write(&path)?;
            }
            return Ok(None);
        }
        Ok(Some(format!(
            "{} was not staged: {manifest} did not become healthy on {}: {}. It is tried again when the image changes, or now with --retry",
            self.source.image, failed.time, failed.reason
        )))
    }

    fn stage(&self, machine: &Machine, latest: &Found, observer: &dyn Observer) -> Fallible<Done<Staging>> {
        let store = machine.open_store()?;
        let title = format!("fetch {}", self.source.image);
        let (image, transferred) = single_step(observer, title, |step| latest.fetch(&store, observer, step))?;
        let request = StageRequest {
            image: &image,
            source: self.source.clone(),
            download_only: self.download_only,
        };
        let staging = deploy::stage(machine, &store, &request, observer)?;
        let collected = deploy::collect(machine, &store, observer)?;
        let (Staging::Staged { deployment, .. } | Staging::Running(deployment)) = &staging;
        let mut to = machine.logged(deployment);
        to.image = Some(self.source.image.clone());
        to.digest = Some(latest.manifest_digest().to_string());
        to.version = latest.version().map(str::to_owned);
        let mut message = format!("{}; {} freed", told(&transferred), render(collected.size_bytes));
        print(&format!("{message}\n"))?;
        if let Staging::Staged { left, .. } = &staging {
            message.extend(left.iter().map(|left| format!("; {left}")));
        }
        Ok(Done {
            value: staging,
            to: Some(to),
            message: Some(message),
        })
    }
}

/// What came over the network, and what of it was new.
fn told(transferred: &Transferred) -> String {
    format!(
        "{} fetched in {} layers ({} were there), {} written, {} of files were there",
        render(transferred.fetched_bytes),
        transferred.layers_fetched,
        transferred.layers_reused,
        render(transferred.written_bytes),
        render(transferred.present_bytes),
    )
}
