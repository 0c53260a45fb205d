//! Brings images of an OCI layout into the store.
//!
//! Every blob is checked against its digest and length, every layer against its diff ID, and the layers against each
//! other, before the first name is written. Compressed layers are kept as they are, to leave unchanged; a plain tar
//! stream is kept only if osmith would write another one for the same layer.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::Path;

use osmith_report::{Observer, StepId};

use super::source::Source;
use super::{LayoutError, NAME_ANNOTATION, WHOLE_NAME_ANNOTATION};
use crate::compression::{decompressed, is_compressed};
use crate::config::ImageConfig;
use crate::digest::{Digesting, Sha256Digest};
use crate::manifest::{Descriptor, Index, JsonError, Manifest, ManifestOrIndex, Platform, media_type};
use crate::parallel;
use crate::progress::{Meter, Metered};
use crate::reference::Reference;
use crate::store::{Image, Store, StoreError};
use crate::tar::{self, Limits, TarError};

const NESTING_MAX: u32 = 4;

/// What [`load`] loads.
#[derive(Debug, Clone)]
pub struct LoadOptions {
    /// The name of one image in the layout; all images if there is none.
    pub select: Option<String>,
    /// Which image of an index is meant.
    pub platform: Platform,
    /// The names in the store, instead of those in the layout.
    pub names: Option<Vec<Reference>>,
    /// What a layer may have.
    pub limits: Limits,
}

/// An image that was loaded.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// The image.
    pub image: Image,
    /// Its names in the store; none if the layout has none that fits.
    pub names: Vec<Reference>,
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
        found.push(Found::read(source, descriptor, &options.platform)?);
    }
    let total_bytes = found
        .iter()
        .flat_map(|found| &found.manifest.layers)
        .map(|layer| layer.size_bytes);
    let meter = Meter::new(observer, step, Some(total_bytes.sum()));
    let mut loaded = Vec::new();
    for found in found {
        let intake = LayerIntake {
            source,
            store,
            options,
            observer,
            meter: &meter,
        };
        loaded.push(found.load(&intake)?);
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
            choose(several.iter().copied(), &options.platform).map(|manifest| vec![manifest])
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

/// The manifest for a platform: the one with the same variant, or one without, or any.
fn choose<'a>(
    manifests: impl Iterator<Item = &'a Descriptor>,
    wanted: &Platform,
) -> Result<&'a Descriptor, LayoutError> {
    let (mut fitting, mut available) = (Vec::new(), Vec::new());
    for manifest in manifests {
        match &manifest.platform {
            None => fitting.push((2, manifest)),
            Some(platform) if platform.os == wanted.os && platform.architecture == wanted.architecture => {
                let rank = match &platform.variant {
                    variant if *variant == wanted.variant => 0,
                    None => 1,
                    Some(_) => 3,
                };
                fitting.push((rank, manifest));
            }
            Some(platform) => available.push(platform.to_string()),
        }
    }
    let best = fitting.into_iter().min_by_key(|(rank, _)| *rank);
    best.map(|(_, manifest)| manifest).ok_or(LayoutError::Platform {
        wanted: wanted.to_string(),
        available,
    })
}

/// An image of a layout.
struct Found {
    manifest_bytes: Vec<u8>,
    manifest: Manifest,
    config_bytes: Vec<u8>,
    config: ImageConfig,
    names: Vec<Reference>,
}

impl Found {
    fn read(source: &Source, descriptor: &Descriptor, platform: &Platform) -> Result<Self, LayoutError> {
        let (manifest_bytes, manifest) = manifest(source, descriptor, platform)?;
        let config_type = manifest.config.media_type.as_str();
        if !matches!(config_type, media_type::CONFIG | media_type::DOCKER_CONFIG) {
            return Err(LayoutError::NotAnImage(config_type.to_owned()));
        }
        let config_bytes = source.json("configuration", &manifest.config)?;
        let config = ImageConfig::from_bytes(&config_bytes).map_err(|source| LayoutError::Json {
            name: format!("the configuration {}", manifest.config.digest),
            source,
        })?;
        let layer_count = (manifest.layers.len(), config.rootfs.diff_ids.len());
        if layer_count.0 != layer_count.1 {
            return Err(LayoutError::LayerCount {
                manifest: layer_count.0,
                config: layer_count.1,
            });
        }
        Ok(Found {
            manifest_bytes,
            manifest,
            config_bytes,
            config,
            names: names(descriptor),
        })
    }

    fn load(self, intake: &LayerIntake) -> Result<Loaded, LayoutError> {
        let diff_ids = self.config.rootfs.diff_ids.iter();
        let mut layers: Vec<_> = self.manifest.layers.iter().zip(diff_ids).collect();
        let in_order: Vec<_> = layers.iter().map(|(_, diff_id)| **diff_id).collect();
        layers.sort_by_key(|(descriptor, diff_id)| (descriptor.digest, **diff_id));
        layers.dedup_by_key(|(descriptor, diff_id)| (descriptor.digest, **diff_id));
        parallel::map(&layers, |(descriptor, diff_id)| intake.layer(descriptor, diff_id))?;
        let store = intake.store;
        let ids = in_order.iter().map(|diff_id| {
            let layer = store.layer_of_diff(diff_id)?;
            layer.ok_or(StoreError::MissingDiff(*diff_id))
        });
        store.merge(&ids.collect::<Result<Vec<_>, _>>()?)?;
        let names = intake.options.names.clone().unwrap_or(self.names);
        let image = store.register_image(&self.manifest_bytes, &self.config_bytes, &names)?;
        let names = names.iter().map(Reference::qualified).collect();
        Ok(Loaded { image, names })
    }
}

