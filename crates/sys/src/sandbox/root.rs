//! The root file system of the sandbox, mounted on a staging area that only the sandbox sees.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;

use super::{Lower, Root};
use crate::file::{open_directory, open_in_root};
use crate::mount::{Attributes, DetachedMount, Feature, Layer, Overlay, erofs, set_attributes, tmpfs};
use crate::{OsError, Result};

/// A file system in memory over the scratch directory: the root is mounted in it, and it holds injected files, since
/// kernels before 6.15 neither mount into nor clone out of what is attached nowhere.
pub(super) struct Staging {
    directory: OwnedFd,
    path: PathBuf,
}

const LAYER: &str = "layer";

impl Staging {
    pub(super) fn new(scratch: &Path) -> Result<Self> {
        let directory = tmpfs("osmith", "0700", None)?.attach(open_directory(scratch)?, "")?;
        set_attributes(
            &directory,
            MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV,
            MountAttrFlags::empty(),
            false,
        )?;
        rustix::fs::mkdirat(&directory, LAYER, Mode::from_raw_mode(0o700))
            .map_err(|errno| OsError::new("create", LAYER, errno))?;
        Ok(Staging {
            directory,
            path: scratch.to_owned(),
        })
    }

    fn layer_path(&self) -> PathBuf {
        self.path.join(LAYER)
    }

    /// Where mounts and files may be made, each under a name of its own.
    pub(super) fn directory(&self) -> &OwnedFd {
        &self.directory
    }
}

/// Attaches a mount at a path inside `root`, which must exist; links lead nowhere outside.
pub(super) fn attach_in_root(root: &OwnedFd, path: &Path, mount: DetachedMount) -> Result<OwnedFd> {
    let target = open_in_root(root, path, OFlags::PATH, Mode::empty())?;
    mount.attach(&target, "")
}

/// Mounts a root file system at a new name of the staging area and returns it open.
pub(super) fn mount(root: &Root, staging: &Staging, name: &str) -> Result<OwnedFd> {
    rustix::fs::mkdirat(&staging.directory, name, Mode::from_raw_mode(0o700))
        .map_err(|errno| OsError::new("create", name.to_owned(), errno))?;
    let mount = match root {
        Root::Directory(path) => DetachedMount::clone_of(CWD, path, true)?,
        Root::ReadOnly { lower, attributes } => Layers {
            writable: None,
            attributes: *attributes,
        }
        .mount(lower, staging)?,
        Root::Overlay {
            lower,
            upper,
            work,
            attributes,
        } => {
            let (upper, work) = (open_directory(upper)?, open_directory(work)?);
            Layers {
                writable: Some((upper, work)),
                attributes: *attributes,
            }
            .mount(lower, staging)?
        }
    };
    mount.attach(&staging.directory, name)
}

/// How a lower is mounted: under a directory for the changes with its work directory, or as it is.
struct Layers {
    writable: Option<(OwnedFd, OwnedFd)>,
    attributes: Attributes,
}

impl Layers {
    fn mount(&self, lower: &Lower, staging: &Staging) -> Result<DetachedMount> {
        let scratch = staging.layer_path();
        match lower {
            Lower::Directory(path) if self.writable.is_none() => {
                let directory = DetachedMount::clone_of(CWD, path, false)?;
                directory.set_read_only(false)?;
                Ok(directory)
            }
            Lower::Directory(path) => {
                let directory = open_directory(path)?;
                self.overlay(Layer::Attached(directory.as_fd()), None)
                    .mount(&scratch)
            }
            Lower::Stubs { directory, objects } => {
                let (directory, objects) = (open_directory(directory)?, open_directory(objects)?);
                let lower = Layer::Attached(directory.as_fd());
                match self.overlay(lower, Some(&objects)).mount(&scratch) {
                    Err(error) if self.may_need_second_overlay(&error) => {
                        self.mount_over_second_overlay(lower, &objects, &scratch)
                    }
                    answer => answer,
                }
            }
            Lower::Composefs { image, objects } => {
                let image =
                    File::open(image).map_err(|error| OsError::from_io("open", image.display(), &error))?;
                self.mount_over_composefs(&image, &open_directory(objects)?, &scratch)
            }
        }
    }

    fn mount_over_composefs(&self, image: &File, objects: &OwnedFd, scratch: &Path) -> Result<DetachedMount> {
        let metadata = erofs(image)?;
        match self
            .overlay(Layer::Detached(&metadata), Some(objects))
            .mount(scratch)
        {
            Err(error) if self.may_need_second_overlay(&error) => {
                // It may have been attached for a moment, and cannot be a second time.
                drop(metadata);
                self.mount_over_second_overlay(Layer::Detached(&erofs(image)?), objects, scratch)
            }
            answer => answer,
        }
    }

    fn may_need_second_overlay(&self, error: &OsError) -> bool {
        error.errno() == Errno::INVAL && self.attributes == Attributes::Trusted
    }

    /// Before Linux 6.16 an overlay with `metacopy=off` refuses a data layer, but not an overlay that has one.
    fn mount_over_second_overlay(
        &self,
        metadata: Layer<'_>,
        objects: &OwnedFd,
        scratch: &Path,
    ) -> Result<DetachedMount> {
        let whole = Overlay {
            source: "osmith-lower",
            lower: metadata,
            data: Some(objects.as_fd()),
            upper: None,
            attributes: self.attributes,
            metacopy: Feature::On,
            redirect: Feature::On,
            verity_required: false,
            volatile: false,
        };
        let lower = whole.mount(scratch)?;
        self.overlay(Layer::Detached(&lower), None).mount(scratch)
    }

    /// Changes must be whole files at their own path, or the upper directory is no layer.
    fn overlay<'a>(&'a self, lower: Layer<'a>, data: Option<&'a OwnedFd>) -> Overlay<'a> {
        let feature = match (self.attributes, &self.writable) {
            (Attributes::Trusted, Some(_)) => Feature::Off,
            (Attributes::Trusted, None) => Feature::On,
            (Attributes::User, _) => Feature::Unset,
        };
        Overlay {
            source: "osmith",
            lower,
            data: data.map(AsFd::as_fd),
            upper: self
                .writable
                .as_ref()
                .map(|(upper, work)| (upper.as_fd(), work.as_fd())),
            attributes: self.attributes,
            metacopy: feature,
            redirect: feature,
            verity_required: false,
            volatile: true,
        }
    }
}
