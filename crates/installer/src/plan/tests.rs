//! What Kickstart files lead to on machines with these disks.

use std::path::PathBuf;

use osmith_config::{PartitionContents, Password, Storage};
use osmith_kickstart::{NoIncludes, ParseOptions, View, parse};

use super::*;
use crate::disks::DiskContents;

const GIB: u64 = 1 << 30;

fn disk(name: &str, size_bytes: u64) -> Disk {
    Disk::described(name, size_bytes)
}

fn with_partitions(name: &str, partitions: &[&str]) -> Disk {
    Disk {
        contents: DiskContents::Table,
        partitions: partitions.iter().map(|name| (*name).to_owned()).collect(),
        ..disk(name, 20 * GIB)
    }
}

fn facts(disks: Vec<Disk>) -> Facts {
    Facts {
        disks,
        memory_bytes: 4 * GIB,
        medium: Some("registry.example.org/os:1".to_owned()),
    }
}

fn kickstart(text: &str) -> Kickstart {
    let parsed = parse("ks.cfg", text, &ParseOptions::default(), &mut NoIncludes);
    parsed.require_accepted(View::Installer, false).unwrap()
}

fn planned(text: &str, disks: Vec<Disk>) -> Installation {
    plan("ks.cfg", &kickstart(text), &facts(disks)).unwrap_or_else(|problems| panic!("{}", shown(&problems)))
}

fn refused(text: &str, disks: Vec<Disk>) -> String {
    shown(&plan("ks.cfg", &kickstart(text), &facts(disks)).unwrap_err())
}

fn shown(problems: &[Problem]) -> String {
    let lines: Vec<_> = problems.iter().map(Problem::rendered).collect();
    lines.join("\n")
}

/// Path (`swap` for none), contents and size in MiB of the partitions.
fn partitions(installation: &Installation) -> Vec<(String, PartitionContents, u64)> {
    let Storage::Disk(disk) = &installation.configuration.storage else {
        panic!("a file always says how the disk is divided");
    };
    let partition = |partition: &osmith_config::Partition| {
        let path = partition.mountpoint.clone().unwrap_or("swap".to_owned());
        (path, partition.contents, partition.min_bytes >> 20)
    };
    disk.partitions.iter().map(partition).collect()
}

const PLAIN: &str = "zerombr\nclearpart --all --initlabel\nautopart --type=plain --noswap --nohome\nrootpw --lock\n\
                     sshkey --username=root \"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExample\"\n";

#[test]
fn the_steps_of_a_whole_file() {
    let text = "bootc --source-imgref=registry:reg.example.org/web:1 --target-imgref=reg.example.org/web:stable\n\
                ignoredisk --only-use=vda\nzerombr\nclearpart --all --initlabel\nreqpart --add-boot\n\
                part / --size=8192 --grow\npart /home --size=2000 --grow --maxsize=10000 --fsoptions=\"nodev,nosuid\"\n\
                part swap --recommended\nnetwork --bootproto=dhcp --hostname=web1.example.org\nrootpw --lock\n\
                user --name=ops --groups=wheel(5000),adm --password=$6$salt$hash --iscrypted\n\
                sshkey --username=ops \"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExample\"\ntimezone Europe/Berlin\n\
                bootloader --append=\"mitigations=auto quiet\"\nservices --enabled=httpd\n\
                %pre\necho 1\n%end\n%post\necho 2\n%end\n%post --nochroot\necho 3\n%end\npoweroff\n";
    let installation = planned(text, vec![disk("vda", 100 * GIB), disk("vdb", GIB)]);
    insta::assert_snapshot!(installation.to_string());
    assert_eq!(installation.follows, "reg.example.org/web:stable");
    let ops = installation
        .configuration
        .users
        .iter()
        .find(|user| user.name == "ops")
        .unwrap();
    assert_eq!(ops.password, Some(Password::Hashed("$6$salt$hash".to_owned())));
    let root = installation
        .configuration
        .users
        .iter()
        .find(|user| user.name == "root")
        .unwrap();
    assert_eq!(root.password, Some(Password::Hashed("!".to_owned())));
    assert_eq!(
        shown(&installation.warnings).lines().count(),
        2,
        "{}",
        shown(&installation.warnings)
    );
}

