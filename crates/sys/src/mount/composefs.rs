//! Mounting a composefs image: an EROFS with the metadata of a file tree, whose files redirect to a directory of
//! objects.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use rustix::io::Errno;
use rustix::mount::MountAttrFlags;

use super::{Attributes, DetachedMount, Feature, FileSystem, Layer, Overlay, Stretch, loop_device};
use crate::Result;
use crate::file::descriptor_path;

/// A composefs image to mount, read-only.
#[derive(Debug)]
pub struct Composefs<'a> {
    /// What `/proc/mounts` shows as the source; by convention `composefs:` and the digest of the image.
    pub source: &'a str,
    /// The image, open for reading.
    pub image: BorrowedFd<'a>,
    /// The directory of objects.
    pub objects: BorrowedFd<'a>,
    /// Whether objects without the fs-verity digest that the image names must not be read.
    pub verity_required: bool,
}

impl Composefs<'_> {
    /// Mounts it. `scratch` is an empty directory, used for a moment by kernels that refuse detached layers.
    pub fn mount(&self, scratch: &Path) -> Result<DetachedMount> {
        let metadata = erofs(self.image)?;
        let overlay = Overlay {
            source: self.source,
            lower: Layer::Detached(&metadata),
            data: Some(self.objects),
            upper: None,
            attributes: Attributes::Trusted,
            metacopy: Feature::On,
            redirect: Feature::On,
            verity_required: self.verity_required,
            volatile: false,
        };
        let mount = overlay.mount(scratch)?;
        mount.set_read_only(false)?;
        Ok(mount)
    }
}

/// Mounts an EROFS image, read-only: straight from the file, or where the kernel wants a block device, through a loop
/// device.
pub fn erofs(image: impl AsFd) -> Result<DetachedMount> {
    match mount_erofs(&descriptor_path(&image)) {
        Err(error) if error.errno() == Errno::NOTBLK => erofs_on_loop(image),
        answer => answer,
    }
}

/// The same through a loop device in any case: an EROFS image that is in another one is refused by kernels that mount
/// both straight from files.
pub fn erofs_on_loop(image: impl AsFd) -> Result<DetachedMount> {
    let device = loop_device::attach(image.as_fd(), Stretch::default())?;
    mount_erofs(device.path())
}

fn mount_erofs(source: &Path) -> Result<DetachedMount> {
    let file_system = FileSystem::open("erofs")?;
    file_system.set("source", &source.to_string_lossy())?;
    file_system.set_flag("ro")?;
    file_system.mount(MountAttrFlags::MOUNT_ATTR_RDONLY)
}
