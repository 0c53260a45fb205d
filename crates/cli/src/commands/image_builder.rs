//! This program under the name `bootc-image-builder`.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::lchown;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser as _;
use osmith_config::Configuration;
use osmith_disk::{Compression, Destination, ImageType, Plan, Spec, execute, plan};
use osmith_image::store::{Access, Store};
use osmith_image::{Platform, go_architecture};
use osmith_machine::install::is_unified;
use osmith_report::{Class, Failure, Observer};
use osmith_sys::file::NewFile;

use super::disk::image_type;
use super::images::{json_text, parse_name, print};
use crate::args::{Global, ImageBuilder, Owner};
use crate::failure::{self, CommandFailure, CommandResult};
use crate::progress::Console;
use crate::{configuration, interrupt, location};

/// The name under which this program is bootc-image-builder.
pub(crate) const NAME: &str = "bootc-image-builder";
/// Where its container finds a configuration.
const CONFIGURATIONS: [&str; 2] = ["/config.toml", "/config.json"];

/// Does what the command line asks for. Every failure has the exit status 1, as upstream's.
pub(crate) fn main() -> ExitCode {
    let arguments = match ImageBuilder::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // A reader that went away must not become a failure.
            let _ = error.print();
            return ExitCode::from(u8::from(error.use_stderr()));
        }
    };
    if let Err(error) = interrupt::listen() {
        let _ = writeln!(io::stderr(), "error: cannot listen for signals: {error}");
        return ExitCode::FAILURE;
    }
    let console = Console::new(arguments.progress_mode(), interrupt::asked());
    match run(&arguments, &console) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure::report(failure.as_ref(), &console);
            ExitCode::FAILURE
        }
    }
}

impl ImageBuilder {
    fn progress_mode(&self) -> crate::args::ProgressMode {
        match self.verbose {
            true => crate::args::ProgressMode::Plain,
            false => self.progress.mode(),
        }
    }
}

fn usage(what: impl Into<String>, hint: &str) -> Box<dyn Failure> {
    CommandFailure::new(Class::Usage, what.into()).hint(hint).into()
}

fn run(arguments: &ImageBuilder, observer: &dyn Observer) -> CommandResult {
    let words: Vec<&str> = arguments.words.iter().map(String::as_str).collect();
    if arguments.version || words == ["version"] {
        let version = env!("CARGO_PKG_VERSION");
        return print(&format!(
            "build_revision: osmith-{version}\nbuild_time: unknown\nbuild_tainted: false\n"
        ));
    }
    match words.as_slice() {
        ["build", image] | [image] => build(arguments, image, observer),
        ["manifest", image] => manifest(arguments, image),
        [] => Err(usage(
            "no image is named",
            "bootc-image-builder --type qcow2 IMAGE",
        )),
        [verb, _] => Err(usage(
            format!("there is no command '{verb}'"),
            "there are build, manifest and version",
        )),
        _ => Err(usage(
            "one image is expected",
            "bootc-image-builder --type qcow2 IMAGE",
        )),
    }
}

fn build(arguments: &ImageBuilder, image: &str, observer: &dyn Observer) -> CommandResult {
    let store = open_store()?;
    let plan = planned(arguments, image, &store)?;
    let destination = Destination {
        directory: &arguments.output,
        overwrite: true,
        processors: std::thread::available_parallelism().map_or(1, usize::from),
    };
    let written = execute(&plan, &store, &destination, observer)?;
    write_manifest(arguments, &plan)?;
    if let Some(owner) = arguments.chown {
        give(&arguments.output, owner)?;
    }
    let paths = written
        .iter()
        .map(|output| format!("{}\n", output.path.display()));
    print(&paths.collect::<String>())
}

fn manifest(arguments: &ImageBuilder, image: &str) -> CommandResult {
    print(&json_text(&planned(arguments, image, &open_store()?)?)?)
}

fn open_store() -> Result<Store, Box<dyn Failure>> {
    let global = Global {
        store: std::env::var_os("OSMITH_STORE").map(PathBuf::from),
        progress: crate::args::ProgressMode::Auto,
    };
    Ok(Store::open(&location::store(&global)?, Access::ReadOnly)?)
}

