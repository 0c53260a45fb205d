//! Disks with more than the two partitions that every disk has.

mod program;
mod sample;

use std::fs;
use std::path::{Path, PathBuf};

use osmith_config::{Partition, PartitionContents, Storage};
use osmith_disk::{Destination, ImageType, MountPointReason, Plan, PlanError, PlannedPartition, Spec};
use osmith_machine::install::InstallError;
use osmith_report::Silent;
use osmith_testing::oracle;
use program::{extract, run, text};
use sample::Sample;

const MIB: u64 = 1 << 20;

struct Disk {
    work: tempfile::TempDir,
    plan: Plan,
}

fn partition(contents: PartitionContents, min_bytes: u64) -> Partition {
    Partition {
        key: String::new(),
        contents,
        mountpoint: None,
        label: None,
        min_bytes,
        mount_options: None,
        type_guid: None,
        name: None,
        guid: None,
    }
}

fn mount(path: &str, contents: PartitionContents, min_bytes: u64) -> Partition {
    Partition {
        mountpoint: Some(path.to_owned()),
        ..partition(contents, min_bytes)
    }
}

fn wanted() -> Vec<Partition> {
    let mut log = mount("/var/log", PartitionContents::Ext4, 64 * MIB);
    log.label = Some("logs".to_owned());
    log.mount_options = Some("nodev,nosuid".to_owned());
    log.name = Some("all logs".to_owned());
    log.guid = Some("01234567-89ab-4cde-8f01-23456789abcd".to_owned());
    log.type_guid = Some("933ac7e1-2eb4-4f13-b844-0e14e2aef915".to_owned());
    let mut swap = partition(PartitionContents::Swap, 100 * MIB);
    swap.label = Some("swapping".to_owned());
    vec![
        mount("/boot", PartitionContents::Vfat, 1),
        mount("/var", PartitionContents::Ext4, 200 * MIB),
        log,
        swap,
        mount("/exchange", PartitionContents::Vfat, 100 * MIB),
        partition(PartitionContents::Empty, 3 * MIB + 1),
        mount("/", PartitionContents::Ext4, 900 * MIB),
    ]
}

fn spec(partitions: Vec<Partition>) -> Spec {
    let disk = osmith_config::Disk {
        partitions,
        ..Default::default()
    };
    spec_of(disk)
}

fn spec_of(disk: osmith_config::Disk) -> Spec {
    let mut spec = sample::spec(&[ImageType::Raw]);
    spec.configuration.storage = Storage::Disk(disk);
    spec
}

fn plan_in(directory: &Path, spec: &Spec) -> Result<Plan, PlanError> {
    let store = sample::open(&directory.join("store"));
    let mut sample = Sample::bootable(&store);
    for folder in ["exchange", "full", "var/log", "var/log/app"] {
        sample.directory(folder);
    }
    sample.file("var/log/app/first", b"one\n");
    sample.file("full/file", b"");
    sample.file("etc/fstab", b"# mine");
    sample.symlink("home", "var/home");
    sample.commit();
    osmith_disk::plan(&store, spec)
}

fn disk() -> Disk {
    let work = tempfile::tempdir().unwrap();
    let plan = plan_in(work.path(), &spec(wanted())).unwrap();
    let destination = Destination {
        directory: &work.path().join("output"),
        overwrite: false,
        processors: 2,
    };
    let store = sample::open(&work.path().join("store"));
    osmith_disk::execute(&plan, &store, &destination, &Silent).unwrap();
    Disk { work, plan }
}

impl Disk {
    fn raw(&self) -> PathBuf {
        self.work.path().join("output/image/disk.raw")
    }

    fn partition(&self, number: u32) -> &PlannedPartition {
        &self.plan.partitions[number as usize - 1]
    }

    /// A partition in a file of its own.
    fn extracted(&self, number: u32) -> PathBuf {
        let planned = self.partition(number);
        let path = self.work.path().join(format!("partition-{number}"));
        extract(&self.raw(), planned.offset_bytes, planned.size_bytes, &path);
        path
    }
}

