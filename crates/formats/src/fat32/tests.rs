use std::collections::BTreeMap;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

use osmith_testing::oracle;
use proptest::prelude::*;

use super::*;
use crate::tree::{Inode, Metadata};

const TIME: Timestamp = Timestamp {
    seconds: 1_700_000_000,
    nanoseconds: 0,
};

/// The bytes of source number `source`.
fn contents(source: u32, length: u64) -> Vec<u8> {
    (0..length)
        .map(|at| ((at >> 8) as u8) ^ (at as u8).wrapping_mul(source as u8 | 1))
        .collect()
}

fn directory() -> Inode<File> {
    Inode {
        metadata: Metadata {
            mtime: TIME,
            ..Metadata::default()
        },
        node: Node::Directory(BTreeMap::new()),
    }
}

fn tree_of(files: &BTreeMap<String, u64>) -> Tree<File> {
    let mut tree = Tree::new(Metadata {
        mtime: TIME,
        ..Metadata::default()
    });
    for (source, (path, size_bytes)) in files.iter().enumerate() {
        let mut at = tree.root();
        let (parents, name) = path.rsplit_once('/').unwrap_or(("", path));
        for parent in parents.split('/').filter(|parent| !parent.is_empty()) {
            at = match tree.child(at, parent.as_bytes()) {
                Some(known) => known,
                None => {
                    let new = tree.add(directory());
                    tree.link(at, parent.as_bytes(), new);
                    new
                }
            };
        }
        let file = File {
            source: source as u32,
            size_bytes: *size_bytes,
        };
        let id = tree.add(Inode {
            node: Node::Regular(file),
            ..directory()
        });
        tree.link(at, name.as_bytes(), id);
    }
    tree
}

fn options(size_bytes: u64) -> Options {
    Options {
        size_bytes,
        hidden_sectors: 2048,
        volume_id: 0xcafe_1234,
        label: "EFI-SYSTEM".into(),
        time: TIME,
    }
}

fn write(tree: &Tree<File>, options: &Options, image: &Path) -> Layout {
    let layout = plan(tree, options).unwrap();
    let file = std::fs::File::create(image).unwrap();
    file.set_len(options.size_bytes).unwrap();
    let mut end = 0;
    for piece in layout.pieces().iter().cloned() {
        let (offset, bytes) = match piece {
            Piece::Bytes { offset_bytes, bytes } => (offset_bytes, bytes),
            Piece::Data {
                offset_bytes,
                source,
                len_bytes,
            } => (offset_bytes, contents(source, len_bytes)),
        };
        assert!(offset >= end, "pieces are in order");
        end = offset + bytes.len() as u64;
        file.write_all_at(&bytes, offset).unwrap();
    }
    assert!(end <= options.size_bytes);
    layout
}

fn run(program: &Path, arguments: &[&str], directory: &Path) -> String {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(directory)
        .output()
        .unwrap();
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program:?} {arguments:?}\n{text}");
    text
}

/// Writes the tree, has it checked, and compares what mtools reads from it.
fn require_sound(files: &BTreeMap<String, u64>, size_bytes: u64) {
    let (Some(fsck), Some(mcopy)) = (oracle::require("fsck.vfat"), oracle::require("mcopy")) else {
        return;
    };
    let work = tempfile::tempdir().unwrap();
    write(&tree_of(files), &options(size_bytes), &work.path().join("esp"));
    let verdict = run(&fsck, &["-n", "-v", "esp"], work.path());
    assert!(verdict.contains("FATs, 32 bit entries"), "{verdict}");
    for complaint in ["differ", "Dirty", "wrong", "Free cluster summary"] {
        assert!(!verdict.contains(complaint), "{verdict}");
    }
    if files.is_empty() {
        return;
    }
    std::fs::create_dir(work.path().join("out")).unwrap();
    run(
        &mcopy,
        &["-s", "-m", "-n", "-i", "esp", "::*", "out"],
        work.path(),
    );
    for (source, (path, size_bytes)) in files.iter().enumerate() {
        let read = std::fs::read(work.path().join("out").join(path)).unwrap();
        assert!(read == contents(source as u32, *size_bytes), "{path}");
    }
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => "[a-z]{1,9}(\\.[a-z]{1,4})?",
        2 => "[A-Z0-9]{1,8}(\\.[A-Z]{1,3})?",
        2 => "[a-z0-9_ +.,=-]{1,40}[a-z]",
        1 => "[äöüßéλЖ漢a-z]{1,20}",
    ]
}

fn files() -> impl Strategy<Value = BTreeMap<String, u64>> {
    let path = proptest::collection::vec(name(), 1..4).prop_map(|parts| parts.join("/"));
    let length = prop_oneof![Just(0_u64), 1_u64..6000, Just(4096), 1_u64..400_000];
    proptest::collection::btree_map(path, length, 0..60).prop_map(without_collisions)
}

/// Drops paths that are also a directory of another, or the same but for case.
fn without_collisions(files: BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    let mut kept = BTreeMap::new();
    let mut seen: BTreeMap<String, (String, bool)> = BTreeMap::new();
    for (path, length) in files {
        let parts: Vec<&str> = path.split('/').collect();
        let prefixes: Vec<(String, bool)> = (1..=parts.len())
            .map(|count| (parts[..count].join("/"), count == parts.len()))
            .collect();
        let free = |(prefix, is_file): &(String, bool)| match seen.get(&prefix.to_lowercase()) {
            Some((same, was_file)) => same == prefix && !was_file && !is_file,
            None => true,
        };
        if prefixes.iter().all(free) {
            seen.extend(prefixes.into_iter().map(|entry| (entry.0.to_lowercase(), entry)));
            kept.insert(path, length);
        }
    }
    kept
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn any_tree_is_sound(files in files(), mebibytes in 48_u64..700) {
        require_sound(&files, mebibytes << 20);
    }
}

