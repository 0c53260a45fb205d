//! The same trees as the upstream crates have them, and what those make of them.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use composefs::erofs::format::FormatVersion;
use composefs::erofs::writer::{ValidatedFileSystem, mkfs_erofs_versioned};
use composefs::fsverity::{FsVerityHashValue, Sha512HashValue};
use composefs::generic_tree::LeafId;
use composefs::tree::{Directory, FileSystem, Inode as UpstreamInode, LeafContent, RegularFile, Stat};
use osmith_formats::tree::{Content, Device, InodeId, Metadata, Node, Tree};
use osmith_formats::verity::Digest;

/// The image that upstream writes of a tree.
pub fn image(tree: &Tree<Content>) -> Vec<u8> {
    image_of(file_system(tree))
}

/// The image that upstream writes of its own tree.
pub fn image_of(file_system: FileSystem<Sha512HashValue>) -> Vec<u8> {
    image_versioned(file_system, FormatVersion::V1)
}

/// The image in the format of older repositories.
pub fn legacy_image(tree: &Tree<Content>) -> Vec<u8> {
    image_versioned(file_system(tree), FormatVersion::V2)
}

fn image_versioned(file_system: FileSystem<Sha512HashValue>, version: FormatVersion) -> Vec<u8> {
    let valid = ValidatedFileSystem::new(file_system).expect("upstream takes the tree");
    mkfs_erofs_versioned(&valid, version).into_vec()
}

/// The tree as upstream has it.
pub fn file_system(tree: &Tree<Content>) -> FileSystem<Sha512HashValue> {
    let mut file_system = FileSystem::new(stat(&tree.inode(tree.root()).metadata));
    let mut leaves = HashMap::new();
    let root = directory(tree, tree.root(), &mut file_system, &mut leaves);
    file_system.root = root;
    file_system
}

/// A digest as upstream has it.
pub fn hash(digest: &Digest) -> Sha512HashValue {
    Sha512HashValue::from_hex(digest.to_string()).expect("a digest is hexadecimal")
}

fn directory(
    tree: &Tree<Content>,
    id: InodeId,
    file_system: &mut FileSystem<Sha512HashValue>,
    leaves: &mut HashMap<InodeId, LeafId>,
) -> Directory<Sha512HashValue> {
    let mut made = Directory::new(stat(&tree.inode(id).metadata));
    for (name, child) in tree.inode(id).entries().into_iter().flatten() {
        let inode = tree.inode(*child);
        let entry = match &inode.node {
            Node::Directory(_) => {
                UpstreamInode::Directory(Box::new(directory(tree, *child, file_system, leaves)))
            }
            node => UpstreamInode::leaf(
                *leaves
                    .entry(*child)
                    .or_insert_with(|| file_system.push_leaf(stat(&inode.metadata), leaf(node))),
            ),
        };
        made.insert(OsStr::from_bytes(name), entry);
    }
    made
}

fn leaf(node: &Node<Content>) -> LeafContent<Sha512HashValue> {
    match node {
        Node::Directory(_) => unreachable!("directories are no leaves"),
        Node::Regular(Content::Inline(bytes)) => LeafContent::Regular(RegularFile::Inline(bytes.clone())),
        Node::Regular(Content::Object { digest, size_bytes }) => {
            LeafContent::Regular(RegularFile::External(hash(digest), *size_bytes))
        }
        Node::Symlink(target) => LeafContent::Symlink(OsStr::from_bytes(target).into()),
        Node::CharacterDevice(device) => LeafContent::CharacterDevice(makedev(*device)),
        Node::BlockDevice(device) => LeafContent::BlockDevice(makedev(*device)),
        Node::Fifo => LeafContent::Fifo,
        Node::Socket => LeafContent::Socket,
    }
}

/// The C library's `makedev`, through which upstream reads a layer's devices.
fn makedev(device: Device) -> u64 {
    let (major, minor) = (u64::from(device.major), u64::from(device.minor));
    (major & 0xfff) << 8 | (major & !0xfff) << 32 | (minor & 0xff) | (minor & !0xff) << 12
}

fn stat(metadata: &Metadata) -> Stat {
    let xattrs = metadata.xattrs.iter();
    Stat {
        st_mode: u32::from(metadata.mode),
        st_uid: metadata.uid,
        st_gid: metadata.gid,
        st_mtim_sec: metadata.mtime.seconds,
        st_mtim_nsec: metadata.mtime.nanoseconds,
        xattrs: xattrs
            .map(|(name, value)| (OsStr::from_bytes(name).into(), value.into()))
            .collect(),
    }
}
