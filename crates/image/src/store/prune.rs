//! Removes what nothing names, and finds what is damaged.

use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::path::Path;

use osmith_formats::tree::Content;
use osmith_formats::verity::Digest;
use osmith_report::{Observer, StepId};

use super::images::{blob_path, image_path};
use super::objects::{measure, object_path};
use super::{Image, OBJECTS, ORIGINS, ObjectOwner, Store, StoreError, files};
use crate::digest::{Digesting, Sha256Digest};
use crate::layer::LayerId;
use crate::parallel;
use crate::progress::Meter;
use crate::reference::Reference;

/// What [`Store::prune`] removes besides what nothing needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PruneOptions {
    /// What builds remember, and the layers only they know.
    pub cache: bool,
}

/// What was removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pruned {
    /// Images that had no name.
    pub images: u64,
    /// Things that builds remembered.
    pub cache_entries: u64,
    /// Layer records.
    pub layers: u64,
    /// Blobs.
    pub blobs: u64,
    /// Objects.
    pub objects: u64,
    /// The length of all files that were removed.
    pub size_bytes: u64,
}

/// Something of the store that is missing, or is not what its name says.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Damage {
    /// What kind of thing: `object`, `layer`, `blob`, `image`.
    pub what: &'static str,
    /// Its name.
    pub name: String,
    /// Whether it is not there at all.
    pub missing: bool,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = if self.missing { "missing" } else { "damaged" };
        write!(f, "{} {} is {state}", self.what, self.name)
    }
}

/// What images and builds need.
#[derive(Default)]
struct Needed {
    layers: HashSet<LayerId>,
    diffs: HashSet<Sha256Digest>,
    blobs: HashSet<Sha256Digest>,
    objects: HashSet<Digest>,
}

impl Store {
    /// Removes images without a name that nobody holds, and everything that no image and nothing that builds remember
    /// needs.
    ///
    /// Nobody else may use the store meanwhile. If something needed cannot be read, nothing is removed.
    pub fn prune(&self, options: &PruneOptions, observer: &dyn Observer) -> Result<Pruned, StoreError> {
        self.exclusively(|| {
            let held = self.holds()?.into_iter().map(|(_, digest)| digest);
            let mut reached = self.reached_by_names(None)?;
            reached.extend(held);
            let (kept, unnamed): (Vec<_>, Vec<_>) = self
                .image_digests()?
                .into_iter()
                .partition(|digest| reached.contains(digest));
            let needed = self.needed(&kept, !options.cache)?;
            let mut pruned = Pruned::default();
            for digest in unnamed {
                observer.require_running()?;
                pruned.images += self.discard(&image_path(&digest), &mut pruned.size_bytes)?;
            }
            if options.cache {
                for path in self.cache_paths()? {
                    pruned.cache_entries += self.discard(&path, &mut pruned.size_bytes)?;
                }
            }
            self.discard_unneeded(&needed, &mut pruned, observer)?;
            self.remove_unused_roots("", 0)?;
            Ok(pruned)
        })
    }

    /// Takes a name off an image or index; with its last name the image goes, and what only it needed. That is left to a
    /// later [`Store::prune`] if somebody else uses the store. Images without a name stay. The last name of an image
    /// that is held is not taken; an image that is in an index needs no name. With an index its images go that have
    /// nothing else.
    pub fn remove_image(
        &self,
        name: &Reference,
        observer: &dyn Observer,
    ) -> Result<(Reference, Pruned), StoreError> {
        self.require_removable(name)?;
        let (name, digest) = self.untag(name)?;
        let mut pruned = Pruned::default();
        // Where it cannot be told what other names need, nothing goes but the name.
        let (Some(digest), Ok(reached)) = (digest, self.reached_by_names(None)) else {
            return Ok((name, pruned));
        };
        let held: Vec<_> = self.holds()?.into_iter().map(|(_, digest)| digest).collect();
        let needed = |image: &Sha256Digest| reached.contains(image) || held.contains(image);
        for image in self.images_of(&digest).iter().filter(|image| !needed(image)) {
            pruned.images += self.discard(&image_path(image), &mut pruned.size_bytes)?;
        }
        if reached.contains(&digest) {
            return Ok((name, pruned));
        }
        let collected = self.exclusively(|| {
            let needed = self.needed(&self.image_digests()?, true)?;
            self.discard_unneeded(&needed, &mut pruned, observer)
        });
        match collected {
            Ok(()) | Err(StoreError::Busy(_)) => Ok((name, pruned)),
            Err(error) => Err(error),
        }
    }

