//! `osmith disk`: an image becomes a disk.

use osmith_config::Configuration;
use osmith_disk::{Compression, Destination, ImageType, Plan, Spec, Written, execute, plan};
use osmith_image::Reference;
use osmith_image::store::Store;
use osmith_report::Observer;

use super::images::{json_text, parse_name, print};
use crate::args::{DiskArgs, DiskCompression, DiskType, ReportFormat};
use crate::configuration;
use crate::failure::CommandResult;

pub(crate) fn disk(args: &DiskArgs, store: &Store, observer: &dyn Observer) -> CommandResult {
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
    let destination = Destination {
        directory: &args.output,
        overwrite: args.force,
        processors: std::thread::available_parallelism().map_or(1, usize::from),
    };
    let written = execute(&plan, store, &destination, observer)?;
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
    let mut types: Vec<ImageType> = args.types.iter().map(|wanted| image_type(*wanted)).collect();
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

pub(super) fn image_type(wanted: DiskType) -> ImageType {
    match wanted {
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
    }
}

fn compression(wanted: DiskCompression) -> Compression {
    match wanted {
        DiskCompression::Zstd => Compression::Zstd,
        DiskCompression::Zlib => Compression::Zlib,
        DiskCompression::None => Compression::None,
    }
}
