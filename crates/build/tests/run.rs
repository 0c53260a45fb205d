//! RUN steps on a tree of busybox: as root, and the same once more as an ordinary user in a user namespace.
#![allow(missing_docs, clippy::print_stderr)]

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use osmith_build::run::{
    BuildRoot, DEFAULT_CAPABILITIES, Exit, LowerKind, Mount, Network, RunError, RunSpec, User,
};
use osmith_container::root::RootError;
use osmith_formats::tree::{Content, Device, Inode, InodeId, Metadata, Node, Timestamp, Tree};
use osmith_image::layer::{Entry, Layer, LayerNode, apply};
use osmith_image::store::{Access, Store};
use osmith_report::{Class, Event, Failure, Observer, Silent, StepId};
use osmith_sys::mount::{Attributes, Feature, Overlay};
use osmith_sys::userns::{IdMap, SubordinateIds};
use osmith_testing::oracle;

osmith_testing::before_tests!(before_tests);

/// Set in a test program that an ordinary user runs: its name.
const NAMESPACE_OF: &str = "OSMITH_TEST_NAMESPACE_OF";

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

/// An ordinary account with subordinate ids: the one named by `OSMITH_TEST_USER`, or the first there is.
fn ordinary_user() -> Option<String> {
    if let Ok(user) = std::env::var("OSMITH_TEST_USER") {
        return Some(user);
    }
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let mut names = passwd.lines().filter_map(|line| line.split(':').next());
    names
        .find(|name| *name != "root" && subordinate_ids(name).is_some())
        .map(str::to_owned)
}

