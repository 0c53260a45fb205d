//! A start of the machine: its checks, and what follows for the deployment.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use osmith_formats::verity::Digest;
use osmith_image::rfc3339;
use osmith_report::{Event, Observer, Severity};

use super::checks::{Hooks, find, find_hooks};
use super::run::{CheckResult, run};
use super::{HealthError, fallback, first_failure};
use crate::boot_menu::{BootCounter, BootMenu, MenuEntry};
use crate::esp::{Esp, EspAccess, EspError};
use crate::failures::{self, FailedTry, Failures};
use crate::lock::MachineLock;
use crate::log::{self, Actor, LogEntry, LoggedDeployment, LoggedResult};
use crate::origin::Origin;
use crate::status::mounts;

type Result<T, E = HealthError> = std::result::Result<T, E>;

/// A start of a machine.
#[derive(Debug)]
pub struct Boot<'a> {
    /// The root directory of the machine.
    pub root: &'a Path,
    /// Osmith's own folder on the machine, writable; it is made if it is missing.
    pub own: &'a Path,
    /// How long each check may take.
    pub check_limit: Duration,
    /// Who is written into the record of operations.
    pub actor: Actor,
}

/// Whether the machine is to be started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restart {
    /// No.
    No,
    /// Yes: the deployment has tries left.
    TryAgain {
        /// How many.
        left: u32,
    },
    /// Yes: another deployment starts then.
    FallBack,
}

/// What came of the checks of a start.
#[derive(Debug, Clone, PartialEq)]
pub struct BootReport {
    /// The checks.
    pub results: Vec<CheckResult>,
    /// Why the deployment is not healthy, if it is not.
    pub reason: Option<String>,
    /// Whether the boot counter was taken away.
    pub is_blessed: bool,
    /// What is to be done now.
    pub restart: Restart,
}

/// What came of a deadline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadlineReport {
    /// Why the deployment is left, if it is.
    pub reason: Option<String>,
    /// What is to be done now.
    pub restart: Restart,
}

