//! RUN steps on a real distribution: Debian's packages, as root and in a user namespace.
//!
//! Long: the base is made by `mmdebstrap` from the machine's own sources, once, and kept in the target directory.
#![allow(missing_docs, clippy::print_stderr)]

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::Instant;

use osmith_build::run::{BuildRoot, DEFAULT_CAPABILITIES, Mount, Network, RunSpec, User};
use osmith_image::layer::{Layer, apply, empty_tree};
use osmith_image::store::{Access, Store};
use osmith_image::tar::{Limits, read_layer};
use osmith_report::{Event, Observer, Silent, StepId};
use osmith_sys::userns::{IdMap, SubordinateIds};
use osmith_testing::oracle;

osmith_testing::before_tests!(before_tests);

/// Set in a test program that an ordinary user runs: its name.
const NAMESPACE_OF: &str = "OSMITH_TEST_NAMESPACE_OF";
const BASE: &str = "OSMITH_TEST_BASE";

fn before_tests() -> Option<()> {
    if osmith_sys::sandbox::run_if_child().is_some() {
        return Some(());
    }
    if let Ok(user) = std::env::var(NAMESPACE_OF) {
        osmith_sys::userns::enter(&IdMap::Subordinate(subordinate_ids(&user).unwrap())).unwrap();
    } else if rustix::process::getuid().is_root() {
        osmith_sys::mount::enter_namespace().unwrap();
    }
    None
}

fn subordinate_ids(user: &str) -> Option<SubordinateIds> {
    let read = |path| fs::read(path).unwrap_or_default();
    SubordinateIds::find(&read("/etc/subuid"), &read("/etc/subgid"), user, u32::MAX)
}

/// An archive of a minimal Debian.
fn base() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os(BASE) {
        return Some(path.into());
    }
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("debian-minimal.tar");
    if !path.exists() {
        let mmdebstrap = oracle::require("mmdebstrap")?;
        let unfinished = path.with_extension("unfinished.tar");
        let made = Command::new(mmdebstrap)
            .args(["--variant=apt", "stable"])
            .arg(&unfinished)
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        fs::rename(unfinished, &path).unwrap();
    }
    Some(path)
}

#[derive(Default)]
struct Lines(Mutex<Vec<String>>);

impl Observer for Lines {
    fn observe(&self, event: Event) {
        if let Event::Output { line, .. } = event {
            self.0.lock().unwrap().push(line);
        }
    }
}

fn spec(script: &str) -> RunSpec {
    let shown = |path: &str| Mount::file(path, 0o644, fs::read(path).unwrap());
    RunSpec {
        argv: ["/bin/sh", "-exc", script].map(Into::into).to_vec(),
        env: [
            (
                "PATH",
                "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            ),
            ("DEBIAN_FRONTEND", "noninteractive"),
            ("LC_ALL", "C.UTF-8"),
        ]
        .map(|(name, value)| (name.into(), value.into()))
        .to_vec(),
        cwd: "/".into(),
        user: User::ROOT,
        hostname: "build".into(),
        network: Network::Host,
        capabilities: DEFAULT_CAPABILITIES,
        mounts: vec![shown("/etc/resolv.conf"), shown("/etc/hosts")],
        trees: Vec::new(),
    }
}

fn paths(layer: &Layer) -> Vec<String> {
    layer.entries().map(|(path, _)| path.to_string()).collect()
}

#[test]
#[ignore = "long"]
fn packages_are_removed_repaired_and_installed() {
    if !rustix::process::getuid().is_root() {
        eprintln!("SKIPPED: not root");
        return;
    }
    let Some(archive) = base() else { return };
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path(), Access::ReadWrite).unwrap();
    let layer = read_layer(File::open(archive).unwrap(), &store, &Limits::default(), &Silent).unwrap();
    let mut tree = empty_tree();
    apply(&mut tree, &layer).unwrap();
    let steps = [
        "dpkg --verify; dpkg --purge --force-all tzdata; ! test -e /usr/share/zoneinfo/UTC; useradd -m -r builder; ldconfig",
        "id builder; apt-get update; apt-get install -y --no-install-recommends less iputils-ping; getcap /usr/bin/ping || true",
        "less --version > /dev/null; dpkg --verify; apt-get clean; rm -rf /var/lib/apt/lists/*",
    ];
    let mut build_root = BuildRoot::new(&store);
    for script in steps {
        let begun = Instant::now();
        let lines = Lines::default();
        let answer = build_root.run(&tree, &spec(script), &lines, StepId(1));
        let text = lines.0.into_inner().unwrap().join("\n");
        let layer = answer.unwrap_or_else(|error| panic!("{error}\n{text}"));
        eprintln!(
            "{:?}: {} entries, {} bytes",
            begun.elapsed(),
            layer.len(),
            layer.size_bytes()
        );
        let injected = ["etc/resolv.conf", "etc/hosts", "proc", "sys", "dev"];
        assert!(
            !paths(&layer).iter().any(|path| injected.contains(&path.as_str())),
            "{:?}",
            paths(&layer)
        );
        apply(&mut tree, &layer).unwrap();
    }
    let ping = tree.lookup(b"usr/bin/ping").unwrap();
    let capability = tree.inode(ping).metadata.xattrs.get(&b"security.capability"[..]);
    assert_eq!(capability.map(|value| value[3]), Some(2), "capabilities of ping");
    assert!(tree.lookup(b"usr/share/zoneinfo/UTC").is_none());
}

#[test]
#[ignore = "long"]
fn the_same_as_an_ordinary_user() {
    if std::env::var_os(NAMESPACE_OF).is_some() || !rustix::process::getuid().is_root() {
        return;
    }
    let Some(archive) = base() else { return };
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let mut names = passwd.lines().filter_map(|line| line.split(':').next());
    let Some(user) = names.find(|name| *name != "root" && subordinate_ids(name).is_some()) else {
        assert!(!oracle::in_ci(), "no account has subordinate ids");
        eprintln!("SKIPPED: no account has subordinate ids");
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let program = directory.path().join("tests");
    let base = directory.path().join("base.tar");
    // By another process: a child that is being started by another thread would have the program open for writing.
    let copied = Command::new("cp")
        .arg(std::env::current_exe().unwrap())
        .arg(&program)
        .status();
    assert!(copied.unwrap().success());
    fs::copy(archive, &base).unwrap();
    let output = Command::new("setpriv")
        .args([
            "--reuid",
            user,
            "--regid",
            user,
            "--init-groups",
            "--inh-caps=-all",
        ])
        .arg(&program)
        .args(["--ignored", "--nocapture"])
        .env(NAMESPACE_OF, user)
        .env(BASE, &base)
        .env("TMPDIR", "/tmp")
        .current_dir("/")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    eprintln!("{text}");
    assert!(output.status.success(), "{text}");
}
