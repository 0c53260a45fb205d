//! Images from one registry to another, byte for byte, without a store.

use std::collections::BTreeMap;
use std::io::{self, Read};

use osmith_report::{Interrupted, Observer, StepId};

use super::blob::BlobReader;
use super::push::{MOUNTED, PRESENT, Sent, sent};
use super::repository::{FetchedManifest, Repository};
use super::upload::Begun;
use super::{Client, RegistryError};
use crate::digest::{Digesting, Sha256Digest};
use crate::intake::{IntakeError, choose};
use crate::manifest::{Descriptor, ManifestOrIndex, Platform, media_type};
use crate::parallel;
use crate::progress::Meter;
use crate::reference::Reference;

const PARALLEL_BLOBS: usize = 6;
const NESTING_MAX: u32 = 4;

/// One side of a copy.
#[derive(Debug, Clone, Copy)]
pub struct Endpoint<'a> {
    /// Who speaks to the registry.
    pub client: &'a Client,
    /// The full name there.
    pub name: &'a Reference,
}

/// An image that was copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    /// The digest of what the name stands for now.
    pub digest: Sha256Digest,
    /// What became of the blobs.
    pub sent: Sent,
}

/// Copies an image: of an index the one for `platform`, or without that the whole index. Progress counts the bytes of
/// blobs.
pub fn copy(
    from: Endpoint,
    to: Endpoint,
    platform: Option<&Platform>,
    observer: &dyn Observer,
    step: StepId,
) -> Result<Copied, RegistryError> {
    let destination = to.client.destination(to.name, observer)?;
    let names = from.client.full_names(from.name)?;
    // There is always one.
    let sources = from
        .client
        .sources(names.first().unwrap_or(from.name), observer)?;
    super::pull::from_any(&sources, |source| {
        let copying = Copying {
            source,
            destination: &destination,
            observer,
        };
        let mut parts = Vec::new();
        let whole = copying.collect(&selector_of(from.name), platform, NESTING_MAX, &mut parts)?;
        let sent = copying.blobs(parts.iter().chain([&whole]), step)?;
        for part in &parts {
            copying.document(part, &part.digest.to_string())?;
        }
        let selector = match to.name.digest() {
            Some(_) => whole.digest.to_string(),
            None => to.name.tag_or_latest().to_owned(),
        };
        copying.document(&whole, &selector)?;
        Ok(Copied {
            digest: whole.digest,
            sent,
        })
    })
}

fn selector_of(name: &Reference) -> String {
    match name.digest() {
        Some(digest) => digest.to_string(),
        None => name.tag_or_latest().to_owned(),
    }
}

/// A manifest or index that is to be copied.
struct Document {
    bytes: Vec<u8>,
    digest: Sha256Digest,
    media_type: String,
    blobs: Vec<Descriptor>,
}

struct Copying<'a> {
    source: &'a Repository<'a>,
    destination: &'a Repository<'a>,
    observer: &'a dyn Observer,
}

