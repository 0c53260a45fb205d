//! Disks in the formats of hypervisors and clouds: the same contents as the raw disk, and what each platform demands.

mod program;
mod sample;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use osmith_disk::{Destination, ImageType, Plan, PlanError};
use osmith_report::{Class, Failure, Silent};
use osmith_testing::oracle;
use program::{run, text};
use sample::Sample;

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
