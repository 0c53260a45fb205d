//! The life of a machine: it follows its image in a registry, keeps what is its own, and comes back by itself when an
//! update is bad.

use std::path::Path;
use std::sync::LazyLock;

use osmith_stories::{OSMITH, Workshop, copy_sparsely};
use osmith_testing::registry::Registry;
use osmith_testing::vm::{Laboratory, Machine};
use serde_json::Value;

static WORKSHOP: LazyLock<Workshop> = LazyLock::new(Workshop::open);
/// What the machine follows. The name leads nowhere until the machine is told where the registry is.
const IMAGE: &str = "registry.story/os:latest";
/// Where a machine in QEMU finds this computer.
const GATEWAY: &str = "10.0.2.2";

/// What is in the version of the image besides the base.
fn containerfile(version: &str, more: &str) -> String {
    format!(
        "FROM localhost/debian-bootc:13\n\
         LABEL org.opencontainers.image.version={version}\n\
         RUN echo {version} > /usr/share/story && echo {version} > /etc/story-image && \
             echo {version} > /etc/story-shadowed && systemctl disable bootc-fetch-apply-updates.timer && \
             printf '[Timer]\\nOnBootSec=\\nOnBootSec=40min\\n' | \
             install -D /dev/stdin /usr/lib/systemd/system/osmith-boot-deadline.timer.d/slow.conf\n\
         {more}\n"
    )
}

/// A machine that runs version 1, and the registry that it follows.
struct Story {
    registry: Registry,
    _laboratory: Laboratory,
    machine: Machine,
}

impl Story {
    fn begin() -> Option<Self> {
        let registry = Registry::start()?;
        let workshop = &*WORKSHOP;
        workshop.build(IMAGE, &containerfile("1", ""));
        let output = workshop.folder.join("life");
        workshop.osmith(&format!(
            "disk --force --type qcow2 --size 6GiB --output {} {IMAGE}",
            output.display()
        ));
        let laboratory = Laboratory::open(Path::new(OSMITH)).expect("a laboratory");
        let disk = laboratory.folder().join("disk.qcow2");
        copy_sparsely(&output.join("qcow2/disk.qcow2"), &disk).expect("a disk of our own");
        let mut machine = laboratory.boot(&disk, &[]).expect("a machine");
        machine.wait_for_ssh();
        let port = registry.address().rsplit(':').next().expect("a port");
        machine.run(&format!(
            "mkdir -p /etc/containers/registries.conf.d && \
             printf '[[registry]]\\nprefix = \"registry.story\"\\nlocation = \"{GATEWAY}:{port}\"\\ninsecure = true\\n' \
                 > /etc/containers/registries.conf.d/story.conf"
        ));
        Some(Story {
            registry,
            _laboratory: laboratory,
            machine,
        })
    }

    /// Makes a version of the image and pushes it under the name that the machine follows.
    fn publish(&self, version: &str, more: &str) {
        let workshop = &*WORKSHOP;
        let name = format!("localhost/story:{version}");
        workshop.build(&name, &containerfile(version, more));
        workshop.osmith(&format!(
            "push --tls-verify=false {name} {}/os:latest",
            self.registry.address()
        ));
    }

    fn status(&mut self) -> Value {
        let json = self.machine.run("osmith status --format json");
        serde_json::from_str::<Value>(&json).expect("JSON")["status"].clone()
    }

    /// Waits until the deployment that runs was found healthy.
    fn wait_for_health(&mut self) {
        self.machine
            .wait_for_output("systemctl show -P ActiveState osmith-health.service", "active");
    }

    fn require_version(&mut self, version: &str) {
        assert_eq!(self.machine.run("cat /usr/share/story"), version);
    }
}

#[test]
#[ignore = "boots a machine: make story"]
fn an_update_keeps_what_is_the_machines_and_a_rollback_leads_back() {
    let Some(mut story) = Story::begin() else { return };
    story
        .machine
        .run("echo mine > /etc/story-own && echo mine > /etc/story-shadowed && echo mine > /var/lib/story");
    story.publish("2", "");

    let check = story.machine.run("osmith upgrade --check");
    assert!(
        check.contains("Update available") && check.contains("Version: 2"),
        "{check}"
    );
    let upgraded = story.machine.run("bootc upgrade 2>&1");
    assert!(upgraded.contains("/etc/story-shadowed"), "{upgraded}");
    let status = story.status();
    assert_eq!(status["staged"]["image"]["version"], "2", "{status}");
    let first = status["booted"]["composefs"]["verity"]
        .as_str()
        .expect("an ID")
        .to_owned();

    story.machine.reboot();
    story.require_version("2");
    let read = |path: &str| format!("cat {path}");
    for (path, content) in [
        ("/etc/story-own", "mine"),
        ("/etc/story-shadowed", "mine"),
        ("/etc/story-image", "2"),
        ("/var/lib/story", "mine"),
    ] {
        assert_eq!(story.machine.run(&read(path)), content, "{path} after the update");
    }
    story.wait_for_health();
    let status = story.status();
    assert_eq!(status["booted"]["image"]["version"], "2", "{status}");
    assert_eq!(
        status["rollback"]["composefs"]["verity"],
        first.as_str(),
        "{status}"
    );
    assert!(status["staged"].is_null(), "{status}");
    let nothing = story.machine.run("osmith upgrade");
    assert!(nothing.contains("No changes"), "{nothing}");

    story
        .machine
        .run("echo late > /etc/story-late && osmith rollback");
    assert_eq!(story.status()["rollbackQueued"], true);
    story.machine.reboot();
    story.require_version("1");
    story.machine.run("test ! -e /etc/story-late");
    assert_eq!(
        story.machine.run("cat /etc/story-own /var/lib/story"),
        "mine\nmine"
    );
    let log = story
        .machine
        .run("osmith log --format json | jq -r .operation 2> /dev/null || osmith log");
    for operation in ["upgrade", "finalize", "rollback"] {
        assert!(log.contains(operation), "{log}");
    }
    let failed = story.machine.run("systemctl --failed --no-legend --plain");
    assert_eq!(failed, "");
    story.machine.shut_down();
}

#[test]
#[ignore = "boots a machine four times: make test-long"]
fn long_a_version_with_a_broken_service_is_left_and_not_tried_again() {
    let Some(mut story) = Story::begin() else { return };
    story
        .machine
        .run("mkdir -p /etc/kernel && echo 1 > /etc/kernel/tries");
    let broken = "RUN printf '[Service]\\nType=oneshot\\nExecStart=/bin/false\\n[Install]\\nWantedBy=multi-user.target\\n' \
                  > /usr/lib/systemd/system/story-broken.service && systemctl enable story-broken.service";
    story.publish("3", broken);
    story.machine.run("osmith upgrade");
    let _ = story.machine.try_run("systemctl reboot");
    story.machine.wait_for_console("story-broken");
    story.machine.wait_for_output(
        "cat /usr/share/story && osmith status --json | grep -c story-broken",
        "1\n1",
    );
    let status = story.machine.run("osmith status");
    assert!(status.contains("story-broken"), "{status}");
    let again = story.machine.run("osmith upgrade 2>&1");
    assert!(again.contains("did not become healthy"), "{again}");
    assert!(story.status()["staged"].is_null());
    story.publish("4", "");
    story.machine.run("osmith upgrade");
    story.machine.reboot();
    story.require_version("4");
    story.machine.shut_down();
}
