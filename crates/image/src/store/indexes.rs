//! Indexes: images for several kinds of machines under one name.
//!
//! An index is a blob, and a name with its digest is what makes it one of the store: it has no file of its own in
//! `images/`, and goes with its last name. The images that it names are images of the store like others.

use std::collections::BTreeSet;
use std::fs::File;

use rustix::fs::FlockOperation;

use super::images::{image_path, name_path};
use super::{Image, NAMES, Store, StoreError, files};
use crate::digest::Sha256Digest;
use crate::intake::choose;
use crate::manifest::{Descriptor, Index, ManifestOrIndex, Platform, media_type};
use crate::reference::Reference;

/// An index of the store.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageIndex {
    /// Its digest.
    pub digest: Sha256Digest,
    /// What it says.
    pub index: Index,
}

/// What a name stands for.
#[derive(Debug, Clone, PartialEq)]
pub enum Named {
    /// One image.
    Image(Box<Image>),
    /// Images for several kinds of machines.
    Index(ImageIndex),
}

/// An index in a list.
#[derive(Debug, Clone, PartialEq)]
pub struct ListedIndex {
    /// The index.
    pub index: ImageIndex,
    /// Its names, in byte order.
    pub names: Vec<Reference>,
}

impl ImageIndex {
    /// The images, as the index lists them.
    pub fn images(&self, store: &Store) -> Result<Vec<Image>, StoreError> {
        let digests = self.digests();
        digests.map(|digest| store.image_of_digest(&digest)).collect()
    }

    /// The digests of the manifests of the images.
    pub fn digests(&self) -> impl Iterator<Item = Sha256Digest> {
        self.index.manifests.iter().map(|manifest| manifest.digest)
    }
}

impl Image {
    /// An error if the image says that it is for another kind of machine; `name` is what it is called there.
    pub fn require_platform(&self, name: &Reference, wanted: &Platform) -> Result<(), StoreError> {
        let found = self.config.platform();
        let fits = found.architecture.is_empty()
            || (found.os == wanted.os && found.architecture == wanted.architecture);
        match fits {
            true => Ok(()),
            false => Err(StoreError::NoPlatform {
                name: Box::new(name.clone()),
                wanted: wanted.to_string(),
                available: vec![found.to_string()],
            }),
        }
    }
}

impl Named {
    /// The digest of the manifest or index.
    pub fn digest(&self) -> Sha256Digest {
        match self {
            Named::Image(image) => image.manifest_digest,
            Named::Index(index) => index.digest,
        }
    }
}

impl Store {
    /// The image of a name, of a manifest digest (`NAME@sha256:…`), or of the beginning of an image ID; of an index the
    /// one for this machine.
    pub fn image(&self, reference: &Reference) -> Result<Image, StoreError> {
        self.image_for(reference, &Platform::host())
    }

    /// [`Store::image`], of an index the one for that kind of machine. An image that is in no index is for whatever it
    /// is for.
    pub fn image_for(&self, reference: &Reference, platform: &Platform) -> Result<Image, StoreError> {
        let index = match self.find(reference)? {
            Named::Image(image) => return Ok(*image),
            Named::Index(index) => index,
        };
        match choose(index.index.manifests.iter(), platform) {
            Ok(chosen) => self.image_of_digest(&chosen.digest),
            Err(_) => Err(StoreError::NoPlatform {
                name: Box::new(reference.clone()),
                wanted: platform.to_string(),
                available: available(&index.index),
            }),
        }
    }

    /// What a name, a digest (`NAME@sha256:…`), or the beginning of an image's or index's ID stands for.
    pub fn find(&self, reference: &Reference) -> Result<Named, StoreError> {
        let digest = match reference.digest() {
            Some(digest) => self.is_known(&digest)?.then_some(digest),
            None => match self.resolve(reference)? {
                Some(name) => self.named(&name)?,
                None => self.digest_of_id(reference)?,
            },
        };
        match digest {
            Some(digest) => self.named_of_digest(&digest),
            None => Err(self.unknown_image(reference)),
        }
    }

    /// Gives an index one more name; what had the name loses it.
    pub fn tag_index(&self, index: &ImageIndex, name: &Reference) -> Result<(), StoreError> {
        self.write_name(name, &index.digest)
    }

    /// Whether [`Store::add_to_index`] can do with that name: nothing has it, or an index.
    pub fn require_index_name(&self, name: &Reference) -> Result<(), StoreError> {
        self.index_named(name).map(drop)
    }

    /// Puts images into the index of a name, which is made if nothing has the name. An image takes the place of one for
    /// the same kind of machine; that one has no name any more, unless it has others.
    ///
    /// The images and the new index are on the disk before the name is written.
    pub fn add_to_index(&self, name: &Reference, images: &[Image]) -> Result<ImageIndex, StoreError> {
        self.require_writable()?;
        let _alone = self.lock_names()?;
        let mut index = self.index_named(name)?;
        for image in images {
            put(&mut index.manifests, self.descriptor(image)?);
        }
        let is_docker = |manifest: &Descriptor| manifest.media_type == media_type::DOCKER_MANIFEST;
        let media_type = match index.manifests.iter().all(is_docker) {
            true => media_type::DOCKER_INDEX,
            false => media_type::INDEX,
        };
        index.media_type = Some(media_type.to_owned());
        let digest = self.put_blob(&index.to_bytes())?;
        self.sync()?;
        self.write_name(name, &digest)?;
        Ok(ImageIndex { digest, index })
    }

