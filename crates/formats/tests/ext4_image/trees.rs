//! Generated trees, with a taste for what is near a limit.

use std::collections::BTreeMap;

use osmith_formats::ext4::File;
use osmith_formats::tree::{Device, Inode, InodeId, Metadata, Node, Timestamp, Tree, Xattrs};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

/// One thing to add to a tree.
#[derive(Debug, Clone)]
enum Addition {
    Node(Node<File>),
    /// Another name of something that is there.
    HardLink(Index),
    /// A directory of that many names of that length, of few inodes.
    ManyNames(usize, usize),
    /// That many directories inside each other, with names of that length.
    Deep(usize, usize),
}

/// A tree of up to that many additions.
pub(crate) fn tree(additions: usize) -> impl Strategy<Value = Tree<File>> {
    let addition = (any::<Index>(), name(), metadata(), addition());
    (metadata(), vec(addition, 0..additions)).prop_map(|(root, additions)| {
        let mut tree = Tree::new(root);
        let mut directories = vec![tree.root()];
        let mut others = Vec::new();
        for (parent, name, metadata, addition) in additions {
            let parent = *parent.get(&directories);
            add(
                &mut tree,
                parent,
                &name,
                metadata,
                addition,
                &mut directories,
                &mut others,
            );
        }
        tree
    })
}

fn add(
    tree: &mut Tree<File>,
    parent: InodeId,
    name: &[u8],
    metadata: Metadata,
    addition: Addition,
    directories: &mut Vec<InodeId>,
    others: &mut Vec<InodeId>,
) {
    let directory = |metadata: &Metadata| Inode {
        metadata: metadata.clone(),
        node: Node::Directory(BTreeMap::new()),
    };
    let id = match addition {
        Addition::HardLink(which) if !others.is_empty() => *which.get(others),
        Addition::HardLink(_) => tree.add(with_allowed_xattrs(metadata, Node::Fifo)),
        Addition::Node(node) => tree.add(with_allowed_xattrs(metadata, node)),
        Addition::ManyNames(count, length) => {
            let many = tree.add(directory(&metadata));
            let target = tree.add(with_allowed_xattrs(metadata, Node::Socket));
            for number in 0..count {
                tree.link(many, format!("{number:0length$}").as_bytes(), target);
            }
            many
        }
        Addition::Deep(depth, length) => {
            let top = tree.add(directory(&metadata));
            let mut inner = top;
            for _ in 0..depth {
                let next = tree.add(directory(&metadata));
                tree.link(inner, &b"d".repeat(length), next);
                inner = next;
            }
            directories.push(inner);
            top
        }
    };
    match tree.inode(id).entries() {
        Some(_) => directories.push(id),
        None => others.push(id),
    }
    tree.link(parent, name, id);
}

/// The kernel shows `user.` attributes and access control lists of files and directories only.
fn with_allowed_xattrs(mut metadata: Metadata, node: Node<File>) -> Inode<File> {
    if !matches!(node, Node::Directory(_) | Node::Regular(_)) {
        metadata.xattrs.retain(|name, _| !name.starts_with(b"user."));
    }
    Inode { metadata, node }
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    let byte = any::<u8>().prop_filter("no byte of a name", |byte| !matches!(byte, 0 | b'/'));
    let length = prop_oneof![3 => 1usize..20, 1 => 250usize..=255];
    length
        .prop_flat_map(move |length| vec(byte.clone(), length))
        .prop_filter("no name", |name| {
            !matches!(&name[..], b"." | b".." | b"lost+found")
        })
}

fn metadata() -> impl Strategy<Value = Metadata> {
    let id = prop_oneof![0..3u32, 65_530..65_540u32, 0..u32::MAX];
    let seconds = prop_oneof![
        -(1i64 << 31)..(1 << 33) + (1 << 31),
        1_600_000_000i64..1_700_000_000
    ];
    (
        0..=0o7777u16,
        id.clone(),
        id,
        (seconds, 0..1_000_000_000u32),
        xattrs(),
    )
        .prop_map(|(mode, uid, gid, (seconds, nanoseconds), xattrs)| Metadata {
            mode,
            uid,
            gid,
            mtime: Timestamp { seconds, nanoseconds },
            xattrs,
        })
}

