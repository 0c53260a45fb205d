//! Images of a store into a registry.
//!
//! A blob that the registry has stays there; one that it has in another repository is asked for there. A layer of our
//! own leaves while it is compressed; its blob is kept, so that the next time it leaves as it is. The manifest is sent
//! when everything else is there.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::thread::{self, ScopedJoinHandle};

use osmith_report::{Interrupted, Observer, StepId};
use ureq::http::Uri;

use super::follow::{Follower, Leader, Written};
use super::repository::Repository;
use super::retry::Tries;
use super::upload::Begun;
use super::{Client, RegistryError};
use crate::digest::Sha256Digest;
use crate::manifest::{Descriptor, ManifestFormat, media_type};
use crate::parallel;
use crate::progress::Meter;
use crate::reference::Reference;
use crate::store::{Encoding, Image, ImageIndex, OwnLayer, Prepared, Store, StoreError};

/// So many blobs are sent at once.
const PARALLEL_BLOBS: usize = 6;

/// How [`push`] sends an image.
#[derive(Debug, Clone)]
pub struct PushOptions {
    /// How own layers are compressed. Layers that came compressed leave as they came.
    pub encoding: Encoding,
}

/// An image that was pushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// The name in the registry.
    pub name: Reference,
    /// The digest of its manifest there.
    pub digest: Sha256Digest,
    /// What became of its blobs.
    pub sent: Sent,
}

/// What became of blobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sent {
    /// Bytes of blobs that were sent.
    pub sent_bytes: u64,
    /// Blobs that were sent.
    pub blobs_sent: u64,
    /// Blobs that came from another repository of the registry.
    pub blobs_mounted: u64,
    /// Blobs that were there.
    pub blobs_present: u64,
}

impl std::ops::AddAssign for Sent {
    fn add_assign(&mut self, other: Self) {
        self.sent_bytes += other.sent_bytes;
        self.blobs_sent += other.blobs_sent;
        self.blobs_mounted += other.blobs_mounted;
        self.blobs_present += other.blobs_present;
    }
}

/// Sends an image to a registry under a full name. Progress counts the bytes of layers: of tar streams for own ones.
pub fn push(
    client: &Client,
    image: &Image,
    store: &Store,
    name: &Reference,
    options: &PushOptions,
    observer: &dyn Observer,
    step: StepId,
) -> Result<Pushed, RegistryError> {
    let repository = client.destination(name, observer)?;
    let meter = Meter::new(observer, step, Some(total_bytes(image)));
    let sending = Sending {
        repository: &repository,
        store,
        encoding: options.encoding.within(image.manifest.format()),
        observer,
        meter: &meter,
    };
    let (manifest, sent) = sending.image(image)?;
    let digest = Sha256Digest::of(&manifest);
    repository.put_manifest(&selector(name, &digest), manifest_type(image), &manifest)?;
    Ok(Pushed {
        name: name.clone(),
        digest,
        sent,
    })
}

/// Sends an index with all its images, as [`push`] does. The images are there when the index is sent, and have no name
/// but their digests.
pub fn push_index(
    client: &Client,
    index: &ImageIndex,
    store: &Store,
    name: &Reference,
    options: &PushOptions,
    observer: &dyn Observer,
    step: StepId,
) -> Result<Pushed, RegistryError> {
    let repository = client.destination(name, observer)?;
    let images = index.images(store)?;
    let meter = Meter::new(observer, step, Some(images.iter().map(total_bytes).sum()));
    let mut left_as = index.index.clone();
    let mut sent = Sent::default();
    for (image, entry) in images.iter().zip(&mut left_as.manifests) {
        let sending = Sending {
            repository: &repository,
            store,
            encoding: options.encoding.within(image.manifest.format()),
            observer,
            meter: &meter,
        };
        let (manifest, of_image) = sending.image(image)?;
        let digest = Sha256Digest::of(&manifest);
        repository.put_manifest(&digest.to_string(), manifest_type(image), &manifest)?;
        sent += of_image;
        (entry.digest, entry.size_bytes) = (digest, manifest.len() as u64);
    }
    let bytes = left_as.to_bytes();
    let digest = Sha256Digest::of(&bytes);
    let media_type = left_as.media_type.as_deref().unwrap_or(media_type::INDEX);
    repository.put_manifest(&selector(name, &digest), media_type, &bytes)?;
    Ok(Pushed {
        name: name.clone(),
        digest,
        sent,
    })
}

fn total_bytes(image: &Image) -> u64 {
    image.manifest.layers.iter().map(|layer| layer.size_bytes).sum()
}

