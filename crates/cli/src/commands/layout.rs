//! `osmith save` and `osmith load`: images as OCI directories and archives.

use osmith_image::compression::Codec;
use osmith_image::layout::{
    LayoutFormat, LoadOptions, SaveOptions, load as load_layout, save as save_layout, save_index,
};
use osmith_image::store::{Encoding, Named, Store};

use osmith_image::{IntakeOptions, Platform};
use osmith_report::{Failure, Observer};

use super::images::{named, parse_name, print};
use super::single_step;
use crate::args::{LayerCompression, LoadArgs, SaveArgs, SaveFormat};
use crate::failure::CommandResult;

pub(crate) fn save(args: &SaveArgs, store: &Store, observer: &dyn Observer) -> CommandResult {
    let name = parse_name(&args.image)?;
    let saved = named(&name, args.platform.as_ref(), store)?;
    let options = SaveOptions {
        format: match args.format {
            SaveFormat::OciDir => LayoutFormat::Directory,
            SaveFormat::OciArchive => LayoutFormat::Archive,
        },
        encoding: encoding(args.compression),
        name: match name.digest() {
            None => store.resolve(&name)?,
            Some(_) => None,
        },
    };
    let title = format!("save {name} to {}", args.output.display());
    let written = single_step(observer, title, |step| {
        let written = match &saved {
            Named::Image(image) => save_layout(image, store, &args.output, &options, observer, step),
            Named::Index(index) => save_index(index, store, &args.output, &options, observer, step),
        };
        written.map_err(Box::<dyn Failure>::from)
    })?;
    print(&format!("{}\n", written.digest))
}

pub(crate) fn load(args: &LoadArgs, store: &Store, observer: &dyn Observer) -> CommandResult {
    let name = args.name.as_deref().map(parse_name).transpose()?;
    let options = LoadOptions {
        select: None,
        platform: Platform::host(),
        names: name.map(|name| vec![name]),
        intake: IntakeOptions::default(),
    };
    let title = format!("load {}", args.path.display());
    let loaded = single_step(observer, title, |step| {
        load_layout(&args.path, store, &options, observer, step).map_err(Box::<dyn Failure>::from)
    })?;
    for entry in loaded {
        match entry.names.as_slice() {
            [] => print(&format!("Loaded image: {}\n", entry.image.id()))?,
            names => names
                .iter()
                .try_for_each(|name| print(&format!("Loaded image: {name}\n")))?,
        }
    }
    Ok(())
}

fn encoding(wanted: LayerCompression) -> Encoding {
    Encoding::of(match wanted {
        LayerCompression::Zstd => Codec::Zstd,
        LayerCompression::Gzip => Codec::Gzip,
        LayerCompression::None => Codec::None,
    })
}
