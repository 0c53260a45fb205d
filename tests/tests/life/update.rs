//! An update, and the way back.

use crate::story::Story;

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
    assert!(upgraded.contains("fetched in 1 layers"), "{upgraded}");
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
