//! A running machine installs its image on other disks, and they start.

use std::fs::File;

use crate::story::{IMAGE, Story};

const DISK_BYTES: u64 = 4 << 30;
const TOOLS: &str = "RUN apt-get update && apt-get install -y --no-install-recommends fdisk dosfstools && apt-get clean && \
     rm -rf /var/lib/apt/lists/* /var/log/* /var/cache/debconf/*-old";
/// Partitions with other names and places than osmith's own.
const PARTITION: &str = "\
    printf 'label: gpt\\nsize=600M, type=uefi\\ntype=linux\\n' | sfdisk --quiet /dev/vdc && udevadm settle && \
    mkfs.vfat -F 32 /dev/vdc1 && mkfs.ext4 -q -O verity -L story-root /dev/vdc2 && \
    mount /dev/vdc2 /mnt && mkdir /mnt/efi && mount /dev/vdc1 /mnt/efi";

#[test]
#[ignore = "boots three machines: make test-long"]
fn long_an_image_is_installed_on_a_disk_and_on_file_systems() {
    let Some(story) = Story::prepare("qcow2", TOOLS) else {
        return;
    };
    let disks = ["whole.raw", "partitions.raw"].map(|name| story.laboratory.folder().join(name));
    for disk in &disks {
        let created = File::create(disk).and_then(|file| file.set_len(DISK_BYTES));
        created.expect("a blank disk");
    }
    let paths = disks.iter().map(|disk| disk.to_str().expect("text"));
    let options: Vec<_> = paths.flat_map(|path| ["--attach", path]).collect();
    let mut story = story.boot(&options);
    story.push(IMAGE, "os");
    for command in [
        &format!("osmith pull {IMAGE}"),
        &format!("osmith install to-disk {IMAGE} /dev/vdb"),
        PARTITION,
        &format!("osmith install to-filesystem --root-mount-spec LABEL=story-root {IMAGE} /mnt"),
        "umount -R /mnt",
    ] {
        story.machine.run(command);
    }

    let mut powered_off = story.power_off();
    let arguments = ["composefs=", "root=LABEL=story-root"];
    for (disk, argument) in disks.into_iter().zip(arguments) {
        powered_off.disk = disk;
        let mut story = powered_off.boot(&[]);
        story.require_version("1");
        let command_line = story.machine.run("cat /proc/cmdline");
        assert!(command_line.contains(argument), "{command_line}");
        let status = story.status();
        assert_eq!(status["booted"]["image"]["image"]["image"], IMAGE, "{status}");
        story.machine.run("osmith fsck");
        story.wait_for_health();
        powered_off = story.power_off();
    }
}
