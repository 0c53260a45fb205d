//! Disks written onto what is there: files, devices, and file systems that are mounted.

mod program;
mod sample;

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use osmith_disk::{Device, DeviceError, ImageType, Plan, PlanError, Spec, WriteError};
use osmith_formats::verity::Digest;
use osmith_image::store::Store;
use osmith_machine::install::{
    Architecture, Deployment, InstallOptions, Target, TargetError, TargetRequest, deployment_of_stored,
};
use osmith_machine::origin::ImageSource;
use osmith_report::{Event, Observer, Silent, StepId};
use osmith_testing::oracle;
use program::{run, text};
use sample::Sample;

const HOST: &str = "/";
const DISK_BYTES: u64 = 600 << 20;

struct Place {
    work: tempfile::TempDir,
    store: Store,
}

impl Place {
    fn new() -> Self {
        let work = tempfile::tempdir().unwrap();
        let store = sample::open(&work.path().join("store"));
        Sample::bootable(&store).commit();
        Place { work, store }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.work.path().join(name)
    }

    fn file(&self, name: &str, size_bytes: u64) -> PathBuf {
        let path = self.path(name);
        File::create(&path).unwrap().set_len(size_bytes).unwrap();
        path
    }

    fn plan(&self, device: &Device) -> Plan {
        osmith_disk::plan_for_device(&self.store, &sample::spec(&[]), device.size_bytes()).unwrap()
    }

    fn write(&self, path: &Path, wipe: bool, observer: &dyn Observer) -> Result<Plan, WriteError> {
        let device = Device::open(path, Path::new(HOST), wipe).unwrap();
        let plan = self.plan(&device);
        osmith_disk::execute_on_device(&plan, &self.store, &device, 2, observer).map(|()| plan)
    }

    /// The disk that `osmith disk` writes.
    fn raw(&self) -> PathBuf {
        let spec = Spec {
            size_bytes: Some(DISK_BYTES),
            ..sample::spec(&[ImageType::Raw])
        };
        let plan = osmith_disk::plan(&self.store, &spec).unwrap();
        let destination = osmith_disk::Destination {
            directory: &self.path("output"),
            overwrite: false,
            processors: 2,
        };
        osmith_disk::execute(&plan, &self.store, &destination, &Silent).unwrap();
        self.path("output/image/disk.raw")
    }
}

/// Something on every part of a disk.
fn scribble(path: &Path) {
    let file = File::options().write(true).open(path).unwrap();
    for offset in [0, 200 << 20, 514 << 20, DISK_BYTES - (2 << 20)] {
        file.write_all_at(&vec![0xa5; 2 << 20], offset).unwrap();
    }
}

fn require_same(one: &Path, other: &Path) {
    run(Path::new("cmp"), &[text(one), text(other)]);
}

#[test]
fn a_file_becomes_the_disk_that_an_output_is() {
    let place = Place::new();
    let raw = place.raw();
    let file = place.file("file", DISK_BYTES);
    place.write(&file, false, &Silent).unwrap();
    require_same(&file, &raw);
    let error = Device::open(&file, Path::new(HOST), false).unwrap_err();
    assert!(
        matches!(
            error,
            DeviceError::NotEmpty {
                found: "a partition table",
                ..
            }
        ),
        "{error}"
    );
    scribble(&file);
    place.write(&file, true, &Silent).unwrap();
    require_same(&file, &raw);
}

#[test]
fn a_disk_that_is_not_revealed_has_neither_copy_of_its_partition_table() {
    let place = Place::new();
    let file = place.file("file", DISK_BYTES);
    let device = Device::open(&file, Path::new(HOST), false).unwrap();
    let plan = place.plan(&device);
    let hidden = osmith_disk::write_on_device(&plan, &place.store, &device, 2, &Silent).unwrap();
    let opened = File::open(&file).unwrap();
    for offset in [0, DISK_BYTES - (1 << 20)] {
        let mut end = vec![1; 1 << 20];
        opened.read_exact_at(&mut end, offset).unwrap();
        assert!(end.iter().all(|byte| *byte == 0), "at {offset}");
    }
    hidden.reveal().unwrap();
    require_same(&file, &place.raw());
}

