//! Random file trees, biased to where the format has edges.

use std::collections::BTreeMap;

use osmith_formats::tree::{Content, Device, Inode, InodeId, Metadata, Node, Timestamp, Tree, Xattrs};
use osmith_formats::verity::Digest;
use proptest::collection::vec;
use proptest::prelude::*;

/// One name of a random tree.
#[derive(Debug, Clone)]
enum Step {
    /// A new inode in the directory of that number.
    Add(usize, Vec<u8>, Inode<Content>),
    /// A new name in a directory for an inode that is no directory.
    Link(usize, Vec<u8>, usize),
}

/// A tree of up to `names` names.
pub fn tree(names: usize) -> impl Strategy<Value = Tree<Content>> {
    (metadata(), vec(step(), 0..names)).prop_map(|(root, steps)| grow(root, steps))
}

/// A tree with a directory of many names, enough for blocks of entries.
pub fn wide_tree() -> impl Strategy<Value = Tree<Content>> {
    let names = vec((name(), inode()), 50..900);
    (metadata(), metadata(), names).prop_map(|(root, directory, names)| {
        let directory = Step::Add(
            0,
            b"wide".to_vec(),
            Inode {
                metadata: directory,
                node: Node::Directory(BTreeMap::new()),
            },
        );
        let names = names.into_iter().map(|(name, inode)| Step::Add(1, name, inode));
        grow(root, std::iter::once(directory).chain(names))
    })
}

/// A tree a machine could boot from: random, with `/usr`, `/boot`, `/sysroot` and, in half of the cases, `/run`.
pub fn boot_tree() -> impl Strategy<Value = Tree<Content>> {
    let steps = (vec(whole_second_metadata(), 4), any::<bool>(), vec(step(), 0..60));
    steps.prop_map(|(directories, has_run, steps)| {
        let names = [&b"usr"[..], b"boot", b"sysroot", b"run"];
        let names = names.into_iter().take(if has_run { 4 } else { 3 });
        let directories = names.zip(directories).map(|(name, metadata)| {
            let node = Node::Directory(BTreeMap::new());
            Step::Add(0, name.to_vec(), Inode { metadata, node })
        });
        grow(Metadata::default(), directories.chain(steps))
    })
}

/// Carries out the steps; numbers are taken modulo what there is, taken names are left alone.
fn grow(root: Metadata, steps: impl IntoIterator<Item = Step>) -> Tree<Content> {
    let mut tree = Tree::new(root);
    let mut directories: Vec<InodeId> = vec![tree.root()];
    let mut leaves: Vec<InodeId> = Vec::new();
    for step in steps {
        let (parent, name) = match &step {
            Step::Add(parent, name, _) | Step::Link(parent, name, _) => (parent, name.clone()),
        };
        let parent = directories[parent % directories.len()];
        if tree.child(parent, &name).is_some() {
            continue;
        }
        let id = match step {
            Step::Add(_, _, inode) => {
                let known = match inode.node {
                    Node::Directory(_) => &mut directories,
                    _ => &mut leaves,
                };
                let id = tree.add(inode);
                known.push(id);
                id
            }
            Step::Link(_, _, leaf) if !leaves.is_empty() => {
                let id = leaves[leaf % leaves.len()];
                if is_whiteout(&tree.inode(id).node) {
                    continue;
                }
                id
            }
            Step::Link(..) => continue,
        };
        tree.link(parent, &name, id);
    }
    tree
}

fn is_whiteout(node: &Node<Content>) -> bool {
    matches!(node, Node::CharacterDevice(Device { major: 0, minor: 0 }))
}

fn step() -> impl Strategy<Value = Step> {
    let near = prop_oneof![Just(0_usize), 0..8_usize, any::<usize>()];
    prop_oneof![
        5 => (near.clone(), name(), inode()).prop_map(|(parent, name, inode)| Step::Add(parent, name, inode)),
        1 => (near, name(), any::<usize>()).prop_map(|(parent, name, leaf)| Step::Link(parent, name, leaf)),
    ]
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    let any_byte = any::<u8>().prop_map(|byte| if matches!(byte, 0 | b'/') { b'!' } else { byte });
    prop_oneof![
        6 => "[a-z+_-]{1,16}".prop_map(String::into_bytes),
        1 => "[0-9a-f]{2}".prop_map(String::into_bytes),
        1 => vec(any_byte, 1..30),
        1 => (100..=255_usize, b'a'..=b'z').prop_map(|(length, byte)| vec![byte; length]),
    ]
    .prop_filter("reserved", |name| name != b"." && name != b"..")
}

