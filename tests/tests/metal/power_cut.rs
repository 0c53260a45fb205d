//! The power fails while the disk is written: no firmware starts half a system, and another installation works.

use osmith_testing::vm::Access;

use crate::lab::{MEMORY, Metal, has_partition_table, is_blank, measured, text};

#[test]
#[ignore = "installs a machine twice: make test-long"]
fn long_a_power_cut_leaves_no_system_and_another_installation_works() {
    let metal = Metal::unpack();
    let media = metal.medium("--type iso");
    let kickstart = format!(
        "zerombr\nclearpart --all --initlabel\nreqpart\npart / --grow\nrootpw --lock\n{}poweroff\n",
        metal.ssh_key("root")
    );
    let iso = media.join("bootiso/install.iso");
    metal.embed(&iso, &kickstart);
    let options = ["--cdrom", text(&iso), MEMORY[0], MEMORY[1]];
    let install = || {
        let booting = metal.laboratory.boot_with(Access::Console, &metal.disk, &options);
        booting.expect("a machine")
    };

    let mut machine = install();
    machine.wait_for_console("[2/2] write the disk");
    machine.wait_until("a part of the disk", |machine| {
        machine.console().matches("[2/2] ").count() > 3
    });
    machine.cut_power();
    assert!(!is_blank(&metal.disk), "something was written");
    assert!(!has_partition_table(&metal.disk));

    // The disk goes first, if the firmware finds a system there. It does not: the medium is started again.
    let machine = install();
    let seconds = std::time::Instant::now();
    let console = machine.wait_until_off();
    measured("installed", seconds.elapsed().as_secs());
    assert!(
        console.contains("Installed. The machine is switched off."),
        "{console}"
    );
    assert!(has_partition_table(&metal.disk));
    let booting = metal.laboratory.boot_with(Access::Accounts, &metal.disk, &[]);
    let mut machine = booting.expect("a machine");
    machine.wait_for_ssh();
    measured("login", machine.seconds());
    machine.run("osmith fsck");
    machine.shut_down();
}
