//! Commands in a sandbox, on a root file system of busybox: needs root (or skips, visibly).
#![allow(missing_docs, clippy::print_stderr)]

use std::cell::RefCell;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use osmith_sys::mount::Attributes;
use osmith_sys::process::Stream;
use osmith_sys::sandbox::{
    self, DEFAULT_CAPABILITIES, Exit, Init, Lower, Mount, Network, Root, Sandbox, SandboxError, Source,
    Stage, Streams, User,
};
use osmith_testing::oracle;
use rustix::io::Errno;

osmith_testing::before_tests!(sandbox::run_if_child);

struct Fixture {
    directory: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Option<Self> {
        if !rustix::process::getuid().is_root() {
            eprintln!("SKIPPED: not root");
            return None;
        }
        let busybox = oracle::require("busybox")?;
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        for name in [
            "root/bin",
            "root/proc",
            "root/sys",
            "root/dev",
            "root/etc",
            "scratch",
            "upper",
            "work",
        ] {
            fs::create_dir_all(path(name)).unwrap();
            fs::set_permissions(path(name), fs::Permissions::from_mode(0o755)).unwrap();
        }
        fs::copy(busybox, path("root/bin/busybox")).unwrap();
        for applet in APPLETS {
            symlink("busybox", path("root/bin").join(applet)).unwrap();
        }
        fs::write(path("root/etc/stub"), "").unwrap();
        Some(Fixture { directory })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn sandbox(&self, script: &str) -> Sandbox {
        Sandbox {
            root: Root::Overlay {
                lower: Lower::Directory(self.path("root")),
                upper: self.path("upper"),
                work: self.path("work"),
                attributes: Attributes::Trusted,
            },
            scratch: self.path("scratch"),
            argv: ["sh", "-c", script].map(OsString::from).to_vec(),
            env: vec![("PATH".into(), "/bin".into()), ("X".into(), "y z".into())],
            cwd: "/".into(),
            user: User::ROOT,
            hostname: "build".into(),
            network: Network::Host,
            capabilities: DEFAULT_CAPABILITIES,
            mounts: Vec::new(),
            init: Init::Reaper,
            streams: Streams::Output,
            cgroup: None,
        }
    }

    fn run(&self, sandbox: &Sandbox) -> (Result<Exit, SandboxError>, String) {
        for name in ["upper", "work"] {
            fs::remove_dir_all(self.path(name)).unwrap();
            fs::create_dir(self.path(name)).unwrap();
        }
        let text = RefCell::new(String::new());
        let on_line = |stream, line: &[u8]| {
            let mark = if stream == Stream::Stderr { "! " } else { "" };
            text.borrow_mut()
                .push_str(&format!("{mark}{}\n", String::from_utf8_lossy(line)));
        };
        let exit = sandbox.run(on_line, || false);
        self.assert_clean();
        (exit, text.into_inner())
    }

    fn output(&self, sandbox: &Sandbox) -> String {
        let (exit, text) = self.run(sandbox);
        assert_eq!(exit.unwrap(), Exit::Code(0), "{text}");
        text
    }

    /// No mount is left, and what was used can be removed.
    fn assert_clean(&self) {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(
            !mounts.contains(self.directory.path().to_str().unwrap()),
            "{mounts}"
        );
        assert_eq!(fs::read_dir(self.path("scratch")).unwrap().count(), 0);
    }
}

const APPLETS: &[&str] = &[
    "sh", "cat", "id", "grep", "ls", "touch", "sleep", "echo", "hostname", "mount", "ip", "kill", "stat",
    "head", "wc", "ps", "readlink", "chown", "mknod", "true", "tty",
];

#[test]
fn environment_user_and_directory_are_those_asked_for() {
    let Some(fixture) = Fixture::new() else { return };
    let mut sandbox = fixture.sandbox("echo $X $#; id; hostname; echo $PWD; cat; umask; env | wc -l");
    sandbox.cwd = "/etc".into();
    let text = fixture.output(&sandbox);
    assert!(
        text.starts_with("y z 0\nuid=0 gid=0\nbuild\n/etc\n0022\n"),
        "{text}"
    );
    sandbox.user = User {
        uid: 1234,
        gid: 99,
        groups: vec![7, 8],
    };
    sandbox.argv[2] = "id; grep -E 'Cap(Eff|Prm|Bnd)' /proc/self/status".into();
    let text = fixture.output(&sandbox);
    assert!(text.starts_with("uid=1234 gid=99 groups=7,8\n"), "{text}");
    assert!(text.contains("CapEff:\t0000000000000000"), "{text}");
    assert!(text.contains("CapBnd:\t00000000800405fb"), "{text}");
}

#[test]
fn root_has_the_capabilities_of_a_build_and_no_other() {
    let Some(fixture) = Fixture::new() else { return };
    let sandbox = fixture
        .sandbox("grep Cap /proc/self/status; mknod /x c 1 3; mount -t tmpfs x /etc; chown 5 /etc/stub");
    let text = fixture.output(&sandbox);
    assert!(text.contains("CapEff:\t00000000800405fb"), "{text}");
    assert!(text.contains("CapInh:\t0000000000000000"), "{text}");
    assert!(text.contains("! mknod: /x: Operation not permitted"), "{text}");
    assert!(text.contains("! mount: permission denied"), "{text}");
}

#[test]
fn sees_its_own_processes_devices_and_kernel_files() {
    let Some(fixture) = Fixture::new() else { return };
    let script = "ps; ls /dev; ls -d /dev/pts/ptmx /sys/kernel; head -c 3 /dev/zero | wc -c; echo a > /dev/null; \
                  touch /sys/x; touch /proc/sys/kernel/hostname; ls /sys/firmware; readlink /dev/fd; tty";
    let (_, text) = fixture.run(&fixture.sandbox(script));
    assert!(text.contains("    1 0 "), "{text}");
    for name in [
        "fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin", "stdout", "tty",
    ] {
        assert!(text.lines().any(|line| line == name), "{name}: {text}");
    }
    // Lines of standard error, marked with `!`, come whenever they come.
    let stdout: String = text
        .split_inclusive('\n')
        .filter(|line| !line.starts_with('!'))
        .collect();
    assert!(stdout.contains("/dev/pts/ptmx\n/sys/kernel\n3\n"), "{text}");
    assert!(stdout.ends_with("not a tty\n"), "{text}");
    assert!(text.contains("! touch: /sys/x: Read-only file system"), "{text}");
    assert!(
        text.contains("! touch: /proc/sys/kernel/hostname: Read-only file system"),
        "{text}"
    );
}

#[test]
fn changes_land_in_the_upper_directory_and_injected_files_do_not() {
    let Some(fixture) = Fixture::new() else { return };
    let mut sandbox = fixture.sandbox(
        "cat /etc/stub; stat -c %a /etc/stub; echo more >> /etc/stub; echo new > /etc/new; ls -la /etc",
    );
    sandbox
        .mounts
        .push(Mount::file("/etc/stub", 0o640, b"injected\n"));
    let text = fixture.output(&sandbox);
    assert!(text.starts_with("injected\n640\n"), "{text}");
    assert_eq!(fs::read(fixture.path("upper/etc/new")).unwrap(), b"new\n");
    assert!(!fixture.path("upper/etc/stub").exists());
    let names: Vec<_> = fs::read_dir(fixture.path("upper")).unwrap().collect();
    assert_eq!(names.len(), 1, "{names:?}");
}

#[test]
fn a_script_below_dev_can_be_executed() {
    let Some(fixture) = Fixture::new() else { return };
    let mut sandbox = fixture.sandbox("");
    sandbox.argv = vec!["/dev/pipes/deep/script".into(), "a".into()];
    sandbox.mounts.push(Mount::file(
        "/dev/pipes/deep/script",
        0o755,
        b"#!/bin/sh\necho $0 $1\n",
    ));
    assert_eq!(fixture.output(&sandbox), "/dev/pipes/deep/script a\n");
}

#[test]
fn injected_files_never_leave_the_root() {
    let Some(fixture) = Fixture::new() else { return };
    let outside = fixture.path("outside");
    fs::write(&outside, "").unwrap();
    symlink(&outside, fixture.path("root/etc/link")).unwrap();
    let mut sandbox = fixture.sandbox("true");
    sandbox.mounts.push(Mount::file("/etc/link", 0o644, ""));
    let error = fixture.run(&sandbox).0.unwrap_err();
    let SandboxError::SetUp { stage, error } = error else {
        panic!("{error}")
    };
    assert_eq!((stage, error.errno()), (Stage::System, Errno::NOENT));
}

#[test]
fn a_writable_directory_is_the_root_itself() {
    let Some(fixture) = Fixture::new() else { return };
    let mut sandbox = fixture.sandbox("echo new > /etc/new");
    sandbox.root = Root::Directory(fixture.path("root"));
    fixture.output(&sandbox);
    assert_eq!(fs::read(fixture.path("root/etc/new")).unwrap(), b"new\n");
}

#[test]
fn no_network_is_a_loopback_device_alone() {
    let Some(fixture) = Fixture::new() else { return };
    let mut sandbox = fixture.sandbox("ip -o link; ls /sys/class/net");
    sandbox.network = Network::None;
    let text = fixture.output(&sandbox);
    assert!(text.contains("lo: <LOOPBACK,UP"), "{text}");
    assert!(!text.contains("eth"), "{text}");
    assert!(text.ends_with("\nlo\n"), "{text}");
}

#[test]
fn exit_codes_signals_and_orphans() {
    let Some(fixture) = Fixture::new() else { return };
    let exit = |script: &str| fixture.run(&fixture.sandbox(script)).0.unwrap();
    assert_eq!(exit("exit 42"), Exit::Code(42));
    assert_eq!(exit("kill -9 $$"), Exit::Signal(9));
    assert_eq!(exit("kill -9 $$").shell_code(), 137);
    let begun = Instant::now();
    assert_eq!(exit("(sleep 60 &) ; (true &) ; exit 0"), Exit::Code(0));
    assert!(begun.elapsed() < Duration::from_secs(10));
}

#[test]
fn what_cannot_be_executed_or_set_up_is_named() {
    let Some(fixture) = Fixture::new() else { return };
    let mut sandbox = fixture.sandbox("");
    sandbox.argv = vec!["nothing".into()];
    let error = fixture.run(&sandbox).0.unwrap_err();
    assert!(
        matches!(
            error,
            SandboxError::Execute {
                errno: Errno::NOENT,
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(
        error.to_string(),
        "cannot execute nothing: No such file or directory"
    );
    sandbox.argv = vec!["/etc/stub".into()];
    let error = fixture.run(&sandbox).0.unwrap_err();
    assert!(
        matches!(
            error,
            SandboxError::Execute {
                errno: Errno::ACCESS,
                ..
            }
        ),
        "{error}"
    );
    sandbox.cwd = "/none".into();
    let error = fixture.run(&sandbox).0.unwrap_err();
    assert_eq!(
        error.to_string(),
        "entering the root file system: cannot change to /none: No such file or directory"
    );
    sandbox.root = Root::Directory("/no/such/root".into());
    let error = fixture.run(&sandbox).0.unwrap_err();
    assert!(
        matches!(
            error,
            SandboxError::SetUp {
                stage: Stage::Root,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn interruption_kills_everything_inside() {
    let Some(fixture) = Fixture::new() else { return };
    let sandbox = fixture.sandbox("(sleep 1; touch /late) & sleep 60");
    let begun = Instant::now();
    let answer = sandbox.run(|_, _| {}, || begun.elapsed() > Duration::from_millis(200));
    assert!(matches!(answer, Err(SandboxError::Interrupted)), "{answer:?}");
    assert!(begun.elapsed() < Duration::from_millis(900));
    std::thread::sleep(Duration::from_millis(1200));
    assert!(!fixture.path("upper/late").exists());
    fixture.assert_clean();
}

#[test]
fn big_output_arrives_whole() {
    let Some(fixture) = Fixture::new() else { return };
    let text = fixture
        .output(&fixture.sandbox("i=0; while [ $i -lt 20000 ]; do echo line $i of many; i=$((i+1)); done"));
    assert_eq!(text.lines().count(), 20000);
    assert!(text.ends_with("line 19999 of many\n"));
}

#[test]
fn start_up_is_quick() {
    let Some(fixture) = Fixture::new() else { return };
    let sandbox = fixture.sandbox("true");
    let mut times: Vec<Duration> = (0..20)
        .map(|_| {
            let begun = Instant::now();
            fixture.output(&sandbox);
            begun.elapsed()
        })
        .collect();
    times.sort();
    eprintln!(
        "sandbox: median {:?}, worst {:?} of {} runs",
        times[10],
        times[19],
        times.len()
    );
}

#[test]
fn directories_trees_and_memory_are_shown_and_leave_nothing() {
    let Some(fixture) = Fixture::new() else { return };
    for name in ["root/m/ro", "root/m/rw", "root/m/mem", "shared", "tree/below"] {
        fs::create_dir_all(fixture.path(name)).unwrap();
    }
    fs::write(fixture.path("shared/file"), "of the machine\n").unwrap();
    fs::write(fixture.path("tree/below/file"), "of a tree\n").unwrap();
    fs::write(fixture.path("root/m/mem/old"), "copied\n").unwrap();
    fs::set_permissions(fixture.path("root/m/mem/old"), fs::Permissions::from_mode(0o640)).unwrap();
    let mut sandbox = fixture.sandbox(
        "cat /m/ro/file /m/rw/file /m/mem/old /dev/x/file; stat -c %a /m/mem/old /m/mem; echo no > /m/ro/file; \
         echo new > /m/rw/new; head -c 200000 /dev/zero > /m/mem/much || echo full; echo no > /dev/x/file; ls /m/mem",
    );
    let tree = Source::Tree {
        root: Root::ReadOnly {
            lower: Lower::Directory(fixture.path("tree")),
            attributes: Attributes::Trusted,
        },
        path: "/below".into(),
    };
    let memory = Source::Memory {
        mode: 0o1777,
        size_bytes: Some(64 << 10),
        copies_target: true,
    };
    let mut read_only = Mount::new("/m/ro", Source::Machine(fixture.path("shared")));
    read_only.read_only = true;
    sandbox.mounts = vec![
        read_only,
        Mount::new("/m/rw", Source::Machine(fixture.path("shared"))),
        Mount::new("/m/mem", memory),
        Mount::new("/dev/x", tree),
    ];
    let text = fixture.output(&sandbox);
    assert!(
        text.contains("of the machine\nof the machine\ncopied\nof a tree\n640\n755\n"),
        "{text}"
    );
    assert!(text.contains("/m/ro/file: Read-only file system"), "{text}");
    assert!(text.contains("/dev/x/file: Read-only file system"), "{text}");
    assert!(text.contains("full\n"), "{text}");
    assert_eq!(fs::read(fixture.path("shared/new")).unwrap(), b"new\n");
    assert_eq!(fs::read_dir(fixture.path("upper")).unwrap().count(), 0);
    assert_eq!(fs::read_dir(fixture.path("root/m/mem")).unwrap().count(), 1);
}