impl Boot<'_> {
    /// Runs the checks of the machine and acts on what comes of them. First, deployments that ran out of tries are
    /// recorded; one that was started from is the reason why another one runs now.
    pub fn check(&self, observer: &dyn Observer) -> Result<BootReport> {
        let booted = self.booted()?;
        self.ensure_own_folder()?;
        self.set_aside_unreadable(observer)?;
        self.take_over_tries(observer)?;
        fallback::record(self, &self.menu(EspAccess::Read)?, &booted, observer)?;
        let results = run(&find(self.root)?, self.check_limit, observer)?;
        let reason = first_failure(&results).map(CheckResult::reason);
        let report = match &reason {
            None => self.stay(&booted, observer)?,
            Some(reason) => {
                let check = first_failure(&results).map(|failure| failure.name.clone());
                self.leave(&booted, check, reason, observer)?
            }
        };
        let (is_blessed, restart) = report;
        let hooks = match restart == Restart::No && reason.is_none() {
            true => Hooks::Green,
            false => Hooks::Red,
        };
        self.run_hooks(hooks, observer)?;
        if restart == Restart::No {
            self.settle_menus(&booted, reason.is_none(), observer)?;
        }
        Ok(BootReport {
            results,
            reason,
            is_blessed,
            restart,
        })
    }

    /// Leaves a deployment whose tries are counted and that is not healthy by now. Any other is left alone.
    pub fn expire(&self, observer: &dyn Observer) -> Result<DeadlineReport> {
        let booted = self.booted()?;
        self.ensure_own_folder()?;
        self.take_over_tries(observer)?;
        if self.counter(&self.menu(EspAccess::Read)?, &booted).is_none() {
            return Ok(DeadlineReport {
                reason: None,
                restart: Restart::No,
            });
        }
        let reason = format!("not healthy {} s after the start", self.uptime_seconds()?);
        let (_, restart) = self.leave(&booted, None, &reason, observer)?;
        Ok(DeadlineReport {
            reason: (restart != Restart::No).then_some(reason),
            restart,
        })
    }

    /// What GRUB counted goes into the menu, where other boot loaders count.
    fn take_over_tries(&self, observer: &dyn Observer) -> Result<()> {
        let tries = match Esp::open(self.root, EspAccess::Read) {
            Err(EspError::Missing) => None,
            esp => esp?.tries()?,
        };
        if tries.is_none() {
            return Ok(());
        }
        let _lock = self.lock(observer)?;
        let esp = self.esp(EspAccess::Write)?;
        // The deadline may have been faster.
        if let Some(tries) = esp.tries()? {
            observer.require_running()?;
            esp.take_over(&tries)?;
        }
        Ok(())
    }

    /// The deployment is healthy: it stays. The record comes first, then the menu, then what was recorded of failures:
    /// a start that is cut off in between finds it healthy again. With a new deployment that is healthy, what is known
    /// of older ones is history. Returns whether a counter was taken away.
    fn stay(&self, booted: &Digest, observer: &dyn Observer) -> Result<(bool, Restart)> {
        let _lock = self.lock(observer)?;
        let menu = self.menu(EspAccess::Read)?;
        let counter = self.counter(&menu, booted);
        let mut failures = Failures::read(&self.failures())?;
        if let Some(counter) = counter {
            // The deadline was faster, and the machine is about to stop.
            if self.has_failed(&failures, booted)? {
                return Ok((false, restart(&menu, booted, counter)));
            }
            observer.require_running()?;
            self.log(booted, LoggedResult::Success, None)?;
            observer.require_running()?;
            uncount(&self.esp(EspAccess::Write)?, booted)?;
            failures = Failures::default();
        } else if !failures.forget(booted) {
            return Ok((false, Restart::No));
        }
        observer.require_running()?;
        failures.write(&self.failures())?;
        Ok((counter.is_some(), Restart::No))
    }

    /// The deployment is not healthy. Where its tries are counted, that is recorded, and the machine is to start again.
    fn leave(
        &self,
        booted: &Digest,
        check: Option<String>,
        reason: &str,
        observer: &dyn Observer,
    ) -> Result<(bool, Restart)> {
        let _lock = self.lock(observer)?;
        let menu = self.menu(EspAccess::Read)?;
        let counter = self.counter(&menu, booted);
        let restart = counter.map_or(Restart::No, |counter| restart(&menu, booted, counter));
        if let Some(counter) = counter {
            let mut failures = Failures::read(&self.failures())?;
            // A check that failed is a better reason than the deadline that came after it.
            if check.is_none() && self.has_failed(&failures, booted)? {
                return Ok((false, restart));
            }
            failures.record_try(FailedTry {
                boot: self.boot_id()?,
                check,
                deployment: booted.to_string(),
                reason: reason.to_owned(),
                time: now(),
                number: counter.done,
            });
            observer.require_running()?;
            failures.write(&self.failures())?;
        }
        observer.require_running()?;
        let message = match restart {
            Restart::No => reason.to_owned(),
            Restart::TryAgain { left } => format!("{reason}; the machine restarts, tries left: {left}"),
            Restart::FallBack => format!("{reason}; the machine restarts into the deployment before"),
        };
        self.log(booted, LoggedResult::Failure, Some(message))?;
        Ok((false, restart))
    }

    /// Waits for other operations, then brings the menus in line: the booted deployment is not counted if it is healthy,
    /// in what an update left for the shutdown either; deployments that failed come last.
    fn settle_menus(&self, booted: &Digest, is_healthy: bool, observer: &dyn Observer) -> Result<()> {
        let is_settled = |menu: &BootMenu| {
            fallback::is_in_order(menu) && !(is_healthy && self.counter(menu, booted).is_some())
        };
        let is_done = match Esp::open(self.root, EspAccess::Read) {
            Err(EspError::Missing) => true,
            esp => {
                let esp = esp?;
                is_settled(&esp.menu()?) && esp.staged_menu()?.is_none_or(|menu| is_settled(&menu))
            }
        };
        if is_done {
            return Ok(());
        }
        let _lock = MachineLock::acquire(&self.own.join("lock"), "health", observer)?;
        let esp = self.esp(EspAccess::Write)?;
        if is_healthy {
            uncount(&esp, booted)?;
        }
        fallback::reorder(self, &esp, booted, is_healthy, observer)
    }

    fn run_hooks(&self, hooks: Hooks, observer: &dyn Observer) -> Result<()> {
        let hooks = find_hooks(self.root, hooks)?;
        if hooks.checks.is_empty() {
            return Ok(());
        }
        for failed in run(&hooks, self.check_limit, observer)? {
            if !failed.has_passed() {
                warn(observer, format!("hook '{}' {}", failed.name, failed.verdict()));
            }
        }
        Ok(())
    }

    fn set_aside_unreadable(&self, observer: &dyn Observer) -> Result<()> {
        let _lock = self.lock(observer)?;
        if let (_, Some(aside)) = Failures::read_or_set_aside(&self.failures())? {
            let text = format!(
                "the record of failed deployments was malformed and is now '{}'",
                aside.display()
            );
            warn(observer, text);
        }
        Ok(())
    }

    /// The deployment that runs.
    fn booted(&self) -> Result<Digest> {
        mounts::deployment(&self.read("proc/self/mountinfo")?).ok_or(HealthError::NotDeployed)
    }

    /// Whether this start is known to have failed.
    fn has_failed(&self, failures: &Failures, booted: &Digest) -> Result<bool> {
        let boot = self.boot_id()?;
        Ok(failures.tries_of(booted).any(|failed| failed.boot == boot))
    }

    fn boot_id(&self) -> Result<String> {
        Ok(self.read("proc/sys/kernel/random/boot_id")?.trim().to_owned())
    }

    fn read(&self, path: &str) -> Result<String> {
        let path = self.root.join(path);
        fs::read_to_string(&path).map_err(file_error("read", &path))
    }

    fn uptime_seconds(&self) -> Result<u64> {
        let text = self.read("proc/uptime")?;
        let seconds = text.split('.').next().and_then(|seconds| seconds.parse().ok());
        Ok(seconds.unwrap_or_default())
    }

    fn ensure_own_folder(&self) -> Result<()> {
        fs::create_dir_all(self.own).map_err(file_error("create", self.own))
    }

    /// What keeps the checks and the deadline from deciding at once. Not the lock of the machine: an update that takes
    /// long must not stop a deadline.
    pub(super) fn lock(&self, observer: &dyn Observer) -> Result<MachineLock> {
        let lock = MachineLock::acquire(&self.own.join("health.lock"), "health", observer);
        Ok(lock?)
    }

    /// Where the record of failed deployments is.
    pub(super) fn failures(&self) -> PathBuf {
        self.own.join(failures::FILE_NAME)
    }

    fn esp(&self, access: EspAccess) -> Result<Esp> {
        Ok(Esp::open(self.root, access)?)
    }

    /// The boot menu; empty on a machine that has none that osmith knows.
    fn menu(&self, access: EspAccess) -> Result<BootMenu> {
        match Esp::open(self.root, access) {
            Err(EspError::Missing) => Ok(BootMenu::default()),
            esp => Ok(esp?.menu()?),
        }
    }

    fn counter(&self, menu: &BootMenu, booted: &Digest) -> Option<BootCounter> {
        menu.of(booted)?.counter
    }

    /// The origin of a deployment, if it can be read.
    pub(super) fn origin(&self, deployment: &Digest) -> Option<Origin> {
        let path = format!("sysroot/state/deploy/{deployment}/{deployment}.origin");
        Origin::parse(&fs::read_to_string(self.root.join(path)).ok()?).ok()
    }

    pub(super) fn logged(&self, deployment: &Digest) -> LoggedDeployment {
        let origin = self.origin(deployment);
        LoggedDeployment {
            deployment: deployment.to_string(),
            image: origin.as_ref().map(|origin| origin.source.image.clone()),
            digest: origin.and_then(|origin| Some(origin.manifest_digest?.to_string())),
            version: None,
        }
    }

    pub(super) fn log_path(&self) -> PathBuf {
        self.own.join("log.jsonl")
    }

    fn log(&self, booted: &Digest, result: LoggedResult, message: Option<String>) -> Result<()> {
        let entry = LogEntry {
            time: now(),
            operation: "health".to_owned(),
            actor: self.actor.clone(),
            from: None,
            to: Some(self.logged(booted)),
            result,
            message,
        };
        self.append_log(&entry)
    }

    pub(super) fn append_log(&self, entry: &LogEntry) -> Result<()> {
        let path = self.log_path();
        log::append(&path, entry).map_err(file_error("write", &path))
    }
}

