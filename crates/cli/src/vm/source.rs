//! What the machine boots: a disk that is there, or one made of an image for this machine alone.

use std::env;
use std::path::{Path, PathBuf};

use osmith_config::Configuration;
use osmith_disk::{Compression, Destination, ImageType, Spec, execute, plan};
use osmith_image::Reference;
use osmith_image::store::Store;
use osmith_report::{Class, Failure, Observer};
use tempfile::TempDir;

use super::arguments::{RunArgs, VmArchitecture};
use super::disk::{self, Disk};
use crate::failure::CommandFailure;

/// Where large files that nobody keeps go (file-hierarchy(7)), unless TMPDIR says otherwise; /tmp may be memory.
const LARGE_TEMPORARY_FOLDER: &str = "/var/tmp";
const DISK_EXTENSIONS: [&str; 6] = ["qcow2", "raw", "img", "iso", "vmdk", "vhd"];

/// Opens the store of images.
pub(crate) type OpenStore<'a> = &'a dyn Fn() -> Result<Store, Box<dyn Failure>>;

/// A disk, and the folder that goes away with it if it was made for this machine.
pub(crate) struct Bootable {
    pub(crate) disk: Disk,
    _folder: Option<TempDir>,
}

/// What was found under the name a machine is to boot.
pub(crate) enum Source {
    Disk(Disk),
    Image(StoredImage),
}

/// An image of which a disk is to be made.
pub(crate) struct StoredImage {
    store: Store,
    name: Reference,
    /// Go's name of the processor.
    architecture: String,
}

impl Source {
    /// Finds the disk of that name, or the image.
    pub(crate) fn find(arguments: &RunArgs, open_store: OpenStore<'_>) -> Result<Self, Box<dyn Failure>> {
        let name = arguments.source.as_str();
        if names_disk(name) {
            let probe = match arguments.installer.is_given() {
                true => disk::probe_target,
                false => disk::probe,
            };
            return Ok(Source::Disk(probe(Path::new(name), arguments.snapshot)?));
        }
        let name: Reference = name.parse()?;
        let store = open_store()?;
        let architecture = store.image(&name)?.config.architecture;
        Ok(Source::Image(StoredImage {
            store,
            name,
            architecture,
        }))
    }

    /// The processor of the machine: the wanted one, that of the image or disk, or this computer's.
    pub(crate) fn architecture(
        &self,
        wanted: Option<VmArchitecture>,
    ) -> Result<VmArchitecture, CommandFailure> {
        match (self, wanted) {
            (Source::Image(image), Some(wanted)) if image.architecture != wanted.image_name() => {
                let what = format!(
                    "the image '{}' is for {}, not for {}",
                    image.name,
                    image.architecture,
                    wanted.image_name()
                );
                let failure = CommandFailure::new(Class::Usage, what);
                Err(failure.hint("leave --arch out: the machine gets the image's processor"))
            }
            (_, Some(wanted)) => Ok(wanted),
            (Source::Image(image), None) => VmArchitecture::of_image(&image.architecture).ok_or_else(|| {
                let what = format!(
                    "the image '{}' is for {}, which no machine has",
                    image.name, image.architecture
                );
                CommandFailure::new(Class::Input, what).hint("machines are amd64 and arm64")
            }),
            (Source::Disk(disk), None) => Ok(disk
                .architecture()
                .unwrap_or_else(VmArchitecture::of_this_computer)),
        }
    }

    /// The disk; of an image, one that is made now.
    pub(crate) fn prepare(self, observer: &dyn Observer) -> Result<Bootable, Box<dyn Failure>> {
        let image = match self {
            Source::Disk(disk) => return Ok(Bootable { disk, _folder: None }),
            Source::Image(image) => image,
        };
        let folder = tempfile::Builder::new()
            .prefix("osmith-vm-")
            .tempdir_in(large_temporary_folder())
            .map_err(|error| {
                CommandFailure::new(Class::Environment, "cannot make a folder for the disk").because(error)
            })?;
        let path = make_disk(image.name, &image.store, folder.path(), observer)?;
        Ok(Bootable {
            disk: disk::probe(&path, false)?,
            _folder: Some(folder),
        })
    }
}

/// A file that is there, or what can only be meant as one. `localhost/web` is an image.
fn names_disk(source: &str) -> bool {
    let path = Path::new(source);
    let is_disk_extension =
        |extension: &std::ffi::OsStr| DISK_EXTENSIONS.iter().any(|known| extension == *known);
    source.starts_with(['.', '/']) || path.extension().is_some_and(is_disk_extension) || path.is_file()
}

fn make_disk(
    image: Reference,
    store: &Store,
    folder: &Path,
    observer: &dyn Observer,
) -> Result<PathBuf, Box<dyn Failure>> {
    let spec = Spec {
        configuration: Configuration::default(),
        follows: store.resolve(&image)?.unwrap_or_else(|| image.qualified()),
        image,
        platform: None,
        types: vec![ImageType::Raw],
        size_bytes: None,
        seed: 0,
        compression: Compression::None,
        kernel_arguments: Vec::new(),
    };
    let destination = Destination {
        directory: folder,
        overwrite: false,
        processors: std::thread::available_parallelism().map_or(1, usize::from),
    };
    let written = execute(&plan(store, &spec)?, store, &destination, observer)?;
    written
        .into_iter()
        .next()
        .map(|written| written.path)
        .ok_or_else(|| {
            CommandFailure::new(Class::Internal, "a disk was asked for and none was written").into()
        })
}

fn large_temporary_folder() -> PathBuf {
    env::var_os("TMPDIR").map_or_else(|| LARGE_TEMPORARY_FOLDER.into(), PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disks_and_images_are_told_apart() {
        for disk in ["output/qcow2/disk.qcow2", "./webserver", "/srv/disk", "old.img"] {
            assert!(names_disk(disk), "{disk}");
        }
        for image in ["localhost/webserver", "webserver:1.2", "debian-bootc:13"] {
            assert!(!names_disk(image), "{image}");
        }
    }
}
