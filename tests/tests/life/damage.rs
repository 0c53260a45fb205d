//! A file of the image is damaged on the disk: it is found, and fetched again.

use osmith_stories::{find_content, flip_bit};

use crate::story::{IMAGE, Story};

#[test]
#[ignore = "boots a machine twice: make test-long"]
fn long_a_damaged_file_is_found_and_repaired() {
    let numbers = "RUN seq 1000000 1020000 > /usr/share/story-numbers";
    let Some(story) = Story::prepare("raw", numbers) else {
        return;
    };
    let content: String = (1_000_000..=1_020_000)
        .map(|number| format!("{number}\n"))
        .collect();
    let places = find_content(&story.disk, content.as_bytes()).expect("a disk");
    let [place] = places[..] else {
        panic!("the file is there once, not at {places:?}")
    };
    flip_bit(&story.disk, place + 5000).expect("a disk");
    let mut story = story.boot(&[]);
    story.push(IMAGE, "os");

    let read = story
        .machine
        .try_run("cat /usr/share/story-numbers")
        .expect("ssh");
    assert!(!read.status.success(), "a damaged file was read");
    let checked = story.machine.try_run("osmith fsck").expect("ssh");
    assert!(!checked.status.success(), "{checked:?}");
    assert!(checked.stdout.contains("/usr/share/story-numbers"), "{checked:?}");
    let repaired = story.machine.run("osmith fsck --repair 2>&1");
    assert!(
        repaired.contains("repaired") && repaired.contains("restart the machine"),
        "{repaired}"
    );
    story.machine.reboot();
    story.machine.run("osmith fsck");
    assert_eq!(story.machine.run("cat /usr/share/story-numbers") + "\n", content);
    story.machine.shut_down();
}