#[test]
fn what_grows_shares_what_is_free() {
    let text = |parts: &str| {
        format!("zerombr\nclearpart --all --initlabel\nreqpart\n{parts}rootpw --lock\n%post\ntrue\n%end\n")
    };
    let sizes = |parts: &str, size: u64| partitions(&planned(&text(parts), vec![disk("sda", size)]));
    let ext4 = |path: &str, size| (path.to_owned(), PartitionContents::Ext4, size);
    assert_eq!(
        sizes("part / --size=1000\npart /var --size=2000\n", 20 * GIB),
        [ext4("/", 1000), ext4("/var", 2000)]
    );
    // 20480 - 600 (ESP) - 4 - 3000 = 16876 are free; a third goes to the root file system, which takes the rest anyway.
    assert_eq!(
        sizes(
            "part / --size=1000 --grow\npart /var --size=2000 --grow\n",
            20 * GIB
        ),
        [ext4("/", 1000), ext4("/var", 2000 + 16876 * 2 / 3)]
    );
    assert_eq!(
        sizes(
            "part / --size=1000 --grow\npart /var --size=2000 --grow --maxsize=3000\n",
            20 * GIB
        ),
        [ext4("/", 1000), ext4("/var", 3000)]
    );
    assert_eq!(
        sizes("part / --grow\npart swap --recommended\n", 200 * GIB),
        [ext4("/", 500), ("swap".to_owned(), PartitionContents::Swap, 4096)]
    );
    let vfat = ("/boot".to_owned(), PartitionContents::Vfat, 1024);
    assert_eq!(
        sizes("part / --grow\npart /boot --size=1024 --fstype=vfat\n", 20 * GIB),
        [ext4("/", 500), vfat]
    );
}

#[test]
fn automatic_partitions_depend_on_the_disk() {
    let of = |options: &str, size| {
        let text = PLAIN.replace("--type=plain --noswap --nohome", options);
        let names = partitions(&planned(&text, vec![disk("sda", size)])).into_iter();
        names.map(|(name, ..)| name).collect::<Vec<_>>()
    };
    assert_eq!(of("--type=plain", 20 * GIB), ["swap", "/"]);
    assert_eq!(of("--type=plain", 100 * GIB), ["swap", "/var/home", "/"]);
    assert_eq!(of("--type=plain --nohome --noswap", 100 * GIB), ["/"]);
}

#[test]
fn only_a_disk_that_is_meant_is_taken() {
    let several = || vec![disk("sda", 20 * GIB), disk("sdb", 20 * GIB)];
    let named = |line: &str| planned(&format!("{PLAIN}{line}\n"), several()).disk.name;
    assert_eq!(named("ignoredisk --only-use=sdb"), "sdb");
    assert_eq!(named("ignoredisk --drives=sdb"), "sda");
    assert_eq!(named("bootloader --boot-drive=/dev/sdb"), "sdb");
    assert_eq!(
        planned(&PLAIN.replace("--all", "--all --drives=sdb"), several())
            .disk
            .name,
        "sdb"
    );
    let part = PLAIN.replace(
        "autopart --type=plain --noswap --nohome",
        "part / --grow --ondisk=sdb",
    );
    assert_eq!(planned(&part, several()).disk.name, "sdb");
    let medium = Disk {
        is_medium: true,
        ..disk("sda", 8 * GIB)
    };
    assert_eq!(
        planned(PLAIN, vec![medium, disk("sdb", 20 * GIB)]).disk.name,
        "sdb"
    );
}

#[test]
fn what_speaks_against_a_disk_is_told() {
    let several = || vec![disk("sda", 20 * GIB), disk("sdb", 20 * GIB)];
    let medium = Disk {
        is_medium: true,
        ..disk("sda", 8 * GIB)
    };
    let old = with_partitions("sda", &["sda1", "sda2"]);
    let formatted = Disk {
        contents: DiskContents::Other("an XFS file system"),
        ..disk("sda", 20 * GIB)
    };
    let without = |line: &str| PLAIN.replace(line, "");
    let told = [
        refused(PLAIN, Vec::new()),
        refused(PLAIN, several()),
        refused(&format!("{PLAIN}ignoredisk --only-use=nvme0n1\n"), several()),
        refused(
            &format!("{PLAIN}bootloader --boot-drive=sda\n"),
            vec![medium, disk("sdb", 20 * GIB)],
        ),
        refused(
            &PLAIN.replace(
                "autopart --type=plain --noswap --nohome",
                "part / --ondisk=sda\npart /var --ondisk=sdb",
            ),
            several(),
        ),
        refused(&without("clearpart --all --initlabel\n"), vec![old.clone()]),
        refused(&PLAIN.replace("--all", "--linux"), vec![old]),
        refused(
            &without("zerombr\nclearpart --all --initlabel\n"),
            vec![disk("sda", 20 * GIB)],
        ),
        refused(&without("clearpart --all --initlabel\n"), vec![formatted.clone()]),
        refused(
            &without("autopart --type=plain --noswap --nohome\n"),
            vec![disk("sda", 20 * GIB)],
        ),
        refused(
            &PLAIN.replace("autopart --type=plain --noswap --nohome", "part /var"),
            vec![disk("sda", 20 * GIB)],
        ),
        refused(
            &PLAIN.replace("autopart --type=plain --noswap --nohome", "part / --size=30000"),
            vec![disk("sda", 20 * GIB)],
        ),
        refused(
            &PLAIN.replace("autopart --type=plain --noswap --nohome", "part /\npart /usr"),
            vec![disk("sda", 20 * GIB)],
        ),
    ];
    insta::assert_snapshot!(told.join("\n\n"));
    assert_eq!(planned(PLAIN, vec![formatted]).disk.name, "sda");
    let unknown = Disk {
        contents: DiskContents::Other("data"),
        ..disk("sda", 20 * GIB)
    };
    assert_eq!(
        planned(&without("clearpart --all --initlabel\n"), vec![unknown])
            .disk
            .name,
        "sda"
    );
}

