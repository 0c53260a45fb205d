//! A medium, judged by everybody who reads one of its faces.

#![allow(clippy::print_stderr, reason = "a test says what it could not do")]

mod erofs_image;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

use erofs_image::{Mount, compare, contents, write_pieces};
use osmith_formats::erofs::{self, Compressor, Storage};
use osmith_formats::gpt::Guid;
use osmith_formats::medium::{self, AREA, Options};
use osmith_formats::tree::{Inode, InodeId, Metadata, Node, Timestamp, Tree};
use osmith_formats::{cpio, fat32, iso9660};
use osmith_testing::oracle;
use tempfile::NamedTempFile;

const AREA_BYTES: u64 = 256 << 10;
const BOOT_FILES: [(&str, u32, u64); 6] = [
    ("EFI/BOOT/BOOTX64.EFI", 0, 100_000),
    ("boot/vmlinuz", 1, 5_000_001),
    ("boot/initrd.img", 2, 7_000_000),
    ("loader/entries/osmith.conf", 3, 321),
    ("loader/empty", 4, 0),
    ("osmith/kickstart.img", AREA, AREA_BYTES),
];

fn metadata() -> Metadata {
    Metadata {
        mode: 0o755,
        mtime: Timestamp {
            seconds: 1_700_000_000,
            nanoseconds: 0,
        },
        ..Metadata::default()
    }
}

/// Adds a node, with directories on the way to it.
fn add<F>(tree: &mut Tree<F>, path: &str, node: Node<F>) -> InodeId {
    let (parents, name) = path.rsplit_once('/').unwrap_or(("", path));
    let mut at = tree.root();
    for parent in parents.split('/').filter(|parent| !parent.is_empty()) {
        at = match tree.child(at, parent.as_bytes()) {
            Some(known) => known,
            None => {
                let new = tree.add(Inode {
                    metadata: metadata(),
                    node: Node::Directory(BTreeMap::new()),
                });
                tree.link(at, parent.as_bytes(), new);
                new
            }
        };
    }
    let id = tree.add(Inode {
        metadata: metadata(),
        node,
    });
    tree.link(at, name.as_bytes(), id);
    id
}

fn boot_tree() -> Tree<fat32::File> {
    let mut tree = Tree::new(metadata());
    for (path, source, size_bytes) in BOOT_FILES {
        add(&mut tree, path, Node::Regular(fat32::File { source, size_bytes }));
    }
    tree
}

fn root_tree() -> Tree<erofs::File> {
    let mut tree = Tree::new(metadata());
    let file = |source, size_bytes| {
        Node::Regular(erofs::File {
            source,
            size_bytes,
            storage: Storage::Compressed,
        })
    };
    add(&mut tree, "vmlinuz", file(1, 5_000_001));
    add(&mut tree, "usr/lib/initrd.img", file(2, 7_000_000));
    for number in 10..300 {
        add(
            &mut tree,
            &format!("objects/{number:03}"),
            file(number, u64::from(number) * 999),
        );
    }
    tree
}

fn options() -> Options {
    Options {
        label: "OSMITH_TEST".to_owned(),
        time: Timestamp {
            seconds: 1_700_000_000,
            nanoseconds: 0,
        },
        uuid: *b"\x11\x22\x33\x44\x55\x66\x47\x88\x99\xaa\xbb\xcc\xdd\xee\xff\x00",
        disk_guid: Guid::from_random_bytes([1; 16]),
        partition_guid: Guid::from_random_bytes([2; 16]),
        volume_id: 0x1234_5678,
        cluster_bytes: 64 << 10,
    }
}

fn write_medium(root: &Tree<erofs::File>) -> NamedTempFile {
    let options = options();
    let packing = medium::pack(&boot_tree(), root, &options).unwrap();
    let mut compressor = Compressor::new(options.cluster_bytes, 3).unwrap();
    let compressed: Vec<Vec<u8>> = packing
        .clusters()
        .iter()
        .map(|cluster| compressor.compress(&erofs_image::cluster_bytes(cluster)).unwrap())
        .collect();
    let lengths: Vec<u32> = compressed.iter().map(|bytes| bytes.len() as u32).collect();
    let layout = packing.plan(&lengths).unwrap();
    write_pieces(layout.pieces(), layout.size_bytes(), &compressed)
}

fn read_file(medium: &NamedTempFile, extent: iso9660::Extent) -> Vec<u8> {
    let mut bytes = vec![0; extent.size_bytes as usize];
    medium
        .as_file()
        .read_exact_at(&mut bytes, extent.offset_bytes)
        .unwrap();
    bytes
}

