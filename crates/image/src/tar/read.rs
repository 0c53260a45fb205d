//! Reads a tar archive as a layer, its contents into the store.
//!
//! Understood are old, POSIX (ustar and pax) and GNU archives, with sparse files of all four kinds. The size of an entry
//! without content (a link, a directory, a device) is ignored, as podman's reader does. Multi-volume archives are
//! refused. Everything is bounded by [`Limits`] before memory is taken for it.

use std::io::{self, Read};

use osmith_formats::tree::{Content, Device, INLINE_MAX_BYTES, Metadata, Timestamp};
use osmith_report::Observer;

use super::entry::{Attributes, SparseMap, sparse_data_lines};
use super::header::{Block, GnuSparse, Header, gnu_sparse_pieces, octal_max};
use super::{AUFS_PREFIX, BLOCK_BYTES, HeaderError, OPAQUE_MARKER, TarError, WHITEOUT_PREFIX};
use crate::layer::{Layer, LayerBuilder, LayerNode, LayerPath, PathError};
use crate::store::{Contents, Intake, ObjectBytes, Slot, Store, WHOLE_MAX_BYTES};

const PIECE_BYTES: usize = 256 << 10;
/// So much of what follows the archive is read before the observer is asked again.
const DRAIN_BYTES: u64 = 1 << 20;
/// Blocks of a sparse file's map, 21 pieces each.
const SPARSE_BLOCKS_MAX: usize = 50_000;

/// What an archive may have.
#[derive(Debug, Clone)]
pub struct Limits {
    /// The length of an extended header, and of a long name.
    pub extended_header_bytes: u64,
    /// The length of all extended headers together, which are kept in memory.
    pub extended_headers_bytes: u64,
    /// The number of entries.
    pub entries: u64,
    /// The length of a file.
    pub file_bytes: u64,
    /// The length of all holes of sparse files together, which cost the archive nothing.
    pub hole_bytes: u64,
    /// Whether the archive must have an end. Not needed if its digest is known.
    pub end_required: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            extended_header_bytes: 1 << 20,
            extended_headers_bytes: 1 << 29,
            entries: 5_000_000,
            file_bytes: 1 << 44,
            hole_bytes: 1 << 38,
            end_required: true,
        }
    }
}

/// Reads a layer, to the end of `reader`. After an error the store has at most some contents that nothing names.
pub fn read_layer(
    reader: impl Read,
    store: &Store,
    limits: &Limits,
    observer: &dyn Observer,
) -> Result<Layer, TarError> {
    take_layer(reader, store, limits, observer).map(|(layer, _)| layer)
}

/// [`read_layer`], and what came of its contents.
pub(crate) fn take_layer(
    reader: impl Read,
    store: &Store,
    limits: &Limits,
    observer: &dyn Observer,
) -> Result<(Layer, ObjectBytes), TarError> {
    let (changes, contents) = store.take_in(|intake| {
        let mut archive = Archive {
            source: Source {
                reader,
                offset_bytes: 0,
            },
            intake,
            limits,
            observer,
            headers_bytes: 0,
            holes_bytes: 0,
            changes: Vec::new(),
        };
        archive.read_entries()?;
        archive.source.drain(observer)?;
        Ok::<_, TarError>(archive.changes)
    })?;
    Ok((build(changes, &contents)?, contents.object_bytes()))
}

/// An entry, in the order of the archive.
struct Change {
    offset_bytes: u64,
    path: LayerPath,
    kind: Kind,
}

enum Kind {
    Whiteout,
    Opaque,
    Node(Metadata, LayerNode),
    File(Metadata, Slot),
    HardLink(LayerPath),
}

fn build(changes: Vec<Change>, contents: &Contents) -> Result<Layer, TarError> {
    let mut builder = LayerBuilder::new();
    for Change {
        offset_bytes,
        path,
        kind,
    } in changes
    {
        match kind {
            Kind::Whiteout => builder.whiteout(path),
            Kind::Opaque => builder.opaque(path),
            Kind::Node(metadata, node) => builder.add(path, metadata, node),
            Kind::HardLink(target) => builder.hard_link(path, target),
            Kind::File(metadata, slot) => match contents.of(slot) {
                Some(content) => builder.add(path, metadata, LayerNode::Regular(content.clone())),
                None => return Err(TarError::Truncated { offset_bytes }),
            },
        }
        .map_err(|source| TarError::Entry { offset_bytes, source })?;
    }
    Ok(builder.finish())
}