fn selector(name: &Reference, digest: &Sha256Digest) -> String {
    match name.digest() {
        Some(_) => digest.to_string(),
        None => name.tag_or_latest().to_owned(),
    }
}

fn manifest_type(image: &Image) -> &'static str {
    match image.manifest.format() {
        ManifestFormat::Oci => media_type::MANIFEST,
        ManifestFormat::Docker => media_type::DOCKER_MANIFEST,
    }
}

struct Sending<'a> {
    repository: &'a Repository<'a>,
    store: &'a Store,
    encoding: Encoding,
    observer: &'a dyn Observer,
    meter: &'a Meter<'a>,
}

impl Sending<'_> {
    /// Sends layers and configuration; the manifest to be sent comes back.
    fn image(&self, image: &Image) -> Result<(Vec<u8>, Sent), RegistryError> {
        let diff_ids = image.config.rootfs.diff_ids.iter();
        // Blobs that occur twice leave once.
        let unique: BTreeMap<_, _> = image
            .manifest
            .layers
            .iter()
            .map(|layer| layer.digest)
            .zip(image.manifest.layers.iter().zip(diff_ids))
            .collect();
        let mut layers: Vec<_> = unique.into_values().collect();
        layers.sort_by_key(|(descriptor, _)| std::cmp::Reverse(descriptor.size_bytes));
        let left = parallel::map_on(PARALLEL_BLOBS, &layers, |(descriptor, diff_id)| {
            let (left_as, sent) = self.layer(descriptor, diff_id)?;
            Ok::<_, RegistryError>((descriptor.digest, left_as, sent))
        })?;
        let mut sent = self.config(image)?;
        let mut left_as = BTreeMap::new();
        for (digest, descriptor, of_layer) in left {
            sent += of_layer;
            left_as.insert(digest, descriptor);
        }
        let descriptors = image.manifest.layers.iter().map(|layer| {
            let left = left_as.get(&layer.digest).cloned();
            left.unwrap_or_else(|| layer.clone())
        });
        let format = image.manifest.format();
        let manifest = self
            .store
            .outgoing_manifest(image, descriptors.collect(), format)?;
        Ok((manifest, sent))
    }

    fn config(&self, image: &Image) -> Result<Sent, RegistryError> {
        let bytes = self.store.blob_bytes(&image.id())?;
        if self.repository.has_blob(&image.id())? {
            return Ok(PRESENT);
        }
        self.repository.put_short_blob(&image.id(), &bytes)?;
        Ok(sent(bytes.len() as u64))
    }

    /// Sends a layer if need be; what it left as comes back.
    fn layer(
        &self,
        descriptor: &Descriptor,
        diff_id: &Sha256Digest,
    ) -> Result<(Descriptor, Sent), RegistryError> {
        let (descriptor, sent) = match self.store.prepare_layer(descriptor, diff_id, self.encoding)? {
            Prepared::Blob(blob, file) => {
                let sent = self.blob(&blob, &file)?;
                // What the bytes that were sent did not make up for.
                self.meter
                    .add(descriptor.size_bytes.saturating_sub(sent.sent_bytes));
                (*blob, sent)
            }
            Prepared::Own(own) => self.own_layer(&own)?,
        };
        self.store
            .note_origin(&descriptor.digest, &self.repository.name())?;
        Ok((descriptor, sent))
    }

    /// Sends a blob that the registry does not have.
    fn blob(&self, descriptor: &Descriptor, file: &File) -> Result<Sent, RegistryError> {
        let mut begun = None;
        if self.repository.has_blob(&descriptor.digest)? {
            return Ok(PRESENT);
        }
        for origin in self.other_origins(&descriptor.digest)? {
            match self.repository.try_mount(&descriptor.digest, &origin)? {
                Some(Begun::Mounted) => return Ok(MOUNTED),
                Some(Begun::Upload(upload)) => {
                    begun = Some(upload);
                    break;
                }
                None => {}
            }
        }
        self.send_file(descriptor, file, begun, Some(self.meter))?;
        Ok(sent(descriptor.size_bytes))
    }

    /// The repositories of the same registry that have a blob, as far as we know.
    fn other_origins(&self, digest: &Sha256Digest) -> Result<Vec<String>, StoreError> {
        let prefix = format!("{}/", self.repository.registry.host);
        let origins = self.store.origins(digest)?.into_iter();
        let here = origins.filter_map(|origin| origin.strip_prefix(&prefix).map(str::to_owned));
        Ok(here
            .filter(|origin| *origin != self.repository.path)
            .take(2)
            .collect())
    }

    /// Sends the bytes of a file, from the start again if the connection breaks.
    fn send_file(
        &self,
        descriptor: &Descriptor,
        file: &File,
        mut begun: Option<Uri>,
        meter: Option<&Meter>,
    ) -> Result<(), RegistryError> {
        let mut counted_bytes = 0;
        self.repository.tries(|| {
            let upload = match begun.take() {
                Some(upload) => upload,
                None => self.repository.begin_upload()?,
            };
            let mut bytes = FileBytes {
                file,
                offset_bytes: 0,
                observer: self.observer,
                counted_bytes: &mut counted_bytes,
                meter,
            };
            let upload = self
                .repository
                .send_bytes(upload, &mut bytes, Some(descriptor.size_bytes))?;
            self.repository.finish_upload(&upload, &descriptor.digest, b"")
        })
    }

    /// Compresses a layer of our own and sends it meanwhile.
    fn own_layer(&self, own: &OwnLayer) -> Result<(Descriptor, Sent), RegistryError> {
        if let Some(left_as) = &own.left_as
            && self.repository.has_blob(&left_as.digest)?
        {
            self.meter.add(own.plain.size_bytes);
            return Ok((left_as.clone(), PRESENT));
        }
        let upload = self.repository.tries(|| self.repository.begin_upload())?;
        let blob = self.store.unnamed_blob()?;
        let written = Written::default();
        let (compressed, flushed, sent_to) = thread::scope(|scope| {
            let flushing = scope.spawn(|| written.flush_behind(blob.file()));
            let compressing = scope.spawn(|| {
                let leader = Leader {
                    file: blob.file(),
                    written: &written,
                };
                let compressed =
                    self.store
                        .compress_to(leader, own, self.encoding, self.observer, self.meter);
                written.end(compressed.is_ok());
                compressed
            });
            let mut bytes = Follower {
                file: blob.file(),
                written: &written,
                observer: self.observer,
                offset_bytes: 0,
            };
            let sent_to = self.repository.send_bytes(upload, &mut bytes, None);
            (joined(compressing), joined(flushing), sent_to)
        });
        let descriptor = compressed.map_err(|error| error.at(self.store.path()))?;
        let failed = |error| StoreError::io("write a layer in", self.store.path(), error);
        flushed.map_err(failed)?;
        let file = blob.file().try_clone().map_err(failed)?;
        self.store.keep_own_blob(blob, own, self.encoding, &descriptor)?;
        let finished =
            sent_to.and_then(|upload| self.repository.finish_upload(&upload, &descriptor.digest, b""));
        if let Err(error) = finished {
            Tries::new(self.repository.client.retry(), self.observer).wait_after(error)?;
            self.resend(&descriptor, &file)?;
        }
        let size_bytes = descriptor.size_bytes;
        Ok((descriptor, sent(size_bytes)))
    }

    /// Sends a blob whose progress was counted before.
    fn resend(&self, descriptor: &Descriptor, file: &File) -> Result<(), RegistryError> {
        match self.repository.has_blob(&descriptor.digest)? {
            true => Ok(()),
            false => self.send_file(descriptor, file, None, None),
        }
    }
}

