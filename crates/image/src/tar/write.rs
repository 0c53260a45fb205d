//! Writes a layer as a tar archive: the same bytes for the same layer, always.
//!
//! Entries come in byte order of their paths, the whiteouts of a directory before its other entries. Headers are plain
//! ustar; what does not fit there (long paths, large numbers, times before 1970 or with a fraction, extended
//! attributes) is in an extended header before. There are no names of users, no times but the last modification, no
//! sparse files.

use std::io::{Read, Write};

use osmith_formats::tree::{Content, Device, Metadata};
use osmith_report::Observer;

use super::header::{Fields, octal_max};
use super::{BLOCK_BYTES, OPAQUE_MARKER, TarError, WHITEOUT_PREFIX, XATTR_PREFIX, pax};
use crate::layer::{Entry, Layer, LayerNode, LayerPath};
use crate::store::Store;

const NAME_MAX_BYTES: usize = 100;
const PREFIX_MAX_BYTES: usize = 155;
const CHUNK_BYTES: usize = 256 << 10;
/// The name and mode of every extended header and whiteout, which nobody looks at.
pub(super) const PAX_NAME: &[u8] = b"PaxHeaders/0";
pub(super) const PLAIN_MODE: u16 = 0o644;

/// Writes a layer, its contents taken from `store`.
pub fn write_layer(
    layer: &Layer,
    store: &Store,
    writer: impl Write,
    observer: &dyn Observer,
) -> Result<(), TarError> {
    let mut archive = Archive { writer, store };
    let plain = Metadata {
        mode: PLAIN_MODE,
        ..Metadata::default()
    };
    for (path, entry) in in_order(layer)? {
        observer.require_running()?;
        match entry {
            Entry::Whiteout => archive.put(&whiteout_path(path), &plain, &Item::of_kind(b'0'))?,
            Entry::Opaque => archive.put(&path.join(OPAQUE_MARKER), &plain, &Item::of_kind(b'0'))?,
            Entry::Node { metadata, node } => archive.node(path, metadata, node)?,
            Entry::HardLink(target) | Entry::LowerLink(target) => {
                archive.put(path, &plain, &Item::link(b'1', target.as_bytes()))?;
            }
        }
        if is_opaque_directory(entry) {
            archive.put(&path.join(OPAQUE_MARKER), &plain, &Item::of_kind(b'0'))?;
        }
    }
    archive.write(&[0; 2 * BLOCK_BYTES])?;
    archive.writer.flush().map_err(TarError::Write)
}

/// The entries in the order of the archive: a zero byte, which no name has, puts whiteouts before their siblings.
fn in_order(layer: &Layer) -> Result<Vec<(&LayerPath, &Entry)>, TarError> {
    let mut keyed = Vec::with_capacity(layer.len());
    for (path, entry) in layer.entries() {
        let mut key = path.as_bytes().to_vec();
        if let Some((parent, name)) = path.split() {
            if name.starts_with(WHITEOUT_PREFIX) {
                return Err(TarError::WhiteoutName(path.to_string()));
            }
            if *entry == Entry::Whiteout {
                key = parent.join(&[b"\0", name].concat()).as_bytes().to_vec();
            }
        }
        keyed.push((key, (path, entry)));
    }
    keyed.sort_by(|left, right| left.0.cmp(&right.0));
    Ok(keyed.into_iter().map(|(_, entry)| entry).collect())
}

/// What an entry has besides path and metadata.
struct Item<'a> {
    kind: u8,
    link: &'a [u8],
    content: Option<&'a Content>,
    device: Device,
}

impl<'a> Item<'a> {
    fn of_kind(kind: u8) -> Self {
        Item {
            kind,
            link: b"",
            content: None,
            device: Device { major: 0, minor: 0 },
        }
    }

    fn link(kind: u8, target: &'a [u8]) -> Self {
        Item {
            link: target,
            ..Self::of_kind(kind)
        }
    }

    fn device(kind: u8, device: Device) -> Self {
        Item {
            device,
            ..Self::of_kind(kind)
        }
    }

    fn size_bytes(&self) -> u64 {
        self.content.map_or(0, Content::size_bytes)
    }
}

struct Archive<'a, W> {
    writer: W,
    store: &'a Store,
}

