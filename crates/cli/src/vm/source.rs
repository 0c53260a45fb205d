//! What the machine boots: a disk that is there, or one made of an image for this machine alone.

use std::env;
use std::path::{Path, PathBuf};

use osmith_config::Configuration;
use osmith_disk::{Compression, Destination, ImageType, Spec, execute, plan};
use osmith_image::Reference;
use osmith_image::store::Store;
use osmith_report::{Class, Failure, Observer};
use tempfile::TempDir;

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

/// Finds the disk of that name, or makes one of the image of that name.
pub(crate) fn prepare(
    source: &str,
    snapshot: bool,
    open_store: OpenStore<'_>,
    observer: &dyn Observer,
) -> Result<Bootable, Box<dyn Failure>> {
    if names_disk(source) {
        return Ok(Bootable {
            disk: disk::probe(Path::new(source), snapshot)?,
            _folder: None,
        });
    }
    let folder = tempfile::Builder::new()
        .prefix("osmith-vm-")
        .tempdir_in(large_temporary_folder())
        .map_err(|error| {
            CommandFailure::new(Class::Environment, "cannot make a folder for the disk").because(error)
        })?;
    let path = make_disk(source, &open_store()?, folder.path(), observer)?;
    Ok(Bootable {
        disk: disk::probe(&path, false)?,
        _folder: Some(folder),
    })
}

/// A file that is there, or what can only be meant as one. `localhost/web` is an image.
fn names_disk(source: &str) -> bool {
    let path = Path::new(source);
    let is_disk_extension =
        |extension: &std::ffi::OsStr| DISK_EXTENSIONS.iter().any(|known| extension == *known);
    source.starts_with(['.', '/']) || path.extension().is_some_and(is_disk_extension) || path.is_file()
}

fn make_disk(
    image: &str,
    store: &Store,
    folder: &Path,
    observer: &dyn Observer,
) -> Result<PathBuf, Box<dyn Failure>> {
    let image: Reference = image.parse()?;
    let spec = Spec {
        configuration: Configuration::default(),
        follows: store.resolve(&image)?.unwrap_or_else(|| image.qualified()),
        image,
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
