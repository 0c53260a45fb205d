//! Fixed trees and the digests of their images, as composefs-rs 0.9.4 makes them. `testing/composefs-oracle` compares
//! the same trees with the crate itself.

use std::collections::BTreeMap;

use crate::tree::{Content, Device, Inode, InodeId, Metadata, Node, Timestamp, Tree, Xattrs};
use crate::verity::Digest;

/// A tree, and the digest of its image.
pub(crate) struct Golden {
    /// What is special about the tree.
    pub(crate) name: &'static str,
    /// The tree.
    pub(crate) tree: Tree<Content>,
    /// The digest in hexadecimal digits.
    pub(crate) digest: &'static str,
}

/// All of them.
pub(crate) fn goldens() -> Vec<Golden> {
    let golden = |name, tree, digest| Golden { name, tree, digest };
    vec![
        golden(
            "empty",
            Tree::new(Metadata::default()),
            "4cdb15031209e6421f37a3e0e6393a4617fb8dc45864be0bf67f56ff01f5f6c42814b5afb1d7a2f3f14384066036bba36e54c3dd94f842328e2b4e1782c469a4",
        ),
        golden(
            "every kind of inode, hard links across directories",
            kinds(),
            "c301a6a38bd5fb535e0d05e3e829fe24511fa87ffb779fb4e66240f9f9551dbb957bdece54f224e13bb83923a111a601eb46d6deb9d165fa7c87c9595f9fd032",
        ),
        golden(
            "object sizes up to 8 TiB",
            objects(),
            "967dcc27993a57bf454c17f39c11674b718299b2158945d6cd39146c0ae429fa1ef13e8a09eaab4221c2ccace2ad8e29d64736c2b86fc2210b124133d9654132",
        ),
        golden(
            "directories of every length around a block",
            directories(),
            "54897b2e835d9aa386c97e236ecd81adb289f542b2f329ca7a8fbebf9da45749a89b17598ceef64753ac28aa8f35054218e35f272eadefc3d38508cd70156a90",
        ),
        golden(
            "link targets of every length around a block",
            targets(),
            "e180b10ebbbd92c70ba5d6e5744ae32d3793b1e75af977c9595d8419131f7b1af8d4a91792e46ac5249e270d912869f8a96d8d6ba471df3a0ce2c36297296ab6",
        ),
        golden(
            "attributes: every prefix, shared, escaped, access control lists",
            attributes(),
            "1c6a21ce12c99a1164b744110afbe2e72db63adb0255c83d0334318d44b794e9fb703948fed62a6ba0e4378444764489d492cec7111b86ef377b2e1fdfb06c08",
        ),
        golden(
            "owners and times that need extended inodes",
            owners(),
            "47178b5bb974dc7e7a129c61eefcd032828544ee62a8409a831bc0a2b67a85f943a34fe19a80168321c1f7aee3f6dc2c8a54f95afabd06a0bdfa42c8139b1dc5",
        ),
        golden(
            "whiteouts, also in the place of the root's own",
            whiteouts(),
            "9bebd955a8635d5f3c3190a92e891bef04a436a3b61dbe2ea5bcbb405a7f5a9cc7ec1714148224c085e2e4374a63fb706fc7f016822cbcf52e2c66f3c226be94",
        ),
    ]
}

fn metadata(mode: u16, seconds: i64) -> Metadata {
    Metadata {
        mode,
        mtime: Timestamp {
            seconds,
            nanoseconds: 0,
        },
        ..Metadata::default()
    }
}

fn start() -> Tree<Content> {
    Tree::new(metadata(0o755, 1_700_000_000))
}

fn add(tree: &mut Tree<Content>, directory: InodeId, name: &str, node: Node<Content>) -> InodeId {
    let mode = if matches!(node, Node::Directory(_)) {
        0o755
    } else {
        0o644
    };
    let id = tree.add(Inode {
        metadata: metadata(mode, 1_700_000_000),
        node,
    });
    tree.link(directory, name.as_bytes(), id);
    id
}

fn add_directory(tree: &mut Tree<Content>, directory: InodeId, name: &str) -> InodeId {
    add(tree, directory, name, Node::Directory(BTreeMap::new()))
}

fn inline(bytes: &[u8]) -> Node<Content> {
    Node::Regular(Content::Inline(bytes.into()))
}

fn object(size_bytes: u64) -> Node<Content> {
    Node::Regular(Content::Object {
        digest: Digest::of(&size_bytes.to_le_bytes()),
        size_bytes,
    })
}

fn xattrs(pairs: &[(&str, &[u8])]) -> Xattrs {
    let pairs = pairs.iter();
    pairs.map(|(name, value)| (name.as_bytes(), *value)).collect()
}

