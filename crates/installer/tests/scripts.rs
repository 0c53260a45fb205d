//! Scripts in the live system and inside an installed one.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use osmith_installer::scripts::{Script, ScriptError, ScriptKind, Surroundings, run_script};
use osmith_report::{Event, Failure, Observer, Severity, StepId};
use osmith_sys::sandbox::{self, Exit};
use osmith_testing::oracle;

osmith_testing::before_tests!(sandbox::run_if_child);

/// Keeps what it is told, and asks to stop when a script says so.
#[derive(Default)]
struct Told {
    lines: Mutex<Vec<String>>,
    warnings: Mutex<Vec<String>>,
    stops: AtomicBool,
}

impl Observer for Told {
    fn observe(&self, event: Event) {
        match event {
            Event::Output { line, .. } => {
                self.stops.fetch_or(line == "stop me", Ordering::Relaxed);
                self.lines.lock().unwrap().push(line);
            }
            Event::Message {
                severity: Severity::Warning,
                text,
            } => self.warnings.lock().unwrap().push(text),
            _ => {}
        }
    }

    fn interrupted(&self) -> bool {
        self.stops.load(Ordering::Relaxed)
    }
}

impl Told {
    fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    fn warnings(&self) -> Vec<String> {
        self.warnings.lock().unwrap().clone()
    }
}

fn script(body: &str) -> Script {
    Script {
        kind: ScriptKind::Pre,
        file: "ks.cfg".to_owned(),
        line: 12,
        interpreter: "/bin/sh".to_owned(),
        body: body.to_owned(),
        in_target: false,
        log: None,
        error_on_fail: true,
    }
}

fn run(script: &Script, host: &Path, target: Option<&Path>, told: &Told) -> Result<Exit, ScriptError> {
    let environment = [("https_proxy".to_owned(), "http://proxy:1".to_owned())];
    let surroundings = Surroundings {
        host,
        target,
        environment: &environment,
    };
    run_script(script, &surroundings, StepId(0), told)
}

#[test]
fn output_goes_to_the_observer_and_the_log() {
    let host = tempfile::tempdir().unwrap();
    let told = Told::default();
    let logged = Script {
        log: Some("/var/log/deep/pre.log".to_owned()),
        ..script(
            "echo one; printf 'tw\\377o' >&2; pwd; stat -c %a $0; env | grep -v PWD= | grep -v SHLVL | grep -v _= | sort\n",
        )
    };
    run(&logged, host.path(), None, &told).unwrap();
    let lines = told.lines();
    let has = |line: &str| lines.iter().any(|found| found == line);
    assert!(has("one") && has("tw\u{fffd}o") && has("700"), "{lines:?}");
    assert!(has(host.path().to_str().unwrap()), "{lines:?}");
    for expected in ["HOME=/root", "LANG=C.UTF-8", "https_proxy=http://proxy:1"] {
        assert!(has(expected), "{lines:?}");
    }
    let log = host.path().join("var/log/deep/pre.log");
    let bytes = fs::read(&log).unwrap();
    assert!(bytes.windows(4).any(|window| window == b"tw\xffo"));
    assert_eq!(fs::metadata(&log).unwrap().permissions().mode() & 0o777, 0o600);
    // The script itself is gone.
    assert_eq!(
        fs::read_dir(host.path().join("run/osmith/scripts"))
            .unwrap()
            .count(),
        0
    );
}

#[test]
fn a_script_that_fails_ends_the_installation_if_it_wants_so() {
    let host = tempfile::tempdir().unwrap();
    let told = Told::default();
    let mut failing = script("i=0; while [ $i -lt 20 ]; do echo line $i; i=$((i+1)); done; exit 3");
    let error = run(&failing, host.path(), None, &told).unwrap_err();
    assert_eq!(
        error.to_string(),
        "%pre (ks.cfg, line 12) ended with the exit status 3"
    );
    let excerpt = error.excerpt().unwrap();
    assert!(
        excerpt.starts_with("  | line 8\n") && excerpt.ends_with("line 19"),
        "{excerpt}"
    );
    failing.error_on_fail = false;
    assert_eq!(run(&failing, host.path(), None, &told).unwrap(), Exit::Code(3));
    assert_eq!(
        told.warnings(),
        ["%pre (ks.cfg, line 12) ended with the exit status 3; the installation goes on"]
    );
    let killed = run(&script("kill -9 $$"), host.path(), None, &told).unwrap_err();
    assert_eq!(
        killed.to_string(),
        "%pre (ks.cfg, line 12) was killed by signal 9"
    );
}