#[test]
fn the_end_of_a_device_may_be_anywhere() {
    let Some(sgdisk) = oracle::require("sgdisk") else {
        return;
    };
    let place = Place::new();
    let size_bytes = DISK_BYTES + 5 * 512;
    let file = place.file("file", size_bytes);
    place.write(&file, false, &Silent).unwrap();
    assert_eq!(fs::metadata(&file).unwrap().len(), size_bytes);
    let verdict = run(&sgdisk, &["-v", text(&file)]);
    assert!(verdict.contains("No problems found"), "{verdict}");
    assert!(
        !verdict.contains("Caution") && !verdict.contains("Warning"),
        "{verdict}"
    );
}

#[test]
fn a_device_that_is_too_small_stays_as_it_is() {
    let place = Place::new();
    let file = place.file("file", 100 << 20);
    let device = Device::open(&file, Path::new(HOST), false).unwrap();
    let error =
        osmith_disk::plan_for_device(&place.store, &sample::spec(&[]), device.size_bytes()).unwrap_err();
    assert!(matches!(error, PlanError::DeviceTooSmall { .. }), "{error}");
    assert_eq!(fs::metadata(&file).unwrap().blocks(), 0);
}

/// Asks to stop when some bytes of files are written.
#[derive(Default)]
struct Impatient(AtomicBool);

