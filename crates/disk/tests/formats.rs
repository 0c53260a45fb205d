//! Disks in the formats of hypervisors and clouds: the same contents as the raw disk, and what each platform demands.

mod program;
mod sample;

use std::fs;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use osmith_disk::{Destination, ImageType, Plan, PlanError};
use osmith_report::{Class, Failure, Silent};
use osmith_testing::oracle;
use program::{run, text};
use sample::Sample;
use sha2::{Digest, Sha256};

const MIB: u64 = 1 << 20;
const DISK_BYTES: u64 = 701 * MIB;

struct Disk {
    work: tempfile::TempDir,
    plan: Plan,
}

impl Disk {
    /// Written in these formats, in one run.
    fn write(types: &[ImageType]) -> Self {
        let work = tempfile::tempdir().unwrap();
        let store = sample::open(&work.path().join("store"));
        Sample::bootable(&store).commit();
        let mut spec = sample::spec(types);
        spec.size_bytes = Some(DISK_BYTES);
        let plan = osmith_disk::plan(&store, &spec).unwrap();
        let destination = Destination {
            directory: &work.path().join("output"),
            overwrite: false,
            processors: 2,
        };
        osmith_disk::execute(&plan, &store, &destination, &Silent).unwrap();
        Disk { work, plan }
    }

    fn output(&self, path: &str) -> PathBuf {
        self.work.path().join("output").join(path)
    }

    fn raw(&self) -> PathBuf {
        self.output("image/disk.raw")
    }

    /// Has QEMU compare an output with the raw disk.
    fn compare(&self, format: &str, path: &str) {
        let Some(qemu_img) = oracle::require("qemu-img") else {
            return;
        };
        let (raw, other) = (self.raw(), self.output(path));
        let arguments = ["compare", "-f", "raw", "-F", format, text(&raw), text(&other)];
        run(&qemu_img, &arguments);
        let arguments = ["info", "--output", "json", "-f", format, text(&other)];
        let information: serde_json::Value = serde_json::from_str(&run(&qemu_img, &arguments)).unwrap();
        assert_eq!(information["virtual-size"], self.plan.size_bytes);
    }
}

/// Whether two files are equal, a block at a time.
fn assert_equal(one: &Path, other: &Path) {
    let (mut one, mut other) = (fs::File::open(one).unwrap(), fs::File::open(other).unwrap());
    assert_eq!(one.metadata().unwrap().len(), other.metadata().unwrap().len());
    let (mut of_one, mut of_other) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    for block in 0.. {
        let count = one.read(&mut of_one).unwrap();
        if count == 0 {
            return;
        }
        other.read_exact(&mut of_other[..count]).unwrap();
        assert!(of_one[..count] == of_other[..count], "block {block}");
    }
}

