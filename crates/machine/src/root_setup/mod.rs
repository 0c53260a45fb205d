//! From the physical root to the root of a deployment, in the initramfs.
//!
//! Source: the behaviour of bootc's initramfs program, read from its code. Before: the physical root is mounted at
//! `/sysroot`. After: `/sysroot` shows the deployment that the kernel argument `composefs=` names.
//!
//! ```text
//! /sysroot            overlay, source composefs:<id>: EROFS images/<id> over objects/; read-only, fs-verity enforced
//! /sysroot/sysroot    the physical root, read-only
//! /sysroot/etc        state/deploy/<id>/etc, writable
//! /sysroot/var        state/deploy/<id>/var, a link to what all deployments share, writable
//! ```
//!
//! Where `/etc/fstab` of the deployment mounts a file system of its own on `/var`, nothing is mounted there: systemd does it.
//!
//! From an installation medium, which takes the place of the physical root, `etc` and `var` are those of the image with
//! a layer in memory: see [`crate::medium`].
//!
//! The physical root stays mounted underneath. `/run/systemd/volatile-root` names its block device, so that systemd
//! finds the disk of the machine, its ESP, and the partition to grow.

mod configuration;
mod error;
mod fstab;
mod image;

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use osmith_sys::file::{open_directory, open_in_root};
use osmith_sys::mount::{Composefs, DetachedMount, Layer, MountAttrFlags, mounts_into_detached};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::kernel_arguments::{self, ComposefsArgument};
use crate::medium::{self, MediumId};
pub(crate) use configuration::{Configuration, FolderKind, PATH as CONFIGURATION_PATH};
pub use error::RootSetupError;

type Result<T, E = RootSetupError> = std::result::Result<T, E>;

/// The source of a folder's layer in memory, as bootc names it: by it the mount table tells it from one on the disk.
pub(crate) const TRANSIENT: &str = "transient";
/// More of `/etc/fstab` is not read.
const FSTAB_MAX_BYTES: u64 = 1 << 20;
/// A directory to enter and to look things up in.
const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY);

/// Mounts the deployment over the physical root. `initramfs` is the root directory of the running system, `/`.
/// Returns the deployment.
pub fn mount_root(initramfs: &Path) -> Result<ComposefsArgument> {
    let command_line = read(initramfs, "proc/cmdline")?.unwrap_or_default();
    let argument = ComposefsArgument::find(&command_line)?.ok_or(RootSetupError::NoArgument)?;
    let mut configuration = read_configuration(initramfs, &command_line)?;
    let sysroot = match MediumId::find(&command_line)? {
        Some(medium) => {
            configuration = Configuration::in_memory();
            medium::write_units(initramfs)?;
            medium::keep(initramfs, &command_line)?;
            medium::mount_at_sysroot(initramfs, medium)?
        }
        None => {
            let sysroot = open_directory(initramfs.join("sysroot"))?;
            name_block_device(initramfs, &sysroot)?;
            sysroot
        }
    };
    let scratch = initramfs.join("run/osmith");
    std::fs::create_dir_all(&scratch).map_err(|source| failed("create", &scratch, source))?;
    let setup = Setup {
        sysroot,
        scratch,
        argument,
        configuration,
    };
    setup.mount()?;
    Ok(argument)
}

/// Mounts a deployment as its machine sees it over the physical root that is mounted at `sysroot`; `scratch` is a folder
/// for short-lived mounts. `/etc` and `/var` are those of the disk.
pub fn mount_deployment(sysroot: &Path, argument: ComposefsArgument, scratch: &Path) -> Result<()> {
    std::fs::create_dir_all(scratch).map_err(|source| failed("create", scratch, source))?;
    let setup = Setup {
        sysroot: open_directory(sysroot)?,
        scratch: scratch.to_owned(),
        argument,
        configuration: Configuration::default(),
    };
    setup.mount()
}

fn read_configuration(initramfs: &Path, command_line: &str) -> Result<Configuration> {
    let text = read(initramfs, CONFIGURATION_PATH)?.unwrap_or_default();
    let configuration = Configuration::parse(&text).map_err(|source| RootSetupError::Configuration {
        path: CONFIGURATION_PATH.to_owned(),
        source: Box::new(source),
    })?;
    Ok(configuration.with_volatile(&kernel_arguments::split(command_line)))
}

/// The text of a file, if it is there.
fn read(initramfs: &Path, path: &str) -> Result<Option<String>> {
    let path = initramfs.join(path);
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(failed("read", &path, source)),
    }
}

fn failed(operation: &'static str, path: &Path, source: std::io::Error) -> RootSetupError {
    osmith_sys::OsError::from_io(operation, path.display(), &source).into()
}

