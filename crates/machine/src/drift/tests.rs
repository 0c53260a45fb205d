use std::path::PathBuf;

use osmith_report::Silent;
use osmith_sys::mount::{enter_namespace, tmpfs};
use osmith_testing::oracle;

use super::*;
use crate::check::tests::Disk;
use crate::check::{Damage, DamageReason};

const TEXT: &str =
    "a file of the image, which is long enough to be an object, as everything over 64 bytes is";

/// The root directory of a machine; its `/etc` and `/usr` are those of its image until something covers them.
struct Root {
    directory: tempfile::TempDir,
    deployment: Digest,
    disk: Disk,
}

impl Root {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let disk = Disk::new();
        let root = Root {
            deployment: disk.deploy(&[TEXT]).image,
            directory,
            disk,
        };
        std::os::unix::fs::symlink(root.disk.path(), root.path("sysroot")).unwrap();
        for folder in ["etc", "usr/bin", "proc/self"] {
            fs::create_dir_all(root.path(folder)).unwrap();
        }
        fs::write(root.path("etc/hostname"), "image").unwrap();
        fs::write(root.path("usr/bin/tool"), "image").unwrap();
        fs::write(
            root.path("proc/cmdline"),
            format!("composefs=?{}", root.deployment),
        )
        .unwrap();
        root.mounted("");
        root
    }

    fn path(&self, path: &str) -> PathBuf {
        self.directory.path().join(path)
    }

    /// Sets the mount table: that of a machine, and a line.
    fn mounted(&self, line: &str) {
        let table = format!(
            "30 22 0:27 / / ro - overlay composefs:{} ro\n{line}",
            self.deployment
        );
        fs::write(self.path("proc/self/mountinfo"), table).unwrap();
    }

    fn cover(&self, name: &str) {
        let root = open_directory(self.directory.path()).unwrap();
        tmpfs(name, "0755", None).unwrap().attach(root, name).unwrap();
    }

    fn drift(&self, deep: bool) -> Result<Drift, DriftError> {
        drift(self.directory.path(), deep, &Silent, StepId(0))
    }
}

fn changed(changes: &[Change]) -> Vec<(&str, ChangeKind)> {
    let changes = changes.iter();
    changes
        .map(|change| (change.path.to_str().unwrap(), change.change))
        .collect()
}

#[test]
fn a_machine_like_its_image_has_no_drift_and_each_kind_is_found() {
    if !oracle::require_root("mounting") {
        return;
    }
    let root = Root::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            enter_namespace().unwrap();
            assert!(root.drift(true).unwrap().is_none());

            root.cover("etc");
            fs::write(root.path("etc/hostname"), "machine").unwrap();
            let found = root.drift(false).unwrap();
            let changes: Vec<Change> = found.etc.iter().map(|drift| drift.change.clone()).collect();
            assert_eq!(changed(&changes), [("hostname", ChangeKind::Modified)]);
            assert!(found.usr.is_none() && found.objects.is_empty() && !found.is_none());

            let time = fs::metadata(root.path("usr/bin/tool"))
                .unwrap()
                .modified()
                .unwrap();
            root.cover("usr");
            root.mounted("40 30 0:40 / /usr rw,relatime shared:9 - overlay overlay rw,lowerdir=usr\n");
            fs::create_dir(root.path("usr/bin")).unwrap();
            fs::write(root.path("usr/bin/new"), "new").unwrap();
            fs::write(root.path("usr/bin/tool"), "local").unwrap();
            let tool = fs::File::options()
                .write(true)
                .open(root.path("usr/bin/tool"))
                .unwrap();
            tool.set_modified(time).unwrap();
            // As long as it was, and as old.
            let found = root.drift(false).unwrap().usr.unwrap();
            assert_eq!(changed(&found.changes), [("bin/new", ChangeKind::Added)]);
            let found = root.drift(true).unwrap().usr.unwrap();
            let tool = ("bin/tool", ChangeKind::Modified);
            assert_eq!(changed(&found.changes), [("bin/new", ChangeKind::Added), tool]);
            fs::write(root.path("usr/bin/tool"), "changed").unwrap();
            let found = root.drift(false).unwrap().usr.unwrap();
            assert_eq!(changed(&found.changes), [("bin/new", ChangeKind::Added), tool]);
        });
    });
}