#[test]
fn all_partitions_are_where_and_what_was_asked_for() {
    let Some(sgdisk) = oracle::require("sgdisk") else {
        return;
    };
    let disk = disk();
    let verdict = run(&sgdisk, &["-v", text(&disk.raw())]);
    assert!(verdict.contains("No problems found"), "{verdict}");
    let shown: Vec<_> = disk
        .plan
        .partitions
        .iter()
        .map(|partition| {
            let size = partition.size_bytes / MIB;
            (partition.name.as_str(), partition.file_system, size)
        })
        .collect();
    assert_eq!(
        shown[..7],
        [
            ("EFI-SYSTEM", "vfat", 128),
            ("boot", "vfat", 512),
            ("var", "ext4", 200),
            ("all logs", "ext4", 64),
            ("swap", "swap", 100),
            ("exchange", "vfat", 100),
            ("", "", 4),
        ]
    );
    assert!(shown[7].2 >= 900, "{shown:?}");
    let of_log = run(&sgdisk, &["-i4", text(&disk.raw())]).to_lowercase();
    for expected in [
        "01234567-89ab-4cde-8f01-23456789abcd",
        "933ac7e1-2eb4-4f13-b844-0e14e2aef915",
        "'all logs'",
    ] {
        assert!(of_log.contains(expected), "{of_log}");
    }
    let of_boot = run(&sgdisk, &["-i2", text(&disk.raw())]);
    assert!(
        of_boot.contains("BC13C2FF-59E6-4262-A352-B275FD6F7172"),
        "{of_boot}"
    );
}

#[test]
fn all_file_systems_are_sound_and_have_their_identity() {
    let (Some(blkid), Some(e2fsck), Some(fsck)) = (
        oracle::require("blkid"),
        oracle::require("e2fsck"),
        oracle::require("fsck.vfat"),
    ) else {
        return;
    };
    let disk = disk();
    for planned in &disk.plan.partitions {
        let path = disk.extracted(planned.number);
        match planned.file_system {
            "ext4" => drop(run(&e2fsck, &["-fn", text(&path)])),
            "vfat" => drop(run(&fsck, &["-n", text(&path)])),
            _ => {}
        }
        let Some(uuid) = &planned.uuid else {
            assert!(fs::read(&path).unwrap().iter().all(|byte| *byte == 0));
            continue;
        };
        let found = run(&blkid, &["-p", "-o", "export", text(&path)]);
        let lines: Vec<&str> = found.lines().collect();
        assert!(lines.contains(&format!("UUID={uuid}").as_str()), "{found}");
        assert!(
            lines.contains(&format!("TYPE={}", planned.file_system).as_str()),
            "{found}"
        );
    }
    let label = |number| {
        run(
            &blkid,
            &["-p", "-o", "value", "-s", "LABEL", text(&disk.extracted(number))],
        )
    };
    assert_eq!(label(4).trim(), "logs");
    assert_eq!(label(5).trim(), "swapping");
}

