//! Layers as tar archives.
//!
//! Source: POSIX `pax`, "ustar Interchange Format" and "pax Interchange Format"; the GNU tar manual for its long names,
//! numbers and sparse files; OCI image specification 1.1, `layer.md`, for whiteouts.
//!
//! ```text
//! 0 name [100] · 100 mode [8] · 108 uid [8] · 116 gid [8] · 124 size [12] · 136 mtime [12] · 148 checksum [8]
//! 156 type · 157 link name [100] · 257 "ustar\0" · 263 "00" · 265 user name [32] · 297 group name [32]
//! 329 major [8] · 337 minor [8] · 345 prefix [155] · 500 zeros [12]
//! ```
//!
//! Numbers are octal text. Contents follow their header in whole blocks of 512 bytes; two zero blocks end the archive.

mod entry;
mod header;
mod pax;
mod plain;
mod read;
mod write;

use std::io;

use osmith_report::{Class, Failure, Interrupted};

pub(crate) use plain::{Listing, PlainArchive};
pub(crate) use read::take_layer;
pub use read::{Limits, read_layer};
pub use write::write_layer;

use crate::layer::LayerError;
use crate::store::{StoreError, io_class, io_hints};

const BLOCK_BYTES: usize = 512;
const WHITEOUT_PREFIX: &[u8] = b".wh.";
const OPAQUE_MARKER: &[u8] = b".wh..wh..opq";
/// Other names that begin so are bookkeeping of a file system that is no more.
const AUFS_PREFIX: &[u8] = b".wh..wh.";
const XATTR_PREFIX: &[u8] = b"SCHILY.xattr.";

/// Why an archive is no layer, or a layer cannot be an archive.
#[derive(Debug, thiserror::Error)]
pub enum TarError {
    /// The archive could not be read.
    #[error("cannot read the archive")]
    Read(#[source] io::Error),
    /// The archive could not be written.
    #[error("cannot write the archive")]
    Write(#[source] io::Error),
    /// The archive ends within an entry.
    #[error("{}", cut_off(*offset_bytes))]
    Truncated {
        /// Where it ends.
        offset_bytes: u64,
    },
    /// A header is damaged, or this is no archive.
    #[error("{}", bad_header(*offset_bytes, reason))]
    Header {
        /// Where the header is.
        offset_bytes: u64,
        /// What is wrong with it.
        reason: HeaderError,
    },
    /// An entry makes no sense.
    #[error("the archive has a bad entry at byte {offset_bytes}")]
    Entry {
        /// Where its header is.
        offset_bytes: u64,
        /// Why.
        #[source]
        source: LayerError,
    },
    /// Something is larger than is sensible.
    #[error("the archive's {what} at byte {offset_bytes} is {found}, more than the {limit} that are allowed")]
    Limit {
        /// Where it is.
        offset_bytes: u64,
        /// What is too large.
        what: &'static str,
        /// How large it is.
        found: u64,
        /// What is allowed.
        limit: u64,
    },
    /// A name of the layer cannot be written, because it would be read as a whiteout.
    #[error("the file '{0}' cannot be in a layer: names that begin with '.wh.' stand for removed files")]
    WhiteoutName(String),
    /// A device of the layer cannot be written, because it would be read as a whiteout.
    #[error(
        "the character device '{0}' with the numbers 0:0 cannot be in a layer: it stands for a removed file"
    )]
    WhiteoutDevice(String),
    /// The numbers of a device do not fit.
    #[error("the device '{0}' cannot be in an archive: its numbers are too large")]
    DeviceNumber(String),
    /// The name of an extended attribute cannot be written.
    #[error(
        "the extended attribute '{name}' of '{path}' cannot be in an archive: its name has a '=' or a zero byte"
    )]
    XattrName {
        /// The file.
        path: String,
        /// The name of the attribute.
        name: String,
    },
    /// An object has another length than the layer says.
    #[error("the content of '{path}' has {found} bytes instead of {expected}")]
    ContentLength {
        /// The file.
        path: String,
        /// The length in the layer.
        expected: u64,
        /// The length of the object.
        found: u64,
    },
    /// The store failed.
    #[error(transparent)]
    Store(Box<StoreError>),
    /// The user asked to stop.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

/// What is wrong with a header.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// The checksum does not fit.
    #[error("its checksum is wrong")]
    Checksum,
    /// A number is none.
    #[error("its {0} is no number")]
    Number(&'static str),
    /// A number is out of range.
    #[error("its {0} is out of range")]
    Range(&'static str),
    /// The type of the entry is unknown.
    #[error("its type is '{}'", char::from(*.0).escape_default())]
    Type(u8),
    /// An extended header is malformed.
    #[error("its extended header is malformed")]
    Pax,
    /// The map of a sparse file is malformed.
    #[error("its map of a sparse file is malformed")]
    Sparse,
    /// A whiteout names nothing, or has files below it.
    #[error("its path has a name that begins with '.wh.' and is no whiteout")]
    Whiteout,
}

impl Failure for TarError {
    fn class(&self) -> Class {
        match self {
            TarError::Read(error) | TarError::Write(error) => io_class(error),
            TarError::Truncated { .. } => Class::Corrupt,
            TarError::Store(error) => error.class(),
            TarError::Interrupted(_) => Class::Interrupted,
            _ => Class::Input,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            TarError::Write(error) => io_hints(error),
            TarError::Read(error) if error.kind() == io::ErrorKind::IsADirectory => {
                vec!["give a tar archive, such as one that tar -C DIRECTORY -c . writes".to_owned()]
            }
            TarError::Header { offset_bytes: 0, .. } => {
                vec!["give a tar archive, plain or compressed with gzip, zstd, xz or bzip2".to_owned()]
            }
            TarError::Truncated { .. } => {
                vec!["make or copy the archive again: what wrote it may have failed".to_owned()]
            }
            TarError::WhiteoutName(_) => vec!["rename or remove the file".to_owned()],
            TarError::Store(error) => error.hints(),
            _ => Vec::new(),
        }
    }
}

fn cut_off(offset_bytes: u64) -> String {
    match offset_bytes {
        0..512 => "this is no tar archive: it is empty, or shorter than one header".to_owned(),
        _ => format!("the archive is cut off at byte {offset_bytes}"),
    }
}

fn bad_header(offset_bytes: u64, reason: &HeaderError) -> String {
    match offset_bytes {
        0 => format!("this is no tar archive: in its first header, {reason}"),
        _ => format!("the archive has a bad header at byte {offset_bytes}: {reason}"),
    }
}

impl From<StoreError> for TarError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Interrupted(interrupted) => TarError::Interrupted(interrupted),
            error => TarError::Store(Box::new(error)),
        }
    }
}
