//! Machines that start by unified kernel images.

use super::*;
use crate::install::composefs_digest;
use crate::origin::BootType;
use crate::uki::tests::sample as program;

const UKI: &str = "boot/EFI/Linux/6.12.1.efi";

pub(super) fn command_line(deployment: &Digest) -> String {
    format!("rw composefs=?{deployment}")
}

/// The files of an image with a unified kernel image for them.
fn unified(version: &str) -> Files {
    let mut files = files(version);
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), Access::ReadWrite).unwrap();
    let digest = composefs_digest(&store, &commit(&store, &files)).unwrap();
    files.insert(UKI, sealed(&digest));
    files
}

fn sealed(digest: &Digest) -> Vec<u8> {
    program(&[
        (".cmdline", command_line(digest).as_bytes()),
        (".uname", b"6.12.1"),
        (".linux", &[1; 5000]),
        (".initrd", &[2; 9000]),
    ])
}

fn unified_sample() -> Sample {
    Sample::of(&unified("1"), Vec::new())
}

fn kernels(sample: &Sample) -> usize {
    fs::read_dir(sample.path("boot/EFI/Linux/bootc")).unwrap().count()
}

#[test]
fn an_update_brings_its_kernel_image() {
    let sample = unified_sample();
    let first = sample.machine().booted();
    sample.require_bootable(&first);
    let second = sample.staged(&unified("2"));
    sample.require_bootable(&first);
    finalize(&sample.machine()).unwrap();
    assert_eq!(sample.reboot(), second);
    let menu = sample.esp().menu().unwrap();
    assert_eq!(menu.deployments(), [second, first]);
    let entry = &menu.entries[0].entry;
    let path = format!("/EFI/Linux/bootc/bootc_composefs-{second}.efi");
    assert_eq!(entry.uki.as_deref(), Some(path.as_str()));
    assert_eq!((entry.options.as_str(), &entry.linux), ("", &None));
    assert_eq!(menu.entries[0].file_name(), "bootc_example-2-1+3.conf");
    let origin = sample.machine().origin(&second).unwrap();
    assert_eq!(origin.boot_type, BootType::Uki);
    let shown = status(&sample.root.path()).unwrap().host.status;
    let shown = serde_json::to_value(shown).unwrap();
    assert_eq!(shown["booted"]["composefs"]["bootType"], "Uki");
    rollback(&sample.machine()).unwrap();
    assert_eq!(sample.reboot(), first);
}

#[test]
fn kernel_images_go_with_their_deployments() {
    let sample = unified_sample();
    for version in ["2", "3"] {
        sample.staged(&unified(version));
        finalize(&sample.machine()).unwrap();
        sample.reboot_healthy();
        sample.collect();
    }
    assert_eq!(kernels(&sample), 2);
    for deployment in sample.esp().menu().unwrap().deployments() {
        sample.require_bootable(&deployment);
    }
    let store = sample.machine().open_store().unwrap();
    let image = commit(&store, &unified("3"));
    assert!(incomplete_layers(&store, &image).unwrap().is_empty());
}

#[test]
fn a_deployment_that_comes_again_keeps_its_kernel_image() {
    let sample = unified_sample();
    let first = sample.machine().booted();
    sample.staged(&unified("2"));
    finalize(&sample.machine()).unwrap();
    sample.reboot_healthy();
    let path = sample.path(&format!("boot/EFI/Linux/bootc/bootc_composefs-{first}.efi"));
    let before = fs::metadata(&path).unwrap().modified().unwrap();
    assert_eq!(sample.staged(&unified("1")), first);
    assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), before);
    finalize(&sample.machine()).unwrap();
    assert_eq!(sample.reboot(), first);
}

#[test]
fn the_kernel_image_of_another_tree_is_refused() {
    let sample = unified_sample();
    let mut other = unified("2");
    other.insert("usr/share/version", b"changed afterwards".to_vec());
    let error = sample.stage_with(&other, false).unwrap_err();
    let message = error.to_string();
    assert!(message.contains("is for other files"), "{message}");
    other.insert(
        UKI,
        program(&[(".cmdline", b"quiet"), (".linux", b"k"), (".initrd", b"i")]),
    );
    let error = sample.stage_with(&other, false).unwrap_err();
    assert!(error.to_string().contains("names no deployment"), "{error}");
    other.insert(UKI, b"no program".to_vec());
    let error = sample.stage_with(&other, false).unwrap_err();
    assert!(
        error.to_string().contains("is no unified kernel image"),
        "{error}"
    );
    other.insert("boot/EFI/Linux/second.efi", Vec::new());
    let error = sample.stage_with(&other, false).unwrap_err();
    assert!(
        error.to_string().contains("several unified kernel images"),
        "{error}"
    );
    assert_eq!(kernels(&sample), 1);
    assert_eq!(sample.esp().staged_menu().unwrap(), None);
}

#[test]
fn a_machine_keeps_its_way_to_start() {
    for (sample, next) in [(unified_sample(), files("2")), (Sample::new(), unified("2"))] {
        let error = sample.stage_with(&next, false).unwrap_err();
        assert!(matches!(error, DeployError::BootType { .. }), "{error}");
        assert_eq!(sample.esp().staged_menu().unwrap(), None);
    }
}

#[test]
fn sealed_arguments_are_shown_and_stay() {
    let sample = unified_sample();
    let machine = sample.machine();
    let first = machine.booted();
    assert_eq!(kargs(&machine).unwrap().join(" "), command_line(&first));
    let change = KargsChange {
        append: vec!["quiet".to_owned()],
        ..KargsChange::default()
    };
    let error = change_kargs(&machine, &change).unwrap_err();
    assert!(matches!(error, DeployError::SealedArguments), "{error}");
}