#[test]
fn interpreters() {
    let host = tempfile::tempdir().unwrap();
    let told = Told::default();
    let mut other = script("echo $-");
    other.interpreter = "/bin/sh -f -u".to_owned();
    run(&other, host.path(), None, &told).unwrap();
    assert!(
        told.lines()[0].contains('f') && told.lines()[0].contains('u'),
        "{:?}",
        told.lines()
    );
    other.interpreter = "/usr/bin/no-such-python".to_owned();
    let error = run(&other, host.path(), None, &told).unwrap_err();
    assert_eq!(
        error.to_string(),
        "%pre (ks.cfg, line 12) cannot be started by the interpreter '/usr/bin/no-such-python': No such file or directory"
    );
    other.interpreter = " ".to_owned();
    assert!(matches!(
        run(&other, host.path(), None, &told),
        Err(ScriptError::Interpreter { .. })
    ));
}

#[test]
fn a_log_that_cannot_be_written_is_a_warning() {
    let host = tempfile::tempdir().unwrap();
    fs::write(host.path().join("file"), "").unwrap();
    let told = Told::default();
    let logged = Script {
        log: Some("/file/log".to_owned()),
        ..script("echo hello")
    };
    run(&logged, host.path(), None, &told).unwrap();
    assert_eq!(told.lines(), ["hello"]);
    assert!(
        told.warnings()[0].contains("cannot write the log '/file/log'"),
        "{:?}",
        told.warnings()
    );
}

#[test]
fn who_asks_to_stop_kills_it() {
    let host = tempfile::tempdir().unwrap();
    let told = Told::default();
    let endless = script("echo stop me; sleep 98765401 & sleep 98765401");
    assert!(matches!(
        run(&endless, host.path(), None, &told),
        Err(ScriptError::Interrupted(_))
    ));
    wait_until_gone("98765401");
}

