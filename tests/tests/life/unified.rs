//! A machine that starts by unified kernel images, through an update and back.

use std::path::Path;

use osmith_stories::OSMITH;
use osmith_testing::vm::Laboratory;

use crate::story::{IMAGE, Story, WORKSHOP, containerfile};

/// Makes a version with a unified kernel image, under a name.
fn seal(name: &str, version: &str) {
    let plain = format!("localhost/story:{version}");
    WORKSHOP.build(&plain, &containerfile(version, ""));
    WORKSHOP.osmith(&format!(
        "build --build-arg BASE={plain} --build-arg COMPOSEFS=$({OSMITH} digest {plain}) -t {name} examples/sealed"
    ));
}

#[test]
#[ignore = "boots a machine three times: make test-long"]
fn long_a_machine_with_unified_kernel_images_is_updated_and_rolled_back() {
    let laboratory = Laboratory::open(Path::new(OSMITH)).expect("a laboratory");
    seal(IMAGE, "1");
    let Some(story) = Story::prepare_of_image(laboratory, "--type qcow2 --size 6GiB") else {
        return;
    };
    let mut story = story.boot(&[]);
    story.require_version("1");
    let machine = &mut story.machine;
    machine.run("systemctl is-system-running --wait");
    machine.run("test -e /boot/EFI/Linux/bootc/*.efi || test -e /efi/EFI/Linux/bootc/*.efi");
    machine.run("! grep -q root= /proc/cmdline && ! osmith kargs --append quiet");
    assert_eq!(
        machine.run("osmith kargs").trim(),
        machine.run("cat /proc/cmdline").trim()
    );
    machine.run("findmnt -no OPTIONS / | grep -q verity=require");
    assert_eq!(story.status()["booted"]["composefs"]["bootType"], "Uki");
    story.machine.run("echo mine > /etc/mine");

    seal("localhost/story:sealed", "2");
    story.push("localhost/story:sealed", "os");
    story.machine.run("osmith upgrade");
    story.machine.reboot();
    story.require_version("2");
    story.wait_for_health();
    story.machine.run("grep mine /etc/mine && osmith rollback");
    story.machine.reboot();
    story.require_version("1");
    story.machine.shut_down();
}
