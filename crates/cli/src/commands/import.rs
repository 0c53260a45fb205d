//! `osmith import`: a root file system archive becomes an image.

use std::fs::File;
use std::io::{IsTerminal as _, Read};
use std::path::Path;
use std::time::SystemTime;

use osmith_image::store::Store;
use osmith_image::{ImportError, ImportOptions, import as import_archive};
use osmith_image::{RuntimeConfig, go_architecture, host_architecture, rfc3339, tar::Limits};
use osmith_report::{Class, Failure, Interrupted, Observer, StepId};

use super::images::{parse_name, print};
use super::single_step;
use crate::args::ImportArgs;
use crate::failure::{CommandFailure, CommandResult};

pub(crate) fn import(args: &ImportArgs, store: &Store, observer: &dyn Observer) -> CommandResult {
    let mut config = RuntimeConfig::default();
    for instruction in &args.change {
        config.change(instruction)?;
    }
    let names = args.name.as_deref().map(parse_name).transpose()?;
    let options = ImportOptions {
        names: names.into_iter().collect(),
        architecture: match &args.arch {
            Some(name) => go_architecture(name).to_owned(),
            None => host_architecture().to_owned(),
        },
        created: Some(rfc3339(seconds_since_1970())),
        message: args
            .message
            .clone()
            .unwrap_or_else(|| format!("Imported from {}", args.archive.display())),
        config,
        limits: Limits::default(),
    };
    let (archive, size_bytes) = open(&args.archive)?;
    let image = single_step(
        observer,
        format!("import {}", args.archive.display()),
        |step: StepId| {
            import_archive(archive, size_bytes, store, options, observer, step).map_err(
                |error| match observer.require_running() {
                    // Ctrl-C ends the command before the pipe, too, and cuts the archive off.
                    Err(Interrupted) => CommandFailure::new(Class::Interrupted, "interrupted").into(),
                    Ok(()) => failed(&args.archive, error).into(),
                },
            )
        },
    )?;
    print(&format!("{}\n", image.id()))
}

fn failed(archive: &Path, error: ImportError) -> CommandFailure {
    let name = match archive == Path::new("-") {
        true => "standard input".to_owned(),
        false => format!("'{}'", archive.display()),
    };
    let hints = error.hints();
    let failure = CommandFailure::new(error.class(), format!("cannot import {name}")).because(error);
    hints.into_iter().fold(failure, CommandFailure::hint)
}

/// The archive and its length, if it has one.
fn open(path: &Path) -> Result<(Box<dyn Read + Send>, Option<u64>), CommandFailure> {
    if path != Path::new("-") {
        let failed = |error| {
            CommandFailure::new(Class::NotFound, format!("cannot open '{}'", path.display())).because(error)
        };
        let file = File::open(path).map_err(failed)?;
        let size_bytes = file.metadata().map_err(failed)?.len();
        return Ok((Box::new(file), Some(size_bytes)));
    }
    if std::io::stdin().is_terminal() {
        return Err(CommandFailure::new(Class::Usage, "standard input is a terminal, not an archive")
            .hint("pipe an archive into the command: mmdebstrap --variant=minbase trixie | osmith import - NAME"));
    }
    Ok((Box::new(std::io::stdin()), None))
}

pub(crate) fn seconds_since_1970() -> i64 {
    let elapsed = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(elapsed.as_secs()).unwrap_or_default()
}
