//! The health check `10-units`, with a `systemctl` that says what a test wants.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

/// A `systemctl` that knows the states of units: a folder with a file for each look, the last of which stays.
const SYSTEMCTL: &str = r#"#!/bin/sh
case "$*" in
    "show --property=Wants"*) echo "web.service other.target" ;;
    show*)
        number=$(cat "$LOOKS/number" 2>/dev/null || echo 0)
        number=$((number + 1))
        [ ! -e "$LOOKS/$number" ] || echo "$number" > "$LOOKS/number"
        cat "$LOOKS/$(cat "$LOOKS/number")"
        ;;
    status*) echo "status of $4"; exit 3 ;;
esac
"#;

fn state(active: &str, sub: &str, restarts: u32) -> String {
    format!(
        "Id=web.service\nActiveState={active}\nSubState={sub}\nNRestarts={restarts}\n\n\
         Id=other.target\nActiveState=active\nSubState=active\n"
    )
}

/// Runs the check; the states are what it sees one after the other.
fn check(states: &[String]) -> (bool, String) {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("systemctl");
    fs::write(&program, SYSTEMCTL).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    for (index, state) in states.iter().enumerate() {
        fs::write(folder.path().join((index + 1).to_string()), state).unwrap();
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../systemd/health.d/10-units");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places = vec![folder.path().to_owned()];
    places.extend(std::env::split_paths(&path));
    let Output { status, stdout, .. } = Command::new("sh")
        .arg(script)
        .env("PATH", std::env::join_paths(places).unwrap())
        .env("LOOKS", folder.path())
        .envs([("SETTLED_SECONDS", "4"), ("LIMIT_SECONDS", "12")])
        .output()
        .unwrap();
    (status.success(), String::from_utf8(stdout).unwrap())
}

#[test]
fn units_that_stand_still_are_healthy() {
    assert_eq!(check(&[state("active", "running", 0)]), (true, String::new()));
    // Started again before, and standing still since.
    assert!(check(&[state("active", "running", 2)]).0);
    assert!(
        check(&[
            state("activating", "auto-restart", 0),
            state("active", "running", 1)
        ])
        .0
    );
}

#[test]
fn a_unit_that_fails_is_named() {
    let failed = (false, "status of web.service\nfailed: web.service\n".to_owned());
    assert_eq!(check(&[state("failed", "failed", 5)]), failed);
    assert_eq!(
        check(&[state("active", "running", 0), state("failed", "failed", 0)]),
        failed
    );
}

#[test]
fn a_unit_that_is_started_again_and_again_is_named() {
    let states: Vec<_> = (0..20)
        .map(|restarts| state("active", "running", restarts))
        .collect();
    let (passed, text) = check(&states);
    assert!(!passed);
    assert!(text.ends_with("started again and again: web.service\n"), "{text}");
}
