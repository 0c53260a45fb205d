//! Images from a registry into a store.

use std::io::{self, Read};

use osmith_report::{Class, Event, Failure, Observer, Severity, StepId};

use super::blob::BlobReader;
use super::repository::Repository;
use super::{Client, ConfigurationError, RegistryError};
use crate::config::ImageConfig;
use crate::digest::Sha256Digest;
use crate::intake::{Blobs, Documents, IntakeError, IntakeOptions, Transferred, take_layers};
use crate::manifest::{Descriptor, Manifest, Platform};
use crate::progress::Meter;
use crate::reference::Reference;
use crate::store::{Image, Store};

/// So many blobs are fetched at once.
const PARALLEL_BLOBS: usize = 6;

/// An image of a registry, of which the layers are not fetched yet.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// The name that was asked for, with its registry.
    pub name: Reference,
    /// The digest of what the name stands for: an index or a manifest.
    pub digest: Sha256Digest,
    /// The digest of the manifest for the platform.
    pub manifest_digest: Sha256Digest,
    documents: Documents,
}

/// How [`pull`] takes an image into the store.
#[derive(Debug, Clone, Default)]
pub struct PullOptions {
    /// The names of the image in the store; that in the registry, if it has a tag, where there are none.
    pub names: Option<Vec<Reference>>,
    /// How layers are taken in.
    pub intake: IntakeOptions,
}

/// An image that was pulled.
#[derive(Debug, Clone, PartialEq)]
pub struct Pulled {
    /// The image.
    pub image: Image,
    /// Its names in the store.
    pub names: Vec<Reference>,
    /// What came in.
    pub transferred: Transferred,
}

impl Resolved {
    /// The manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.documents.manifest
    }

    /// The configuration.
    pub fn config(&self) -> &ImageConfig {
        &self.documents.config
    }

    /// The image by its digest: what [`resolve`] finds whatever becomes of the tag.
    pub fn pinned(&self) -> Reference {
        self.name.with_digest(self.digest)
    }
}

/// Finds out what a name of a registry stands for. Fetches the manifest for the platform and the configuration, no
/// layers.
pub fn resolve(
    client: &Client,
    name: &Reference,
    platform: &Platform,
    observer: &dyn Observer,
) -> Result<Resolved, RegistryError> {
    let names = client.full_names(name)?;
    let mut left = names.iter();
    loop {
        // There is always one.
        let name = left.next().unwrap_or(name);
        match resolve_full(client, name, platform, observer) {
            Err(RegistryError::UnknownImage { .. }) if left.len() > 0 => {}
            resolved => return resolved,
        }
    }
}

fn resolve_full(
    client: &Client,
    name: &Reference,
    platform: &Platform,
    observer: &dyn Observer,
) -> Result<Resolved, RegistryError> {
    let selector = match name.digest() {
        Some(digest) => digest.to_string(),
        None => name.tag_or_latest().to_owned(),
    };
    from_any(&client.sources(name, observer)?, |repository| {
        let fetched = repository.manifest(&selector)?;
        if let Some(expected) = name.digest()
            && expected != fetched.digest
        {
            let found = fetched.digest;
            return Err(IntakeError::BlobDigest { expected, found }.into());
        }
        let digest = fetched.digest;
        let source = Source {
            repositories: vec![repository.clone()],
        };
        let documents = Documents::of_bytes(&source, digest, fetched.bytes, platform)?;
        require_platform(&documents.config, platform)?;
        Ok(Resolved {
            name: name.clone(),
            digest,
            manifest_digest: Sha256Digest::of(&documents.manifest_bytes),
            documents,
        })
    })
}

