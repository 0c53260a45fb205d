//! What goes wrong is said clearly, and leaves nothing behind.

mod sample;

use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use osmith_disk::{Destination, ImageType, Needed, PlanError, WriteError};
use osmith_image::store::Store;
use osmith_report::{Class, Event, Failure, Observer, Silent};
use sample::Sample;

const BOTH: [ImageType; 2] = [ImageType::Raw, ImageType::Qcow2];

fn store(directory: &Path) -> Store {
    let store = sample::open(&directory.join("store"));
    Sample::bootable(&store).commit();
    store
}

fn write(store: &Store, directory: &Path, observer: &dyn Observer) -> Result<(), WriteError> {
    let plan = osmith_disk::plan(store, &sample::spec(&BOTH)).unwrap();
    let destination = Destination {
        directory,
        overwrite: false,
        processors: 2,
    };
    osmith_disk::execute(&plan, store, &destination, observer).map(drop)
}

/// Every name below a directory.
fn names(directory: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(directory) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for entry in entries.map(Result::unwrap) {
        found.push(entry.path().display().to_string());
        found.extend(names(&entry.path()));
    }
    found
}

#[test]
fn images_that_boot_nothing_are_refused() {
    let refusal = |build: &dyn Fn(&mut Sample)| {
        let work = tempfile::tempdir().unwrap();
        let store = sample::open(work.path());
        let mut image = Sample::new(&store);
        build(&mut image);
        image.commit();
        let error = osmith_disk::plan(&store, &sample::spec(&BOTH)).unwrap_err();
        assert_eq!(error.class(), Class::Input);
        assert!(!error.hints().is_empty(), "{error}");
        let PlanError::Install { image, source } = error else {
            panic!("{error}")
        };
        assert_eq!(image, sample::NAME);
        source.to_string()
    };
    assert!(refusal(&|_| {}).contains("no kernel"));
    let without_loader = refusal(&|image| {
        image.file("usr/lib/os-release", b"ID=sample\n");
        image.file("usr/lib/modules/6.12.1/vmlinuz", b"kernel");
        image.file("usr/lib/modules/6.12.1/initramfs.img", b"initramfs");
    });
    assert!(without_loader.contains("systemd-boot"), "{without_loader}");
}

#[test]
fn a_missing_image_is_not_found() {
    let work = tempfile::tempdir().unwrap();
    let store = sample::open(work.path());
    let error = osmith_disk::plan(&store, &sample::spec(&BOTH)).unwrap_err();
    assert_eq!(error.class(), Class::NotFound);
    assert!(error.to_string().contains(sample::NAME), "{error}");
}

#[test]
fn an_image_for_another_kind_of_machine_is_refused() {
    let work = tempfile::tempdir().unwrap();
    let store = sample::open(work.path());
    Sample::bootable(&store).commit_for("s390x");
    let error = osmith_disk::plan(&store, &sample::spec(&BOTH)).unwrap_err();
    assert_eq!(error.class(), Class::Input);
    assert!(error.to_string().contains("s390x"), "{error}");
}

#[test]
fn a_disk_that_is_too_small_is_refused_with_the_least_that_works() {
    let work = tempfile::tempdir().unwrap();
    let store = store(work.path());
    let mut spec = sample::spec(&BOTH);
    spec.size_bytes = Some(100 << 20);
    let error = osmith_disk::plan(&store, &spec).unwrap_err();
    assert_eq!(error.class(), Class::Usage);
    assert!(
        error.to_string().starts_with("a disk of 100 MiB is too small"),
        "{error}"
    );
    assert!(error.hints()[0].contains("--size"), "{:?}", error.hints());
}

#[test]
fn an_output_that_exists_is_kept_unless_it_may_be_replaced() {
    let work = tempfile::tempdir().unwrap();
    let store = store(work.path());
    let output = work.path().join("output");
    let precious = output.join("qcow2/disk.qcow2");
    fs::create_dir_all(precious.parent().unwrap()).unwrap();
    fs::write(&precious, "precious").unwrap();
    let error = write(&store, &output, &Silent).unwrap_err();
    assert_eq!(error.class(), Class::Conflict);
    assert!(error.to_string().contains("qcow2/disk.qcow2"), "{error}");
    assert_eq!(fs::read(&precious).unwrap(), b"precious");
    assert!(!output.join("image").exists());

    let plan = osmith_disk::plan(&store, &sample::spec(&BOTH)).unwrap();
    let destination = Destination {
        directory: &output,
        overwrite: true,
        processors: 2,
    };
    osmith_disk::execute(&plan, &store, &destination, &Silent).unwrap();
    assert_eq!(fs::read(&precious).unwrap()[..4], *b"QFI\xfb");
}

