//! One run writes every format, and each starts a machine or is the same disk as one that does.

use std::path::{Path, PathBuf};
use std::process::Command;

use osmith_stories::OSMITH;
use osmith_testing::vm::Laboratory;

use crate::story::{IMAGE, WORKSHOP, containerfile};

const TYPES: &str = "ami,qcow2,vmdk,vhd,vhd-dynamic,gce,ova,raw.zst,raw.xz";

/// A format's file, and how it is started.
const STARTED: [(&str, &[&str]); 5] = [
    ("vmdk/disk.vmdk", &["--snapshot"]),
    ("vpc/disk.vhd", &["--firmware", "bios"]),
    ("vpc-dynamic/disk.vhd", &[]),
    ("image/disk.raw", &["--firmware", "bios", "--snapshot"]),
    ("qcow2/disk.qcow2", &["--snapshot"]),
];

/// What gives the same bytes as another file.
const SAME: [(&str, &str); 4] = [
    ("zstd -dcq image/disk.raw.zst", "image/disk.raw"),
    ("xz -dc image/disk.raw.xz", "image/disk.raw"),
    ("tar -xOzf gce/image.tar.gz disk.raw", "image/disk.raw"),
    (
        "tar -xOf archive/image.ova --wildcards '*.vmdk'",
        "vmdk/disk.vmdk",
    ),
];

#[test]
#[ignore = "boots five machines: make test-long"]
fn long_every_format_starts_a_machine() {
    WORKSHOP.build(IMAGE, &containerfile("1", ""));
    let output = WORKSHOP.folder.join("formats");
    WORKSHOP.osmith(&format!(
        "disk --force --type {TYPES} --output {} {IMAGE}",
        output.display()
    ));
    for (command, file) in SAME {
        let compared = format!("{command} | cmp - {file}");
        let status = Command::new("bash")
            .args(["-o", "pipefail", "-c", &compared])
            .current_dir(&output)
            .status();
        assert!(status.expect("bash").success(), "{compared}");
    }
    for (file, options) in STARTED {
        let laboratory = Laboratory::open(Path::new(OSMITH)).expect("a laboratory");
        let disk: PathBuf = output.join(file);
        let mut machine = laboratory.boot(&disk, options).expect("a machine");
        machine.wait_for_ssh();
        let started_by_bios = machine.run("test -e /sys/firmware/efi || echo bios");
        assert_eq!(
            started_by_bios.trim() == "bios",
            options.contains(&"bios"),
            "{file}"
        );
        let status = machine.run("osmith status --json");
        assert!(status.contains(IMAGE), "{file}: {status}");
        machine.shut_down();
    }
    std::fs::remove_dir_all(&output).expect("the formats are ours");
}
