//! `osmith status`: what a machine runs.

use std::path::Path;

use osmith_machine::status::{render, status as machine_status};
use osmith_report::{Class, Event, Observer, Severity};

use crate::args::{StatusArgs, StatusFormat};
use crate::commands::images::print;
use crate::failure::{CommandFailure, CommandResult};

pub(crate) fn status(args: &StatusArgs, observer: &dyn Observer) -> CommandResult {
    let mut found = machine_status(Path::new("/"))?;
    if args.booted {
        found.host.status.staged = None;
        found.host.status.rollback = None;
        found.host.status.other_deployments.clear();
    }
    for text in found.notes {
        observer.observe(Event::Message {
            severity: Severity::Note,
            text,
        });
    }
    let failed = |form: &str, error: Box<dyn std::error::Error + Send + Sync>| {
        CommandFailure::new(Class::Internal, format!("cannot write the status as {form}")).because(error)
    };
    match args.format {
        StatusFormat::Humanreadable if !args.json => print(&render(&found.host)),
        StatusFormat::Yaml => {
            let yaml = serde_saphyr::to_string(&found.host).map_err(|error| failed("YAML", error.into()))?;
            print(&yaml)
        }
        _ => {
            let json = found
                .host
                .to_json()
                .map_err(|error| failed("JSON", error.into()))?;
            print(&format!("{json}\n"))
        }
    }
}
