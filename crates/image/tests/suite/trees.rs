//! Trees for tests: generated ones, and a view of a tree that can be compared.

use std::collections::BTreeMap;

use osmith_formats::tree::{Content, Device, Inode, InodeId, Metadata, Node, Timestamp, Tree, Xattrs};
use osmith_image::layer::empty_tree;
use osmith_image::store::{Access, Store};
use proptest::prelude::*;

/// A store that vanishes with the directory.
pub(crate) fn store() -> (tempfile::TempDir, Store) {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path(), Access::ReadWrite).unwrap();
    (directory, store)
}

/// Path, inode without the numbers of a directory's entries, and the first path of the same inode.
pub(crate) type View = BTreeMap<String, (Metadata, Node<Content>, String)>;

/// All that can be seen of a tree.
pub(crate) fn view(tree: &Tree) -> View {
    let mut first_names: BTreeMap<InodeId, String> = BTreeMap::new();
    let mut walked = tree.walk();
    walked.sort();
    walked
        .into_iter()
        .map(|(path, id)| {
            let path = String::from_utf8_lossy(&path).into_owned();
            let first = first_names.entry(id).or_insert_with(|| path.clone()).clone();
            let inode = tree.inode(id);
            let node = match &inode.node {
                Node::Directory(_) => Node::Directory(BTreeMap::new()),
                other => other.clone(),
            };
            (path, (inode.metadata.clone(), node, first))
        })
        .collect()
}

/// What a generated file is.
#[derive(Debug, Clone)]
pub(crate) enum Kind {
    Directory,
    Regular(usize, u8),
    Symlink(String),
    Character(u32, u32),
    Block(u32, u32),
    Fifo,
    /// A hard link to one of the files before.
    Link(prop::sample::Index),
}

/// A file of a generated tree, in one of the directories before it.
#[derive(Debug, Clone)]
pub(crate) struct File {
    directory: prop::sample::Index,
    name: String,
    metadata: Metadata,
    kind: Kind,
}

pub(crate) fn files(count: usize) -> impl Strategy<Value = Vec<File>> {
    prop::collection::vec(file(), 0..count)
}

fn file() -> impl Strategy<Value = File> {
    let name = prop_oneof![
        8 => "[a-e]",
        2 => "[a-c-][a-c.-]{1,4}",
        1 => "[a-zé]{90,127}",
    ];
    (any::<prop::sample::Index>(), name, metadata(), kind()).prop_map(|(directory, name, metadata, kind)| {
        File {
            directory,
            name,
            metadata,
            kind,
        }
    })
}

fn metadata() -> impl Strategy<Value = Metadata> {
    let id = prop_oneof![3 => 0..2000u32, 1 => any::<u32>()];
    let seconds = prop_oneof![3 => 0..2_000_000_000i64, 1 => -3_000_000_000..20_000_000_000i64];
    let nanoseconds = prop_oneof![3 => Just(0u32), 1 => 0..1_000_000_000u32];
    let xattrs = prop::collection::vec(
        ("user\\.[a-z]{1,5}", prop::collection::vec(any::<u8>(), 0..50)),
        0..3,
    );
    (0..0o10000u16, id.clone(), id, seconds, nanoseconds, xattrs).prop_map(
        |(mode, uid, gid, seconds, nanoseconds, xattrs)| Metadata {
            mode,
            uid,
            gid,
            mtime: Timestamp { seconds, nanoseconds },
            xattrs: xattrs
                .into_iter()
                .map(|(name, value)| (name.into_bytes(), value))
                .collect::<Xattrs>(),
        },
    )
}

fn kind() -> impl Strategy<Value = Kind> {
    let size =
        prop_oneof![4 => 0..200usize, 1 => 4000..20_000usize, 1 => (1usize << 20) - 1..(1 << 20) + 600];
    let number = prop_oneof![0..300u32, 0..(1u32 << 20)];
    prop_oneof![
        4 => Just(Kind::Directory),
        6 => (size, any::<u8>()).prop_map(|(size, seed)| Kind::Regular(size, seed)),
        2 => "[a-z./]{1,200}".prop_map(Kind::Symlink),
        1 => (1..300u32, number.clone()).prop_map(|(major, minor)| Kind::Character(major, minor)),
        1 => (1..300u32, number).prop_map(|(major, minor)| Kind::Block(major, minor)),
        1 => Just(Kind::Fifo),
        3 => any::<prop::sample::Index>().prop_map(Kind::Link),
    ]
}

/// The tree of generated files, on top of another one.
pub(crate) fn grow(base: &Tree, files: &[File], store: &Store) -> Tree {
    let mut tree = base.clone();
    for file in files {
        let reachable: Vec<InodeId> = tree.walk().into_iter().map(|(_, id)| id).collect();
        let (directories, others): (Vec<_>, Vec<_>) = reachable
            .into_iter()
            .partition(|id| matches!(tree.inode(*id).node, Node::Directory(_)));
        let directory = *file.directory.get(&directories);
        let node = match &file.kind {
            Kind::Link(target) => {
                if !others.is_empty() {
                    tree.link(directory, file.name.as_bytes(), *target.get(&others));
                }
                continue;
            }
            Kind::Directory => Node::Directory(BTreeMap::new()),
            Kind::Regular(size, seed) => Node::Regular(store.put_bytes(&vec![*seed; *size]).unwrap()),
            Kind::Symlink(target) => Node::Symlink(target.as_bytes().into()),
            Kind::Character(major, minor) => Node::CharacterDevice(Device {
                major: *major,
                minor: *minor,
            }),
            Kind::Block(major, minor) => Node::BlockDevice(Device {
                major: *major,
                minor: *minor,
            }),
            Kind::Fifo => Node::Fifo,
        };
        let metadata = file.metadata.clone();
        let inode = tree.add(Inode { metadata, node });
        tree.link(directory, file.name.as_bytes(), inode);
    }
    tree
}

/// The tree of generated files, some of them removed again.
pub(crate) fn prune(base: &Tree, removed: &[prop::sample::Index]) -> Tree {
    let mut tree = base.clone();
    for index in removed {
        let paths: Vec<_> = tree.walk().into_iter().map(|(path, _)| path).skip(1).collect();
        if paths.is_empty() {
            break;
        }
        let path = index.get(&paths);
        let slash = path.iter().rposition(|byte| *byte == b'/');
        let (parent, name) = path.split_at(slash.map_or(0, |slash| slash + 1));
        let directory = tree.lookup(parent).unwrap();
        tree.unlink(directory, name);
    }
    tree
}

pub(crate) fn grown(files: &[File], store: &Store) -> Tree {
    grow(&empty_tree(), files, store)
}
