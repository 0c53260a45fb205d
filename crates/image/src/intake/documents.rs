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

/// The manifest for a platform: the one with the same variant of the processor, or the best that the processor can run;
/// one that does not say what it is for only if there is no other.
pub(crate) fn choose<'a>(
    manifests: impl Iterator<Item = &'a Descriptor>,
    wanted: &Platform,
) -> Result<&'a Descriptor, IntakeError> {
    let (mut fitting, mut available) = (Vec::new(), Vec::new());
    for manifest in manifests {
        let rank = match &manifest.platform {
            None => Some(UNSAID),
            Some(platform) if platform.os == wanted.os && platform.architecture == wanted.architecture => {
                variant_rank(wanted, platform)
            }
            Some(_) => None,
        };
        match rank {
            Some(rank) => fitting.push((rank, manifest)),
            None => available.extend(manifest.platform.as_ref().map(Platform::to_string)),
        }
    }
    let best = fitting.into_iter().min_by_key(|(rank, _)| *rank);
    best.map(|(_, manifest)| manifest).ok_or(IntakeError::Platform {
        wanted: wanted.to_string(),
        available,
    })
}

const UNSAID: u32 = 1000;
/// The variant is for other processors of the same kind, or nobody knows.
const FOREIGN: u32 = 100;

/// How far a variant is from the one that is wanted: 0 is the same. A processor runs what is for its predecessors, and
/// arm processors refuse what is for their successors.
fn variant_rank(wanted: &Platform, found: &Platform) -> Option<u32> {
    match (level(wanted), level(found)) {
        (Some(wanted), Some(found)) if found <= wanted => Some(wanted - found),
        (Some(_), Some(_)) if wanted.architecture == "arm" => None,
        _ if wanted.variant == found.variant => Some(0),
        _ => Some(FOREIGN),
    }
}

/// The number of a variant; where there is none, of what is meant by that.
fn level(platform: &Platform) -> Option<u32> {
    match (&platform.variant, platform.architecture.as_str()) {
        (Some(variant), _) => variant.strip_prefix('v').unwrap_or(variant).parse().ok(),
        (None, "arm64") => Some(8),
        (None, "arm") => Some(7),
        (None, "amd64") => Some(1),
        (None, _) => None,
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn platform(text: &str) -> Platform {
        let mut parts = text.split('/');
        let mut platform = Platform::new(parts.next().unwrap(), parts.next().unwrap());
        platform.variant = parts.next().map(str::to_owned);
        platform
    }

    #[test]
    fn the_best_variant_is_chosen() {
        for (wanted, available, expected) in [
            ("linux/amd64", vec!["linux/arm64", "linux/amd64"], Some(1)),
            ("linux/arm64", vec!["linux/arm64/v9", "linux/arm64/v8"], Some(1)),
            ("linux/arm64/v8", vec!["linux/arm64"], Some(0)),
            (
                "linux/arm",
                vec!["linux/arm/v5", "linux/arm/v6", "linux/arm/v7", "linux/arm/v8"],
                Some(2),
            ),
            ("linux/arm/v6", vec!["linux/arm/v7", "linux/arm/v5"], Some(1)),
            ("linux/arm/v6", vec!["linux/arm/v7"], None),
            (
                "linux/amd64/v3",
                vec!["linux/amd64", "linux/amd64/v2", "linux/amd64/v4"],
                Some(1),
            ),
            ("linux/amd64", vec!["linux/amd64/v3"], Some(0)),
            ("linux/s390x", vec!["-", "linux/s390x"], Some(1)),
            ("linux/s390x", vec!["linux/amd64", "-"], Some(1)),
            ("linux/s390x", vec!["linux/amd64", "windows/s390x"], None),
        ] {
            let manifests: Vec<_> = available
                .iter()
                .map(|text| {
                    let mut descriptor = Descriptor::of(media_type::MANIFEST, text.as_bytes());
                    descriptor.platform = (*text != "-").then(|| platform(text));
                    descriptor
                })
                .collect();
            let chosen = choose(manifests.iter(), &platform(wanted)).ok();
            assert_eq!(
                chosen,
                expected.map(|index| &manifests[index]),
                "{wanted} of {available:?}"
            );
        }
    }
}