fn inode() -> impl Strategy<Value = Inode<Content>> {
    (metadata(), node()).prop_map(|(metadata, node)| Inode { metadata, node })
}

fn node() -> impl Strategy<Value = Node<Content>> {
    let device = (
        prop_oneof![Just(0), 0..4096_u32],
        prop_oneof![Just(0), 0..300_u32, 0..1_u32 << 20],
    )
        .prop_map(|(major, minor)| Device { major, minor });
    let target = prop_oneof![1..100_usize, 1..=4095_usize, 3900..=4095_usize];
    let target = target.prop_map(|length| vec![b't'; length].into_boxed_slice());
    prop_oneof![
        4 => Just(Node::Directory(BTreeMap::new())),
        3 => vec(any::<u8>(), 0..=64).prop_map(|bytes| Node::Regular(Content::Inline(bytes.into()))),
        4 => object().prop_map(Node::Regular),
        2 => target.prop_map(Node::Symlink),
        1 => device.clone().prop_map(Node::CharacterDevice),
        1 => device.prop_map(Node::BlockDevice),
        1 => Just(Node::Fifo),
        1 => Just(Node::Socket),
    ]
}

fn object() -> impl Strategy<Value = Content> {
    let edge = (6..=42_u32, 0..3_u64).prop_map(|(bits, above)| (1 << bits) - 1 + above);
    let size_bytes = prop_oneof![edge, 65..1_000_000_u64, Just(1 << 43), 1..1_u64 << 43];
    (size_bytes, 0..200_u8).prop_map(|(size_bytes, seed)| Content::Object {
        digest: Digest::of(&[seed]),
        size_bytes,
    })
}

fn metadata() -> impl Strategy<Value = Metadata> {
    let seconds = prop_oneof![4 => Just(7), 1 => Just(8), 1 => -3..3_i64, 1 => any::<i64>()];
    let nanoseconds = prop_oneof![4 => Just(0), 1 => Just(1), 1 => 0..1_000_000_000_u32];
    metadata_at((seconds, nanoseconds))
}

fn whole_second_metadata() -> impl Strategy<Value = Metadata> {
    metadata_at((0..100_i64, Just(0)))
}

fn metadata_at(time: impl Strategy<Value = (i64, u32)>) -> impl Strategy<Value = Metadata> {
    let id = prop_oneof![4 => Just(0), 1 => 65_530..65_540_u32, 1 => any::<u32>()];
    (0..=0o7777_u16, id.clone(), id, time, xattrs()).prop_map(|(mode, uid, gid, time, xattrs)| Metadata {
        mode,
        uid,
        gid,
        mtime: Timestamp {
            seconds: time.0,
            nanoseconds: time.1,
        },
        xattrs,
    })
}

fn xattrs() -> impl Strategy<Value = Xattrs> {
    let known = [
        "user.",
        "user.a",
        "user.overlay.opaque",
        "user.overlay.whiteout",
        "trusted.a",
        "trusted.overlay.opaque",
        "trusted.overlay.metacopy",
        "trusted.overlay.overlay.whiteout",
        "security.selinux",
        "security.capability",
        "system.posix_acl_access",
        "system.posix_acl_default",
        "system.posix_acl_accessory",
        "lustre.lov",
        "btrfs.compression",
    ];
    let name = prop_oneof![
        8 => proptest::sample::select(known.to_vec()).prop_map(str::to_owned),
        1 => "user\\.[a-z]{1,20}",
        1 => "(user|trusted|security)\\.[a-z]{240,255}",
    ];
    let value = prop_oneof![
        3 => Just(Vec::new()),
        3 => Just(b"x".to_vec()),
        3 => vec(any::<u8>(), 0..3),
        1 => vec(any::<u8>(), 0..200),
        1 => (3800..4200_usize).prop_map(|length| vec![b'v'; length]),
        1 => Just(vec![b'w'; 65_535]),
    ];
    let pair = (name.prop_map(String::into_bytes), value);
    prop_oneof![
        3 => Just(Xattrs::new()),
        2 => vec(pair, 0..4).prop_map(|pairs| pairs.into_iter().collect()),
        1 => vec(("user\\.[a-c]{1,3}".prop_map(String::into_bytes), Just(&b"shared"[..])), 0..30)
            .prop_map(Xattrs::from_iter),
    ]
}
