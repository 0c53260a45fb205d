//! Whole disks, judged by other people's programs.

mod program;
mod sample;

use std::fs;
use std::path::{Path, PathBuf};

use osmith_disk::{Compression, Destination, ImageType, Plan, Spec, Written};
use osmith_formats::tree::{Content, Node};
use osmith_formats::verity::Digest;
use osmith_image::store::Store;
use osmith_report::Silent;
use osmith_testing::oracle;
use program::{run, text};
use sample::Sample;

/// The raw disk is that of the AMI, too.
const ALL_FILES: usize = 10;
const BOTH: [ImageType; 2] = [ImageType::Raw, ImageType::Qcow2];

struct Disk {
    _work: tempfile::TempDir,
    store: Store,
    plan: Plan,
    raw: PathBuf,
    qcow2: PathBuf,
}

fn disk(compression: Compression) -> Disk {
    let work = tempfile::tempdir().unwrap();
    let store = sample::open(&work.path().join("store"));
    Sample::bootable(&store).commit();
    let mut spec = sample::spec(&BOTH);
    spec.compression = compression;
    spec.size_bytes = Some(700 << 20);
    let output = work.path().join("output");
    let (plan, _) = write(&store, &spec, &output, 2);
    Disk {
        store,
        plan,
        raw: output.join("image/disk.raw"),
        qcow2: output.join("qcow2/disk.qcow2"),
        _work: work,
    }
}

/// Writes a disk with so many processors.
fn write(store: &Store, spec: &Spec, directory: &Path, processors: usize) -> (Plan, Vec<Written>) {
    let plan = osmith_disk::plan(store, spec).unwrap();
    let destination = Destination {
        directory,
        overwrite: false,
        processors,
    };
    let written = osmith_disk::execute(&plan, store, &destination, &Silent).unwrap();
    (plan, written)
}

/// Copies a partition of the raw disk to a file of its own.
fn partition(disk: &Disk, number: usize, to: &Path) {
    let planned = &disk.plan.partitions[number - 1];
    program::extract(&disk.raw, planned.offset_bytes, planned.size_bytes, to);
}

#[test]
fn partitions_and_file_systems_are_sound() {
    let (Some(sgdisk), Some(fsck), Some(e2fsck)) = (
        oracle::require("sgdisk"),
        oracle::require("fsck.vfat"),
        oracle::require("e2fsck"),
    ) else {
        return;
    };
    let disk = disk(Compression::Zstd);
    let verdict = run(&sgdisk, &["-v", text(&disk.raw)]);
    assert!(verdict.contains("No problems found"), "{verdict}");
    assert!(
        !verdict.contains("Caution") && !verdict.contains("Warning"),
        "{verdict}"
    );
    let partitions = run(&sgdisk, &["-i2", text(&disk.raw)]);
    assert!(
        partitions.contains("4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709"),
        "{partitions}"
    );

    let work = tempfile::tempdir().unwrap();
    let (esp, root) = (work.path().join("esp"), work.path().join("root"));
    partition(&disk, 1, &esp);
    run(&fsck, &["-n", text(&esp)]);
    partition(&disk, 2, &root);
    let verdict = run(&e2fsck, &["-fn", text(&root)]);
    assert!(!verdict.contains("ix?"), "{verdict}");
}

#[test]
fn every_compression_gives_the_same_disk() {
    let Some(qemu_img) = oracle::require("qemu-img") else {
        return;
    };
    for compression in [Compression::None, Compression::Zlib, Compression::Zstd] {
        let disk = disk(compression);
        run(&qemu_img, &["check", "-f", "qcow2", text(&disk.qcow2)]);
        run(
            &qemu_img,
            &[
                "compare",
                "-f",
                "raw",
                "-F",
                "qcow2",
                text(&disk.raw),
                text(&disk.qcow2),
            ],
        );
        let length = fs::metadata(&disk.raw).unwrap().len();
        assert_eq!(length, disk.plan.size_bytes);
    }
}

#[test]
fn the_esp_holds_what_starts_the_machine() {
    let Some(mcopy) = oracle::require("mcopy") else {
        return;
    };
    let disk = disk(Compression::None);
    let work = tempfile::tempdir().unwrap();
    let image = format!("{}@@{}", disk.raw.display(), disk.plan.partitions[0].offset_bytes);
    run(&mcopy, &["-s", "-n", "-i", &image, "::*", text(work.path())]);
    let read = |path: &str| fs::read(work.path().join(path)).unwrap();
    assert_eq!(read("EFI/BOOT/BOOTX64.EFI"), sample::text(3, 120_000));
    let kernel = format!("EFI/Linux/bootc_composefs-{}", disk.plan.deployment);
    assert_eq!(read(&format!("{kernel}/vmlinuz")), sample::noise(1, 3_000_001));
    assert_eq!(read(&format!("{kernel}/initrd")), sample::noise(2, 5_555_555));
    let entry = String::from_utf8(read("loader/entries/bootc_sample-1-1.conf")).unwrap();
    assert!(
        entry.contains(&format!(
            "root=UUID={}",
            disk.plan.partitions[1].uuid.as_ref().unwrap()
        )),
        "{entry}"
    );
    assert!(
        entry.contains(&format!("composefs={}", disk.plan.deployment)),
        "{entry}"
    );
    assert!(entry.contains("console=ttyS0"), "{entry}");
}

