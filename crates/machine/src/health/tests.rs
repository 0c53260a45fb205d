use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use osmith_formats::verity::Digest;
use osmith_image::Sha256Digest;
use osmith_report::{Event, Observer, Silent};
use tempfile::TempDir;

use super::*;
use crate::boot_menu::{BootMenu, MenuEntry};
use crate::failures::{FILE_NAME, Failures};
use crate::log::{self, Actor, LogEntry, LoggedResult};
use crate::origin::{BootType, ImageSource, Origin};

const CHECK: &str = "usr/lib/osmith/health.d/10-check";

/// A machine and the part of its boot loader that counts.
struct Sample {
    folder: TempDir,
}

impl Sample {
    /// With these files of boot entries, the first of which has sort key 0.
    fn new(entries: &[(&str, &str)]) -> Self {
        let sample = Sample {
            folder: tempfile::tempdir().unwrap(),
        };
        fs::create_dir_all(sample.path("boot/loader/entries")).unwrap();
        for (key, (file, version)) in entries.iter().enumerate() {
            let digest = deployment(version);
            let text = format!(
                "title x\nversion {version}\nlinux /x\noptions composefs={digest}\nsort-key bootc-x-{key}\n"
            );
            sample.write(&format!("boot/loader/entries/{file}"), &text);
            let origin = Origin {
                source: ImageSource::registry("registry.example.org/os:1"),
                boot_type: BootType::Bls,
                boot_digest: None,
                manifest_digest: Some(Sha256Digest::of(version.as_bytes())),
                pinned: false,
            };
            let path = format!("sysroot/state/deploy/{digest}/{digest}.origin");
            sample.write(&path, &origin.to_text());
        }
        sample.write("proc/uptime", "612.34 1.00\n");
        sample
    }

    fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    fn write(&self, path: &str, text: &str) {
        fs::create_dir_all(self.path(path).parent().unwrap()).unwrap();
        fs::write(self.path(path), text).unwrap();
    }

    /// The program that the check of the image is: `true` or `false`.
    fn set_check(&self, program: &str) {
        fs::create_dir_all(self.path(CHECK).parent().unwrap()).unwrap();
        let _ = fs::remove_file(self.path(CHECK));
        let found = ["/bin", "/usr/bin"].map(|folder| Path::new(folder).join(program));
        symlink(found.iter().find(|path| path.exists()).unwrap(), self.path(CHECK)).unwrap();
    }

    /// What systemd-boot does: takes the first entry and counts, then the kernel starts it.
    fn start(&self) -> &'static str {
        let menu = self.menu();
        let entry = menu.entries.first().unwrap().clone();
        let mut counted = entry.clone();
        if let Some(counter) = counted.counter.as_mut().filter(|counter| counter.left > 0) {
            counter.left -= 1;
            counter.done += 1;
        }
        let folder = self.path("boot/loader/entries");
        fs::rename(folder.join(entry.file_name()), folder.join(counted.file_name())).unwrap();
        let _ = fs::remove_file(self.path("run/composefs/staged-deployment"));
        self.set_booted(&entry.deployment().unwrap());
        ["v1", "v2", "v3"]
            .into_iter()
            .find(|version| entry.deployment() == Some(deployment(version)))
            .unwrap()
    }

    fn set_booted(&self, booted: &Digest) {
        let path = "proc/sys/kernel/random/boot_id";
        let starts = fs::read_to_string(self.path(path)).map_or(0, |text| text.len());
        self.write(path, &"1".repeat(starts + 1));
        let mountinfo = format!("30 1 0:27 / / ro - overlay composefs:{booted} ro\n");
        self.write("proc/self/mountinfo", &mountinfo);
    }

    fn check_with(&self, observer: &dyn Observer) -> Result<BootReport, HealthError> {
        boot(
            &self.folder.path().join("sysroot/state/osmith"),
            self.folder.path(),
        )
        .check(observer)
    }

    fn check(&self) -> BootReport {
        self.check_with(&Silent).unwrap()
    }

    fn expire(&self) -> DeadlineReport {
        boot(
            &self.folder.path().join("sysroot/state/osmith"),
            self.folder.path(),
        )
        .expire(&Silent)
        .unwrap()
    }

    fn menu(&self) -> BootMenu {
        let files = fs::read_dir(self.path("boot/loader/entries")).unwrap();
        BootMenu::new(files.map(|file| {
            let file = file.unwrap();
            let text = fs::read_to_string(file.path()).unwrap();
            (file.file_name().into_string().unwrap(), text)
        }))
    }

    /// Versions and counters, in the order of the menu.
    fn entries(&self) -> Vec<String> {
        let entries = self.menu().entries;
        let name = |entry: &MenuEntry| {
            let counter = entry.counter.map(|counter| counter.to_string());
            entry.entry.version.clone().unwrap() + &counter.unwrap_or_default()
        };
        entries.iter().map(name).collect()
    }

    fn failures(&self) -> Failures {
        Failures::read(&self.path("sysroot/state/osmith").join(FILE_NAME)).unwrap()
    }

    fn log(&self) -> Vec<LogEntry> {
        log::read(&self.path("sysroot/state/osmith/log.jsonl"))
            .unwrap()
            .entries
    }

    fn logged(&self) -> Vec<(String, LoggedResult)> {
        let entries = self.log().into_iter();
        entries.map(|entry| (entry.operation, entry.result)).collect()
    }
}

