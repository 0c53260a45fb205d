//! A process that changes a machine is killed before each of its writes in turn; what is left must start, the old or
//! the new, and the next try must work.
//!
//! strace (by its fault injection) kills. What the medium keeps of what was not synced is another matter: a trace shows
//! that all is synced before the boot menus change places; and machines whose power is cut are stories.

use std::env;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus};

use osmith_testing::oracle;
use tempfile::TempDir;

use super::*;

/// Which part a process plays in this test, and on which machine.
const PART: &str = "OSMITH_CRASH_PART";
const ROOT: &str = "OSMITH_CRASH_ROOT";
/// What changes a file system or waits for it.
const WRITES: &str = "write,pwrite64,rename,renameat,renameat2,link,linkat,unlink,unlinkat,mkdir,mkdirat,rmdir,symlink,\
                      symlinkat,mknodat,ftruncate,fallocate,copy_file_range,fchown,fchownat,fchmod,fchmodat,fsetxattr,\
                      lsetxattr,utimensat,fsync,fdatasync,syncfs";
/// More than any operation here has.
const WRITES_MAX: usize = 5000;
/// How many places of all are tried when there is no time for all.
const PLACES: usize = 10;

/// What the process does.
#[derive(Debug, Clone, Copy)]
enum Part {
    Stage,
    Finalize,
    Rollback,
    Collect,
}

const PARTS: [(Part, &str); 4] = [
    (Part::Stage, "stage"),
    (Part::Finalize, "finalize"),
    (Part::Rollback, "rollback"),
    (Part::Collect, "collect"),
];

impl Part {
    fn play(self, sample: &Sample, files: &Files) {
        match self {
            Part::Stage => {
                sample.staged(files);
            }
            Part::Finalize => {
                finalize(&sample.machine()).unwrap();
            }
            Part::Rollback => {
                rollback(&sample.machine()).unwrap();
            }
            Part::Collect => {
                sample.collect();
            }
        }
    }
}

/// The part of the process that is killed; without a part, as all other tests run, there is nothing to do.
#[test]
fn plays_its_part() {
    let Ok(name) = env::var(PART) else { return };
    let (part, _) = PARTS.into_iter().find(|(_, known)| *known == name).unwrap();
    let sample = Sample {
        root: Folder::Borrowed(env::var_os(ROOT).unwrap().into()),
    };
    part.play(&sample, &next_files());
}

/// The version that is staged: with another kernel, so that the ESP is written to as well.
fn next_files() -> Files {
    let mut next = files("3");
    next.insert(
        "usr/lib/os-release",
        b"ID=example\nVERSION_ID=3\nNAME=Next\n".to_vec(),
    );
    next.insert("etc/next.d/file", b"next".to_vec());
    next
}

/// A machine that runs version 2, after version 1, and has local changes of `/etc`.
fn prepared() -> Sample {
    let sample = Sample::new();
    sample.staged(&files("2"));
    finalize(&sample.machine()).unwrap();
    sample.reboot();
    fs::write(sample.path("etc/issue"), "mine").unwrap();
    fs::create_dir(sample.path("etc/own")).unwrap();
    fs::write(sample.path("etc/own/file"), "own").unwrap();
    sample
}

/// A copy of a machine in another folder.
fn copy(sample: &Sample) -> Sample {
    let folder = TempDir::new().unwrap();
    let status = Command::new("cp")
        .arg("-a")
        .arg(sample.path(""))
        .arg(folder.path().join("root"))
        .status();
    assert!(status.unwrap().success());
    Sample {
        root: Folder::Copy(folder),
    }
}

/// Runs a part in a process of its own, under strace with these options.
fn run(strace: &Path, options: &[&str], name: &str, root: &Path) -> ExitStatus {
    let status = Command::new(strace)
        .args(["-f", "-qq"])
        .args(options)
        .arg(env::current_exe().unwrap())
        .args([
            "--exact",
            "deploy::tests::crash::plays_its_part",
            "--test-threads=1",
            "--quiet",
        ])
        .env(PART, name)
        .env(ROOT, root)
        .stdout(std::process::Stdio::null())
        .status();
    status.unwrap()
}

