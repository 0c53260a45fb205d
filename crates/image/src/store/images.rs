//! Images and their names.

use std::collections::BTreeMap;
use std::io;

use osmith_formats::tree::{Content, Tree};
use osmith_report::Observer;

use super::{ListedIndex, NAMES, Store, StoreError, files};
use crate::config::ImageConfig;
use crate::digest::Sha256Digest;
use crate::layer::{self, LayerId};
use crate::manifest::{Descriptor, JsonError, Manifest, ManifestFormat, media_type};
use crate::parallel;
use crate::reference::Reference;

/// The digest of the manifest that a name stands for, or why it cannot be read.
type Meaning = Result<Sha256Digest, StoreError>;

/// The shortest beginning of an image ID that is taken for one.
const ID_MIN_DIGITS: usize = 4;

/// An image of the store.
#[derive(Debug, Clone, PartialEq)]
pub struct Image {
    /// The digest of the manifest.
    pub manifest_digest: Sha256Digest,
    /// The manifest.
    pub manifest: Manifest,
    /// The configuration.
    pub config: ImageConfig,
}

/// What a new image is made of; see [`Store::commit_image`].
#[derive(Debug, Clone)]
pub struct ImageParts {
    /// The configuration. Its diff IDs are filled in.
    pub config: ImageConfig,
    /// The layers, lowest first.
    pub layers: Vec<LayerSource>,
    /// The annotations of the manifest; Docker's have none.
    pub annotations: BTreeMap<String, String>,
    /// The form of the manifest.
    pub format: ManifestFormat,
}

/// A layer of a new image.
#[derive(Debug, Clone)]
pub enum LayerSource {
    /// A layer of another image of the store, taken over as it is.
    Base {
        /// Its descriptor there.
        descriptor: Box<Descriptor>,
        /// Its diff ID.
        diff_id: Sha256Digest,
    },
    /// An own layer.
    Own(LayerId),
}

/// An image in a list.
#[derive(Debug, Clone, PartialEq)]
pub struct Listed {
    /// The image.
    pub image: Image,
    /// Its names, in byte order; none if it is only kept until the next prune.
    pub names: Vec<Reference>,
}

/// The images of a store.
#[derive(Debug)]
pub struct Listing {
    /// Those that can be read, by name; those without a name last.
    pub images: Vec<Listed>,
    /// The indexes, by name.
    pub indexes: Vec<ListedIndex>,
    /// Those that cannot.
    pub damaged: Vec<DamagedImage>,
}

/// An image that cannot be read.
#[derive(Debug)]
pub struct DamagedImage {
    /// Its names, in byte order.
    pub names: Vec<Reference>,
    /// Why.
    pub error: StoreError,
}

impl Image {
    /// The image ID: the digest of the configuration.
    pub fn id(&self) -> Sha256Digest {
        self.manifest.config.digest
    }

    /// The layers with their diff IDs, to build on the image.
    pub fn layer_sources(&self) -> Vec<LayerSource> {
        let diff_ids = self.config.rootfs.diff_ids.iter();
        let pairs = self.manifest.layers.iter().zip(diff_ids);
        pairs
            .map(|(descriptor, diff_id)| LayerSource::Base {
                descriptor: Box::new(descriptor.clone()),
                diff_id: *diff_id,
            })
            .collect()
    }

    /// The records of the layers, lowest first.
    pub fn layers(&self, store: &Store) -> Result<Vec<LayerId>, StoreError> {
        let diff_ids = self.config.rootfs.diff_ids.iter();
        diff_ids
            .map(|diff_id| {
                store
                    .layer_of_diff(diff_id)?
                    .ok_or(StoreError::MissingDiff(*diff_id))
            })
            .collect()
    }

    /// The file tree: all layers on top of each other.
    pub fn tree(&self, store: &Store) -> Result<Tree<Content>, StoreError> {
        store.merge(&self.layers(store)?)
    }
}

impl Store {
    /// The tree of layers on top of each other, the lowest first. The root directory is 0755 and root's until a layer
    /// says otherwise.
    pub fn merge(&self, layers: &[LayerId]) -> Result<Tree<Content>, StoreError> {
        let mut tree = layer::empty_tree();
        for id in layers {
            layer::apply(&mut tree, &self.layer(id)?)
                .map_err(|source| StoreError::Layer { layer: *id, source })?;
        }
        Ok(tree)
    }

