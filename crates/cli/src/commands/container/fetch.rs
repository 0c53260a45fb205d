//! The image of `osmith run`: that of the store, or a registry's.
//!
//! It must be known before it is known in what the container runs, and that is before this process enters a user
//! namespace, which it can only do with one thread. Fetching leaves threads behind: so the program starts itself anew
//! when it has fetched, and is told by a variable what.

use std::cell::Cell;
use std::env;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use osmith_image::{Platform, Reference, Sha256Digest};

use osmith_image::registry::PullPolicy;
use osmith_image::store::{Access, Image, Store, StoreError};
use osmith_report::{Class, Failure, Observer};

use crate::args::RunArgs;
use crate::commands::transfer::{Quiet, fetch_one};
use crate::failure::CommandFailure;

/// The digest of the manifest of what this program fetched before it started itself anew.
const FETCHED: &str = "OSMITH_FETCHED_IMAGE";

/// The digest of the manifest of the image that is meant. May fetch it and start this command anew.
pub(super) fn image(
    args: &RunArgs,
    name: &Reference,
    store: &Path,
    observer: &dyn Observer,
) -> Result<Sha256Digest, Box<dyn Failure>> {
    if let Some(digest) = env::var(FETCHED).ok().and_then(|text| text.parse().ok()) {
        return Ok(digest);
    }
    let policy = PullPolicy::from(args.pull);
    let platform = args.platform.clone().unwrap_or_else(Platform::host);
    let has_fetched = Cell::new(false);
    let image = policy.image::<Box<dyn Failure>>(name, &platform, &open(name, policy, store)?, || {
        has_fetched.set(true);
        fetched(args, name, &platform, store, observer)
    })?;
    if args.platform.is_some() {
        image.require_platform(name, &platform)?;
    }
    match has_fetched.get() {
        true => Err(start_anew(&image).into()),
        false => Ok(image.manifest_digest),
    }
}

/// There need be no store yet if an image may come from elsewhere.
fn open(name: &Reference, policy: PullPolicy, path: &Path) -> Result<Store, StoreError> {
    match Store::open(path, Access::ReadOnly) {
        Err(StoreError::NoStore(_)) if policy != PullPolicy::Never && name.domain() != Some("localhost") => {
            Store::open(path, Access::ReadWrite)
        }
        opened => opened,
    }
}

fn fetched(
    args: &RunArgs,
    name: &Reference,
    platform: &Platform,
    store: &Path,
    observer: &dyn Observer,
) -> Result<Image, Box<dyn Failure>> {
    let quiet = Quiet {
        observer,
        quiet: args.quiet,
    };
    let store = Store::open(store, Access::ReadWrite)?;
    let client = crate::registries::client(&args.transfer)?;
    fetch_one(&client, name, platform, &store, &quiet)
}

/// Returns only if it cannot be done.
fn start_anew(image: &Image) -> CommandFailure {
    let failed = CommandFailure::new(
        Class::Environment,
        "cannot start this program anew after the image was fetched",
    )
    .hint("the image is in the store: run the command again, without --pull");
    let program = match env::current_exe() {
        Ok(program) => program,
        Err(error) => return failed.because(error),
    };
    let error = Command::new(program)
        .args(env::args_os().skip(1))
        .env(FETCHED, image.manifest_digest.to_string())
        .exec();
    failed.because(error)
}