    /// Whether no image that is held would be without a name. A name that cannot be read keeps nothing.
    fn require_removable(&self, name: &Reference) -> Result<(), StoreError> {
        let Ok(Some(known)) = self.resolve(name) else {
            return Ok(());
        };
        let (Ok(Some(digest)), Ok(reached)) = (self.named(&known), self.reached_by_names(Some(&known)))
        else {
            return Ok(());
        };
        let images = self.images_of(&digest).into_iter();
        images
            .filter(|image| !reached.contains(image))
            .try_for_each(|image| self.require_not_held(&image))
    }

    /// The digests of all that names stand for, and of the images of the indexes among it.
    fn reached_by_names(&self, without: Option<&Reference>) -> Result<BTreeSet<Sha256Digest>, StoreError> {
        let names = self.names()?.into_iter();
        let named: BTreeSet<_> = names
            .filter(|(name, _)| Some(name) != without)
            .map(|(_, digest)| digest)
            .collect();
        let mut reached = named.clone();
        for index in self
            .indexes()?
            .iter()
            .filter(|index| named.contains(&index.digest))
        {
            reached.extend(index.digests());
        }
        Ok(reached)
    }

    /// The images of an index, or the image with that digest. An index that cannot be read has none.
    fn images_of(&self, digest: &Sha256Digest) -> Vec<Sha256Digest> {
        match self.index_of_digest(digest) {
            Ok(index) => index.digests().collect(),
            Err(_) => vec![*digest],
        }
    }

    /// Reads everything that images need, and says what is damaged. Progress counts the bytes of objects and blobs.
    pub fn verify(&self, observer: &dyn Observer, step: StepId) -> Result<Vec<Damage>, StoreError> {
        let mut damages = BTreeSet::new();
        let (mut blobs, mut layers, mut contents) = (BTreeSet::new(), BTreeSet::new(), HashSet::new());
        for digest in self.image_digests()? {
            match self.image_of_digest(&digest) {
                Ok(image) => {
                    blobs.extend(
                        image
                            .manifest
                            .layers
                            .iter()
                            .map(|layer| (layer.digest, layer.size_bytes)),
                    );
                    self.verify_diffs(&image, &mut layers, &mut damages)?;
                }
                Err(error) => drop(damages.insert(damage_of("image", digest.to_string(), &error))),
            }
        }
        for id in layers {
            match self.layer(&id) {
                Ok(layer) => contents.extend(layer.contents().cloned()),
                Err(error) => drop(damages.insert(damage_of("layer", id.to_string(), &error))),
            }
        }
        self.verify_indexes(&mut damages)?;
        let blobs: Vec<_> = blobs.into_iter().collect();
        let contents: Vec<_> = contents.into_iter().collect();
        let total_bytes = contents.iter().map(Content::size_bytes).sum::<u64>();
        let meter = Meter::new(observer, step, Some(total_bytes));
        let bad_objects = parallel::map(&contents, |content| {
            observer.require_running()?;
            meter.add(content.size_bytes());
            self.verify_object(content)
        })?;
        let bad_blobs = parallel::map(&blobs, |(digest, _)| {
            observer.require_running()?;
            self.verify_blob(digest)
        })?;
        damages.extend(bad_objects.into_iter().chain(bad_blobs).flatten());
        Ok(damages.into_iter().collect())
    }