/// Fetches the layers of an image that the store does not have, six at once. Progress counts the bytes of blobs.
pub fn pull(
    client: &Client,
    resolved: &Resolved,
    store: &Store,
    options: &PullOptions,
    observer: &dyn Observer,
    step: StepId,
) -> Result<Pulled, RegistryError> {
    let documents = &resolved.documents;
    let names = match (&options.names, resolved.name.digest(), resolved.name.tag()) {
        (Some(names), ..) => names.clone(),
        (None, Some(_), None) => Vec::new(),
        (None, ..) => vec![resolved.name.clone()],
    };
    let source = Source {
        repositories: client.sources(&resolved.name, observer)?,
    };
    let total_bytes = documents
        .manifest
        .layers
        .iter()
        .map(|layer| layer.size_bytes)
        .sum();
    let meter = Meter::new(observer, step, Some(total_bytes));
    let (image, transferred) = take_layers(
        &source,
        documents,
        &names,
        store,
        &options.intake,
        observer,
        &meter,
    )?;
    if options.intake.keep_blobs {
        note_origins(&source, documents, store)?;
    }
    Ok(Pulled {
        image,
        names: names.iter().map(Reference::qualified).collect(),
        transferred,
    })
}

/// Remembers where the blobs are. That place is the last one: the others are mirrors.
fn note_origins(source: &Source, documents: &Documents, store: &Store) -> Result<(), RegistryError> {
    let Some(repository) = source.repositories.last() else {
        return Ok(());
    };
    for layer in &documents.manifest.layers {
        store.note_origin(&layer.digest, &repository.name())?;
    }
    Ok(())
}

/// Where the blobs of an image are.
pub(super) struct Source<'a> {
    pub(super) repositories: Vec<Repository<'a>>,
}

impl Blobs for Source<'_> {
    type Error = RegistryError;

    fn manifest(&self, descriptor: &Descriptor) -> Result<Vec<u8>, RegistryError> {
        from_any(&self.repositories, |repository| {
            let fetched = repository.manifest(&descriptor.digest.to_string())?;
            Ok(fetched.bytes)
        })
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send + '_>, RegistryError> {
        from_any(&self.repositories, |repository| {
            let reader = BlobReader::open(repository, descriptor)?;
            Ok(Box::new(reader) as Box<dyn Read + Send>)
        })
    }

    fn read_error(&self, descriptor: &Descriptor, error: io::Error) -> RegistryError {
        match error.downcast::<RegistryError>() {
            Ok(error) => error,
            Err(error) => RegistryError::Broken {
                operation: format!("the request for the blob {}", descriptor.digest),
                host: self
                    .repositories
                    .first()
                    .map_or_else(String::new, |first| first.registry.host.clone()),
                source: error.into(),
            },
        }
    }

    fn parallel_reads(&self) -> usize {
        PARALLEL_BLOBS
    }
}

/// Does something with the first repository that it works with. A mirror that fails is told of, and the next one tried;
/// the error of the last one counts.
pub(super) fn from_any<'a, T>(
    repositories: &[Repository<'a>],
    mut attempt: impl FnMut(&Repository<'a>) -> Result<T, RegistryError>,
) -> Result<T, RegistryError> {
    let mut left = repositories;
    while let [repository, others @ ..] = left {
        match attempt(repository) {
            Err(error) if !others.is_empty() && error.class() != Class::Interrupted => {
                repository.observer.observe(Event::Message {
                    severity: Severity::Warning,
                    text: format!("{error}: trying the next place of the image"),
                });
            }
            result => return result,
        }
        left = others;
    }
    // A configuration gives at least one place.
    Err(ConfigurationError::NoRegistry(String::new()).into())
}

/// An image without an index is for one kind of machine, too.
fn require_platform(config: &ImageConfig, wanted: &Platform) -> Result<(), IntakeError> {
    let fits = config.architecture.is_empty()
        || (config.architecture == wanted.architecture && config.os == wanted.os);
    match fits {
        true => Ok(()),
        false => Err(IntakeError::Platform {
            wanted: wanted.to_string(),
            available: vec![config.platform().to_string()],
        }),
    }
}
