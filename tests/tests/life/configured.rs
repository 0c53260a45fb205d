//! A machine whose disk was made with a configuration file: every key is seen working, and an update leaves it all alone.

use std::fs;
use std::path::Path;
use std::process::Command;

use osmith_stories::OSMITH;
use osmith_testing::vm::{Laboratory, Machine};

use crate::story::Story;

const CONFIGURATION: &str = r#"
[[customizations.user]]
name = "admin"
description = "Administrator"
password = "correct horse"
groups = ["sudo", "operators"]
uid = 1500
home = "/var/admins/one"
shell = "/bin/sh"
expiredate = 40000

[[customizations.sshkey]]
user = "admin"
key = "@KEY@"

[[customizations.group]]
name = "operators"
gid = 2000

[customizations]
hostname = "web1.example.org"

[customizations.kernel]
append = "story.configured=1"

[customizations.timezone]
timezone = "Europe/Berlin"
ntpservers = ["ntp.example.org"]

[customizations.services]
enabled = ["systemd-networkd-wait-online.service"]
disabled = ["systemd-timesyncd.service"]
masked = ["fstrim.timer"]

[customizations.sshd]
permit_root_login = "prohibit-password"
client_alive_interval = 77

[[customizations.directories]]
path = "/etc/story.d"
mode = "0750"
group = "operators"

[[customizations.files]]
path = "/etc/story.d/configured"
data = "as configured\n"
mode = "0640"
user = "admin"
group = 2000

[customizations.disk]
minsize = "6 GiB"

[[customizations.disk.partitions]]
mountpoint = "/boot"
minsize = "600 MiB"

[[customizations.disk.partitions]]
mountpoint = "/var"
minsize = "1 GiB"
label = "vardata"

[[customizations.disk.partitions]]
mountpoint = "/var/log"
minsize = "300 MiB"
part_label = "all logs"

[[customizations.disk.partitions]]
fs_type = "swap"
minsize = "256 MiB"
"#;

/// What a command prints in the machine.
const SEEN: [(&str, &str); 20] = [
    (
        "id admin",
        "uid=1500(admin) gid=1500(admin) groups=1500(admin),27(sudo),2000(operators)",
    ),
    (
        "getent passwd admin",
        "admin:x:1500:1500:Administrator:/var/admins/one:/bin/sh",
    ),
    ("getent shadow admin | cut -d : -f 8", "40000"),
    (
        "stat -c '%a %U' /var/admins/one/.ssh/authorized_keys",
        "600 admin",
    ),
    (
        "runuser -u nobody -- sh -c 'echo correct horse | su admin -c whoami' 2> /dev/null",
        "admin",
    ),
    (
        "ssh -i /run/key -o BatchMode=yes -o StrictHostKeyChecking=no admin@localhost whoami 2> /dev/null",
        "admin",
    ),
    ("hostnamectl hostname", "web1.example.org"),
    ("grep -o story.configured=1 /proc/cmdline", "story.configured=1"),
    ("readlink /etc/localtime", "../usr/share/zoneinfo/Europe/Berlin"),
    (
        "systemd-analyze cat-config systemd/timesyncd.conf | grep ^NTP= | tail -n 1",
        "NTP=ntp.example.org",
    ),
    (
        "systemctl is-enabled systemd-networkd-wait-online.service",
        "enabled",
    ),
    (
        "systemctl is-enabled systemd-timesyncd.service || true",
        "disabled",
    ),
    ("systemctl is-enabled fstrim.timer || true", "masked"),
    ("sshd -T | grep ^clientaliveinterval", "clientaliveinterval 77"),
    ("stat -c '%a %U %G' /etc/story.d", "750 root operators"),
    (
        "stat -c '%a %U %G' /etc/story.d/configured",
        "640 admin operators",
    ),
    ("cat /etc/story.d/configured", "as configured"),
    (
        "findmnt -n -o LABEL /var; findmnt -n -o PARTLABEL /var/log; ls -d /boot/EFI/Linux",
        "vardata\nall logs\n/boot/EFI/Linux",
    ),
    ("grep -c ^/dev/ /proc/swaps", "1"),
    ("systemctl --failed --no-legend | wc -l", "0"),
];

#[test]
#[ignore = "boots a machine twice: make test-long"]
fn long_a_machine_is_as_its_configuration_says_and_stays_so() {
    let laboratory = Laboratory::open(Path::new(OSMITH)).expect("a laboratory");
    let key = laboratory.folder().join("admin-key");
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-f"])
        .arg(&key)
        .status();
    assert!(made.expect("ssh-keygen").success());
    let public = fs::read_to_string(key.with_extension("pub")).expect("a key");
    let file = laboratory.folder().join("config.toml");
    fs::write(&file, CONFIGURATION.replace("@KEY@", public.trim())).expect("a configuration");
    let options = format!("--type qcow2 --config {}", file.display());
    let Some(story) = Story::prepare_in(laboratory, &options, "") else {
        return;
    };
    let mut story = story.boot(&[]);
    let private = fs::read_to_string(&key).expect("a key");
    require_seen(&mut story.machine, &private);
    // Where the registry is was told by the story, nothing else.
    let drift = story.machine.run("osmith drift || true");
    for path in ["passwd", "fstab", "story.d", "localtime"] {
        assert!(!drift.contains(path), "{drift}");
    }
    story
        .machine
        .run("echo mine > /var/log/kept && echo mine > /var/lib/kept");

    story.publish("2", "");
    story.machine.run("osmith upgrade");
    story.machine.reboot();
    story.require_version("2");
    require_seen(&mut story.machine, &private);
    story
        .machine
        .run("grep -q mine /var/log/kept && grep -q mine /var/lib/kept");
    story.wait_for_health();
    story.machine.shut_down();
}

fn require_seen(machine: &mut Machine, private_key: &str) {
    machine.run("systemctl is-system-running --wait || true");
    machine.run(&format!("umask 077 && echo '{private_key}' > /run/key"));
    let differences: Vec<_> = SEEN
        .into_iter()
        .filter_map(|(command, expected)| {
            let seen = machine.try_run(command).expect("ssh is installed").stdout;
            (seen.trim_end() != expected).then_some((command, seen, expected))
        })
        .collect();
    assert!(differences.is_empty(), "{differences:#?}");
}
