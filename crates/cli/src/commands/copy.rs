//! `osmith copy`: images from one place to another.
//!
//! From one registry to another, blobs pass through. To and from layouts, a store that is gone afterwards is between
//! them, which keeps blobs as they are.

use std::path::{Path, PathBuf};

use osmith_image::compression::Codec;
use osmith_image::layout::{LayoutFormat, LoadOptions, SaveOptions, load, save};
use osmith_image::registry::{
    Client, Endpoint, PullOptions, PushOptions, copy as copy_image, pull, push, resolve,
};
use osmith_image::store::{Access, Encoding, Image, Store};
use osmith_image::{IntakeOptions, Platform, Reference, Sha256Digest};
use osmith_report::{Class, Failure, Observer, StepId};

use super::images::{parse_name, print};
use super::single_step;
use super::transfer::write_digest;
use crate::args::{CopyArgs, RegistryOptions, TransferOptions};
use crate::failure::{CommandFailure, CommandResult};
use crate::registries;

/// A place of an image, as skopeo names it.
enum Place {
    Registry(Reference),
    Layout {
        path: PathBuf,
        format: LayoutFormat,
        name: Option<String>,
    },
}

pub(crate) fn copy(args: &CopyArgs, observer: &dyn Observer) -> CommandResult {
    let (source, destination) = (Place::parse(&args.source)?, Place::parse(&args.destination)?);
    let digest = match (&source, &destination) {
        (Place::Registry(from), Place::Registry(to)) => between_registries(args, from, to, observer)?,
        _ if args.all => {
            let text = "--all copies from one registry to another only";
            return Err(CommandFailure::new(Class::Usage, text).into());
        }
        _ => by_store(args, &source, &destination, observer)?,
    };
    if let Some(file) = &args.digestfile {
        write_digest(file, &digest.to_string())?;
    }
    print(&format!("{digest}\n"))
}

fn between_registries(
    args: &CopyArgs,
    from: &Reference,
    to: &Reference,
    observer: &dyn Observer,
) -> Result<Sha256Digest, Box<dyn Failure>> {
    let (source, destination) = (client_of_source(args)?, client_of_destination(args)?);
    let platform = Some(Platform::host()).filter(|_| !args.all);
    single_step(observer, format!("copy {from} to {to}"), |step| {
        let from = Endpoint {
            client: &source,
            name: from,
        };
        let to = Endpoint {
            client: &destination,
            name: to,
        };
        Ok(copy_image(from, to, platform.as_ref(), observer, step)?.digest)
    })
}

fn by_store(
    args: &CopyArgs,
    source: &Place,
    destination: &Place,
    observer: &dyn Observer,
) -> Result<Sha256Digest, Box<dyn Failure>> {
    let between = Between::new(destination)?;
    let title = format!("read {}", args.source);
    let image = single_step(observer, title, |step| {
        source.read(&client_of_source(args)?, &between.store, observer, step)
    })?;
    single_step(observer, format!("write {}", args.destination), |step| {
        destination.write(
            &image,
            &client_of_destination(args)?,
            &between.store,
            observer,
            step,
        )
    })
}

/// A store that is gone afterwards.
struct Between {
    store: Store,
    _directory: tempfile::TempDir,
}

impl Between {
    /// Beside the layout that is written, where there is room for it; else where temporary files are.
    fn new(destination: &Place) -> Result<Self, Box<dyn Failure>> {
        let failed = |error| {
            CommandFailure::new(Class::Environment, "cannot make a temporary directory").because(error)
        };
        let parent = match destination {
            Place::Layout { path, .. } => path.parent().filter(|parent| parent.is_dir()).map(Path::to_owned),
            Place::Registry(_) => None,
        };
        let directory = match parent {
            Some(parent) => tempfile::Builder::new()
                .prefix(".osmith-copy-")
                .tempdir_in(parent),
            None => tempfile::tempdir(),
        };
        let directory = directory.map_err(failed)?;
        Ok(Between {
            store: Store::open(&directory.path().join("store"), Access::ReadWrite)?,
            _directory: directory,
        })
    }
}

