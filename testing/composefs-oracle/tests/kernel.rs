//! Our composefs images as the kernel and the EROFS tools see them.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use composefs_oracle::trees;
use osmith_formats::composefs;
use osmith_formats::tree::{Content, Device, Inode, InodeId, Metadata, Node, Timestamp, Tree, Xattrs};
use osmith_formats::verity::Digest;
use osmith_testing::oracle;
use proptest::prelude::*;

/// A mount that ends with the test.
struct Mount(PathBuf);

impl Mount {
    fn new(kind: &str, options: &str, source: &Path, at: PathBuf) -> Self {
        fs::create_dir(&at).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", kind, "-o", options]).arg(source).arg(&at);
        assert!(mount.status().unwrap().success(), "{mount:?}");
        Mount(at)
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(&self.0).status();
        assert!(unmounted.is_ok_and(|status| status.success()) || std::thread::panicking());
    }
}

/// A tree and the objects of its files.
struct Sample {
    tree: Tree<Content>,
    objects: BTreeMap<Digest, Vec<u8>>,
}

impl Sample {
    fn add(&mut self, directory: InodeId, name: &str, node: Node<Content>, seconds: i64) -> InodeId {
        let metadata = Metadata {
            mode: 0o640,
            uid: if seconds % 2 == 0 { 0 } else { 100_000 },
            gid: 7,
            mtime: Timestamp {
                seconds,
                nanoseconds: seconds as u32,
            },
            xattrs: Xattrs::from_iter([(&b"trusted.name"[..], name.as_bytes())]),
        };
        let id = self.tree.add(Inode { metadata, node });
        self.tree.link(directory, name.as_bytes(), id);
        id
    }

    fn add_object(&mut self, directory: InodeId, name: &str, contents: Vec<u8>) -> InodeId {
        let content = Content::Object {
            digest: Digest::of(&contents),
            size_bytes: contents.len() as u64,
        };
        self.objects.insert(Digest::of(&contents), contents);
        self.add(directory, name, Node::Regular(content), 3)
    }
}

fn sample() -> Sample {
    let root = Metadata {
        mode: 0o755,
        ..Metadata::default()
    };
    let mut sample = Sample {
        tree: Tree::new(root),
        objects: BTreeMap::new(),
    };
    let root = sample.tree.root();
    let directory = |sample: &mut Sample, parent, name: &str| {
        sample.add(parent, name, Node::Directory(BTreeMap::new()), 1)
    };
    let deep = directory(&mut sample, root, "deep");
    let deep = directory(&mut sample, deep, "deeper");
    let wide = directory(&mut sample, root, "wide");
    for number in 0..2000 {
        let inline = vec![b'a'; number % 65].into_boxed_slice();
        sample.add(
            wide,
            &format!("inline-{number}"),
            Node::Regular(Content::Inline(inline)),
            number as i64 % 4,
        );
    }
    for length in [65, 4095, 4096, 4097, 100_000, 3_000_001] {
        let contents = (0..length).map(|at| (at % 251) as u8).collect();
        let file = sample.add_object(deep, &format!("object-{length}"), contents);
        sample
            .tree
            .link(wide, format!("hard-link-{length}").as_bytes(), file);
    }
    for length in [1, 60, 2000, 4000, 4020, 4030, 4064, 4095] {
        let target = vec![b't'; length].into_boxed_slice();
        sample.add(deep, &format!("link-{length}"), Node::Symlink(target), 2);
    }
    sample.add(
        deep,
        "character",
        Node::CharacterDevice(Device { major: 4, minor: 700 }),
        5,
    );
    sample.add(
        deep,
        "block",
        Node::BlockDevice(Device {
            major: 259,
            minor: 70_000,
        }),
        5,
    );
    sample.add(
        deep,
        "whiteout",
        Node::CharacterDevice(Device { major: 0, minor: 0 }),
        5,
    );
    sample.add(deep, "fifo", Node::Fifo, 5);
    sample.add(deep, "socket", Node::Socket, 5);
    let acl =
        *b"\x02\0\0\0\x01\0\x07\0\xff\xff\xff\xff\x04\0\x05\0\xff\xff\xff\xff\x20\0\0\0\xff\xff\xff\xff";
    let attributes: [(&[u8], Vec<u8>); 4] = [
        (
            b"security.capability",
            b"\x01\0\0\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0".to_vec(),
        ),
        (b"user.long", vec![b'v'; 6000]),
        (b"trusted.overlay.custom", b"escaped".to_vec()),
        (b"system.posix_acl_access", acl.to_vec()),
    ];
    let file = sample.tree.lookup(b"deep/deeper/object-4096").unwrap();
    for (name, value) in attributes {
        sample
            .tree
            .inode_mut(file)
            .metadata
            .xattrs
            .insert(name.into(), value.into());
    }
    sample
}