/// What a thread came to.
fn joined<T>(thread: ScopedJoinHandle<T>) -> T {
    thread
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// A blob that was there.
pub(super) const PRESENT: Sent = Sent {
    sent_bytes: 0,
    blobs_sent: 0,
    blobs_mounted: 0,
    blobs_present: 1,
};

/// A blob that was in another repository.
pub(super) const MOUNTED: Sent = Sent {
    sent_bytes: 0,
    blobs_sent: 0,
    blobs_mounted: 1,
    blobs_present: 0,
};

/// A blob that was sent.
pub(super) fn sent(size_bytes: u64) -> Sent {
    Sent {
        sent_bytes: size_bytes,
        blobs_sent: 1,
        ..Sent::default()
    }
}

/// The bytes of a file from its start. What was counted before is not counted again.
struct FileBytes<'a> {
    file: &'a File,
    offset_bytes: u64,
    observer: &'a dyn Observer,
    counted_bytes: &'a mut u64,
    meter: Option<&'a Meter<'a>>,
}

impl Read for FileBytes<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.observer.interrupted() {
            return Err(io::Error::other(Interrupted));
        }
        let count = self.file.read_at(buffer, self.offset_bytes)?;
        self.offset_bytes += count as u64;
        if let Some(meter) = self.meter {
            meter.add(self.offset_bytes.saturating_sub(*self.counted_bytes));
        }
        *self.counted_bytes = self.offset_bytes.max(*self.counted_bytes);
        Ok(count)
    }
}