/// The manifest behind a descriptor, through as many indexes as there are.
fn manifest(
    source: &Source,
    descriptor: &Descriptor,
    platform: &Platform,
) -> Result<(Vec<u8>, Manifest), LayoutError> {
    let mut descriptor = descriptor.clone();
    for _ in 0..NESTING_MAX {
        let bytes = source.json("manifest", &descriptor)?;
        let parsed = ManifestOrIndex::from_bytes(&bytes).map_err(|source: JsonError| LayoutError::Json {
            name: format!("the manifest {}", descriptor.digest),
            source,
        })?;
        match parsed {
            ManifestOrIndex::Manifest(manifest) => return Ok((bytes, *manifest)),
            ManifestOrIndex::Index(index) => descriptor = choose(index.manifests.iter(), platform)?.clone(),
        }
    }
    Err(LayoutError::Nesting(NESTING_MAX))
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

struct LayerIntake<'a> {
    source: &'a Source,
    store: &'a Store,
    options: &'a LoadOptions,
    observer: &'a dyn Observer,
    meter: &'a Meter<'a>,
}

impl LayerIntake<'_> {
    /// Loads a layer, unless the store has it.
    fn layer(&self, descriptor: &Descriptor, diff_id: &Sha256Digest) -> Result<(), LayoutError> {
        require_layer_type(descriptor)?;
        let blob = self.source.blob(descriptor)?;
        let known = self.store.layer_of_diff(diff_id)?.is_some();
        let is_plain = descriptor.digest == *diff_id;
        if known && (is_plain || self.store.open_blob(&descriptor.digest)?.is_some()) {
            self.meter.add(descriptor.size_bytes);
            return Ok(());
        }
        let metered = Metered {
            inner: blob.reader,
            meter: self.meter,
        };
        let copy = self.store.unnamed_blob()?;
        let mut compressed = Digesting::new(Copying {
            reader: metered,
            copy: copy.file(),
        });
        let (layer, found_diff_id) = self.read(&mut compressed, descriptor.digest)?;
        let (_, found, _) = compressed.finish();
        if found != descriptor.digest {
            return Err(LayoutError::BlobDigest {
                expected: descriptor.digest,
                found,
            });
        }
        if found_diff_id != *diff_id {
            return Err(LayoutError::DiffId {
                layer: descriptor.digest,
                expected: *diff_id,
                found: found_diff_id,
            });
        }
        let id = self.store.put_layer(&layer)?;
        let is_own = is_plain
            && self
                .store
                .tar_stream(&id, self.observer)
                .is_ok_and(|own| own.diff_id == *diff_id);
        if !is_own {
            self.store.keep_blob(copy, &descriptor.digest)?;
        }
        Ok(self.store.put_diff(diff_id, &id)?)
    }

    /// Reads a layer and the digest of its plain bytes, to the end of the compressed ones. Bytes that are not what
    /// their digest says are told as such, not by what they do to the archive.
    fn read<R: Read + Send>(
        &self,
        compressed: &mut Digesting<R>,
        digest: Sha256Digest,
    ) -> Result<(crate::layer::Layer, Sha256Digest), LayoutError> {
        let limits = Limits {
            end_required: false,
            ..self.options.limits.clone()
        };
        let result = decompressed(&mut *compressed)
            .map_err(TarError::Read)
            .and_then(|plain| {
                let mut plain = Digesting::new(plain);
                let layer = tar::read_layer(&mut plain, self.store, &limits, self.observer)?;
                Ok((layer, plain.finish().1))
            });
        let interrupted = matches!(result, Err(TarError::Interrupted(_) | TarError::Store(_)));
        if !interrupted {
            let drained = io::copy(compressed, &mut io::sink());
            drained.map_err(|error| self.source.failed("read", &super::blob_path(&digest), error))?;
        }
        result.map_err(|error| match error {
            TarError::Interrupted(interrupted) => interrupted.into(),
            TarError::Store(error) => (*error).into(),
            source => match compressed.digest_so_far() {
                found if found != digest => LayoutError::BlobDigest {
                    expected: digest,
                    found,
                },
                _ => LayoutError::Layer { digest, source },
            },
        })
    }
}

/// A reader that writes what it reads to a file.
struct Copying<'a, R> {
    reader: R,
    copy: &'a File,
}

impl<R: Read> Read for Copying<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.copy.write_all(buffer.get(..count).unwrap_or_default())?;
        Ok(count)
    }
}

/// Whatever the type says about compression, the bytes decide; but the layer must be a tar archive.
fn require_layer_type(descriptor: &Descriptor) -> Result<(), LayoutError> {
    let media_type = descriptor.media_type.as_str();
    let oci = media_type
        .strip_prefix("application/vnd.oci.image.layer.")
        .map(|rest| rest.strip_prefix("nondistributable.").unwrap_or(rest));
    let known = matches!(oci, Some("v1.tar" | "v1.tar+gzip" | "v1.tar+zstd"))
        || matches!(
            media_type.strip_prefix("application/vnd.docker.image.rootfs."),
            Some("diff.tar" | "diff.tar.gzip" | "diff.tar.zstd" | "foreign.diff.tar.gzip")
        );
    match known {
        true => Ok(()),
        false => Err(LayoutError::LayerType {
            digest: descriptor.digest,
            media_type: media_type.to_owned(),
        }),
    }
}
