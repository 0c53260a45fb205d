//! Files that cannot be carried out: the console says what is wrong and offers a shell, and nothing is written.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use osmith_testing::vm::{Access, Machine};

use crate::lab::{MEMORY, Metal, bytes, has_partition_table, is_blank, measured, text};

const REFUSED: &str = "This machine was not installed.";
const OFFERED: &str = "There is a shell on the console:";

fn kickstart(metal: &Metal, disk: &str) -> String {
    format!(
        "ignoredisk --only-use={disk}\n\
         zerombr\n\
         clearpart --all --initlabel\n\
         reqpart\n\
         part / --size=2048 --grow\n\
         rootpw --lock\n\
         {}\
         poweroff\n",
        metal.ssh_key("root")
    )
}

/// A disk with something on it that is no file system.
fn precious_disk(metal: &Metal) -> std::path::PathBuf {
    let path = metal.laboratory.folder().join("precious.raw");
    let block: Vec<u8> = (0..=250).cycle().take(1 << 20).collect();
    let mut file = File::create(&path).expect("a disk");
    for _ in 0..64 {
        file.write_all(&block).expect("its content");
    }
    path
}

/// Tries again from the shell, in vain, which brings all of these on the console.
fn try_again(machine: &mut Machine, expected: &[&str]) {
    let refusals = |machine: &Machine| machine.console().matches(REFUSED).count();
    let before = refusals(machine);
    machine.type_line("osmith installer");
    machine.wait_until("another refusal", |machine| refusals(machine) > before);
    require_on_console(machine, expected);
}

#[track_caller]
fn require_on_console(machine: &Machine, expected: &[&str]) {
    let console = machine.console();
    for text in expected {
        assert!(
            console.contains(text),
            "'{text}' is not on the console:\n{console}"
        );
    }
}

fn require_untouched(disks: [&Path; 2], precious: &[u8]) {
    assert!(is_blank(disks[0]), "the first disk was written to");
    assert!(bytes(disks[1]) == precious, "the second disk was written to");
}

#[test]
#[ignore = "boots an installer, and the machine: make test-long"]
fn long_a_wrong_file_harms_nothing_and_another_try_takes_the_right_disk() {
    let metal = Metal::unpack();
    let precious = precious_disk(&metal);
    let content = bytes(&precious);
    let wrong_word = kickstart(&metal, "vda").replace("zerombr", "zerombr\nzorembr");
    metal.web.put("/ks.cfg", wrong_word);
    let media = metal.medium(&format!("--type iso --karg inst.ks={}", metal.url("/ks.cfg")));
    let iso = media.join("bootiso/install.iso");
    let options = [
        "--cdrom",
        text(&iso),
        "--attach",
        text(&precious),
        MEMORY[0],
        MEMORY[1],
    ];
    let booting = metal.laboratory.boot_with(Access::Console, &metal.disk, &options);
    let mut machine = booting.expect("a machine");

    machine.wait_for_console(OFFERED);
    measured("a wrong file was refused", machine.seconds());
    let place = format!("{}:3:1: error: ", metal.url("/ks.cfg"));
    require_on_console(&machine, &[&place, "'zorembr'"]);
    machine.type_line("echo the shell knows $((6 * 7))");
    machine.wait_for_console("the shell knows 42");
    require_untouched([&metal.disk, &precious], &content);

    // A shell that is left is offered again.
    machine.type_line("exit");
    machine.wait_until("another shell", |machine| {
        machine.console().matches(OFFERED).count() == 2
    });
    metal.web.put("/ks.cfg", kickstart(&metal, "nvme7n1"));
    try_again(&mut machine, &["ks.cfg:1:", "nvme7n1"]);
    require_untouched([&metal.disk, &precious], &content);

    // Both disks: the file must name the one that is meant.
    metal.web.put("/ks.cfg", kickstart(&metal, "vda"));
    machine.type_line("osmith installer");
    let console = machine.wait_until_off();
    assert!(
        console.contains("Installed. The machine is switched off."),
        "{console}"
    );
    assert!(has_partition_table(&metal.disk));
    assert!(bytes(&precious) == content, "the second disk was written to");

    let booting = metal.laboratory.boot_with(Access::Accounts, &metal.disk, &[]);
    let mut machine = booting.expect("a machine");
    machine.wait_for_ssh();
    machine.shut_down();
}
