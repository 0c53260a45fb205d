//! Overlay file systems.
//!
//! Source: Documentation/filesystems/overlayfs.rst. Layers are given as open directories, so no path needs quoting
//! and no option gets long.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use rustix::io::Errno;
use rustix::mount::MountAttrFlags;
use serde::{Deserialize, Serialize};

use super::{DetachedMount, FileSystem, detach};
use crate::file::{descriptor_path, open_directory, set_attribute};
use crate::{OsError, Result};

/// Where overlay keeps what it notes about a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Attributes {
    /// `trusted.overlay.*`, which needs privileges outside user namespaces.
    Trusted,
    /// `user.overlay.*` (`userxattr`), for user namespaces.
    User,
}

/// Whether overlay follows or makes metadata-only copies and redirects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feature {
    /// `on`.
    On,
    /// `off`.
    Off,
    /// Not mentioned. [`Attributes::User`] wants it so, and has both off.
    Unset,
}

impl Feature {
    fn apply(self, file_system: &FileSystem, option: &str) -> Result<()> {
        match self {
            Feature::On => file_system.set(option, "on"),
            Feature::Off => file_system.set(option, "off"),
            Feature::Unset => Ok(()),
        }
    }
}

/// A layer of an overlay.
#[derive(Debug, Clone, Copy)]
pub enum Layer<'a> {
    /// A directory of this mount namespace.
    Attached(BorrowedFd<'a>),
    /// The root of a mount that is attached nowhere.
    Detached(&'a DetachedMount),
}

impl AsFd for Layer<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Layer::Attached(directory) => *directory,
            Layer::Detached(mount) => mount.as_fd(),
        }
    }
}

/// An overlay to mount.
#[derive(Debug)]
pub struct Overlay<'a> {
    /// What `/proc/mounts` shows as the source.
    pub source: &'a str,
    /// The read-only layer.
    pub lower: Layer<'a>,
    /// A directory that only metadata-only files of `lower` refer to.
    pub data: Option<BorrowedFd<'a>>,
    /// Writable directory and work directory, on one file system.
    pub upper: Option<(BorrowedFd<'a>, BorrowedFd<'a>)>,
    /// Where the notes are.
    pub attributes: Attributes,
    /// Option `metacopy`.
    pub metacopy: Feature,
    /// Option `redirect_dir`.
    pub redirect: Feature,
    /// `verity=require`: data without the fs-verity digest that the metadata names is not read.
    pub verity_required: bool,
    /// `volatile`: changes need not reach the medium, for an upper directory that a crash makes worthless anyway.
    pub volatile: bool,
}

impl Overlay<'_> {
    /// Mounts it. `scratch` is an empty directory, used for a moment by kernels that refuse detached layers.
    pub fn mount(&self, scratch: &Path) -> Result<DetachedMount> {
        let Layer::Detached(mount) = self.lower else {
            return self.mount_over(self.lower.as_fd());
        };
        match self.mount_over(mount.as_fd()) {
            Err(error) if error.errno() == Errno::INVAL => self.mount_attached(mount, scratch, error),
            answer => answer,
        }
    }

    /// The kernel has one number for all that it dislikes: if attaching does not help either, the first answer counts.
    fn mount_attached(&self, lower: &DetachedMount, scratch: &Path, first: OsError) -> Result<DetachedMount> {
        lower.attach_at(open_directory(scratch)?, Path::new(""))?;
        let answer = self.mount_over(lower.as_fd());
        detach(scratch)?;
        answer.map_err(|_| first)
    }

    fn mount_over(&self, lower: BorrowedFd<'_>) -> Result<DetachedMount> {
        let file_system = FileSystem::open("overlay")?;
        file_system.set("source", self.source)?;
        self.metacopy.apply(&file_system, "metacopy")?;
        self.redirect.apply(&file_system, "redirect_dir")?;
        if self.attributes == Attributes::User {
            file_system.set_flag("userxattr")?;
        }
        if self.verity_required {
            file_system.set("verity", "require")?;
        }
        self.set_lower(&file_system, lower)?;
        if let Some((upper, work)) = self.upper {
            file_system.set("upperdir", &layer_path(upper))?;
            file_system.set("workdir", &layer_path(work))?;
            file_system.set("index", "off")?;
            if self.volatile {
                file_system.set_flag("volatile")?;
            }
        }
        file_system.mount(MountAttrFlags::empty())
    }

    fn set_lower(&self, file_system: &FileSystem, lower: BorrowedFd<'_>) -> Result<()> {
        let lower = layer_path(lower);
        match (file_system.set("lowerdir+", &lower), self.data) {
            (Ok(()), Some(data)) => file_system.set("datadir+", &layer_path(data)),
            (Ok(()), None) => Ok(()),
            (Err(error), data) if error.errno() == Errno::INVAL => {
                let data = data.map(|data| format!("::{}", layer_path(data)));
                file_system.set("lowerdir", &(lower + &data.unwrap_or_default()))
            }
            (Err(error), _) => Err(error),
        }
    }
}

