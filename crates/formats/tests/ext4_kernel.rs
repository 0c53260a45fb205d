//! ext4 file systems in use: read, written and grown by the kernel, and clean afterwards.

#![allow(clippy::print_stderr, reason = "a test says what it could not do")]

mod ext4_image;

use std::fs;
use std::path::Path;
use std::process::Command;

use ext4_image::mounted::{Mount, compare};
use ext4_image::{MIB, acl, check_image, child, directory, empty_tree, inode, options, regular, write_image};
use osmith_formats::ext4::{File, verity_region};
use osmith_formats::tree::{Device, Node, Tree};
use osmith_testing::oracle;
use rustix::fs::{XattrFlags, lremovexattr, lsetxattr};

/// Large and indexed directories, many hard links and subdirectories, attributes inside and outside of the inode.
fn large_tree() -> Tree<File> {
    let mut tree = empty_tree();
    for (directory_name, count, length) in [
        (&b"long"[..], 3000, 255),
        (b"many", 60_000, 5),
        (b"short", 300, 8),
    ] {
        let parent = child(&mut tree, directory(), directory_name);
        let target = child(
            &mut tree,
            regular(3, 10_000, false),
            &[directory_name, b"-file"].concat(),
        );
        for number in 0..count {
            tree.link(parent, format!("{number:0length$}").as_bytes(), target);
        }
    }
    let subdirectories = child(&mut tree, directory(), b"subdirectories");
    for number in 0..3000 {
        let id = tree.add(directory());
        tree.link(subdirectories, format!("{number}").as_bytes(), id);
    }
    let device = Device {
        major: 259,
        minor: 70_000,
    };
    child(&mut tree, inode(Node::BlockDevice(device)), b"device");
    let mut labelled = directory();
    let mut set = |name: &[u8], value: &[u8]| labelled.metadata.xattrs.insert(name.into(), value.into());
    set(b"security.selinux", b"system_u:object_r:usr_t:s0\0");
    set(b"user.large", &[9; 3000]);
    let entries = [
        (1, 7, u32::MAX),
        (2, 5, 70_000),
        (4, 5, u32::MAX),
        (16, 7, u32::MAX),
        (32, 0, u32::MAX),
    ];
    set(b"system.posix_acl_default", &acl(&entries));
    child(&mut tree, labelled, b"labelled");
    add_large_values(&mut tree);
    tree
}

/// Files, directories and links with attribute values of up to 64 KiB, some of them the same.
fn add_large_values(tree: &mut Tree<File>) {
    let parent = child(tree, directory(), b"values");
    for number in 0..30usize {
        let mut node = match number % 3 {
            0 => regular(number as u32, 10_000, false),
            1 => directory(),
            _ => inode(Node::Symlink(b"t".repeat(number * 4).into())),
        };
        for (name, length) in [("shared", 65_536), ("own", 5000 + number), ("small", 5)] {
            let name = format!("trusted.{name}").into_bytes();
            node.metadata.xattrs.insert(name.into(), vec![3; length].into());
        }
        let id = tree.add(node);
        tree.link(parent, format!("{number}").as_bytes(), id);
    }
}

#[test]
fn the_kernel_sees_the_tree() {
    let tree = large_tree();
    let image = write_image(&tree, &options(256 * MIB));
    check_image(image.path());
    if let Some(mount) = Mount::of(image.path(), "ro") {
        compare(&tree, mount.path());
    }
}

#[test]
fn directories_take_and_lose_names() {
    let image = write_image(&large_tree(), &options(256 * MIB));
    let Some(mount) = Mount::of(image.path(), "rw") else {
        return;
    };
    for directory in ["many", "long", "short", "subdirectories"].map(|name| mount.path().join(name)) {
        for number in 0..4000 {
            fs::write(directory.join(format!("new-{number}")), "new").unwrap();
        }
        for entry in fs::read_dir(&directory).unwrap().step_by(3) {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => fs::remove_dir(path).unwrap(),
                false => fs::remove_file(path).unwrap(),
            }
        }
    }
    drop(mount);
    check_image(image.path());
}

#[test]
fn large_values_come_and_go() {
    let image = write_image(&large_tree(), &options(256 * MIB));
    let Some(mount) = Mount::of(image.path(), "rw") else {
        return;
    };
    for number in 0..30 {
        let path = mount.path().join(format!("values/{number}"));
        match number % 5 {
            0 => lremovexattr(&path, "trusted.shared").unwrap(),
            1 => lsetxattr(&path, "trusted.new", &[3; 65_536], XattrFlags::empty()).unwrap(),
            2 => lsetxattr(&path, "trusted.own", &[number; 60_000], XattrFlags::empty()).unwrap(),
            3 if path.is_dir() => fs::remove_dir(&path).unwrap(),
            3 => fs::remove_file(&path).unwrap(),
            _ => {}
        }
    }
    drop(mount);
    check_image(image.path());
}

#[test]
fn it_fills_up_and_is_clean() {
    let image = write_image(&large_tree(), &options(100 * MIB));
    let Some(mount) = Mount::of(image.path(), "rw") else {
        return;
    };
    let written = (0..).take_while(|number| {
        fs::write(mount.path().join(format!("filler-{number}")), vec![1; 3 << 20]).is_ok()
    });
    assert!(written.count() > 5);
    drop(mount);
    check_image(image.path());
}