    /// Makes an image of parts that are in the store, and gives it names (which other images may lose).
    ///
    /// Hashes the tar streams of own layers that were not in an image before, in parallel, then waits until everything
    /// is on the disk before the first name is written.
    pub fn commit_image(
        &self,
        parts: ImageParts,
        names: &[Reference],
        observer: &dyn Observer,
    ) -> Result<Image, StoreError> {
        require_history(&parts)?;
        let layers = std::thread::scope(|scope| {
            // What the build wrote is on its way to the disk while it is hashed; what this leaves is waited for below.
            let early = scope.spawn(|| self.sync());
            let layers = parallel::map(&parts.layers, |source| self.described(source, observer));
            drop(early.join());
            layers
        })?;
        let (descriptors, diff_ids) = layers.into_iter().unzip();
        let mut config = parts.config;
        config.rootfs.diff_ids = diff_ids;
        let config_bytes = config.to_bytes();
        let mut manifest = Manifest::new(Descriptor::of(media_type::CONFIG, &config_bytes), descriptors);
        manifest.annotations = parts.annotations;
        if parts.format == ManifestFormat::Docker {
            manifest = manifest.into_docker().ok_or(StoreError::NoDockerLayer)?;
        }
        self.register_image(&manifest.to_bytes(), &config_bytes, names)
    }

    /// Makes an image of a manifest and a configuration whose layers are in the store.
    pub(crate) fn register_image(
        &self,
        manifest_bytes: &[u8],
        config_bytes: &[u8],
        names: &[Reference],
    ) -> Result<Image, StoreError> {
        let config_digest = self.put_blob(config_bytes)?;
        let manifest_digest = self.put_blob(manifest_bytes)?;
        self.sync()?;
        let marker = image_marker(&config_digest);
        let path = image_path(&manifest_digest);
        files::write_durably(self.root(), &path, marker.as_bytes())
            .map_err(|error| self.io("write", &path, error))?;
        let image = self.image_of_digest(&manifest_digest)?;
        for name in names {
            self.tag(&image, name)?;
        }
        Ok(image)
    }

    /// Gives an image one more name; an image that had the name loses it.
    pub fn tag(&self, image: &Image, name: &Reference) -> Result<(), StoreError> {
        self.write_name(name, &image.manifest_digest)
    }

    /// Takes a name off an image and returns the name in full and the digest of the manifest. The image is not read: it
    /// may be damaged. Its contents stay until [`Store::prune`].
    pub fn untag(&self, name: &Reference) -> Result<(Reference, Option<Sha256Digest>), StoreError> {
        self.require_writable()?;
        let known = match self.resolve(name) {
            Err(StoreError::Damaged { .. }) => name.qualified(),
            resolved => resolved?.ok_or_else(|| self.unknown_image(name))?,
        };
        let digest = self.named(&known).ok().flatten();
        let path = name_path(&known);
        files::remove(self.root(), &path)
            .and_then(|_| files::sync_parent(self.root(), &path))
            .map_err(|error| self.io("remove", &path, error))?;
        Ok((known, digest))
    }

    /// The full name of the image that is meant: the name itself with `localhost` and `latest` filled in, or for a name
    /// without a domain the only one that ends with it.
    pub fn resolve(&self, name: &Reference) -> Result<Option<Reference>, StoreError> {
        let qualified = name.qualified();
        if self.named(&qualified)?.is_some() {
            return Ok(Some(qualified));
        }
        if name.domain().is_some() {
            return Ok(None);
        }
        let mut found: Vec<Reference> = self
            .names()?
            .into_iter()
            .map(|(known, _)| known)
            .filter(|known| name.is_short_for(known))
            .collect();
        match found.len() {
            0 | 1 => Ok(found.pop()),
            _ => Err(StoreError::AmbiguousName {
                name: Box::new(name.clone()),
                found,
            }),
        }
    }