    /// Whether what is named and no image is an index, and whether its images are there.
    fn verify_indexes(&self, damages: &mut BTreeSet<Damage>) -> Result<(), StoreError> {
        let images: HashSet<_> = self.image_digests()?.into_iter().collect();
        let names = self.names()?.into_iter();
        for (_, digest) in names.filter(|(_, digest)| !images.contains(digest)) {
            match self.index_of_digest(&digest) {
                Ok(index) => damages.extend(index.digests().filter(|image| !images.contains(image)).map(
                    |image| Damage {
                        what: "image",
                        name: image.to_string(),
                        missing: true,
                    },
                )),
                Err(error) => drop(damages.insert(damage_of("image", digest.to_string(), &error))),
            }
        }
        Ok(())
    }

    fn verify_diffs(
        &self,
        image: &Image,
        layers: &mut BTreeSet<LayerId>,
        damages: &mut BTreeSet<Damage>,
    ) -> Result<(), StoreError> {
        for diff_id in &image.config.rootfs.diff_ids {
            match self.layer_of_diff(diff_id)? {
                Some(layer) => drop(layers.insert(layer)),
                None => drop(damages.insert(Damage {
                    what: "layer",
                    name: diff_id.to_string(),
                    missing: true,
                })),
            }
        }
        Ok(())
    }

    fn verify_object(&self, content: &Content) -> Result<Option<Damage>, StoreError> {
        let Content::Object { digest, .. } = content else {
            return Ok(None);
        };
        let found = self
            .read_object(digest)
            .and_then(|file| measure(&file).map_err(|error| self.io("read", &object_path(digest), error)));
        Ok(match found {
            Ok(found) if found == *content => None,
            Ok(_) => Some(damaged("object", digest.to_string())),
            Err(error) => Some(damage_of("object", digest.to_string(), &error)),
        })
    }

    /// A blob of an own layer that has never left need not exist.
    fn verify_blob(&self, digest: &Sha256Digest) -> Result<Option<Damage>, StoreError> {
        let Some(file) = self.open_blob(digest)? else {
            return Ok(None);
        };
        let mut digesting = Digesting::new(file);
        std::io::copy(&mut digesting, &mut std::io::sink())
            .map_err(|error| self.io("read", &blob_path(digest), error))?;
        let (_, found, _) = digesting.finish();
        Ok((found != *digest).then(|| damaged("blob", digest.to_string())))
    }

    fn needed(&self, images: &[Sha256Digest], with_cache: bool) -> Result<Needed, StoreError> {
        let mut needed = Needed::default();
        for digest in images {
            let image = self.image_of_digest(digest)?;
            needed.blobs.extend([*digest, image.id()]);
            needed
                .blobs
                .extend(image.manifest.layers.iter().map(|layer| layer.digest));
            needed.layers.extend(image.layers(self)?);
            needed.diffs.extend(image.config.rootfs.diff_ids);
        }
        needed
            .blobs
            .extend(self.indexes()?.into_iter().map(|index| index.digest));
        if with_cache {
            for layer in self.cached_layers()? {
                if self.contains_layer(&layer)? {
                    needed.layers.insert(layer);
                }
            }
        }
        for layer in &needed.layers {
            let objects = self.layer(layer)?;
            needed
                .objects
                .extend(objects.contents().filter_map(|content| match content {
                    Content::Object { digest, .. } => Some(*digest),
                    Content::Inline(_) => None,
                }));
        }
        Ok(needed)
    }

