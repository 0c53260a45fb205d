//! What the repository of a machine knows of its images: manifests and configurations.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;

use osmith_formats::composefs::repository::{config_stream, manifest_stream};
use osmith_formats::splitstream::{self, Piece};
use osmith_image::{ImageConfig, Manifest, Sha256Digest};
use osmith_sys::file::open_beneath;
use rustix::fs::{Mode, OFlags};

/// The longest manifest or configuration that is read.
const JSON_MAX_BYTES: u64 = 4 << 20;

/// An image, as the repository holds it.
pub(super) struct StoredImage {
    pub(super) manifest: Manifest,
    pub(super) config: ImageConfig,
}

impl StoredImage {
    /// What the image calls its version: an annotation of the manifest, as bootc reads it, or else the label that
    /// `LABEL` in a Containerfile makes.
    pub(super) fn version(&self) -> Option<String> {
        const KEY: &str = "org.opencontainers.image.version";
        let labels = &self.config.config.labels;
        self.manifest
            .annotations
            .get(KEY)
            .or_else(|| labels.get(KEY))
            .cloned()
    }
}

/// Reads the manifest and the configuration of an image. `physical` is the physical root.
pub(super) fn image(physical: &OwnedFd, manifest: &Sha256Digest) -> io::Result<StoredImage> {
    let bytes = stream(physical, &manifest_stream(&manifest.to_string()))?;
    let manifest = Manifest::from_bytes(&bytes).map_err(io::Error::other)?;
    let bytes = stream(physical, &config_stream(&manifest.config.digest.to_string()))?;
    let config = ImageConfig::from_bytes(&bytes).map_err(io::Error::other)?;
    Ok(StoredImage { manifest, config })
}

fn stream(physical: &OwnedFd, name: &str) -> io::Result<Vec<u8>> {
    let bytes = read(physical, &format!("composefs/streams/{name}"))?;
    let parsed = splitstream::read(&bytes).map_err(io::Error::other)?;
    if parsed.size_bytes > JSON_MAX_BYTES {
        return Err(io::Error::other(format!(
            "stream {name} is {} bytes long",
            parsed.size_bytes
        )));
    }
    let mut document = Vec::new();
    let taken = parsed.for_each(|piece| {
        match piece {
            Piece::Inline(bytes) => document.extend_from_slice(bytes),
            Piece::Object(digest) => {
                let path = format!("composefs/objects/{}", digest.object_path());
                document.extend(read(physical, &path)?);
            }
        }
        Ok(())
    });
    taken.map_err(io::Error::other)?;
    Ok(document)
}

/// The contents of a small file of the physical root.
pub(super) fn read(physical: &OwnedFd, path: &str) -> io::Result<Vec<u8>> {
    let file = open_beneath(physical, path, OFlags::RDONLY, Mode::empty())?;
    let mut bytes = Vec::new();
    File::from(file).take(JSON_MAX_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}
