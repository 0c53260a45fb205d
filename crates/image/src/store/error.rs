//! What can go wrong with the store.

use std::io;
use std::path::PathBuf;

use osmith_formats::verity::Digest;
use osmith_report::{Class, Failure, Interrupted};

use crate::digest::Sha256Digest;
use crate::layer::{LayerError, LayerId};
use crate::manifest::JsonError;
use crate::reference::Reference;
use crate::tar::TarError;

/// Why an operation on the store failed. The store is as it was before, except for contents that nothing names.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
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
    /// There is no store.
    #[error("there is no image store at '{}'", .0.display())]
    NoStore(PathBuf),
    /// Something else is where the store should be.
    #[error("the image store '{}' is no directory", .0.display())]
    NotADirectory(PathBuf),
    /// The directory has other things in it.
    #[error("'{}' is no image store: it has no store.json, but other files", .0.display())]
    NotAStore(PathBuf),
    /// The store has a format that is not known.
    #[error("the image store '{}' has format {format}; this osmith knows format 1", path.display())]
    Format {
        /// The store.
        path: PathBuf,
        /// Its format, as it says.
        format: String,
    },
    /// The store was opened for reading.
    #[error("the image store '{}' is open for reading only", .0.display())]
    ReadOnly(PathBuf),
    /// Somebody else uses the store.
    #[error("the image store '{}' is in use by another process", .0.display())]
    Busy(PathBuf),
    /// No image has that name.
    #[error("there is no image '{reference}'")]
    UnknownImage {
        /// What was asked for.
        reference: Box<Reference>,
        /// The name of an image that looks alike.
        nearest: Option<Box<Reference>>,
    },
    /// Several images have a name that ends so.
    #[error("'{name}' may be any of {}", listed(found))]
    AmbiguousName {
        /// What was asked for.
        name: Box<Reference>,
        /// The names that end so.
        found: Vec<Reference>,
    },
    /// Several images have an ID that begins so.
    #[error("several images have an ID that begins with '{0}'")]
    AmbiguousId(String),
    /// An index has no image for that kind of machine.
    #[error("'{name}' has no image for {wanted}")]
    NoPlatform {
        /// The name of the index.
        name: Box<Reference>,
        /// The platform that was asked for.
        wanted: String,
        /// The platforms that there are.
        available: Vec<String>,
    },
    /// Images are to be put into something that is no index.
    #[error("'{0}' is an image, and no index that others can be added to")]
    NotAnIndex(Box<Reference>),
    /// Containers run on the image.
    #[error("the image {image} is needed by {}", containers(holders))]
    Held {
        /// The digest of its manifest.
        image: Sha256Digest,
        /// The containers' IDs.
        holders: Vec<Sha256Digest>,
    },
    /// An object is missing.
    #[error("the object {0} is missing from the store")]
    MissingObject(Digest),
    /// A layer is missing.
    #[error("the layer {0} is missing from the store")]
    MissingLayer(LayerId),
    /// The layer of a diff ID is missing.
    #[error("the layer with the diff ID {0} is missing from the store")]
    MissingDiff(Sha256Digest),
    /// An image in Docker's form is to have a layer that this form does not know.
    #[error("the image has a layer that Docker's format does not know, such as one compressed with zstd")]
    NoDockerLayer,
    /// A blob is missing.
    #[error("the blob {0} is missing from the store")]
    MissingBlob(Sha256Digest),
    /// Something of the store is not what its name says.
    #[error("the {what} {name} in the store is damaged")]
    Damaged {
        /// What kind of thing.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// The configuration and the layers of a new image do not fit.
    #[error("the history has {history} entries with a layer, but the image has {layers} layers")]
    History {
        /// Entries that are not marked as empty.
        history: usize,
        /// Layers.
        layers: usize,
    },
    /// A manifest or configuration is malformed.
    #[error("cannot read {name}")]
    Json {
        /// The document.
        name: String,
        /// Why.
        #[source]
        source: JsonError,
    },
    /// A layer does not fit on those below it.
    #[error("cannot apply the layer {layer}")]
    Layer {
        /// The layer.
        layer: LayerId,
        /// Why.
        #[source]
        source: LayerError,
    },
    /// A layer could not be written as a tar archive.
    #[error("cannot write the layer {layer} as a tar archive")]
    Tar {
        /// The layer.
        layer: LayerId,
        /// Why.
        #[source]
        source: TarError,
    },
    /// The user asked to stop.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

impl Failure for StoreError {
    fn class(&self) -> Class {
        match self {
            StoreError::Io { source, .. } => io_class(source),
            StoreError::NoStore(_) | StoreError::UnknownImage { .. } | StoreError::NoPlatform { .. } => {
                Class::NotFound
            }
            StoreError::NotADirectory(_)
            | StoreError::NotAStore(_)
            | StoreError::Busy(_)
            | StoreError::NotAnIndex(_)
            | StoreError::Held { .. } => Class::Conflict,
            StoreError::Format { .. } | StoreError::ReadOnly(_) => Class::Environment,
            StoreError::AmbiguousName { .. } | StoreError::AmbiguousId(_) => Class::Usage,
            StoreError::MissingObject(_)
            | StoreError::MissingLayer(_)
            | StoreError::MissingDiff(_)
            | StoreError::MissingBlob(_)
            | StoreError::Damaged { .. } => Class::Corrupt,
            StoreError::NoDockerLayer => Class::Input,
            StoreError::History { .. } => Class::Internal,
            StoreError::Json { source, .. } => source.class(),
            StoreError::Layer { source, .. } => source.class(),
            StoreError::Tar { source, .. } => source.class(),
            StoreError::Interrupted(_) => Class::Interrupted,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            StoreError::Io { source, .. } => io_hints(source),
            StoreError::NoStore(_) => vec![
                "osmith import, osmith load or osmith build make a store; --store DIR chooses another one"
                    .into(),
            ],
            StoreError::NotADirectory(_) | StoreError::NotAStore(_) => {
                vec!["choose an empty or new directory with --store DIR".into()]
            }
            StoreError::Format { .. } => vec!["use the osmith that made the store, or --store DIR".into()],
            StoreError::ReadOnly(_) => vec!["run the command as the owner of the store".into()],
            StoreError::Busy(_) => vec!["try again when the other osmith commands have ended".into()],
            StoreError::UnknownImage { reference, nearest } => {
                unknown_image_hints(reference, nearest.as_deref())
            }
            StoreError::NoPlatform { available, .. } => {
                vec![format!("it has images for {}", available.join(", "))]
            }
            StoreError::NotAnIndex(name) => {
                vec![format!(
                    "choose another name, or take it off the image: osmith rmi {name}"
                )]
            }
            StoreError::Held { holders, .. } => {
                let ids: Vec<_> = holders.iter().map(short).collect();
                vec![format!("remove them first: osmith rm --force {}", ids.join(" "))]
            }
            StoreError::AmbiguousName { .. } => vec!["give the whole name of one of them".into()],
            StoreError::AmbiguousId(_) => vec!["give more digits; osmith images lists the IDs".into()],
            StoreError::Json { source, .. } => source.hints(),
            StoreError::Tar { source, .. } => source.hints(),
            StoreError::Damaged {
                what: super::FORMAT_KIND,
                ..
            } => {
                vec!["choose another store with --store DIR, and load or build the images again there".into()]
            }
            _ if self.class() == Class::Corrupt => {
                vec!["remove the image with osmith rmi, run osmith prune, then load or build it again".into()]
            }
            _ => Vec::new(),
        }
    }
}

impl StoreError {
    pub(crate) fn io(
        operation: &'static str,
        path: impl Into<PathBuf>,
        source: impl Into<io::Error>,
    ) -> Self {
        StoreError::Io {
            operation,
            path: path.into(),
            source: source.into(),
        }
    }
}

fn unknown_image_hints(name: &Reference, nearest: Option<&Reference>) -> Vec<String> {
    let did_you_mean = nearest.map(|name| format!("did you mean '{name}'?"));
    // Only a registry can have what is not this machine's.
    let pull = match name.domain() {
        Some("localhost") => None,
        Some(_) => Some(format!("fetch it from its registry: osmith pull {name}")),
        None => Some(format!(
            "fetch it from a registry: osmith pull registry.example.org/{name}"
        )),
    };
    let list =
        "osmith images lists the images of the store; osmith import, osmith load and osmith build add some";
    did_you_mean
        .into_iter()
        .chain(pull)
        .chain([list.to_owned()])
        .collect()
}

fn listed(names: &[Reference]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("'{name}'")).collect();
    names.join(", ")
}

fn containers(holders: &[Sha256Digest]) -> String {
    let ids: Vec<_> = holders.iter().map(short).collect();
    match ids.as_slice() {
        [id] => format!("the container {id}"),
        ids => format!("the containers {}", ids.join(", ")),
    }
}

/// As much of an ID as lists show.
fn short(id: &Sha256Digest) -> String {
    id.hex().chars().take(12).collect()
}

/// The class of an error of the operating system.
pub(crate) fn io_class(error: &io::Error) -> Class {
    match error.kind() {
        io::ErrorKind::NotFound => Class::NotFound,
        io::ErrorKind::AlreadyExists => Class::Conflict,
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => Class::Corrupt,
        _ => Class::Environment,
    }
}

/// What to do about an error of the operating system.
pub(crate) fn io_hints(error: &io::Error) -> Vec<String> {
    let hint = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "free some space, for instance with osmith prune --cache, or use another disk"
        }
        io::ErrorKind::PermissionDenied => "check the owner and the permissions, or use another place",
        io::ErrorKind::ReadOnlyFilesystem => "the file system is mounted read-only; use another place",
        _ => return Vec::new(),
    };
    vec![hint.to_owned()]
}
