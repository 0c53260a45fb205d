//! ext4 file systems of chosen trees, judged by `e2fsck`.

mod ext4_image;

use std::collections::BTreeMap;

use ext4_image::{check_image, empty_tree, inode, options, regular, write_image};
use osmith_formats::tree::{Device, Node};

const MIB: u64 = 1 << 20;

#[test]
fn an_empty_file_system_is_clean() {
    let image = write_image(&empty_tree(), &options(64 * MIB));
    check_image(image.path());
}

#[test]
fn every_kind_of_node_is_clean() {
    let mut tree = empty_tree();
    let root = tree.root();
    let usr = tree.add(inode(Node::Directory(BTreeMap::new())));
    tree.link(root, b"usr", usr);
    let nodes = [
        (&b"empty"[..], regular(1, 0, false)),
        (b"small", regular(2, 5000, false)),
        (b"verity-empty", regular(3, 0, true)),
        (b"verity-small", regular(4, 5000, true)),
        (b"verity", regular(5, MIB + 1, true)),
        (b"fast-link", inode(Node::Symlink(b"a".repeat(59).into()))),
        (b"slow-link", inode(Node::Symlink(b"a".repeat(60).into()))),
        (
            b"null",
            inode(Node::CharacterDevice(Device { major: 1, minor: 3 })),
        ),
        (
            b"nvme",
            inode(Node::BlockDevice(Device {
                major: 259,
                minor: 70_000,
            })),
        ),
        (b"fifo", inode(Node::Fifo)),
        (b"socket", inode(Node::Socket)),
    ];
    for (name, node) in nodes {
        let id = tree.add(node);
        tree.link(usr, name, id);
        tree.link(usr, &[name, b"-again"].concat(), id);
    }
    check_image(write_image(&tree, &options(64 * MIB)).path());
}
