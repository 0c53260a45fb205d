//! Machines whose image mounts `/etc` or `/var` as no bind.

use std::os::fd::AsFd;

use osmith_sys::mount::{Layer, detach, enter_namespace};
use osmith_testing::oracle;

use super::*;
use crate::writable;

const CONFIGURATION: &str = "usr/lib/composefs/setup-root-conf.toml";

fn configured(version: &str, configuration: &str) -> Files {
    let mut files = files(version);
    files.insert(CONFIGURATION, configuration.as_bytes().to_vec());
    files
}

fn left(staging: Staging) -> Vec<LeftBehind> {
    match staging {
        Staging::Staged { left, .. } => left,
        other => panic!("{other:?}"),
    }
}

impl Sample {
    /// Starts what comes next, as its initramfs would with `/etc` in a layer; needs a mount namespace.
    fn reboot_layered(&self, source: &str) -> Digest {
        let etc = self.path("etc");
        if !etc.is_symlink() {
            detach(&etc).unwrap();
            fs::remove_dir(&etc).unwrap();
        }
        let digest = self.reboot_healthy();
        fs::remove_file(&etc).unwrap();
        fs::create_dir(&etc).unwrap();
        let scratch = self.path("run/scratch");
        fs::create_dir_all(&scratch).unwrap();
        let lower = open_directory(self.path("image/etc")).unwrap();
        let lower = Layer::Attached(lower.as_fd());
        let mounted = match source {
            "transient" => writable::in_memory(source, lower, &scratch),
            _ => {
                let state = self.path(&format!("sysroot/state/deploy/{digest}/etc"));
                writable::over(lower, &open_directory(state).unwrap(), &scratch)
            }
        };
        mounted
            .unwrap()
            .attach(open_directory(&etc).unwrap(), "")
            .unwrap();
        self.mounted(&digest, source);
        digest
    }

    /// What the kernel says of a machine with `/etc` in a layer.
    fn mounted(&self, digest: &Digest, source: &str) {
        let table = format!(
            "30 1 0:27 / / ro - overlay composefs:{digest} ro\n31 30 0:31 / /etc rw - overlay {source} rw\n\
             32 30 254:2 /state/os/default/var /var rw - ext4 /dev/vda2 rw\n"
        );
        fs::write(self.path("proc/self/mountinfo"), table).unwrap();
    }

    fn read(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.path(path)).ok()
    }
}

/// Runs a test where it may mount.
fn mounting(test: impl FnOnce() + Send) {
    if !oracle::require_root("mounting") {
        return;
    }
    std::thread::scope(|scope| {
        scope.spawn(|| {
            enter_namespace().unwrap();
            test();
        });
    });
}

#[test]
fn changes_in_an_overlay_come_along_from_deployment_to_deployment() {
    mounting(|| {
        let sample = Sample::new();
        fs::write(sample.path("etc/own"), "mine").unwrap();
        fs::write(sample.path("etc/issue"), "mine").unwrap();
        let overlay = "[etc]\nmount = \"overlay\"\n";
        // From a bind to an overlay, and what an interrupted shutdown left does not count.
        let second = sample.staged(&configured("2", overlay));
        let state = sample.path(&format!("sysroot/state/deploy/{second}/etc"));
        fs::create_dir_all(state.join("upper/half")).unwrap();
        finalize(&sample.machine()).unwrap();
        assert_eq!(sample.reboot_layered("overlay"), second);
        assert_eq!(sample.read("etc/own").unwrap(), "mine");
        assert_eq!(sample.read("etc/issue").unwrap(), "mine");
        assert!(sample.read("etc/hosts").is_some() && !sample.path("etc/half").exists());
        assert!(state.join("upper/own").is_file() && !state.join("upper/hosts").exists());
        // From one overlay to the next.
        fs::remove_file(sample.path("etc/hosts")).unwrap();
        fs::remove_file(sample.path("etc/issue")).unwrap();
        fs::write(sample.path("etc/issue"), "2").unwrap();
        let mut changed = configured("3", overlay);
        changed.insert("etc/motd", b"welcome".to_vec());
        let third = sample.staged(&changed);
        fs::write(sample.path("etc/late"), "late").unwrap();
        finalize(&sample.machine()).unwrap();
        assert_eq!(sample.reboot_layered("overlay"), third);
        let seen = ["etc/own", "etc/issue", "etc/late", "etc/motd"].map(|path| sample.read(path).unwrap());
        // The issue is as its image had it again, so it follows the new one.
        assert_eq!(seen, ["mine", "3", "late", "welcome"]);
        assert_eq!(sample.read("etc/hosts"), None);
        // And back to a bind.
        let fourth = sample.staged(&files("4"));
        finalize(&sample.machine()).unwrap();
        detach(sample.path("etc")).unwrap();
        let etc = sample.path(&format!("sysroot/state/deploy/{fourth}/etc"));
        assert_eq!(fs::read_to_string(etc.join("own")).unwrap(), "mine");
        assert!(!etc.join("hosts").exists() && !etc.join("upper").exists());
    });
}