impl<W: Write> Archive<'_, W> {
    fn node(&mut self, path: &LayerPath, metadata: &Metadata, node: &LayerNode) -> Result<(), TarError> {
        if let LayerNode::CharacterDevice(device) | LayerNode::BlockDevice(device) = node
            && u64::from(device.major.max(device.minor)) > octal_max(7)
        {
            return Err(TarError::DeviceNumber(path.to_string()));
        }
        let item = match node {
            LayerNode::Directory { .. } => Item::of_kind(b'5'),
            LayerNode::Regular(content) => Item {
                content: Some(content),
                ..Item::of_kind(b'0')
            },
            LayerNode::Symlink(target) => Item::link(b'2', target),
            LayerNode::CharacterDevice(Device { major: 0, minor: 0 }) => {
                return Err(TarError::WhiteoutDevice(path.to_string()));
            }
            LayerNode::CharacterDevice(device) => Item::device(b'3', *device),
            LayerNode::BlockDevice(device) => Item::device(b'4', *device),
            LayerNode::Fifo => Item::of_kind(b'6'),
        };
        self.put(path, metadata, &item)
    }

    /// One entry: extended header, header, content.
    fn put(&mut self, path: &LayerPath, metadata: &Metadata, item: &Item) -> Result<(), TarError> {
        let name = entry_name(path, item.kind);
        let mut records = Vec::new();
        let split = split_name(&name).unwrap_or_else(|| {
            pax::push(&mut records, b"path", &name);
            (b"", name.get(..NAME_MAX_BYTES).unwrap_or(&name))
        });
        let fields = fields(split, metadata, item, &mut records);
        push_xattrs(path, metadata, &mut records)?;
        if !records.is_empty() {
            self.extended_header(&records)?;
        }
        self.write(&fields.to_block())?;
        match item.content {
            Some(content) => self.content(path, content),
            None => Ok(()),
        }
    }

    fn extended_header(&mut self, records: &[u8]) -> Result<(), TarError> {
        let fields = Fields {
            name: PAX_NAME,
            mode: PLAIN_MODE,
            size_bytes: records.len() as u64,
            kind: b'x',
            ..Fields::default()
        };
        self.write(&fields.to_block())?;
        self.write(records)?;
        self.pad(records.len() as u64)
    }

    fn content(&mut self, path: &LayerPath, content: &Content) -> Result<(), TarError> {
        let expected = content.size_bytes();
        let mut reader = self.store.read_content(content)?.take(expected.saturating_add(1));
        let length = usize::try_from(expected)
            .unwrap_or(usize::MAX)
            .clamp(1, CHUNK_BYTES);
        let mut buffer = vec![0; length];
        let mut found = 0;
        loop {
            let count = match reader.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(TarError::Read(error)),
            };
            found += count as u64;
            self.write(buffer.get(..count).unwrap_or_default())?;
        }
        if found != expected {
            return Err(TarError::ContentLength {
                path: path.to_string(),
                expected,
                found,
            });
        }
        self.pad(expected)
    }

    fn pad(&mut self, length: u64) -> Result<(), TarError> {
        let padding = length.next_multiple_of(BLOCK_BYTES as u64) - length;
        self.write([0; BLOCK_BYTES].get(..padding as usize).unwrap_or_default())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), TarError> {
        self.writer.write_all(bytes).map_err(TarError::Write)
    }
}

fn whiteout_path(path: &LayerPath) -> LayerPath {
    path.split().map_or_else(LayerPath::default, |(parent, name)| {
        parent.join(&[WHITEOUT_PREFIX, name].concat())
    })
}

fn is_opaque_directory(entry: &Entry) -> bool {
    let Entry::Node { node, .. } = entry else {
        return false;
    };
    *node == LayerNode::Directory { opaque: true }
}

/// The path as it stands in the archive: directories end in a slash, the root is `./`.
fn entry_name(path: &LayerPath, kind: u8) -> Vec<u8> {
    let mut name = path.as_bytes().to_vec();
    if path.is_root() {
        name.push(b'.');
    }
    if kind == b'5' {
        name.push(b'/');
    }
    name
}

/// Prefix and name, split at the first slash that lets both fit.
fn split_name(name: &[u8]) -> Option<(&[u8], &[u8])> {
    if name.len() <= NAME_MAX_BYTES {
        return Some((b"", name));
    }
    // The slash of a directory's end belongs to the name.
    let earliest = name.len() - NAME_MAX_BYTES - 1;
    let slash = earliest
        + name
            .get(earliest..name.len() - 1)?
            .iter()
            .position(|byte| *byte == b'/')?;
    let (prefix, rest) = name.split_at(slash);
    Some((prefix, rest.get(1..)?)).filter(|(prefix, _)| (1..=PREFIX_MAX_BYTES).contains(&prefix.len()))
}

/// The header's fields; what does not fit is zero or cut there, and goes to `records`.
fn fields<'a>(
    (prefix, name): (&'a [u8], &'a [u8]),
    metadata: &Metadata,
    item: &Item<'a>,
    records: &mut Vec<u8>,
) -> Fields<'a> {
    let mut fitting = |key: &[u8], number: u64, digits: u32| match number <= octal_max(digits) {
        true => number,
        false => {
            pax::push(records, key, number.to_string().as_bytes());
            0
        }
    };
    // Identifiers are at most octal_max(7) here, which is less than u32::MAX.
    let uid = fitting(b"uid", u64::from(metadata.uid), 7) as u32;
    let gid = fitting(b"gid", u64::from(metadata.gid), 7) as u32;
    let size_bytes = fitting(b"size", item.size_bytes(), 11);
    let link = match item.link.len() <= NAME_MAX_BYTES {
        true => item.link,
        false => {
            pax::push(records, b"linkpath", item.link);
            item.link.get(..NAME_MAX_BYTES).unwrap_or_default()
        }
    };
    Fields {
        prefix,
        name,
        mode: metadata.mode,
        uid,
        gid,
        size_bytes,
        mtime_seconds: mtime(metadata, records),
        kind: item.kind,
        link,
        major: item.device.major,
        minor: item.device.minor,
    }
}

fn mtime(metadata: &Metadata, records: &mut Vec<u8>) -> u64 {
    let time = metadata.mtime;
    let whole = u64::try_from(time.seconds)
        .ok()
        .filter(|seconds| *seconds <= octal_max(11));
    if whole.is_none() || time.nanoseconds != 0 {
        let text = pax::format_time(time.seconds, time.nanoseconds);
        pax::push(records, b"mtime", text.as_bytes());
    }
    whole.unwrap_or(0)
}

fn push_xattrs(path: &LayerPath, metadata: &Metadata, records: &mut Vec<u8>) -> Result<(), TarError> {
    for (name, value) in &metadata.xattrs {
        if name.contains(&b'=') || name.contains(&0) {
            return Err(TarError::XattrName {
                path: path.to_string(),
                name: crate::layer::display(name),
            });
        }
        pax::push(records, &[XATTR_PREFIX, name].concat(), value);
    }
    Ok(())
}