impl Copying<'_> {
    /// Fetches a manifest, or an index and into `parts` what it names.
    fn collect(
        &self,
        selector: &str,
        platform: Option<&Platform>,
        nesting_left: u32,
        parts: &mut Vec<Document>,
    ) -> Result<Document, RegistryError> {
        let FetchedManifest { bytes, digest } = self.source.manifest(selector)?;
        if let Ok(expected) = selector.parse::<Sha256Digest>()
            && expected != digest
        {
            return Err(IntakeError::BlobDigest {
                expected,
                found: digest,
            }
            .into());
        }
        let parsed = ManifestOrIndex::from_bytes(&bytes).map_err(|source| RegistryError::Manifest {
            name: super::repository::named(&self.source.name(), selector),
            source,
        })?;
        let (media_type, blobs) = match parsed {
            ManifestOrIndex::Manifest(manifest) => {
                let mut blobs = manifest.layers;
                blobs.push(manifest.config);
                (
                    manifest
                        .media_type
                        .unwrap_or_else(|| media_type::MANIFEST.to_owned()),
                    blobs,
                )
            }
            ManifestOrIndex::Index(_) if nesting_left == 0 => {
                return Err(IntakeError::Nesting(NESTING_MAX).into());
            }
            ManifestOrIndex::Index(index) => {
                if let Some(platform) = platform {
                    let chosen = choose(index.manifests.iter(), platform)?.digest.to_string();
                    return self.collect(&chosen, Some(platform), nesting_left - 1, parts);
                }
                for manifest in &index.manifests {
                    let part = self.collect(&manifest.digest.to_string(), None, nesting_left - 1, parts)?;
                    parts.push(part);
                }
                (
                    index.media_type.unwrap_or_else(|| media_type::INDEX.to_owned()),
                    Vec::new(),
                )
            }
        };
        Ok(Document {
            bytes,
            digest,
            media_type,
            blobs,
        })
    }

    fn document(&self, document: &Document, selector: &str) -> Result<(), RegistryError> {
        self.destination
            .put_manifest(selector, &document.media_type, &document.bytes)
    }

    /// Copies the blobs of documents, each once.
    fn blobs<'d>(
        &self,
        documents: impl Iterator<Item = &'d Document>,
        step: StepId,
    ) -> Result<Sent, RegistryError> {
        let unique: BTreeMap<_, _> = documents
            .flat_map(|document| &document.blobs)
            .map(|blob| (blob.digest, blob))
            .collect();
        let mut blobs: Vec<_> = unique.into_values().collect();
        blobs.sort_by_key(|blob| std::cmp::Reverse(blob.size_bytes));
        let total_bytes = blobs.iter().map(|blob| blob.size_bytes).sum();
        let meter = Meter::new(self.observer, step, Some(total_bytes));
        let mut copied = Sent::default();
        for blob in parallel::map_on(PARALLEL_BLOBS, &blobs, |blob| self.blob(blob, &meter))? {
            copied += blob;
        }
        Ok(copied)
    }

    fn blob(&self, blob: &Descriptor, meter: &Meter) -> Result<Sent, RegistryError> {
        if self.destination.has_blob(&blob.digest)? {
            meter.add(blob.size_bytes);
            return Ok(PRESENT);
        }
        let mut begun = None;
        if self.source.registry.host == self.destination.registry.host {
            match self.destination.try_mount(&blob.digest, &self.source.path)? {
                Some(Begun::Mounted) => {
                    meter.add(blob.size_bytes);
                    return Ok(MOUNTED);
                }
                Some(Begun::Upload(upload)) => begun = Some(upload),
                None => {}
            }
        }
        let mut counted_bytes = 0;
        self.destination.tries(|| {
            let upload = match begun.take() {
                Some(upload) => upload,
                None => self.destination.begin_upload()?,
            };
            let reader = BlobReader::open(self.source, blob)?;
            let mut passing = Digesting::new(Passing {
                reader,
                observer: self.observer,
                failure: None,
                meter,
                position_bytes: 0,
                counted_bytes: &mut counted_bytes,
            });
            let sent_to = self
                .destination
                .send_bytes(upload, &mut passing, Some(blob.size_bytes));
            let (passing, found, _) = passing.finish();
            // Why there were no more bytes goes before what the lack of them did.
            if let Some(failure) = passing.failure {
                return Err(failure);
            }
            let upload = sent_to?;
            if found != blob.digest {
                let expected = blob.digest;
                return Err(IntakeError::BlobDigest { expected, found }.into());
            }
            self.destination.finish_upload(&upload, &blob.digest, b"")
        })?;
        Ok(sent(blob.size_bytes))
    }
}

/// The bytes of a blob on their way from one registry to the other. What was counted before is not counted again.
struct Passing<'a> {
    reader: BlobReader<'a>,
    observer: &'a dyn Observer,
    failure: Option<RegistryError>,
    meter: &'a Meter<'a>,
    position_bytes: u64,
    counted_bytes: &'a mut u64,
}

impl Read for Passing<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.observer.interrupted() {
            return Err(io::Error::other(Interrupted));
        }
        let count = match self.reader.read(buffer) {
            Ok(count) => count,
            Err(error) => {
                let kind = error.kind();
                self.failure = error.downcast::<RegistryError>().ok();
                return Err(kind.into());
            }
        };
        self.position_bytes += count as u64;
        self.meter
            .add(self.position_bytes.saturating_sub(*self.counted_bytes));
        *self.counted_bytes = self.position_bytes.max(*self.counted_bytes);
        Ok(count)
    }
}