/// The bytes of the archive, and where we are in them.
struct Source<R> {
    reader: R,
    offset_bytes: u64,
}

impl<R: Read> Source<R> {
    /// The next block; `None` at the end of the bytes.
    fn block(&mut self) -> Result<Option<Block>, TarError> {
        let mut block = [0; BLOCK_BYTES];
        match self.fill(&mut block)? {
            0 => Ok(None),
            BLOCK_BYTES => Ok(Some(block)),
            _ => Err(self.truncated()),
        }
    }

    fn exact(&mut self, buffer: &mut [u8]) -> Result<(), TarError> {
        match self.fill(buffer)? == buffer.len() {
            true => Ok(()),
            false => Err(self.truncated()),
        }
    }

    /// Reads a content of that length, and the zeros after it.
    fn padded(&mut self, length: u64) -> Result<Vec<u8>, TarError> {
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
        self.exact(&mut bytes)?;
        self.skip(padding(length))?;
        Ok(bytes)
    }

    fn skip(&mut self, length: u64) -> Result<(), TarError> {
        let skipped =
            io::copy(&mut self.reader.by_ref().take(length), &mut io::sink()).map_err(TarError::Read)?;
        self.offset_bytes += skipped;
        match skipped == length {
            true => Ok(()),
            false => Err(self.truncated()),
        }
    }

    /// Reads what is left, so that whoever digests or decompresses the bytes sees their end.
    fn drain(&mut self, observer: &dyn Observer) -> Result<(), TarError> {
        let piece = |reader: &mut R| io::copy(&mut reader.take(DRAIN_BYTES), &mut io::sink());
        while piece(&mut self.reader).map_err(TarError::Read)? > 0 {
            observer.require_running()?;
        }
        Ok(())
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<usize, TarError> {
        let mut filled = 0;
        while let Some(space) = buffer.get_mut(filled..).filter(|space| !space.is_empty()) {
            match self.reader.read(space) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(TarError::Read(error)),
            }
        }
        self.offset_bytes += filled as u64;
        Ok(filled)
    }

    fn truncated(&self) -> TarError {
        TarError::Truncated {
            offset_bytes: self.offset_bytes,
        }
    }
}

struct Archive<'a, R> {
    source: Source<R>,
    intake: &'a Intake<'a>,
    limits: &'a Limits,
    observer: &'a dyn Observer,
    /// Of all extended headers.
    headers_bytes: u64,
    holes_bytes: u64,
    changes: Vec<Change>,
}