#[test]
fn a_deployment_whose_etc_is_in_memory_gets_a_fresh_one() {
    mounting(|| {
        let sample = Sample::new();
        let first = sample.machine().booted();
        fs::write(sample.path("etc/own"), "mine").unwrap();
        let transient = configured("2", "[etc]\ntransient = true\n");
        assert!(keeps_etc(&sample.machine(), &first).unwrap());
        let staging = sample.stage(&transient);
        assert_eq!(left(staging.clone()), [LeftBehind::Etc { changes: 1 }]);
        let second = deployment_of(staging);
        assert!(!keeps_etc(&sample.machine(), &second).unwrap());
        assert_eq!(finalize(&sample.machine()).unwrap(), done(second));
        assert_eq!(sample.reboot_layered("transient"), second);
        assert_eq!(sample.read("etc/own"), None);
        assert_eq!(sample.read("etc/issue").unwrap(), "2");
        // What is changed in memory is lost at the next start, whatever that is.
        fs::create_dir(sample.path("etc/app")).unwrap();
        let mut third = files("3");
        third.insert("etc/app", b"a file".to_vec());
        let staging = sample.stage(&third);
        assert_eq!(left(staging.clone()), []);
        let third = deployment_of(staging);
        assert_eq!(finalize(&sample.machine()).unwrap(), done(third));
        let etc = sample.path(&format!("sysroot/state/deploy/{third}/etc"));
        assert_eq!(fs::read_to_string(etc.join("app")).unwrap(), "a file");
        // The one before has what it had.
        rollback(&sample.machine()).unwrap();
        let etc = sample.path(&format!("sysroot/state/deploy/{first}/etc"));
        assert_eq!(fs::read_to_string(etc.join("own")).unwrap(), "mine");
    });
}

#[test]
fn what_cannot_be_kept_is_refused_before_anything_is_staged() {
    let sample = Sample::new();
    let first = sample.machine().booted();
    let mut taken = configured("2", "[etc]\nmount = \"overlay\"\n");
    taken.insert("etc/upper/x", Vec::new());
    for (files, expected) in [
        (taken, "/etc/upper"),
        (
            configured("2", "[var]\nmount = \"overlay\"\n"),
            "mounts /var as an overlay",
        ),
        (
            configured("2", "[var]\nmount = \"tmpfs\"\n"),
            "setup-root-conf.toml",
        ),
        (configured("2", "\u{0}"), "setup-root-conf.toml"),
    ] {
        let error = sample.stage_with(&files, false).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert!(!osmith_report::Failure::hints(&error).is_empty());
        assert_eq!(finalize(&sample.machine()).unwrap(), Finalized::Nothing);
    }
    let staging = sample.stage(&configured("2", "[var]\ntransient = true\n"));
    assert_eq!(left(staging), [LeftBehind::Var]);
    rollback(&sample.machine()).unwrap();
    assert_eq!(sample.reboot(), first);
}

#[test]
fn an_etc_that_is_not_mounted_is_not_taken_for_one_without_changes() {
    let sample = Sample::new();
    let first = sample.machine().booted();
    let second = sample.staged(&files("2"));
    let table = format!("30 1 0:27 / / ro - overlay composefs:{first} ro\n");
    let mounted = fs::read_to_string(sample.path("proc/self/mountinfo")).unwrap();
    fs::write(sample.path("proc/self/mountinfo"), table).unwrap();
    let error = finalize(&sample.machine()).unwrap_err();
    assert!(matches!(error, DeployError::EtcNotMounted), "{error}");
    let error = sample.stage_with(&files("3"), false).unwrap_err();
    assert!(matches!(error, DeployError::EtcNotMounted), "{error}");
    // Nothing was dropped.
    fs::write(sample.path("proc/self/mountinfo"), mounted).unwrap();
    assert_eq!(finalize(&sample.machine()).unwrap(), done(second));
}
