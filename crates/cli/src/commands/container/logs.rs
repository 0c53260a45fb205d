//! `osmith logs`.

use std::collections::VecDeque;
use std::io::{ErrorKind, Write};
use std::time::Duration;

use osmith_container::life::Container;
use osmith_container::log::{LogReader, LogRecord};
use osmith_report::{Class, Observer};
use osmith_sys::process::Stream;

use super::containers;
use crate::args::{Global, LogsArgs};
use crate::failure::{CommandFailure, CommandResult};

/// How often a growing log is looked at.
const PAUSE: Duration = Duration::from_millis(50);

pub(crate) fn logs(args: &LogsArgs, global: &Global, observer: &dyn Observer) -> CommandResult {
    let containers = containers(global)?;
    let container = match &args.container {
        Some(name) => containers.find(name)?,
        None => containers.latest()?,
    };
    let mut printer = Printer {
        timestamps: args.timestamps,
        begins_line: true,
    };
    let Some(mut log) = container.log()? else {
        return Ok(());
    };
    for record in last(&mut log, args.tail)? {
        if !printer.print(&record)? {
            return Ok(());
        }
    }
    match args.follow {
        true => follow(&container, &mut log, &mut printer, observer),
        false => Ok(()),
    }
}

/// The records of the last lines that are there now.
fn last(
    log: &mut LogReader,
    lines: Option<usize>,
) -> Result<VecDeque<LogRecord>, Box<dyn osmith_report::Failure>> {
    let mut records = VecDeque::new();
    let mut whole = 0;
    while let Some(record) = log.next_record()? {
        whole += usize::from(record.ends_line());
        records.push_back(record);
        while lines.is_some_and(|lines| whole > lines) {
            let dropped = records.pop_front();
            whole -= usize::from(dropped.is_some_and(|record| record.ends_line()));
        }
    }
    Ok(records)
}

fn follow(
    container: &Container,
    log: &mut LogReader,
    printer: &mut Printer,
    observer: &dyn Observer,
) -> CommandResult {
    loop {
        if observer.interrupted() {
            return Err(CommandFailure::new(Class::Interrupted, "interrupted").into());
        }
        // In this order: nothing is written after the end.
        let has_ended = container.ends_within(PAUSE)?;
        while let Some(record) = log.next_record()? {
            if !printer.print(&record)? {
                return Ok(());
            }
        }
        if has_ended {
            return Ok(());
        }
    }
}

struct Printer {
    timestamps: bool,
    begins_line: bool,
}

impl Printer {
    /// Whether there still is a reader.
    fn print(&mut self, record: &LogRecord) -> Result<bool, CommandFailure> {
        let mut text = Vec::new();
        if self.timestamps && self.begins_line {
            text.extend_from_slice(record.time.as_bytes());
            text.push(b' ');
        }
        text.extend_from_slice(&record.bytes);
        self.begins_line = record.ends_line();
        let written = match record.stream {
            Stream::Stdout => {
                let mut output = std::io::stdout().lock();
                output.write_all(&text).and_then(|()| output.flush())
            }
            Stream::Stderr => std::io::stderr().write_all(&text),
        };
        match written {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
            Err(error) => {
                Err(CommandFailure::new(Class::Environment, "cannot write to standard output").because(error))
            }
        }
    }
}
