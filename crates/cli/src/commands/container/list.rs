//! `osmith ps`.

use osmith_container::life::{Container, State};
use osmith_container::specification::{Port, Transport};
use serde_json::{Value, json};

use super::containers;
use crate::args::{Global, ListFormat, PsArgs};
use crate::commands::images::{json_text, print, table};
use crate::commands::import::seconds_since_1970;
use crate::failure::CommandResult;

/// More of a command than this is not shown.
const COMMAND_MAX_CHARACTERS: usize = 24;
const NS_PER_SECOND: u64 = 1_000_000_000;

pub(crate) fn ps(args: &PsArgs, global: &Global) -> CommandResult {
    let mut shown = Vec::new();
    for container in containers(global)?.list()?.into_iter().rev() {
        let state = container.state()?;
        if args.all || !matches!(state, State::Ended(_)) {
            shown.push((container, state));
        }
    }
    let text = match (args.format, args.quiet) {
        (ListFormat::Json, _) => json_text(&Value::Array(
            shown
                .iter()
                .map(|(container, state)| listing(container, state))
                .collect(),
        ))?,
        (ListFormat::Table, true) => shown
            .iter()
            .map(|(container, _)| format!("{}\n", container.short_id()))
            .collect(),
        (ListFormat::Table, false) => table(&rows(&shown)),
    };
    print(&text)
}

/// podman's columns.
fn rows(shown: &[(Container, State)]) -> Vec<[String; 7]> {
    let titles = [
        "CONTAINER ID",
        "IMAGE",
        "COMMAND",
        "CREATED",
        "STATUS",
        "PORTS",
        "NAMES",
    ];
    let mut rows = vec![titles.map(str::to_owned)];
    for (container, state) in shown {
        let record = container.record();
        let specification = &record.specification;
        let ports: Vec<String> = specification.ports.iter().map(published).collect();
        rows.push([
            container.short_id(),
            specification.image.name.clone(),
            shortened(&specification.argv.join(" ")),
            format!("{} ago", age(record.created_ns)),
            status(state),
            ports.join(", "),
            record.name.clone(),
        ]);
    }
    rows
}

fn shortened(text: &str) -> String {
    let plain = osmith_report::printable(text);
    match plain.chars().count() > COMMAND_MAX_CHARACTERS {
        true => plain.chars().take(COMMAND_MAX_CHARACTERS - 3).collect::<String>() + "...",
        false => plain,
    }
}

fn status(state: &State) -> String {
    match state {
        State::Starting => "Starting".to_owned(),
        State::Running(lifetime) => format!("Up {}", age(lifetime.started_ns)),
        State::Ended(ended) => match (ended.exit_code, ended.ended_ns) {
            (None, _) => "Created".to_owned(),
            (Some(code), Some(end)) => format!("Exited ({code}) {} ago", age(end)),
            (Some(code), None) => format!("Exited ({code})"),
        },
    }
}

fn published(port: &Port) -> String {
    let address = port
        .address
        .map_or("0.0.0.0".to_owned(), |address| address.to_string());
    format!("{address}:{}->{}/{}", port.host, port.container, transport(port))
}

fn transport(port: &Port) -> &'static str {
    match port.transport {
        Transport::Tcp => "tcp",
        Transport::Udp => "udp",
    }
}

/// How long ago that was, in the largest unit that fits.
fn age(time_ns: u64) -> String {
    let now = u64::try_from(seconds_since_1970()).unwrap_or_default();
    in_words(now.saturating_sub(time_ns / NS_PER_SECOND))
}

fn in_words(seconds: u64) -> String {
    let units = [("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1)];
    let fitting = units.iter().find(|(_, length)| seconds >= *length);
    let (unit, count) = fitting.map_or(("second", 0), |(unit, length)| (*unit, seconds / length));
    match count {
        1 => format!("1 {unit}"),
        count => format!("{count} {unit}s"),
    }
}

/// What podman's `ps --format json` prints, for the fields that mean something here.
fn listing(container: &Container, state: &State) -> Value {
    let record = container.record();
    let specification = &record.specification;
    let seconds = |time_ns: Option<u64>| time_ns.map(|time_ns| time_ns / NS_PER_SECOND);
    let (name, pid, started_ns, ended) = match state {
        State::Starting => ("starting", None, None, None),
        State::Running(lifetime) => (
            "running",
            Some(lifetime.process.pid),
            Some(lifetime.started_ns),
            None,
        ),
        State::Ended(ended) if ended.exit_code.is_none() => ("created", None, None, None),
        State::Ended(ended) => ("exited", None, ended.started_ns, Some(ended)),
    };
    let port = |port: &Port| {
        json!({
            "host_ip": port.address.map(|address| address.to_string()).unwrap_or_default(),
            "container_port": port.container,
            "host_port": port.host,
            "range": 1,
            "protocol": transport(port),
        })
    };
    json!({
        "Id": container.id(),
        "Names": [record.name],
        "Image": specification.image.name,
        "ImageID": specification.image.id.hex(),
        "Command": specification.argv,
        "Created": record.created_ns / NS_PER_SECOND,
        "State": name,
        "Status": status(state),
        "Pid": pid.unwrap_or_default(),
        "StartedAt": seconds(started_ns),
        "Exited": ended.is_some(),
        "ExitCode": ended.and_then(|ended| ended.exit_code).unwrap_or_default(),
        "ExitedAt": seconds(ended.and_then(|ended| ended.ended_ns)),
        "AutoRemove": specification.remove_when_ended,
        "Ports": specification.ports.iter().map(port).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_in_the_largest_unit_that_fits() {
        for (seconds, words) in [
            (0, "0 seconds"),
            (1, "1 second"),
            (119, "1 minute"),
            (7_200, "2 hours"),
            (200_000, "2 days"),
        ] {
            assert_eq!(in_words(seconds), words);
        }
    }

    #[test]
    fn long_commands_are_cut() {
        assert_eq!(shortened("sh -c true"), "sh -c true");
        assert_eq!(shortened(&"x".repeat(30)).len(), COMMAND_MAX_CHARACTERS);
    }
}