fn xattrs() -> impl Strategy<Value = Xattrs> {
    let namespace = prop_oneof![Just("user."), Just("trusted."), Just("security.")];
    let name =
        (namespace, "[a-z\u{e9}]{1,40}").prop_map(|(space, name)| format!("{space}{name}").into_bytes());
    let repeated = |lengths| (vec(any::<u8>(), 1..9), lengths).prop_map(repeat);
    let value = prop_oneof![
        8 => vec(any::<u8>(), 0..30),
        8 => vec(any::<u8>(), 0..1150),
        2 => repeated(1000..=65_536usize),
        1 => repeated(65_530..=65_536usize),
    ];
    let pair = (name, value);
    // The entries of 40 attributes fit a block, if hardly anything else does.
    let count = prop_oneof![8 => 0..4usize, 1 => 4..=40usize];
    let pairs = count.prop_flat_map(move |count| vec(pair.clone(), count));
    prop_oneof![3 => Just(Xattrs::new()), 2 => pairs.prop_map(Xattrs::from_iter)]
}

fn repeat((pattern, length): (Vec<u8>, usize)) -> Vec<u8> {
    pattern.into_iter().cycle().take(length).collect()
}

fn addition() -> impl Strategy<Value = Addition> {
    let device = (0..4096u32, 0..1u32 << 20).prop_map(|(major, minor)| Device { major, minor });
    let small = (0..256u32, 0..256u32).prop_map(|(major, minor)| Device { major, minor });
    let node = prop_oneof![
        4 => Just(Node::Directory(BTreeMap::new())),
        8 => file().prop_map(Node::Regular),
        2 => target().prop_map(Node::Symlink),
        1 => device.prop_map(Node::CharacterDevice),
        1 => small.prop_map(Node::BlockDevice),
        1 => Just(Node::Fifo),
        1 => Just(Node::Socket),
    ];
    prop_oneof![
        18 => node.prop_map(Addition::Node),
        3 => any::<Index>().prop_map(Addition::HardLink),
        1 => (0..6000usize, 5..=255usize).prop_map(|(count, length)| Addition::ManyNames(count, length)),
        // A path that a system call takes has less than 4,096 bytes.
        1 => (0..10usize, 1..100usize).prop_map(|(depth, length)| Addition::Deep(depth, length)),
    ]
}

fn target() -> impl Strategy<Value = Box<[u8]>> {
    prop_oneof![2 => 1..100usize, 1 => 58..=61usize, 1 => 4090..=4095usize]
        .prop_map(|length| b"t".repeat(length).into())
}

fn file() -> impl Strategy<Value = File> {
    let near_block =
        (0..70u64, -1..=1i64).prop_map(|(blocks, off)| (blocks * 4096).saturating_add_signed(off));
    let size = prop_oneof![4 => 0..10_000u64, 4 => near_block, 1 => 0..8_000_000u64];
    let dense = (any::<u16>(), size.clone(), any::<bool>()).prop_map(|(source, size_bytes, verity)| File {
        source: source.into(),
        size_bytes,
        holes: Box::default(),
        verity,
    });
    prop_oneof![3 => dense, 1 => sparse(size)]
}

/// A file with holes, some of it sizes of many gigabytes with almost nothing there.
fn sparse(size: impl Strategy<Value = u64>) -> impl Strategy<Value = File> {
    let hole = (0..2_000_000u64, 0..100_000u64).prop_map(|(start, length)| start..start + length);
    let striped = (0..1500u64).prop_map(|count| {
        let holes = (0..count).map(|n| n * 8192..n * 8192 + 4096).collect();
        (count * 8192, holes)
    });
    let holed = (size, vec(hole, 0..10));
    let huge = (1u64 << 32..1 << 42).prop_map(|size| (size, std::iter::once(4096..size - 1).collect()));
    (
        any::<u16>(),
        prop_oneof![3 => holed, 2 => striped, 1 => huge],
        any::<bool>(),
    )
        .prop_map(|(source, (size_bytes, holes), verity)| File {
            source: source.into(),
            size_bytes,
            holes: holes.into(),
            // Measuring terabytes of zeros takes long.
            verity: verity && size_bytes < 1 << 30,
        })
}
