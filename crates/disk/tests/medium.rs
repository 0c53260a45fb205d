//! Installation media: what is on them, seen by the kernel and by other programs, and what is installed from them.

mod program;
mod sample;

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use osmith_disk::medium::{
    EmbedError, KICKSTART_AREA_BYTES, LEVEL_DEFAULT, MediumKind, MediumSpec, embed_kickstart, plan_medium,
    write_medium,
};
use osmith_disk::{Destination, Device, PlanError, Spec, WriteError};
use osmith_formats::iso9660;
use osmith_image::store::Store;
use osmith_machine::deploy::image_name;
use osmith_machine::install::{InstallError, KICKSTART_AREA};
use osmith_report::Silent;
use osmith_testing::oracle;
use program::{run, text};
use sample::Sample;

struct Place {
    work: tempfile::TempDir,
    store: Store,
}

impl Place {
    fn new() -> Self {
        let work = tempfile::tempdir().unwrap();
        let store = sample::open(&work.path().join("store"));
        let mut image = Sample::bootable(&store);
        image.file("usr/bin/osmith", &sample::text(50, 300_000));
        image.file(
            "usr/lib/dracut/modules.d/51osmith/osmith-medium.service",
            b"[Unit]\n",
        );
        image.commit();
        Place { work, store }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.work.path().join(name)
    }

    fn write(&self, name: &str, kinds: &[MediumKind]) -> PathBuf {
        let plan = plan_medium(&self.store, &spec(kinds)).unwrap();
        let directory = self.path(name);
        let destination = Destination {
            directory: &directory,
            overwrite: false,
            processors: 2,
        };
        write_medium(&plan, &self.store, &destination, &Silent).unwrap();
        directory
    }
}

fn spec(kinds: &[MediumKind]) -> MediumSpec {
    MediumSpec {
        image: sample::reference(),
        platform: None,
        kinds: kinds.to_vec(),
        seed: 0,
        kernel_arguments: vec!["inst.ks=http://server.example.org/ks.cfg".to_owned()],
        follows: "registry.example.org/os:1".parse().unwrap(),
        level: LEVEL_DEFAULT,
    }
}

#[test]
fn a_medium_starts_an_installer() {
    let place = Place::new();
    let plan = plan_medium(
        &place.store,
        &spec(&[MediumKind::Iso, MediumKind::Pxe, MediumKind::Iso]),
    )
    .unwrap();
    let arguments = plan.kernel_arguments.join(" ");
    assert!(arguments.starts_with(&format!(
        "osmith.medium={} composefs=?{}",
        plan.id, plan.deployment
    )));
    assert!(
        arguments.contains(" systemd.unit=osmith-install.target "),
        "{arguments}"
    );
    assert!(
        arguments.ends_with(" inst.ks=http://server.example.org/ks.cfg"),
        "{arguments}"
    );
    assert!(!arguments.contains("root="), "{arguments}");
    assert_eq!(
        plan.outputs,
        [
            "bootiso/install.iso",
            "pxe/vmlinuz",
            "pxe/initrd.img",
            "pxe/kernel-arguments",
            "pxe/boot.ipxe"
        ]
    );
}

#[test]
fn media_are_reproducible_and_not_replaced() {
    let place = Place::new();
    let kinds = [MediumKind::Iso, MediumKind::Pxe];
    let (one, other) = (place.write("one", &kinds), place.write("other", &kinds));
    for output in plan_medium(&place.store, &spec(&kinds)).unwrap().outputs {
        run(
            Path::new("cmp"),
            &[text(&one.join(output)), text(&other.join(output))],
        );
    }
    let plan = plan_medium(&place.store, &spec(&[MediumKind::Iso])).unwrap();
    let destination = Destination {
        directory: &one,
        overwrite: false,
        processors: 1,
    };
    let error = write_medium(&plan, &place.store, &destination, &Silent).unwrap_err();
    assert!(matches!(error, WriteError::Exists(_)), "{error}");
}

#[test]
fn other_programs_read_an_iso() {
    let (Some(xorriso), Some(sgdisk)) = (oracle::require("xorriso"), oracle::require("sgdisk")) else {
        return;
    };
    let place = Place::new();
    let iso = place.write("out", &[MediumKind::Iso]).join("bootiso/install.iso");
    let verdict = run(&sgdisk, &["-v", text(&iso)]);
    assert!(verdict.contains("No problems found"), "{verdict}");
    let listing = run(
        &xorriso,
        &[
            "-indev",
            text(&iso),
            "-report_el_torito",
            "plain",
            "-find",
            "/",
            "-type",
            "f",
        ],
    );
    for name in ["vmlinuz", "initrd", "kickstart.img", "BOOTX64.EFI"] {
        assert!(listing.contains(name), "{listing}");
    }
    assert!(listing.contains("UEFI"), "{listing}");
}

