//! Writes planned ext4 file systems to sparse files, with generated contents, and has `e2fsck` judge them.
#![allow(dead_code, reason = "each test file uses a part")]

pub(crate) mod mounted;
pub(crate) mod trees;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File as Output;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

use osmith_formats::ext4::{BLOCK_BYTES, File, Options, Piece, plan, verity_region};
use osmith_formats::tree::{Inode, InodeId, Metadata, Node, Timestamp, Tree};
use osmith_formats::verity::{Hasher, Measured};
use osmith_testing::oracle;
use tempfile::NamedTempFile;

/// 2^20 bytes.
pub(crate) const MIB: u64 = 1 << 20;

/// The options of most tests.
pub(crate) fn options(size_bytes: u64) -> Options {
    Options {
        size_bytes,
        uuid: *b"\x11\x22\x33\x44\x55\x66\x47\x88\x99\xaa\xbb\xcc\xdd\xee\xff\x00",
        hash_seed: *b"seed of the hash",
        label: "root".to_owned(),
        time: Timestamp {
            seconds: 1_700_000_000,
            nanoseconds: 0,
        },
        journal_bytes: None,
        reserved_percent: 5,
    }
}

/// An empty tree.
pub(crate) fn empty_tree() -> Tree<File> {
    Tree::new(Metadata {
        mode: 0o755,
        ..Metadata::default()
    })
}

/// An inode with usual metadata.
pub(crate) fn inode(node: Node<File>) -> Inode<File> {
    Inode {
        metadata: Metadata {
            mode: 0o644,
            ..Metadata::default()
        },
        node,
    }
}

/// A regular file; the source number makes its contents.
pub(crate) fn regular(source: u32, size_bytes: u64, verity: bool) -> Inode<File> {
    inode(Node::Regular(File {
        source,
        size_bytes,
        holes: Box::default(),
        verity,
    }))
}

/// An empty directory.
pub(crate) fn directory() -> Inode<File> {
    inode(Node::Directory(BTreeMap::new()))
}

/// Adds an inode to the root directory.
pub(crate) fn child(tree: &mut Tree<File>, inode: Inode<File>, name: &[u8]) -> InodeId {
    let id = tree.add(inode);
    tree.link(tree.root(), name, id);
    id
}

/// A tree with that many nodes in one directory.
pub(crate) fn numbered(count: u32, mut node: impl FnMut(u32) -> Inode<File>) -> Tree<File> {
    let mut tree = empty_tree();
    let files = child(&mut tree, directory(), b"files");
    for number in 0..count {
        let id = tree.add(node(number));
        tree.link(files, format!("{number}").as_bytes(), id);
    }
    tree
}

/// An access control list, as system calls take it: tag, permissions, id.
pub(crate) fn acl(entries: &[(u16, u16, u32)]) -> Vec<u8> {
    let mut bytes = vec![2, 0, 0, 0];
    for (tag, perm, id) in entries {
        bytes.extend_from_slice(&tag.to_le_bytes());
        bytes.extend_from_slice(&perm.to_le_bytes());
        bytes.extend_from_slice(&id.to_le_bytes());
    }
    bytes
}

/// What a file holds from `offset` on: a word per block that depends on source and place, and zeros in its holes.
pub(crate) fn contents(file: &File, offset: u64, length: usize) -> Vec<u8> {
    let end = offset + length as u64;
    let mut bytes = Vec::with_capacity(length + BLOCK_BYTES as usize);
    for block in offset / BLOCK_BYTES..end.div_ceil(BLOCK_BYTES) {
        let word = block ^ (u64::from(file.source) << 40) ^ 0x9e37_79b9_7f4a_7c15;
        bytes.extend_from_slice(&word.to_le_bytes().repeat(BLOCK_BYTES as usize / 8));
    }
    bytes.drain(..(offset % BLOCK_BYTES) as usize);
    bytes.truncate(length);
    for hole in &file.holes {
        let clamp = |at: u64| (at.clamp(offset, end) - offset) as usize;
        bytes[clamp(hole.start)..clamp(hole.end)].fill(0);
    }
    bytes
}

/// The verity measurement of a file's contents.
pub(crate) fn measure(file: &File) -> Measured {
    let mut hasher = Hasher::new();
    for offset in (0..file.size_bytes).step_by(1 << 20) {
        hasher.update(&contents(
            file,
            offset,
            (file.size_bytes - offset).min(1 << 20) as usize,
        ));
    }
    hasher.finish()
}

/// Writes the file system of a tree into a new sparse file, in one pass.
pub(crate) fn write_image(tree: &Tree<File>, options: &Options) -> NamedTempFile {
    let image = NamedTempFile::new().unwrap();
    image.as_file().set_len(options.size_bytes).unwrap();
    let layout = plan(tree, options).unwrap_or_else(|error| panic!("{error}"));
    let mut end = 0;
    let mut written = BTreeSet::new();
    for piece in layout.pieces() {
        let (offset, length) = write_piece(tree, &piece, image.as_file());
        assert!(offset >= end, "{offset} comes after {end}");
        end = offset + length;
        written.extend(offset / BLOCK_BYTES..end.div_ceil(BLOCK_BYTES));
    }
    assert!(end <= layout.size_bytes());
    let covered = layout.covered_bytes();
    let covered = covered.flat_map(|range| range.start / BLOCK_BYTES..range.end.div_ceil(BLOCK_BYTES));
    assert_eq!(covered.collect::<BTreeSet<_>>(), written);
    image
}

fn write_piece(tree: &Tree<File>, piece: &Piece, image: &Output) -> (u64, u64) {
    let file_of = |id| match &tree.inode(id).node {
        Node::Regular(file) => file,
        other => panic!("{other:?} has no contents"),
    };
    match piece {
        Piece::Bytes { offset_bytes, bytes } => {
            image.write_all_at(bytes, *offset_bytes).unwrap();
            (*offset_bytes, bytes.len() as u64)
        }
        Piece::Data {
            offset_bytes,
            inode,
            source,
            file_offset_bytes,
            len_bytes,
        } => {
            let file = file_of(*inode);
            assert_eq!(file.source, *source);
            for at in (0..*len_bytes).step_by(1 << 20) {
                let bytes = contents(
                    file,
                    file_offset_bytes + at,
                    (len_bytes - at).min(1 << 20) as usize,
                );
                image.write_all_at(&bytes, offset_bytes + at).unwrap();
            }
            (*offset_bytes, *len_bytes)
        }
        Piece::Verity {
            offset_bytes,
            inode,
            region_offset_bytes,
            len_bytes,
            ..
        } => {
            let region = verity_region(&measure(file_of(*inode)));
            let part = &region[*region_offset_bytes as usize..][..*len_bytes as usize];
            image.write_all_at(part, *offset_bytes).unwrap();
            (*offset_bytes, *len_bytes)
        }
    }
}

/// Fails the test unless `e2fsck` finds nothing to say.
#[track_caller]
pub(crate) fn check_image(image: &Path) {
    let Some(e2fsck) = oracle::require("e2fsck") else {
        return;
    };
    let output = Command::new(e2fsck).args(["-fn"]).arg(image).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let odd = text
        .lines()
        .skip_while(|line| !line.starts_with("Pass 1"))
        .find(|line| {
            let expected = ["Pass ", "root: "];
            !line.is_empty() && !expected.iter().any(|start| line.starts_with(start))
        });
    assert!(output.status.success() && odd.is_none(), "{text}");
}
