//! Ordinary users: what they may not read or write, and machines that give them no ids.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use insta::assert_snapshot;
use osmith_testing::oracle;

use super::program::{OSMITH, Place, clean, said};

/// Runs the program as `nobody`, after a line of shell that root runs in a mount namespace of its own.
fn as_nobody(place: &Place, before: &str, line: &str) -> String {
    let script = format!(
        "{before}\nexec /usr/bin/setpriv --reuid 65534 --regid 65534 --clear-groups \
         /usr/bin/env PATH=\"${{user_path:-$PATH}}\" ./osmith \"$@\""
    );
    let mut command = clean(Command::new("unshare"));
    command
        .args(["--mount", "--propagation", "private", "sh", "-c", &script, "sh"])
        .args(line.split(' '))
        .current_dir(place.path());
    let text = place.plain(&said(&command.output().unwrap()));
    format!("$ osmith {line}\n{text}\n")
}

/// A place with the program in it, where nobody may write to `own`.
fn place() -> Place {
    let place = Place::new();
    // The place it was built in may be closed to others.
    fs::copy(OSMITH, place.path().join("osmith")).unwrap();
    let own = place.path().join("own");
    fs::create_dir(&own).unwrap();
    fs::set_permissions(&own, fs::Permissions::from_mode(0o777)).unwrap();
    place
}

fn close(place: &Place, name: &str) {
    fs::set_permissions(place.path().join(name), fs::Permissions::from_mode(0o000)).unwrap();
}

#[test]
fn what_may_not_be_read_or_written() {
    if !oracle::require_root("another user") {
        return;
    }
    let place = place();
    let no_ids = ": > no-ids; mount --bind no-ids /etc/subuid; mount --bind no-ids /etc/subgid";
    place.image("localhost/web", &[("page", "hello")]);
    place.file("closed/Containerfile", "FROM scratch\n");
    close(&place, "closed");
    place.file("one/Containerfile", "FROM scratch\nCOPY . /\n");
    place.file("one/secret", "x");
    close(&place, "one/secret");
    place.file("copies-other", "FROM scratch\nCOPY Containerfile /\n");
    place.file("file/Containerfile", "FROM scratch\n");
    close(&place, "file/Containerfile");
    let lines = [
        "--store own/store build closed",
        "--store own/store build file",
        "--store own/store build one",
        "--store store images",
        "--store new import one x",
        "--store own/store save -o x.tar x",
    ];
    let text: String = lines.map(|line| as_nobody(&place, no_ids, line)).concat();
    assert_snapshot!(without_ids(&text));
    let built = as_nobody(&place, no_ids, "--store own/store build -t x -f copies-other one");
    assert!(built.ends_with("exit status 0\n\n"), "{built}");
    let mode = fs::metadata(place.path().join("own/store"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o7777, 0o700, "images have secrets");
}

#[test]
fn machines_without_subordinate_ids() {
    if !oracle::require_root("another user") {
        return;
    }
    let place = place();
    place.file("context/Containerfile", "FROM nothing\n");
    let ids = "echo nobody:300000:65536 > ids; mount --bind ids /etc/subuid; mount --bind ids /etc/subgid";
    let line = "--store own/store build context";
    let no_program = as_nobody(&place, &format!("{ids}; user_path=/nonexistent"), line);
    assert_snapshot!(no_program);
}

/// Which ids are free depends on the machine.
fn without_ids(text: &str) -> String {
    let word = |word: &str| match word.split_once('-') {
        Some((first, last)) if first.parse::<u32>().is_ok() && last.parse::<u32>().is_ok() => {
            "[IDS]".to_owned()
        }
        _ => word.to_owned(),
    };
    text.split(' ').map(word).collect::<Vec<_>>().join(" ")
}