/// A root partition mounted by the kernel.
struct Mounted {
    directory: tempfile::TempDir,
}

impl Mounted {
    fn root_of(disk: &Disk) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            assert!(
                !oracle::in_ci(),
                "mounting needs root, and CI=true does not allow to skip a test"
            );
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        let planned = &disk.plan.partitions[1];
        let options = format!(
            "ro,loop,offset={},sizelimit={}",
            planned.offset_bytes, planned.size_bytes
        );
        run(
            Path::new("mount"),
            &[
                "-t",
                "ext4",
                "-o",
                &options,
                text(&disk.raw),
                text(directory.path()),
            ],
        );
        Some(Mounted { directory })
    }

    fn path(&self, path: &str) -> PathBuf {
        self.directory.path().join(path)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        run(Path::new("umount"), &[text(self.directory.path())]);
    }
}

/// The objects that the image names, with their lengths.
fn objects(disk: &Disk) -> Vec<(Digest, u64)> {
    let tree = disk
        .store
        .image(&sample::reference())
        .unwrap()
        .tree(&disk.store)
        .unwrap();
    let nodes = tree.walk().into_iter().map(|(_, id)| tree.inode(id).node.clone());
    let objects = nodes.filter_map(|node| match node {
        Node::Regular(Content::Object { digest, size_bytes }) => Some((digest, size_bytes)),
        _ => None,
    });
    let found: Vec<_> = objects.collect();
    assert!(found.len() > 190, "{}", found.len());
    found
}

#[test]
fn every_object_is_in_the_repository() {
    let Some(debugfs) = oracle::require("debugfs") else {
        return;
    };
    let disk = disk(Compression::None);
    let work = tempfile::tempdir().unwrap();
    let root = work.path().join("root");
    partition(&disk, 2, &root);
    run(
        &debugfs,
        &[
            "-R",
            &format!("rdump composefs {}", work.path().display()),
            text(&root),
        ],
    );
    let read = |path: &str| fs::read(work.path().join("composefs").join(path)).unwrap();
    for (digest, size_bytes) in objects(&disk) {
        let bytes = read(&format!("objects/{}", digest.object_path()));
        assert_eq!((Digest::of(&bytes), bytes.len() as u64), (digest, size_bytes));
    }
    let image: Digest = disk.plan.deployment.parse().unwrap();
    assert_eq!(
        Digest::of(&read(&format!("objects/{}", image.object_path()))),
        image
    );
}

#[test]
fn the_kernel_sees_the_state_and_verifies_objects() {
    let disk = disk(Compression::None);
    let Some(mounted) = Mounted::root_of(&disk) else {
        return;
    };
    let state = format!("state/deploy/{}", disk.plan.deployment);
    assert_eq!(
        fs::read(mounted.path(&format!("{state}/etc/hostname"))).unwrap(),
        b"sample\n"
    );
    assert_eq!(
        fs::read(mounted.path(&format!("{state}/etc/long"))).unwrap(),
        sample::text(4, 10_000)
    );
    assert_eq!(
        fs::read(mounted.path("state/os/default/var/lib/seed")).unwrap(),
        sample::noise(5, 512)
    );
    for (digest, _) in objects(&disk) {
        let object = mounted.path(&format!("composefs/objects/{}", digest.object_path()));
        let file = match fs::File::open(&object) {
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::OPNOTSUPP.raw_os_error()) => {
                // A kernel without fs-verity does not open files that have it; the stories boot one with it.
                return;
            }
            opened => opened.unwrap(),
        };
        assert_eq!(
            osmith_sys::verity::measure(&file).unwrap().unwrap().as_slice(),
            digest.as_bytes()
        );
        std::io::copy(&mut &file, &mut std::io::sink()).unwrap();
    }
}

