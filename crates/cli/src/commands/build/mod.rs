//! `osmith build`: a Containerfile becomes an image.

mod context;
mod options;
mod output;
mod outside;
mod surroundings;

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read as _};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::{env, fs};

use osmith_build::check::Checked;
use osmith_build::containerfile::Severity;
use osmith_build::plan::{ImageFormat, Platforms};
use osmith_build::{ContainerfileText, Request, Squash, Times, build as build_images, check_request};
use osmith_image::store::{Image, Store};
use osmith_image::{Platform, Reference};
use osmith_report::{Class, Observer};

use super::images::{parse_name, print};
use super::import::seconds_since_1970;
use super::transfer::{Quiet, write_digest};
use crate::args::{BuildArgs, BuildFormat};
use crate::failure::{CommandFailure, CommandResult};
use context::Place;
use output::Output;
use outside::Machines;

/// The names that are looked for in a context, in this order.
const FILE_NAMES: [&str; 2] = ["Containerfile", "Dockerfile"];

pub(crate) fn build(args: &BuildArgs, store: &Store, observer: &dyn Observer) -> CommandResult {
    if let Some(refusal) = args.foreign.refusal() {
        return Err(CommandFailure::new(Class::Usage, refusal.message)
            .hint(refusal.hint)
            .into());
    }
    let platforms = surroundings::platforms(args)?;
    surroundings::require_room(args, &platforms)?;
    let tags = args
        .tag
        .iter()
        .map(|name| parse_name(name))
        .collect::<Result<Vec<_>, _>>()?;
    let manifest = args.manifest.as_deref().map(parse_name).transpose()?;
    let output = args.output.as_deref().map(Output::parse).transpose()?;
    output.iter().try_for_each(Output::require_free)?;
    if let Some(name) = &manifest {
        store.require_index_name(name)?;
    }
    let machines = Machines::new(&args.transfer);
    let place = context::open(&args.context, store, &machines, observer)?;
    let requests = requests(request(args, tags, &place)?, &platforms);
    let quiet = Quiet {
        observer,
        quiet: args.quiet,
    };
    if args.check {
        let checked = requests
            .iter()
            .map(|request| check_request(store, request, &machines, &quiet));
        return told(&checked.collect::<Vec<_>>());
    }
    let built = build_images(store, &requests, &machines, &quiet)?;
    let images: Vec<Image> = built.into_iter().map(|built| built.image).collect();
    if let Some(name) = &manifest {
        store.add_to_index(name, &images)?;
    }
    for image in &images {
        if let Some(output) = &output {
            output.write(image, store, &quiet)?;
        }
        let id = image.id();
        if let Some(path) = &args.iidfile {
            write_digest(path, &id.to_string())?;
        }
        if !matches!(output, Some(Output::Stream)) {
            print(&format!("{id}\n"))?;
        }
    }
    Ok(())
}

/// What is to be built, for each platform.
fn requests(mut request: Request, platforms: &[Platform]) -> Vec<Request> {
    if platforms.is_empty() {
        return vec![request];
    }
    request.is_platform_given = true;
    let for_platform = |platform: &Platform| {
        let mut request = request.clone();
        request.platforms.target = platform.clone();
        request
    };
    platforms.iter().map(for_platform).collect()
}

/// What is to be built for this machine.
fn request(args: &BuildArgs, tags: Vec<Reference>, place: &Place) -> Result<Request, CommandFailure> {
    let build_args = options::build_args(&args.build_arg, &args.build_arg_file)?;
    Ok(Request {
        context: place.directory.clone(),
        ignore_file: args.ignorefile.clone(),
        containerfile: containerfile(args, place)?,
        tags,
        times: times(args, &build_args)?,
        build_args,
        target: args.target.clone(),
        first_base: args.from.clone(),
        squash: match (args.squash, args.squash_all) {
            (_, true) => Squash::All,
            (true, false) => Squash::New,
            (false, false) => Squash::Nothing,
        },
        pull: args.pull.into(),
        contexts: options::contexts(&args.build_context)?,
        secrets: options::secrets(&args.secret)?,
        agents: options::agents(&args.ssh)?,
        format: match args.format {
            BuildFormat::Oci => ImageFormat::Oci,
            BuildFormat::Docker => ImageFormat::Docker,
        },
        no_cache: args.no_cache,
        jobs: args.jobs.map_or_else(host_parallelism, NonZeroUsize::get),
        platforms: Platforms {
            build: Platform::host(),
            target: Platform::host(),
        },
        is_platform_given: false,
        created: seconds_since_1970(),
        annotations: options::pairs("--annotation", &args.annotation)?,
        inherits_annotations: args.inherit_annotations,
        unset_annotations: surroundings::unset_annotations(args),
        labels: options::pairs("--label", &args.label)?,
        unset_labels: args.unsetlabel.clone(),
        omits_history: args.omit_history,
        name_service: surroundings::name_service(args)?,
        run: surroundings::run_settings(args)?,
        env: args.env.iter().filter_map(|text| options::pair(text)).collect(),
        unset_env: args.unsetenv.clone(),
    })
}