#[test]
fn what_the_image_has_in_var_goes_where_it_is_mounted() {
    let Some(debugfs) = oracle::require("debugfs") else {
        return;
    };
    let disk = disk();
    let cat = |number, path: &str| {
        let image = disk.extracted(number);
        let shown = run(&debugfs, &["-R", &format!("cat {path}"), text(&image)]);
        let (contents, _version) = shown.split_once("debugfs ").unwrap();
        contents.to_owned()
    };
    let list = |number, path: &str| {
        let listed = run(
            &debugfs,
            &["-R", &format!("ls -p {path}"), text(&disk.extracted(number))],
        );
        let names = listed.lines().filter_map(|line| line.split('/').nth(5));
        let mut names: Vec<String> = names
            .filter(|name| !name.starts_with('.') && *name != "lost+found")
            .map(str::to_owned)
            .collect();
        names.sort();
        names
    };
    assert_eq!(list(3, "/"), ["lib", "log"]);
    assert_eq!(list(3, "/log"), Vec::<String>::new());
    assert_eq!(list(4, "/"), ["app"]);
    assert_eq!(cat(4, "/app/first"), "one\n");
    assert_eq!(list(8, "/state/os/default/var"), Vec::<String>::new());
    let etc = format!("/state/deploy/{}/etc", disk.plan.deployment);
    let masked = run(
        &debugfs,
        &[
            "-R",
            &format!("stat {etc}/systemd/system/efi.automount"),
            text(&disk.extracted(8)),
        ],
    );
    assert!(masked.contains("\"/dev/null\""), "{masked}");
    let fstab = cat(8, &format!("{etc}/fstab"));
    let uuid = |number| disk.partition(number).uuid.as_deref().unwrap();
    let expected = format!(
        "# mine\nUUID={} /var ext4 defaults 0 2\nUUID={} /var/log ext4 nodev,nosuid 0 2\n\
         UUID={} none swap defaults 0 0\nUUID={} /exchange vfat defaults 0 2\n",
        uuid(3),
        uuid(4),
        uuid(5),
        uuid(6),
    );
    assert_eq!(fstab, expected);
}

#[test]
fn boot_entries_and_kernels_are_in_the_boot_partition() {
    let Some(mdir) = oracle::require("mdir") else {
        return;
    };
    let disk = disk();
    let files = |number| {
        let image = disk.extracted(number);
        let listed = run(&mdir, &["-/", "-b", "-i", text(&image), "::"]);
        let mut names: Vec<String> = listed.lines().map(|line| line.trim().to_owned()).collect();
        names.sort();
        names
    };
    let kernel = format!("::/EFI/Linux/bootc_composefs-{}", disk.plan.deployment);
    assert!(
        files(1)
            .iter()
            .all(|path| !path.contains("Linux") && !path.contains("entries"))
    );
    assert!(
        files(1).contains(&"::/EFI/BOOT/BOOTX64.EFI".to_owned()),
        "{:?}",
        files(1)
    );
    assert!(files(2).contains(&format!("{kernel}/vmlinuz")), "{:?}", files(2));
    assert!(
        files(2)
            .iter()
            .any(|path| path.starts_with("::/loader/entries/") && path.ends_with(".conf")),
        "{:?}",
        files(2)
    );
}

#[test]
fn the_report_says_where_the_space_goes() {
    let (Some(dumpe2fs), Some(mdir)) = (oracle::require("dumpe2fs"), oracle::require("mdir")) else {
        return;
    };
    let disk = disk();
    let store = sample::open(&disk.work.path().join("store"));
    let space = disk.plan.space(&store, &[]).unwrap();
    for (partition, planned) in space.partitions.iter().zip(&disk.plan.partitions) {
        let image = disk.extracted(planned.number);
        let free_bytes = match planned.file_system {
            "ext4" => free_blocks(&run(&dumpe2fs, &["-h", text(&image)])) * 4096,
            "vfat" => free_of_mdir(&run(&mdir, &["-i", text(&image), "::"])),
            _ => 0,
        };
        assert_eq!(partition.free_bytes, free_bytes, "{partition:?}");
        let parts = [
            partition.file_bytes,
            partition.verity_bytes,
            partition.file_system_bytes,
            partition.free_bytes,
        ];
        assert_eq!(parts.iter().sum::<u64>(), planned.size_bytes, "{partition:?}");
    }
    let first = &space.largest_files[0];
    assert_eq!(
        (first.path.as_str(), first.file_bytes),
        ("/usr/lib/large", 7_654_321)
    );
    let directory = &space.directories[0];
    assert_eq!(directory.path, "/usr/lib");
    assert!(directory.file_bytes > 7_654_321 + 5_555_555, "{directory:?}");
    let shown = space.to_string();
    assert!(shown.contains("/usr/share"), "{shown}");
    assert!(shown.contains("7.3 MiB        1  /usr/lib/large"), "{shown}");
}

fn free_blocks(dumpe2fs: &str) -> u64 {
    let line = dumpe2fs
        .lines()
        .find_map(|line| line.strip_prefix("Free blocks:"));
    line.unwrap().trim().parse().unwrap()
}