#[test]
fn a_damaged_object_is_found_and_named() {
    let work = tempfile::tempdir().unwrap();
    let store = store(work.path());
    let victim = store.put_bytes(&sample::text(6, 7_654_321)).unwrap();
    let osmith_formats::tree::Content::Object { digest, .. } = victim else {
        unreachable!()
    };
    let path = store.objects_path().join(digest.object_path());
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let file = fs::File::options().write(true).open(&path).unwrap();
    file.write_all_at(b"!", 5_000_000).unwrap();
    let output = work.path().join("output");
    let error = write(&store, &output, &Silent).unwrap_err();
    assert_eq!(error.class(), Class::Corrupt);
    assert!(error.to_string().contains(&digest.to_string()), "{error}");
    assert!(error.to_string().contains("/usr/lib/large"), "{error}");
    assert!(!output.exists());

    file.set_len(1000).unwrap();
    assert_eq!(
        write(&store, &output, &Silent).unwrap_err().class(),
        Class::Corrupt
    );
    fs::remove_file(&path).unwrap();
    let error = write(&store, &output, &Silent).unwrap_err();
    assert_eq!(error.class(), Class::Corrupt);
    assert!(error.to_string().contains("missing"), "{error}");
    assert!(!output.exists());
}

/// Asks to stop after so many events.
struct Impatient {
    events_left: AtomicU64,
}

impl Observer for Impatient {
    fn observe(&self, _: Event) {
        let _ = self
            .events_left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
    }

    fn interrupted(&self) -> bool {
        self.events_left.load(Ordering::Relaxed) == 0
    }
}

#[test]
fn whoever_stops_it_finds_nothing() {
    let work = tempfile::tempdir().unwrap();
    let store = store(work.path());
    for events in [0, 3, 12] {
        let output = work.path().join("deep/output");
        let observer = Impatient {
            events_left: AtomicU64::new(events),
        };
        let error = write(&store, &output, &observer).unwrap_err();
        assert_eq!(error.class(), Class::Interrupted, "{error}");
        assert_eq!(names(&work.path().join("deep")), [""; 0]);
    }
}

/// A small file system of its own.
struct Small {
    directory: tempfile::TempDir,
}

impl Small {
    fn mount(size: &str) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            assert!(
                !osmith_testing::oracle::in_ci(),
                "mounting needs root, and CI=true does not allow to skip a test"
            );
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        let mut mount = std::process::Command::new("mount");
        mount
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "none"])
            .arg(directory.path());
        assert!(mount.status().unwrap().success());
        Some(Small { directory })
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount")
            .arg(self.directory.path())
            .status();
    }
}

#[test]
fn a_full_disk_is_said_before_or_after() {
    let work = tempfile::tempdir().unwrap();
    let store = store(work.path());
    let mut cases = vec![("2m", BOTH.to_vec()), ("14m", BOTH[1..].to_vec())];
    // What becomes of zeros takes some room as well, so these begin with more.
    cases.extend([
        ("10m", vec![ImageType::Vmdk]),
        ("10m", vec![ImageType::Vhd]),
        ("10m", vec![ImageType::VhdDynamic]),
        ("10m", vec![ImageType::Gce]),
        ("10m", vec![ImageType::Vmdk, ImageType::Ova]),
        ("10m", vec![ImageType::RawZst]),
        ("10m", vec![ImageType::RawXz]),
    ]);
    for (size, types) in cases {
        let Some(small) = Small::mount(size) else { return };
        let plan = osmith_disk::plan(&store, &sample::spec(&types)).unwrap();
        let directory = small.directory.path().join("output");
        let destination = Destination {
            directory: &directory,
            overwrite: false,
            processors: 2,
        };
        let error = osmith_disk::execute(&plan, &store, &destination, &Silent).unwrap_err();
        assert_eq!(error.class(), Class::Environment);
        let text = error.to_string();
        let WriteError::NoSpace {
            needed, free_bytes, ..
        } = error
        else {
            panic!("{text}")
        };
        let (Needed::AtLeast(needed_bytes) | Needed::UpTo(needed_bytes)) = needed;
        assert!(needed_bytes > free_bytes, "{text}");
        assert_eq!(names(small.directory.path()), [""; 0]);
    }
}

#[test]
fn outputs_are_replaced_together_or_not_at_all() {
    let work = tempfile::tempdir().unwrap();
    let store = store(work.path());
    let directory = work.path().join("output");
    let raw = directory.join("image/disk.raw");
    fs::create_dir_all(directory.join("qcow2/disk.qcow2/in-the-way")).unwrap();
    fs::create_dir_all(directory.join("image")).unwrap();
    fs::write(&raw, "old").unwrap();
    let plan = osmith_disk::plan(&store, &sample::spec(&BOTH)).unwrap();
    let destination = Destination {
        directory: &directory,
        overwrite: true,
        processors: 2,
    };
    osmith_disk::execute(&plan, &store, &destination, &Silent).unwrap_err();
    assert_eq!(fs::read(&raw).unwrap(), b"old");
    assert_eq!(names(&directory.join("image")), [raw.display().to_string()]);
    fs::remove_dir_all(directory.join("qcow2/disk.qcow2")).unwrap();
    osmith_disk::execute(&plan, &store, &destination, &Silent).unwrap();
    assert_ne!(fs::metadata(&raw).unwrap().len(), 3);
    assert_eq!(names(&directory.join("image")), [raw.display().to_string()]);
}

#[test]
fn a_directory_that_cannot_be_written_is_named() {
    let work = tempfile::tempdir().unwrap();
    let store = store(work.path());
    let blocked = work.path().join("file");
    fs::write(&blocked, "").unwrap();
    let error = write(&store, &blocked.join("output"), &Silent).unwrap_err();
    assert_eq!(error.class(), Class::Environment);
    assert!(error.to_string().contains("file/output"), "{error}");
}
