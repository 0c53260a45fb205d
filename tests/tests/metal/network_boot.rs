//! Kernel and initramfs as PXE brings them: there is no medium at all.

use std::fs;

use osmith_testing::vm::Access;

use crate::lab::{Metal, measured, text};

/// The initramfs has the image in it.
const MEMORY: &str = "2GiB";

#[test]
#[ignore = "installs a machine: make test-long"]
fn long_a_machine_is_installed_over_the_network() {
    let metal = Metal::unpack();
    let media = metal.medium("--type pxe").join("pxe");
    let lines = format!(
        "zerombr\nclearpart --all --initlabel\nautopart --type=plain --nohome\nrootpw --lock\n{}reboot\n",
        metal.ssh_key("root")
    );
    metal.web.put("/ks.cfg", lines);
    let arguments = fs::read_to_string(media.join("kernel-arguments")).expect("the kernel arguments");
    let arguments = format!(
        "{} ip=10.0.2.15::10.0.2.2:255.255.255.0:metal2::none nameserver=10.0.2.3 inst.ks={}",
        arguments.trim(),
        metal.url("/ks.cfg")
    );
    let (kernel, initrd) = (media.join("vmlinuz"), media.join("initrd.img"));
    let options = [
        "--no-reboot",
        "--kernel",
        text(&kernel),
        "--initrd",
        text(&initrd),
        "--append",
        &arguments,
        "--memory",
        MEMORY,
    ];
    let booting = metal.laboratory.boot_with(Access::Console, &metal.disk, &options);
    let mut machine = booting.expect("a machine");
    machine.wait_for_console("Installed. The machine restarts.");
    measured("installed", machine.seconds());
    machine.wait_until_off();

    let booting = metal.laboratory.boot_with(Access::Accounts, &metal.disk, &[]);
    let mut machine = booting.expect("a machine");
    machine.wait_for_ssh();
    measured("login", machine.seconds());
    // What the file leaves open, the boot options said.
    machine.run("ip route | grep 'default via 10.0.2.2 .* proto static'");
    assert_eq!(machine.run("cat /etc/hostname"), "metal2");
    assert_eq!(machine.run("systemctl --failed --no-legend --plain"), "");
    machine.shut_down();
}