/// `                     134 144 bytes free`
fn free_of_mdir(mdir: &str) -> u64 {
    let line = mdir.lines().find_map(|line| line.strip_suffix("bytes free"));
    line.unwrap().replace(' ', "").parse().unwrap()
}

#[test]
fn mount_points_that_cannot_be_are_named_together() {
    let work = tempfile::tempdir().unwrap();
    let places = ["/full", "/missing", "/usr/local", "/var/home", "/home", "/etc"];
    let partitions = places.map(|path| mount(path, PartitionContents::Ext4, 64 * MIB));
    let error = plan_in(work.path(), &spec(partitions.to_vec())).unwrap_err();
    let PlanError::MountPoints(mut wrong) = error else {
        panic!("{error}")
    };
    wrong.sort_by(|(one, _), (other, _)| one.cmp(other));
    let expected = [
        ("/etc", MountPointReason::Reserved),
        ("/full", MountPointReason::NotEmpty),
        ("/home", MountPointReason::Same("/var/home".to_owned())),
        ("/missing", MountPointReason::Missing),
        ("/usr/local", MountPointReason::Reserved),
    ];
    let expected = expected.map(|(path, reason)| (path.to_owned(), reason));
    assert_eq!(wrong, expected);
}

#[test]
fn sizes_that_cannot_be_are_refused() {
    let error = |partition: Partition| {
        let work = tempfile::tempdir().unwrap();
        plan_in(work.path(), &spec(vec![partition])).unwrap_err()
    };
    let huge = error(mount("/var", PartitionContents::Ext4, u64::MAX));
    assert!(matches!(huge, PlanError::PartitionTooLarge { .. }), "{huge}");
    let large = error(mount("/var", PartitionContents::Ext4, u64::MAX - (3 << 20)));
    assert!(matches!(large, PlanError::DiskTooLarge), "{large}");
    let mut long = partition(PartitionContents::Swap, MIB);
    long.label = Some("much too long a label".to_owned());
    assert!(matches!(error(long), PlanError::Volume { .. }));
}

#[test]
fn an_etc_that_would_hide_the_mounts_is_refused() {
    let work = tempfile::tempdir().unwrap();
    let store = sample::open(&work.path().join("store"));
    let mut sample = Sample::bootable(&store);
    sample.file(
        "usr/lib/composefs/setup-root-conf.toml",
        b"[etc]\ntransient = true\n",
    );
    sample.commit();
    osmith_disk::plan(&store, &spec(Vec::new())).unwrap();
    let error = osmith_disk::plan(&store, &spec(wanted())).unwrap_err();
    assert!(
        matches!(&error, PlanError::Install { source, .. } if matches!(**source, InstallError::LayeredEtc)),
        "{error}"
    );
}

#[test]
fn the_disk_is_as_large_and_begins_where_it_was_asked_for() {
    let work = tempfile::tempdir().unwrap();
    let disk = osmith_config::Disk {
        min_bytes: Some((5 << 30) + 1),
        start_offset_bytes: Some(7 * MIB),
        ..Default::default()
    };
    let mut spec = spec_of(disk);
    let plan = plan_in(work.path(), &spec).unwrap();
    assert_eq!(plan.size_bytes, (5 << 30) + MIB);
    assert_eq!(plan.partitions[0].offset_bytes, 8 * MIB);
    let root = plan.partitions.last().unwrap();
    assert_eq!(root.offset_bytes + root.size_bytes, 5 << 30);
    spec.size_bytes = Some(5 << 30);
    let work = tempfile::tempdir().unwrap();
    let error = plan_in(work.path(), &spec).unwrap_err();
    assert!(matches!(error, PlanError::TooSmall { .. }), "{error}");
}

#[test]
fn the_same_wishes_give_the_same_bytes() {
    let (one, other) = (disk(), disk());
    run(Path::new("cmp"), &[text(&one.raw()), text(&other.raw())]);
}
