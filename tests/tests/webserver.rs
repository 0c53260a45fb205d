//! The main job: from Debian's packages and a Containerfile to a machine that answers, looked at from outside and inside.

use std::fs::File;
use std::path::Path;
use std::sync::LazyLock;

use osmith_stories::{OSMITH, Webserver, copy_sparsely, find_content, flip_bit};
use osmith_testing::vm::{Laboratory, Machine};
use serde_json::Value;

static WEBSERVER: LazyLock<Webserver> = LazyLock::new(Webserver::build);
const GROWTH_BYTES: u64 = 2 << 30;

#[test]
#[ignore = "boots a machine: make story"]
fn a_webserver_is_served_and_keeps_its_state_but_not_its_programs() {
    let webserver = &*WEBSERVER;
    let laboratory = Laboratory::open(Path::new(OSMITH)).expect("a laboratory");
    let disk = laboratory.folder().join("disk.qcow2");
    copy_sparsely(&webserver.qcow2, &disk).expect("a disk of our own");
    let mut machine = laboratory.boot(&disk, &[]).expect("a machine");

    let page = machine.wait_for_page("/");
    assert_eq!((page.status, page.body), (200, webserver.page()));
    machine.wait_for_ssh();
    require_healthy(&mut machine);
    require_composefs_root(&mut machine);
    require_read_only(&mut machine);
    require_status(&mut machine);

    machine.run(
        "echo 'of /etc' > /etc/story && echo 'of /var' > /var/lib/story && echo 'of root' > /root/story",
    );
    machine.reboot();
    for (path, content) in [
        ("/etc/story", "of /etc"),
        ("/var/lib/story", "of /var"),
        ("/root/story", "of root"),
    ] {
        assert_eq!(
            machine.run(&format!("cat {path}")),
            content,
            "{path} after a reboot"
        );
    }
    require_healthy(&mut machine);
    require_read_only(&mut machine);
    assert_eq!(machine.wait_for_page("/").status, 200);
    machine.shut_down();
}

#[test]
#[ignore = "boots a machine: make story"]
fn a_flipped_bit_is_not_served_and_a_larger_disk_is_used() {
    let webserver = &*WEBSERVER;
    let laboratory = Laboratory::open(Path::new(OSMITH)).expect("a laboratory");
    let disk = laboratory.folder().join("disk.raw");
    copy_sparsely(&webserver.raw, &disk).expect("a disk of our own");
    let original_bytes = lengthen(&disk);
    let places = find_content(&disk, &webserver.page()).expect("the disk is read");
    assert_eq!(places.len(), 1, "the page is on the disk once: {places:?}");
    flip_bit(&disk, places[0] + 5).expect("a bit is flipped");

    let mut machine = laboratory.boot(&disk, &[]).expect("a machine");
    let page = machine.wait_for_page("/");
    // The server sends its header before it reads the file.
    assert!(page.body.is_empty(), "{}", String::from_utf8_lossy(&page.body));
    machine.wait_for_ssh();
    let read = machine
        .try_run("cat /usr/share/webserver/index.html")
        .expect("ssh");
    assert!(!read.status.success(), "a changed file was read: {}", read.stdout);
    assert!(read.stderr.contains("Input/output error"), "{}", read.stderr);
    assert!(read.stdout.is_empty(), "{}", read.stdout);
    machine.run("cat /usr/lib/tmpfiles.d/webserver.conf > /dev/null");

    let root_bytes: u64 = machine
        .run("df --block-size=1 --output=size /sysroot | tail -n 1")
        .trim()
        .parse()
        .expect("a number");
    assert!(
        root_bytes > original_bytes,
        "the root file system has {root_bytes} bytes, on a disk that had {original_bytes} and {GROWTH_BYTES} more now"
    );
    machine.shut_down();
}

/// Every unit of the machine is up, none failed.
fn require_healthy(machine: &mut Machine) {
    let answer = machine
        .try_run("systemctl is-system-running --wait")
        .expect("ssh");
    let failed = machine.run("systemctl --failed --no-legend --plain");
    assert_eq!(answer.stdout, "running", "failed units: {failed}");
}

/// The root is the one the kernel command line names, and the kernel verifies what is read from it.
fn require_composefs_root(machine: &mut Machine) {
    let arguments = machine.run("cat /proc/cmdline");
    assert!(
        arguments
            .split(' ')
            .any(|argument| argument.starts_with("composefs=")),
        "{arguments}"
    );
    let root = machine.run("findmnt --noheadings --output FSTYPE,OPTIONS /");
    assert!(
        root.starts_with("overlay") && root.contains("verity=require"),
        "{root}"
    );
}

/// Nothing root does changes a program; /etc and /var are root's.
fn require_read_only(machine: &mut Machine) {
    for attempt in [
        "touch /usr/story",
        "echo story >> /usr/bin/osmith",
        "rm /usr/bin/osmith",
        "chmod 4755 /usr/bin/osmith",
        "mount -o remount,rw / && touch /usr/story",
        "mount -o remount,rw /usr && touch /usr/story",
    ] {
        let answer = machine.try_run(attempt).expect("ssh");
        assert!(!answer.status.success(), "'{attempt}' succeeded");
    }
    machine.run("test ! -e /usr/story && test -x /usr/bin/osmith");
    machine.run("touch /etc/writable /var/writable && rm /etc/writable /var/writable");
}

/// `osmith status` tells a person and a program which image was booted.
fn require_status(machine: &mut Machine) {
    let human = machine.run("osmith status --format humanreadable");
    assert!(human.contains("localhost/webserver"), "{human}");
    let json = machine.run("osmith status --format json");
    let status: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(status["apiVersion"], "org.containers.bootc/v1", "{json}");
    assert_eq!(status["kind"], "BootcHost", "{json}");
    let booted = &status["status"]["booted"];
    assert_eq!(booted["image"]["version"], "13", "{json}");
    let image = booted["image"]["image"]["image"].as_str().unwrap_or_default();
    assert!(image.starts_with("localhost/webserver"), "{json}");
    let arguments = machine.run("cat /proc/cmdline");
    let verity = booted["composefs"]["verity"].as_str().unwrap_or_default();
    assert!(
        !verity.is_empty() && arguments.contains(verity),
        "{arguments}\n{json}"
    );
    assert!(
        status["status"]["staged"].is_null() && status["status"]["rollback"].is_null(),
        "{json}"
    );
}

/// Makes the disk larger, as a cloud would; returns its former length in bytes.
fn lengthen(disk: &Path) -> u64 {
    let file = File::options().write(true).open(disk).expect("the disk");
    let length = file.metadata().expect("its length").len();
    file.set_len(length + GROWTH_BYTES).expect("a longer disk");
    length
}