impl Observer for Impatient {
    fn observe(&self, event: Event) {
        if let Event::Advanced { step, progress } = event
            && step != StepId(0)
            && progress.done > 4 << 20
        {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    fn interrupted(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

#[test]
fn a_disk_that_is_cut_short_has_no_partition_table() {
    let place = Place::new();
    let file = place.file("file", DISK_BYTES);
    place.write(&file, false, &Silent).unwrap();
    let error = place.write(&file, true, &Impatient::default()).unwrap_err();
    assert!(matches!(error, WriteError::Interrupted(_)), "{error}");
    assert!(fs::metadata(&file).unwrap().blocks() > 0);
    let mut first = vec![1; 1 << 20];
    File::open(&file).unwrap().read_exact_at(&mut first, 0).unwrap();
    assert!(first.iter().all(|byte| *byte == 0));
}

/// A file that the kernel shows as a disk, until this is dropped.
struct Loop(PathBuf);

impl Loop {
    fn of(file: &Path) -> Self {
        let shown = run(Path::new("losetup"), &["--find", "--show", text(file)]);
        Loop(shown.trim().into())
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        run(Path::new("losetup"), &["--detach", text(&self.0)]);
    }
}

/// A file system that is mounted, until this is dropped.
struct Mount(PathBuf);

impl Mount {
    fn of(device: &Path, path: &Path) -> Self {
        fs::create_dir_all(path).unwrap();
        run(Path::new("mount"), &[text(device), text(path)]);
        Mount(path.to_owned())
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        run(Path::new("umount"), &[text(&self.0)]);
    }
}

#[test]
fn a_device_becomes_the_same_disk() {
    if !oracle::require_root("a loop device") {
        return;
    }
    let place = Place::new();
    let raw = place.raw();
    let file = place.file("file", DISK_BYTES);
    scribble(&file);
    let device = Loop::of(&file);
    let host = Path::new(HOST);
    assert!(matches!(
        Device::open(&device.0, host, false),
        Err(DeviceError::NotEmpty { .. })
    ));
    let error = Device::open(&file, host, true).unwrap_err();
    assert!(matches!(error, DeviceError::InUse { .. }), "{error}");
    place.write(&device.0, true, &Silent).unwrap();
    require_same(&device.0, &raw);
    drop(device);
    require_same(&file, &raw);
}

#[test]
fn a_device_that_is_mounted_is_refused() {
    let Some(mkfs) = oracle::require("mkfs.ext4") else {
        return;
    };
    if !oracle::require_root("mounting") {
        return;
    }
    let place = Place::new();
    let file = place.file("file", 50 << 20);
    run(&mkfs, &["-q", text(&file)]);
    let device = Loop::of(&file);
    let _mount = Mount::of(&device.0, &place.path("mount"));
    let error = Device::open(&device.0, Path::new(HOST), true).unwrap_err();
    let expected = format!("is in use: mounted at '{}'", place.path("mount").display());
    assert!(error.to_string().ends_with(&expected), "{error}");
}

/// A root file system that is mounted, and something in place of an EFI system partition.
struct Mounted {
    place: Place,
    root: PathBuf,
    host: PathBuf,
    // Dropped in this order.
    _esp: Mount,
    _root: Mount,
    device: Loop,
}

impl Mounted {
    /// `None`, said aloud, where that is not possible.
    #[track_caller]
    fn new(mkfs: &[&str]) -> Option<Self> {
        let program = oracle::require(mkfs[0])?;
        if !oracle::require_root("mounting") {
            return None;
        }
        let place = Place::new();
        let root_file = place.file("root", 600 << 20);
        run(&program, &[&mkfs[1..], &[text(&root_file)]].concat());
        let device = Loop::of(&root_file);
        let root = place.path("mount");
        let root_mount = Mount::of(&device.0, &root);
        let esp = root.join("boot");
        fs::create_dir(&esp).unwrap();
        run(Path::new("mount"), &["-t", "tmpfs", "esp", text(&esp)]);
        Some(Mounted {
            host: host_with_fat(&place, &esp),
            place,
            root,
            _esp: Mount(esp),
            _root: root_mount,
            device,
        })
    }

    fn target(&self) -> Result<Target, TargetError> {
        let request = TargetRequest {
            root: &self.root,
            esp: None,
            root_spec: None,
        };
        Target::open(request, &self.host)
    }

    fn install(&self, target: &Target) -> Deployment {
        let store = &self.place.store;
        let image = store.image(&sample::reference()).unwrap();
        let options = InstallOptions {
            root: target.root_spec().to_owned(),
            kernel_arguments: vec!["console=ttyS0".to_owned()],
            source: ImageSource::registry(&sample::reference().to_string()),
            missing_verity_allowed: !target.has_verity(),
            local: None,
        };
        let tree = image.tree(store).unwrap();
        let deployment = deployment_of_stored(store, (&image, tree), Architecture::X86_64, &options).unwrap();
        target.write(&deployment, store, &Silent).unwrap();
        deployment
    }

    /// The only boot entry.
    fn entry(&self) -> String {
        let entries = fs::read_dir(self.root.join("boot/loader/entries")).unwrap();
        let paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        assert_eq!(paths.len(), 1);
        fs::read_to_string(&paths[0]).unwrap()
    }
}

/// A host on which the file system mounted at `esp` is FAT: not every kernel that runs tests has it.
fn host_with_fat(place: &Place, esp: &Path) -> PathBuf {
    let host = place.path("host");
    fs::create_dir_all(host.join("proc/self")).unwrap();
    std::os::unix::fs::symlink("/dev", host.join("dev")).unwrap();
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let lines = table.lines().map(|line| match line.contains(text(esp)) {
        true => line.replace(" - tmpfs ", " - vfat ") + "\n",
        false => format!("{line}\n"),
    });
    fs::write(host.join("proc/self/mountinfo"), lines.collect::<String>()).unwrap();
    host
}

/// Every path below a folder with its kind, permissions, owner, time and contents. Of objects the length: a kernel without
/// fs-verity reads none that have it.
fn listing(folder: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    let mut pending = vec![folder.to_owned()];
    while let Some(path) = pending.pop() {
        for entry in fs::read_dir(&path).unwrap() {
            let path = entry.unwrap().path();
            let found = fs::symlink_metadata(&path).unwrap();
            let contents = if found.is_dir() {
                pending.push(path.clone());
                String::new()
            } else if found.is_symlink() {
                text(&fs::read_link(&path).unwrap()).to_owned()
            } else if folder.ends_with("composefs") {
                found.len().to_string()
            } else {
                Digest::of(&fs::read(&path).unwrap()).to_string()
            };
            let name = path.strip_prefix(folder).unwrap();
            let (mode, owner, time) = (found.mode(), found.uid(), found.mtime());
            lines.push(format!("{} {mode:o} {owner} {time} {contents}", name.display()));
        }
    }
    lines.sort();
    lines
}

/// The objects of a repository are what their names say, and the kernel enforces it if it can. Returns how many there are.
fn require_objects(repository: &Path, has_verity: bool) -> usize {
    let folders = fs::read_dir(repository.join("objects")).unwrap();
    let files = folders.flat_map(|folder| fs::read_dir(folder.unwrap().path()).unwrap());
    let checked = files.map(|file| {
        let path = file.unwrap().path();
        let digest = Digest::of(&fs::read(&path).unwrap());
        assert!(path.ends_with(digest.object_path()), "{path:?}");
        let measured = osmith_sys::verity::measure(File::open(&path).unwrap()).unwrap();
        assert_eq!(measured.map(Digest::new), has_verity.then_some(digest));
    });
    checked.count()
}

#[test]
fn file_systems_get_what_a_disk_has() {
    let Some(blkid) = oracle::require("blkid") else {
        return;
    };
    let Some(mounted) = Mounted::new(&["mkfs.ext4", "-q", "-O", "verity", "-L", "root"]) else {
        return;
    };
    let target = mounted.target().unwrap();
    let deployment = mounted.install(&target);
    assert!(matches!(mounted.target(), Err(TargetError::NotEmpty { .. })));
    let uuid = run(
        &blkid,
        &["-p", "-s", "UUID", "-o", "value", text(&mounted.device.0)],
    );
    assert_eq!(target.root_spec(), format!("UUID={}", uuid.trim()));
    let digest = deployment.digest;
    let allowed = if target.has_verity() { "" } else { "?" };
    let options = format!(
        "options root=UUID={} rw console=ttyS0 composefs={allowed}{digest}",
        uuid.trim()
    );
    assert!(mounted.entry().contains(&options), "{}", mounted.entry());

    let raw = mounted.place.raw();
    let plan = osmith_disk::plan(&mounted.place.store, &sample::spec(&[])).unwrap();
    assert_eq!(plan.deployment, digest.to_string());
    let options = format!("loop,ro,offset={}", plan.partitions[1].offset_bytes);
    let other = mounted.place.path("other");
    fs::create_dir(&other).unwrap();
    run(Path::new("mount"), &["-o", &options, text(&raw), text(&other)]);
    let _other = Mount(other.clone());
    for folder in ["composefs", "state", "ostree"] {
        assert_eq!(
            listing(&mounted.root.join(folder)),
            listing(&other.join(folder)),
            "{folder}"
        );
    }
    assert!(require_objects(&mounted.root.join("composefs"), target.has_verity()) > 200);
    let kernel = format!("boot/EFI/Linux/bootc_composefs-{digest}/vmlinuz");
    assert_eq!(
        fs::read(mounted.root.join(kernel)).unwrap(),
        sample::noise(1, 3_000_001)
    );
    assert!(mounted.root.join("boot/EFI/BOOT/BOOTX64.EFI").is_file());
}

#[test]
fn without_verity_the_machine_does_not_ask_for_it() {
    let Some(mounted) = Mounted::new(&["mkfs.xfs", "-q"]) else {
        return;
    };
    fs::write(mounted.root.join("own"), "x").unwrap();
    let error = mounted.target().unwrap_err();
    assert!(
        error.to_string().ends_with("is not empty: it has 'own'"),
        "{error}"
    );
    fs::remove_file(mounted.root.join("own")).unwrap();
    let target = mounted.target().unwrap();
    let digest = mounted.install(&target).digest;
    assert_eq!(
        target.has_verity(),
        !mounted.entry().contains(&format!("composefs=?{digest}"))
    );
}
