//! `osmith install`: an image is put onto a disk, or onto file systems that are mounted.

use std::path::Path;

use osmith_config::Configuration;
use osmith_disk::{Compression, Device, Spec, execute_on_device, plan_for_device};
use osmith_image::Reference;
use osmith_image::store::Store;
use osmith_machine::install::{Architecture, InstallOptions, Target, TargetRequest, deployment_of_stored};
use osmith_machine::origin::ImageSource;
use osmith_report::{Class, Event, Failure, Observer, Severity};

use super::images::{parse_name, print};
use super::installation::seed;
use super::single_step;
use crate::args::{InstallImageArgs, ToDiskArgs, ToFilesystemArgs};
use crate::configuration;
use crate::failure::{CommandFailure, CommandResult};

/// The machine that this program runs on.
const HOST: &str = "/";

pub(crate) fn to_disk(args: &ToDiskArgs, store: &Store, observer: &dyn Observer) -> CommandResult {
    let (image, follows) = names(&args.image, store)?;
    let device = Device::open(&args.device, Path::new(HOST), args.wipe || args.dry_run)?;
    let spec = Spec {
        image,
        platform: None,
        follows,
        configuration: match &args.config {
            Some(path) => configuration::read(path)?,
            None => Configuration::default(),
        },
        types: Vec::new(),
        size_bytes: None,
        seed: seed(args.seed)?,
        compression: Compression::None,
        kernel_arguments: args.image.karg.clone(),
    };
    let plan = plan_for_device(store, &spec, device.size_bytes())?;
    if args.dry_run {
        return print(&plan.to_string());
    }
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    execute_on_device(&plan, store, &device, processors, observer)?;
    print(&format!("{} boots {}\n", args.device.display(), plan.title))
}

pub(crate) fn to_filesystem(
    args: &ToFilesystemArgs,
    store: &Store,
    observer: &dyn Observer,
) -> CommandResult {
    let (name, follows) = names(&args.image, store)?;
    let image = store.image(&name)?;
    let of_image = &image.config.architecture;
    let architecture = Architecture::of_image(of_image).ok_or_else(|| {
        let text = format!("image '{name}' is for the architecture '{of_image}', which no machine has");
        CommandFailure::new(Class::Input, text).hint("machines are amd64 and arm64")
    })?;
    if !rustix::process::geteuid().is_root() {
        let failure = CommandFailure::new(Class::Environment, "only root can install onto a file system");
        return Err(failure
            .hint("'osmith install to-disk' onto a file needs no root")
            .into());
    }
    let request = TargetRequest {
        root: &args.root,
        esp: args.esp.as_deref(),
        root_spec: args.root_mount_spec.as_deref(),
    };
    let target = Target::open(request, Path::new(HOST))?;
    let options = InstallOptions {
        root: target.root_spec().to_owned(),
        kernel_arguments: args.image.karg.clone(),
        source: ImageSource::registry(&follows.to_string()),
        missing_verity_allowed: !target.has_verity(),
        local: None,
    };
    let title = format!("install {name} onto {}", args.root.display());
    let deployment = single_step(observer, title, |_| {
        let deployment = deployment_of_stored(store, (&image, image.tree(store)?), architecture, &options)?;
        target.write(&deployment, store, observer)?;
        Ok(deployment)
    })?;
    if !target.has_verity() {
        observer.observe(Event::Message {
            severity: Severity::Note,
            text:
                "the root file system has no fs-verity: the machine does not notice files that are changed \
                   on the disk (ext4 has it with mkfs.ext4 -O verity)"
                    .to_owned(),
        });
    }
    print(&format!("{} boots {}\n", args.root.display(), deployment.title))
}

/// The image, and what the machine follows.
fn names(args: &InstallImageArgs, store: &Store) -> Result<(Reference, Reference), Box<dyn Failure>> {
    let image = parse_name(&args.image)?;
    let follows = match &args.target_imgref {
        Some(name) => parse_name(name)?,
        None => store.resolve(&image)?.unwrap_or_else(|| image.qualified()),
    };
    Ok((image, follows))
}