#[test]
fn objects_are_checked_as_the_machine_was_started() {
    if !oracle::require_root("mounting") {
        return;
    }
    let root = Root::new();
    fs::remove_file(root.disk.object(&Digest::of(TEXT.as_bytes()))).unwrap();
    let found = root.drift(false).unwrap();
    let expected = Damage {
        digest: Digest::of(TEXT.as_bytes()),
        reason: DamageReason::Missing,
        deployments: vec![root.deployment],
        path: Some(format!("/{}", &TEXT[..10]).into()),
    };
    assert_eq!(found.objects, [expected]);
    fs::write(
        root.path("proc/cmdline"),
        format!("quiet composefs={}", root.deployment),
    )
    .unwrap();
    let found = root.drift(false).unwrap();
    assert_eq!(found.objects.len(), 4);
    fs::write(
        root.path("proc/self/mountinfo"),
        "22 1 254:2 / / rw - ext4 /dev/vda2 rw\n",
    )
    .unwrap();
    let error = root.drift(false).unwrap_err();
    assert!(
        matches!(error, DriftError::Compare(EtcError::NoDeployment)),
        "{error}"
    );
}

/// Changes of `/etc`, and who expects them.
fn expected(changes: &[(&str, ChangeKind)], text: &str) -> Vec<Option<String>> {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("usr/lib/osmith/drift.d");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("10-image.conf"), text).unwrap();
    let changes = changes.iter().map(|(path, change)| Change {
        path: path.into(),
        change: *change,
        aspects: Vec::new(),
    });
    let marked = marked(changes.collect(), &Expected::read(root.path()).unwrap());
    marked.into_iter().map(|drift| drift.expected_by).collect()
}

#[test]
fn a_folder_that_was_added_only_for_what_is_expected_is_expected() {
    use ChangeKind::{Added, Modified, Removed};
    let image = || Some("10-image.conf".to_owned());
    let below = ["app", "app/sub", "app/sub/a", "app/sub/b"];
    let changes = below.map(|path| (path, Added));
    let all = expected(&changes, "/etc/app/sub/?\n");
    assert_eq!(all, [image(), image(), image(), image()]);
    let one = expected(&changes, "/etc/app/*/a\n");
    assert_eq!(one, [None, None, image(), None]);
    // The folder itself has another mode, or is gone.
    for change in [Modified, Removed] {
        let found = expected(&[("app", change), ("app/a", Added)], "/etc/app/a\n");
        assert_eq!(found, [None, image()]);
    }
    let beside = expected(&[("app", Added), ("app.d/x", Added)], "/etc/app.d/x\n");
    assert_eq!(beside, [None, image()]);
}

#[test]
fn a_machine_that_was_only_started_has_no_drift() {
    if !oracle::require_root("mounting") {
        return;
    }
    let root = Root::new();
    fs::write(root.path("etc/machine-id"), "").unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            enter_namespace().unwrap();
            root.cover("etc");
            fs::create_dir(root.path("etc/ssh")).unwrap();
            for (path, text) in [
                ("etc/hostname", "image"),
                ("etc/machine-id", "d1c7bae9964e46e4a96f27495097c59d\n"),
                ("etc/.updated", "TIMESTAMP_NSEC=1\n"),
                ("etc/ssh/ssh_host_ed25519_key", "key"),
                ("etc/ssh/ssh_host_ed25519_key.pub", "key"),
            ] {
                fs::write(root.path(path), text).unwrap();
            }
            let found = root.drift(false).unwrap();
            assert_eq!(found.etc.len(), 4, "{found:?}");
            assert!(found.etc_is_transient);
            root.mounted("31 30 254:2 /state/deploy/x/etc /etc rw - ext4 /dev/vda2 rw\n");
            let found = root.drift(false).unwrap();
            assert!(!found.etc_is_transient);
            assert!(found.is_none(), "{found:?}");
            fs::write(root.path("etc/ssh/sshd_config"), "PermitRootLogin yes\n").unwrap();
            assert!(!root.drift(false).unwrap().is_none());
        });
    });
}