#[test]
fn as_an_ordinary_user_everything_is_the_same() {
    if std::env::var_os(NAMESPACE_OF).is_some() || !rustix::process::getuid().is_root() {
        return;
    }
    let Some(user) = ordinary_user() else {
        assert!(!oracle::in_ci(), "no account has subordinate ids");
        eprintln!("SKIPPED: no account has subordinate ids");
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let program = directory.path().join("tests");
    // By another process: a child that is being started by another thread would have the program open for writing.
    let copied = Command::new("cp")
        .arg(std::env::current_exe().unwrap())
        .arg(&program)
        .status();
    assert!(copied.unwrap().success());
    let mut command = Command::new("setpriv");
    let ids = [
        "--reuid",
        &user,
        "--regid",
        &user,
        "--init-groups",
        "--inh-caps=-all",
    ];
    command
        .args(ids)
        .arg(&program)
        .env(NAMESPACE_OF, &user)
        .env("TMPDIR", "/tmp");
    let output = command.arg("--nocapture").current_dir("/").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    eprintln!("{text}");
    assert!(output.status.success(), "{text}");
    assert!(text.contains("test result: ok"), "{text}");
}

struct Fixture {
    _directory: tempfile::TempDir,
    store: Store,
    base: Tree<Content>,
    kind: Option<LowerKind>,
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

impl Lines {
    fn text(&self) -> String {
        self.0.lock().unwrap().join("\n")
    }
}

fn metadata(mode: u16) -> Metadata {
    Metadata {
        mode,
        mtime: Timestamp {
            seconds: 1000,
            nanoseconds: 0,
        },
        ..Metadata::default()
    }
}

fn add(tree: &mut Tree<Content>, path: &str, metadata: Metadata, node: Node<Content>) -> InodeId {
    let id = tree.add(Inode { metadata, node });
    name(tree, path, id);
    id
}

fn name(tree: &mut Tree<Content>, path: &str, id: InodeId) {
    let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
    let parent = tree.lookup(parent.as_bytes()).unwrap();
    tree.link(parent, name.as_bytes(), id);
}

const APPLETS: &[&str] = &[
    "sh", "cat", "chmod", "chown", "cp", "head", "id", "ln", "ls", "mkdir", "mkfifo", "mv", "rm", "rmdir",
    "sleep", "stat", "touch", "true", "yes", "kill", "wc", "tr", "find", "sort", "md5sum", "test",
];

/// File capability NET_BIND_SERVICE, effective and permitted, revision 2.
const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

impl Fixture {
    fn new() -> Option<Self> {
        if !rustix::process::getuid().is_root() {
            eprintln!("SKIPPED: not root");
            return None;
        }
        let busybox = oracle::require("busybox")?;
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("store"), Access::ReadWrite).unwrap();
        let mut base = Tree::new(metadata(0o755));
        let empty = || Node::Directory(BTreeMap::new());
        for path in ["bin", "etc", "srv", "srv/full", "srv/full/sub", "srv/replaced"] {
            add(&mut base, path, metadata(0o755), empty());
        }
        add(&mut base, "odd", metadata(0o1750), empty());
        add(&mut base, "tmp", metadata(0o1777), empty());
        let program = store
            .put_file(&File::open(busybox).unwrap(), &mut Store::file_buffer())
            .unwrap();
        add(&mut base, "bin/busybox", metadata(0o755), Node::Regular(program));
        for applet in APPLETS {
            let target = Node::Symlink(b"busybox".as_slice().into());
            add(&mut base, &format!("bin/{applet}"), metadata(0o777), target);
        }
        let file = |bytes: &[u8]| Node::Regular(store.put_bytes(bytes).unwrap());
        let long = "long ".repeat(100);
        for path in [
            "etc/short",
            "etc/removed",
            "srv/full/a",
            "srv/full/sub/b",
            "srv/replaced/old",
        ] {
            add(&mut base, path, metadata(0o644), file(b"short"));
        }
        for path in ["etc/long", "etc/untouched", "etc/appended"] {
            add(&mut base, path, metadata(0o644), file(long.as_bytes()));
        }
        let linked = add(&mut base, "etc/link1", metadata(0o644), file(long.as_bytes()));
        name(&mut base, "etc/link2", linked);
        let mut special = metadata(0o755);
        special
            .xattrs
            .insert(Box::from(*b"security.capability"), Box::from(CAPABILITY));
        special
            .xattrs
            .insert(Box::from(*b"user.note"), Box::from(*b"kept"));
        add(&mut base, "bin/capable", special, file(long.as_bytes()));
        let mut other = metadata(0o640);
        (other.uid, other.gid) = (33, 42);
        add(&mut base, "etc/owned", other, file(b"x"));
        Some(Fixture {
            _directory: directory,
            store,
            base,
            kind: None,
        })
    }

    fn spec(&self, script: &str) -> RunSpec {
        let file = |path: &str, text: &str| Mount::file(path, 0o644, text);
        RunSpec {
            argv: ["/bin/sh", "-ec", script].map(OsString::from).to_vec(),
            env: vec![("PATH".into(), "/bin".into())],
            cwd: "/".into(),
            user: User::ROOT,
            hostname: "build".into(),
            network: Network::None,
            capabilities: DEFAULT_CAPABILITIES,
            mounts: vec![
                file("/etc/resolv.conf", "nameserver 192.0.2.1\n"),
                file("/etc/hosts", "127.0.0.1 localhost\n"),
                file("/run/.containerenv", ""),
            ],
            trees: Vec::new(),
        }
    }

    fn run_spec(&self, spec: &RunSpec) -> (Result<Layer, RunError>, String) {
        let lines = Lines::default();
        let answer = self.build_root().run(&self.base, spec, &lines, StepId(1));
        self.assert_clean();
        (answer, lines.text())
    }

    fn build_root(&self) -> BuildRoot<'_> {
        match self.kind {
            None => BuildRoot::new(&self.store),
            Some(kind) => BuildRoot::over(&[kind], &self.store),
        }
    }

    fn run(&self, script: &str) -> Vec<String> {
        let (answer, text) = self.run_spec(&self.spec(script));
        let layer = answer.unwrap_or_else(|error| panic!("{error}\n{text}"));
        for content in layer.contents() {
            assert!(self.store.contains_object(content).unwrap());
        }
        self.describe(&layer)
    }

    fn describe(&self, layer: &Layer) -> Vec<String> {
        let line = |path: &dyn std::fmt::Display, entry: &Entry| match entry {
            Entry::Whiteout => format!("{path} gone"),
            Entry::Opaque => format!("{path} emptied"),
            Entry::HardLink(first) => format!("{path} = {first}"),
            Entry::LowerLink(lower) => format!("{path} = lower {lower}"),
            Entry::Node { metadata, node } => {
                assert_eq!(metadata.mtime.nanoseconds, 0, "{path}");
                let names = metadata
                    .xattrs
                    .iter()
                    .map(|(name, _)| String::from_utf8_lossy(name));
                let names: String = names.map(|name| format!(" {name}")).collect();
                let Metadata { mode, uid, gid, .. } = metadata;
                format!("{path} {} {mode:o} {uid}:{gid}{names}", self.kind(node))
            }
        };
        layer.entries().map(|(path, entry)| line(path, entry)).collect()
    }

    fn kind(&self, node: &LayerNode) -> String {
        match node {
            LayerNode::Directory { opaque: false } => "directory".into(),
            LayerNode::Directory { opaque: true } => "new directory".into(),
            LayerNode::Symlink(target) => format!("-> {}", String::from_utf8_lossy(target)),
            LayerNode::Fifo => "fifo".into(),
            LayerNode::CharacterDevice(Device { major, minor }) => format!("c {major}:{minor}"),
            LayerNode::BlockDevice(Device { major, minor }) => format!("b {major}:{minor}"),
            LayerNode::Regular(Content::Inline(bytes)) => format!("{:?}", String::from_utf8_lossy(bytes)),
            LayerNode::Regular(content) => {
                let mut text = String::new();
                std::io::Read::read_to_string(&mut self.store.read_content(content).unwrap(), &mut text)
                    .unwrap();
                format!("{}…{}", &text[..4], text.len())
            }
        }
    }

    /// No mount and no work directory is left.
    fn assert_clean(&self) {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let path = self.store.path().to_str().unwrap();
        assert!(!mounts.contains(path), "{mounts}");
        let left: Vec<_> = fs::read_dir(self.store.path().join("tmp")).unwrap().collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

/// Those that this process can use.
fn kinds() -> &'static [LowerKind] {
    match osmith_sys::userns::is_inside() {
        true => &[LowerKind::Stubs, LowerKind::Checkout],
        false => &[LowerKind::Composefs, LowerKind::Stubs, LowerKind::Checkout],
    }
}

#[test]
fn changes_of_every_kind_become_entries() {
    let Some(mut fixture) = Fixture::new() else { return };
    check_changes_of_every_kind(&fixture);
    check_directories(&fixture);
    for &kind in kinds() {
        fixture.kind = Some(kind);
        check_changes_of_every_kind(&fixture);
        check_directories(&fixture);
    }
}

fn check_changes_of_every_kind(fixture: &Fixture) {
    let script = "
        echo hello > etc/new; echo changed > etc/short; echo more >> etc/appended; rm etc/removed
        chmod 4755 etc/long; chown 5:6 etc/untouched; touch bin/capable
        mkdir srv/made; mkfifo srv/pipe; ln -s ../etc srv/link; ln etc/new srv/also; ln etc/link1 srv/third
        chmod 600 etc/owned";
    assert_eq!(
        fixture.run(script),
        [
            "bin/capable long…500 755 0:0 security.capability user.note",
            "etc directory 755 0:0",
            "etc/appended long…505 644 0:0",
            "etc/link1 long…500 644 0:0",
            "etc/long long…500 4755 0:0",
            "etc/new \"hello\\n\" 644 0:0",
            "etc/owned \"x\" 600 33:42",
            "etc/removed gone",
            "etc/short \"changed\\n\" 644 0:0",
            "etc/untouched long…500 644 5:6",
            "srv directory 755 0:0",
            "srv/also = etc/new",
            "srv/link -> ../etc 777 0:0",
            "srv/made directory 755 0:0",
            "srv/pipe fifo 644 0:0",
            "srv/third = etc/link1",
        ]
    );
}

#[test]
fn file_capabilities_are_those_of_any_root() {
    let Some(fixture) = Fixture::new() else { return };
    let (layer, _) = fixture.run_spec(&fixture.spec("touch /bin/capable"));
    let layer = layer.unwrap();
    let (_, entry) = layer.entries().next().unwrap();
    let Entry::Node { metadata, .. } = entry else {
        panic!("{entry:?}")
    };
    assert_eq!(metadata.xattrs.get(b"security.capability"), Some(&CAPABILITY[..]));
}

/// Directories that are removed, replaced and renamed.
fn check_directories(fixture: &Fixture) {
    let script = "rm -r srv/replaced; mkdir srv/replaced; touch srv/replaced/new; mv srv/full srv/moved";
    assert_eq!(
        fixture.run(script),
        [
            "srv directory 755 0:0",
            "srv/full gone",
            "srv/moved directory 755 0:0",
            "srv/moved/a \"short\" 644 0:0",
            "srv/moved/sub directory 755 0:0",
            "srv/moved/sub/b \"short\" 644 0:0",
            "srv/replaced new directory 755 0:0",
            "srv/replaced/new \"\" 644 0:0",
        ]
    );
    assert_eq!(
        fixture.run("rm -r srv/full; echo x > srv/full; rm srv/replaced/old; rmdir srv/replaced; ln -s full srv/replaced"),
        [
            "srv directory 755 0:0",
            "srv/full \"x\\n\" 644 0:0",
            "srv/replaced -> full 777 0:0",
        ]
    );
}

#[test]
fn the_layer_on_the_base_is_what_the_command_saw() {
    let Some(fixture) = Fixture::new() else { return };
    let script = "rm -r srv/replaced; mkdir srv/replaced; echo 1 > srv/replaced/x; mv etc/long etc/longer; ls -R /etc /srv";
    let (layer, seen) = fixture.run_spec(&fixture.spec(script));
    let mut after = fixture.base.clone();
    apply(&mut after, &layer.unwrap()).unwrap();
    let again = Fixture {
        base: after,
        ..fixture
    };
    let (nothing, seen_again) = again.run_spec(&again.spec("ls -R /etc /srv; cat /srv/replaced/x"));
    assert_eq!(seen_again, seen + "\n1");
    assert!(nothing.unwrap().is_empty());
}

#[test]
fn nothing_that_was_injected_is_in_the_layer() {
    let Some(fixture) = Fixture::new() else { return };
    let script = "cat /etc/resolv.conf /etc/hosts > /dev/null; echo x >> /etc/hosts; touch /dev/x /run/.containerenv; \
                  ls /proc/self /sys > /dev/null; chmod 700 /run; touch /run/a /etc/a; rm /run/a /etc/a; ls -ld /etc /run /proc; \
                  rm -f /etc/resolv.conf || true";
    assert_eq!(fixture.run(script), ["etc directory 755 0:0"]);
    assert_eq!(fixture.run("true"), [""; 0]);
    // What the command itself leaves there is kept, as other builders do.
    assert_eq!(
        fixture.run("echo 1 > /run/own; echo 2 > /tmp/own"),
        [
            "run directory 755 0:0",
            "run/own \"1\\n\" 644 0:0",
            "tmp directory 1777 0:0",
            "tmp/own \"2\\n\" 644 0:0",
        ]
    );
}

#[test]
fn a_store_that_cannot_be_laid_over_is_an_error_that_says_so() {
    let Some(fixture) = Fixture::new() else { return };
    let inner = fixture.store.path().join("inner");
    for name in ["lower", "upper", "work", "store"] {
        fs::create_dir_all(inner.join(name)).unwrap();
    }
    // Overlayfs takes no upper directory on an overlay.
    let open = |name| osmith_sys::file::open_directory(inner.join(name)).unwrap();
    let (lower, upper, work) = (open("lower"), open("upper"), open("work"));
    let overlay = Overlay {
        source: "test",
        lower: osmith_sys::mount::Layer::Attached(lower.as_fd()),
        data: None,
        upper: Some((upper.as_fd(), work.as_fd())),
        attributes: match osmith_sys::userns::is_inside() {
            true => Attributes::User,
            false => Attributes::Trusted,
        },
        metacopy: Feature::Unset,
        redirect: Feature::Unset,
        verity_required: false,
        volatile: true,
    };
    let mount = overlay.mount(&inner).unwrap();
    mount.attach(open("store"), "").unwrap();
    let store = Store::open(&inner.join("store"), Access::ReadWrite).unwrap();
    let spec = fixture.spec("true");
    let error = BuildRoot::new(&store).run(&Tree::new(metadata(0o755)), &spec, &Silent, StepId(1));
    drop(store);
    osmith_sys::mount::detach(inner.join("store")).unwrap();
    let error = error.unwrap_err();
    assert!(
        matches!(error, RunError::Root(RootError::NoOverlay { .. })),
        "{error}"
    );
    assert_eq!(error.class(), Class::Environment);
}

#[test]
fn what_is_opened_but_not_changed_is_not_in_the_layer() {
    let Some(fixture) = Fixture::new() else { return };
    assert_eq!(
        fixture.run("true >> /etc/long; chmod 644 /etc/short; chmod 1750 /odd"),
        [""; 0]
    );
    assert_eq!(fixture.run("chmod 700 /"), [" directory 700 0:0"]);
}

#[test]
fn failures_leave_nothing_and_say_how() {
    let Some(fixture) = Fixture::new() else { return };
    let (answer, text) = fixture.run_spec(&fixture.spec("echo out; echo err >&2; echo x > /etc/x; exit 7"));
    let error = answer.unwrap_err();
    assert!(
        matches!(error, RunError::Failed { exit: Exit::Code(7) }),
        "{error}"
    );
    assert_eq!(
        (error.class(), error.to_string().as_str()),
        (Class::Command, "the command failed with exit code 7")
    );
    assert!(text.contains("out") && text.contains("err"), "{text}");
    let (answer, _) = fixture.run_spec(&fixture.spec("kill -9 $$"));
    assert_eq!(
        answer.unwrap_err().to_string(),
        "the command was killed by signal 9"
    );
    let mut spec = fixture.spec("");
    spec.argv = vec!["/bin/nothing".into()];
    let error = fixture.run_spec(&spec).0.unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot execute /bin/nothing: No such file or directory"
    );
    let (answer, _) = fixture.run_spec(&fixture.spec("touch /etc/.wh.x"));
    assert!(matches!(answer, Err(RunError::WhiteoutName { path }) if path == "/etc/.wh.x"));
}

