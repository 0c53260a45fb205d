//! Running checks, each with a time limit.

use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use osmith_report::{Event, Observer, Outcome, Severity, Step, StepId, Stream};
use osmith_sys::process::{self, ProcessError};
use serde::{Serialize, Serializer};

use super::HealthError;
use super::checks::{Check, Checks};

/// What is kept of the output of a check, from its end.
const OUTPUT_MAX_BYTES: usize = 4 << 10;

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckOutcome {
    /// With success.
    Passed,
    /// With this exit status.
    Failed(ExitStatus),
    /// It was ended, because it took longer than this.
    TimedOut(Duration),
    /// It could not be started.
    NotStarted,
}

/// A check that was run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckResult {
    /// Its name.
    pub name: String,
    /// Whether the machine is unhealthy if it failed.
    pub required: bool,
    /// How it ended.
    #[serde(serialize_with = "serialize_outcome")]
    pub outcome: CheckOutcome,
    /// How long it took.
    #[serde(rename = "durationSeconds", serialize_with = "serialize_seconds")]
    pub duration: Duration,
    /// The end of what it wrote.
    pub output: String,
}

impl CheckResult {
    /// Whether it says that the machine is healthy.
    pub fn has_passed(&self) -> bool {
        self.outcome == CheckOutcome::Passed
    }

    /// How it ended, in words that follow its name: `failed with exit status 1`.
    pub fn verdict(&self) -> String {
        match self.outcome {
            CheckOutcome::Passed => "passed".to_owned(),
            CheckOutcome::Failed(status) => match status.code() {
                Some(code) => format!("failed with exit status {code}"),
                None => format!("failed: {status}"),
            },
            CheckOutcome::TimedOut(limit) => format!("did not end within {} s", limit.as_secs()),
            CheckOutcome::NotStarted => "could not be started".to_owned(),
        }
    }

    /// Why a check failed: how it ended, and the last thing it said.
    pub fn reason(&self) -> String {
        let last = self.output.lines().map(str::trim).rfind(|line| !line.is_empty());
        match last {
            Some(line) => format!("health check '{}' {}: {line}", self.name, self.verdict()),
            None => format!("health check '{}' {}", self.name, self.verdict()),
        }
    }
}

fn serialize_outcome<S: Serializer>(outcome: &CheckOutcome, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(match outcome {
        CheckOutcome::Passed => "passed",
        CheckOutcome::Failed(_) => "failed",
        CheckOutcome::TimedOut(_) => "timed-out",
        CheckOutcome::NotStarted => "not-started",
    })
}

fn serialize_seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64((duration.as_secs_f64() * 1000.0).round() / 1000.0)
}

/// Runs checks one after the other, all of them, whatever comes of one. `limit` is how long each may take.
pub fn run(
    checks: &Checks,
    limit: Duration,
    observer: &dyn Observer,
) -> Result<Vec<CheckResult>, HealthError> {
    for path in &checks.left_out {
        observer.observe(Event::Message {
            severity: Severity::Warning,
            text: format!("'{}' is left out: it is not executable", path.display()),
        });
    }
    let numbered = || (0..).map(StepId).zip(&checks.checks);
    let steps = numbered().map(|(id, check)| Step {
        id,
        title: check.path.display().to_string(),
    });
    observer.observe(Event::Plan {
        steps: steps.collect(),
    });
    numbered()
        .map(|(step, check)| run_step(check, step, limit, observer))
        .collect()
}

fn run_step(
    check: &Check,
    step: StepId,
    limit: Duration,
    observer: &dyn Observer,
) -> Result<CheckResult, HealthError> {
    observer.require_running()?;
    observer.observe(Event::Started { step });
    let result = run_one(check, step, limit, observer)?;
    observer.observe(Event::Finished {
        step,
        outcome: match result.has_passed() {
            true => Outcome::Done,
            false => Outcome::Failed,
        },
        summary: result.verdict(),
    });
    Ok(result)
}