/// Tells systemd which block device the root is on, which it cannot see through an overlay.
fn name_block_device(initramfs: &Path, sysroot: &OwnedFd) -> Result<()> {
    let status = rustix::fs::fstat(sysroot).map_err(|errno| {
        let path = initramfs.join("sysroot");
        osmith_sys::OsError::new("look at", path.display(), errno)
    })?;
    let (major, minor) = (rustix::fs::major(status.st_dev), rustix::fs::minor(status.st_dev));
    let link = initramfs.join("run/systemd/volatile-root");
    // Major number 0: btrfs, a memory or network file system. What is there already is right too.
    if major == 0 || link.symlink_metadata().is_ok() {
        return Ok(());
    }
    let folder = initramfs.join("run/systemd");
    std::fs::create_dir_all(&folder).map_err(|source| failed("create", &folder, source))?;
    std::os::unix::fs::symlink(format!("/dev/block/{major}:{minor}"), &link)
        .map_err(|source| failed("create", &link, source))
}

/// Whether `/etc/fstab` below the root mounts a file system of its own on `/var`. One that cannot be read mounts none.
fn has_own_var(root: BorrowedFd) -> bool {
    let mut text = Vec::new();
    let flags = OFlags::RDONLY | OFlags::NONBLOCK;
    open_in_root(root, "etc/fstab", flags, Mode::empty()).is_ok_and(|file| {
        File::from(file)
            .take(FSTAB_MAX_BYTES)
            .read_to_end(&mut text)
            .is_ok()
    }) && fstab::mounts(&String::from_utf8_lossy(&text), "/var")
}

/// What is needed to mount the deployment.
struct Setup {
    sysroot: OwnedFd,
    scratch: PathBuf,
    argument: ComposefsArgument,
    configuration: Configuration,
}

impl Setup {
    fn mount(&self) -> Result<()> {
        let composefs = self.composefs()?;
        let physical = DetachedMount::clone_of(&self.sysroot, "", false)?;
        physical.set_read_only(false)?;
        let root = self.transient_root(composefs)?;
        if mounts_into_detached()? {
            self.fill(root.as_fd(), physical)?;
            root.attach(&self.sysroot, "")?;
        } else {
            let root = root.attach(&self.sysroot, "")?;
            self.fill(root.as_fd(), physical)?;
        }
        Ok(())
    }

    /// The read-only root.
    fn composefs(&self) -> Result<DetachedMount> {
        let repository = image::open_repository(&self.sysroot)?;
        let image = image::open(&repository, &self.argument)?;
        let objects = osmith_sys::file::open_beneath(&repository, "objects", DIRECTORY, Mode::empty())?;
        let composefs = Composefs {
            source: &format!("composefs:{}", self.argument.digest),
            image: image.file.as_fd(),
            objects: objects.as_fd(),
            verity_required: image.verity,
        };
        composefs
            .mount(&self.scratch)
            .map_err(|source| RootSetupError::Mount {
                digest: self.argument.digest,
                source: Box::new(source),
            })
    }

    /// The root with a writable layer in memory, if that is configured.
    fn transient_root(&self, composefs: DetachedMount) -> Result<DetachedMount> {
        if !self.configuration.root_transient {
            return Ok(composefs);
        }
        let source = format!("transient:{}", self.argument);
        let source = source.replace('?', "");
        Ok(crate::writable::in_memory(
            &source,
            Layer::Detached(&composefs),
            &self.scratch,
        )?)
    }

    /// Mounts what belongs below the root.
    fn fill(&self, root: BorrowedFd, physical: DetachedMount) -> Result<()> {
        match physical.attach(root, "sysroot") {
            Err(error) if error.errno() == Errno::NOENT => {}
            answer => drop(answer?),
        }
        self.mount_state(root, "etc", self.configuration.etc)?;
        if self.configuration.var.is_kept() && has_own_var(root) {
            return Ok(());
        }
        self.mount_state(root, "var", self.configuration.var)
    }

    fn mount_state(&self, root: BorrowedFd, name: &'static str, kind: FolderKind) -> Result<()> {
        let mount = match kind {
            FolderKind::None => return Ok(()),
            FolderKind::Bind => {
                let folder = self.state_folder(name)?;
                let mount = DetachedMount::clone_of(&folder, "", false)?;
                mount.set_attributes(MountAttrFlags::empty(), MountAttrFlags::MOUNT_ATTR_RDONLY, false)?;
                mount
            }
            FolderKind::Overlay => {
                crate::writable::on_disk(name, root, &self.state_folder(name)?, &self.scratch)?
            }
            FolderKind::Transient => {
                let lower = osmith_sys::file::open_beneath(root, name, DIRECTORY, Mode::empty())?;
                crate::writable::in_memory(TRANSIENT, Layer::Attached(lower.as_fd()), &self.scratch)?
            }
        };
        mount.attach(root, name)?;
        Ok(())
    }

    /// A folder of the deployment's state; the link of `/var` is followed, but not out of the physical root.
    fn state_folder(&self, name: &'static str) -> Result<OwnedFd> {
        let path = format!("state/deploy/{}/{name}", self.argument.digest);
        osmith_sys::file::open_beneath(&self.sysroot, &path, DIRECTORY, Mode::empty())
            .map_err(|source| RootSetupError::NoState { path, source })
    }
}