impl<R: Read> Archive<'_, R> {
    fn read_entries(&mut self) -> Result<(), TarError> {
        let mut attributes = Attributes::default();
        loop {
            self.observer.require_running()?;
            let offset_bytes = self.source.offset_bytes;
            let block = match self.source.block()? {
                Some(block) if block.iter().all(|byte| *byte == 0) => return Ok(()),
                Some(block) => block,
                None if self.limits.end_required => return Err(self.source.truncated()),
                None => return Ok(()),
            };
            let at = |reason| TarError::Header { offset_bytes, reason };
            let header = Header::parse(&block).map_err(at)?;
            if let b'x' | b'g' | b'L' | b'K' = header.kind() {
                let bytes = self.extended_header(&header, offset_bytes)?;
                attributes.take(header.kind(), &bytes).map_err(at)?;
                continue;
            }
            let found = attributes.next_entry();
            self.limit(
                offset_bytes,
                "number of entries",
                self.changes.len() as u64,
                self.limits.entries,
            )?;
            self.entry(&header, found, offset_bytes)?;
            if self.intake.has_failed() {
                return Ok(());
            }
        }
    }

    fn extended_header(&mut self, header: &Header, offset_bytes: u64) -> Result<Vec<u8>, TarError> {
        let at = |reason| TarError::Header { offset_bytes, reason };
        let length = size(header.size_bytes().map_err(at)?, "size").map_err(at)?;
        self.limit(
            offset_bytes,
            "extended header",
            length,
            self.limits.extended_header_bytes,
        )?;
        self.headers_bytes = self.headers_bytes.saturating_add(length);
        self.limit(
            offset_bytes,
            "length of extended headers",
            self.headers_bytes,
            self.limits.extended_headers_bytes,
        )?;
        self.source.padded(length)
    }

    fn entry(&mut self, header: &Header, mut found: Attributes, offset_bytes: u64) -> Result<(), TarError> {
        let at = |reason| TarError::Header { offset_bytes, reason };
        let bad_path = |source: PathError| TarError::Entry {
            offset_bytes,
            source: source.into(),
        };
        // The label of a GNU archive.
        if header.kind() == b'V' {
            return Ok(());
        }
        let name = found.path.take().unwrap_or_else(|| header.path());
        let metadata = metadata(header, &found).map_err(at)?;
        let link = found.link.take().unwrap_or_else(|| header.link().to_vec());
        let path = LayerPath::parse(&name).map_err(bad_path)?;
        let node = match header.kind() {
            b'0' | 0 | b'7' if name.ends_with(b"/") => LayerNode::Directory { opaque: false },
            b'0' | 0 | b'7' | b'S' => return self.file(path, metadata, header, found, offset_bytes),
            b'1' => {
                let target = LayerPath::parse(&link).map_err(bad_path)?;
                return self.place(offset_bytes, path, Kind::HardLink(target));
            }
            b'2' => LayerNode::Symlink(symlink_target(link).map_err(at)?),
            b'3' => LayerNode::CharacterDevice(device(header).map_err(at)?),
            b'4' => LayerNode::BlockDevice(device(header).map_err(at)?),
            b'5' => LayerNode::Directory { opaque: false },
            b'6' => LayerNode::Fifo,
            other => return Err(at(HeaderError::Type(other))),
        };
        let is_overlay_whiteout = node == LayerNode::CharacterDevice(Device { major: 0, minor: 0 });
        let kind = match is_overlay_whiteout {
            true => Kind::Whiteout,
            false => Kind::Node(metadata, node),
        };
        self.place(offset_bytes, path, kind)
    }

    fn file(
        &mut self,
        path: LayerPath,
        metadata: Metadata,
        header: &Header,
        found: Attributes,
        offset_bytes: u64,
    ) -> Result<(), TarError> {
        let at = |reason| TarError::Header { offset_bytes, reason };
        let stored_bytes = match found.size_bytes {
            Some(size_bytes) => size_bytes,
            None => size(header.size_bytes().map_err(at)?, "size").map_err(at)?,
        };
        self.limit(offset_bytes, "file size", stored_bytes, self.limits.file_bytes)?;
        if whiteout(&path).map_err(at)?.is_some() {
            self.source
                .skip(stored_bytes.saturating_add(padding(stored_bytes)))?;
            return self.place(offset_bytes, path, Kind::Whiteout);
        }
        let sparse = self.sparse_map(header, &found, stored_bytes, offset_bytes)?;
        let kind = match sparse {
            Some(map) => self
                .sparse_content(&map, offset_bytes)
                .map(|slot| Kind::File(metadata, slot))?,
            None => self.content(metadata, stored_bytes)?,
        };
        self.source.skip(padding(stored_bytes))?;
        self.place(offset_bytes, path, kind)
    }

    fn content(&mut self, metadata: Metadata, size_bytes: u64) -> Result<Kind, TarError> {
        if size_bytes > WHOLE_MAX_BYTES as u64 {
            let (slot, pieces) = self.intake.pieces(size_bytes);
            self.pieces(size_bytes, |piece| pieces.push(piece))?;
            return Ok(Kind::File(metadata, slot));
        }
        let mut bytes = vec![0; size_bytes as usize];
        self.source.exact(&mut bytes)?;
        if bytes.len() > INLINE_MAX_BYTES {
            return Ok(Kind::File(metadata, self.intake.put(bytes)));
        }
        let content = Content::Inline(bytes.into());
        Ok(Kind::Node(metadata, LayerNode::Regular(content)))
    }

    /// Reads a length in pieces. Stops early when the intake has failed, whose error is the one that counts.
    fn pieces(&mut self, mut left: u64, mut take: impl FnMut(Vec<u8>)) -> Result<(), TarError> {
        while left > 0 && !self.intake.has_failed() {
            self.observer.require_running()?;
            let length = left.min(PIECE_BYTES as u64);
            let mut piece = vec![0; length as usize];
            self.source.exact(&mut piece)?;
            take(piece);
            left -= length;
        }
        Ok(())
    }

    fn sparse_map(
        &mut self,
        header: &Header,
        found: &Attributes,
        stored_bytes: u64,
        offset_bytes: u64,
    ) -> Result<Option<SparseMap>, TarError> {
        let at = |reason| TarError::Header { offset_bytes, reason };
        let map = if header.kind() == b'S' {
            self.gnu_sparse_map(header, offset_bytes)?
        } else if found.has_sparse_data_map() {
            self.data_sparse_map(found, stored_bytes, offset_bytes)?
        } else {
            match found.sparse_map().map_err(at)? {
                Some(map) => map,
                None => return Ok(None),
            }
        };
        let map = map.checked(stored_bytes).map_err(at)?;
        self.limit(offset_bytes, "file size", map.size_bytes, self.limits.file_bytes)?;
        self.holes_bytes = self.holes_bytes.saturating_add(map.hole_bytes());
        self.limit(
            offset_bytes,
            "length of holes",
            self.holes_bytes,
            self.limits.hole_bytes,
        )?;
        Ok(Some(map))
    }

    /// Old GNU: the map is in the header and in blocks that follow it.
    fn gnu_sparse_map(&mut self, header: &Header, offset_bytes: u64) -> Result<SparseMap, TarError> {
        let at = |reason| TarError::Header { offset_bytes, reason };
        let GnuSparse {
            mut pieces,
            mut more,
            size_bytes,
        } = header.gnu_sparse().map_err(at)?;
        let mut blocks = 0;
        while more {
            let block = self.source.block()?.ok_or_else(|| self.source.truncated())?;
            pieces.extend(gnu_sparse_pieces(block.get(..504).unwrap_or_default()).map_err(at)?);
            more = block.get(504) != Some(&0);
            blocks += 1;
            if blocks > SPARSE_BLOCKS_MAX {
                return Err(at(HeaderError::Sparse));
            }
        }
        SparseMap::from_signed(&pieces, size_bytes).map_err(at)
    }

    /// GNU pax 1.0: the map is text at the start of the data.
    fn data_sparse_map(
        &mut self,
        found: &Attributes,
        stored_bytes: u64,
        offset_bytes: u64,
    ) -> Result<SparseMap, TarError> {
        let at = |reason| TarError::Header { offset_bytes, reason };
        let mut text = Vec::new();
        let mut lines = 0;
        loop {
            if text.len() as u64 + BLOCK_BYTES as u64 > stored_bytes.next_multiple_of(BLOCK_BYTES as u64)
                || text.len() > SPARSE_BLOCKS_MAX * BLOCK_BYTES
            {
                return Err(at(HeaderError::Sparse));
            }
            let block = self.source.block()?.ok_or_else(|| self.source.truncated())?;
            text.extend_from_slice(&block);
            lines += block.iter().filter(|byte| **byte == b'\n').count() as u64;
            if sparse_data_lines(&text)
                .map_err(at)?
                .is_some_and(|needed| lines >= needed)
            {
                return found.sparse_data_map(&text).map_err(at);
            }
        }
    }

    /// The pieces of a sparse file with zeros between.
    fn sparse_content(&mut self, map: &SparseMap, offset_bytes: u64) -> Result<Slot, TarError> {
        let (slot, pieces) = self.intake.pieces(map.size_bytes);
        let mut position = 0;
        for (offset, length) in &map.pieces {
            self.zeros(offset - position, |piece| pieces.push(piece))?;
            self.pieces(*length, |piece| pieces.push(piece))?;
            position = offset + length;
        }
        let end = map.size_bytes.checked_sub(position).ok_or(TarError::Header {
            offset_bytes,
            reason: HeaderError::Sparse,
        })?;
        self.zeros(end, |piece| pieces.push(piece))?;
        Ok(slot)
    }

    fn zeros(&self, mut left: u64, mut take: impl FnMut(Vec<u8>)) -> Result<(), TarError> {
        while left > 0 && !self.intake.has_failed() {
            self.observer.require_running()?;
            let length = left.min(PIECE_BYTES as u64);
            take(vec![0; length as usize]);
            left -= length;
        }
        Ok(())
    }

    /// Notes an entry: what its name says, if it is that of a whiteout, or `kind`.
    fn place(&mut self, offset_bytes: u64, path: LayerPath, kind: Kind) -> Result<(), TarError> {
        let hidden = whiteout(&path).map_err(|reason| TarError::Header { offset_bytes, reason })?;
        let (path, kind) = match hidden {
            None => (path, kind),
            Some(Hidden::Path(path)) => (path, Kind::Whiteout),
            Some(Hidden::Contents(path)) => (path, Kind::Opaque),
            Some(Hidden::Nothing) => return Ok(()),
        };
        self.changes.push(Change {
            offset_bytes,
            path,
            kind,
        });
        Ok(())
    }

    fn limit(&self, offset_bytes: u64, what: &'static str, found: u64, limit: u64) -> Result<(), TarError> {
        match found <= limit {
            true => Ok(()),
            false => Err(TarError::Limit {
                offset_bytes,
                what,
                found,
                limit,
            }),
        }
    }
}

