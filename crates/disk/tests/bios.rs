//! Disks that start on BIOS machines too.

mod program;
mod sample;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use osmith_disk::{BiosBootError, Destination, ImageType, Plan, PlanError, Spec};
use osmith_report::{Class, Failure, Silent};
use osmith_testing::oracle;
use program::{run, text};
use sample::Sample;

const FOLDER: &str = "usr/lib/grub/i386-pc";
const MODULES: [&str; 19] = [
    "biosdisk",
    "part_gpt",
    "fat",
    "memdisk",
    "newc",
    "normal",
    "configfile",
    "search",
    "loadenv",
    "regexp",
    "test",
    "true",
    "echo",
    "serial",
    "terminal",
    "ls",
    "reboot",
    "halt",
    "linux",
];

/// Files with GRUB's outer shape and no code.
fn add_grub(sample: &mut Sample<'_>, left_out: &str) {
    let mut file = |name: &str, bytes: &[u8]| {
        if name != left_out {
            sample.file(&format!("{FOLDER}/{name}"), bytes);
        }
    };
    let mut boot = vec![0xee; 512];
    boot[510..].copy_from_slice(&[0x55, 0xaa]);
    file("boot.img", &boot);
    let mut diskboot = vec![0xdd; 512];
    diskboot[500..].copy_from_slice(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x20, 8]);
    file("diskboot.img", &diskboot);
    file("lzma_decompress.img", &[0; 2848]);
    let elf = |kind: u8| {
        let mut header = vec![0; 52];
        header[..7].copy_from_slice(b"\x7fELF\x01\x01\x01");
        header[16..20].copy_from_slice(&[kind, 0, 3, 0]);
        header[0x2e] = 40;
        header
    };
    let mut kernel = elf(2);
    (kernel[0x20], kernel[0x30]) = (52, 1);
    let section = [0_u32, 1, 2, 0x9000, 92, 8, 0, 0, 0, 0].map(u32::to_le_bytes);
    kernel.extend_from_slice(&section.concat());
    kernel.extend_from_slice(&[0x90; 8]);
    file("kernel.img", &kernel);
    let mut list = String::from("extra:\n");
    for module in MODULES {
        list.push_str(&format!("{module}: extra\n"));
        file(&format!("{module}.mod"), &elf(1));
    }
    file("extra.mod", &elf(1));
    file("moddep.lst", list.as_bytes());
}

fn plan_in(work: &Path, spec: &Spec, prepare: impl Fn(&mut Sample<'_>)) -> Result<Plan, PlanError> {
    let store = sample::open(&work.join("store"));
    let mut sample = Sample::bootable(&store);
    prepare(&mut sample);
    sample.commit();
    osmith_disk::plan(&store, spec)
}

fn refusal(spec: &Spec, prepare: impl Fn(&mut Sample<'_>)) -> BiosBootError {
    let work = tempfile::tempdir().unwrap();
    match plan_in(work.path(), spec, prepare).map(drop) {
        Err(PlanError::BiosBoot { source, .. }) => *source,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_boot_sector_leads_to_the_core_image() {
    let work = tempfile::tempdir().unwrap();
    let spec = sample::spec(&[ImageType::Raw]);
    let plan = plan_in(work.path(), &spec, |sample| add_grub(sample, "")).unwrap();
    let first = &plan.partitions[0];
    assert_eq!(
        (first.name.as_str(), first.offset_bytes, first.size_bytes),
        ("BIOS-BOOT", 1 << 20, 1 << 20)
    );
    assert_eq!(first.type_guid, "21686148-6449-6e6f-744e-656564454649");
    assert_eq!(plan.partitions[1].name, "EFI-SYSTEM");

    let destination = Destination {
        directory: &work.path().join("output"),
        overwrite: false,
        processors: 2,
    };
    let store = sample::open(&work.path().join("store"));
    osmith_disk::execute(&plan, &store, &destination, &Silent).unwrap();
    let path = work.path().join("output/image/disk.raw");
    let disk = File::open(&path).unwrap();
    let sector = |lba: u64| {
        let mut bytes = [0; 512];
        disk.read_exact_at(&mut bytes, lba * 512).unwrap();
        bytes
    };
    let boot = sector(0);
    assert_eq!(boot[0], 0xee);
    let core_lba = u64::from_le_bytes(boot[0x5c..0x64].try_into().unwrap());
    assert_eq!(core_lba, 2048);
    let (protective, signature) = (&boot[440..510], &boot[510..]);
    assert_eq!((protective[..6].iter().max(), protective[10]), (Some(&0), 0xee));
    assert_eq!(signature, [0x55, 0xaa]);
    let diskboot = sector(core_lba);
    assert_eq!(diskboot[0], 0xdd);
    let following = u64::from_le_bytes(diskboot[500..508].try_into().unwrap());
    assert_eq!(following, 2049);
    // The decompressor with the length of what comes after it.
    assert_ne!(sector(following)[8..12], [0; 4]);

    if let Some(sgdisk) = oracle::require("sgdisk") {
        let verdict = run(&sgdisk, &["-v", text(&path)]);
        assert!(verdict.contains("No problems found"), "{verdict}");
    }
}

#[test]
fn an_image_without_grub_starts_by_uefi_only() {
    let work = tempfile::tempdir().unwrap();
    let plan = plan_in(work.path(), &sample::spec(&[ImageType::Raw]), |_| {}).unwrap();
    assert_eq!(plan.partitions[0].name, "EFI-SYSTEM");
}

#[test]
fn what_makes_no_boot_loader_is_named() {
    let spec = sample::spec(&[ImageType::Raw]);
    let missing = refusal(&spec, |sample| add_grub(sample, "fat.mod"));
    assert_eq!(
        missing.to_string(),
        "the image has GRUB for BIOS machines, but not its file 'usr/lib/grub/i386-pc/fat.mod'"
    );
    assert_eq!((missing.class(), missing.hints().len()), (Class::Input, 2));
    let strange = refusal(&spec, |sample| {
        add_grub(sample, "halt.mod");
        sample.file(&format!("{FOLDER}/halt.mod"), b"#!/bin/sh\n");
    });
    assert!(matches!(strange, BiosBootError::Grub(_)), "{strange}");
}

#[test]
fn a_kernel_argument_that_grub_would_change_is_refused() {
    let spec = Spec {
        kernel_arguments: vec!["rw".to_owned(), "module.option=a b".to_owned()],
        ..sample::spec(&[ImageType::Raw])
    };
    let refused = refusal(&spec, |sample| add_grub(sample, ""));
    let source = std::error::Error::source(&refused).unwrap().to_string();
    assert!(
        source.starts_with("GRUB cannot read 'module.option=\"a' in the line 'options'"),
        "{source}"
    );
    assert_eq!(refused.hints().len(), 2);
    let work = tempfile::tempdir().unwrap();
    plan_in(work.path(), &spec, |_| {}).unwrap();
}