/// What a start again would lead to. A boot loader that does not count would start the same for ever, and so would one
/// that has nothing else to start.
fn restart(menu: &BootMenu, booted: &Digest, counter: BootCounter) -> Restart {
    let is_other =
        |entry: &MenuEntry| !entry.is_exhausted() && entry.deployment().is_some_and(|found| found != *booted);
    match counter {
        BootCounter { done: 0, .. } => Restart::No,
        BootCounter { left: 0, .. } if menu.entries.iter().any(is_other) => Restart::FallBack,
        BootCounter { left: 0, .. } => Restart::No,
        BootCounter { left, .. } => Restart::TryAgain { left },
    }
}

/// Takes the counter of a deployment away, in one step.
fn uncount(esp: &Esp, deployment: &Digest) -> Result<()> {
    let menu = esp.menu()?;
    if let Some(entry) = menu.of(deployment).filter(|entry| entry.counter.is_some()) {
        let blessed = MenuEntry {
            counter: None,
            ..entry.clone()
        };
        esp.rename_entry(&entry.file_name(), &blessed.file_name())?;
    }
    Ok(())
}

/// The time as the record has it.
pub(super) fn now() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    rfc3339(i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}

pub(super) fn file_error(operation: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> HealthError {
    let path = path.to_owned();
    move |source| HealthError::File {
        operation,
        path,
        source,
    }
}

fn warn(observer: &dyn Observer, text: String) {
    observer.observe(Event::Message {
        severity: Severity::Warning,
        text,
    });
}
