//! `osmith install kickstart` and `osmith kickstart explain`: on a system that runs.

use std::path::{Path, PathBuf};

use osmith_image::Reference;
use osmith_image::store::Store;
use osmith_installer::boot_options::KickstartSource;
use osmith_installer::disks::{self, Disk};
use osmith_installer::fetch::{Access, Fetched, Fetcher};
use osmith_installer::plan::{Facts, Source, plan};
use osmith_installer::run::{Images, KickstartFile, Session};
use osmith_kickstart::{KickstartError, MissingIncludes, ParseOptions, View, parse};
use osmith_report::{Class, Event, Failure, Observer, Severity};

use super::images::MachineImages;
use super::includes::FetchedIncludes;
use super::{HOST, memory_bytes, processors, seed};
use crate::args::{ExplainArgs, InstallKickstartArgs};
use crate::commands::images::{parse_name, print};
use crate::commands::kickstart;
use crate::failure::{CommandFailure, CommandResult};
use crate::interrupt;

/// What stands for the name of an image that only the medium knows.
const IMAGE_OF_MEDIUM: &str = "localhost/image-of-the-medium";
/// What a machine has that nobody describes.
const USUAL_MEMORY_BYTES: u64 = 4 << 30;

pub(crate) fn install_kickstart(
    args: &InstallKickstartArgs,
    store: &Store,
    observer: &dyn Observer,
) -> CommandResult {
    let host = Path::new(HOST);
    let fetched = fetched(&args.file)?;
    let file = KickstartFile {
        name: fetched.name.clone(),
        text: fetched.text.clone(),
    };
    let access = Access {
        interrupted: interrupt::asked(),
        ..Access::default()
    };
    let fetcher = Fetcher::new(host, &access, Vec::new(), observer);
    let image = args.image.as_deref().map(parse_name).transpose()?;
    let session = Session {
        host,
        file: &file,
        is_strict: args.strict,
        seed: seed(args.seed)?,
        kernel_arguments: Vec::new(),
        connections: Vec::new(),
        interfaces: None,
        environment: Vec::new(),
        processors: processors(),
        log: None,
        // The disk may be another machine's.
        sets_boot_order: false,
        observer,
    };
    let kickstart = session.read(&mut FetchedIncludes::of(&fetcher, &fetched))?;
    let facts = Facts {
        disks: match args.disk.is_empty() {
            true => disks::probe(host, None),
            false => args
                .disk
                .iter()
                .map(|(name, path)| file_as_disk(name, path))
                .collect::<Result<_, _>>()?,
        },
        memory_bytes: memory_bytes(host),
        medium: match &image {
            Some(name) => Some(
                store
                    .resolve(name)?
                    .unwrap_or_else(|| name.qualified())
                    .to_string(),
            ),
            None => None,
        },
    };
    let installation = session.plan(&kickstart, &facts)?;
    print(&installation.to_string())?;
    if args.dry_run {
        return Ok(());
    }
    let name: Reference = match (&installation.source, image) {
        (Source::Medium, Some(name)) => name,
        (Source::Medium, None) => return Err(no_image().into()),
        (Source::Image(source), _) => {
            let fetched = MachineImages::of_this_system().fetch(source, store, observer)?;
            let name = osmith_machine::deploy::image_name(&fetched.manifest_digest);
            name.ok_or_else(no_image)?
        }
    };
    let disk = installation.disk.name.clone();
    let done = session.install(&kickstart, installation, (store, &name));
    if done.is_err() {
        session.run_on_error(&kickstart);
    }
    done?;
    if kickstart.end.is_some() {
        observer.observe(Event::Message {
            severity: Severity::Note,
            text: "this machine goes on: reboot, poweroff and halt are for installation media".to_owned(),
        });
    }
    print(&format!("{disk} starts the new system\n"))
}

pub(crate) fn explain(args: &ExplainArgs, observer: &dyn Observer) -> CommandResult {
    let host = Path::new(HOST);
    let fetched = fetched(&args.file)?;
    let access = Access::default();
    let fetcher = Fetcher::new(host, &access, Vec::new(), observer);
    let options = ParseOptions {
        missing_includes: MissingIncludes::Tolerate,
        ..ParseOptions::default()
    };
    let parsed = parse(
        &fetched.name,
        &fetched.text,
        &options,
        &mut FetchedIncludes::of(&fetcher, &fetched),
    );
    let warnings = parsed.problems.clone();
    let kickstart = parsed.require_accepted(View::Installer, false)?;
    let facts = Facts {
        disks: args
            .disks
            .iter()
            .map(|(name, size)| Disk::described(name, *size))
            .collect(),
        memory_bytes: args.memory.unwrap_or(USUAL_MEMORY_BYTES),
        medium: Some(IMAGE_OF_MEDIUM.to_owned()),
    };
    let installation = plan(&fetched.name, &kickstart, &facts).map_err(KickstartError)?;
    for warning in warnings.iter().chain(&installation.warnings) {
        observer.observe(Event::Message {
            severity: Severity::Warning,
            text: warning.rendered(),
        });
    }
    print(&installation.to_string())
}

fn fetched(path: &Path) -> Result<Fetched, Box<dyn Failure>> {
    let (name, text) = kickstart::read(path)?;
    // What it includes may be beside it.
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    Ok(Fetched {
        text,
        source: KickstartSource::File {
            path: path.display().to_string(),
        },
        name,
    })
}

/// A file in the place of a disk.
fn file_as_disk(name: &str, path: &PathBuf) -> Result<Disk, CommandFailure> {
    let failed = |error| {
        CommandFailure::new(Class::NotFound, format!("cannot read '{}'", path.display()))
            .because(error)
            .hint("'truncate -s 20G FILE' makes a file in the place of a disk")
    };
    let file = std::fs::File::open(path).map_err(failed)?;
    let size_bytes = file.metadata().map_err(failed)?.len();
    Ok(Disk {
        path: path.clone(),
        contents: disks::contents(&file, size_bytes),
        ..Disk::described(name, size_bytes)
    })
}

fn no_image() -> CommandFailure {
    CommandFailure::new(Class::Usage, "the Kickstart file names no image")
        .hint("write bootc or ostreecontainer, or name an image of the store with --image")
}