#[test]
fn an_esp_as_machines_have_it() {
    let id = "0123456789abcdef".repeat(8);
    let mut files = BTreeMap::from([
        ("EFI/BOOT/BOOTX64.EFI".to_owned(), 125_440),
        ("EFI/systemd/systemd-bootx64.efi".to_owned(), 125_440),
        ("loader/loader.conf".to_owned(), 10),
        ("loader/entries/bootc_debian-13-1.conf".to_owned(), 321),
        ("loader/entries.srel".to_owned(), 6),
        ("empty".to_owned(), 0),
    ]);
    files.insert(format!("EFI/Linux/bootc_composefs-{id}/vmlinuz"), 12_345_678);
    files.insert(format!("EFI/Linux/bootc_composefs-{id}/initrd"), 45_678_901);
    require_sound(&files, 512 << 20);
}

#[test]
fn large_directories() {
    let files: BTreeMap<_, _> = (0..3000)
        .map(|number| (format!("many/entry {number}.conf"), number % 3))
        .collect();
    require_sound(&files, 100 << 20);
}

#[test]
fn every_size_is_fat32_and_contents_lie_on_blocks() {
    let Some(fsck) = oracle::require("fsck.vfat") else {
        return;
    };
    let work = tempfile::tempdir().unwrap();
    let files = BTreeMap::from([("a".to_owned(), 5000), ("b".to_owned(), 1)]);
    for (mebibytes, cluster_bytes) in [
        (34, 512),
        (64, 512),
        (100, 1024),
        (200, 2048),
        (501, 4096),
        (512, 4096),
        (9 << 10, 8192),
        (40 << 10, 32768),
    ] {
        let layout = write(
            &tree_of(&files),
            &options(mebibytes << 20),
            &work.path().join("esp"),
        );
        assert_eq!(layout.cluster_bytes(), cluster_bytes, "{mebibytes} MiB");
        let verdict = run(&fsck, &["-n", "-v", "esp"], work.path());
        assert!(verdict.contains("FATs, 32 bit entries"), "{verdict}");
        for piece in layout.pieces().iter().cloned() {
            if let Piece::Data { offset_bytes, .. } = piece {
                assert!(offset_bytes.is_multiple_of(cluster_bytes.min(4096)));
            }
        }
    }
}

#[test]
fn label_identity_and_times_are_read_back() {
    let (Some(mdir), Some(minfo)) = (oracle::require("mdir"), oracle::require("minfo")) else {
        return;
    };
    let work = tempfile::tempdir().unwrap();
    let files = BTreeMap::from([("loader/loader.conf".to_owned(), 9)]);
    write(&tree_of(&files), &options(512 << 20), &work.path().join("esp"));
    let listing = run(&mdir, &["-i", "esp", "::loader"], work.path());
    assert!(listing.contains("Volume in drive : is EFI-SYSTEM"), "{listing}");
    assert!(listing.contains("CAFE-1234"), "{listing}");
    assert!(listing.contains("2023-11-14  22:13"), "{listing}");
    let info = run(&minfo, &["-i", "esp"], work.path());
    assert!(info.contains("hidden sectors: 2048"), "{info}");
}

#[test]
fn the_same_tree_gives_the_same_bytes() {
    let files = BTreeMap::from([("x/y".to_owned(), 70_000), ("z".to_owned(), 3)]);
    let pieces = || {
        plan(&tree_of(&files), &options(64 << 20))
            .unwrap()
            .pieces()
            .to_vec()
    };
    assert_eq!(pieces(), pieces());
}

#[test]
fn what_does_not_fit_is_refused() {
    let refusal = |path: &str, length, size_bytes| {
        let files = BTreeMap::from([(path.to_owned(), length)]);
        plan(&tree_of(&files), &options(size_bytes)).unwrap_err()
    };
    assert_eq!(refusal("a", 1, 33 << 20), Error::Size(33 << 20));
    assert_eq!(refusal("a", 1, 3 << 40), Error::Size(3 << 40));
    assert!(matches!(refusal("a", 64 << 20, 64 << 20), Error::Full { .. }));
    assert_eq!(refusal("a", 1 << 32, 8 << 30), Error::FileTooLong("/a".into()));
    let reason = |path: &str| match refusal(path, 1, 64 << 20) {
        Error::Name { reason, .. } => reason,
        other => panic!("{other}"),
    };
    assert_eq!(reason("a:b"), NameReason::Character);
    assert_eq!(reason("dir./x"), NameReason::Ending);
    assert_eq!(reason(&"n".repeat(256)), NameReason::TooLong);
    let both = BTreeMap::from([("d/Name".to_owned(), 1), ("d/name".to_owned(), 1)]);
    let error = plan(&tree_of(&both), &options(64 << 20)).unwrap_err();
    assert_eq!(
        error,
        Error::Name {
            path: "/d/name".into(),
            reason: NameReason::Case
        }
    );

    let mut tree = tree_of(&BTreeMap::new());
    let link = tree.add(Inode {
        node: Node::Symlink(b"x"[..].into()),
        ..directory()
    });
    tree.link(tree.root(), b"link", link);
    assert_eq!(
        plan(&tree, &options(64 << 20)).unwrap_err(),
        Error::Kind("/link".into())
    );
}
