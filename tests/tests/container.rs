//! The section of the README on containers, line by line, with the webserver example, as a user types it.
#![allow(clippy::print_stderr, reason = "a story says which command it runs")]

use std::io::Write as _;
use std::net::TcpListener;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use osmith_stories::Workshop;

const SECTION: &str = "**Try it as a container.**";
const PATIENCE: Duration = Duration::from_secs(60);

/// The commands of the section: the indented lines up to the next paragraph that is none.
fn section(readme: &str) -> Vec<String> {
    let (_, text) = readme.split_once(SECTION).expect("the section on containers");
    let lines = text
        .lines()
        .skip_while(|line| !line.starts_with("    "))
        .take_while(|line| line.starts_with("    "));
    // What stands behind a wide gap and a # is a remark.
    lines
        .map(|line| line.split("   #").next().unwrap_or_default().trim().to_owned())
        .collect()
}

/// A port that is free now.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("its number").port()
}

/// What a command prints; it gets a terminal if it wants one, and `exit` is typed there.
fn output(workshop: &Workshop, command: &str) -> Output {
    eprintln!("$ {command}");
    let mut shell = match command.contains(" -it ") {
        true => Command::new("script"),
        false => Command::new("bash"),
    };
    match command.contains(" -it ") {
        true => shell.args(["--quiet", "--return", "--command", command, "/dev/null"]),
        false => shell.args(["-o", "pipefail", "-c", command]),
    };
    let mut child = shell
        .env("OSMITH_STORE", &workshop.store)
        .current_dir(&workshop.project)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .expect("a shell");
    let typed = child.stdin.take().expect("its input").write_all(b"exit\n");
    // A command that reads nothing may have ended.
    drop(typed);
    child.wait_with_output().expect("its end")
}

/// What a command prints that succeeds, now or when what it asks for is there.
fn said(workshop: &Workshop, command: &str) -> String {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let output = output(workshop, command);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() {
            return text;
        }
        let may_come = command.starts_with("curl");
        assert!(
            may_come && Instant::now() < deadline,
            "{command}: {}\n{text}",
            output.status
        );
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[test]
#[ignore = "needs the images of the stories: make story"]
fn the_readme_section_works_as_written() {
    let workshop = Workshop::open();
    workshop.osmith("build -t localhost/webserver examples/webserver");
    let _ = output(&workshop, "osmith rm --force web 2> /dev/null");
    let readme = std::fs::read_to_string(workshop.project.join("README.md")).expect("the README");
    let port = free_port().to_string();
    let mut seen = Vec::new();
    for command in section(&readme) {
        let text = said(&workshop, &command.replace("8080", &port));
        seen.push((command, text));
    }
    let said_by = |beginning: &str| {
        let found = seen.iter().find(|(command, _)| command.starts_with(beginning));
        found
            .map(|(_, text)| text.as_str())
            .unwrap_or_else(|| panic!("no line '{beginning}'"))
    };
    let page = workshop
        .project
        .join("examples/webserver/rootfs/usr/share/webserver/index.html");
    assert_eq!(said_by("curl"), std::fs::read_to_string(page).expect("the page"));
    let processes: Vec<&str> = said_by("osmith exec -l ps -ef").lines().collect();
    let first: Vec<&str> = processes[1].split_whitespace().collect();
    assert_eq!((first[1], first[7]), ("1", "/sbin/init"), "{processes:#?}");
    assert!(
        processes
            .iter()
            .any(|line| line.contains("nginx: master process"))
    );
    assert!(said_by("osmith run --rm").contains("PRETTY_NAME=\"Debian"));
    assert_eq!(said(&workshop, "osmith ps --all --quiet"), "");
}

#[test]
#[ignore = "needs the images of the stories: make story"]
fn every_unit_starts_in_a_container() {
    let workshop = Workshop::open();
    workshop.osmith("build -t localhost/webserver examples/webserver");
    workshop.osmith("run -d --name units --network none localhost/webserver");
    let deadline = Instant::now() + PATIENCE;
    let state = loop {
        let answer = output(&workshop, "osmith exec units systemctl is-system-running");
        let state = String::from_utf8_lossy(&answer.stdout).trim().to_owned();
        if !matches!(state.as_str(), "" | "initializing" | "starting") || Instant::now() > deadline {
            break state;
        }
        std::thread::sleep(Duration::from_millis(200));
    };
    let failed = output(
        &workshop,
        "osmith exec units systemctl --failed --no-legend --plain",
    );
    assert_eq!(state, "running", "{}", String::from_utf8_lossy(&failed.stdout));
    // It shuts itself down: what has to be killed ends with 137.
    workshop.osmith("stop units");
    let list = said(&workshop, "osmith ps --all --format json");
    let list: serde_json::Value = serde_json::from_str(&list).expect("JSON");
    assert_eq!(list[0]["ExitCode"], 0, "{list}");
    workshop.osmith("rm units");
}