    /// All images. One that cannot be read does not keep the others from being listed.
    pub fn images(&self) -> Result<Listing, StoreError> {
        let mut names: BTreeMap<Sha256Digest, Vec<Reference>> = BTreeMap::new();
        let mut damaged = Vec::new();
        for (name, digest) in self.all_names()? {
            match digest {
                Ok(digest) => names.entry(digest).or_default().push(name),
                Err(error) => damaged.push(DamagedImage {
                    names: vec![name],
                    error,
                }),
            }
        }
        let mut images = Vec::new();
        for digest in self.image_digests()? {
            let names = names.remove(&digest).unwrap_or_default();
            match self.image_of_digest(&digest) {
                Ok(image) => images.push(Listed { image, names }),
                Err(error) => damaged.push(DamagedImage { names, error }),
            }
        }
        // What is named and no image is an index.
        let mut indexes = Vec::new();
        for (digest, names) in names {
            match self.index_of_digest(&digest) {
                Ok(index) => indexes.push(ListedIndex { index, names }),
                Err(error) => damaged.push(DamagedImage { names, error }),
            }
        }
        indexes.sort_by(|left, right| left.names.cmp(&right.names));
        images.sort_by(|left, right| {
            let key = |listed: &Listed| {
                (
                    listed.names.is_empty(),
                    listed.names.clone(),
                    listed.image.manifest_digest,
                )
            };
            key(left).cmp(&key(right))
        });
        damaged.sort_by(|left, right| left.names.cmp(&right.names));
        Ok(Listing {
            images,
            indexes,
            damaged,
        })
    }

    /// The names of all images and the digests of their manifests, in byte order.
    pub fn names(&self) -> Result<Vec<(Reference, Sha256Digest)>, StoreError> {
        let names = self.all_names()?.into_iter();
        names
            .map(|(name, digest)| digest.map(|digest| (name, digest)))
            .collect()
    }

    /// All names in byte order, with what they mean or why that cannot be read.
    fn all_names(&self) -> Result<Vec<(Reference, Meaning)>, StoreError> {
        let mut found = Vec::new();
        let mut pending = vec![NAMES.to_owned()];
        while let Some(directory) = pending.pop() {
            for (name, kind) in self.list(&directory)? {
                let path = format!("{directory}/{name}");
                if kind.is_dir() {
                    pending.push(path);
                    continue;
                }
                // What is no name is not the store's; but a name that leads nowhere may be all that keeps an image.
                let Ok(name) = path
                    .strip_prefix("names/")
                    .unwrap_or_default()
                    .parse::<Reference>()
                else {
                    continue;
                };
                if let Some(digest) = self.named(&name).transpose() {
                    found.push((name, digest));
                }
            }
        }
        found.sort_by(|left, right| left.0.cmp(&right.0));
        Ok(found)
    }

    /// The digests of the manifests of all images.
    pub(super) fn image_digests(&self) -> Result<Vec<Sha256Digest>, StoreError> {
        let names = self.list("images")?.into_iter();
        Ok(names
            .filter_map(|(name, _)| Sha256Digest::from_hex(&name).ok())
            .collect())
    }

    /// The image with this manifest, also if it has no name.
    pub fn image_of_digest(&self, digest: &Sha256Digest) -> Result<Image, StoreError> {
        let failed = |name: String| move |source: JsonError| StoreError::Json { name, source };
        let manifest = Manifest::from_bytes(&self.blob_bytes(digest)?)
            .map_err(failed(format!("the manifest {digest} of the store")))?;
        let config_digest = manifest.config.digest;
        let config = ImageConfig::from_bytes(&self.blob_bytes(&config_digest)?)
            .map_err(failed(format!("the configuration {config_digest} of the store")))?;
        Ok(Image {
            manifest_digest: *digest,
            manifest,
            config,
        })
    }

    fn described(
        &self,
        source: &LayerSource,
        observer: &dyn Observer,
    ) -> Result<(Descriptor, Sha256Digest), StoreError> {
        match source {
            LayerSource::Base { descriptor, diff_id } => match self.layer_of_diff(diff_id)? {
                Some(_) => Ok((descriptor.as_ref().clone(), *diff_id)),
                None => Err(StoreError::MissingDiff(*diff_id)),
            },
            LayerSource::Own(id) => {
                let stream = self.tar_stream(id, observer)?;
                let descriptor = Descriptor::new(media_type::LAYER_TAR, stream.diff_id, stream.size_bytes);
                Ok((descriptor, stream.diff_id))
            }
        }
    }

    pub(super) fn named(&self, name: &Reference) -> Result<Option<Sha256Digest>, StoreError> {
        let path = name_path(name);
        let Some(bytes) = self.read(&path)? else {
            return Ok(None);
        };
        let damaged = || StoreError::Damaged {
            what: "name",
            name: name.to_string(),
        };
        parse_digest(&bytes).map(Some).ok_or_else(damaged)
    }

