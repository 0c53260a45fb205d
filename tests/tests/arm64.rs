//! A machine of another processor than this computer's: its image is built, its disk made and its update pushed here.

use std::path::Path;

use osmith_stories::{OSMITH, Workshop, copy_sparsely};
use osmith_testing::oracle;
use osmith_testing::registry::Registry;
use osmith_testing::vm::Laboratory;
use serde_json::Value;

/// What the machine follows. The name leads nowhere until the machine is told where the registry is.
const IMAGE: &str = "registry.story/arm64:latest";
/// Where a machine in QEMU finds this computer.
const GATEWAY: &str = "10.0.2.2";
/// The variable in which a boot loader leaves its name, in UTF-16.
const LOADER_INFO: &str = "/sys/firmware/efi/efivars/LoaderInfo-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";

/// An emulated machine takes minutes to start: a deadline that suits hardware would end the story.
fn containerfile(version: &str) -> String {
    format!(
        "FROM localhost/debian-bootc:13-arm64\n\
         LABEL org.opencontainers.image.version={version}\n\
         RUN test $(uname -m) = aarch64 && echo {version} > /usr/share/story && \
             systemctl disable bootc-fetch-apply-updates.timer && \
             printf '[Timer]\\nOnBootSec=\\nOnBootSec=40min\\n' | \
             install -D /dev/stdin /usr/lib/systemd/system/osmith-boot-deadline.timer.d/slow.conf\n"
    )
}

#[test]
#[ignore = "boots an emulated machine three times: make test-long"]
fn long_an_arm64_machine_is_made_here_updated_and_led_back() {
    if ["qemu-aarch64", "qemu-system-aarch64"]
        .into_iter()
        .any(|program| oracle::require(program).is_none())
    {
        return;
    }
    let Some(registry) = Registry::start() else { return };
    let workshop = Workshop::open_arm64();
    workshop.build(IMAGE, &containerfile("1"));
    let output = workshop.folder.join("arm64");
    workshop.osmith(&format!(
        "disk --force --type qcow2 --size 6GiB --output {} {IMAGE}",
        output.display()
    ));
    let laboratory = Laboratory::open(Path::new(OSMITH)).expect("a laboratory");
    let disk = laboratory.folder().join("disk.qcow2");
    copy_sparsely(&output.join("qcow2/disk.qcow2"), &disk).expect("a disk of our own");

    // Nothing says which processor the machine has: the disk does.
    let mut machine = laboratory.boot(&disk, &[]).expect("a machine");
    machine.wait_for_ssh();
    assert_eq!(machine.run("uname -m"), "aarch64");
    machine.run(&format!("grep -a -q s.y.s.t.e.m.d.-.b.o.o.t {LOADER_INFO}"));
    // Nothing says which console it has: the firmware does.
    machine.wait_for_console("login:");
    let status = status(&machine.run("osmith status --json"));
    assert_eq!(status["booted"]["image"]["architecture"], "arm64", "{status}");
    let answer = machine.try_run("touch /usr/bin/story").expect("ssh");
    assert!(!answer.status.success(), "/usr is read-only");

    workshop.build("localhost/story-arm64:2", &containerfile("2"));
    workshop.osmith(&format!(
        "push --tls-verify=false localhost/story-arm64:2 {}/arm64:latest",
        registry.address()
    ));
    let port = registry.address().rsplit(':').next().expect("a port");
    machine.run(&format!(
        "mkdir -p /etc/containers/registries.conf.d && \
         printf '[[registry]]\\nprefix = \"registry.story\"\\nlocation = \"{GATEWAY}:{port}\"\\ninsecure = true\\n' \
             > /etc/containers/registries.conf.d/story.conf && \
         echo mine > /var/lib/story"
    ));
    machine.run("osmith upgrade");
    machine.reboot();
    assert_eq!(machine.run("cat /usr/share/story /var/lib/story"), "2\nmine");
    machine.wait_for_output("systemctl show -P ActiveState osmith-health.service", "active");

    machine.run("osmith rollback");
    machine.reboot();
    assert_eq!(machine.run("cat /usr/share/story /var/lib/story"), "1\nmine");
    assert_eq!(machine.run("systemctl --failed --no-legend --plain"), "");
    machine.shut_down();
}

fn status(json: &str) -> Value {
    serde_json::from_str::<Value>(json).expect("JSON")["status"].clone()
}
