//! Builds that are killed in the middle of a RUN step: as root, and the same as an ordinary user.

use std::fs;
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::person::{PATIENCE, Person};

/// The step leaves a process behind, writes, and has mounts of every kind; then it waits.
const CONTAINERFILE: &str = "\
FROM box
RUN --mount=type=cache,target=/cache --mount=type=tmpfs,target=/fast --mount=type=secret,id=s \\
    touch /cache/begun /fast/x /new; sleep MARK & sleep MARK
";

impl Person {
    /// A build that has come to its step, whose processes have the mark in their command line.
    fn begin_build(&self, mark: &str) -> Child {
        self.place.file("secret", "hidden");
        self.place
            .file("slow/Containerfile", CONTAINERFILE.replace("MARK", mark));
        let mut build = self.command(&[
            "build",
            "--progress",
            "none",
            "--secret",
            "id=s,src=secret",
            "slow",
        ]);
        let child = build.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        wait_until("the step runs", || processes(mark) >= 2);
        child
    }

    fn unfinished(&self) -> usize {
        fs::read_dir(self.store().join("tmp")).unwrap().count()
    }

    fn mounts(&self) -> usize {
        let store = self.place.path().display().to_string();
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        mounts.lines().filter(|line| line.contains(&store)).count()
    }
}

/// How many `sleep`s have the mark as their argument.
fn processes(mark: &str) -> usize {
    let is_marked = |path: std::path::PathBuf| {
        let line = fs::read(path.join("cmdline")).unwrap_or_default();
        line == format!("sleep\0{mark}\0").into_bytes()
    };
    let entries = fs::read_dir("/proc").unwrap();
    entries
        .filter(|entry| is_marked(entry.as_ref().unwrap().path()))
        .count()
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "never: {what}");
        sleep(Duration::from_millis(10));
    }
}

#[test]
fn nothing_is_left_of_a_build_that_is_killed_or_interrupted() {
    for (number, person) in [Person::root(), Person::ordinary()]
        .into_iter()
        .flatten()
        .enumerate()
    {
        for signal in [Signal::KILL, Signal::TERM, Signal::INT] {
            let mark = format!("98{number}{}.{}", signal.as_raw(), std::process::id());
            let mut build = person.begin_build(&mark);
            kill_process(Pid::from_child(&build), signal).unwrap();
            let status = build.wait().unwrap();
            assert!(!status.success(), "{status}");
            wait_until("no process is left", || processes(&mark) == 0);
            assert_eq!(person.mounts(), 0);
            if signal != Signal::KILL {
                assert_eq!(person.unfinished(), 0, "after {signal:?}");
            }
            // What a killed one could not remove goes with the next build.
            let built = person.ok(&["build", "-q", "box"]);
            assert!(built.starts_with("sha256:"), "{built}");
            assert_eq!(person.unfinished(), 0, "after {signal:?} and another build");
        }
    }
}
