//! What can be wrong with an image that comes in, wherever it comes from.

use osmith_report::{Class, Failure, Interrupted};

use crate::digest::Sha256Digest;
use crate::manifest::JsonError;
use crate::store::StoreError;
use crate::tar::TarError;

/// Why an image was not taken into the store. No image and no name of the store has changed.
#[derive(Debug, thiserror::Error)]
pub enum IntakeError {
    /// The image is not for the platform.
    #[error("the image is not for {wanted}, but for {}", available.join(", "))]
    Platform {
        /// What was asked for.
        wanted: String,
        /// What is there.
        available: Vec<String>,
    },
    /// Indexes are nested too deep.
    #[error("the image indexes are nested more than {0} levels deep")]
    Nesting(u32),
    /// A blob has another length than is said.
    #[error("the blob {digest} has {found} bytes instead of {expected}")]
    BlobLength {
        /// The blob.
        digest: Sha256Digest,
        /// What its descriptor says.
        expected: u64,
        /// What it has.
        found: u64,
    },
    /// A blob is not what its digest says.
    #[error("the blob {expected} is damaged: its digest is {found}")]
    BlobDigest {
        /// What the descriptor says.
        expected: Sha256Digest,
        /// What it is.
        found: Sha256Digest,
    },
    /// A layer is not what the configuration says.
    #[error("the layer {layer} has the diff ID {found} instead of {expected}")]
    DiffId {
        /// The blob of the layer.
        layer: Sha256Digest,
        /// What the configuration says.
        expected: Sha256Digest,
        /// What it is.
        found: Sha256Digest,
    },
    /// A manifest, index or configuration is malformed.
    #[error("cannot read {name}")]
    Json {
        /// The document.
        name: String,
        /// Why.
        #[source]
        source: JsonError,
    },
    /// The manifest is for something else.
    #[error("this is no image: its configuration has the media type '{0}'")]
    NotAnImage(String),
    /// A layer is of a kind that is not known.
    #[error("the layer {digest} has the media type '{media_type}', which is not known")]
    LayerType {
        /// The blob of the layer.
        digest: Sha256Digest,
        /// Its media type.
        media_type: String,
    },
    /// Manifest and configuration do not fit.
    #[error("the manifest has {manifest} layers, but the configuration has {config}")]
    LayerCount {
        /// In the manifest.
        manifest: usize,
        /// In the configuration.
        config: usize,
    },
    /// A layer is bad.
    #[error("cannot read the layer {digest}")]
    Layer {
        /// The blob of the layer.
        digest: Sha256Digest,
        /// Why.
        #[source]
        source: TarError,
    },
    /// The store failed, or the layers do not fit on each other.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The user asked to stop.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

impl Failure for IntakeError {
    fn class(&self) -> Class {
        match self {
            IntakeError::Platform { .. } => Class::NotFound,
            IntakeError::Nesting(_)
            | IntakeError::NotAnImage(_)
            | IntakeError::LayerType { .. }
            | IntakeError::LayerCount { .. } => Class::Input,
            IntakeError::BlobLength { .. } | IntakeError::BlobDigest { .. } | IntakeError::DiffId { .. } => {
                Class::Corrupt
            }
            IntakeError::Json { source, .. } => source.class(),
            IntakeError::Layer { source, .. } => source.class(),
            IntakeError::Store(error) => error.class(),
            IntakeError::Interrupted(_) => Class::Interrupted,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            IntakeError::Platform { wanted, available } => available
                .iter()
                .map(|platform| {
                    format!("it must be made for {wanted}, too; osmith pull --platform {platform} takes what there is")
                })
                .take(1)
                .collect(),
            IntakeError::BlobLength { .. } | IntakeError::BlobDigest { .. } => {
                vec!["copy the image again".to_owned()]
            }
            IntakeError::Layer { source, .. } => source.hints(),
            IntakeError::Store(error) => error.hints(),
            _ => Vec::new(),
        }
    }
}