/// Kills the part before its write number `number`; false if it has fewer.
fn kill(strace: &Path, name: &str, number: usize, root: &Path) -> bool {
    let trace = format!("trace={WRITES}");
    let inject = format!("inject={WRITES}:signal=KILL:when={number}");
    let status = run(
        strace,
        &["-o", "/dev/null", "-e", &trace, "-e", &inject],
        name,
        root,
    );
    match status.signal() {
        Some(9) => true,
        _ => {
            assert!(status.success(), "{name}, killed at {number}: {status}");
            false
        }
    }
}

/// How many writes the part has.
fn count(strace: &Path, name: &str, sample: &Sample) -> usize {
    let trace = TempDir::new().unwrap();
    let file = trace.path().join("trace");
    let options = [
        "-o",
        &file.display().to_string(),
        "-e",
        &format!("trace={WRITES}"),
    ];
    let machine = copy(sample);
    assert!(run(strace, &options, name, &machine.path("")).success());
    let text = fs::read_to_string(&file).unwrap();
    require_synced(&text);
    text.lines().count()
}

/// Between the last write below the physical root and the exchange of the menus, all is synced.
fn require_synced(trace: &str) {
    let lines: Vec<&str> = trace.lines().collect();
    let Some(exchange) = lines
        .iter()
        .position(|line| line.contains("entries.staged") && line.contains("RENAME_EXCHANGE"))
    else {
        return;
    };
    let before = &lines[..exchange];
    let last_write = before
        .iter()
        .rposition(|line| line.contains("/sysroot/state/deploy/") && !line.contains("sync"));
    let last_sync = before.iter().rposition(|line| line.contains("syncfs("));
    assert!(
        last_sync > last_write,
        "not synced before the menus change places:\n{trace}"
    );
}

/// After a crash: what starts is whole, and an update works.
fn require_recovered(crashed: &Sample, allowed: &[Digest], name: &str, number: usize) {
    let place = format!("{name}, killed before write {number}");
    let first = crashed.esp().menu().unwrap().deployments()[0];
    assert!(allowed.contains(&first), "{place}: {first} starts");
    crashed.reboot();
    // A deployment that was rolled back to has the /etc it had.
    let is_changed = crashed.path("etc/own").exists();
    let staged = crashed.stage(&next_files());
    if let Staging::Staged { deployment, .. } = staged {
        crashed.collect();
        let shadowed = is_changed.then(|| PathBuf::from("issue")).into_iter().collect();
        let finalized = finalize(&crashed.machine()).unwrap();
        assert_eq!(finalized, Finalized::Done { deployment, shadowed }, "{place}");
        assert_eq!(crashed.reboot(), deployment, "{place}");
    }
    crashed.collect();
    assert_eq!(crashed.path("etc/own/file").exists(), is_changed, "{place}");
    assert_eq!(
        fs::read_to_string(crashed.path("etc/next.d/file"))
            .unwrap_or_else(|error| panic!("{place}: {error}")),
        "next",
        "{place}"
    );
}

/// Kills all parts at places of their writes; `step` of a number gives those that are tried.
fn crash(places: impl Fn(usize) -> Vec<usize>) {
    let Some(strace) = oracle::require("strace") else {
        return;
    };
    let before = prepared();
    let staged = copy(&before);
    let next = staged.staged(&next_files());
    let all = before
        .esp()
        .menu()
        .unwrap()
        .deployments()
        .into_iter()
        .chain([next])
        .collect::<Vec<_>>();
    for (part, name) in PARTS {
        let start = if matches!(part, Part::Finalize) {
            &staged
        } else {
            &before
        };
        for number in places(count(&strace, name, start).min(WRITES_MAX)) {
            let crashed = copy(start);
            if kill(&strace, name, number, &crashed.path("")) {
                let allowed = match part {
                    Part::Stage | Part::Collect => &all[..1],
                    _ => &all,
                };
                require_recovered(&crashed, allowed, name, number);
            }
        }
    }
}

#[test]
fn a_crash_at_some_writes_leaves_what_starts() {
    crash(|count| (0..PLACES).map(|place| 1 + place * count / PLACES).collect());
}

#[test]
#[ignore = "takes minutes: make test-long"]
fn a_crash_at_every_write_leaves_what_starts() {
    crash(|count| (1..=count).collect());
}