#[test]
fn the_same_image_and_seed_give_the_same_bytes_with_any_number_of_threads() {
    let work = tempfile::tempdir().unwrap();
    let store = sample::open(&work.path().join("store"));
    Sample::bootable(&store).commit();
    let digests = |name: &str, types: &[ImageType], processors, seed| {
        let mut spec = sample::spec(types);
        spec.size_bytes = Some(700 << 20);
        spec.seed = seed;
        let (_, written) = write(&store, &spec, &work.path().join(name), processors);
        let digests: Vec<Digest> = written.iter().map(|output| digest_of(&output.path)).collect();
        fs::remove_dir_all(work.path().join(name)).unwrap();
        digests
    };
    let one = digests("one", &ImageType::ALL, 1, 0);
    assert_eq!(one.len(), ALL_FILES);
    assert_eq!(digests("many", &ImageType::ALL, 8, 0), one);
    let uncompressed = [ImageType::Raw, ImageType::Vhd, ImageType::VhdDynamic];
    let of_a_seed = |seed| digests("seed", &uncompressed, 2, seed);
    for (one, other) in of_a_seed(0).iter().zip(of_a_seed(7)) {
        assert_ne!(*one, other);
    }
}

fn digest_of(path: &Path) -> Digest {
    let mut hasher = osmith_formats::verity::Hasher::new();
    let mut file = fs::File::open(path).unwrap();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match std::io::Read::read(&mut file, &mut buffer).unwrap() {
            0 => return hasher.finish().digest,
            count => hasher.update(&buffer[..count]),
        }
    }
}

#[test]
fn outputs_are_sparse_and_compressed() {
    let disk = disk(Compression::Zstd);
    let allocated = |path: &Path| std::os::unix::fs::MetadataExt::blocks(&fs::metadata(path).unwrap()) * 512;
    let files = disk.plan.file_bytes;
    assert!(
        allocated(&disk.raw) < files + (8 << 20),
        "{} for {files}",
        allocated(&disk.raw)
    );
    assert!(fs::metadata(&disk.qcow2).unwrap().len() < files * 9 / 10);
}

#[test]
fn a_disk_of_a_given_size_has_that_size() {
    let work = tempfile::tempdir().unwrap();
    let store = sample::open(&work.path().join("store"));
    Sample::bootable(&store).commit();
    let mut spec = sample::spec(&[ImageType::Raw]);
    for (asked, given) in [(3 << 30, 3 << 30), ((20 << 30) + 1, (20 << 30) + (1 << 20))] {
        spec.size_bytes = Some(asked);
        let plan = osmith_disk::plan(&store, &spec).unwrap();
        assert_eq!(plan.size_bytes, given);
        let root = &plan.partitions[1];
        assert_eq!(root.offset_bytes + root.size_bytes + (1 << 20), given);
    }
}

#[test]
fn the_smallest_disk_that_an_error_names_works() {
    let Some(e2fsck) = oracle::require("e2fsck") else {
        return;
    };
    let work = tempfile::tempdir().unwrap();
    let store = sample::open(&work.path().join("store"));
    Sample::bootable(&store).commit();
    let mut spec = sample::spec(&[ImageType::Raw]);
    spec.size_bytes = Some(1);
    let error = osmith_disk::plan(&store, &spec).unwrap_err();
    let osmith_disk::PlanError::TooSmall { minimum_bytes, .. } = error else {
        panic!("{error}")
    };
    spec.size_bytes = Some(minimum_bytes - 1 - (1 << 20));
    assert!(osmith_disk::plan(&store, &spec).is_err());
    spec.size_bytes = Some(minimum_bytes);
    let output = work.path().join("output");
    let (plan, _) = write(&store, &spec, &output, 2);
    let disk = Disk {
        store,
        plan,
        raw: output.join("image/disk.raw"),
        qcow2: output.join("none"),
        _work: work,
    };
    let parts = tempfile::tempdir().unwrap();
    partition(&disk, 2, &parts.path().join("root"));
    run(&e2fsck, &["-fn", text(&parts.path().join("root"))]);
}

#[test]
fn the_plan_can_be_shown() {
    let work = tempfile::tempdir().unwrap();
    let store = sample::open(&work.path().join("store"));
    Sample::bootable(&store).commit();
    let plan = osmith_disk::plan(&store, &sample::spec(&BOTH)).unwrap();
    let shown = plan.to_string();
    for expected in [
        "localhost/sample:1@sha256:",
        "Sample OS 1, kernel 6.12.1",
        "EFI-SYSTEM",
        "qcow2/disk.qcow2",
    ] {
        assert!(shown.contains(expected), "{expected}\n{shown}");
    }
    let json = serde_json::to_value(&plan).unwrap();
    assert_eq!(json["partitions"][1]["file-system"], "ext4");
    assert_eq!(json["outputs"][1]["path"], "qcow2/disk.qcow2");
    assert_eq!(json["outputs"][1]["compression"], "zstd");
}