fn run_one(
    check: &Check,
    step: StepId,
    limit: Duration,
    observer: &dyn Observer,
) -> Result<CheckResult, HealthError> {
    let begun = Instant::now();
    let mut output = Tail::default();
    let on_line = |stream, line: &[u8]| {
        let line = String::from_utf8_lossy(line).into_owned();
        output.add(&line);
        let stream = match stream {
            process::Stream::Stdout => Stream::Stdout,
            process::Stream::Stderr => Stream::Stderr,
        };
        observer.observe(Event::Output { step, stream, line });
    };
    let ended = process::run(&mut command(check), on_line, || {
        begun.elapsed() >= limit || observer.interrupted()
    });
    let outcome = match ended {
        Ok(status) if status.success() => CheckOutcome::Passed,
        Ok(status) => CheckOutcome::Failed(status),
        Err(ProcessError::Interrupted) => {
            observer.require_running()?;
            CheckOutcome::TimedOut(limit)
        }
        Err(ProcessError::Os(error)) => {
            output.add(&error.to_string());
            CheckOutcome::NotStarted
        }
    };
    Ok(CheckResult {
        name: check.name.clone(),
        required: check.required,
        outcome,
        duration: begun.elapsed(),
        output: output.text,
    })
}

fn command(check: &Check) -> Command {
    let mut command = match check.is_script {
        true => {
            let mut command = Command::new("bash");
            command.arg(&check.path);
            command
        }
        false => Command::new(&check.path),
    };
    command.stdin(Stdio::null()).current_dir(Path::new("/"));
    command
}

/// The end of a text.
#[derive(Default)]
struct Tail {
    text: String,
}

impl Tail {
    fn add(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
        let superfluous = self.text.len().saturating_sub(OUTPUT_MAX_BYTES);
        if superfluous > 0 {
            let start = self.text.ceil_char_boundary(superfluous);
            self.text.drain(..start);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use osmith_report::Silent;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(60);

    /// A script: a program that was just written may not start while another thread starts one.
    fn run_script(script: &str, limit: Duration) -> CheckResult {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("10-check");
        std::fs::write(&path, script).unwrap();
        run_check(path, true, limit)
    }

    fn run_check(path: PathBuf, is_script: bool, limit: Duration) -> CheckResult {
        let checks = Checks {
            checks: vec![Check {
                name: "10-check".to_owned(),
                path,
                required: true,
                is_script,
            }],
            left_out: Vec::new(),
        };
        run(&checks, limit, &Silent).unwrap().remove(0)
    }

    #[test]
    fn the_exit_status_decides_and_the_last_words_are_the_reason() {
        let passed = run_script("echo fine\n", LIMIT);
        assert_eq!(
            (passed.outcome, passed.output.as_str()),
            (CheckOutcome::Passed, "fine\n")
        );
        let failed = run_script("echo trying\necho no answer >&2\necho\nexit 3\n", LIMIT);
        assert_eq!(
            failed.reason(),
            "health check '10-check' failed with exit status 3: no answer"
        );
        let killed = run_script("kill -9 $$\n", LIMIT);
        assert!(
            killed.reason().contains("failed: signal: 9"),
            "{}",
            killed.reason()
        );
        let missing = run_check("/no/such/program".into(), false, LIMIT);
        assert_eq!(missing.outcome, CheckOutcome::NotStarted);
        assert!(missing.reason().contains("could not be started: cannot start"));
    }

    #[test]
    fn what_takes_too_long_is_ended_with_all_it_started() {
        let marker = tempfile::NamedTempFile::new().unwrap();
        let path = marker.path().display();
        let script = format!("echo begun\n(sleep 1; echo late > {path}) &\nsleep 60\n");
        let result = run_script(&script, Duration::from_millis(300));
        assert!(matches!(result.outcome, CheckOutcome::TimedOut(_)));
        assert_eq!(
            result.reason(),
            "health check '10-check' did not end within 0 s: begun"
        );
        assert!(result.duration < Duration::from_secs(30));
        std::thread::sleep(Duration::from_millis(1200));
        assert_eq!(std::fs::read(marker.path()).unwrap(), b"");
    }

    #[test]
    fn only_the_end_of_much_output_is_kept() {
        let result = run_script("seq 100000 | sed s/^/é/\n", LIMIT);
        assert!(result.output.len() <= OUTPUT_MAX_BYTES);
        assert!(result.output.ends_with("é99999\né100000\n"));
    }

    #[test]
    fn the_json_names_what_scripts_ask_for() {
        let mut result = run_script("exit 1\n", LIMIT);
        result.duration = Duration::from_millis(1500);
        assert_eq!(
            serde_json::to_string(&result).unwrap(),
            r#"{"name":"10-check","required":true,"outcome":"failed","durationSeconds":1.5,"output":""}"#
        );
    }
}
