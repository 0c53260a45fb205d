//! The layers of an image, read into the store.

use std::fs::File;
use std::io::{self, Read, Write};
use std::sync::{Mutex, PoisonError};

use osmith_formats::tree::Content;
use osmith_report::Observer;

use super::{Blobs, Documents, IntakeError, IntakeOptions, Transferred};
use crate::compression::decompressed;
use crate::digest::{Digesting, Sha256Digest};
use crate::layer::Layer;
use crate::manifest::Descriptor;
use crate::parallel;
use crate::progress::{Meter, Metered};
use crate::reference::Reference;
use crate::store::{Image, IncomingBlob, ObjectBytes, Store, StoreError};
use crate::tar::{self, Limits, TarError};

/// Takes the layers that the store does not have, then the image. The meter counts the bytes of blobs.
pub(crate) fn take_layers<B: Blobs>(
    blobs: &B,
    documents: &Documents,
    names: &[Reference],
    store: &Store,
    options: &IntakeOptions,
    observer: &dyn Observer,
    meter: &Meter,
) -> Result<(Image, Transferred), B::Error> {
    let intake = LayerIntake {
        blobs,
        store,
        options,
        observer,
        meter,
    };
    let diff_ids = documents.config.rootfs.diff_ids.iter();
    let mut layers: Vec<_> = documents.manifest.layers.iter().zip(diff_ids).collect();
    let in_order: Vec<_> = layers.iter().map(|(_, diff_id)| **diff_id).collect();
    layers.sort_by_key(|(descriptor, diff_id)| (descriptor.digest, **diff_id));
    layers.dedup_by_key(|(descriptor, diff_id)| (descriptor.digest, **diff_id));
    // The longest first: it decides when all are there.
    layers.sort_by_key(|(descriptor, _)| std::cmp::Reverse(descriptor.size_bytes));
    let taken = parallel::map_on(blobs.parallel_reads(), &layers, |(descriptor, diff_id)| {
        intake.layer(descriptor, diff_id)
    })?;
    let mut transferred = Transferred::default();
    for layer in taken {
        transferred += layer;
    }
    let ids = in_order.iter().map(|diff_id| {
        let layer = store.layer_of_diff(diff_id)?;
        layer.ok_or(StoreError::MissingDiff(*diff_id))
    });
    let ids: Result<Vec<_>, _> = ids.collect();
    ids.and_then(|ids| store.merge(&ids)).map_err(IntakeError::from)?;
    let image = store
        .register_image(&documents.manifest_bytes, &documents.config_bytes, names)
        .map_err(IntakeError::from)?;
    Ok((image, transferred))
}

struct LayerIntake<'a, B> {
    blobs: &'a B,
    store: &'a Store,
    options: &'a IntakeOptions,
    observer: &'a dyn Observer,
    meter: &'a Meter<'a>,
}

