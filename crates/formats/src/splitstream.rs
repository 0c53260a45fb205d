//! Split streams: a file as a composefs repository stores it, with the large parts of it as objects.
//!
//! Source: `doc/splitstream.md` of composefs-rs and what composefs-rs 0.9 writes. Little endian; a range is le64 start,
//! le64 end, in bytes of the file.
//!
//! ```text
//!  0 "SplitStream" · 11 version 0 · 12 flags u16 · 14 algorithm 2 (SHA-512) · 15 log2 of the block 12 ·
//! 16 range of the information
//!    information: ranges of the stream references, object references, body, names · content type [8] · length of
//!    the file u64
//!    references: digests, one behind the other
//!    names: zstd of `index:name\0`, sorted by name, the index into the stream references
//!    body: zstd of chunks: le64, negative: that many bytes follow; else an index into the object references
//! ```
//!
//! The sections may be anywhere; this order is how upstream writes them. bootc up to 1.15 stored the header's fields in
//! another order (information first, magic at 18), which is read too. Left out: SHA-256, of which bootc has none.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, BufRead, BufReader, Read, Write};

use zstd::stream::read::Decoder;
use zstd::stream::write::Encoder;

use crate::verity::{Digest, HASH_BYTES};

const MAGIC: &[u8; 11] = b"SplitStream";
const HEADER_BYTES: usize = 32;
const INFORMATION_BYTES: usize = 80;
/// Algorithm and block of [`Digest`], behind version and flags.
const ALGORITHM: [u8; 2] = [2, 12];
/// More decompressed names than any image has: a layer's name has some 80 bytes.
const NAMES_MAX_BYTES: u64 = 16 << 20;
/// How much of an inline chunk is given at once.
const PIECE_BYTES: usize = 64 << 10;

/// What a stream holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ContentType(pub [u8; 8]);

impl ContentType {
    /// An image manifest: one object. Refers to the config as `config:sha256:…` and to each layer by its diff ID.
    pub const MANIFEST: ContentType = ContentType(*b"ocimanif");
    /// An image configuration: one object. Refers to each layer by its diff ID and to the composefs images.
    pub const CONFIG: ContentType = ContentType(*b"ociconfg");
    /// An uncompressed layer: file contents over 64 bytes are objects.
    pub const LAYER: ContentType = ContentType(*b"ocilayer");
    /// Any other blob of an artifact.
    pub const BLOB: ContentType = ContentType(*b"oci_blob");
}

