//! `osmith build`: a Containerfile becomes an image.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read as _};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::{env, fs};

use osmith_build::plan::{ImageFormat, Platforms};
use osmith_build::{ContainerfileText, NameService, Request, build as build_image};
use osmith_image::store::Store;
use osmith_image::{ImageConfig, host_architecture};
use osmith_report::{Class, Observer};

use super::images::{parse_name, print};
use super::import::seconds_since_1970;
use crate::args::BuildArgs;
use crate::failure::{CommandFailure, CommandResult};

/// The names that are looked for in a context, in this order.
const FILE_NAMES: [&str; 2] = ["Containerfile", "Dockerfile"];
const CONTEXT_HINT: &str =
    "the last argument is the directory that COPY reads from; -f FILE names a Containerfile elsewhere";

pub(crate) fn build(args: &BuildArgs, store: &Store, observer: &dyn Observer) -> CommandResult {
    let tags = args
        .tag
        .iter()
        .map(|name| parse_name(name))
        .collect::<Result<Vec<_>, _>>()?;
    let built = build_image(
        store,
        &Request {
            context: require_context(&args.context)?,
            containerfile: containerfile(args)?,
            tags,
            build_args: build_args(&args.build_arg),
            target: args.target.clone(),
            squash: args.squash,
            contexts: BTreeMap::new(),
            secrets: BTreeMap::new(),
            agents: BTreeMap::new(),
            format: ImageFormat::Oci,
            no_cache: args.no_cache,
            jobs: args.jobs.map_or_else(host_parallelism, NonZeroUsize::get),
            platforms: platforms(),
            is_platform_given: false,
            created: seconds_since_1970(),
            timestamp: args.timestamp,
            name_service: NameService {
                resolv_conf: fs::read("/etc/resolv.conf").unwrap_or_default(),
                hosts: fs::read("/etc/hosts").unwrap_or_default(),
            },
        },
        observer,
    )?;
    print(&format!("{}\n", built.image.id()))
}

fn require_context(path: &Path) -> Result<PathBuf, CommandFailure> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => Ok(path.to_owned()),
        Ok(_) => Err(CommandFailure::new(
            Class::Usage,
            format!("the build context '{}' is no directory", path.display()),
        )
        .hint(CONTEXT_HINT)),
        Err(error) => Err(CommandFailure::new(
            Class::NotFound,
            format!("cannot open the build context '{}'", path.display()),
        )
        .because(error)
        .hint(CONTEXT_HINT)),
    }
}

fn containerfile(args: &BuildArgs) -> Result<ContainerfileText, CommandFailure> {
    if args.file.as_deref() == Some(Path::new("-")) {
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
    let path = args.file.clone().map_or_else(|| find(&args.context), Ok)?;
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

/// `NAME=VALUE`, or `NAME` with the value the environment has; a name without any value is not set, as in podman.
fn build_args(given: &[String]) -> BTreeMap<String, String> {
    let pair = |text: &String| match text.split_once('=') {
        Some((name, value)) => Some((name.to_owned(), value.to_owned())),
        None => env::var(text).ok().map(|value| (text.clone(), value)),
    };
    given.iter().filter_map(pair).collect()
}

fn host_parallelism() -> usize {
    std::thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

fn platforms() -> Platforms {
    let host = ImageConfig::new(host_architecture(), "linux").platform();
    Platforms {
        build: host.clone(),
        target: host,
    }
}
