//! The manifest and the configuration of an image, found and checked.

use std::io::Read;

use super::{Blobs, IntakeError};
use crate::config::ImageConfig;
use crate::digest::Sha256Digest;
use crate::manifest::{
    Descriptor, JSON_MAX_BYTES, JsonError, Manifest, ManifestOrIndex, Platform, media_type,
};

const NESTING_MAX: u32 = 4;

/// The manifest and the configuration of an image.
#[derive(Debug, Clone)]
pub(crate) struct Documents {
    pub(crate) manifest_bytes: Vec<u8>,
    pub(crate) manifest: Manifest,
    pub(crate) config_bytes: Vec<u8>,
    pub(crate) config: ImageConfig,
}

impl Documents {
    /// Reads the documents of the image behind a descriptor, through as many indexes as there are.
    pub(crate) fn read<B: Blobs>(
        blobs: &B,
        descriptor: &Descriptor,
        platform: &Platform,
    ) -> Result<Self, B::Error> {
        let bytes = checked_manifest(blobs, descriptor)?;
        Self::of_bytes(blobs, descriptor.digest, bytes, platform)
    }

    /// [`Documents::read`], of a manifest or index whose bytes are known and checked.
    pub(crate) fn of_bytes<B: Blobs>(
        blobs: &B,
        digest: Sha256Digest,
        bytes: Vec<u8>,
        platform: &Platform,
    ) -> Result<Self, B::Error> {
        let (manifest_bytes, manifest) = manifest(blobs, digest, bytes, platform)?;
        let config_type = manifest.config.media_type.as_str();
        if !matches!(config_type, media_type::CONFIG | media_type::DOCKER_CONFIG) {
            return Err(IntakeError::NotAnImage(config_type.to_owned()).into());
        }
        let config_bytes = checked_blob(blobs, "configuration", &manifest.config)?;
        let config = ImageConfig::from_bytes(&config_bytes)
            .map_err(malformed(format!("the configuration {}", manifest.config.digest)))?;
        let layer_count = (manifest.layers.len(), config.rootfs.diff_ids.len());
        if layer_count.0 != layer_count.1 {
            return Err(IntakeError::LayerCount {
                manifest: layer_count.0,
                config: layer_count.1,
            }
            .into());
        }
        Ok(Documents {
            manifest_bytes,
            manifest,
            config_bytes,
            config,
        })
    }
}

/// The manifest for a platform: the one with the same variant, or one without, or any.
pub(crate) fn choose<'a>(
    manifests: impl Iterator<Item = &'a Descriptor>,
    wanted: &Platform,
) -> Result<&'a Descriptor, IntakeError> {
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
    best.map(|(_, manifest)| manifest).ok_or(IntakeError::Platform {
        wanted: wanted.to_string(),
        available,
    })
}

/// Checks that bytes are those of a descriptor.
pub(crate) fn require_bytes(bytes: &[u8], descriptor: &Descriptor) -> Result<(), IntakeError> {
    let expected = descriptor.digest;
    match Sha256Digest::of(bytes) {
        found if found != expected => Err(IntakeError::BlobDigest { expected, found }),
        _ if bytes.len() as u64 != descriptor.size_bytes => Err(IntakeError::BlobLength {
            digest: expected,
            expected: descriptor.size_bytes,
            found: bytes.len() as u64,
        }),
        _ => Ok(()),
    }
}

fn manifest<B: Blobs>(
    blobs: &B,
    mut digest: Sha256Digest,
    mut bytes: Vec<u8>,
    platform: &Platform,
) -> Result<(Vec<u8>, Manifest), B::Error> {
    for _ in 0..NESTING_MAX {
        let parsed =
            ManifestOrIndex::from_bytes(&bytes).map_err(malformed(format!("the manifest {digest}")))?;
        match parsed {
            ManifestOrIndex::Manifest(manifest) => return Ok((bytes, *manifest)),
            ManifestOrIndex::Index(index) => {
                let chosen = choose(index.manifests.iter(), platform)?;
                bytes = checked_manifest(blobs, chosen)?;
                digest = chosen.digest;
            }
        }
    }
    Err(IntakeError::Nesting(NESTING_MAX).into())
}

fn checked_manifest<B: Blobs>(blobs: &B, descriptor: &Descriptor) -> Result<Vec<u8>, B::Error> {
    require_short("manifest", descriptor)?;
    let bytes = blobs.manifest(descriptor)?;
    require_bytes(&bytes, descriptor)?;
    Ok(bytes)
}

fn checked_blob<B: Blobs>(
    blobs: &B,
    what: &'static str,
    descriptor: &Descriptor,
) -> Result<Vec<u8>, B::Error> {
    require_short(what, descriptor)?;
    let mut bytes = Vec::new();
    let read = blobs.blob(descriptor)?;
    read.take(JSON_MAX_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| blobs.read_error(descriptor, error))?;
    require_bytes(&bytes, descriptor)?;
    Ok(bytes)
}

fn require_short(what: &'static str, descriptor: &Descriptor) -> Result<(), IntakeError> {
    match descriptor.size_bytes {
        0..=JSON_MAX_BYTES => Ok(()),
        size_bytes => Err(IntakeError::Json {
            name: format!("the {what} {}", descriptor.digest),
            source: JsonError::Length { what, size_bytes },
        }),
    }
}

fn malformed(name: String) -> impl FnOnce(JsonError) -> IntakeError {
    move |source| IntakeError::Json { name, source }
}
