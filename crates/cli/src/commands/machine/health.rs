//! `osmith health`: whether this machine does what it is for. Its hidden forms are what the units of the machine start.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use osmith_machine::health::{self, Boot, CheckResult, OwnFolder, Restart};
use osmith_machine::machine;
use osmith_report::{Class, Event, Failure, Observer, Severity};

use super::{ROOT, reboot, record, require_root};
use crate::args::{HealthArgs, HealthFormat};
use crate::commands::images::print;
use crate::failure::{CommandFailure, CommandResult};

pub(crate) fn health(args: &HealthArgs, observer: &dyn Observer) -> CommandResult {
    if args.deadline {
        return deadline(args, observer);
    }
    if args.at_boot {
        return at_boot(args, observer);
    }
    let checks = health::find(Path::new(ROOT))?;
    let results = health::run(&checks, limit(args), observer)?;
    match args.format {
        HealthFormat::Text => print(&table(&results))?,
        HealthFormat::Json => print_json(&results)?,
    }
    let failed = results
        .iter()
        .find(|result| result.required && !result.has_passed());
    match failed {
        None => Ok(()),
        Some(failed) => Err(unhealthy(failed.reason()).into()),
    }
}

/// Runs the checks once a start, and does what follows from them.
fn at_boot(args: &HealthArgs, observer: &dyn Observer) -> CommandResult {
    let own = own_folder("health --at-boot")?;
    let report = boot(args, &own.path()).check(observer)?;
    if report.is_blessed {
        note(observer, "the deployment is healthy, and stays");
    }
    // Who may not see it all otherwise is told a little late, then.
    let _ = osmith_machine::status::publish(Path::new(ROOT));
    restart(report.restart, observer)?;
    match report.reason {
        None => Ok(()),
        Some(reason) => Err(unhealthy(reason).into()),
    }
}

/// Leaves a deployment that did not become healthy in time.
fn deadline(args: &HealthArgs, observer: &dyn Observer) -> CommandResult {
    let own = own_folder("health --deadline")?;
    let report = boot(args, &own.path()).expire(observer)?;
    if let Some(reason) = report.reason {
        note(observer, &reason);
    }
    restart(report.restart, observer)
}

fn own_folder(operation: &str) -> Result<OwnFolder, Box<dyn Failure>> {
    machine::running(Path::new(ROOT))?;
    require_root(operation)?;
    Ok(OwnFolder::open(Path::new(ROOT))?)
}

fn boot<'a>(args: &HealthArgs, own: &'a Path) -> Boot<'a> {
    Boot {
        root: Path::new(ROOT),
        own,
        check_limit: limit(args),
        actor: record::actor(),
    }
}

fn limit(args: &HealthArgs) -> Duration {
    Duration::from_secs(args.time_limit)
}

fn restart(restart: Restart, observer: &dyn Observer) -> CommandResult {
    match restart {
        Restart::No => return Ok(()),
        Restart::TryAgain { left } => {
            note(observer, &format!("the machine restarts; tries left: {left}"));
        }
        Restart::FallBack => note(observer, "the machine restarts into the deployment before"),
    }
    reboot()
}

fn note(observer: &dyn Observer, text: &str) {
    observer.observe(Event::Message {
        severity: Severity::Note,
        text: text.to_owned(),
    });
}

fn unhealthy(reason: String) -> CommandFailure {
    CommandFailure::new(Class::Command, format!("this machine is not healthy: {reason}"))
}

/// A line a check: how it ended, how long it took, its name, and what it said if it failed.
fn table(results: &[CheckResult]) -> String {
    if results.is_empty() {
        return "This machine has no health checks.\n".to_owned();
    }
    let mut text = String::new();
    for result in results {
        let word = match (result.has_passed(), result.required) {
            (true, _) => "passed",
            (false, true) => "FAILED",
            (false, false) => "warning",
        };
        let seconds = result.duration.as_secs_f64();
        // Writing to a string does not fail.
        let _ = write!(text, "{word:<7} {seconds:>6.1} s  {}", result.name);
        if !result.has_passed() {
            let _ = write!(text, ": {}", result.verdict());
        }
        text.push('\n');
    }
    text
}

fn print_json(results: &[CheckResult]) -> CommandResult {
    let json = serde_json::json!({ "healthy": health::is_healthy(results), "checks": results });
    print(&format!("{json}\n"))
}

#[cfg(test)]
mod tests {
    use osmith_machine::health::CheckOutcome;

    use super::*;

    #[test]
    fn every_check_has_a_line() {
        let result = |name: &str, required, outcome| CheckResult {
            name: name.to_owned(),
            required,
            outcome,
            duration: Duration::from_millis(1250),
            output: String::new(),
        };
        let limit = Duration::from_secs(120);
        let results = [
            result("10-units", true, CheckOutcome::Passed),
            result("20-web", true, CheckOutcome::TimedOut(limit)),
            result("clock.sh", false, CheckOutcome::NotStarted),
        ];
        assert_eq!(
            table(&results),
            "passed     1.2 s  10-units\n\
             FAILED     1.2 s  20-web: did not end within 120 s\n\
             warning    1.2 s  clock.sh: could not be started\n"
        );
    }
}