/// Bytes that are no split stream.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The magic number is missing.
    #[error("split stream: no split stream (wrong magic number)")]
    Magic,
    /// The version is not 0.
    #[error("split stream: version {0} is not supported")]
    Version(u8),
    /// The digests are not SHA-512 with blocks of 4,096 bytes.
    #[error("split stream: digests of algorithm {0} with blocks of 2^{1} bytes are not supported")]
    Algorithm(u8, u8),
    /// A section is not within the file, or its length is impossible.
    #[error("split stream: {0} is damaged: its range is impossible")]
    Range(&'static str),
    /// A name is malformed or refers to a stream that is not there.
    #[error("split stream: name '{0}' is malformed or refers to no stream")]
    Name(String),
    /// The names need more than 16 MiB.
    #[error("split stream: the names need more than 16 MiB")]
    NamesLength,
    /// The body refers to an object that is not there.
    #[error("split stream: the body refers to object {0}, of {1}")]
    Object(i64, usize),
    /// The body is longer than the file is said to be.
    #[error("split stream: the body is longer than the {0} bytes announced")]
    Length(u64),
    /// A compressed section cannot be decompressed, or ends early.
    #[error("split stream: {0} cannot be decompressed")]
    Compressed(&'static str, #[source] io::Error),
    /// What was done with a part of the stream failed.
    #[error("split stream: a part of the stream cannot be taken")]
    Taken(#[source] io::Error),
}

/// Writes a split stream.
pub struct Writer {
    content_type: ContentType,
    size_bytes: u64,
    inline: Vec<u8>,
    body: Encoder<'static, Vec<u8>>,
    streams: Digests,
    objects: Digests,
    names: BTreeMap<String, usize>,
}

impl Writer {
    /// A writer of an empty stream.
    pub fn new(content_type: ContentType) -> io::Result<Self> {
        Ok(Writer {
            content_type,
            size_bytes: 0,
            inline: Vec::new(),
            body: Encoder::new(Vec::new(), 0)?,
            streams: Digests::default(),
            objects: Digests::default(),
            names: BTreeMap::new(),
        })
    }

    /// The next bytes of the file, kept in the stream. Consecutive ones become one chunk, as readers expect.
    pub fn inline(&mut self, bytes: &[u8]) {
        self.size_bytes += bytes.len() as u64;
        self.inline.extend_from_slice(bytes);
    }

    /// The next bytes of the file are those of an object.
    pub fn object(&mut self, digest: &Digest, size_bytes: u64) -> io::Result<()> {
        self.end_inline()?;
        self.size_bytes += size_bytes;
        let index = self.objects.index(digest) as i64;
        self.body.write_all(&index.to_le_bytes())
    }

    /// Refers to another stream (or image), which is kept as long as this one. A name must not contain NUL.
    pub fn named_ref(&mut self, name: &str, digest: &Digest) {
        let index = self.streams.index(digest);
        self.names.insert(name.to_owned(), index);
    }

    /// The bytes of the stream, itself to be stored as an object.
    pub fn finish(mut self) -> io::Result<Vec<u8>> {
        self.end_inline()?;
        let mut names = Encoder::new(Vec::new(), 0)?;
        for (name, index) in &self.names {
            write!(names, "{index}:{name}\0")?;
        }
        let sections = [
            self.streams.bytes,
            self.objects.bytes,
            names.finish()?,
            self.body.finish()?,
        ];
        let mut start = (HEADER_BYTES + INFORMATION_BYTES) as u64;
        let [streams, objects, names, body] = sections.each_ref().map(|section| {
            let range = [start, start + section.len() as u64];
            start = range[1];
            range
        });
        let information = [HEADER_BYTES as u64, (HEADER_BYTES + INFORMATION_BYTES) as u64];
        let mut out = [MAGIC.as_slice(), &[0, 0, 0], &ALGORITHM].concat();
        for position in [information, streams, objects, body, names].as_flattened() {
            out.extend_from_slice(&position.to_le_bytes());
        }
        out.extend_from_slice(&self.content_type.0);
        out.extend_from_slice(&self.size_bytes.to_le_bytes());
        for section in sections {
            out.extend_from_slice(&section);
        }
        Ok(out)
    }

    fn end_inline(&mut self) -> io::Result<()> {
        if self.inline.is_empty() {
            return Ok(());
        }
        self.body
            .write_all(&(-(self.inline.len() as i64)).to_le_bytes())?;
        self.body.write_all(&self.inline)?;
        self.inline.clear();
        Ok(())
    }
}

/// Digests in the order of their first use.
#[derive(Default)]
struct Digests {
    bytes: Vec<u8>,
    indexes: HashMap<Digest, usize>,
}

impl Digests {
    fn index(&mut self, digest: &Digest) -> usize {
        let next = self.indexes.len();
        *self.indexes.entry(*digest).or_insert_with(|| {
            self.bytes.extend_from_slice(digest.as_bytes());
            next
        })
    }
}

/// A split stream that was read; its body is still compressed.
#[derive(Debug, Clone)]
pub struct Parsed<'a> {
    /// What the stream holds.
    pub content_type: ContentType,
    /// The length of the file.
    pub size_bytes: u64,
    /// The objects that parts of the file are in.
    pub objects: Vec<Digest>,
    /// The streams and images it refers to, named or not.
    pub streams: Vec<Digest>,
    /// The names of streams and images.
    pub names: BTreeMap<String, Digest>,
    body: &'a [u8],
}

/// A part of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Bytes of the stream itself, 64 KiB at most.
    Inline(&'a [u8]),
    /// All bytes of an object.
    Object(&'a Digest),
}

/// Reads all of a split stream but its body.
pub fn read(bytes: &[u8]) -> Result<Parsed<'_>, Error> {
    let information = section(bytes, information_range(bytes)?, "the information")?;
    let fields = information.first_chunk::<INFORMATION_BYTES>();
    let fields = fields.ok_or(Error::Range("the information"))?;
    let part = |index: usize, what| section(bytes, range(fields, index), what);
    let streams = digests(part(0, "the table of streams")?, "the table of streams")?;
    let names = names(part(3, "the table of names")?, &streams)?;
    Ok(Parsed {
        content_type: ContentType(field(fields, 64)),
        size_bytes: u64::from_le_bytes(field(fields, 72)),
        objects: digests(part(1, "the table of objects")?, "the table of objects")?,
        streams,
        names,
        body: part(2, "the body")?,
    })
}

impl Parsed<'_> {
    /// Gives all parts of the file in order.
    pub fn for_each(&self, mut take: impl FnMut(Piece<'_>) -> io::Result<()>) -> Result<(), Error> {
        let damaged = |error| Error::Compressed("the body", error);
        let mut body = BufReader::new(Decoder::new(self.body).map_err(damaged)?);
        let mut rest_bytes = self.size_bytes;
        let mut piece = vec![0; PIECE_BYTES];
        while !body.fill_buf().map_err(damaged)?.is_empty() {
            let mut chunk = [0; 8];
            body.read_exact(&mut chunk).map_err(damaged)?;
            let chunk = i64::from_le_bytes(chunk);
            if chunk >= 0 {
                let found = usize::try_from(chunk)
                    .ok()
                    .and_then(|index| self.objects.get(index));
                let digest = found.ok_or(Error::Object(chunk, self.objects.len()))?;
                take(Piece::Object(digest)).map_err(Error::Taken)?;
                continue;
            }
            let mut chunk_bytes = chunk.unsigned_abs();
            rest_bytes = rest_bytes
                .checked_sub(chunk_bytes)
                .ok_or(Error::Length(self.size_bytes))?;
            while chunk_bytes > 0 {
                let part = usize::try_from(chunk_bytes)
                    .unwrap_or(PIECE_BYTES)
                    .min(PIECE_BYTES);
                let part = &mut piece[..part];
                body.read_exact(part).map_err(damaged)?;
                take(Piece::Inline(part)).map_err(Error::Taken)?;
                chunk_bytes -= part.len() as u64;
            }
        }
        Ok(())
    }
}

/// Checks the header and finds the information.
fn information_range(bytes: &[u8]) -> Result<[u64; 2], Error> {
    let header: &[u8; HEADER_BYTES] = bytes.first_chunk().ok_or(Error::Magic)?;
    let (information, fields) = if header.starts_with(MAGIC) {
        (&header[16..], &header[11..16])
    } else if header[18..].starts_with(MAGIC) {
        // Version, algorithm and block, as between the flags of the other form.
        (&header[..16], &[header[29], 0, 0, header[30], header[31]][..])
    } else {
        return Err(Error::Magic);
    };
    match *fields {
        [0, _, _, 2, 12] => Ok(range(information, 0)),
        [0, _, _, algorithm, block] => Err(Error::Algorithm(algorithm, block)),
        [version, ..] => Err(Error::Version(version)),
        [] => Err(Error::Magic),
    }
}

/// The `index`th range of a table of ranges.
fn range(fields: &[u8], index: usize) -> [u64; 2] {
    [0, 8].map(|part| u64::from_le_bytes(field(fields, index * 16 + part)))
}

/// Eight bytes at an offset; zeros where there are fewer.
fn field(fields: &[u8], offset: usize) -> [u8; 8] {
    let found = fields.get(offset..).and_then(|rest| rest.first_chunk());
    found.copied().unwrap_or_default()
}

fn section<'a>(bytes: &'a [u8], [start, end]: [u64; 2], what: &'static str) -> Result<&'a [u8], Error> {
    let range = usize::try_from(start).ok().zip(usize::try_from(end).ok());
    let found = range.and_then(|(start, end)| bytes.get(start..end));
    found.ok_or(Error::Range(what))
}

fn digests(bytes: &[u8], what: &'static str) -> Result<Vec<Digest>, Error> {
    match bytes.as_chunks::<HASH_BYTES>() {
        (digests, []) => Ok(digests.iter().copied().map(Digest::new).collect()),
        _ => Err(Error::Range(what)),
    }
}

fn names(bytes: &[u8], streams: &[Digest]) -> Result<BTreeMap<String, Digest>, Error> {
    let damaged = |error| Error::Compressed("the table of names", error);
    let mut table = Vec::new();
    let decoder = Decoder::new(bytes).map_err(damaged)?;
    decoder
        .take(NAMES_MAX_BYTES + 1)
        .read_to_end(&mut table)
        .map_err(damaged)?;
    if table.len() as u64 > NAMES_MAX_BYTES {
        return Err(Error::NamesLength);
    }
    let mut names = BTreeMap::new();
    for record in table.split_inclusive(|byte| *byte == 0) {
        let (name, digest) = named(record, streams)
            .ok_or_else(|| Error::Name(String::from_utf8_lossy(record).into_owned()))?;
        names.insert(name.to_owned(), digest);
    }
    Ok(names)
}

fn named<'a>(record: &'a [u8], streams: &[Digest]) -> Option<(&'a str, Digest)> {
    let text = std::str::from_utf8(record.strip_suffix(b"\0")?).ok()?;
    let (index, name) = text.split_once(':')?;
    Some((name, *streams.get(index.parse::<usize>().ok()?)?))
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone, PartialEq)]
    enum Part {
        Inline(Vec<u8>),
        Object(Digest),
    }

    fn digest(seed: u8) -> Digest {
        Digest::new([seed; HASH_BYTES])
    }

    fn written(parts: &[Part]) -> Vec<u8> {
        let mut writer = Writer::new(ContentType::LAYER).unwrap();
        for part in parts {
            match part {
                Part::Inline(bytes) => writer.inline(bytes),
                Part::Object(digest) => writer.object(digest, 1000).unwrap(),
            }
        }
        writer.named_ref("config:sha256:00", &digest(1));
        writer.named_ref("a", &digest(2));
        writer.named_ref("b", &digest(1));
        writer.finish().unwrap()
    }

    /// The parts with consecutive inline ones joined.
    fn joined(parts: impl IntoIterator<Item = Part>) -> Vec<Part> {
        let mut joined: Vec<Part> = Vec::new();
        for part in parts {
            match (joined.last_mut(), part) {
                (Some(Part::Inline(bytes)), Part::Inline(more)) => bytes.extend(more),
                (_, Part::Inline(bytes)) if bytes.is_empty() => {}
                (_, part) => joined.push(part),
            }
        }
        joined
    }

    fn parts_of(parsed: &Parsed<'_>) -> Result<Vec<Part>, Error> {
        let mut parts = Vec::new();
        parsed.for_each(|piece| {
            parts.push(match piece {
                Piece::Inline(bytes) => Part::Inline(bytes.to_vec()),
                Piece::Object(digest) => Part::Object(*digest),
            });
            Ok(())
        })?;
        Ok(joined(parts))
    }

    fn parts() -> impl Strategy<Value = Vec<Part>> {
        let part = prop_oneof![
            vec(any::<u8>(), 0..600).prop_map(Part::Inline),
            (60_000..200_000_usize).prop_map(|length| Part::Inline(vec![7; length])),
            (0..9_u8).prop_map(|seed| Part::Object(digest(seed))),
        ];
        vec(part, 0..30)
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(parts in parts()) {
            let bytes = written(&parts);
            let parsed = read(&bytes).unwrap();
            prop_assert_eq!(parsed.content_type, ContentType::LAYER);
            let sizes = parts.iter().map(|part| match part {
                Part::Inline(bytes) => bytes.len() as u64,
                Part::Object(_) => 1000,
            });
            prop_assert_eq!(parsed.size_bytes, sizes.sum::<u64>());
            prop_assert_eq!(parsed.names["config:sha256:00"], digest(1));
            prop_assert_eq!(parsed.names["a"], digest(2));
            prop_assert_eq!(parsed.names["b"], digest(1));
            prop_assert_eq!(&parsed.streams, &[digest(1), digest(2)]);
            prop_assert_eq!(parts_of(&parsed).unwrap(), joined(parts));
        }

        #[test]
        fn damage_is_an_error_or_another_stream(parts in parts(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let mut bytes = written(&parts);
            let at = at.index(bytes.len());
            bytes[at] = byte;
            for length in [at, bytes.len()] {
                if let Ok(parsed) = read(&bytes[..length]) {
                    let _ = parts_of(&parsed);
                }
            }
        }
    }

    #[test]
    fn the_header_of_older_versions_is_read() {
        let new = written(&[Part::Object(digest(3))]);
        let old = [
            &new[16..32],
            &new[12..14],
            &new[..11],
            &[0],
            &new[14..16],
            &new[32..],
        ]
        .concat();
        let parsed = read(&old).unwrap();
        assert_eq!(parsed.objects, [digest(3)]);
        assert_eq!(parsed.names.len(), 3);
    }

    #[test]
    fn each_defect_of_the_header_has_its_error() {
        let good = written(&[]);
        let edited = |at: usize, byte: u8| {
            let mut bytes = good.clone();
            bytes[at] = byte;
            read(&bytes).unwrap_err()
        };
        assert!(matches!(edited(0, b'x'), Error::Magic));
        assert!(matches!(read(b"SplitStream").unwrap_err(), Error::Magic));
        assert!(matches!(edited(11, 1), Error::Version(1)));
        assert!(matches!(edited(14, 1), Error::Algorithm(1, 12)));
        assert!(matches!(edited(15, 16), Error::Algorithm(2, 16)));
        assert!(matches!(edited(24, 0), Error::Range("the information")));
        assert!(matches!(edited(40, 0), Error::Range("the table of streams")));
        assert!(matches!(edited(40, 113), Error::Range("the table of streams")));
    }

    #[test]
    fn a_body_that_says_too_much_is_refused() {
        let mut writer = Writer::new(ContentType::BLOB).unwrap();
        writer.inline(b"0123456789");
        writer.object(&digest(1), 0).unwrap();
        let mut bytes = writer.finish().unwrap();
        bytes[104] = 9;
        let parsed = read(&bytes).unwrap();
        assert!(matches!(parts_of(&parsed), Err(Error::Length(9))));
        bytes[104] = 10;
        let mut parsed = read(&bytes).unwrap();
        assert_eq!(parts_of(&parsed).unwrap().len(), 2);
        parsed.objects.clear();
        assert!(matches!(parts_of(&parsed), Err(Error::Object(0, 0))));
    }
}