fn planned(arguments: &ImageBuilder, image: &str, store: &Store) -> Result<Plan, Box<dyn Failure>> {
    require_supported(arguments)?;
    let name = parse_name(image)?;
    let platform = arguments
        .target_arch
        .as_deref()
        .map(|wanted| Platform::new("linux", go_architecture(wanted)));
    let stored = store.image_for(&name, platform.as_ref().unwrap_or(&Platform::host()))?;
    let architecture = &stored.config.architecture;
    if let Some(wanted) = arguments
        .target_arch
        .as_deref()
        .filter(|wanted| go_architecture(wanted) != architecture)
    {
        let what = format!("the image '{name}' is for {architecture}, not for {wanted}");
        return Err(usage(
            what,
            "pull it for that processor: osmith pull --platform linux/ARCH IMAGE",
        ));
    }
    let configuration = match configuration_file(arguments)? {
        Some(path) => configuration::read(&path)?,
        None => Configuration::default(),
    };
    let spec = Spec {
        follows: store.resolve(&name)?.unwrap_or_else(|| name.qualified()),
        image: name,
        platform,
        configuration,
        types: types(arguments),
        size_bytes: None,
        seed: arguments.seed,
        // What upstream writes, and every program reads.
        compression: Compression::Zlib,
        kernel_arguments: match is_unified(&stored.tree(store)?)? {
            true => Vec::new(),
            false => kernel_arguments(arguments, architecture),
        },
    };
    Ok(plan(store, &spec)?)
}

fn types(arguments: &ImageBuilder) -> Vec<ImageType> {
    let mut types: Vec<ImageType> = arguments
        .types
        .iter()
        .filter_map(|wanted| image_type(*wanted))
        .collect();
    types.sort_unstable();
    types.dedup();
    types
}

fn kernel_arguments(arguments: &ImageBuilder, architecture: &str) -> Vec<String> {
    let serial = match architecture {
        "arm64" => "console=ttyAMA0",
        _ => "console=ttyS0",
    };
    match arguments.no_default_kernel_args {
        true => Vec::new(),
        false => vec!["console=tty0".to_owned(), serial.to_owned()],
    }
}

/// Makes sure that nothing is asked for that would quietly not happen.
fn require_supported(arguments: &ImageBuilder) -> Result<(), Box<dyn Failure>> {
    if let Some(kind) = arguments.rootfs.as_deref().filter(|kind| *kind != "ext4") {
        let what = format!("the root file system cannot be {kind}: osmith writes ext4");
        let hint = "leave --rootfs out; 'osmith install to-filesystem' installs into an xfs or btrfs that is mounted";
        return Err(usage(what, hint));
    }
    let upload = [
        &arguments.aws_region,
        &arguments.aws_bucket,
        &arguments.aws_ami_name,
    ];
    if upload.iter().any(|option| option.is_some()) {
        let hint = "leave the --aws options out: image/ami.json says what to tell Amazon's own command line";
        return Err(usage("osmith uploads nothing", hint));
    }
    if arguments.local == Some(false) {
        let hint = "osmith pull IMAGE fetches it first";
        return Err(usage(
            "the image must be in osmith's store: --local=false is not possible",
            hint,
        ));
    }
    Ok(())
}

fn configuration_file(arguments: &ImageBuilder) -> Result<Option<PathBuf>, Box<dyn Failure>> {
    if arguments.config.is_some() {
        return Ok(arguments.config.clone());
    }
    let mut found = CONFIGURATIONS
        .iter()
        .map(PathBuf::from)
        .filter(|path| path.exists());
    match (found.next(), found.next()) {
        (Some(_), Some(_)) => Err(usage(
            format!(
                "there are two configurations: {} and {}",
                CONFIGURATIONS[0], CONFIGURATIONS[1]
            ),
            "remove one, or name one with --config FILE",
        )),
        (first, _) => Ok(first),
    }
}

/// Writes what was planned beside the outputs, as upstream does: `manifest-qcow2-raw.json`.
fn write_manifest(arguments: &ImageBuilder, plan: &Plan) -> CommandResult {
    let types: Vec<String> = types(arguments).iter().map(ToString::to_string).collect();
    let path = arguments
        .output
        .join(format!("manifest-{}.json", types.join("-")));
    let text = json_text(plan)?;
    let write = || {
        let directory = fs::File::open(&arguments.output)?;
        let mut file = NewFile::create(directory, 0o644)?;
        file.file().write_all(text.as_bytes())?;
        file.file().sync_all()?;
        file.replace(rustix::fs::CWD, &path)
    };
    write().map_err(|error| cannot("write", &path, error))
}

fn cannot(operation: &str, path: &Path, error: io::Error) -> Box<dyn Failure> {
    let what = format!("cannot {operation} '{}'", path.display());
    CommandFailure::new(Class::Environment, what)
        .because(error)
        .into()
}

/// Changes the owner of a directory and of all in it; links are not followed.
fn give(path: &Path, owner: Owner) -> CommandResult {
    let gid = owner.gid.unwrap_or_else(|| rustix::process::getgid().as_raw());
    lchown(path, Some(owner.uid), Some(gid)).map_err(|error| cannot("change the owner of", path, error))?;
    if !path.symlink_metadata().is_ok_and(|metadata| metadata.is_dir()) {
        return Ok(());
    }
    let entries = fs::read_dir(path).map_err(|error| cannot("list", path, error))?;
    for entry in entries {
        let entry = entry.map_err(|error| cannot("list", path, error))?;
        give(&entry.path(), owner)?;
    }
    Ok(())
}