impl Place {
    fn parse(text: &str) -> Result<Self, Box<dyn Failure>> {
        if let Some(name) = text.strip_prefix("docker://") {
            return Ok(Place::Registry(parse_name(name)?));
        }
        let (format, rest) = if let Some(rest) = text.strip_prefix("oci:") {
            (LayoutFormat::Directory, rest)
        } else if let Some(rest) = text.strip_prefix("oci-archive:") {
            (LayoutFormat::Archive, rest)
        } else {
            let failure = CommandFailure::new(
                Class::Usage,
                format!("'{text}' does not say what kind of place it is"),
            );
            let hint = format!("write docker://{text} for a registry, oci:DIR or oci-archive:FILE");
            return Err(failure.hint(hint).into());
        };
        let (path, name) = match rest.split_once(':') {
            Some((path, name)) => (path, Some(name.to_owned()).filter(|name| !name.is_empty())),
            None => (rest, None),
        };
        Ok(Place::Layout {
            path: path.into(),
            format,
            name,
        })
    }

    fn read(
        &self,
        client: &Client,
        store: &Store,
        observer: &dyn Observer,
        step: StepId,
    ) -> Result<Image, Box<dyn Failure>> {
        let (path, name) = match self {
            Place::Registry(name) => {
                let resolved = resolve(client, name, &Platform::host(), observer)?;
                return Ok(pull(client, &resolved, store, &PullOptions::default(), observer, step)?.image);
            }
            Place::Layout { path, name, .. } => (path, name),
        };
        let options = LoadOptions {
            select: name.clone(),
            platform: Platform::host(),
            names: Some(Vec::new()),
            intake: IntakeOptions::default(),
        };
        let loaded = load(path, store, &options, observer, step)?;
        let first = loaded.into_iter().next();
        Ok(first
            .ok_or_else(|| {
                CommandFailure::new(Class::NotFound, format!("'{}' has no image", path.display()))
            })?
            .image)
    }

    fn write(
        &self,
        image: &Image,
        client: &Client,
        store: &Store,
        observer: &dyn Observer,
        step: StepId,
    ) -> Result<Sha256Digest, Box<dyn Failure>> {
        // What came plain leaves plain.
        let encoding = Encoding::of(Codec::None);
        match self {
            Place::Registry(name) => {
                let options = PushOptions { encoding };
                Ok(push(client, image, store, name, &options, observer, step)?.digest)
            }
            Place::Layout { path, format, name } => {
                let options = SaveOptions {
                    format: *format,
                    encoding,
                    name: name.as_deref().map(parse_name).transpose()?,
                };
                Ok(save(image, store, path, &options, observer, step)?.digest)
            }
        }
    }
}

fn client_of_source(args: &CopyArgs) -> Result<Client, Box<dyn Failure>> {
    client(
        args,
        args.src_tls_verify,
        args.src_cert_dir.as_ref(),
        args.src_creds.as_ref(),
    )
}

fn client_of_destination(args: &CopyArgs) -> Result<Client, Box<dyn Failure>> {
    client(
        args,
        args.dest_tls_verify,
        args.dest_cert_dir.as_ref(),
        args.dest_creds.as_ref(),
    )
}

fn client(
    args: &CopyArgs,
    tls_verify: Option<bool>,
    cert_dir: Option<&PathBuf>,
    creds: Option<&String>,
) -> Result<Client, Box<dyn Failure>> {
    registries::client(&TransferOptions {
        registry: RegistryOptions {
            tls_verify,
            authfile: args.authfile.clone(),
            cert_dir: cert_dir.cloned(),
        },
        creds: creds.cloned(),
        retry: args.retry_times,
    })
}