fn deployment(version: &str) -> Digest {
    Digest::of(version.as_bytes())
}

fn boot<'a>(own: &'a Path, root: &'a Path) -> Boot<'a> {
    Boot {
        root,
        own,
        check_limit: Duration::from_secs(60),
        actor: Actor {
            user: "root".to_owned(),
            uid: 0,
        },
    }
}

/// A machine whose new deployment v2 was not started yet.
fn updated() -> Sample {
    Sample::new(&[("bootc_x-v2-1+3.conf", "v2"), ("bootc_x-v1-0.conf", "v1")])
}

#[test]
fn a_healthy_deployment_stays() {
    let sample = updated();
    sample.set_check("true");
    assert_eq!(sample.start(), "v2");
    assert_eq!(sample.entries(), ["v2+2-1", "v1"]);
    let report = sample.check();
    assert!(report.is_blessed && is_healthy(&report.results));
    assert_eq!((report.reason, report.restart), (None, Restart::No));
    assert_eq!(sample.entries(), ["v2", "v1"]);
    assert_eq!(sample.failures(), Failures::default());
    assert_eq!(sample.logged(), [("health".to_owned(), LoggedResult::Success)]);
    // From then on nothing is counted, and nothing recorded.
    assert_eq!(sample.start(), "v2");
    assert!(!sample.check().is_blessed);
    assert_eq!(sample.log().len(), 1);
}

#[test]
fn a_deployment_that_fails_is_tried_again_then_left() {
    let sample = updated();
    sample.set_check("false");
    for left in [2, 1] {
        assert_eq!(sample.start(), "v2");
        assert_eq!(sample.check().restart, Restart::TryAgain { left });
    }
    assert_eq!(sample.start(), "v2");
    let report = sample.check();
    assert_eq!(report.restart, Restart::FallBack);
    let reason = report.reason.unwrap();
    assert_eq!(reason, "health check '10-check' failed with exit status 1");
    assert_eq!(sample.entries(), ["v1", "v2+0-3"]);
    assert_eq!(sample.failures().tries.len(), 3);
    // What fails in v1 too, now, is no reason to leave it.
    assert_eq!(sample.start(), "v1");
    assert_eq!(sample.check().restart, Restart::No);
    let failures = sample.failures();
    assert!(failures.tries.is_empty());
    let failed = failures.find_manifest(&Sha256Digest::of(b"v2")).unwrap();
    assert_eq!(failed.check.as_deref(), Some("10-check"));
    assert_eq!((&failed.reason, failed.tries), (&reason, 3));
    assert_eq!(failed.image.as_deref(), Some("registry.example.org/os:1"));
    let fallback = sample
        .log()
        .into_iter()
        .find(|entry| entry.operation == "fallback")
        .unwrap();
    assert_eq!(fallback.from.unwrap().deployment, deployment("v2").to_string());
    assert_eq!(fallback.to.unwrap().deployment, deployment("v1").to_string());
    // The failed one has the last sort key now, for programs that know no counters.
    assert_eq!(
        sample.menu().entries[1].entry.sort_key.as_deref(),
        Some("bootc-x-1")
    );
    assert_eq!(sample.entries(), ["v1", "v2+0-3"]);
    // Once is enough.
    let before = (sample.failures(), sample.log().len());
    sample.set_check("true");
    assert_eq!(sample.start(), "v1");
    sample.check();
    assert_eq!((sample.failures(), sample.log().len()), before);
}