#[test]
fn users_and_groups_are_those_of_the_spec() {
    let Some(fixture) = Fixture::new() else { return };
    let mut spec =
        fixture.spec("id -u; id -G; cat /etc/owned; touch /tmp/mine; touch /etc/not 2>/dev/null || true");
    spec.user = User {
        uid: 33,
        gid: 33,
        groups: vec![42],
    };
    let (layer, text) = fixture.run_spec(&spec);
    assert!(text.starts_with("33\n33 42\nx"), "{text}");
    assert_eq!(
        fixture.describe(&layer.unwrap()),
        ["tmp directory 1777 0:0", "tmp/mine \"\" 644 33:33"]
    );
}

struct StopAfter(Instant, Duration);

impl Observer for StopAfter {
    fn observe(&self, _: Event) {}

    fn interrupted(&self) -> bool {
        self.0.elapsed() > self.1
    }
}

#[test]
fn interruption_ends_the_command_and_cleans_up() {
    let Some(fixture) = Fixture::new() else { return };
    let begun = Instant::now();
    let stop = StopAfter(begun, Duration::from_millis(300));
    let spec = fixture.spec("sleep 30");
    let answer = fixture.build_root().run(&fixture.base, &spec, &stop, StepId(0));
    assert!(matches!(answer, Err(RunError::Interrupted(_))), "{answer:?}");
    assert!(begun.elapsed() < Duration::from_secs(10));
    fixture.assert_clean();
}

