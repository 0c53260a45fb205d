//! A blank machine, a disc, and a Kickstart file on a web server.

use osmith_stories::os::{IMAGE, containerfile, registry_configuration};
use osmith_testing::registry::Registry;
use osmith_testing::vm::{Access, Machine};
use serde_json::Value;

use crate::lab::{MEMORY, Metal, WORKSHOP, measured, text};

const PASSWORD: &str = "correct.horse";

/// Everything that one file can say about a machine, in three places.
fn put_kickstart(metal: &Metal, registry: &Registry) {
    let accounts = metal.url("/accounts.cfg");
    let configure = registry_configuration(registry.address());
    metal.web.put(
        "/ks.cfg",
        format!(
            "zerombr\n\
             clearpart --all --initlabel\n\
             reqpart\n\
             part / --size=2048 --grow\n\
             bootloader --append=\"story.metal=1\"\n\
             network --device=link --bootproto=static --ip=10.0.2.15 --netmask=255.255.255.0 --gateway=10.0.2.2 \
                 --nameserver=10.0.2.3 --hostname=metal1.example.org\n\
             services --disabled=systemd-timesyncd.service --enabled=debug-shell.service\n\
             user --name=ops --groups=sudo --plaintext --password={PASSWORD}\n\
             %include {accounts}\n\
             %include /tmp/zone.cfg\n\
             reboot\n\
             %pre\n\
             echo 'timezone Europe/Berlin --utc' > /tmp/zone.cfg\n\
             %end\n\
             %post --erroronfail --log=/var/log/post.log\n\
             echo \"on $(cat /etc/hostname)\"\n\
             touch /etc/post-was-here /var/lib/post-was-here\n\
             {configure}\n\
             %end\n"
        ),
    );
    let keys = metal.ssh_key("root") + &metal.ssh_key("ops");
    metal.web.put("/accounts.cfg", format!("rootpw --lock\n{keys}"));
}

fn require_settings(machine: &mut Machine) {
    for (command, expected) in [
        (
            "cat /etc/hostname && hostname",
            "metal1.example.org\nmetal1.example.org",
        ),
        ("readlink -f /etc/localtime", "/usr/share/zoneinfo/Europe/Berlin"),
        (
            "systemctl is-enabled systemd-timesyncd.service || true",
            "disabled",
        ),
        ("systemctl is-active debug-shell.service", "active"),
        (
            "ls /etc/post-was-here /var/lib/post-was-here",
            "/etc/post-was-here\n/var/lib/post-was-here",
        ),
        ("cat /var/log/post.log", "on metal1.example.org"),
        (
            "stat -c %a /var/log/osmith/install.log /var/log/osmith/kickstart.cfg",
            "600\n600",
        ),
        ("passwd --status root | cut -d ' ' -f 2", "L"),
        ("id -nG ops", "ops sudo"),
        ("systemctl --failed --no-legend --plain", ""),
    ] {
        assert_eq!(machine.run(command), expected, "{command}");
    }
    for command in [
        "grep -w story.metal=1 /proc/cmdline",
        "ip route | grep 'default via 10.0.2.2 .* proto static'",
        "resolvectl dns | grep 10.0.2.3",
        "findmnt -no OPTIONS / | grep verity=require",
        "grep 'Write the partition table' /var/log/osmith/install.log",
        "grep 'user --name=ops' /var/log/osmith/kickstart.cfg",
        &format!("! grep -rF {PASSWORD} /etc /var/log /boot /sysroot/state 2> /dev/null"),
    ] {
        machine.run(command);
    }
}

/// At the serial console, where nobody has a key.
fn log_in_with_password(machine: &mut Machine) {
    machine.wait_for_console("metal1 login:");
    machine.type_line("ops");
    machine.wait_for_console("Password:");
    machine.type_line(PASSWORD);
    // The end of the message of the day: login(1) throws away what is typed before.
    machine.wait_for_console("permitted by applicable law");
    machine.type_line("echo $USER has the number $((6 * 7))");
    machine.wait_for_console("ops has the number 42");
    machine.type_line("exit");
}

fn booted(machine: &mut Machine) -> Value {
    let json = machine.run("osmith status --format json");
    serde_json::from_str::<Value>(&json).expect("JSON")["status"]["booted"].clone()
}

#[test]
#[ignore = "installs a machine and boots it twice: make story"]
fn a_blank_machine_is_installed_as_its_kickstart_file_says_and_follows_its_image() {
    let Some(registry) = Registry::start() else { return };
    let metal = Metal::unpack();
    put_kickstart(&metal, &registry);
    let media = metal.medium(&format!("--type iso --karg inst.ks={}", metal.url("/ks.cfg")));
    let iso = media.join("bootiso/install.iso");
    let options = ["--cdrom", text(&iso), MEMORY[0], MEMORY[1]];

    // The disc stays in the drive: after the restart the disk goes first.
    let booting = metal
        .laboratory
        .boot_with(Access::Accounts, &metal.disk, &options);
    let mut machine = booting.expect("a machine");
    machine.wait_for_console("installing this machine from medium");
    machine.wait_for_console("Installed. The machine restarts.");
    measured("installed", machine.seconds());
    machine.log_in_as("ops");
    machine.wait_for_ssh();
    measured("login", machine.seconds());
    assert_eq!(machine.run("id -un && pwd"), "ops\n/var/home/ops");
    assert_eq!(metal.web.asked().first().map(String::as_str), Some("/ks.cfg"));
    log_in_with_password(&mut machine);

    machine.log_in_as("root");
    require_settings(&mut machine);
    let before = booted(&mut machine);
    assert_eq!(before["image"]["image"]["image"], IMAGE, "{before}");
    assert_eq!(before["image"]["version"], "1", "{before}");

    WORKSHOP.build("localhost/story:2", &containerfile("2", ""));
    WORKSHOP.osmith(&format!(
        "push --tls-verify=false localhost/story:2 {}/os:latest",
        registry.address()
    ));
    machine.run("osmith upgrade");
    machine.reboot();
    let after = booted(&mut machine);
    assert_eq!(after["image"]["version"], "2", "{after}");
    require_settings(&mut machine);
    machine.shut_down();
}
