//! `osmith disk`: an image becomes a disk, or an installation medium.

use osmith_config::Configuration;
use osmith_disk::medium::{LEVEL_DEFAULT, MediumKind, MediumSpec, plan_medium, write_medium};
use osmith_disk::{Compression, Destination, ImageType, Plan, Spec, Written, execute, plan};
use osmith_image::Reference;
use osmith_image::store::Store;
use osmith_report::{Class, Observer};

use super::images::{json_text, parse_name, print};
use crate::args::{DiskArgs, DiskCompression, DiskType, ReportFormat};
use crate::configuration;
use crate::failure::{CommandFailure, CommandResult};

pub(crate) fn disk(args: &DiskArgs, store: &Store, observer: &dyn Observer) -> CommandResult {
    let kinds: Vec<MediumKind> = args
        .types
        .iter()
        .filter_map(|wanted| medium_kind(*wanted))
        .collect();
    if !kinds.is_empty() {
        medium(args, kinds.clone(), store, observer)?;
    }
    match kinds.len() == args.types.len() {
        true => Ok(()),
        false => plain_disk(args, store, observer),
    }
}

fn medium_kind(wanted: DiskType) -> Option<MediumKind> {
    match wanted {
        DiskType::Iso => Some(MediumKind::Iso),
        DiskType::Pxe => Some(MediumKind::Pxe),
        _ => None,
    }
}

fn medium(args: &DiskArgs, kinds: Vec<MediumKind>, store: &Store, observer: &dyn Observer) -> CommandResult {
    if kinds.len() == args.types.len() && (args.config.is_some() || args.size.is_some()) {
        let text =
            "--config and --size are for disks: what an installer makes of one stands in its Kickstart file";
        let failure = CommandFailure::new(Class::Usage, text);
        return Err(failure
            .hint("'osmith kickstart check FILE' checks a Kickstart file")
            .into());
    }
    let image = parse_name(&args.image)?;
    let spec = MediumSpec {
        follows: store.resolve(&image)?.unwrap_or_else(|| image.qualified()),
        image,
        platform: args.platform.clone(),
        kinds,
        seed: args.seed,
        kernel_arguments: args.karg.clone(),
        level: LEVEL_DEFAULT,
    };
    let plan = plan_medium(store, &spec)?;
    if args.dry_run {
        return print(&plan.to_string());
    }
    let written = write_medium(&plan, store, &destination(args), observer)?;
    let paths = written.iter().map(|file| format!("{}\n", file.path.display()));
    print(&paths.collect::<String>())
}

fn destination(args: &DiskArgs) -> Destination<'_> {
    Destination {
        directory: &args.output,
        overwrite: args.force,
        processors: std::thread::available_parallelism().map_or(1, usize::from),
    }
}

fn plain_disk(args: &DiskArgs, store: &Store, observer: &dyn Observer) -> CommandResult {
    let image = parse_name(&args.image)?;
    let follows = store.resolve(&image)?.unwrap_or_else(|| image.qualified());
    let configuration = match &args.config {
        Some(file) => configuration::read(file)?,
        None => Configuration::default(),
    };
    let plan = plan(store, &spec(args, image, follows, configuration))?;
    if args.dry_run {
        if args.report != Some(ReportFormat::Json) {
            print(&plan.to_string())?;
        }
        return report(args, &plan, store, &[]);
    }
    let written = execute(&plan, store, &destination(args), observer)?;
    if args.report != Some(ReportFormat::Json) {
        let paths = written
            .iter()
            .map(|output| format!("{}\n", output.path.display()));
        print(&paths.collect::<String>())?;
    }
    report(args, &plan, store, &written)
}

/// Prints where the space goes, if that is asked for.
fn report(args: &DiskArgs, plan: &Plan, store: &Store, written: &[Written]) -> CommandResult {
    match args.report {
        None => Ok(()),
        Some(ReportFormat::Text) => print(&format!("\n{}", plan.space(store, written)?)),
        Some(ReportFormat::Json) => print(&json_text(&plan.space(store, written)?)?),
    }
}

fn spec(args: &DiskArgs, image: Reference, follows: Reference, configuration: Configuration) -> Spec {
    let mut types: Vec<ImageType> = args
        .types
        .iter()
        .filter_map(|wanted| image_type(*wanted))
        .collect();
    types.sort_unstable();
    types.dedup();
    Spec {
        follows,
        image,
        platform: args.platform.clone(),
        configuration,
        types,
        size_bytes: args.size,
        seed: args.seed,
        compression: compression(args.compression),
        kernel_arguments: args.karg.clone(),
    }
}

/// The format of a disk; `None` for an installation medium.
pub(super) fn image_type(wanted: DiskType) -> Option<ImageType> {
    Some(match wanted {
        DiskType::Raw => ImageType::Raw,
        DiskType::Qcow2 => ImageType::Qcow2,
        DiskType::Vmdk => ImageType::Vmdk,
        DiskType::Vhd => ImageType::Vhd,
        DiskType::VhdDynamic => ImageType::VhdDynamic,
        DiskType::Ami => ImageType::Ami,
        DiskType::Gce => ImageType::Gce,
        DiskType::Ova => ImageType::Ova,
        DiskType::RawZst => ImageType::RawZst,
        DiskType::RawXz => ImageType::RawXz,
        DiskType::Iso | DiskType::Pxe => return None,
    })
}

fn compression(wanted: DiskCompression) -> Compression {
    match wanted {
        DiskCompression::Zstd => Compression::Zstd,
        DiskCompression::Zlib => Compression::Zlib,
        DiskCompression::None => Compression::None,
    }
}
