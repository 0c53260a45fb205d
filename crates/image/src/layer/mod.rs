//! Layers: what changes from one tree to the next.
//!
//! A [`Layer`] is kept in a normal form, so that equal changes are equal layers: entries in byte order of their paths
//! (a directory comes before what is in it), of several names of one file the first one carries the file and the
//! others are hard links to it, and nothing lies below anything but a directory. [`LayerBuilder`] brings changes in
//! any order, as a tar archive has them, into this form.
//!
//! Source of the meaning: OCI image specification 1.1, `layer.md`. Sockets are left out, as in tar archives.

mod apply;
mod builder;
mod diff;
mod path;
mod record;

use std::fmt;

use osmith_formats::tree::{Content, Device, Metadata, Name, Timestamp};
use osmith_report::{Class, Failure};

pub use apply::{apply, empty_tree};
pub use builder::LayerBuilder;
pub use diff::{diff, squash};
pub(crate) use path::display;
pub use path::{LayerPath, PathError};
pub use record::RecordError;

use crate::digest::Sha256Digest;

/// Whether a layer has the extended attribute: it belongs to the file, not to the machine or file system it was on.
pub fn is_kept_attribute(name: &[u8]) -> bool {
    let of_user = name.starts_with(b"user.") && !name.starts_with(b"user.overlay.");
    of_user || name == b"security.capability" || name == b"security.ima"
}

/// Changes to a tree.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Layer {
    /// In byte order of the paths.
    entries: Vec<(LayerPath, Entry)>,
}

/// What a layer says about a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// What lower layers have there is gone.
    Whiteout,
    /// What lower layers have in the directory is gone; the directory itself stays.
    Opaque,
    /// A new file, or new metadata of a directory.
    Node {
        /// Owner, mode, times, attributes.
        metadata: Metadata,
        /// The kind.
        node: LayerNode,
    },
    /// One more name of the file that this earlier path of the layer has.
    HardLink(LayerPath),
    /// One more name of the file that lower layers have at this path.
    LowerLink(LayerPath),
}

/// The kind of a file in a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LayerNode {
    /// A directory; one that lower layers have keeps its contents, unless it is opaque.
    Directory {
        /// Whether what lower layers have in it is gone.
        opaque: bool,
    },
    /// A regular file.
    Regular(Content),
    /// A symbolic link and its target.
    Symlink(Name),
    /// A character device.
    CharacterDevice(Device),
    /// A block device.
    BlockDevice(Device),
    /// A named pipe.
    Fifo,
}

/// The name of a layer's record: the SHA-256 of its bytes. Equal layers have equal names.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LayerId(pub(crate) Sha256Digest);

impl LayerId {
    /// The ID as 64 hexadecimal digits.
    pub fn hex(&self) -> String {
        self.0.hex()
    }

    /// The 32 bytes of the ID.
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// The ID with these bytes.
    pub fn new(bytes: [u8; 32]) -> Self {
        LayerId(Sha256Digest::new(bytes))
    }
}

impl fmt::Display for LayerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.hex())
    }
}

impl fmt::Debug for LayerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LayerId({}…)", self.hex().get(..12).unwrap_or_default())
    }
}

/// Why changes make no layer, or a layer does not fit on a tree.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LayerError {
    /// A path is not allowed.
    #[error(transparent)]
    Path(#[from] PathError),
    /// Something lies below what is no directory in the same layer.
    #[error("'{path}' lies below '{ancestor}', which is no directory")]
    BelowFile {
        /// What lies below.
        path: String,
        /// What is no directory.
        ancestor: String,
    },
    /// A hard link leads to nothing.
    #[error("the hard link '{path}' leads to '{target}', which does not exist")]
    LinkToNothing {
        /// The link.
        path: String,
        /// Its target.
        target: String,
    },
    /// A hard link leads to a directory.
    #[error("the hard link '{path}' leads to '{target}', which is a directory")]
    LinkToDirectory {
        /// The link.
        path: String,
        /// Its target.
        target: String,
    },
    /// The root of the tree is not a directory, or is removed.
    #[error("the layer replaces the root directory")]
    Root,
}

impl Failure for LayerError {
    fn class(&self) -> Class {
        Class::Input
    }
}

impl Layer {
    /// The entries, in byte order of their paths.
    pub fn entries(&self) -> impl Iterator<Item = (&LayerPath, &Entry)> {
        self.entries.iter().map(|(path, entry)| (path, entry))
    }

    /// What the layer says about a path.
    pub fn entry(&self, path: &LayerPath) -> Option<&Entry> {
        let position = self.entries.binary_search_by(|(other, _)| other.cmp(path)).ok()?;
        self.entries.get(position).map(|(_, entry)| entry)
    }

    /// How many entries the layer has.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether the layer changes nothing.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The file contents, in the order of the entries.
    pub fn contents(&self) -> impl Iterator<Item = &Content> {
        self.entries.iter().filter_map(|(_, entry)| match entry {
            Entry::Node {
                node: LayerNode::Regular(content),
                ..
            } => Some(content),
            _ => None,
        })
    }

    /// The length of all file contents together.
    pub fn size_bytes(&self) -> u64 {
        self.contents().map(Content::size_bytes).sum()
    }

    /// Changes every modification time.
    pub fn map_mtimes(&mut self, mut change: impl FnMut(Timestamp) -> Timestamp) {
        for (_, entry) in &mut self.entries {
            if let Entry::Node { metadata, .. } = entry {
                metadata.mtime = change(metadata.mtime);
            }
        }
    }
}
