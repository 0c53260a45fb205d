//! Writes planned EROFS images with generated contents, mounts them, and compares what the kernel shows.
#![allow(dead_code, reason = "each test file uses a part")]

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt};
use std::path::Path;
use std::process::Command;

use osmith_formats::erofs::{Cluster, Compressor, File, Options, Piece, pack};
use osmith_formats::tree::{Inode, InodeId, Node, Tree, Xattrs};
use osmith_testing::oracle;
use rustix::fs::{lgetxattr, llistxattr, major, minor};
use tempfile::{NamedTempFile, TempDir};

/// A part of the contents of a source: of every three, one compresses well, one a little, one not at all.
pub(crate) fn contents(source: u32, offset_bytes: u64, len_bytes: usize) -> Vec<u8> {
    let byte = |at: u64| {
        let mixed = (at ^ u64::from(source) << 40).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let random = ((mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 56) as u8;
        match source % 3 {
            0 => (at / 97) as u8 ^ source as u8,
            1 => random & 0x1f,
            _ => random,
        }
    };
    (offset_bytes..offset_bytes + len_bytes as u64)
        .map(byte)
        .collect()
}

/// The bytes to compress.
pub(crate) fn cluster_bytes(cluster: &Cluster) -> Vec<u8> {
    let segments = cluster.segments.iter();
    segments
        .flat_map(|segment| {
            contents(
                segment.source,
                segment.file_offset_bytes,
                segment.len_bytes as usize,
            )
        })
        .collect()
}

/// Writes pieces to a file, and sees to it that they ascend.
pub(crate) fn write_pieces(
    pieces: impl Iterator<Item = Piece>,
    size_bytes: u64,
    compressed: &[Vec<u8>],
) -> NamedTempFile {
    let image = NamedTempFile::new().unwrap();
    image.as_file().set_len(size_bytes).unwrap();
    let mut end = 0;
    for piece in pieces {
        let offset = piece.offset_bytes();
        let bytes = match piece {
            Piece::Bytes { bytes, .. } => bytes,
            Piece::Data {
                source,
                file_offset_bytes,
                len_bytes,
                ..
            } => contents(source, file_offset_bytes, len_bytes as usize),
            Piece::Cluster {
                cluster, len_bytes, ..
            } => {
                let bytes = compressed[cluster as usize].clone();
                assert_eq!(bytes.len(), len_bytes as usize);
                bytes
            }
        };
        assert!(offset >= end, "a piece begins at {offset}, before {end}");
        end = offset + bytes.len() as u64;
        image.as_file().write_all_at(&bytes, offset).unwrap();
    }
    assert!(end <= size_bytes);
    image
}

/// An image of a tree.
pub(crate) fn write_image(tree: &Tree<File>, options: &Options) -> NamedTempFile {
    let packing = pack(tree, options).unwrap();
    let mut compressor = Compressor::new(options.cluster_bytes, 1).unwrap();
    let clusters = packing.clusters().iter();
    let compressed: Vec<Vec<u8>> = clusters
        .map(|cluster| compressor.compress(&cluster_bytes(cluster)).unwrap())
        .collect();
    let lengths: Vec<u32> = compressed.iter().map(|bytes| bytes.len() as u32).collect();
    let layout = packing.plan(&lengths).unwrap();
    write_pieces(layout.pieces(), layout.size_bytes(), &compressed)
}

/// An image that the kernel has mounted, until this is dropped.
pub(crate) struct Mount {
    directory: TempDir,
}

impl Mount {
    /// Mounts an image; `None`, said aloud, if that is not possible here.
    #[track_caller]
    pub(crate) fn of(image: &Path) -> Option<Self> {
        if !oracle::require_root("mounting a file system") {
            return None;
        }
        let known = fs::read_to_string("/proc/filesystems").unwrap();
        if !known.lines().any(|line| line.trim() == "erofs") {
            assert!(!oracle::in_ci(), "the kernel knows no EROFS");
            eprintln!("SKIPPED: the kernel knows no EROFS");
            return None;
        }
        let directory = TempDir::new().unwrap();
        let mut mount = Command::new("mount");
        mount
            .args(["-t", "erofs", "-o", "loop,ro"])
            .arg(image)
            .arg(directory.path());
        assert!(mount.status().unwrap().success(), "mounting failed");
        Some(Mount { directory })
    }

    /// Where.
    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(self.path()).status();
        assert!(
            unmounted.is_ok_and(|status| status.success()),
            "unmounting failed"
        );
    }
}

