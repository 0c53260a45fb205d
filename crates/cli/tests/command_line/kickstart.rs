//! `osmith kickstart`: what is said of files that are right, wrong, and too much for osmith.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use insta::assert_snapshot;
use osmith_testing::oracle;

use super::program::{BOOTABLE, Place};

const GOOD: &str = "\
bootc --source-imgref=registry:registry.example.com/os/web:1
zerombr
clearpart --all --initlabel
reqpart --add-boot
part / --fstype=ext4 --size=8192 --grow
network --device=link --bootproto=dhcp
rootpw --lock
%include accounts.ks
reboot
";

const ACCOUNTS: &str = "\
user --name=ops --groups=wheel
sshkey --username=ops \"ssh-ed25519 AAAA ops\"
";

const BAD: &str = "\
bootc --source-imgref=oci: --traget-imgref=registry.example.com/os/web:1
clearpart --all --initlable
part / --size=10G
part foo --size=1
user --name=ops --passwrd=hunter2
rootpw hunter2#7
network --bootproto=sttaic
autopart
rotpw --lock
%include gone.ks
%include wrong.ks
%packages
httpd
%end
%post
echo
";

const UNSUPPORTED: &str = "\
ostreecontainer --url=registry.example.com/os/web:1
raid / --device=md0 --level=1 raid.1 raid.2
repo --name=extras --baseurl=https://repo.example.com
%include /run/made-by-pre.ks
%include https://user:secret@ks.example.com/more.ks
";

#[test]
fn files_are_checked() {
    let place = Place::new();
    place.file("good.ks", GOOD);
    place.file("accounts.ks", ACCOUNTS);
    place.file("bad.ks", BAD);
    place.file("wrong.ks", "ignoredisk\n%include wrong.ks\n");
    place.file("unsupported.ks", UNSUPPORTED);
    place.file("latin1.ks", b"text\n# Gr\xfc\xdfe\n");
    place.file("sub/loop.ks", "%include loop.ks\n");
    assert_snapshot!(place.transcript(&[
        "kickstart check good.ks",
        "kickstart check --dialect rhel9 good.ks",
        "kickstart check bad.ks",
        "kickstart check unsupported.ks",
        "kickstart check --dialect rhel10 unsupported.ks",
        "kickstart check --dialect rhel10 --strict unsupported.ks",
        "kickstart check --format json unsupported.ks",
        "kickstart check --format json good.ks",
        "kickstart check sub/loop.ks",
        "kickstart check latin1.ks",
        "kickstart check gone.ks",
        "kickstart check -",
        "kickstart check",
        "kickstart check --dialect fedora good.ks",
    ]));
}

/// What fits an image without programs.
const SMALL: &str = "\
clearpart --all --initlabel
autopart --type=plain --noswap --nohome
rootpw --iscrypted $6$salt$hash
network --hostname=web1.example.org
reboot
";

#[test]
fn what_would_be_done_is_explained() {
    let place = Place::new();
    place.file("good.ks", GOOD);
    place.file("accounts.ks", ACCOUNTS);
    place.file("bad.ks", BAD);
    assert_snapshot!(place.transcript(&[
        "kickstart explain --disks sda=100GiB good.ks",
        "kickstart explain --disks sda=100GiB,sdb=1TB --memory 64GiB good.ks",
        "kickstart explain --disks sda=1GiB good.ks",
        "kickstart explain --disks sda good.ks",
        "kickstart explain --disks sda=100GiB bad.ks",
        "kickstart explain good.ks",
    ]));
}

#[test]
fn a_file_in_the_place_of_a_disk_is_installed_onto() {
    let place = Place::new();
    let accounts = [
        ("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n"),
        ("bin/sh", "sh"),
        ("etc/shadow", "root:*:1::::::\n"),
        ("etc/group", "root:x:0:\n"),
        ("var/", ""),
    ];
    let files: Vec<_> = BOOTABLE.into_iter().chain(accounts).collect();
    place.image("whole", &files);
    place.file("small.ks", SMALL);
    place.file(
        "zone.ks",
        format!("{SMALL}timezone Mars/Olympus\nuser --name=ops --shell=/bin/zsh\n"),
    );
    place.file("other.ks", format!("{SMALL}ignoredisk --only-use=nvme0n1\n"));
    place.file(
        "pre.ks",
        format!("{SMALL}%pre --erroronfail\necho no network here\nexit 3\n%end\n"),
    );
    let disk = place.path().join("disk.img");
    File::create(&disk).unwrap().set_len(2 << 30).unwrap();
    assert_snapshot!(place.transcript(&[
        "install kickstart --disk sda=disk.img --image whole --dry-run small.ks",
        "install kickstart --disk sda=disk.img small.ks",
        "install kickstart --disk sda=disk.img --image whole zone.ks",
        "install kickstart --disk sda=disk.img --image whole other.ks",
        "install kickstart --disk sda=missing.img --image whole small.ks",
        "install kickstart --disk disk.img --image whole small.ks",
        "install kickstart --disk sda=disk.img --image whole missing.ks",
    ]));
    assert!(
        is_zero(&disk),
        "nothing is written before all is known to be possible"
    );
    // Where the script was is in a name of this run.
    let refused = place
        .command("install kickstart --disk sda=disk.img --image whole pre.ks")
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&refused.stderr);
    assert!(
        !refused.status.success() && words.contains("%pre (pre.ks, line 6)"),
        "{words}"
    );
    assert!(words.contains("no network here"), "{words}");
    assert!(is_zero(&disk));
    place.ok("install kickstart --disk sda=disk.img --image whole --seed 1 small.ks");
    if let Some(sgdisk) = oracle::require("sgdisk") {
        let output = Command::new(sgdisk).arg("-v").arg(&disk).output().unwrap();
        let verdict = String::from_utf8_lossy(&output.stdout);
        assert!(verdict.contains("No problems found"), "{verdict}");
    }
}

fn is_zero(path: &Path) -> bool {
    fs::read(path).unwrap().iter().all(|byte| *byte == 0)
}

#[test]
fn kickstart_files_come_into_isos() {
    let place = Place::new();
    let own = [
        ("usr/bin/osmith", "osmith"),
        (
            "usr/lib/dracut/modules.d/51osmith/osmith-medium.service",
            "[Unit]\n",
        ),
    ];
    let files: Vec<_> = BOOTABLE.into_iter().chain(own).collect();
    place.image("whole", &files);
    place.image("without", &BOOTABLE);
    place.file("good.ks", SMALL);
    place.file("bad.ks", BAD);
    place.file("foreign.iso", "nothing");
    place.ok("disk --type iso --output out whole");
    assert_snapshot!(place.transcript(&[
        "disk --type iso without",
        "disk --type iso --size 20GiB whole",
        "disk --type iso --output out whole",
        "iso embed-kickstart --output new.iso out/bootiso/install.iso good.ks",
        "iso embed-kickstart --output new.iso out/bootiso/install.iso good.ks",
        "iso embed-kickstart --output new.iso --force out/bootiso/install.iso bad.ks",
        "iso embed-kickstart foreign.iso good.ks",
        "iso embed-kickstart --remove new.iso",
        "iso embed-kickstart out/bootiso/install.iso",
    ]));
    let same = fs::read(place.path().join("new.iso")).unwrap()
        == fs::read(place.path().join("out/bootiso/install.iso")).unwrap();
    assert!(same, "what was put in was taken out");
}
