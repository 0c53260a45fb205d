//! The record of a layer: a layer as bytes.
//!
//! ```text
//! 0 "osmlayer" · 8 version (1) · 9 one zstd frame: the entries in byte order of their paths, in postcard's encoding
//! ```
//!
//! The [`LayerId`] is the SHA-256 of the version and the entries before compression, so that another release of the
//! compressor does not rename layers.

use std::fmt;
use std::io::Read;

use osmith_formats::tree::{Content, Device, Metadata, Timestamp, XattrSets, Xattrs};
use osmith_formats::verity::Digest;
use osmith_report::{Class, Failure};
use serde::de::{Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use super::{Entry, Layer, LayerId, LayerNode, LayerPath};
use crate::digest::Sha256Digest;

const MAGIC: &[u8; 8] = b"osmlayer";
const VERSION: u8 = 1;
const LEVEL: i32 = 3;
/// Longer records are not read; an entry takes some 150 bytes.
const ENTRIES_MAX_BYTES: u64 = 4 << 30;

/// Why bytes are no record of a layer.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The bytes do not begin as a record does.
    #[error("this is no layer record")]
    Magic,
    /// The version is not known.
    #[error("the layer record has version {0}; this osmith knows version {VERSION}")]
    Version(u8),
    /// The compressed entries are damaged.
    #[error("the layer record is damaged")]
    Compression(#[source] std::io::Error),
    /// The entries are damaged.
    #[error("the entries of the layer record are damaged")]
    Entries(#[source] postcard::Error),
    /// The record is not the one it is named as.
    #[error("the layer record is that of another layer, {0}")]
    Id(LayerId),
}

impl Failure for RecordError {
    fn class(&self) -> Class {
        match self {
            RecordError::Version(_) => Class::Environment,
            _ => Class::Corrupt,
        }
    }
}

/// Bytes that are copied at once, not one by one.
#[derive(Debug)]
struct Bytes(Box<[u8]>);

#[derive(Debug, Serialize, Deserialize)]
struct MetadataRecord {
    mode: u16,
    uid: u32,
    gid: u32,
    seconds: i64,
    nanoseconds: u32,
    xattrs: Vec<(Bytes, Bytes)>,
}

#[derive(Debug, Serialize, Deserialize)]
enum EntryRecord {
    Whiteout,
    Opaque,
    HardLink(Bytes),
    LowerLink(Bytes),
    Directory(MetadataRecord, bool),
    Inline(MetadataRecord, Bytes),
    Object(MetadataRecord, Bytes, u64),
    Symlink(MetadataRecord, Bytes),
    CharacterDevice(MetadataRecord, u32, u32),
    BlockDevice(MetadataRecord, u32, u32),
    Fifo(MetadataRecord),
}

impl Layer {
    /// The record, and its name.
    pub fn to_bytes(&self) -> Result<(LayerId, Vec<u8>), RecordError> {
        let entries = self.entry_bytes()?;
        let mut bytes = MAGIC.to_vec();
        bytes.push(VERSION);
        bytes.extend(zstd::bulk::compress(&entries, LEVEL).map_err(RecordError::Compression)?);
        Ok((id_of(&entries), bytes))
    }

    /// Reads the record of the layer `id`.
    pub fn from_bytes(id: LayerId, bytes: &[u8]) -> Result<Layer, RecordError> {
        let rest = bytes.strip_prefix(MAGIC).ok_or(RecordError::Magic)?;
        let (version, compressed) = rest.split_first().ok_or(RecordError::Magic)?;
        if *version != VERSION {
            return Err(RecordError::Version(*version));
        }
        let mut entries = Vec::new();
        zstd::Decoder::new(compressed)
            .and_then(|decoder| decoder.take(ENTRIES_MAX_BYTES).read_to_end(&mut entries))
            .map_err(RecordError::Compression)?;
        let found = id_of(&entries);
        if found != id {
            return Err(RecordError::Id(found));
        }
        Ok(Layer {
            entries: parse_entries(&entries).map_err(RecordError::Entries)?,
        })
    }

    fn entry_bytes(&self) -> Result<Vec<u8>, RecordError> {
        let records: Vec<_> = self
            .entries
            .iter()
            .map(|(path, entry)| (Bytes(path.as_bytes().into()), EntryRecord::of(entry)))
            .collect();
        postcard::to_stdvec(&records).map_err(RecordError::Entries)
    }
}

/// Reads entries one by one: all their records at once would take more memory than the entries.
fn parse_entries(bytes: &[u8]) -> postcard::Result<Vec<(LayerPath, Entry)>> {
    let (count, mut rest) = postcard::take_from_bytes::<u64>(bytes)?;
    let mut entries = Vec::new();
    let mut sets = XattrSets::default();
    for _ in 0..count {
        let ((path, record), after) = postcard::take_from_bytes::<(Bytes, EntryRecord)>(rest)?;
        entries.push((LayerPath::trusted(&path.0), record.into_entry(&mut sets)?));
        rest = after;
    }
    // Whoever wrote them may have had another order.
    entries.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(entries)
}

fn id_of(entries: &[u8]) -> LayerId {
    use sha2::Digest as _;
    let mut hasher = sha2::Sha256::new_with_prefix([VERSION]);
    hasher.update(entries);
    LayerId(Sha256Digest::new(hasher.finalize().into()))
}

impl EntryRecord {
    fn of(entry: &Entry) -> Self {
        match entry {
            Entry::Whiteout => EntryRecord::Whiteout,
            Entry::Opaque => EntryRecord::Opaque,
            Entry::HardLink(target) => EntryRecord::HardLink(Bytes(target.as_bytes().into())),
            Entry::LowerLink(target) => EntryRecord::LowerLink(Bytes(target.as_bytes().into())),
            Entry::Node { metadata, node } => Self::of_node(MetadataRecord::of(metadata), node),
        }
    }

    fn of_node(metadata: MetadataRecord, node: &LayerNode) -> Self {
        match node {
            LayerNode::Directory { opaque } => EntryRecord::Directory(metadata, *opaque),
            LayerNode::Regular(Content::Inline(bytes)) => EntryRecord::Inline(metadata, Bytes(bytes.clone())),
            LayerNode::Regular(Content::Object { digest, size_bytes }) => {
                EntryRecord::Object(metadata, Bytes(digest.as_bytes()[..].into()), *size_bytes)
            }
            LayerNode::Symlink(target) => EntryRecord::Symlink(metadata, Bytes(target.clone())),
            LayerNode::CharacterDevice(Device { major, minor }) => {
                EntryRecord::CharacterDevice(metadata, *major, *minor)
            }
            LayerNode::BlockDevice(Device { major, minor }) => {
                EntryRecord::BlockDevice(metadata, *major, *minor)
            }
            LayerNode::Fifo => EntryRecord::Fifo(metadata),
        }
    }

    fn into_entry(self, sets: &mut XattrSets) -> postcard::Result<Entry> {
        let (metadata, node) = match self {
            EntryRecord::Whiteout => return Ok(Entry::Whiteout),
            EntryRecord::Opaque => return Ok(Entry::Opaque),
            EntryRecord::HardLink(target) => return Ok(Entry::HardLink(LayerPath::trusted(&target.0))),
            EntryRecord::LowerLink(target) => return Ok(Entry::LowerLink(LayerPath::trusted(&target.0))),
            EntryRecord::Directory(metadata, opaque) => (metadata, LayerNode::Directory { opaque }),
            EntryRecord::Inline(metadata, bytes) => (metadata, LayerNode::Regular(Content::Inline(bytes.0))),
            EntryRecord::Object(metadata, digest, size_bytes) => {
                let digest =
                    <[u8; 64]>::try_from(&*digest.0).map_err(|_| postcard::Error::DeserializeBadEncoding)?;
                let digest = Digest::new(digest);
                (
                    metadata,
                    LayerNode::Regular(Content::Object { digest, size_bytes }),
                )
            }
            EntryRecord::Symlink(metadata, target) => (metadata, LayerNode::Symlink(target.0)),
            EntryRecord::CharacterDevice(metadata, major, minor) => {
                (metadata, LayerNode::CharacterDevice(Device { major, minor }))
            }
            EntryRecord::BlockDevice(metadata, major, minor) => {
                (metadata, LayerNode::BlockDevice(Device { major, minor }))
            }
            EntryRecord::Fifo(metadata) => (metadata, LayerNode::Fifo),
        };
        let metadata = metadata.into_metadata(sets);
        Ok(Entry::Node { metadata, node })
    }
}

impl MetadataRecord {
    fn of(metadata: &Metadata) -> Self {
        let xattrs = metadata.xattrs.iter();
        MetadataRecord {
            mode: metadata.mode,
            uid: metadata.uid,
            gid: metadata.gid,
            seconds: metadata.mtime.seconds,
            nanoseconds: metadata.mtime.nanoseconds,
            xattrs: xattrs
                .map(|(name, value)| (Bytes(name.into()), Bytes(value.into())))
                .collect(),
        }
    }

    fn into_metadata(self, sets: &mut XattrSets) -> Metadata {
        let xattrs = self.xattrs.into_iter().map(|(name, value)| (name.0, value.0));
        Metadata {
            mode: self.mode,
            uid: self.uid,
            gid: self.gid,
            mtime: Timestamp {
                seconds: self.seconds,
                nanoseconds: self.nanoseconds,
            },
            xattrs: Xattrs::from_iter(xattrs).shared(sets),
        }
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct BytesVisitor;
        impl Visitor<'_> for BytesVisitor {
            type Value = Bytes;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Bytes, E> {
                Ok(Bytes(bytes.into()))
            }
        }
        deserializer.deserialize_bytes(BytesVisitor)
    }
}