/// Whether, in a user namespace, files without contents can redirect to a data layer (Linux 6.16): tried with an
/// overlay in the empty directory `work`, which is not cleaned up. The error says what did not work.
pub fn probe_user_data_layers(work: &Path) -> Result<()> {
    let failed = |error: &std::io::Error| OsError::from_io("prepare", work.display(), error);
    for name in ["lower", "objects", "upper", "work"] {
        std::fs::create_dir(work.join(name)).map_err(|error| failed(&error))?;
    }
    std::fs::write(work.join("objects/object"), "seen").map_err(|error| failed(&error))?;
    let stub = work.join("lower/file");
    std::fs::write(&stub, [0; 4]).map_err(|error| failed(&error))?;
    set_attribute(&stub, b"user.overlay.metacopy", b"")?;
    set_attribute(&stub, b"user.overlay.redirect", b"/object")?;
    let open = |name| open_directory(work.join(name));
    let (lower, objects, upper, work) = (open("lower")?, open("objects")?, open("upper")?, open("work")?);
    let overlay = Overlay {
        source: "probe",
        lower: Layer::Attached(lower.as_fd()),
        data: Some(objects.as_fd()),
        upper: Some((upper.as_fd(), work.as_fd())),
        attributes: Attributes::User,
        metacopy: Feature::Unset,
        redirect: Feature::Unset,
        verity_required: false,
        volatile: true,
    };
    let mount = overlay.mount_over(lower.as_fd())?;
    match std::fs::read(descriptor_path(&mount).join("file")) {
        Ok(bytes) if bytes == b"seen" => Ok(()),
        Ok(_) => Err(OsError::new(
            "redirect",
            "a file to a data layer",
            Errno::OPNOTSUPP,
        )),
        Err(error) => Err(OsError::from_io("redirect", "a file to a data layer", &error)),
    }
}

fn layer_path(directory: BorrowedFd<'_>) -> String {
    descriptor_path(directory).to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mount::tmpfs;
    use rustix::fs::Mode;

    #[test]
    fn a_refused_detached_layer_is_attached_for_a_moment() {
        if !rustix::process::getuid().is_root() {
            return;
        }
        let lower = tmpfs("lower", "0755", None).unwrap();
        rustix::fs::mkdirat(&lower, "seen", Mode::from_raw_mode(0o755)).unwrap();
        let (data, scratch) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let data = open_directory(data.path()).unwrap();
        let overlay = Overlay {
            source: "test",
            lower: Layer::Detached(&lower),
            data: Some(data.as_fd()),
            upper: None,
            attributes: Attributes::Trusted,
            metacopy: Feature::On,
            redirect: Feature::On,
            verity_required: false,
            volatile: false,
        };
        let first = OsError::new("mount", "overlay", Errno::INVAL);
        let mount = overlay.mount_attached(&lower, scratch.path(), first).unwrap();
        assert!(descriptor_path(&mount).join("seen").is_dir());
        std::fs::remove_dir(scratch.path()).unwrap();
    }
}