    /// The digest of the manifest or index whose ID begins so.
    pub(super) fn digest_of_id(&self, reference: &Reference) -> Result<Option<Sha256Digest>, StoreError> {
        let digits = reference.path();
        let is_id = reference.domain().is_none()
            && reference.tag().is_none()
            && (ID_MIN_DIGITS..=64).contains(&digits.len())
            && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_id {
            return Ok(None);
        }
        let mut found = Vec::new();
        for digest in self.image_digests()? {
            let id = self.image_of_digest(&digest)?.id();
            if id.hex().starts_with(digits) {
                found.push((id, digest));
            }
        }
        let indexes = self.indexes().unwrap_or_default().into_iter();
        found.extend(
            indexes
                .map(|index| (index.digest, index.digest))
                .filter(|(id, _)| id.hex().starts_with(digits)),
        );
        match found.as_slice() {
            [] => Ok(None),
            [(first, digest), rest @ ..] if rest.iter().all(|(id, _)| id == first) => Ok(Some(*digest)),
            _ => Err(StoreError::AmbiguousId(digits.to_owned())),
        }
    }

    pub(super) fn unknown_image(&self, reference: &Reference) -> StoreError {
        let wanted = reference.qualified().to_string();
        let names = self.names().unwrap_or_default().into_iter();
        let nearest = names
            .map(|(name, _)| (strsim::damerau_levenshtein(&name.to_string(), &wanted), name))
            .filter(|(distance, name)| *distance <= 3 || name.path() == reference.path())
            .min()
            .map(|(_, name)| name);
        StoreError::UnknownImage {
            reference: Box::new(reference.clone()),
            nearest: nearest.map(Box::new),
        }
    }

    /// Stores a small blob.
    pub(crate) fn put_blob(&self, bytes: &[u8]) -> Result<Sha256Digest, StoreError> {
        let digest = Sha256Digest::of(bytes);
        let path = blob_path(&digest);
        let size_bytes =
            files::size_bytes(self.root(), &path).map_err(|error| self.io("look for", &path, error))?;
        if size_bytes != Some(bytes.len() as u64) {
            self.write(&path, bytes)?;
        }
        Ok(digest)
    }

    /// Reads a small blob, and checks that it is what its name says.
    pub fn blob_bytes(&self, digest: &Sha256Digest) -> Result<Vec<u8>, StoreError> {
        let bytes = self
            .read(&blob_path(digest))?
            .ok_or(StoreError::MissingBlob(*digest))?;
        if Sha256Digest::of(&bytes) == *digest {
            return Ok(bytes);
        }
        Err(StoreError::Damaged {
            what: "blob",
            name: digest.to_string(),
        })
    }

    /// Opens a blob; `None` if it is not in the store.
    pub(crate) fn open_blob(&self, digest: &Sha256Digest) -> Result<Option<std::fs::File>, StoreError> {
        let path = blob_path(digest);
        match files::open(self.root(), &path) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.io("open", &path, error)),
        }
    }
}

pub(super) fn blob_path(digest: &Sha256Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// The file that says an image exists.
pub(super) fn image_marker(config: &Sha256Digest) -> String {
    format!("{{\"config\":\"{config}\"}}\n")
}

pub(super) fn image_path(digest: &Sha256Digest) -> String {
    format!("images/{}", digest.hex())
}

/// A directory a component, so that no name is too long for a file name. Only the last component has a tag, so no name
/// is in the way of another one.
pub(super) fn name_path(name: &Reference) -> String {
    format!("names/{}", name.qualified())
}

pub(super) fn parse_digest(bytes: &[u8]) -> Option<Sha256Digest> {
    std::str::from_utf8(bytes).ok()?.trim_end().parse().ok()
}

/// The entries of the history that are not empty are the layers, if there is a history.
fn require_history(parts: &ImageParts) -> Result<(), StoreError> {
    let history = &parts.config.history;
    let with_layer = history.iter().filter(|entry| !entry.empty_layer).count();
    if history.is_empty() || with_layer == parts.layers.len() {
        return Ok(());
    }
    Err(StoreError::History {
        history: with_layer,
        layers: parts.layers.len(),
    })
}
