//! The power is cut while an update is fetched, staged and finalized: the machine starts, old or new, and the next try
//! works.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use osmith_testing::fault_proxy::{Fault, FaultProxy, SeenRequest};

use crate::story::Story;

/// A layer of this size, in pieces, each after a pause, takes half a minute.
const LAYER_BYTES: usize = 20 << 20;
const PIECE_BYTES: usize = 64 << 10;
const PAUSE: Duration = Duration::from_millis(100);
/// Says on the console that the staged deployment is being finalized.
const TELL_FINALIZING: &str = "\
    mkdir -p /etc/systemd/system/osmith-finalize-staged.service.d && \
    printf '[Service]\\nExecStop=\\nExecStop=/bin/sh -c \"echo story finalizes > /dev/console\"\\n\
            ExecStop=/usr/bin/osmith finalize\\n' \
        > /etc/systemd/system/osmith-finalize-staged.service.d/story.conf && systemctl daemon-reload && sync";

/// Upgrades without waiting for it; its progress goes to the console.
fn begin_upgrade(story: &mut Story) {
    story
        .machine
        .run("systemd-run --quiet sh -c 'osmith upgrade --progress plain > /dev/console 2>&1'");
}

fn asks_for_blob(request: &SeenRequest) -> bool {
    request.method == "GET" && request.path.contains("/blobs/")
}

fn require_nothing_staged(story: &mut Story) {
    story.require_version("1");
    let status = story.status();
    assert!(status["staged"].is_null(), "{status}");
    story.machine.run("osmith fsck");
}

#[test]
#[ignore = "boots a machine six times: make test-long"]
fn long_a_power_cut_at_any_time_leaves_a_machine_that_starts() {
    let Some(mut story) = Story::begin() else { return };
    story.publish(
        "2",
        &format!("RUN head -c {LAYER_BYTES} /dev/urandom > /usr/share/large"),
    );
    let is_slow = Arc::new(AtomicBool::new(true));
    let slow = is_slow.clone();
    let proxy = FaultProxy::start(story.registry.address(), move |request| {
        let is_meant = asks_for_blob(request) && slow.load(Ordering::Relaxed);
        is_meant.then_some(Fault::Slow(PAUSE, PIECE_BYTES))
    });
    story.find_registry_at(proxy.address());
    story.machine.run(TELL_FINALIZING);

    begin_upgrade(&mut story);
    story
        .machine
        .wait_until("a layer is asked for", |_| proxy.seen().iter().any(asks_for_blob));
    thread::sleep(20 * PAUSE);
    story = story.cut_power();
    require_nothing_staged(&mut story);

    is_slow.store(false, Ordering::Relaxed);
    begin_upgrade(&mut story);
    story.machine.wait_for_console("] done in");
    story = story.cut_power();
    require_nothing_staged(&mut story);

    for pause_ms in [0, 700, 2000] {
        let upgraded = story.machine.run("osmith upgrade");
        assert!(upgraded.contains("Next reboot"), "{upgraded}");
        let _ = story.machine.try_run("systemctl reboot");
        story.machine.wait_for_console("story finalizes");
        thread::sleep(Duration::from_millis(pause_ms));
        story = story.cut_power();
        if story.version() == "2" {
            break;
        }
        require_nothing_staged(&mut story);
    }
    if story.version() == "1" {
        story.machine.run("osmith upgrade");
        story.machine.reboot();
    }
    story.require_version("2");
    story.wait_for_health();
    let status = story.status();
    assert_eq!(status["rollback"]["image"]["version"], "1", "{status}");
    story.machine.shut_down();
}