/// Compares what is mounted with the tree, name by name.
fn compare(mounted: &Path, sample: &Sample) {
    let links = sample.tree.link_counts();
    let mut numbers: BTreeMap<InodeId, u64> = BTreeMap::new();
    for (path, id) in sample.tree.walk() {
        let inode = sample.tree.inode(id);
        let at = mounted.join(std::ffi::OsStr::from_bytes(&path));
        let found = fs::symlink_metadata(&at).unwrap();
        let metadata = &inode.metadata;
        let expected = (u32::from(metadata.mode), metadata.uid, metadata.gid);
        assert_eq!(
            (found.mode() & 0o7777, found.uid(), found.gid()),
            expected,
            "{at:?}"
        );
        let time = (metadata.mtime.seconds, i64::from(metadata.mtime.nanoseconds));
        assert_eq!((found.mtime(), found.mtime_nsec()), time, "{at:?}");
        compare_node(&at, &found, inode, &sample.objects);
        if let Some(entries) = inode.entries() {
            let names: Vec<Vec<u8>> = entries.keys().map(|name| name.to_vec()).collect();
            assert_eq!(listed(&at), names, "{at:?}");
        } else {
            assert_eq!(found.nlink(), u64::from(links[id.index()]), "{at:?}");
            assert_eq!(*numbers.entry(id).or_insert(found.ino()), found.ino(), "{at:?}");
        }
        for (name, value) in &metadata.xattrs {
            assert_eq!(attribute(&at, name).as_deref(), Some(value), "{at:?}");
        }
    }
}

fn compare_node(
    at: &Path,
    found: &fs::Metadata,
    inode: &Inode<Content>,
    objects: &BTreeMap<Digest, Vec<u8>>,
) {
    let kind = found.file_type();
    let device = (libc_major(found.rdev()), libc_minor(found.rdev()));
    match &inode.node {
        Node::Directory(_) => assert!(kind.is_dir(), "{at:?}"),
        Node::Regular(Content::Inline(bytes)) => assert_eq!(fs::read(at).unwrap(), **bytes),
        Node::Regular(Content::Object { digest, .. }) => {
            assert!(fs::read(at).unwrap() == objects[digest], "{at:?}");
        }
        Node::Symlink(target) => assert_eq!(fs::read_link(at).unwrap().as_os_str().as_bytes(), &**target),
        Node::CharacterDevice(Device { major: 0, minor: 0 }) => {
            assert!(kind.is_file() && found.len() == 0, "{at:?}");
            assert_eq!(
                attribute(at, b"trusted.overlay.whiteout"),
                Some(Vec::new()),
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

fn libc_major(device: u64) -> u32 {
    rustix::fs::major(device)
}

fn libc_minor(device: u64) -> u32 {
    rustix::fs::minor(device)
}

/// The names in a directory, sorted.
fn listed(at: &Path) -> Vec<Vec<u8>> {
    let names = fs::read_dir(at)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().as_bytes().to_vec());
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}

/// An attribute, as big as they come.
fn attribute(at: &Path, name: &[u8]) -> Option<Vec<u8>> {
    let mut value = vec![0; 65_536];
    let length = rustix::fs::lgetxattr(at, name, &mut value[..]).ok()?;
    value.truncate(length);
    Some(value)
}

#[test]
fn a_mounted_image_is_the_tree() {
    if !oracle::require_root("mounting") {
        return;
    }
    let sample = sample();
    let directory = tempfile::tempdir().unwrap();
    let objects = directory.path().join("objects");
    for (digest, contents) in &sample.objects {
        let path = objects.join(digest.object_path());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, contents).unwrap();
    }
    let image = directory.path().join("image");
    fs::write(&image, composefs::image(&sample.tree).unwrap()).unwrap();
    let lower = Mount::new("erofs", "ro,loop", &image, directory.path().join("erofs"));
    let layers = format!(
        "ro,metacopy=on,redirect_dir=on,lowerdir={}::{}",
        lower.0.display(),
        objects.display()
    );
    let root = Mount::new(
        "overlay",
        &layers,
        Path::new("composefs"),
        directory.path().join("root"),
    );
    compare(&root.0, &sample);
    drop(root);
    drop(lower);
}

#[test]
fn fsck_finds_no_fault() {
    let Some(fsck) = oracle::require("fsck.erofs") else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("image");
    let config = proptest::test_runner::Config {
        cases: 100,
        failure_persistence: None,
        ..Default::default()
    };
    let mut runner = proptest::test_runner::TestRunner::new(config);
    let trees = prop_oneof![3 => trees::tree(60).boxed(), 1 => trees::wide_tree().boxed()];
    let checked = runner.run(&trees, |tree| {
        fs::write(&path, composefs::image(&tree).unwrap()).unwrap();
        let output = Command::new(&fsck).arg(&path).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr) + String::from_utf8_lossy(&output.stdout);
        prop_assert!(output.status.success(), "{}", text);
        Ok(())
    });
    checked.unwrap();
}
