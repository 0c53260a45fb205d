//! A machine without a network: the Kickstart file is in the medium, a USB stick.

use osmith_testing::vm::Access;

use crate::lab::{MEMORY, Metal, measured, text};

#[test]
#[ignore = "installs a machine: make test-long"]
fn long_a_stick_installs_a_machine_without_a_network() {
    let metal = Metal::unpack();
    let media = metal.medium("--type iso");
    let iso = media.join("bootiso/install.iso");
    let kickstart = format!(
        "zerombr\nclearpart --all --initlabel\nreqpart --add-boot\npart / --grow\nrootpw --lock\n\
         network --hostname=alone\n\
         {}\
         reboot\n\
         %pre-install\nls /sys/class/net\n%end\n",
        metal.ssh_key("root")
    );
    metal.embed(&iso, &kickstart);
    let options = [
        "--usb",
        text(&iso),
        "--no-network",
        "--no-reboot",
        MEMORY[0],
        MEMORY[1],
    ];
    let booting = metal.laboratory.boot_with(Access::Console, &metal.disk, &options);
    let mut machine = booting.expect("a machine");
    machine.wait_for_console("Installed. The machine restarts.");
    measured("installed", machine.seconds());
    let console = machine.wait_until_off();
    assert!(!console.contains("setting the network up"), "{console}");

    let booting = metal.laboratory.boot_with(Access::Accounts, &metal.disk, &MEMORY);
    let mut machine = booting.expect("a machine");
    machine.wait_for_ssh();
    measured("login", machine.seconds());
    assert_eq!(machine.run("cat /etc/hostname"), "alone");
    assert_eq!(machine.run("systemctl --failed --no-legend --plain"), "");
    let log = machine.run("cat /var/log/osmith/install.log");
    assert!(
        log.lines().any(|line| line.ends_with("] lo")) && !log.contains("] eth"),
        "{log}"
    );
    machine.run("mountpoint /boot && osmith fsck");
    machine.shut_down();
}