#[test]
fn a_disk_is_installed_from_the_medium_alone() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let place = Place::new();
    let iso = place.write("out", &[MediumKind::Iso]).join("bootiso/install.iso");
    let mounted = Mounted::of(&iso, &place.path("mounted"));
    // The store of a medium is read-only; an installer has a layer in memory over it.
    let own = place.path("own");
    run(Path::new("cp"), &["-a", text(&mounted.0), text(&own)]);
    let store = Store::open_in_repository(
        &own.join("state/osmith/store"),
        Path::new("../../../composefs/objects"),
    )
    .unwrap();
    let digest = place.store.image(&sample::reference()).unwrap().manifest_digest;
    let spec = Spec {
        image: image_name(&digest).unwrap(),
        ..sample::spec(&[])
    };
    let disk = |store: &Store, spec: &Spec, name: &str| {
        let path = place.path(name);
        File::create(&path).unwrap().set_len(700 << 20).unwrap();
        let device = Device::open(&path, Path::new("/"), false).unwrap();
        let plan = osmith_disk::plan_for_device(store, spec, device.size_bytes()).unwrap();
        osmith_disk::execute_on_device(&plan, store, &device, 2, &Silent).unwrap();
        path
    };
    let from_medium = disk(&store, &spec, "from-medium");
    let from_store = disk(&place.store, &sample::spec(&[]), "from-store");
    run(Path::new("cmp"), &[text(&from_medium), text(&from_store)]);
}

#[test]
fn a_kickstart_file_comes_and_goes() {
    let place = Place::new();
    let iso = place.write("out", &[MediumKind::Iso]).join("bootiso/install.iso");
    let before = fs::read(&iso).unwrap();
    let file = File::options().read(true).write(true).open(&iso).unwrap();
    embed_kickstart(&file, Some(b"reboot\n")).unwrap();
    let read_at = |offset, buffer: &mut [u8]| file.read_exact_at(buffer, offset);
    let area = iso9660::find(read_at, &format!("/{KICKSTART_AREA}")).unwrap();
    assert_eq!(area.size_bytes, KICKSTART_AREA_BYTES as u64);
    let mut archive = vec![0; 4096];
    file.read_exact_at(&mut archive, area.offset_bytes).unwrap();
    assert!(archive.starts_with(b"070701"));
    assert!(archive.windows(7).any(|window| window == b"ks.cfg\0"));
    embed_kickstart(&file, None).unwrap();
    assert!(fs::read(&iso).unwrap() == before);
    let long = vec![b'#'; KICKSTART_AREA_BYTES];
    let error = embed_kickstart(&file, Some(&long)).unwrap_err();
    assert!(matches!(error, EmbedError::TooLong { .. }), "{error}");
    assert!(fs::read(&iso).unwrap() == before);
    let foreign = tempfile::tempfile().unwrap();
    foreign.set_len(1 << 20).unwrap();
    assert!(matches!(
        embed_kickstart(&foreign, Some(b"x")),
        Err(EmbedError::Foreign(_))
    ));
}

#[test]
fn a_damaged_object_is_found_before_the_medium_is_used() {
    let place = Place::new();
    let digest = osmith_formats::verity::Digest::of(&sample::text(6, 7_654_321));
    let path = place.store.objects_path().join(digest.object_path());
    File::options()
        .write(true)
        .open(path)
        .unwrap()
        .write_all_at(b"damage", 3_000_000)
        .unwrap();
    let plan = plan_medium(&place.store, &spec(&[MediumKind::Iso])).unwrap();
    let directory = place.path("out");
    let destination = Destination {
        directory: &directory,
        overwrite: false,
        processors: 2,
    };
    let error = write_medium(&plan, &place.store, &destination, &Silent).unwrap_err();
    assert!(
        matches!(error, WriteError::Damaged { digest: found, .. } if found == digest),
        "{error}"
    );
    assert!(fs::read_dir(directory.join("bootiso")).unwrap().next().is_none());
}

#[test]
fn an_image_without_osmith_makes_no_medium() {
    let work = tempfile::tempdir().unwrap();
    let store = sample::open(&work.path().join("store"));
    Sample::bootable(&store).commit();
    let error = plan_medium(&store, &spec(&[MediumKind::Iso])).unwrap_err();
    let PlanError::Install { source, .. } = error else {
        panic!("{error}");
    };
    assert!(
        matches!(*source, InstallError::NoInstaller("usr/bin/osmith")),
        "{source}"
    );
}

/// An EROFS file system that is mounted, until this is dropped.
struct Mounted(PathBuf);

impl Mounted {
    fn of(image: &Path, path: &Path) -> Self {
        fs::create_dir_all(path).unwrap();
        run(
            Path::new("mount"),
            &["-o", "loop,ro", "-t", "erofs", text(image), text(path)],
        );
        Mounted(path.to_owned())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        run(Path::new("umount"), &[text(&self.0)]);
    }
}
