//! Updates that change how `/etc` is mounted, and the way back.

use crate::story::Story;

/// The image's initramfs is made anew, with this mount of `/etc`.
fn etc_mount(mount: &str) -> String {
    format!(
        "RUN mkdir -p /usr/lib/composefs && \
             printf '[etc]\\nmount = \"{mount}\"\\n' > /usr/lib/composefs/setup-root-conf.toml && \
             /usr/lib/osmith/build-initramfs"
    )
}

impl Story {
    fn upgrade_to_etc(&mut self, version: &str, mount: &str) -> String {
        self.publish(version, &etc_mount(mount));
        let upgraded = self.machine.run("osmith upgrade 2>&1");
        self.machine.reboot();
        self.require_version(version);
        assert_eq!(
            self.machine.run("findmnt --noheadings --output FSTYPE /etc"),
            "overlay"
        );
        self.wait_for_health();
        upgraded
    }
}

#[test]
#[ignore = "boots a machine four times: make test-long"]
fn long_etc_as_a_layer_keeps_what_was_changed_and_in_memory_forgets_it() {
    let Some(mut story) = Story::begin() else { return };
    story
        .machine
        .run("echo mine > /etc/story-own && echo mine > /etc/story-shadowed");
    story.upgrade_to_etc("2", "overlay");
    let of_version_2 = "cat /etc/story-image /etc/story-own /etc/story-shadowed";
    assert_eq!(story.machine.run(of_version_2), "2\nmine\nmine");

    story.machine.run("echo later > /etc/story-later");
    let upgraded = story.upgrade_to_etc("3", "transient");
    assert!(
        upgraded.contains("changes of /etc do not come along"),
        "{upgraded}"
    );
    assert_eq!(
        story.machine.run("cat /etc/story-image /etc/story-shadowed"),
        "3\n3"
    );
    story
        .machine
        .run("test ! -e /etc/story-own && echo gone > /etc/story-gone");

    story.machine.run("osmith rollback");
    story.machine.reboot();
    story.require_version("2");
    assert_eq!(story.machine.run(of_version_2), "2\nmine\nmine");
    assert_eq!(story.machine.run("cat /etc/story-later"), "later");
    story.machine.run("test ! -e /etc/story-gone");
    story.machine.shut_down();
}