/// What a whiteout hides.
enum Hidden {
    Path(LayerPath),
    Contents(LayerPath),
    Nothing,
}

/// What the path hides, if its name is that of a whiteout. Such a name is no directory's.
fn whiteout(path: &LayerPath) -> Result<Option<Hidden>, HeaderError> {
    let Some((parent, name)) = path.split() else {
        return Ok(None);
    };
    for directory in parent.as_bytes().split(|byte| *byte == b'/') {
        if directory.starts_with(AUFS_PREFIX) {
            return Ok(Some(Hidden::Nothing));
        }
        if directory.starts_with(WHITEOUT_PREFIX) {
            return Err(HeaderError::Whiteout);
        }
    }
    if name == OPAQUE_MARKER {
        return Ok(Some(Hidden::Contents(parent)));
    }
    if name.starts_with(AUFS_PREFIX) {
        return Ok(Some(Hidden::Nothing));
    }
    match name.strip_prefix(WHITEOUT_PREFIX) {
        Some(b"" | b"." | b"..") => Err(HeaderError::Whiteout),
        Some(hidden) => Ok(Some(Hidden::Path(parent.join(hidden)))),
        None => Ok(None),
    }
}

fn metadata(header: &Header, found: &Attributes) -> Result<Metadata, HeaderError> {
    let id = |value: i64, what| u32::try_from(value).map_err(|_| HeaderError::Range(what));
    let (seconds, nanoseconds) = match found.mtime {
        Some(time) => time,
        None => (header.mtime_seconds()?, 0),
    };
    Ok(Metadata {
        // Some archives have the bits of the file's type there, too.
        mode: (header.mode()? & 0o7777) as u16,
        uid: match found.uid {
            Some(uid) => uid,
            None => id(header.uid()?, "user ID")?,
        },
        gid: match found.gid {
            Some(gid) => gid,
            None => id(header.gid()?, "group ID")?,
        },
        mtime: Timestamp { seconds, nanoseconds },
        xattrs: found.xattrs.clone(),
    })
}

fn symlink_target(link: Vec<u8>) -> Result<Box<[u8]>, HeaderError> {
    match link.is_empty() || link.len() > 4095 || link.contains(&0) {
        true => Err(HeaderError::Range("link target")),
        false => Ok(link.into()),
    }
}

fn device(header: &Header) -> Result<Device, HeaderError> {
    let number = |value: i64, what| match u32::try_from(value) {
        Ok(number) if u64::from(number) <= octal_max(7) => Ok(number),
        _ => Err(HeaderError::Range(what)),
    };
    Ok(Device {
        major: number(header.major()?, "major number")?,
        minor: number(header.minor()?, "minor number")?,
    })
}

fn size(value: i64, what: &'static str) -> Result<u64, HeaderError> {
    u64::try_from(value).map_err(|_| HeaderError::Range(what))
}

fn padding(length: u64) -> u64 {
    length.next_multiple_of(BLOCK_BYTES as u64) - length
}
