//! A machine that runs version 1, and the registry that it follows.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use osmith_stories::os::registry_configuration;
pub(crate) use osmith_stories::os::{IMAGE, containerfile};
use osmith_stories::{OSMITH, Workshop, copy_sparsely};
use osmith_testing::registry::Registry;
use osmith_testing::vm::{Laboratory, Machine};
use serde_json::Value;

pub(crate) static WORKSHOP: LazyLock<Workshop> = LazyLock::new(Workshop::open);

/// The machine is powered off, or on.
pub(crate) struct Story<M = Machine> {
    pub(crate) registry: Registry,
    pub(crate) laboratory: Laboratory,
    pub(crate) disk: PathBuf,
    pub(crate) machine: M,
}

impl Story<()> {
    /// A disk with version 1, in a format of `osmith disk --type`; `more` is added to its image. `None` without a
    /// registry program.
    pub(crate) fn prepare(format: &str, more: &str) -> Option<Self> {
        let laboratory = Laboratory::open(Path::new(OSMITH)).expect("a laboratory");
        Story::prepare_in(laboratory, &format!("--type {format} --size 6GiB"), more)
    }

    /// The same in a laboratory that has files for it already, with these options of `osmith disk`.
    pub(crate) fn prepare_in(laboratory: Laboratory, options: &str, more: &str) -> Option<Self> {
        WORKSHOP.build(IMAGE, &containerfile("1", more));
        Story::prepare_of_image(laboratory, options)
    }

    /// The same of the image that there is under the name.
    pub(crate) fn prepare_of_image(laboratory: Laboratory, options: &str) -> Option<Self> {
        let registry = Registry::start()?;
        let output = WORKSHOP.folder.join("life");
        WORKSHOP.osmith(&format!(
            "disk --force {options} --output {} {IMAGE}",
            output.display()
        ));
        let made = match options.contains("--type raw") {
            true => "image/disk.raw",
            false => "qcow2/disk.qcow2",
        };
        let made = output.join(made);
        let disk = laboratory.folder().join(made.file_name().expect("a name"));
        copy_sparsely(&made, &disk).expect("a disk of our own");
        Some(Story {
            registry,
            laboratory,
            disk,
            machine: (),
        })
    }

    /// Powers the machine on, with these options of `osmith vm run`, and tells it where the registry is.
    pub(crate) fn boot(self, options: &[&str]) -> Story {
        let mut machine = self.laboratory.boot(&self.disk, options).expect("a machine");
        machine.wait_for_ssh();
        let mut story = Story {
            registry: self.registry,
            laboratory: self.laboratory,
            disk: self.disk,
            machine,
        };
        let address = story.registry.address().to_owned();
        story.find_registry_at(&address);
        story
    }
}

impl Story {
    pub(crate) fn begin() -> Option<Self> {
        Some(Story::prepare("qcow2", "")?.boot(&[]))
    }

    /// Tells the machine where on this computer the registry is: `127.0.0.1:PORT`.
    pub(crate) fn find_registry_at(&mut self, address: &str) {
        self.machine.run(&registry_configuration(address));
    }

    /// Makes a version of the image and pushes it under the name that the machine follows.
    pub(crate) fn publish(&self, version: &str, more: &str) {
        self.publish_as("os", version, more);
    }

    /// Makes an image and pushes it as the newest of a repository below `registry.story`.
    pub(crate) fn publish_as(&self, repository: &str, version: &str, more: &str) {
        let name = format!("localhost/story:{version}");
        WORKSHOP.build(&name, &containerfile(version, more));
        self.push(&name, repository);
    }

    pub(crate) fn push(&self, image: &str, repository: &str) {
        WORKSHOP.osmith(&format!(
            "push --tls-verify=false {image} {}/{repository}:latest",
            self.registry.address()
        ));
    }

    /// Shuts the machine down.
    pub(crate) fn power_off(self) -> Story<()> {
        self.machine.shut_down();
        Story {
            registry: self.registry,
            laboratory: self.laboratory,
            disk: self.disk,
            machine: (),
        }
    }

    /// Cuts the power, and turns it on again.
    pub(crate) fn cut_power(self) -> Self {
        self.machine.cut_power();
        let mut machine = self.laboratory.boot(&self.disk, &[]).expect("a machine");
        machine.wait_for_ssh();
        Story { machine, ..self }
    }

    pub(crate) fn status(&mut self) -> Value {
        let json = self.machine.run("osmith status --format json");
        serde_json::from_str::<Value>(&json).expect("JSON")["status"].clone()
    }

    /// Waits until the deployment that runs was found healthy.
    pub(crate) fn wait_for_health(&mut self) {
        self.machine
            .wait_for_output("systemctl show -P ActiveState osmith-health.service", "active");
    }

    pub(crate) fn version(&mut self) -> String {
        self.machine.run("cat /usr/share/story")
    }

    #[track_caller]
    pub(crate) fn require_version(&mut self, version: &str) {
        assert_eq!(self.version(), version);
    }
}
