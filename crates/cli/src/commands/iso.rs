//! `osmith iso embed-kickstart`: a Kickstart file comes into an ISO that is finished.

use std::fs::File;
use std::path::{Path, PathBuf};

use osmith_disk::medium::embed_kickstart;
use osmith_kickstart::{MissingIncludes, NoIncludes, ParseOptions, View, parse};
use osmith_report::{Class, Event, Observer, Severity};
use osmith_sys::file::{NewFile, copy_contents};

use super::kickstart;
use crate::args::EmbedKickstartArgs;
use crate::failure::{CommandFailure, CommandResult};

pub(crate) fn embed(args: &EmbedKickstartArgs, observer: &dyn Observer) -> CommandResult {
    let text = match &args.kickstart {
        Some(path) => Some(checked(path, observer)?),
        None => None,
    };
    let output = args.output.as_ref().unwrap_or(&args.iso);
    let may_replace = args.output.is_none() || args.force;
    if !may_replace && output.symlink_metadata().is_ok() {
        let text = format!("the output '{}' exists", output.display());
        let failure = CommandFailure::new(Class::Conflict, text);
        return Err(failure.hint("--force replaces it").into());
    }
    let failed = |operation: &str, path: &Path| {
        let text = format!("cannot {operation} '{}'", path.display());
        move |error: std::io::Error| CommandFailure::new(Class::Environment, text).because(error)
    };
    let iso = File::open(&args.iso).map_err(failed("open", &args.iso))?;
    let parent = match output.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    let folder = File::open(&parent).map_err(failed("open", &parent))?;
    let handle = folder.try_clone().map_err(failed("open", &parent))?;
    let mut new = NewFile::create(handle, 0o644).map_err(failed("create a file in", &parent))?;
    copy_contents(&iso, new.file())
        .map_err(|error| CommandFailure::new(Class::Environment, "cannot copy the ISO").because(error))?;
    embed_kickstart(new.file(), text.as_deref().map(str::as_bytes))?;
    new.file().sync_all().map_err(failed("write", output))?;
    let name = output.file_name().unwrap_or_default();
    let named = match may_replace {
        true => new.replace(&folder, name),
        false => new.create_new(&folder, name),
    };
    named.map_err(failed("write", output))?;
    folder.sync_all().map_err(failed("write", &parent))?;
    Ok(())
}

/// The text of a Kickstart file that an installer accepts; what it includes is there when it installs.
fn checked(path: &Path, observer: &dyn Observer) -> Result<String, Box<dyn osmith_report::Failure>> {
    let (name, text) = kickstart::read(path)?;
    let options = ParseOptions {
        missing_includes: MissingIncludes::Tolerate,
        ..ParseOptions::default()
    };
    let parsed = parse(&name, &text, &options, &mut NoIncludes);
    for problem in &parsed.problems {
        if parsed.is_accepted(View::Installer, false) {
            observer.observe(Event::Message {
                severity: Severity::Warning,
                text: problem.rendered(),
            });
        }
    }
    parsed.require_accepted(View::Installer, false)?;
    Ok(text)
}
