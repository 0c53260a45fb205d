//! Brings images of an OCI layout into the store.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::Path;

use osmith_report::{Observer, StepId};

use super::source::Source;
use super::{LayoutError, NAME_ANNOTATION, WHOLE_NAME_ANNOTATION};
use crate::compression::{decompressed, is_compressed};
use crate::config::ImageConfig;
use crate::digest::Sha256Digest;
use crate::intake::{Documents, IntakeOptions, Transferred, choose, take_layers};
use crate::manifest::{Descriptor, Index, Manifest, Platform};
use crate::progress::Meter;
use crate::reference::Reference;
use crate::store::{Image, Store};

/// What [`load`] loads.
#[derive(Debug, Clone)]
pub struct LoadOptions {
    /// The name of one image in the layout; all images if there is none.
    pub select: Option<String>,
    /// Which image of an index is meant.
    pub platform: Platform,
    /// The names in the store, instead of those in the layout.
    pub names: Option<Vec<Reference>>,
    /// How layers are taken in.
    pub intake: IntakeOptions,
}

/// An image that was loaded.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// The image.
    pub image: Image,
    /// Its names in the store; none if the layout has none that fits.
    pub names: Vec<Reference>,
    /// What came in.
    pub transferred: Transferred,
}

/// An image of a layout of which only the description was read.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// The digest of its manifest, the one for the platform.
    pub manifest_digest: Sha256Digest,
    documents: Documents,
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
}

/// Loads images from a layout: a directory, an archive, or a compressed archive. Progress counts the bytes of layers.
pub fn load(
    path: &Path,
    store: &Store,
    options: &LoadOptions,
    observer: &dyn Observer,
    step: StepId,
) -> Result<Vec<Loaded>, LayoutError> {
    if let Some(archive) = compressed_archive(path)? {
        return load_stream(archive, path, store, options, observer, step);
    }
    load_source(&Source::open(path)?, store, options, observer, step)
}

/// Reads the description of one image of a layout: a directory or an archive that is not compressed.
pub fn resolve(path: &Path, options: &LoadOptions) -> Result<Resolved, LayoutError> {
    let source = Source::open(path)?;
    let index = source.index()?;
    match selected(&source, &index, options)?.as_slice() {
        [descriptor] => {
            let documents = Documents::read(&source, descriptor, &options.platform)?;
            Ok(Resolved {
                manifest_digest: Sha256Digest::of(&documents.manifest_bytes),
                documents,
            })
        }
        _ => Err(LayoutError::SeveralImages {
            path: path.to_owned(),
            names: index
                .manifests
                .iter()
                .filter_map(name_of)
                .map(str::to_owned)
                .collect(),
        }),
    }
}

/// [`load`], from an archive that comes as a stream; `name` is what it is called in messages.
pub fn load_stream(
    reader: impl Read + Send,
    name: &Path,
    store: &Store,
    options: &LoadOptions,
    observer: &dyn Observer,
    step: StepId,
) -> Result<Vec<Loaded>, LayoutError> {
    let failed = |error| LayoutError::io("read", name, error);
    let work = store.work_directory()?;
    let mut file = tempfile::tempfile_in(work.path()).map_err(failed)?;
    io::copy(&mut decompressed(reader).map_err(failed)?, &mut file).map_err(failed)?;
    load_source(&Source::of_archive(name, file)?, store, options, observer, step)
}

/// The file, if it is compressed.
fn compressed_archive(path: &Path) -> Result<Option<File>, LayoutError> {
    let failed = |error| LayoutError::io("open", path, error);
    if !std::fs::metadata(path).map_err(failed)?.is_file() {
        return Ok(None);
    }
    let mut file = File::open(path).map_err(failed)?;
    let mut start = Vec::new();
    (&file).take(6).read_to_end(&mut start).map_err(failed)?;
    file.rewind().map_err(failed)?;
    Ok(Some(file).filter(|_| is_compressed(&start)))
}

fn load_source(
    source: &Source,
    store: &Store,
    options: &LoadOptions,
    observer: &dyn Observer,
    step: StepId,
) -> Result<Vec<Loaded>, LayoutError> {
    let index = source.index()?;
    let mut found = Vec::new();
    for descriptor in selected(source, &index, options)? {
        let documents = Documents::read(source, descriptor, &options.platform)?;
        found.push((
            documents,
            options.names.clone().unwrap_or_else(|| names(descriptor)),
        ));
    }
    let layers = found.iter().flat_map(|(documents, _)| &documents.manifest.layers);
    let total_bytes = layers.map(|layer| layer.size_bytes).sum();
    let meter = Meter::new(observer, step, Some(total_bytes));
    let mut loaded = Vec::new();
    for (documents, names) in found {
        let intake = &options.intake;
        let (image, transferred) = take_layers(source, &documents, &names, store, intake, observer, &meter)?;
        loaded.push(Loaded {
            image,
            names: names.iter().map(Reference::qualified).collect(),
            transferred,
        });
    }
    Ok(loaded)
}

/// The descriptors of the images that are wanted. Several manifests without names are one image for several
/// platforms.
fn selected<'a>(
    source: &Source,
    index: &'a Index,
    options: &LoadOptions,
) -> Result<Vec<&'a Descriptor>, LayoutError> {
    let path = || source.path().to_owned();
    let names = || {
        index
            .manifests
            .iter()
            .filter_map(name_of)
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let wanted: Vec<_> = match &options.select {
        None => index.manifests.iter().collect(),
        Some(name) => {
            let named = index
                .manifests
                .iter()
                .filter(|manifest| name_of(manifest) == Some(name));
            named.collect()
        }
    };
    match (wanted.as_slice(), &options.select) {
        ([], None) => Err(LayoutError::NoImage(path())),
        ([], Some(name)) => Err(LayoutError::UnknownName {
            path: path(),
            name: name.clone(),
            names: names(),
        }),
        ([_], _) => Ok(wanted),
        (several, _)
            if several
                .iter()
                .all(|manifest| name_of(manifest) == name_of(several[0])) =>
        {
            Ok(vec![choose(several.iter().copied(), &options.platform)?])
        }
        _ if options.names.is_some() => Err(LayoutError::SeveralImages {
            path: path(),
            names: names(),
        }),
        _ => Ok(wanted),
    }
}

fn name_of(descriptor: &Descriptor) -> Option<&str> {
    descriptor.annotations.get(NAME_ANNOTATION).map(String::as_str)
}

/// The name that the layout gives an image. A bare word there is only a tag, and of what is not said.
fn names(descriptor: &Descriptor) -> Vec<Reference> {
    let whole = descriptor.annotations.get(WHOLE_NAME_ANNOTATION);
    let name = whole.or_else(|| {
        let name = descriptor.annotations.get(NAME_ANNOTATION);
        name.filter(|name| name.contains(['/', ':']))
    });
    name.and_then(|name| name.parse().ok()).into_iter().collect()
}
