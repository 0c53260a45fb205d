//! ext4 file systems of chosen trees, judged by `e2fsck`: every kind of node, and each limit of the format from both
//! sides.

mod ext4_image;

use std::os::unix::fs::FileExt;
use std::path::Path;

use ext4_image::{
    MIB, acl, check_image, child, directory, empty_tree, inode, numbered, options, regular, write_image,
};
use osmith_formats::ext4::{BLOCK_BYTES, Error, File, NodeReason, minimum_size_bytes, plan};
use osmith_formats::tree::{Device, Inode, Node, Timestamp, Tree};

#[test]
fn an_empty_file_system_is_clean() {
    let image = write_image(&empty_tree(), &options(64 * MIB));
    check_image(image.path());
}

fn every_kind() -> Tree<File> {
    let mut tree = empty_tree();
    let usr = child(&mut tree, directory(), b"usr");
    let nodes = [
        (&b"empty"[..], regular(1, 0, false)),
        (b"small", regular(2, 5000, false)),
        (b"verity-empty", regular(3, 0, true)),
        (b"verity-small", regular(4, 5000, true)),
        (b"verity", regular(5, MIB + 1, true)),
        (b"fast-link", inode(Node::Symlink(b"a".repeat(59).into()))),
        (b"slow-link", inode(Node::Symlink(b"a".repeat(60).into()))),
        (b"longest-link", inode(Node::Symlink(b"a".repeat(4095).into()))),
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
    tree
}

#[test]
fn every_kind_of_node_is_clean() {
    check_image(write_image(&every_kind(), &options(64 * MIB)).path());
}

#[test]
fn the_same_tree_gives_the_same_bytes() {
    let pieces = || -> Vec<_> {
        let tree = every_kind();
        let layout = plan(&tree, &options(64 * MIB)).unwrap();
        layout.pieces().collect()
    };
    assert!(pieces() == pieces());
}

#[test]
fn an_own_lost_and_found_is_kept() {
    let mut tree = empty_tree();
    let own = child(&mut tree, directory(), b"lost+found");
    let inside = tree.add(directory());
    tree.link(own, b"#12", inside);
    check_image(write_image(&tree, &options(16 * MIB)).path());
}

/// Sizes of whole groups, and so many blocks beyond.
fn check_sizes(groups: &[u64], beyond: &[u64]) {
    let tree = every_kind();
    for whole in groups {
        for rest in beyond {
            let size_bytes = whole * 128 * MIB + rest * BLOCK_BYTES;
            check_image(write_image(&tree, &options(size_bytes)).path());
        }
    }
}

#[test]
fn sizes_around_group_boundaries_are_clean() {
    for size_bytes in [2 * MIB, 8 * MIB, 16 * MIB + 4095] {
        check_image(write_image(&every_kind(), &options(size_bytes)).path());
    }
    check_sizes(&[1, 17], &[0, 1, 2300, 32767]);
    check_sizes(&[2, 64], &[2100]);
}

#[test]
#[ignore = "long"]
fn every_size_is_clean() {
    let groups = [1, 2, 3, 15, 16, 17, 26, 48, 49, 64, 65, 160];
    check_sizes(&groups, &[0, 1, 40, 300, 1000, 2300, 2400, 5000, 32767]);
}

#[test]
fn the_smallest_size_is_enough_and_hardly_more() {
    for (files, size_bytes) in [
        (0, 0),
        (10, 100),
        (5000, 10),
        (300, MIB),
        (2, 700 * MIB),
        (30_000, 0),
    ] {
        let tree = numbered(files, |number| regular(number, size_bytes, number % 2 == 0));
        for free_bytes in [0, 50 * MIB] {
            let minimum = minimum_size_bytes(&tree, &options(0), free_bytes).unwrap();
            let layout = plan(&tree, &options(minimum)).unwrap();
            assert!(layout.free_bytes() >= free_bytes);
            assert!(
                layout.free_bytes() <= free_bytes + 3 * MIB,
                "{files} of {size_bytes} bytes: {} free",
                layout.free_bytes()
            );
        }
    }
}

#[test]
fn a_full_file_system_is_clean() {
    let tree = numbered(20, |number| regular(number, 700_000, number % 3 == 0));
    let size_bytes = minimum_size_bytes(&tree, &options(0), 0).unwrap();
    check_image(write_image(&tree, &options(size_bytes)).path());
    let error = plan(&tree, &options(size_bytes / 2)).unwrap_err();
    assert_eq!(
        error,
        Error::TooSmall {
            size_bytes: size_bytes / 2,
            needed_bytes: size_bytes
        }
    );
}

#[test]
fn more_inodes_than_usual_are_made_where_needed() {
    let tree = numbered(40_000, |number| regular(number, 1, false));
    let size_bytes = minimum_size_bytes(&tree, &options(0), 0).unwrap();
    check_image(write_image(&tree, &options(size_bytes)).path());
    // More than 32768 inodes need a second group, however little they hold.
    let tree = numbered(40_000, |_| inode(Node::Fifo));
    let size_bytes = minimum_size_bytes(&tree, &options(0), 0).unwrap();
    check_image(write_image(&tree, &options(size_bytes)).path());
}

#[test]
fn journals_of_any_size_are_clean() {
    for (journal_bytes, size_bytes) in [(0, 16 * MIB), (4 * MIB, 16 * MIB), (1100 * MIB, 4096 * MIB)] {
        let mut options = options(size_bytes);
        options.journal_bytes = Some(journal_bytes);
        check_image(write_image(&every_kind(), &options).path());
    }
}

#[test]
fn directories_of_any_size_are_clean() {
    for (entries, length) in [(250, 8), (260, 8), (17_000, 255), (100_000, 6), (20_000, 20)] {
        let mut tree = empty_tree();
        let large = child(&mut tree, directory(), b"large");
        let file = tree.add(inode(Node::Fifo));
        for number in 0..entries {
            if number % 30_000 == 0 {
                let file = tree.add(inode(Node::Fifo));
                tree.link(tree.root(), format!("file-{number}").as_bytes(), file);
            }
            let name = format!("{number:0length$}");
            match number % 64_000 {
                0 => drop(tree.link(large, name.as_bytes(), file)),
                _ => {
                    let own = tree.add(inode(Node::Fifo));
                    tree.link(large, name.as_bytes(), own);
                }
            }
        }
        check_image(write_image(&tree, &options(1024 * MIB)).path());
    }
}

#[test]
#[ignore = "long"]
fn colliding_hashes_are_clean() {
    // With 300,000 names, about 20 pairs share a hash of 31 bits; small leaves put some on a boundary.
    let mut tree = empty_tree();
    let large = child(&mut tree, directory(), b"large");
    let mut file = tree.add(inode(Node::Fifo));
    for number in 0..300_000 {
        if number % 60_000 == 59_999 {
            file = tree.add(inode(Node::Fifo));
        }
        tree.link(large, format!("{number}{}", "x".repeat(200)).as_bytes(), file);
    }
    check_image(write_image(&tree, &options(512 * MIB)).path());
}

#[test]
#[ignore = "long"]
fn subdirectories_beyond_the_link_count_are_clean() {
    for count in [64_997, 64_998, 64_999, 70_000] {
        let mut tree = empty_tree();
        let many = child(&mut tree, directory(), b"many");
        for number in 0..count {
            let id = tree.add(directory());
            tree.link(many, format!("{number}").as_bytes(), id);
        }
        check_image(write_image(&tree, &options(2048 * MIB)).path());
    }
}

#[test]
fn hard_links_up_to_the_limit_are_clean() {
    let mut tree = empty_tree();
    let many = child(&mut tree, directory(), b"many");
    let file = tree.add(regular(1, 10, true));
    for number in 0..65_000 {
        tree.link(many, format!("{number}").as_bytes(), file);
    }
    check_image(write_image(&tree, &options(64 * MIB)).path());
    tree.link(many, b"one more", file);
    let error = plan(&tree, &options(64 * MIB)).unwrap_err();
    assert_eq!(error, refused("many/0", NodeReason::Links));
}

#[test]
fn files_of_many_gigabytes_and_many_extents_are_clean() {
    let whole = |size_bytes, source| regular(source, size_bytes, false);
    let size_bytes = 9 << 40;
    // One block in three is there: 2,000 extents need a tree of two levels.
    let thirds = (0..2000).map(|n| n * 3 * BLOCK_BYTES..(n * 3 + 2) * BLOCK_BYTES);
    let sparse = File {
        source: 7,
        size_bytes,
        holes: thirds
            .chain(std::iter::once(2000 * 3 * BLOCK_BYTES..size_bytes - 1))
            .collect(),
        verity: false,
    };
    let mut tree = empty_tree();
    child(&mut tree, inode(Node::Regular(sparse)), b"sparse");
    child(&mut tree, whole(300 * MIB, 1), b"large");
    for number in 0..40u32 {
        child(
            &mut tree,
            whole(u64::from(number) * 1000, number),
            format!("small-{number}").as_bytes(),
        );
    }
    check_image(write_image(&tree, &options(1024 * MIB)).path());
}

#[test]
fn attributes_in_inodes_and_blocks_are_clean() {
    let mut tree = numbered(3000, |number| {
        let mut file = regular(number, 10, false);
        let mut set = |name: &[u8], value: &[u8]| file.metadata.xattrs.insert(name.into(), value.into());
        set(b"security.selinux", b"system_u:object_r:usr_t:s0\0");
        set(b"user.empty", b"");
        if number % 2 == 0 {
            set(b"user.large", &[7; 1000]);
        }
        if number % 100 == 0 {
            set(b"trusted.number", format!("{number}").repeat(300).as_bytes());
        }
        file
    });
    let root = tree.root();
    tree.inode_mut(root).metadata.xattrs.insert(
        b"system.posix_acl_default"[..].into(),
        acl(&[
            (1, 7, u32::MAX),
            (2, 5, 70_000),
            (4, 5, u32::MAX),
            (16, 7, u32::MAX),
            (32, 0, u32::MAX),
        ])
        .into(),
    );
    check_image(write_image(&tree, &options(64 * MIB)).path());
}

fn refused(path: &str, reason: NodeReason) -> Error {
    Error::Node {
        path: path.to_owned(),
        reason,
    }
}

#[test]
fn what_the_format_cannot_hold_is_refused() {
    let device = |major, minor| inode(Node::BlockDevice(Device { major, minor }));
    let with_xattr = |name: &[u8], value: &[u8]| {
        let mut file = regular(0, 0, false);
        file.metadata.xattrs.insert(name.into(), value.into());
        file
    };
    let mut late = regular(0, 0, false);
    late.metadata.mtime = Timestamp {
        seconds: 5 << 31,
        nanoseconds: 0,
    };
    let name = |name: &str| NodeReason::XattrName(name.to_owned());
    let acl_name = "system.posix_acl_access";
    for (node, reason) in [
        (
            inode(Node::Symlink(b"a".repeat(4096).into())),
            NodeReason::SymlinkLength(4096),
        ),
        (inode(Node::Symlink(b""[..].into())), NodeReason::SymlinkTarget),
        (device(4096, 0), NodeReason::Device(4096, 0)),
        (device(0, 1 << 20), NodeReason::Device(0, 1 << 20)),
        (late, NodeReason::Time(5 << 31)),
        (regular(0, 1 << 44, false), NodeReason::FileSize(1 << 44)),
        (
            with_xattr(b"btrfs.compression", b"zstd"),
            name("btrfs.compression"),
        ),
        (with_xattr(b"user.", b"1"), name("user.")),
        (
            with_xattr(acl_name.as_bytes(), b"1"),
            NodeReason::Acl(acl_name.to_owned()),
        ),
    ] {
        let mut tree = empty_tree();
        child(&mut tree, node, b"odd");
        assert_eq!(
            plan(&tree, &options(64 * MIB)).unwrap_err(),
            refused("odd", reason)
        );
    }
}

fn with_xattrs(mut inode: Inode<File>, xattrs: &[(&[u8], &[u8])]) -> Inode<File> {
    inode.metadata.xattrs = xattrs.iter().copied().collect();
    inode
}

/// Whether the superblock says that there are inodes for attribute values (`ea_inode`).
fn has_value_inodes(image: &Path) -> bool {
    let mut features = [0; 4];
    let image = std::fs::File::open(image).unwrap();
    image.read_exact_at(&mut features, 1024 + 0x60).unwrap();
    u32::from_le_bytes(features) & 0x400 != 0
}

#[test]
fn values_too_large_for_a_block_have_inodes() {
    let tree_with = |value_bytes: usize| {
        let mut tree = empty_tree();
        let label = &b"system_u:object_r:usr_t:s0\0"[..];
        let xattrs = [
            (&b"security.selinux"[..], label),
            (b"user.large", &vec![5; value_bytes]),
        ];
        child(&mut tree, with_xattrs(regular(0, 0, false), &xattrs), b"labelled");
        tree
    };
    // 4096 less the header (32), the entry (16 + 5, padded to 24) and the end (4).
    for (value_bytes, inodes) in [(4036, false), (4037, true), (65_535, true), (65_536, true)] {
        let image = write_image(&tree_with(value_bytes), &options(16 * MIB));
        check_image(image.path());
        assert_eq!(has_value_inodes(image.path()), inodes, "{value_bytes}");
    }
    let reason = NodeReason::XattrSize {
        name: "user.large".to_owned(),
        value_bytes: 65_537,
        limit: "the longest value has 65536 bytes",
    };
    let error = plan(&tree_with(65_537), &options(16 * MIB)).unwrap_err();
    assert_eq!(error, refused("labelled", reason));
}

#[test]
fn inodes_of_values_fit_the_smallest_file_system() {
    let value = |number: u32| {
        format!("{number:08}")
            .repeat(1 + number as usize * 40)
            .into_bytes()
    };
    let tree = numbered(200, |number| {
        let node = match number % 3 {
            0 => regular(number, 5000, true),
            1 => inode(Node::Symlink(b"t".repeat(number as usize + 1).into())),
            _ => directory(),
        };
        let (own, shared) = (value(number), value(number / 20 * 20));
        with_xattrs(node, &[(b"trusted.own", &own), (b"trusted.shared", &shared)])
    });
    let size_bytes = minimum_size_bytes(&tree, &options(0), 0).unwrap();
    check_image(write_image(&tree, &options(size_bytes)).path());
    assert!(plan(&tree, &options(size_bytes)).unwrap().free_bytes() < 3 * MIB);
}

#[test]
fn inodes_of_values_count_the_blocks_that_name_them() {
    // A block of attributes serves 1,024 inodes; the value is in three sets.
    let large = [7; 65_536];
    let tree = numbered(2500, |number| {
        let other = [number.min(2) as u8; 100];
        with_xattrs(
            regular(number, 0, false),
            &[(b"user.large", &large), (b"user.other", &other)],
        )
    });
    check_image(write_image(&tree, &options(64 * MIB)).path());
}

#[test]
fn names_of_attributes_that_fit_no_block_are_refused() {
    let tree_with = |count: usize| {
        let mut file = regular(0, 0, false);
        for number in 0..count {
            let name = format!("user.{number:020}").into_bytes();
            file.metadata.xattrs.insert(name.into(), [1; 500].into());
        }
        let mut tree = empty_tree();
        child(&mut tree, file, b"labelled");
        tree
    };
    // 4096 less the header (32) and the end (4), by entries of 16 + 20 bytes.
    check_image(write_image(&tree_with(112), &options(16 * MIB)).path());
    let reason = NodeReason::XattrSize {
        name: "user.00000000000000000112".to_owned(),
        value_bytes: 500,
        limit: "the names of the attributes that are not in the inode must fit one block of 4096 bytes",
    };
    let error = plan(&tree_with(113), &options(16 * MIB)).unwrap_err();
    assert_eq!(error, refused("labelled", reason));
}

#[test]
fn names_that_no_entry_can_have_are_refused() {
    for (name, reason) in [
        (&b"a".repeat(256)[..], NodeReason::NameLength(256)),
        (b"", NodeReason::Name),
        (b"..", NodeReason::Name),
        (b"a/b", NodeReason::Name),
        (b"a\0b", NodeReason::Name),
    ] {
        let mut tree = empty_tree();
        let usr = child(&mut tree, directory(), b"usr");
        let id = tree.add(regular(0, 0, false));
        tree.link(usr, name, id);
        let path = format!("usr/{}", String::from_utf8_lossy(name));
        assert_eq!(
            plan(&tree, &options(64 * MIB)).unwrap_err(),
            refused(&path, reason)
        );
    }
}

#[test]
fn a_directory_of_two_names_is_refused() {
    let mut tree = empty_tree();
    let usr = child(&mut tree, directory(), b"usr");
    tree.link(tree.root(), b"usr2", usr);
    let error = plan(&tree, &options(64 * MIB)).unwrap_err();
    assert_eq!(error, refused("usr", NodeReason::DirectoryLinks));
    let mut tree = empty_tree();
    child(&mut tree, inode(Node::Fifo), b"lost+found");
    let error = plan(&tree, &options(64 * MIB)).unwrap_err();
    assert_eq!(error, refused("lost+found", NodeReason::LostAndFound));
}