#[test]
fn many_files_and_much_output() {
    let Some(fixture) = Fixture::new() else { return };
    let script = "mkdir /many; i=0; while [ $i -lt 2000 ]; do echo line $i; echo $i > /many/$i; i=$((i+1)); done; \
                  yes 0123456789 | head -c 20000000 > /many/big";
    let (layer, text) = fixture.run_spec(&fixture.spec(script));
    let layer = layer.unwrap();
    assert_eq!(layer.len(), 2002);
    assert_eq!(text.lines().count(), 2000);
    assert_eq!(
        layer.size_bytes(),
        20_000_000 + 10 * 2 + 90 * 3 + 900 * 4 + 1000 * 5
    );
}

#[test]
fn a_missing_object_is_an_error_of_the_command_not_of_the_builder() {
    let Some(fixture) = Fixture::new() else { return };
    let id = fixture.base.lookup(b"etc/long").unwrap();
    let Node::Regular(Content::Object { digest, .. }) = &fixture.base.inode(id).node else {
        panic!("no object")
    };
    fs::remove_file(fixture.store.objects_path().join(digest.object_path())).unwrap();
    let (answer, _) = fixture.run_spec(&fixture.spec("cat /etc/long"));
    assert!(answer.is_err());
}

/// What the steps of one build see: each the tree that the step before left, over the same lower.
#[test]
fn steps_see_what_the_steps_before_left() {
    let Some(mut fixture) = Fixture::new() else { return };
    const LOOK: &str = "for path in $(find / -xdev ! -path '/proc*' ! -path '/dev*' ! -path '/sys*' | sort); do \
                        stat -c '%n %f %h %u %g %s %Y' $path; test -L $path || ! test -f $path || md5sum $path; done";
    let steps = [
        "echo 1 > /etc/new; rm /etc/removed; echo more >> /etc/long",
        "rm -r /srv/full; echo file > /srv/full; rm /etc/new; mkdir /etc/new; echo deep > /etc/new/deep",
        "chmod 2711 /srv /etc; chown 7:8 /srv/full; chmod 4750 /etc/new/deep; touch -d @77 /odd",
        "ln /etc/link1 /srv/link3; rm /etc/link2; ln /srv/full /srv/again; echo x >> /srv/again",
        "rm /srv/link3; mv /srv/replaced /srv/moved; rm -r /tmp; ln -s srv /tmp; mkfifo /etc/pipe",
        "rm /tmp; mkdir -m 1777 /tmp; cp /bin/busybox /srv/full; rm /etc/pipe; echo pipe > /etc/pipe",
    ];
    let original = fixture.base.clone();
    let mut look = fixture.spec(LOOK);
    look.mounts.clear();
    for &kind in kinds() {
        fixture.kind = Some(kind);
        let mut tree = original.clone();
        let mut build_root = fixture.build_root();
        for script in steps {
            let spec = fixture.spec(script);
            let layer = build_root.run(&tree, &spec, &Silent, StepId(1)).unwrap();
            apply(&mut tree, &layer).unwrap();
            let (kept, anew) = (Lines::default(), Lines::default());
            let nothing = build_root.run(&tree, &look, &kept, StepId(1)).unwrap();
            assert!(nothing.is_empty(), "{script}: {nothing:?}");
            fixture.build_root().run(&tree, &look, &anew, StepId(1)).unwrap();
            assert!(kept.text().lines().count() > 40, "{}", kept.text());
            assert_eq!(kept.text(), anew.text(), "{kind:?}: {script}");
        }
        // Another stage, and back.
        let lines = [&original, &tree, &original].map(|tree| {
            let lines = Lines::default();
            build_root.run(tree, &look, &lines, StepId(1)).unwrap();
            lines.text()
        });
        assert_eq!(lines[0], lines[2]);
        assert_ne!(lines[0], lines[1]);
        drop(build_root);
        fixture.assert_clean();
    }
}

#[test]
fn a_step_that_failed_changes_nothing_for_the_next() {
    let Some(fixture) = Fixture::new() else { return };
    let mut build_root = fixture.build_root();
    let mut run = |script| build_root.run(&fixture.base, &fixture.spec(script), &Silent, StepId(1));
    assert!(run("rm -r /etc/short /srv; exit 1").is_err());
    assert!(
        run("test -e /etc/short && test -d /srv/full/sub")
            .unwrap()
            .is_empty()
    );
}

/// Not a bar, but a number to look at: a RUN step of nothing on a small tree.
#[test]
fn start_up() {
    let Some(fixture) = Fixture::new() else { return };
    let spec = fixture.spec("true");
    let mut build_root = fixture.build_root();
    let mut times: Vec<Duration> = (0..20)
        .map(|_| {
            let begun = Instant::now();
            build_root.run(&fixture.base, &spec, &Silent, StepId(0)).unwrap();
            begun.elapsed()
        })
        .collect();
    times.sort();
    let namespace = if osmith_sys::userns::is_inside() {
        "user namespace"
    } else {
        "root"
    };
    eprintln!(
        "RUN true ({namespace}): median {:?}, slowest {:?}",
        times[10], times[19]
    );
}