#[test]
fn a_deployment_that_never_gets_to_its_checks_is_left() {
    let sample = updated();
    for _ in 0..3 {
        assert_eq!(sample.start(), "v2");
    }
    assert_eq!(sample.start(), "v1");
    sample.set_check("true");
    let report = sample.check();
    assert!(!report.is_blessed);
    let failures = sample.failures();
    let failed = failures.find_deployment(&deployment("v2")).unwrap();
    assert_eq!(
        failed.reason,
        "did not start: no health check was reached in 3 tries"
    );
    assert_eq!(failed.check, None);
}

#[test]
fn a_deployment_that_recovers_is_forgotten_as_failed() {
    let sample = updated();
    sample.set_check("false");
    sample.start();
    sample.check();
    assert_eq!(sample.failures().tries.len(), 1);
    sample.set_check("true");
    sample.start();
    assert!(sample.check().is_blessed);
    assert_eq!(sample.failures(), Failures::default());
    assert_eq!(sample.entries(), ["v2", "v1"]);
}

#[test]
fn an_order_that_a_person_chose_stays() {
    // v1 was chosen by a rollback while v2 runs; v3 failed before.
    let sample = Sample::new(&[
        ("a+0-3.conf", "v3"),
        ("bootc_x-v1-1.conf", "v1"),
        ("bootc_x-v2-0.conf", "v2"),
    ]);
    sample.set_check("true");
    sample.set_booted(&deployment("v2"));
    sample.check();
    assert_eq!(sample.entries(), ["v1", "v2", "v3+0-3"]);
    assert!(sample.failures().find_deployment(&deployment("v3")).is_some());
    assert_eq!(sample.start(), "v1");
}

#[test]
fn there_is_no_restart_that_would_lead_nowhere() {
    // Nothing else to start.
    let alone = Sample::new(&[("a+1-2.conf", "v2")]);
    alone.set_check("false");
    alone.start();
    let report = alone.check();
    assert_eq!((report.restart, report.is_blessed), (Restart::No, false));
    assert!(report.reason.is_some());
    // A boot loader that does not count.
    let uncounted = Sample::new(&[("a+3.conf", "v2"), ("b.conf", "v1")]);
    uncounted.set_check("false");
    uncounted.set_booted(&deployment("v2"));
    assert_eq!(uncounted.check().restart, Restart::No);
    assert_eq!(uncounted.expire().restart, Restart::No);
}

#[test]
fn a_deadline_leaves_what_is_counted_only() {
    let sample = updated();
    sample.set_check("true");
    sample.start();
    let report = sample.expire();
    assert_eq!(report.reason.unwrap(), "not healthy 612 s after the start");
    assert_eq!(report.restart, Restart::TryAgain { left: 2 });
    // The checks pass a moment later: too late.
    let report = sample.check();
    assert_eq!(
        (report.is_blessed, report.restart),
        (false, Restart::TryAgain { left: 2 })
    );
    // The next try is in time.
    sample.start();
    assert!(sample.check().is_blessed);
    let report = sample.expire();
    assert_eq!((report.reason, report.restart), (None, Restart::No));
    assert_eq!(sample.entries(), ["v2", "v1"]);
}

#[test]
fn a_try_of_long_ago_is_no_try_of_this_start() {
    let sample = updated();
    sample.set_check("false");
    sample.start();
    sample.check();
    // Staged anew, it has all its tries again.
    let folder = sample.path("boot/loader/entries");
    fs::rename(
        folder.join("bootc_x-v2-1+2-1.conf"),
        folder.join("bootc_x-v2-1+3.conf"),
    )
    .unwrap();
    sample.set_check("true");
    sample.start();
    assert!(sample.check().is_blessed);
}

#[test]
fn a_deadline_after_a_check_that_failed_keeps_the_reason() {
    let sample = updated();
    sample.set_check("false");
    sample.start();
    sample.check();
    let before = (sample.failures(), sample.log().len());
    assert_eq!(sample.expire().restart, Restart::TryAgain { left: 2 });
    assert_eq!((sample.failures(), sample.log().len()), before);
}

