//! What can go wrong when images come or leave.

use std::io;
use std::path::PathBuf;

use osmith_report::{Class, Failure, Interrupted};

use crate::digest::Sha256Digest;
use crate::intake::IntakeError;
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
    /// A blob is missing.
    #[error("the blob {0} is missing")]
    MissingBlob(Sha256Digest),
    /// A blob that was to be written is not what its digest says.
    #[error("the blob {expected} is damaged: its digest is {found}")]
    BlobDigest {
        /// What the descriptor says.
        expected: Sha256Digest,
        /// What it is.
        found: Sha256Digest,
    },
    /// The image cannot be taken into the store.
    #[error(transparent)]
    Intake(#[from] IntakeError),
    /// The store failed.
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
            LayoutError::NotALayout { .. } => Class::Input,
            LayoutError::NoImage(_) | LayoutError::UnknownName { .. } => Class::NotFound,
            LayoutError::SeveralImages { .. } => Class::Usage,
            LayoutError::MissingBlob(_) | LayoutError::BlobDigest { .. } => Class::Corrupt,
            LayoutError::Archive { source, .. } => source.class(),
            LayoutError::Intake(error) => error.class(),
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
            LayoutError::MissingBlob(_) | LayoutError::BlobDigest { .. } => {
                vec!["copy the image again".to_owned()]
            }
            LayoutError::Archive { source, .. } => source.hints(),
            LayoutError::Intake(error) => error.hints(),
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
