//! How long a disk takes, next to reading the same objects once and writing them once, and to `mke2fs -d` with
//! `qemu-img convert -c`. Prints a table.
//!
//! `cargo bench -p osmith-disk [-- DIRECTORY]`: works in a new directory below DIRECTORY (default: the system's
//! temporary one), which needs 10 GB.
#![allow(clippy::print_stdout, reason = "the table is the result")]

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use osmith_config::Configuration;
use osmith_disk::{Compression, Destination, ImageType, Spec};
use osmith_formats::tree::{Content, Metadata};
use osmith_image::layer::{LayerBuilder, LayerNode, LayerPath};
use osmith_image::store::{Access, ImageParts, LayerSource, Store};
use osmith_image::{ImageConfig, Reference};
use osmith_report::Silent;

const FILES: u64 = 30_000;
const TOTAL_BYTES: u64 = 1_000_000_000;
const ROUNDS: usize = 3;

fn main() {
    let parent = std::env::args()
        .skip(1)
        .find(|argument| !argument.starts_with('-'));
    let parent = parent.map_or_else(std::env::temp_dir, PathBuf::from);
    let work = tempfile::Builder::new()
        .prefix("osmith-speed-")
        .tempdir_in(parent)
        .unwrap();
    let store = Store::open(&work.path().join("store"), Access::ReadWrite).unwrap();
    let tree = work.path().join("tree");
    let objects = make_image(&store, &tree);
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    println!(
        "{} files, {} MB, {processors} processors",
        objects.len(),
        total(&objects) / 1_000_000
    );

    let copy = best(work.path(), || {
        copy_once(&store, &objects, &work.path().join("out"))
    });
    row("read once, write once, flush", copy, copy);
    let mut slowest = Duration::ZERO;
    for (title, types, compression) in [
        ("raw", &[ImageType::Raw][..], Compression::None),
        ("qcow2, zstd", &[ImageType::Qcow2], Compression::Zstd),
        ("qcow2, zlib", &[ImageType::Qcow2], Compression::Zlib),
        ("qcow2, not compressed", &[ImageType::Qcow2], Compression::None),
        (
            "raw and qcow2, zstd",
            &[ImageType::Raw, ImageType::Qcow2],
            Compression::Zstd,
        ),
        ("vmdk", &[ImageType::Vmdk], Compression::Zlib),
        ("ova", &[ImageType::Ova], Compression::Zlib),
        ("vhd", &[ImageType::Vhd], Compression::Zlib),
        ("vhd, dynamic", &[ImageType::VhdDynamic], Compression::Zlib),
        ("gce", &[ImageType::Gce], Compression::Zlib),
        ("raw.zst", &[ImageType::RawZst], Compression::Zlib),
        ("raw.xz", &[ImageType::RawXz], Compression::Zlib),
        ("all of them in one run", &ImageType::ALL, Compression::Zlib),
    ] {
        let spec = spec(types, compression);
        let time = best(work.path(), || {
            write_disk(&store, &spec, &work.path().join("out"), processors)
        });
        row(title, time, copy);
        match types.len() {
            1 => slowest = slowest.max(time),
            _ => row("  next to the slowest alone", time, slowest),
        }
    }
    println!("most memory: {} MB", peak_memory_kib() / 1024);
    let others = mkfs_and_convert(&tree, &work.path().join("out"));
    row("mke2fs -d, qemu-img convert -c", others, copy);
}

/// The best of a few rounds; the output is removed between them.
fn best(work: &Path, mut round: impl FnMut()) -> Duration {
    let times = (0..ROUNDS).map(|_| {
        let _ = fs::remove_dir_all(work.join("out"));
        rustix::fs::sync();
        let start = Instant::now();
        round();
        start.elapsed()
    });
    let best = times.min().unwrap();
    let _ = fs::remove_dir_all(work.join("out"));
    best
}

fn row(title: &str, time: Duration, copy: Duration) {
    println!(
        "{title:<34} {:>7.2} s {:>6.2} ×",
        time.as_secs_f64(),
        time.as_secs_f64() / copy.as_secs_f64()
    );
}

fn total(objects: &[(osmith_formats::verity::Digest, u64)]) -> u64 {
    objects.iter().map(|(_, size_bytes)| size_bytes).sum()
}

fn copy_once(store: &Store, objects: &[(osmith_formats::verity::Digest, u64)], out: &Path) {
    fs::create_dir(out).unwrap();
    let mut target = File::create(out.join("all")).unwrap();
    let mut buffer = vec![0; 1 << 20];
    for (digest, _) in objects {
        let mut file = store.read_object(digest).unwrap();
        loop {
            match file.read(&mut buffer).unwrap() {
                0 => break,
                count => target.write_all(&buffer[..count]).unwrap(),
            }
        }
    }
    target.sync_all().unwrap();
}