impl<B: Blobs> LayerIntake<'_, B> {
    /// Takes a layer, unless the store has it.
    fn layer(&self, descriptor: &Descriptor, diff_id: &Sha256Digest) -> Result<Transferred, B::Error> {
        require_layer_type(descriptor)?;
        if let Some(present_bytes) = self.present_bytes(descriptor, diff_id)? {
            self.meter.add(descriptor.size_bytes);
            return Ok(Transferred {
                present_bytes,
                layers_reused: 1,
                ..Transferred::default()
            });
        }
        let reader = Metered {
            inner: self.blobs.blob(descriptor)?,
            meter: self.meter,
        };
        let objects = self.read(reader, descriptor, diff_id)?;
        Ok(Transferred {
            fetched_bytes: descriptor.size_bytes,
            written_bytes: objects.written,
            present_bytes: objects.present,
            layers_fetched: 1,
            layers_reused: 0,
        })
    }

    /// The bytes of the layer's contents, if it need not be read.
    fn present_bytes(
        &self,
        descriptor: &Descriptor,
        diff_id: &Sha256Digest,
    ) -> Result<Option<u64>, IntakeError> {
        if self.options.reread.contains(diff_id) {
            return Ok(None);
        }
        let Some(id) = self.store.layer_of_diff(diff_id)? else {
            return Ok(None);
        };
        let is_plain = descriptor.digest == *diff_id;
        let leaves_unchanged = is_plain || self.store.open_blob(&descriptor.digest)?.is_some();
        if self.options.keep_blobs && !leaves_unchanged {
            return Ok(None);
        }
        let layer = self.store.layer(&id)?;
        let objects = layer
            .contents()
            .filter(|content| matches!(content, Content::Object { .. }));
        Ok(Some(objects.map(Content::size_bytes).sum()))
    }

    /// Reads a layer to its end and compares it with its digests. Bytes that are not what their digest says are told as
    /// such, not by what they do to the archive.
    fn read(
        &self,
        reader: impl Read + Send,
        descriptor: &Descriptor,
        diff_id: &Sha256Digest,
    ) -> Result<ObjectBytes, B::Error> {
        let copy = match self.options.keep_blobs {
            true => Some(self.store.unnamed_blob().map_err(IntakeError::from)?),
            false => None,
        };
        let failure = Mutex::new(None);
        let mut compressed = Digesting::new(Copying {
            // One byte more than there should be: enough to see that it is too long.
            reader: reader.take(descriptor.size_bytes.saturating_add(1)),
            copy: copy.as_ref().map(|copy| copy.file()),
            failure: &failure,
        });
        let read = self.read_archive(&mut compressed);
        let stopped = matches!(read, Err(TarError::Interrupted(_) | TarError::Store(_)));
        // After a failure of the source, which is told below, this fails as well.
        let drained = match stopped {
            true => Ok(0),
            false => io::copy(&mut compressed, &mut io::sink()),
        };
        let (_, found, found_bytes) = compressed.finish();
        match failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(CopyFailure::Read(error)) => return Err(self.blobs.read_error(descriptor, error)),
            Some(CopyFailure::Write(error)) => {
                let error = StoreError::io("write a layer to", self.store.path(), error);
                return Err(IntakeError::from(error).into());
            }
            None => {}
        }
        drained.map_err(|error| self.blobs.read_error(descriptor, error))?;
        if !stopped {
            require_digest(descriptor, found, found_bytes)?;
        }
        let (layer, objects, found_diff_id) = read.map_err(|error| layer_error(descriptor, error))?;
        if found_diff_id != *diff_id {
            return Err(IntakeError::DiffId {
                layer: descriptor.digest,
                expected: *diff_id,
                found: found_diff_id,
            }
            .into());
        }
        self.keep(&layer, copy, descriptor, diff_id)
            .map_err(IntakeError::from)?;
        Ok(objects)
    }

    /// Reads a layer and the digest of its plain bytes.
    fn read_archive<R: Read + Send>(
        &self,
        compressed: &mut Digesting<R>,
    ) -> Result<(Layer, ObjectBytes, Sha256Digest), TarError> {
        let limits = Limits {
            end_required: false,
            ..self.options.limits.clone()
        };
        let mut plain = Digesting::new(decompressed(compressed).map_err(TarError::Read)?);
        let (layer, objects) = tar::take_layer(&mut plain, self.store, &limits, self.observer)?;
        Ok((layer, objects, plain.finish().1))
    }

    fn keep(
        &self,
        layer: &Layer,
        copy: Option<IncomingBlob>,
        descriptor: &Descriptor,
        diff_id: &Sha256Digest,
    ) -> Result<(), StoreError> {
        let id = self.store.put_layer(layer)?;
        let is_own = || {
            descriptor.digest == *diff_id
                && self
                    .store
                    .tar_stream(&id, self.observer)
                    .is_ok_and(|own| own.diff_id == *diff_id)
        };
        if let Some(copy) = copy
            && !is_own()
        {
            self.store.keep_blob(copy, &descriptor.digest)?;
        }
        self.store.put_diff(diff_id, &id)
    }
}

fn require_digest(descriptor: &Descriptor, found: Sha256Digest, found_bytes: u64) -> Result<(), IntakeError> {
    let expected = descriptor.digest;
    if found_bytes != descriptor.size_bytes {
        return Err(IntakeError::BlobLength {
            digest: expected,
            expected: descriptor.size_bytes,
            found: found_bytes,
        });
    }
    match found == expected {
        true => Ok(()),
        false => Err(IntakeError::BlobDigest { expected, found }),
    }
}

fn layer_error(descriptor: &Descriptor, error: TarError) -> IntakeError {
    match error {
        TarError::Interrupted(interrupted) => interrupted.into(),
        TarError::Store(error) => (*error).into(),
        source => IntakeError::Layer {
            digest: descriptor.digest,
            source,
        },
    }
}

/// A reader that writes what it reads to a file, and remembers why it failed.
struct Copying<'a, R> {
    reader: R,
    copy: Option<&'a File>,
    failure: &'a Mutex<Option<CopyFailure>>,
}

enum CopyFailure {
    Read(io::Error),
    Write(io::Error),
}

impl<R> Copying<'_, R> {
    /// Keeps the failure, and gives a sign of it to who reads.
    fn failed(&self, kind: io::ErrorKind, failure: CopyFailure) -> io::Error {
        let mut place = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        place.get_or_insert(failure);
        kind.into()
    }
}

impl<R: Read> Read for Copying<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = match self.reader.read(buffer) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Err(error),
            Err(error) => return Err(self.failed(error.kind(), CopyFailure::Read(error))),
        };
        if let Some(mut copy) = self.copy {
            copy.write_all(buffer.get(..count).unwrap_or_default())
                .map_err(|error| self.failed(error.kind(), CopyFailure::Write(error)))?;
        }
        Ok(count)
    }
}

/// Whatever the type says about compression, the bytes decide; but the layer must be a tar archive.
fn require_layer_type(descriptor: &Descriptor) -> Result<(), IntakeError> {
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
        false => Err(IntakeError::LayerType {
            digest: descriptor.digest,
            media_type: media_type.to_owned(),
        }),
    }
}