/// Lengthens the image and grows the file system, by the kernel where the process may ask for that.
fn grow(size_bytes: u64, grown_bytes: u64) {
    let Some(resize2fs) = oracle::require("resize2fs") else {
        return;
    };
    let tree = large_tree();
    let image = write_image(&tree, &options(size_bytes));
    image.as_file().set_len(grown_bytes).unwrap();
    let resize = |of: &Path| {
        let output = Command::new(&resize2fs).arg(of).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    };
    if !may_grow_mounted() {
        eprintln!("growing while mounted needs CAP_SYS_RESOURCE: grown by resize2fs alone");
        resize(image.path());
        check_image(image.path());
    }
    let Some(mount) = Mount::of(image.path(), "rw") else {
        return;
    };
    if may_grow_mounted() {
        resize(&mount.device());
    }
    let found = rustix::fs::statvfs(mount.path()).unwrap();
    let free_bytes = found.f_bavail * found.f_frsize;
    assert!(
        free_bytes > (grown_bytes - size_bytes) / 10 * 8,
        "{free_bytes} free"
    );
    compare(&tree, mount.path());
    for number in 0..40 {
        fs::write(mount.path().join(format!("new-{number}")), vec![number; 1 << 20]).unwrap();
    }
    drop(mount);
    check_image(image.path());
}

/// Whether the process has the capability `CAP_SYS_RESOURCE` (24).
fn may_grow_mounted() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let effective = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .unwrap();
    u64::from_str_radix(effective.trim(), 16).unwrap() >> 24 & 1 == 1
}

#[test]
fn it_grows() {
    grow(100 * MIB, 700 * MIB);
    // Beyond 64 groups, the descriptors need more blocks than are there: the kernel switches to meta_bg.
    grow(256 * MIB, 20_000 * MIB);
}

#[test]
#[ignore = "long"]
fn it_grows_from_and_to_many_sizes() {
    for size_bytes in [90, 129, 8191, 8200].map(|mib| mib * MIB) {
        for grown_bytes in [2049, 8193, 100_000].map(|mib| mib * MIB) {
            if grown_bytes > size_bytes {
                grow(size_bytes, grown_bytes);
            }
        }
    }
}

/// The blocks of a file that `debugfs` finds from that block on, in the file's order.
fn blocks_from(image: &Path, path: &str, first: u64) -> Option<Vec<u64>> {
    let debugfs = oracle::require("debugfs")?;
    let output = Command::new(debugfs)
        .args(["-R", &format!("dump_extents -l {path}")])
        .arg(image)
        .output()
        .unwrap();
    let mut blocks = Vec::new();
    for line in String::from_utf8(output.stdout).unwrap().lines().skip(1) {
        // Level, entries, logical range, physical range, length: "0/ 0   1/  2   0 -  4  1000 - 1004   5"
        let numbers: Vec<u64> = line
            .split(|c: char| !c.is_ascii_digit())
            .filter(|number| !number.is_empty())
            .map(|number| number.parse().unwrap())
            .collect();
        let [_, _, _, _, logical, _, physical, _, length] = numbers[..] else {
            panic!("{line}");
        };
        blocks.extend((0..length).filter(|n| logical + n >= first).map(|n| physical + n));
    }
    Some(blocks)
}

#[test]
fn verity_metadata_is_what_fsverity_computes() {
    let Some(fsverity) = oracle::require("fsverity") else {
        return;
    };
    let sizes = [0, 1, 4096, 4097, 65_536, 65_537, 262_144, 262_145, 20_000_001];
    let mut tree = empty_tree();
    for (size_bytes, source) in sizes.into_iter().zip(0..) {
        child(
            &mut tree,
            regular(source, size_bytes, true),
            format!("{size_bytes}").as_bytes(),
        );
    }
    let image = write_image(&tree, &options(128 * MIB));
    check_image(image.path());
    let bytes = fs::read(image.path()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let [data, merkle, descriptor] = ["data", "merkle", "descriptor"].map(|name| folder.path().join(name));
    for (size_bytes, source) in sizes.into_iter().zip(0..) {
        let file = File {
            source,
            size_bytes,
            ..File::default()
        };
        fs::write(&data, ext4_image::contents(&file, 0, size_bytes as usize)).unwrap();
        let mut digest = Command::new(&fsverity);
        digest.args(["digest", "--hash-alg=sha512"]).arg(&data);
        digest
            .arg("--out-merkle-tree")
            .arg(&merkle)
            .arg("--out-descriptor")
            .arg(&descriptor);
        assert!(digest.output().unwrap().status.success());
        let first = size_bytes.next_multiple_of(65_536) / 4096;
        let Some(blocks) = blocks_from(image.path(), &format!("/{size_bytes}"), first) else {
            return;
        };
        let region: Vec<u8> = blocks
            .iter()
            .flat_map(|block| &bytes[*block as usize * 4096..][..4096])
            .copied()
            .collect();
        let mut expected = fs::read(&merkle).unwrap();
        expected.extend(fs::read(&descriptor).unwrap());
        assert!(region[..expected.len()] == expected, "{size_bytes} bytes");
        assert_eq!(region[region.len() - 4..], 256u32.to_le_bytes());
        assert!(region == verity_region(&ext4_image::measure(&file)));
    }
}
