//! `osmith log`: what was done to a machine, by whom, and how it ended.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use osmith_image::rfc3339;
use osmith_machine::log::{self, Actor, LogEntry, LoggedDeployment, LoggedResult, Record};
use osmith_report::{Class, Event, Observer, Severity, printable};

use crate::args::{LogArgs, LogFormat};
use crate::commands::images::print;
use crate::failure::{CommandFailure, CommandResult};

const RECORD: &str = "/sysroot/state/osmith/log.jsonl";
/// Nobody logged in: a service.
const NO_LOGIN: u32 = u32::MAX;
/// As many digits of a deployment tell it from others.
const DIGITS: usize = 12;

pub(crate) fn log(args: &LogArgs, observer: &dyn Observer) -> CommandResult {
    let Record {
        entries,
        damaged_bytes,
    } = log::read(Path::new(RECORD)).map_err(|error| {
        CommandFailure::new(Class::Environment, format!("cannot read '{RECORD}'")).because(error)
    })?;
    if let Some(text) = told_damage(&damaged_bytes) {
        observer.observe(Event::Message {
            severity: Severity::Warning,
            text,
        });
    }
    let first = args.lines.map_or(0, |lines| entries.len().saturating_sub(lines));
    let shown = entries.get(first..).unwrap_or_default();
    match args.format {
        LogFormat::Text if shown.is_empty() => print("Nothing was done to this machine yet.\n"),
        LogFormat::Text => print(&shown.iter().map(line).collect::<String>()),
        LogFormat::Json => print_json(shown),
    }
}

/// That lines are damaged, if some are.
fn told_damage(offsets_bytes: &[u64]) -> Option<String> {
    let first = offsets_bytes.first()?;
    let what = match offsets_bytes.len() {
        1 => "one line is".to_owned(),
        count => format!("{count} lines are"),
    };
    Some(format!(
        "{what} damaged in '{RECORD}' and not shown; the first begins at byte {first}"
    ))
}

fn print_json(entries: &[LogEntry]) -> CommandResult {
    for entry in entries {
        let json = serde_json::to_string(entry).map_err(|error| {
            CommandFailure::new(Class::Internal, "cannot write the record as JSON").because(error)
        })?;
        print(&format!("{json}\n"))?;
    }
    Ok(())
}

/// An operation as text.
fn line(entry: &LogEntry) -> String {
    let result = match entry.result {
        LoggedResult::Success => "done",
        LoggedResult::Failure => "FAILED",
    };
    let mut text = format!(
        "{}  {:<9} {result:<6} by {}",
        entry.time, entry.operation, entry.actor.user
    );
    let places = [("from", &entry.from), ("to", &entry.to)];
    for (word, deployment) in places
        .iter()
        .filter_map(|(word, place)| Some((word, place.as_ref()?)))
    {
        // Writing to a string does not fail.
        let _ = write!(text, ", {word} {}", named(deployment));
    }
    text = printable(&text) + "\n";
    for message in entry.message.iter().flat_map(|message| message.lines()) {
        let _ = writeln!(text, "    {}", printable(message));
    }
    text
}

fn named(deployment: &LoggedDeployment) -> String {
    let short = deployment
        .deployment
        .get(..DIGITS)
        .unwrap_or(&deployment.deployment);
    match (&deployment.image, &deployment.version) {
        (Some(image), Some(version)) => format!("{image} {version} ({short})"),
        (Some(image), None) => format!("{image} ({short})"),
        _ => short.to_owned(),
    }
}

/// Now, as the record writes it.
pub(super) fn now() -> String {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
    rfc3339(since_epoch.map_or(0, |duration| duration.as_secs() as i64))
}

/// Who logged in, also before sudo; else who the process is.
pub(super) fn actor() -> Actor {
    let login = fs::read_to_string("/proc/self/loginuid").ok();
    let login = login
        .and_then(|text| text.trim().parse().ok())
        .filter(|uid| *uid != NO_LOGIN);
    let uid = login.unwrap_or_else(|| rustix::process::geteuid().as_raw());
    let passwd = fs::read("/etc/passwd").unwrap_or_default();
    Actor {
        user: crate::namespace::user_name(&passwd, uid).unwrap_or_else(|| uid.to_string()),
        uid,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operation_is_a_line_and_what_there_is_to_say() {
        let deployment = |digits: &str, image: Option<&str>| LoggedDeployment {
            deployment: digits.repeat(20),
            image: image.map(str::to_owned),
            digest: None,
            version: image.map(|_| "2".to_owned()),
        };
        let entry = LogEntry {
            time: "2026-01-02T03:04:05Z".to_owned(),
            operation: "upgrade".to_owned(),
            actor: Actor {
                user: "ada".to_owned(),
                uid: 1000,
            },
            from: Some(deployment("ab", None)),
            to: Some(deployment("cd", Some("registry.example/os:1"))),
            result: LoggedResult::Success,
            message: Some("one\n\x1b[2Jtwo".to_owned()),
        };
        assert_eq!(
            line(&entry),
            "2026-01-02T03:04:05Z  upgrade   done   by ada, from abababababab, \
             to registry.example/os:1 2 (cdcdcdcdcdcd)\n    one\n    \\u{1b}[2Jtwo\n"
        );
    }
    #[test]
    fn damage_is_told() {
        assert_eq!(told_damage(&[]), None);
        let text = told_damage(&[7]).unwrap();
        assert!(
            text.starts_with("one line is damaged") && text.ends_with("at byte 7"),
            "{text}"
        );
        assert!(told_damage(&[7, 9]).unwrap().starts_with("2 lines are"));
    }
}