/// Prints what was found, what is the same for several platforms once; a failure if the file cannot be built.
fn told(checked: &[Checked]) -> CommandResult {
    let mut texts: Vec<String> = Vec::new();
    for one in checked {
        let count = |severity| {
            let found = one.warnings.iter();
            found
                .filter(|warning| warning.finding.severity == severity)
                .count()
        };
        let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
        let text = format!("{}{warnings} warnings, {errors} errors\n", one.text());
        if !texts.contains(&text) {
            texts.push(text);
        }
    }
    print(&texts.concat())?;
    match checked.iter().any(Checked::has_failed) {
        false => Ok(()),
        true => Err(CommandFailure::new(Class::Input, "the Containerfile is not as it should be").into()),
    }
}

/// What the options say, else a build argument or variable of the name that tools agree on.
fn times(args: &BuildArgs, build_args: &BTreeMap<String, String>) -> Result<Times, CommandFailure> {
    const EPOCH: &str = "SOURCE_DATE_EPOCH";
    if let Some(seconds) = args.timestamp {
        return Ok(Times::All(seconds));
    }
    let text = build_args.get(EPOCH).cloned().or_else(|| env::var(EPOCH).ok());
    let epoch = match (args.source_date_epoch, text) {
        (Some(seconds), _) => Some(seconds),
        (None, Some(text)) => Some(text.parse().map_err(|_| {
            CommandFailure::new(Class::Usage, format!("{EPOCH} is '{text}'"))
                .hint("expected seconds since 1970")
        })?),
        (None, None) => None,
    };
    Ok(epoch.map_or(Times::Own, |seconds| Times::Epoch {
        seconds,
        clamps_files: args.rewrite_timestamp,
    }))
}

/// One Containerfile, or several one after the other.
fn containerfile(args: &BuildArgs, place: &Place) -> Result<ContainerfileText, CommandFailure> {
    if let (Some(bytes), true) = (&place.containerfile, args.file.is_empty()) {
        return Ok(ContainerfileText {
            name: "Containerfile".to_owned(),
            bytes: bytes.clone(),
            path: None,
        });
    }
    // A file is looked for from here, unless the context came from elsewhere.
    let here = |path: &PathBuf| match place.directory == args.context || path == Path::new("-") {
        true => path.clone(),
        false => place.directory.join(path),
    };
    let paths = match args.file.as_slice() {
        [] => vec![find(&place.directory)?],
        paths => paths.iter().map(here).collect(),
    };
    let mut text: Option<ContainerfileText> = None;
    for path in paths {
        let next = read_containerfile(path)?;
        text = Some(match text {
            None => next,
            Some(mut text) => {
                if !text.bytes.ends_with(b"\n") {
                    text.bytes.push(b'\n');
                }
                text.bytes.extend(next.bytes);
                text.name += &format!("+{}", next.name);
                text
            }
        });
    }
    text.ok_or_else(|| CommandFailure::new(Class::Internal, "no Containerfile"))
}

fn read_containerfile(path: PathBuf) -> Result<ContainerfileText, CommandFailure> {
    if path == Path::new("-") {
        let mut bytes = Vec::new();
        std::io::stdin().read_to_end(&mut bytes).map_err(|error| {
            CommandFailure::new(Class::Input, "cannot read the Containerfile from standard input")
                .because(error)
        })?;
        return Ok(ContainerfileText {
            name: "Containerfile".to_owned(),
            bytes,
            path: None,
        });
    }
    if path.extension().is_some_and(|extension| extension == "in") {
        let message = format!("'{}' is to be read by the C preprocessor first", path.display());
        let stem = path.with_extension("");
        let hint = format!("run it: cpp -E -P {} -o {}", path.display(), stem.display());
        return Err(CommandFailure::new(Class::Input, message).hint(&hint));
    }
    let bytes = fs::read(&path).map_err(|error| unreadable(&path, error))?;
    Ok(ContainerfileText {
        name: path.display().to_string(),
        bytes,
        path: Some(path),
    })
}

fn unreadable(path: &Path, error: std::io::Error) -> CommandFailure {
    let message = format!("cannot read the Containerfile '{}'", path.display());
    match error.kind() {
        ErrorKind::NotFound => CommandFailure::new(Class::NotFound, message)
            .because(error)
            .hint("-f FILE is looked for from the current directory, not from the build context"),
        _ => CommandFailure::new(Class::Environment, message)
            .because(error)
            .hint("check the owner and the permissions of the file"),
    }
}

fn find(context: &Path) -> Result<PathBuf, CommandFailure> {
    for path in FILE_NAMES.map(|name| context.join(name)) {
        match fs::metadata(&path) {
            Ok(_) => return Ok(path),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => {
                let message = format!("cannot look into the build context '{}'", context.display());
                let failure = CommandFailure::new(Class::Environment, message).because(error);
                return Err(failure.hint("check the owner and the permissions of the directory"));
            }
        }
    }
    let message = format!("there is no Containerfile in '{}'", context.display());
    Err(CommandFailure::new(Class::NotFound, message).hint("name it with -f FILE"))
}

fn host_parallelism() -> usize {
    std::thread::available_parallelism().map_or(1, NonZeroUsize::get)
}