#[test]
fn a_staged_update_learns_that_the_deployment_is_healthy() {
    let sample = updated();
    sample.set_check("true");
    sample.start();
    let entries = sample.path("boot/loader/entries");
    let staged = sample.path("boot/loader/entries.staged");
    fs::create_dir(&staged).unwrap();
    for entry in fs::read_dir(&entries).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), staged.join(entry.file_name())).unwrap();
    }
    sample.write("run/composefs/staged-deployment", "{}");
    assert!(sample.check().is_blessed);
    assert!(staged.join("bootc_x-v2-1.conf").exists());
    assert!(!staged.join("bootc_x-v2-1+2-1.conf").exists());
    assert_eq!(sample.entries(), ["v2", "v1"]);
}

#[test]
fn what_is_wanted_may_fail_and_hooks_follow_the_verdict() {
    let sample = updated();
    sample.set_check("true");
    let marks = sample.path("marks");
    for (path, exit) in [
        ("check/wanted.d/optional.sh", 1),
        ("green.d/green.sh", 1),
        ("red.d/red.sh", 0),
    ] {
        let text = format!("echo {path} >> {}; exit {exit}\n", marks.display());
        sample.write(&format!("etc/greenboot/{path}"), &text);
    }
    sample.start();
    assert!(sample.check().is_blessed);
    let text = fs::read_to_string(&marks).unwrap();
    assert_eq!(text, "check/wanted.d/optional.sh\ngreen.d/green.sh\n");
    sample.set_check("false");
    sample.check();
    let text = fs::read_to_string(&marks).unwrap();
    assert!(text.ends_with("optional.sh\nred.d/red.sh\n"), "{text}");
}

#[test]
fn a_malformed_record_is_set_aside() {
    let sample = updated();
    sample.set_check("false");
    sample.start();
    sample.write("sysroot/state/osmith/failures.json", "nonsense");
    assert_eq!(sample.check().restart, Restart::TryAgain { left: 2 });
    assert_eq!(sample.failures().tries.len(), 1);
    assert!(
        sample
            .path("sysroot/state/osmith/failures.json.unreadable")
            .exists()
    );
}

#[test]
fn a_system_without_deployment_has_no_health() {
    let sample = updated();
    sample.write("proc/self/mountinfo", "22 1 254:2 / / rw - ext4 /dev/vda2 rw\n");
    assert!(matches!(
        sample.check_with(&Silent),
        Err(HealthError::NotDeployed)
    ));
}

/// Stops the work when it was asked about for the nth time, as a power cut would.
struct PowerCut {
    left: AtomicUsize,
}

impl Observer for PowerCut {
    fn observe(&self, _: Event) {}

    fn interrupted(&self) -> bool {
        let count = |left: usize| Some(left.saturating_sub(1));
        self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, count) == Ok(0)
    }
}

/// Starts the machine until nothing has to be done any more; at the given start the power is cut at a write.
fn live(sample: &Sample, cut_start: usize, cut_write: usize) -> bool {
    let mut was_cut = false;
    for start in 0..8 {
        let version = sample.start();
        sample.set_check(if version == "v1" { "true" } else { "false" });
        let left = if start == cut_start { cut_write } else { usize::MAX };
        let cut = PowerCut {
            left: AtomicUsize::new(left),
        };
        match sample.check_with(&cut) {
            Err(HealthError::Interrupted(_) | HealthError::Lock(_)) => was_cut = true,
            report => drop(report.unwrap()),
        }
    }
    was_cut
}

#[test]
fn a_power_cut_at_any_write_changes_nothing_in_the_end() {
    let mut cuts = 0;
    for cut_start in 0..5 {
        for cut_write in 0.. {
            let sample = updated();
            if !live(&sample, cut_start, cut_write) {
                break;
            }
            cuts += 1;
            assert_eq!(sample.entries(), ["v1", "v2+0-3"], "{cut_start} {cut_write}");
            let failures = sample.failures();
            let failed = failures.find_manifest(&Sha256Digest::of(b"v2")).unwrap();
            assert_eq!(failed.reason, "health check '10-check' failed with exit status 1");
            assert_eq!((failures.failed.len(), failures.tries.len()), (1, 0));
            let fallbacks = sample
                .log()
                .iter()
                .filter(|entry| entry.operation == "fallback")
                .count();
            assert_eq!(fallbacks, 1, "{cut_start} {cut_write}");
            assert!(fallback::is_in_order(&sample.menu()));
        }
    }
    assert!(cuts > 12, "{cuts}");
}
