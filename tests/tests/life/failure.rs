//! Versions that are bad are left, and not tried again.

use crate::story::Story;

/// A new deployment is started once, not three times.
const ONE_TRY: &str = "mkdir -p /etc/kernel && echo 1 > /etc/kernel/tries";

/// The version that failed is not staged again.
fn require_refused(story: &mut Story) {
    let again = story.machine.run("osmith upgrade 2>&1");
    assert!(again.contains("did not become healthy"), "{again}");
    assert!(story.status()["staged"].is_null());
}

#[test]
#[ignore = "boots a machine four times: make test-long"]
fn long_a_version_with_a_broken_service_is_left_and_not_tried_again() {
    let Some(mut story) = Story::begin() else { return };
    story.machine.run(ONE_TRY);
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
    require_refused(&mut story);
    story.publish("4", "");
    story.machine.run("osmith upgrade");
    story.machine.reboot();
    story.require_version("4");
    story.machine.shut_down();
}

#[test]
#[ignore = "boots a machine four times: make test-long"]
fn long_another_image_is_followed_and_its_version_that_panics_is_left() {
    let Some(mut story) = Story::begin() else { return };
    story.machine.run(ONE_TRY);
    story.publish_as("other", "2", "");
    let switched = story.machine.run("osmith switch registry.story/other:latest");
    assert!(switched.contains("Next reboot"), "{switched}");
    story.machine.reboot();
    story.require_version("2");
    story.wait_for_health();
    let status = story.status();
    assert_eq!(
        status["booted"]["image"]["image"]["image"], "registry.story/other:latest",
        "{status}"
    );
    assert_eq!(
        status["rollback"]["image"]["image"]["image"], "registry.story/os:latest",
        "{status}"
    );

    // The kernel finds no init in its initramfs, and no file system to look for one in.
    let panics = "RUN mkdir -p /usr/lib/bootc/kargs.d && \
        echo 'kargs = [\"rdinit=/nowhere\", \"panic=5\"]' > /usr/lib/bootc/kargs.d/99-panic.toml";
    story.publish_as("other", "4", panics);
    story.machine.run("osmith upgrade");
    let _ = story.machine.try_run("systemctl reboot");
    story.machine.wait_for_console("Kernel panic");
    story.machine.wait_for_output(
        "cat /usr/share/story && osmith status --json | grep -c failedDeployments",
        "2\n1",
    );
    let failed = story.status()["failedDeployments"].clone();
    assert_eq!(failed.as_array().map(Vec::len), Some(1), "{failed}");
    require_refused(&mut story);
    story.machine.shut_down();
}