/// Compares every node below a mount point with the tree.
pub(crate) fn compare(tree: &Tree<File>, mount: &Path) {
    let names = tree.link_counts();
    let mut inode_numbers = BTreeMap::new();
    for (path, id) in tree.walk() {
        let at = mount.join(OsStr::from_bytes(&path));
        let found = fs::symlink_metadata(&at).unwrap_or_else(|error| panic!("{at:?}: {error}"));
        let inode = tree.inode(id);
        compare_metadata(&at, inode, &found);
        compare_node(&at, inode, &found);
        assert_eq!(xattrs(&at), inode.metadata.xattrs, "{at:?}");
        assert_eq!(found.nlink(), links(tree, id, names[id.index()]), "{at:?}");
        let number = inode_numbers.entry(id).or_insert(found.ino());
        assert_eq!(
            *number,
            found.ino(),
            "{at:?} is another inode than its first name"
        );
    }
    let different: std::collections::BTreeSet<_> = inode_numbers.values().collect();
    assert_eq!(different.len(), inode_numbers.len());
}

fn links(tree: &Tree<File>, id: InodeId, names: u32) -> u64 {
    match tree.inode(id).entries() {
        None => names.into(),
        Some(entries) => {
            let is_directory = |id: &&InodeId| tree.inode(**id).entries().is_some();
            2 + entries.values().filter(is_directory).count() as u64
        }
    }
}

fn compare_metadata(at: &Path, inode: &Inode<File>, found: &fs::Metadata) {
    let metadata = &inode.metadata;
    let of_tree = (metadata.mode, metadata.uid, metadata.gid);
    let shown = ((found.mode() & 0o7777) as u16, found.uid(), found.gid());
    assert_eq!(shown, of_tree, "{at:?}");
    let mtime = (metadata.mtime.seconds, i64::from(metadata.mtime.nanoseconds));
    assert_eq!((found.mtime(), found.mtime_nsec()), mtime, "{at:?}");
}

fn compare_node(at: &Path, inode: &Inode<File>, found: &fs::Metadata) {
    let kind = found.file_type();
    let device = (major(found.rdev()), minor(found.rdev()));
    match &inode.node {
        Node::Directory(entries) => {
            assert!(kind.is_dir(), "{at:?}");
            let mut names: Vec<Vec<u8>> = fs::read_dir(at)
                .unwrap_or_else(|error| panic!("{at:?}: {error}"))
                .map(|entry| entry.unwrap().file_name().into_vec())
                .collect();
            names.sort();
            assert!(
                names
                    .iter()
                    .map(|name| &name[..])
                    .eq(entries.keys().map(|name| &name[..])),
                "{at:?}"
            );
        }
        Node::Regular(file) => compare_file(at, file, found),
        Node::Symlink(target) => {
            assert_eq!(
                fs::read_link(at).unwrap().as_os_str().as_bytes(),
                &target[..],
                "{at:?}"
            );
        }
        Node::CharacterDevice(expected) => {
            assert!(kind.is_char_device(), "{at:?}");
            assert_eq!(device, (expected.major, expected.minor), "{at:?}");
        }
        Node::BlockDevice(expected) => {
            assert!(kind.is_block_device(), "{at:?}");
            assert_eq!(device, (expected.major, expected.minor), "{at:?}");
        }
        Node::Fifo => assert!(kind.is_fifo(), "{at:?}"),
        Node::Socket => assert!(kind.is_socket(), "{at:?}"),
    }
}

/// The end first, so that not all is read in order.
fn compare_file(at: &Path, file: &File, found: &fs::Metadata) {
    assert!(found.file_type().is_file(), "{at:?}");
    assert_eq!(found.len(), file.size_bytes, "{at:?}");
    let opened = fs::File::open(at).unwrap();
    let end_bytes = file.size_bytes.min(100);
    let mut end = vec![0; end_bytes as usize];
    opened
        .read_exact_at(&mut end, file.size_bytes - end_bytes)
        .unwrap();
    assert!(
        end == contents(file.source, file.size_bytes - end_bytes, end.len()),
        "the end of {at:?} differs"
    );
    let whole = fs::read(at).unwrap_or_else(|error| panic!("{at:?}: {error}"));
    assert!(
        whole == contents(file.source, 0, file.size_bytes as usize),
        "{at:?} differs"
    );
}

fn xattrs(at: &Path) -> Xattrs {
    let mut names = vec![0; 65536];
    let length = llistxattr(at, &mut names).unwrap_or_else(|error| panic!("{at:?}: {error}"));
    let names = names[..length]
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty());
    names
        .map(|name| {
            let mut value = vec![0; 65536];
            let length = lgetxattr(at, name, &mut value).unwrap_or_else(|error| panic!("{at:?}: {error}"));
            value.truncate(length);
            (name, value)
        })
        .collect()
}