fn kinds() -> Tree<Content> {
    let mut tree = start();
    let root = tree.root();
    let early = add_directory(&mut tree, root, "early");
    let deep = add_directory(&mut tree, early, "deep");
    let late = add_directory(&mut tree, root, "late");
    for length in [0, 1, 63, 64] {
        add(
            &mut tree,
            deep,
            &format!("inline-{length}"),
            inline(&[b'x'; 64][..length]),
        );
    }
    let shared = add(&mut tree, deep, "object", object(100_000));
    // Depth first the object is at home in early/deep, breadth first it comes up here.
    tree.link(root, b"again", shared);
    tree.link(late, b"once-more", shared);
    let device = Device { major: 8, minor: 300 };
    add(&mut tree, late, "block", Node::BlockDevice(device));
    add(
        &mut tree,
        late,
        "character",
        Node::CharacterDevice(Device {
            major: 4095,
            minor: 0xf_ffff,
        }),
    );
    add(&mut tree, late, "fifo", Node::Fifo);
    add(&mut tree, late, "socket", Node::Socket);
    let link = add(
        &mut tree,
        late,
        "link",
        Node::Symlink((&b"../early/deep/object"[..]).into()),
    );
    tree.link(deep, b"link", link);
    // Sorts before `.`.
    add(&mut tree, late, "!", inline(b"!"));
    tree
}

fn objects() -> Tree<Content> {
    let mut tree = start();
    let root = tree.root();
    for bits in 7..=43 {
        for below in 0..2 {
            let size_bytes = (1_u64 << bits) - below;
            add(
                &mut tree,
                root,
                &format!("object-{bits}-{below}"),
                object(size_bytes),
            );
            // The same contents again: the attributes become shared.
            add(
                &mut tree,
                root,
                &format!("twin-{bits}-{below}"),
                object(size_bytes),
            );
        }
    }
    tree
}

fn directories() -> Tree<Content> {
    let mut tree = start();
    let root = tree.root();
    for count in [1, 18, 19, 20, 37, 38, 39, 40, 58, 76, 300] {
        let directory = add_directory(&mut tree, root, &format!("directory-{count}"));
        for number in 0..count {
            let name = format!("{number:0100}");
            let child = add(&mut tree, directory, &name[number % 7..], inline(b""));
            tree.inode_mut(child).metadata.mode = 0o4755;
        }
    }
    tree
}

fn targets() -> Tree<Content> {
    let mut tree = start();
    let root = tree.root();
    for length in (1..200).step_by(13).chain(3990..=4095) {
        let target = vec![b't'; length].into_boxed_slice();
        add(&mut tree, root, &format!("link-{length}"), Node::Symlink(target));
    }
    tree
}

fn attributes() -> Tree<Content> {
    let mut tree = start();
    let root = tree.root();
    tree.inode_mut(root).metadata.xattrs = xattrs(&[
        ("security.selinux", b"system_u:object_r:root_t:s0\0"),
        ("trusted.overlay.opaque", b"y"),
        ("user.root", b"1"),
    ]);
    let long = vec![b'v'; 5000];
    let sets: [&[(&str, &[u8])]; 6] = [
        &[("security.capability", b"\x01\0\0\x02"), ("user.a", b"")],
        &[
            ("system.posix_acl_access", b"\x02\0\0\0"),
            ("system.posix_acl_default", b"\x02\0\0\0"),
        ],
        &[
            ("trusted.overlay.redirect", b"/x"),
            ("trusted.b", b"b"),
            ("user.a", b""),
        ],
        &[
            ("lustre.lov", b"l"),
            ("btrfs.compression", b"zstd"),
            ("user.", b"empty suffix"),
        ],
        &[("user.long", &long), ("user.a", b"ab"), ("user.b", b"c")],
        &[
            ("user.a", b"z"),
            ("security.selinux", b"system_u:object_r:etc_t:s0\0"),
        ],
    ];
    for (number, set) in sets.iter().enumerate() {
        let directory = add_directory(&mut tree, root, &format!("directory-{number}"));
        tree.inode_mut(directory).metadata.xattrs = xattrs(set);
        let file = add(&mut tree, directory, "object", object(1000 + number as u64));
        tree.inode_mut(file).metadata.xattrs = xattrs(set);
        add(&mut tree, directory, "plain", inline(b"plain"));
    }
    tree
}

fn owners() -> Tree<Content> {
    let mut tree = start();
    let root = tree.root();
    let edits: [fn(&mut Metadata); 8] = [
        |metadata| metadata.uid = 65_535,
        |metadata| metadata.uid = 65_536,
        |metadata| metadata.gid = u32::MAX,
        |metadata| metadata.mode = 0o7777,
        |metadata| metadata.mtime.nanoseconds = 999_999_999,
        |metadata| metadata.mtime.seconds = -1,
        |metadata| metadata.mtime.seconds = i64::MIN,
        |metadata| metadata.mtime.seconds = 1 << 40,
    ];
    for (number, edit) in edits.iter().enumerate() {
        for (kind, node) in [("inline", inline(b"inline")), ("object", object(4096))] {
            let id = add(&mut tree, root, &format!("{kind}-{number}"), node);
            edit(&mut tree.inode_mut(id).metadata);
        }
    }
    tree
}

fn whiteouts() -> Tree<Content> {
    let mut tree = start();
    let root = tree.root();
    let whiteout = Node::CharacterDevice(Device { major: 0, minor: 0 });
    let directory = add_directory(&mut tree, root, "directory");
    add(&mut tree, directory, "gone", whiteout.clone());
    add(&mut tree, directory, "00", whiteout.clone());
    add(&mut tree, root, "7f", whiteout.clone());
    let other = add(&mut tree, root, "80", whiteout);
    tree.inode_mut(other).metadata.uid = 1;
    add(
        &mut tree,
        root,
        "81",
        inline(b"a file in the place of a whiteout"),
    );
    tree
}
