//! The image on the medium that this system runs from, and a store that has it.

use std::fs;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use osmith_image::Reference;
use osmith_image::store::Store;
use osmith_sys::OsError;
use osmith_sys::file::open_directory;
use osmith_sys::mount::Layer;

use super::{MediumError, MediumId};
use crate::deploy::image_name;
use crate::kernel_arguments::ComposefsArgument;
use crate::machine::{OBJECTS, OWN};
use crate::origin::{ImageSource, Origin};
use crate::writable;

/// The medium, as the system that runs from it sees it.
const PHYSICAL: &str = "sysroot";

/// The image on the medium.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediumImage {
    /// Its name in the store of the medium.
    pub name: Reference,
    /// What a machine that is installed from the medium follows.
    pub follows: ImageSource,
}

/// The medium that the system whose root directory is `host` runs from, if it does.
pub fn running(host: &Path) -> Result<Option<MediumId>, MediumError> {
    let path = host.join("proc/cmdline");
    let text = fs::read_to_string(&path).map_err(|error| failed("read", &path, &error))?;
    MediumId::find(&text)
}

/// The image that runs from the medium.
pub fn image(host: &Path) -> Result<MediumImage, MediumError> {
    let path = host.join("proc/cmdline");
    let text = fs::read_to_string(&path).map_err(|error| failed("read", &path, &error))?;
    let argument = ComposefsArgument::find(&text).ok().flatten();
    let deployment = argument
        .ok_or(MediumError::NoImage("the kernel arguments name no deployment"))?
        .digest;
    let path = host.join(format!(
        "{PHYSICAL}/state/deploy/{deployment}/{deployment}.origin"
    ));
    let text = fs::read_to_string(&path).map_err(|error| failed("read", &path, &error))?;
    let origin = Origin::parse(&text).map_err(|_| MediumError::NoImage("its origin makes no sense"))?;
    let manifest = origin
        .manifest_digest
        .ok_or(MediumError::NoImage("its origin has no manifest"))?;
    let name = image_name(&manifest).ok_or(MediumError::NoImage("its digest makes no name"))?;
    Ok(MediumImage {
        name,
        follows: origin.source,
    })
}

/// The store of the medium. What is fetched into it is kept in memory, below `scratch`; of an image that shares layers with
/// that of the medium, only the others are fetched. At most `room_bytes` of memory are taken.
pub fn open_store(host: &Path, scratch: &Path, room_bytes: u64) -> Result<Store, MediumError> {
    let place = scratch.join("medium");
    fs::create_dir_all(&place).map_err(|error| failed("create", &place, &error))?;
    let lower = open_directory(host.join(PHYSICAL))?;
    let layered = writable::in_memory_of(
        "osmith-medium",
        Layer::Attached(lower.as_fd()),
        scratch,
        Some(room_bytes),
    )?;
    layered.attach(open_directory(&place)?, "")?;
    let path: PathBuf = place.join(OWN).join("store");
    Store::open_in_repository(&path, Path::new(OBJECTS)).map_err(|error| MediumError::Store(Box::new(error)))
}

fn failed(operation: &'static str, path: &Path, error: &std::io::Error) -> MediumError {
    OsError::from_io(operation, path.display(), error).into()
}
