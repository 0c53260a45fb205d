//! Mounts against the kernel: needs root (or skips, visibly) and `mkfs.erofs`.
#![allow(missing_docs, clippy::print_stderr)]

use std::fs::{self, File};
use std::io::Write;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::Command;

use osmith_sys::file::{descriptor_path, open_directory, read_attributes, set_attribute};
use osmith_sys::mount::{
    self, Attributes, Composefs, DetachedMount, Feature, Layer, MountAttrFlags, Overlay, erofs, tmpfs,
};

/// A composefs image with one file in the metadata and one whose contents are an object.
struct Fixture {
    directory: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Option<Self> {
        if !rustix::process::getuid().is_root() {
            eprintln!("SKIPPED: not root");
            return None;
        }
        let mkfs = osmith_testing::oracle::require("mkfs.erofs")?;
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        for name in ["tree/etc", "objects/ab", "scratch", "upper", "work"] {
            fs::create_dir_all(path(name)).unwrap();
        }
        fs::write(path("tree/etc/small"), "inline").unwrap();
        let big = File::create(path("tree/etc/big")).unwrap();
        big.set_len(6000).unwrap();
        set_attribute(path("tree/etc/big"), b"trusted.overlay.metacopy", b"").unwrap();
        set_attribute(path("tree/etc/big"), b"trusted.overlay.redirect", b"/ab/cd").unwrap();
        fs::write(path("objects/ab/cd"), vec![b'x'; 6000]).unwrap();
        let made = Command::new(mkfs)
            .args([path("image"), path("tree")])
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        Some(Fixture { directory })
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.directory.path().join(name)
    }

    fn composefs(&self) -> DetachedMount {
        let image = File::open(self.path("image")).unwrap();
        let objects = open_directory(self.path("objects")).unwrap();
        let composefs = Composefs {
            source: "composefs:test",
            image: image.as_fd(),
            objects: objects.as_fd(),
            verity_required: false,
        };
        composefs.mount(&self.path("scratch")).unwrap()
    }
}

fn root_of(mount: &impl AsFd) -> std::path::PathBuf {
    descriptor_path(mount)
}

fn assert_nothing_is_mounted_below(directory: &Path) {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(directory.to_str().unwrap()), "{mounts}");
}

#[test]
fn composefs_shows_metadata_and_objects_read_only() {
    let Some(fixture) = Fixture::new() else { return };
    let mount = fixture.composefs();
    let root = root_of(&mount);
    assert_eq!(fs::read(root.join("etc/small")).unwrap(), b"inline");
    assert_eq!(fs::read(root.join("etc/big")).unwrap(), vec![b'x'; 6000]);
    assert_eq!(
        fs::write(root.join("new"), "").unwrap_err().raw_os_error(),
        Some(30)
    );
    assert!(read_attributes(root.join("etc/big")).unwrap().is_empty());
    assert_nothing_is_mounted_below(fixture.directory.path());
}

#[test]
fn required_verity_refuses_objects_without() {
    let Some(fixture) = Fixture::new() else { return };
    let image = File::open(fixture.path("image")).unwrap();
    let objects = open_directory(fixture.path("objects")).unwrap();
    let composefs = Composefs {
        source: "composefs:test",
        image: image.as_fd(),
        objects: objects.as_fd(),
        verity_required: true,
    };
    // A kernel without fs-verity refuses the option already.
    if let Ok(mount) = composefs.mount(&fixture.path("scratch")) {
        fs::read(root_of(&mount).join("etc/big")).unwrap_err();
    }
    assert_nothing_is_mounted_below(fixture.directory.path());
}

fn write_over(fixture: &Fixture, lower: Layer<'_>, data: bool) {
    let objects = open_directory(fixture.path("objects")).unwrap();
    let upper = open_directory(fixture.path("upper")).unwrap();
    let work = open_directory(fixture.path("work")).unwrap();
    let overlay = Overlay {
        source: "test",
        lower,
        data: data.then_some(objects.as_fd()),
        upper: Some((upper.as_fd(), work.as_fd())),
        attributes: Attributes::Trusted,
        metacopy: Feature::Off,
        redirect: Feature::Off,
        verity_required: false,
        volatile: true,
    };
    let mount = overlay.mount(&fixture.path("scratch")).unwrap();
    let root = root_of(&mount);
    assert_eq!(fs::read(root.join("etc/big")).unwrap().len(), 6000);
    let mut permissions = fs::metadata(root.join("etc/big")).unwrap().permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o600);
    fs::set_permissions(root.join("etc/big"), permissions).unwrap();
    drop(mount);
    assert_eq!(fs::read(fixture.path("upper/etc/big")).unwrap(), vec![b'x'; 6000]);
    assert_nothing_is_mounted_below(fixture.directory.path());
}

#[test]
fn overlay_over_composefs_copies_whole_files_up() {
    let Some(fixture) = Fixture::new() else { return };
    write_over(&fixture, Layer::Detached(&fixture.composefs()), false);
}

#[test]
fn one_overlay_with_a_data_layer_copies_whole_files_up() {
    let Some(fixture) = Fixture::new() else { return };
    let metadata = erofs(File::open(fixture.path("image")).unwrap()).unwrap();
    write_over(&fixture, Layer::Detached(&metadata), true);
}

#[test]
fn clones_become_read_only_and_attach() {
    let Some(fixture) = Fixture::new() else { return };
    let source = open_directory(fixture.path("objects")).unwrap();
    let clone = DetachedMount::clone_of(&source, "ab", false).unwrap();
    clone.set_read_only(true).unwrap();
    let outer = tmpfs("test", "0755", Some(1 << 20)).unwrap();
    let outer = outer
        .attach(open_directory(fixture.path("scratch")).unwrap(), "")
        .unwrap();
    fs::create_dir(fixture.path("scratch/here")).unwrap();
    clone.attach(&outer, "here").unwrap();
    let here = fixture.path("scratch/here");
    assert_eq!(fs::read(here.join("cd")).unwrap().len(), 6000);
    assert_eq!(
        fs::write(here.join("cd"), "").unwrap_err().raw_os_error(),
        Some(30)
    );
    mount::set_attributes(
        &outer,
        MountAttrFlags::MOUNT_ATTR_NOSUID,
        MountAttrFlags::empty(),
        true,
    )
    .unwrap();
    mount::detach(fixture.path("scratch")).unwrap();
    assert_nothing_is_mounted_below(fixture.directory.path());
}

#[test]
fn an_image_that_cannot_back_a_mount_gets_a_loop_device() {
    let Some(fixture) = Fixture::new() else { return };
    // The kernel mounts no EROFS straight from a file in memory.
    let memory = rustix::fs::memfd_create("image", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
    let image = fs::read(fixture.path("image")).unwrap();
    File::from(memory.try_clone().unwrap()).write_all(&image).unwrap();
    let mount = erofs(&memory).unwrap();
    assert_eq!(fs::read(root_of(&mount).join("etc/small")).unwrap(), b"inline");
}

#[test]
fn a_broken_image_says_what_the_kernel_says() {
    let Some(fixture) = Fixture::new() else { return };
    let error = erofs(File::open(fixture.path("objects/ab/cd")).unwrap()).unwrap_err();
    assert!(error.to_string().starts_with("cannot mount erofs: "), "{error}");
}

#[test]
fn probe_answers() {
    if rustix::process::getuid().is_root() {
        mount::mounts_into_detached().unwrap();
    }
}
