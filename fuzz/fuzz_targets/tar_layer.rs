//! A tar archive becomes a layer, or an error; a layer leads through tree, record and archive back to itself.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use osmith_image::layer::{Layer, apply, diff, empty_tree};
use osmith_image::store::{Access, Store};
use osmith_image::tar::{Limits, TarError, read_layer, write_layer};
use osmith_report::Silent;

static STORE: LazyLock<(tempfile::TempDir, Store)> = LazyLock::new(|| {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let store = Store::open(directory.path(), Access::ReadWrite).expect("a new store");
    (directory, store)
});

/// An archive, described by its entries.
#[derive(Debug, Arbitrary)]
struct Input {
    entries: Vec<Entry>,
    cut: Option<u16>,
    end_required: bool,
}

#[derive(Debug, Arbitrary)]
struct Entry {
    kind: u8,
    name: Path,
    link: Path,
    content: Vec<u8>,
    records: Vec<(Key, Vec<u8>)>,
    /// Bytes of the header that are changed before its checksum is made.
    patches: Vec<(u16, u8)>,
}

#[derive(Debug, Arbitrary)]
enum Path {
    Short(Vec<Part>),
    Any(Vec<u8>),
}

/// Few names, so that entries meet each other.
#[derive(Debug, Arbitrary)]
enum Part {
    A,
    B,
    Whiteout,
    Opaque,
    Slash,
    Dot,
}

#[derive(Debug, Arbitrary)]
enum Key {
    Path,
    Link,
    Size,
    Uid,
    Mtime,
    Xattr,
    SparseMap,
    SparseSize,
    SparseMajor,
    SparseOffset,
    SparseBytes,
}

fuzz_target!(|input: Input| {
    let limits = Limits {
        hole_bytes: 1 << 20,
        end_required: input.end_required,
        ..Limits::default()
    };
    let mut archive: Vec<u8> = input.entries.iter().flat_map(Entry::to_bytes).collect();
    archive.extend_from_slice(&[0; 1024]);
    archive.truncate(input.cut.map_or(archive.len(), usize::from));
    if let Ok(layer) = read_layer(&archive[..], &STORE.1, &limits, &Silent) {
        check(&layer);
    }
});

fn check(layer: &Layer) {
    let (id, record) = layer.to_bytes().expect("any layer has a record");
    assert_eq!(Layer::from_bytes(id, &record).expect("a record is read"), *layer);
    let mut tree = empty_tree();
    if apply(&mut tree, layer).is_err() {
        return;
    }
    let flat = diff(&empty_tree(), &tree);
    let mut bytes = Vec::new();
    match write_layer(&flat, &STORE.1, &mut bytes, &Silent) {
        Ok(()) => {}
        Err(TarError::XattrName { .. }) => return,
        Err(error) => panic!("{error:?}"),
    }
    let read = read_layer(&bytes[..], &STORE.1, &Limits::default(), &Silent).expect("an own archive is read");
    assert_eq!(read, flat);
}

impl Entry {
    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        if !self.records.is_empty() {
            let records: Vec<u8> = self
                .records
                .iter()
                .flat_map(|(key, value)| record(key, value))
                .collect();
            bytes.extend(block(b'x', b"pax", b"", &records, &[]));
        }
        let kinds = b"0123456SLKgx7V";
        let kind = kinds.get(usize::from(self.kind)).copied().unwrap_or(self.kind);
        let (name, link) = (self.name.to_bytes(), self.link.to_bytes());
        bytes.extend(block(kind, &name, &link, &self.content, &self.patches));
        bytes
    }
}

impl Path {
    fn to_bytes(&self) -> Vec<u8> {
        match self {
            Path::Any(bytes) => bytes.clone(),
            Path::Short(parts) => parts.iter().flat_map(Part::bytes).copied().collect(),
        }
    }
}

impl Part {
    fn bytes(&self) -> &'static [u8] {
        match self {
            Part::A => b"a",
            Part::B => b"b",
            Part::Whiteout => b".wh.",
            Part::Opaque => b".wh..wh..opq",
            Part::Slash => b"/",
            Part::Dot => b".",
        }
    }
}

impl Key {
    fn text(&self) -> &'static str {
        match self {
            Key::Path => "path",
            Key::Link => "linkpath",
            Key::Size => "size",
            Key::Uid => "uid",
            Key::Mtime => "mtime",
            Key::Xattr => "SCHILY.xattr.user.x",
            Key::SparseMap => "GNU.sparse.map",
            Key::SparseSize => "GNU.sparse.size",
            Key::SparseMajor => "GNU.sparse.major",
            Key::SparseOffset => "GNU.sparse.offset",
            Key::SparseBytes => "GNU.sparse.numbytes",
        }
    }
}

fn record(key: &Key, value: &[u8]) -> Vec<u8> {
    let rest = [b" ", key.text().as_bytes(), b"=", value, b"\n"].concat();
    let length = (1..9)
        .map(|digits| rest.len() + digits)
        .find(|length| length.to_string().len() + rest.len() == *length);
    [length.unwrap_or_default().to_string().into_bytes(), rest].concat()
}

fn block(kind: u8, name: &[u8], link: &[u8], content: &[u8], patches: &[(u16, u8)]) -> Vec<u8> {
    let mut block = vec![0; 512];
    let mut put = |at: usize, length: usize, bytes: &[u8]| {
        let length = length.min(bytes.len());
        block[at..at + length].copy_from_slice(&bytes[..length]);
    };
    put(0, 100, name);
    put(100, 8, b"0000644\0");
    put(124, 12, format!("{:011o}\0", content.len()).as_bytes());
    put(156, 1, &[kind]);
    put(157, 100, link);
    put(257, 8, b"ustar\x0000");
    for (at, byte) in patches {
        put(usize::from(*at) % 512, 1, &[*byte]);
    }
    put(148, 8, b"        ");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    block.extend_from_slice(content);
    block.resize(block.len().next_multiple_of(512), 0);
    block
}