    /// The index with this digest.
    pub fn index_of_digest(&self, digest: &Sha256Digest) -> Result<ImageIndex, StoreError> {
        match self.named_of_digest(digest)? {
            Named::Index(index) => Ok(index),
            Named::Image(_) => Err(StoreError::Damaged {
                what: "index",
                name: digest.to_string(),
            }),
        }
    }

    /// All indexes that have a name, by digest.
    pub(super) fn indexes(&self) -> Result<Vec<ImageIndex>, StoreError> {
        let digests: BTreeSet<_> = self.names()?.into_iter().map(|(_, digest)| digest).collect();
        let mut indexes = Vec::new();
        for digest in digests {
            if !self.contains(&image_path(&digest))? {
                indexes.push(self.index_of_digest(&digest)?);
            }
        }
        Ok(indexes)
    }

    fn named_of_digest(&self, digest: &Sha256Digest) -> Result<Named, StoreError> {
        let bytes = self.blob_bytes(digest)?;
        let parsed = ManifestOrIndex::from_bytes(&bytes).map_err(|source| StoreError::Json {
            name: format!("the manifest {digest} of the store"),
            source,
        })?;
        match parsed {
            ManifestOrIndex::Manifest(_) => Ok(Named::Image(Box::new(self.image_of_digest(digest)?))),
            ManifestOrIndex::Index(index) => Ok(Named::Index(ImageIndex {
                digest: *digest,
                index,
            })),
        }
    }

    /// Whether there is an image, or a named index, with this digest.
    fn is_known(&self, digest: &Sha256Digest) -> Result<bool, StoreError> {
        let is_named = || Ok(self.names()?.iter().any(|(_, known)| known == digest));
        match self.contains(&image_path(digest))? {
            true => Ok(true),
            false => is_named(),
        }
    }

    /// The index of a full name; an empty one if nothing has the name.
    fn index_named(&self, name: &Reference) -> Result<Index, StoreError> {
        let Some(digest) = self.named(&name.qualified())? else {
            return Ok(Index::new(Vec::new()));
        };
        match self.named_of_digest(&digest)? {
            Named::Index(index) => Ok(index.index),
            Named::Image(_) => Err(StoreError::NotAnIndex(Box::new(name.qualified()))),
        }
    }

    /// What an index says of an image.
    fn descriptor(&self, image: &Image) -> Result<Descriptor, StoreError> {
        let media_type = image.manifest.media_type.as_deref();
        let bytes = self.blob_bytes(&image.manifest_digest)?;
        let mut descriptor = Descriptor::of(media_type.unwrap_or(media_type::MANIFEST), &bytes);
        descriptor.platform = Some(image.config.platform());
        Ok(descriptor)
    }

    /// Keeps others from changing an index that is read and written anew.
    fn lock_names(&self) -> Result<File, StoreError> {
        let failed = |error: std::io::Error| self.io("lock", NAMES, error);
        files::create_directories(self.root(), NAMES).map_err(failed)?;
        let directory = File::open(self.path().join(NAMES)).map_err(failed)?;
        super::retry_interrupted(|| rustix::fs::flock(&directory, FlockOperation::LockExclusive))
            .map_err(|errno| failed(errno.into()))?;
        Ok(directory)
    }

    pub(super) fn write_name(&self, name: &Reference, digest: &Sha256Digest) -> Result<(), StoreError> {
        self.require_writable()?;
        let path = name_path(name);
        files::write_durably(self.root(), &path, format!("{digest}\n").as_bytes())
            .map_err(|error| self.io("write", &path, error))
    }
}

/// In the place of the entry for the same kind of machine, or last.
fn put(manifests: &mut Vec<Descriptor>, new: Descriptor) {
    let same = manifests
        .iter_mut()
        .find(|known| known.digest == new.digest || is_same(known.platform.as_ref(), new.platform.as_ref()));
    match same {
        Some(known) => *known = new,
        None => manifests.push(new),
    }
}

/// Whether two platforms are one in different words.
fn is_same(one: Option<&Platform>, other: Option<&Platform>) -> bool {
    let normal = |platform: Option<&Platform>| {
        let platform = platform?;
        platform
            .to_string()
            .parse::<Platform>()
            .ok()
            .or_else(|| Some(platform.clone()))
    };
    normal(one) == normal(other)
}

fn available(index: &Index) -> Vec<String> {
    let platforms = index
        .manifests
        .iter()
        .filter_map(|manifest| manifest.platform.as_ref());
    platforms.map(Platform::to_string).collect()
}