fn write_disk(store: &Store, spec: &Spec, directory: &Path, processors: usize) {
    let plan = osmith_disk::plan(store, spec).unwrap();
    let destination = Destination {
        directory,
        overwrite: false,
        processors,
    };
    osmith_disk::execute(&plan, store, &destination, &Silent).unwrap();
}

/// What one does without osmith: a file system made of a tree, then a compressed image of it.
fn mkfs_and_convert(tree: &Path, out: &Path) -> Duration {
    fs::create_dir(out).unwrap();
    let start = Instant::now();
    let raw = out.join("root.raw");
    let mut make = Command::new("/usr/sbin/mke2fs");
    make.args(["-q", "-t", "ext4", "-O", "verity", "-d"])
        .arg(tree)
        .arg(&raw)
        .arg("2G");
    assert!(make.status().unwrap().success());
    let mut convert = Command::new("qemu-img");
    convert
        .args(["convert", "-c", "-f", "raw", "-O", "qcow2"])
        .arg(&raw)
        .arg(out.join("root.qcow2"));
    assert!(convert.status().unwrap().success());
    start.elapsed()
}

fn spec(types: &[ImageType], compression: Compression) -> Spec {
    Spec {
        image: name(),
        types: types.to_vec(),
        size_bytes: None,
        seed: 0,
        compression,
        kernel_arguments: Vec::new(),
        platform: None,
        follows: name(),
        configuration: Configuration::default(),
    }
}

fn name() -> Reference {
    "localhost/speed:1".parse().unwrap()
}

/// Makes the image, and the same files as a tree.
fn make_image(store: &Store, tree: &Path) -> Vec<(osmith_formats::verity::Digest, u64)> {
    let mut layer = LayerBuilder::new();
    let mut objects = Vec::new();
    let directory = LayerNode::Directory { opaque: false };
    for path in ["boot", "etc", "run", "sysroot", "tmp", "usr", "var"] {
        layer
            .add(parse(path), metadata(0o755), directory.clone())
            .unwrap();
    }
    let mut add = |path: &str, bytes: &[u8]| {
        let content = store.put_bytes(bytes).unwrap();
        if let Content::Object { digest, size_bytes } = &content {
            objects.push((*digest, *size_bytes));
        }
        layer
            .add(parse(path), metadata(0o644), LayerNode::Regular(content))
            .unwrap();
        let file = tree.join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, bytes).unwrap();
    };
    let mut random = Random(1);
    add("usr/lib/os-release", b"ID=speed\nVERSION_ID=1\n");
    add("usr/lib/modules/6.12.1/vmlinuz", &random.noise(12_000_000));
    add("usr/lib/modules/6.12.1/initramfs.img", &random.noise(40_000_000));
    add(
        "usr/lib/systemd/boot/efi/systemd-bootx64.efi",
        &random.contents(120_000),
    );
    let mut left = TOTAL_BYTES - 52_120_000;
    for number in 0..FILES {
        let size_bytes = random.size(left / (FILES - number)).min(left);
        left -= size_bytes;
        add(
            &format!("usr/share/{}/{number}", number % 300),
            &random.contents(size_bytes as usize),
        );
    }
    let layer = store.put_layer(&layer.finish()).unwrap();
    let parts = ImageParts {
        config: ImageConfig::new("amd64", "linux"),
        layers: vec![LayerSource::Own(layer)],
        annotations: Default::default(),
        format: osmith_image::ManifestFormat::Oci,
    };
    store.commit_image(parts, &[name()], &Silent).unwrap();
    objects.sort();
    objects.dedup();
    objects
}

/// A linear congruential generator: the same files on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    /// Many small files, few large ones, as in /usr.
    fn size(&mut self, mean_bytes: u64) -> u64 {
        match self.next() % 20 {
            0 => mean_bytes * 10 + self.next() % (mean_bytes * 6 + 1),
            1..6 => self.next() % (mean_bytes + 1),
            _ => self.next() % (mean_bytes / 4 + 1),
        }
    }

    /// Bytes that do not shrink.
    fn noise(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.next() as u8).collect()
    }

    /// Bytes that shrink to about 40 %, as programs do: words, some of them new.
    fn contents(&mut self, length: usize) -> Vec<u8> {
        let words: Vec<[u8; 8]> = (0..256).map(|_| self.next().to_le_bytes()).collect();
        let mut bytes = Vec::with_capacity(length + 8);
        while bytes.len() < length {
            let next = self.next();
            match next % 4 {
                0 => bytes.extend_from_slice(&(next >> 2).to_le_bytes()),
                _ => bytes.extend_from_slice(&words[(next >> 2) as usize % words.len()]),
            }
        }
        bytes.truncate(length);
        bytes
    }
}

fn parse(path: &str) -> LayerPath {
    LayerPath::parse(path.as_bytes()).unwrap()
}

fn metadata(mode: u16) -> Metadata {
    Metadata {
        mode,
        ..Metadata::default()
    }
}

fn peak_memory_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