fn number(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[test]
fn a_vmdk_is_a_stream_as_vsphere_takes_it() {
    let disk = Disk::write(&[ImageType::Raw, ImageType::Vmdk]);
    disk.compare("vmdk", "vmdk/disk.vmdk");
    let path = disk.output("vmdk/disk.vmdk");
    if let Some(qemu_img) = oracle::require("qemu-img") {
        run(&qemu_img, &["check", "-f", "vmdk", text(&path)]);
        let information = run(&qemu_img, &["info", "-f", "vmdk", text(&path)]);
        assert!(
            information.contains("create type: streamOptimized"),
            "{information}"
        );
    }
    let bytes = fs::read(&path).unwrap();
    assert!(bytes.len().is_multiple_of(512));
    let descriptor = String::from_utf8(bytes[512..1536].to_vec()).unwrap();
    let extent = format!("RW {} SPARSE \"disk.vmdk\"", DISK_BYTES / 512);
    for line in [
        extent.as_str(),
        "parentCID=ffffffff",
        "ddb.adapterType = \"lsilogic\"",
    ] {
        assert!(descriptor.contains(line), "{line}\n{descriptor}");
    }
    // ESXi wants the directory at the end, found by a footer that is the header with a place.
    assert_eq!(bytes[56..64], [0xff; 8]);
    let footer = &bytes[bytes.len() - 1024..bytes.len() - 512];
    assert_eq!((&footer[..56], &footer[64..]), (&bytes[..56], &bytes[64..512]));
    assert_ne!(footer[56..64], [0xff; 8]);
    assert!((bytes.len() as u64) < disk.plan.file_bytes * 9 / 10);
}

#[test]
fn a_vhd_is_fixed_as_azure_wants_it() {
    let disk = Disk::write(&[ImageType::Raw, ImageType::Vhd]);
    disk.compare("vpc", "vpc/disk.vhd");
    let path = disk.output("vpc/disk.vhd");
    let metadata = fs::metadata(&path).unwrap();
    // Whole MiB, and the footer.
    assert_eq!(metadata.len(), DISK_BYTES + 512);
    let bytes = fs::read(&path).unwrap();
    let footer = &bytes[DISK_BYTES as usize..];
    assert_eq!(footer[..8], *b"conectix");
    assert_eq!(number(&footer[48..56]), DISK_BYTES);
    assert_eq!(number(&footer[60..64]), 2, "not fixed");
    assert!(
        metadata.blocks() * 512 < disk.plan.file_bytes + 8 * MIB,
        "not sparse"
    );
}

#[test]
fn a_dynamic_vhd_holds_blocks_that_are_not_zero() {
    let disk = Disk::write(&[ImageType::Raw, ImageType::VhdDynamic]);
    disk.compare("vpc", "vpc-dynamic/disk.vhd");
    let path = disk.output("vpc-dynamic/disk.vhd");
    let bytes = fs::read(&path).unwrap();
    assert_eq!(bytes[..512], bytes[bytes.len() - 512..]);
    assert_eq!(number(&bytes[60..64]), 3, "not dynamic");
    let blocks = bytes[1536..1536 + 351 * 4]
        .chunks(4)
        .filter(|entry| number(entry) != 0xffff_ffff)
        .count();
    assert_eq!(
        bytes.len() as u64,
        512 + 1024 + 1536 + blocks as u64 * (512 + 2 * MIB) + 512
    );
    assert!(blocks < 100, "{blocks}");
}

#[test]
fn a_disk_that_a_format_cannot_hold_is_refused_with_the_most_that_it_takes() {
    let work = tempfile::tempdir().unwrap();
    let store = sample::open(work.path());
    Sample::bootable(&store).commit();
    let mut spec = sample::spec(&[ImageType::Raw, ImageType::Vhd]);
    spec.size_bytes = Some(3 << 40);
    let error = osmith_disk::plan(&store, &spec).unwrap_err();
    assert_eq!(error.class(), Class::Usage);
    assert!(error.to_string().contains("format vhd"), "{error}");
    assert!(
        error.hints()[0].contains("--size 2088960MiB"),
        "{:?}",
        error.hints()
    );
    assert!(matches!(error, PlanError::TooLarge { .. }));
}

#[test]
fn a_gce_archive_holds_a_disk_of_whole_gibibytes() {
    let Some(tar) = oracle::require("tar") else { return };
    let disk = Disk::write(&[ImageType::Raw, ImageType::Gce]);
    assert_eq!(disk.plan.size_bytes, 1 << 30);
    let path = disk.output("gce/image.tar.gz");
    let packed = fs::read(&path).unwrap();
    assert!((packed.len() as u64) < disk.plan.file_bytes * 9 / 10);

    // One member of gzip, nothing behind it; one member of tar, of the old GNU format.
    let mut gzip = flate2::bufread::GzDecoder::new(packed.as_slice());
    let mut archive = Vec::new();
    gzip.read_to_end(&mut archive).unwrap();
    assert!(gzip.into_inner().is_empty());
    assert_eq!(archive[..9], *b"disk.raw\0");
    assert_eq!((archive[156], &archive[257..265]), (b'S', &b"ustar  \0"[..]));
    assert!(archive.len().is_multiple_of(10_240) && archive.len() < 500 << 20);
    assert_eq!(run(&tar, &["-tzf", text(&path)]), "disk.raw\n");

    let extracted = disk.work.path().join("extracted");
    fs::create_dir(&extracted).unwrap();
    run(&tar, &["-xzSf", text(&path), "-C", text(&extracted)]);
    assert_equal(&extracted.join("disk.raw"), &disk.raw());
}

#[test]
fn the_size_for_gce_is_rounded_up_without_being_asked_for() {
    let work = tempfile::tempdir().unwrap();
    let store = sample::open(work.path());
    Sample::bootable(&store).commit();
    let plan = osmith_disk::plan(&store, &sample::spec(&[ImageType::Qcow2, ImageType::Gce])).unwrap();
    assert!(plan.size_bytes.is_multiple_of(1 << 30));
    let others = osmith_disk::plan(&store, &sample::spec(&[ImageType::Qcow2])).unwrap();
    assert!(others.size_bytes <= plan.size_bytes && !others.size_bytes.is_multiple_of(1 << 30));
}

#[test]
fn compressed_raw_disks_are_the_raw_disk() {
    let (Some(zstd), Some(xz)) = (oracle::require("zstd"), oracle::require("xz")) else {
        return;
    };
    let disk = Disk::write(&[ImageType::Raw, ImageType::RawZst, ImageType::RawXz]);
    let unpacked = disk.work.path().join("unpacked");
    let zst = disk.output("image/disk.raw.zst");
    run(&zstd, &["-q", "-d", text(&zst), "-o", text(&unpacked)]);
    assert_equal(&unpacked, &disk.raw());

    let path = disk.output("image/disk.raw.xz");
    let output = fs::File::create(&unpacked).unwrap();
    let mut decompress = Command::new(&xz);
    decompress.args(["-dc", "-T2"]).arg(&path).stdout(output);
    assert!(decompress.status().unwrap().success());
    assert_equal(&unpacked, &disk.raw());
    // One stream, and blocks for the threads of who decompresses.
    let list = run(&xz, &["-l", "--robot", text(&path)]);
    assert!(list.contains("\nfile\t1\t701\t"), "{list}");
    for path in [&zst, &path] {
        let length = fs::metadata(path).unwrap().len();
        assert!(length < disk.plan.file_bytes * 9 / 10, "{length}");
    }
}

#[test]
fn an_ova_holds_description_manifest_and_vmdk_in_this_order() {
    let Some(tar) = oracle::require("tar") else { return };
    let disk = Disk::write(&[ImageType::Raw, ImageType::Vmdk, ImageType::Ova]);
    let ova = disk.output("archive/image.ova");
    assert_eq!(run(&tar, &["-tf", text(&ova)]), "disk.ovf\ndisk.mf\ndisk.vmdk\n");
    let bytes = fs::read(&ova).unwrap();
    assert_eq!(bytes[257..265], *b"ustar\x0000");
    assert!(bytes.len().is_multiple_of(10_240));
    let extracted = disk.work.path().join("extracted");
    fs::create_dir(&extracted).unwrap();
    run(&tar, &["-xf", text(&ova), "-C", text(&extracted)]);
    assert_equal(&extracted.join("disk.vmdk"), &disk.output("vmdk/disk.vmdk"));
    disk.compare("vmdk", "../extracted/disk.vmdk");

    let manifest = fs::read_to_string(extracted.join("disk.mf")).unwrap();
    let line = |name: &str| {
        let digest = Sha256::digest(fs::read(extracted.join(name)).unwrap());
        let digits: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("SHA256({name})= {digits}\n")
    };
    assert_eq!(manifest, line("disk.ovf") + &line("disk.vmdk"));

    let description = fs::read_to_string(extracted.join("disk.ovf")).unwrap();
    let vmdk_bytes = fs::metadata(extracted.join("disk.vmdk")).unwrap().len();
    for expected in [
        format!("ovf:href=\"disk.vmdk\" ovf:size=\"{vmdk_bytes}\""),
        format!("ovf:capacity=\"{DISK_BYTES}\""),
        "<Name>sample</Name>".to_owned(),
    ] {
        assert!(description.contains(&expected), "{expected}\n{description}");
    }
    let Some(xmllint) = oracle::require("xmllint") else {
        return;
    };
    run(&xmllint, &["--noout", text(&extracted.join("disk.ovf"))]);
}

#[test]
fn an_ova_alone_is_the_same() {
    let both = Disk::write(&[ImageType::Vmdk, ImageType::Ova]);
    let alone = Disk::write(&[ImageType::Ova]);
    assert!(!alone.output("vmdk").exists());
    assert_equal(
        &both.output("archive/image.ova"),
        &alone.output("archive/image.ova"),
    );
}

#[test]
fn an_ami_is_the_raw_disk_and_what_to_tell_ec2() {
    let disk = Disk::write(&[ImageType::Ami]);
    assert_eq!(fs::metadata(disk.raw()).unwrap().len(), DISK_BYTES);
    let text = fs::read_to_string(disk.output("image/ami.json")).unwrap();
    let description: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(description["size-bytes"], DISK_BYTES);
    assert_eq!(description["import-snapshot"]["DiskContainer"]["Format"], "RAW");
    let image = &description["register-image"];
    assert_eq!(
        [
            &image["Architecture"],
            &image["BootMode"],
            &image["VirtualizationType"]
        ],
        // The sample has no GRUB, so nothing starts it on a BIOS.
        ["x86_64", "uefi", "hvm"]
    );
    assert_eq!(image["EnaSupport"], true);
    let mapping = &image["BlockDeviceMappings"][0];
    assert_eq!(mapping["DeviceName"], image["RootDeviceName"]);
    assert_eq!(mapping["Ebs"]["VolumeSize"], 1);

    let work = tempfile::tempdir().unwrap();
    let store = sample::open(work.path());
    Sample::bootable(&store).commit();
    let plan = osmith_disk::plan(&store, &sample::spec(&[ImageType::Ami, ImageType::Raw])).unwrap();
    let paths: Vec<&str> = plan.outputs.iter().map(|output| output.path.as_str()).collect();
    assert_eq!(paths, ["image/disk.raw", "image/ami.json"]);
}