    /// What refers to other things goes before them, so that nothing ever refers to what is gone.
    fn discard_unneeded(
        &self,
        needed: &Needed,
        pruned: &mut Pruned,
        observer: &dyn Observer,
    ) -> Result<(), StoreError> {
        let digest_of = |name: &str| Sha256Digest::from_hex(name.get(..64)?).ok();
        let layer_of = |name: &str| digest_of(name).map(LayerId);
        let size_bytes = &mut pruned.size_bytes;
        let kept_blobs = self.compressed_blobs_of(|diff_id| needed.diffs.contains(diff_id))?;
        self.discard_in("compressed", size_bytes, |name| {
            digest_of(name).is_some_and(|diff_id| !needed.diffs.contains(&diff_id))
        })?;
        self.discard_in("tars", size_bytes, |name| {
            layer_of(name).is_some_and(|layer| !needed.layers.contains(&layer))
        })?;
        let unneeded_diffs = self.unneeded_diffs(needed)?;
        self.discard_in("diffs", size_bytes, |name| unneeded_diffs.contains(name))?;
        pruned.layers += self.discard_in("layers", size_bytes, |name| {
            layer_of(name).is_some_and(|layer| !needed.layers.contains(&layer))
        })?;
        self.discard_in(ORIGINS, size_bytes, |name| {
            digest_of(name).is_some_and(|blob| !needed.blobs.contains(&blob) && !kept_blobs.contains(&blob))
        })?;
        pruned.blobs += self.discard_in("blobs/sha256", size_bytes, |name| {
            digest_of(name).is_some_and(|blob| !needed.blobs.contains(&blob) && !kept_blobs.contains(&blob))
        })?;
        let own_objects = match self.owner {
            ObjectOwner::Store => self.list(OBJECTS)?,
            ObjectOwner::Repository => Vec::new(),
        };
        for (directory, _) in own_objects {
            observer.require_running()?;
            pruned.objects += self.discard_in(&format!("{OBJECTS}/{directory}"), size_bytes, |name| {
                let digest = format!("{directory}{name}").parse();
                digest.is_ok_and(|digest| !needed.objects.contains(&digest))
            })?;
        }
        self.remove_unfinished();
        Ok(())
    }

    /// The diff IDs that no image needs and whose layer goes.
    fn unneeded_diffs(&self, needed: &Needed) -> Result<HashSet<String>, StoreError> {
        let mut unneeded = HashSet::new();
        for (name, _) in self.list("diffs")? {
            let Ok(diff_id) = Sha256Digest::from_hex(&name) else {
                continue;
            };
            let layer = self.layer_of_diff(&diff_id)?;
            if !layer.is_some_and(|layer| needed.layers.contains(&layer)) && !needed.diffs.contains(&diff_id)
            {
                unneeded.insert(name);
            }
        }
        Ok(unneeded)
    }

    /// Removes the files of a directory that `is_unneeded`, and says how many.
    fn discard_in(
        &self,
        directory: &str,
        size_bytes: &mut u64,
        is_unneeded: impl Fn(&str) -> bool,
    ) -> Result<u64, StoreError> {
        let mut count = 0;
        for (name, _) in self.list(directory)? {
            if is_unneeded(&name) {
                count += self.discard(&format!("{directory}/{name}"), size_bytes)?;
            }
        }
        Ok(count)
    }

    /// Removes a file; 1 if there was one.
    fn discard(&self, path: &str, size_bytes: &mut u64) -> Result<u64, StoreError> {
        let failed = |error| self.io("remove", path, error);
        *size_bytes += files::size_bytes(self.root(), path).map_err(failed)?.unwrap_or(0);
        files::remove(self.root(), path).map_err(failed).map(u64::from)
    }

    /// The path of an object, for messages and tests.
    pub fn object_file(&self, digest: &Digest) -> std::path::PathBuf {
        self.path().join(Path::new(&object_path(digest)))
    }
}

fn damaged(what: &'static str, name: String) -> Damage {
    Damage {
        what,
        name,
        missing: false,
    }
}

fn damage_of(what: &'static str, name: String, error: &StoreError) -> Damage {
    let missing = matches!(
        error,
        StoreError::MissingObject(_)
            | StoreError::MissingLayer(_)
            | StoreError::MissingBlob(_)
            | StoreError::MissingDiff(_)
    );
    Damage { what, name, missing }
}