fn find(medium: &NamedTempFile, path: &str) -> Result<iso9660::Extent, iso9660::FindError> {
    iso9660::find(
        |offset, buffer| medium.as_file().read_exact_at(buffer, offset),
        path,
    )
}

fn run(program: &Path, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    text
}

#[test]
fn every_face_shows_the_same_files() {
    let root = root_tree();
    let medium = write_medium(&root);
    for (path, source, size_bytes) in BOOT_FILES {
        let expected = match source {
            AREA => vec![0; size_bytes as usize],
            _ => contents(source, 0, size_bytes as usize),
        };
        assert!(
            read_file(&medium, find(&medium, path).unwrap()) == expected,
            "{path}"
        );
    }
    assert!(find(&medium, "boot/nothing").is_err());
    assert!(find(&medium, "boot").is_err());
    if let Some(mount) = Mount::of(medium.path()) {
        compare(&root, mount.path());
    }
    // Shared files are there once.
    let size_bytes = fs::metadata(medium.path()).unwrap().len();
    assert!(size_bytes < (1 << 20) + (34 << 20) + 45_000_000, "{size_bytes}");
}

#[test]
fn the_area_takes_an_archive() {
    let medium = write_medium(&root_tree());
    let area = find(&medium, "/osmith/kickstart.img").unwrap();
    assert_eq!(area.size_bytes, AREA_BYTES);
    assert_eq!(area.offset_bytes % 4096, 0);
    let mut writer = cpio::Writer::new(0);
    writer.file("ks.cfg", 0o600, b"text\n").unwrap();
    let archive = writer.into_padded(area.size_bytes as usize).unwrap();
    medium
        .as_file()
        .write_all_at(&archive, area.offset_bytes)
        .unwrap();
    let Some(mcopy) = oracle::require("mcopy") else {
        return;
    };
    let copy = NamedTempFile::new().unwrap();
    let image = format!("{}@@1M", medium.path().display());
    let to = copy.path().to_str().unwrap();
    run(&mcopy, &["-o", "-i", &image, "::/osmith/kickstart.img", to]);
    assert!(fs::read(copy.path()).unwrap() == archive);
}

#[test]
fn the_partition_table_and_the_fat_are_clean() {
    let medium = write_medium(&root_tree());
    let path = medium.path().to_str().unwrap();
    if let Some(sgdisk) = oracle::require("sgdisk") {
        let verdict = run(&sgdisk, &["-v", "-p", path]);
        assert!(verdict.contains("No problems found"), "{verdict}");
        assert!(verdict.contains("EF00"), "{verdict}");
    }
    if let Some(fsck) = oracle::require("fsck.vfat") {
        let bytes = fs::read(path).unwrap();
        let fat = NamedTempFile::new().unwrap();
        fs::write(fat.path(), &bytes[1 << 20..][..34 << 20]).unwrap();
        run(&fsck, &["-n", "-v", fat.path().to_str().unwrap()]);
    }
}

#[test]
fn xorriso_reads_the_volume() {
    let Some(xorriso) = oracle::require("xorriso") else {
        return;
    };
    let medium = write_medium(&root_tree());
    let path = medium.path().to_str().unwrap();
    let boot = run(&xorriso, &["-indev", path, "-report_el_torito", "plain"]);
    assert!(boot.contains("Volume id    : 'OSMITH_TEST'"), "{boot}");
    assert!(boot.contains("UEFI  y   none"), "{boot}");
    assert!(!boot.contains("FAILURE") && !boot.contains("SORRY"), "{boot}");
    let directory = tempfile::tempdir().unwrap();
    let target = directory.path().join("copy");
    let target = target.to_str().unwrap();
    let arguments = [
        "-read_fs", "nojoliet", "-osirrox", "on", "-indev", path, "-extract", "/", target,
    ];
    for (read_fs, capitals) in [("nojoliet", true), ("any", false)] {
        let mut arguments = arguments;
        arguments[1] = read_fs;
        run(&xorriso, &arguments);
        for (name, source, size_bytes) in BOOT_FILES {
            let name = if capitals {
                name.to_uppercase()
            } else {
                name.to_owned()
            };
            let found =
                fs::read(Path::new(target).join(&name)).unwrap_or_else(|error| panic!("{name}: {error}"));
            let expected = match source {
                AREA => vec![0; size_bytes as usize],
                _ => contents(source, 0, size_bytes as usize),
            };
            assert!(found == expected, "{name}");
        }
        run(&std::path::PathBuf::from("/bin/rm"), &["-r", target]);
    }
}