#[test]
fn several_disks_may_have_been_cleared_elsewhere() {
    let text = format!("{PLAIN}bootloader --boot-drive=sdb\n");
    let installation = planned(
        &text,
        vec![with_partitions("sda", &["sda1"]), disk("sdb", 20 * GIB)],
    );
    assert_eq!(
        shown(&installation.warnings),
        "ks.cfg:2:1: warning: only sdb is erased; sda stay as they are\n  erase them in %pre if nothing may start from them"
    );
}

#[test]
fn images_come_from_where_updates_can_come_from() {
    let source = |line: &str| {
        let installation = planned(&format!("{PLAIN}{line}\n"), vec![disk("sda", 20 * GIB)]);
        (installation.source.to_string(), installation.follows)
    };
    let pair = |one: &str, other: &str| (one.to_owned(), other.to_owned());
    assert_eq!(
        source(""),
        pair(
            "the image of the installation medium",
            "registry.example.org/os:1"
        )
    );
    assert_eq!(
        source("ostreecontainer --url=reg.example.org/web:1"),
        pair("reg.example.org/web:1", "reg.example.org/web:1")
    );
    assert_eq!(
        source("ostreecontainer --url=/run/install/repo/container --transport=oci"),
        pair(
            "the image of the installation medium",
            "registry.example.org/os:1"
        )
    );
    assert_eq!(
        source("bootc --source-imgref=oci:/srv/os --target-imgref=docker://reg.example.org/os"),
        pair("oci:/srv/os", "reg.example.org/os")
    );
    let error = refused(
        &format!("{PLAIN}ostreecontainer --url=/srv/os --transport=oci\n"),
        vec![disk("sda", 20 * GIB)],
    );
    assert!(
        error.contains("write bootc with --target-imgref=HOST/NAME"),
        "{error}"
    );
    let no_medium = Facts {
        medium: None,
        ..facts(vec![disk("sda", 20 * GIB)])
    };
    let problems = plan("ks.cfg", &kickstart(PLAIN), &no_medium).unwrap_err();
    assert!(
        shown(&problems).contains("names no image"),
        "{}",
        shown(&problems)
    );
}

#[test]
fn what_is_wrong_for_an_image_has_its_place_in_the_file() {
    let text = format!("{PLAIN}timezone Mars/Olympus\nuser --name=ops --shell=/bin/zsh\n");
    let installation = planned(&text, vec![disk("sda", 20 * GIB)]);
    let found = |key: &str| {
        (
            key.to_owned(),
            "it is not there".to_owned(),
            "take another".to_owned(),
        )
    };
    let error = installation.configuration.error(vec![
        found("customizations.timezone.timezone"),
        found("customizations.user[1].shell"),
    ]);
    let problems = installation.problems_of("ks.cfg", &error.unwrap());
    assert_eq!(
        shown(&problems),
        "ks.cfg:6:1: unsupported: it is not there\n  take another\nks.cfg:7:1: unsupported: it is not there\n  take another"
    );
}

#[test]
fn files_have_their_directories() {
    let mut installation = planned(PLAIN, vec![disk("sda", 20 * GIB)]);
    let file = |path: &str| SettingsFile {
        path: path.to_owned(),
        mode: 0o600,
        contents: b"x".to_vec(),
    };
    installation.add_files([file("/etc/a/b"), file("/etc/a/c"), file("/etc/d")]);
    let directories = installation
        .configuration
        .directories
        .iter()
        .map(|directory| PathBuf::from(&directory.path));
    assert_eq!(directories.collect::<Vec<_>>(), [PathBuf::from("/etc/a")]);
    assert_eq!(installation.configuration.files.len(), 3);
}
