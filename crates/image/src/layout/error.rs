//! What can go wrong when images come or leave.

use std::io;
use std::path::PathBuf;

use osmith_report::{Class, Failure, Interrupted};

use crate::digest::Sha256Digest;
use crate::manifest::JsonError;
use crate::store::{StoreError, io_class, io_hints};
use crate::tar::TarError;

/// What is tried on the directory of an output.
pub(super) const WRITE_INTO: &str = "write to the directory";

/// Why an image was not loaded or saved. No image and no name of the store has changed, and nothing is left under the
/// name of the output.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// The operating system refused.
    #[error("cannot {operation} '{}'", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The output is there already.
    #[error("'{}' exists already", .0.display())]
    Exists(PathBuf),
    /// The output is a directory with other things in it.
    #[error("the directory '{}' has other files than an OCI layout", .0.display())]
    OtherFiles(PathBuf),
    /// This is no layout.
    #[error("'{}' is no OCI layout: {reason}", path.display())]
    NotALayout {
        /// What was read.
        path: PathBuf,
        /// What is missing.
        reason: &'static str,
    },
    /// The archive of a layout is bad.
    #[error("cannot read the archive '{}'", path.display())]
    Archive {
        /// The archive.
        path: PathBuf,
        /// Why.
        #[source]
        source: TarError,
    },
    /// The layout has no image.
    #[error("'{}' has no image", .0.display())]
    NoImage(PathBuf),
    /// The layout has no image of that name.
    #[error("'{}' has no image named '{name}'", path.display())]
    UnknownName {
        /// What was read.
        path: PathBuf,
        /// What was asked for.
        name: String,
        /// The names that are there.
        names: Vec<String>,
    },
    /// The layout has several images, and no name was given.
    #[error("'{}' has several images", path.display())]
    SeveralImages {
        /// What was read.
        path: PathBuf,
        /// Their names.
        names: Vec<String>,
    },
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
    /// A blob is missing.
    #[error("the blob {0} is missing")]
    MissingBlob(Sha256Digest),
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

impl Failure for LayoutError {
    fn class(&self) -> Class {
        match self {
            LayoutError::Io { source, .. } => io_class(source),
            LayoutError::Exists(_) | LayoutError::OtherFiles(_) => Class::Conflict,
            LayoutError::NotALayout { .. }
            | LayoutError::Nesting(_)
            | LayoutError::NotAnImage(_)
            | LayoutError::LayerType { .. }
            | LayoutError::LayerCount { .. } => Class::Input,
            LayoutError::NoImage(_) | LayoutError::UnknownName { .. } | LayoutError::Platform { .. } => {
                Class::NotFound
            }
            LayoutError::SeveralImages { .. } => Class::Usage,
            LayoutError::MissingBlob(_)
            | LayoutError::BlobLength { .. }
            | LayoutError::BlobDigest { .. }
            | LayoutError::DiffId { .. } => Class::Corrupt,
            LayoutError::Json { source, .. } => source.class(),
            LayoutError::Archive { source, .. } | LayoutError::Layer { source, .. } => source.class(),
            LayoutError::Store(error) => error.class(),
            LayoutError::Interrupted(_) => Class::Interrupted,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            LayoutError::Io {
                operation: WRITE_INTO,
                source,
                path,
            } if source.kind() == io::ErrorKind::NotFound => {
                vec![format!("make it first: mkdir -p {}", path.display())]
            }
            LayoutError::Io { source, .. } => io_hints(source),
            LayoutError::Exists(_) => vec!["remove it, or choose another output".to_owned()],
            LayoutError::OtherFiles(_) => {
                vec!["choose a new or empty directory, or an OCI layout".to_owned()]
            }
            LayoutError::NotALayout { .. } => {
                vec!["images are loaded from what osmith save, podman save --format oci-archive and skopeo write; \
                     osmith import takes archives of root file systems"
                    .to_owned()]
            }
            LayoutError::UnknownName { names, .. } | LayoutError::SeveralImages { names, .. } => names
                .iter()
                .map(|name| format!("add ':{name}' for that image"))
                .collect(),
            LayoutError::MissingBlob(_) | LayoutError::BlobLength { .. } | LayoutError::BlobDigest { .. } => {
                vec!["copy the image again".to_owned()]
            }
            LayoutError::Archive { source, .. } | LayoutError::Layer { source, .. } => source.hints(),
            LayoutError::Store(error) => error.hints(),
            _ => Vec::new(),
        }
    }
}

impl LayoutError {
    pub(super) fn io(
        operation: &'static str,
        path: impl Into<PathBuf>,
        source: impl Into<io::Error>,
    ) -> Self {
        LayoutError::Io {
            operation,
            path: path.into(),
            source: source.into(),
        }
    }
}