/// Killed processes may take a moment to be gone.
fn wait_until_gone(argument: &str) {
    for _ in 0..500 {
        if !runs(argument) {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    panic!("a process with the argument {argument} still runs");
}

/// Whether some process has this argument.
fn runs(argument: &str) -> bool {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let mut command_lines = processes.filter_map(|process| fs::read(process.path().join("cmdline")).ok());
    command_lines.any(|line| {
        line.split(|byte| *byte == 0)
            .any(|word| word == argument.as_bytes())
    })
}

/// A live system and an installed one, both of busybox.
struct Machine {
    host: tempfile::TempDir,
    target: tempfile::TempDir,
}

impl Machine {
    fn new() -> Option<Self> {
        if !oracle::require_root("a mount namespace") {
            return None;
        }
        let busybox = oracle::require("busybox")?;
        let (host, target) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for name in ["dev", "sys"] {
            symlink(Path::new("/").join(name), host.path().join(name)).unwrap();
        }
        fs::create_dir_all(host.path().join("run/install")).unwrap();
        fs::write(host.path().join("run/install/mark"), "live\n").unwrap();
        for name in ["bin", "proc", "sys", "dev", "run", "tmp", "etc", "var/roothome"] {
            fs::create_dir_all(target.path().join(name)).unwrap();
        }
        symlink("/var/roothome", target.path().join("root")).unwrap();
        fs::copy(busybox, target.path().join("bin/busybox")).unwrap();
        for applet in [
            "sh", "cat", "echo", "sleep", "ls", "stat", "id", "mount", "wc", "touch",
        ] {
            symlink("busybox", target.path().join("bin").join(applet)).unwrap();
        }
        Some(Machine { host, target })
    }

    fn run(&self, script: &Script, told: &Told) -> Result<Exit, ScriptError> {
        run(script, self.host.path(), Some(self.target.path()), told)
    }
}

fn post(body: &str) -> Script {
    Script {
        kind: ScriptKind::Post,
        in_target: true,
        ..script(body)
    }
}

#[test]
fn post_scripts_see_the_new_system() {
    let Some(machine) = Machine::new() else {
        return;
    };
    let told = Told::default();
    let logged = Script {
        log: Some("/root/ks-post.log".to_owned()),
        ..post(
            "echo made > /etc/made; cat /run/install/mark; [ -b /dev/null ] || [ -c /dev/null ] && echo devices; \
             [ -d /sys/class/block ] && echo sys; echo pids $(ls -d /proc/[0-9]* | wc -l); echo $SYSTEMD_OFFLINE; \
             touch /tmp/there; mount -t tmpfs x /var; sleep 98765402 & echo $0",
        )
    };
    machine.run(&logged, &told).unwrap();
    let lines = told.lines();
    assert_eq!(
        lines,
        [
            "live",
            "devices",
            "sys",
            &lines[3],
            "1",
            "/run/osmith/scripts/post-12"
        ],
        "{:?}",
        told.warnings()
    );
    // Its own only: init, the shell, and what it started.
    let count: u32 = lines[3].strip_prefix("pids ").unwrap().parse().unwrap();
    assert!(count < 10, "{lines:?}");
    let target = machine.target.path();
    assert_eq!(fs::read_to_string(target.join("etc/made")).unwrap(), "made\n");
    assert!(target.join("tmp/there").exists());
    let log = target.join("var/roothome/ks-post.log");
    assert_eq!(fs::read_to_string(&log).unwrap().lines().count(), 6);
    assert_eq!(fs::metadata(&log).unwrap().permissions().mode() & 0o777, 0o600);
    // What it left behind is gone.
    assert!(!runs("98765402"));
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    for folder in [target, machine.host.path()] {
        assert!(!mounts.contains(folder.to_str().unwrap()), "{mounts}");
    }
}

#[test]
fn a_read_only_target_has_a_folder_for_temporary_files() {
    let Some(machine) = Machine::new() else {
        return;
    };
    let target = machine.target.path();
    let path = target.to_str().unwrap();
    let mount = |arguments: &[&str]| {
        let status = std::process::Command::new("mount")
            .args(arguments)
            .status()
            .unwrap();
        assert!(status.success());
    };
    mount(&["--bind", path, path]);
    mount(&["-o", "remount,bind,ro", path]);
    let told = Told::default();
    let answer = machine.run(
        &post("touch /tmp/there && ls /tmp; touch /etc/x || echo read-only"),
        &told,
    );
    let unmounted = std::process::Command::new("umount").arg(path).status().unwrap();
    assert!(unmounted.success());
    answer.unwrap();
    let lines = told.lines();
    assert!(
        lines.contains(&"there".to_owned()) && lines.contains(&"read-only".to_owned()),
        "{lines:?}"
    );
}

#[test]
fn post_scripts_fail_clearly() {
    let Some(machine) = Machine::new() else {
        return;
    };
    let told = Told::default();
    let error = machine.run(&post("echo why; exit 4"), &told).unwrap_err();
    assert_eq!(
        error.to_string(),
        "%post (ks.cfg, line 12) ended with the exit status 4"
    );
    assert_eq!(error.excerpt().as_deref(), Some("  | why"));
    let mut other = post("");
    other.interpreter = "/usr/bin/python3".to_owned();
    let error = machine.run(&other, &told).unwrap_err();
    assert_eq!(
        error.to_string(),
        "%post (ks.cfg, line 12) cannot be started by the interpreter '/usr/bin/python3': No such file or directory"
    );
    let error = run(&other, machine.host.path(), None, &told).unwrap_err();
    assert!(matches!(error, ScriptError::NoTarget { .. }));
    fs::remove_dir(machine.target.path().join("run")).unwrap();
    let error = machine.run(&post("echo x"), &told).unwrap_err();
    assert!(matches!(error, ScriptError::Target { .. }), "{error}");

    let endless = post("echo stop me; sleep 98765403");
    fs::create_dir(machine.target.path().join("run")).unwrap();
    assert!(matches!(
        machine.run(&endless, &told),
        Err(ScriptError::Interrupted(_))
    ));
    wait_until_gone("98765403");
}
