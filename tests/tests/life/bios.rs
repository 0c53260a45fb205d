//! A machine that is started by a BIOS.

use crate::story::Story;

#[test]
#[ignore = "boots a machine five times: make test-long"]
fn long_a_bios_machine_takes_other_arguments_and_leaves_a_version_that_panics() {
    let Some(story) = Story::prepare("qcow2", "") else {
        return;
    };
    let mut story = story.boot(&["--firmware", "bios"]);
    story.machine.run("test ! -e /sys/firmware/efi && osmith status");
    story.machine.run("osmith kargs --append story.argument=1");
    story.machine.reboot();
    story.machine.run("grep story.argument=1 /proc/cmdline");

    story.publish("2", "");
    story.machine.run("osmith upgrade");
    story.machine.reboot();
    story.require_version("2");
    story.wait_for_health();

    // The kernel finds no init in its initramfs: what counts the tries is GRUB alone.
    let panics = "RUN mkdir -p /usr/lib/bootc/kargs.d && \
        echo 'kargs = [\"rdinit=/nowhere\", \"panic=5\"]' > /usr/lib/bootc/kargs.d/99-panic.toml";
    story.publish("3", panics);
    story
        .machine
        .run("mkdir -p /etc/kernel && echo 1 > /etc/kernel/tries && osmith upgrade");
    let _ = story.machine.try_run("systemctl reboot");
    story.machine.wait_for_console("Kernel panic");
    story.machine.wait_for_output(
        "cat /usr/share/story && osmith status --json | grep -c failedDeployments",
        "2\n1",
    );
    story.machine.shut_down();
}
