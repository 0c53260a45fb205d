//! The root file system of the sandbox, mounted on a staging area that only the sandbox sees.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;

use super::{InjectedFile, Lower, Root};
use crate::file::{open_beneath, open_directory, open_in_root};
use crate::mount::{Attributes, DetachedMount, Feature, Layer, Overlay, erofs, set_attributes, tmpfs};
use crate::{OsError, Result};

/// A file system in memory over the scratch directory: the root is mounted in it, and it holds injected files, since
/// kernels before 6.15 neither mount into nor clone out of what is attached nowhere.
pub(super) struct Staging {
    directory: OwnedFd,
    path: PathBuf,
}

const ROOT: &str = "root";
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
        for name in [ROOT, LAYER] {
            rustix::fs::mkdirat(&directory, name, Mode::from_raw_mode(0o700))
                .map_err(|errno| OsError::new("create", name, errno))?;
        }
        Ok(Staging {
            directory,
            path: scratch.to_owned(),
        })
    }

    fn layer_path(&self) -> PathBuf {
        self.path.join(LAYER)
    }

    /// Shows each file at its path.
    pub(super) fn show_files(&self, root: &OwnedFd, files: &[InjectedFile]) -> Result<()> {
        for (number, file) in files.iter().enumerate() {
            let name = format!("file{number}");
            self.write(&name, file)?;
            ensure_device_file(root, &file.path)?;
            let mount = DetachedMount::clone_of(&self.directory, &name, false)?;
            attach_in_root(root, &file.path, mount)?;
        }
        Ok(())
    }

    fn write(&self, name: &str, injected: &InjectedFile) -> Result<()> {
        let failed = |errno| OsError::new("create the contents of", injected.path.display(), errno);
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.directory, name, flags, Mode::from_raw_mode(injected.mode))
            .map_err(failed)?;
        std::io::Write::write_all(&mut File::from(file), &injected.bytes)
            .map_err(|error| OsError::from_io("write", injected.path.display(), &error))
    }
}

/// `/dev` is the sandbox's own: a file below it is made there, with its directories, so that it can be mounted on.
fn ensure_device_file(root: &OwnedFd, path: &Path) -> Result<()> {
    let Ok(below) = path.strip_prefix("/dev") else {
        return Ok(());
    };
    let failed = |errno| OsError::new("create", path.display(), errno);
    let mut directory = open_in_root(root, "dev", OFlags::PATH, Mode::empty())?;
    for name in below.parent().into_iter().flatten() {
        match rustix::fs::mkdirat(&directory, name, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(failed(errno)),
        }
        directory = open_beneath(&directory, name, OFlags::PATH | OFlags::DIRECTORY, Mode::empty())?;
    }
    let flags = OFlags::CREATE | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let name = below.file_name().unwrap_or_default();
    rustix::fs::openat(&directory, name, flags, Mode::from_raw_mode(0o644))
        .map(drop)
        .map_err(failed)
}

/// Attaches a mount at a path inside `root`, which must exist; links lead nowhere outside.
pub(super) fn attach_in_root(root: &OwnedFd, path: &Path, mount: DetachedMount) -> Result<OwnedFd> {
    let target = open_in_root(root, path, OFlags::PATH, Mode::empty())?;
    mount.attach(&target, "")
}

/// Mounts the root file system and returns it open.
pub(super) fn mount(root: &Root, staging: &Staging) -> Result<OwnedFd> {
    let mount = match root {
        Root::Directory(path) => DetachedMount::clone_of(CWD, path, true)?,
        Root::Overlay {
            lower,
            upper,
            work,
            attributes,
        } => {
            let (upper, work) = (open_directory(upper)?, open_directory(work)?);
            Writable {
                upper,
                work,
                attributes: *attributes,
            }
            .mount_over(lower, staging)?
        }
    };
    mount.attach(&staging.directory, ROOT)
}

struct Writable {
    upper: OwnedFd,
    work: OwnedFd,
    attributes: Attributes,
}

impl Writable {
    fn mount_over(&self, lower: &Lower, staging: &Staging) -> Result<DetachedMount> {
        let scratch = staging.layer_path();
        match lower {
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
        let feature = match self.attributes {
            Attributes::Trusted => Feature::Off,
            Attributes::User => Feature::Unset,
        };
        Overlay {
            source: "osmith",
            lower,
            data: data.map(AsFd::as_fd),
            upper: Some((self.upper.as_fd(), self.work.as_fd())),
            attributes: self.attributes,
            metacopy: feature,
            redirect: feature,
            verity_required: false,
            volatile: true,
        }
    }
}
