//! The installation medium: in the initramfs of an installer, the place of the disk that a machine has.
//!
//! A medium is an EROFS file system with the files that the root file system of an installed machine has: repository, state,
//! store. It is a whole disc or USB stick, a partition, or (started over the network) a file of the initramfs. The kernel
//! argument `osmith.medium=` names its UUID. What runs from it keeps changes of `/etc` and `/var` in memory.

mod image;
mod kickstart;
mod units;

use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use osmith_formats::erofs;
use osmith_image::store::StoreError;
use osmith_report::{Class, Failure};
use osmith_sys::OsError;
use osmith_sys::file::open_directory;
use osmith_sys::mount;

use crate::kernel_arguments;

pub use image::{MediumImage, image, open_store, running};
pub use kickstart::KEPT;
pub(crate) use kickstart::keep;
pub use units::TARGET;
pub(crate) use units::write_units;

/// The kernel argument that names the medium.
pub const ARGUMENT: &str = "osmith.medium";
/// Where the initramfs of a machine that started over the network has its medium.
pub const IN_INITRAMFS: &str = "osmith/medium.erofs";

const UUID_BYTES: usize = 16;
/// What tells the file system of a device: its first block, as discs are read in whole sectors.
const START_BYTES: usize = 4096;
/// A USB stick takes some seconds, a drive that spins up some more.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(250);

/// Why the installation medium cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MediumError {
    /// The argument is malformed.
    #[error("kernel argument '{ARGUMENT}={0}' is no UUID")]
    Argument(String),
    /// No disk is it.
    #[error("the installation medium {uuid} is on no disk of this machine: looked at {}", list(.looked_at))]
    NotFound {
        /// Its UUID.
        uuid: String,
        /// The names of the block devices there were.
        looked_at: Vec<String>,
    },
    /// The file of the initramfs is another one.
    #[error("/{IN_INITRAMFS} of the initramfs is not the installation medium {0}")]
    OtherFile(String),
    /// There is no image on it that could be installed.
    #[error("the installation medium has no image: {0}")]
    NoImage(&'static str),
    /// Its store cannot be used.
    #[error("cannot open the store of the installation medium")]
    Store(#[source] Box<StoreError>),
    /// The system said no.
    #[error("cannot use the installation medium")]
    System(#[from] OsError),
}

impl Failure for MediumError {
    fn class(&self) -> Class {
        match self {
            MediumError::Argument(_) => Class::Input,
            MediumError::NotFound { .. } => Class::NotFound,
            MediumError::OtherFile(_) => Class::Conflict,
            MediumError::NoImage(_) => Class::Corrupt,
            MediumError::Store(error) => error.class(),
            MediumError::System(_) => Class::Environment,
        }
    }

    fn hints(&self) -> Vec<String> {
        let hint = match self {
            MediumError::Argument(_) => "take the kernel arguments that 'osmith disk' wrote for this medium",
            MediumError::NotFound { .. } => {
                "is the disc or stick still there? A controller whose driver the initramfs lacks hides it; \
                 PXE needs the kernel, the initramfs and the kernel arguments of one 'osmith disk --type pxe'"
            }
            MediumError::OtherFile(_) => {
                "kernel, initramfs and kernel arguments must come from one 'osmith disk --type pxe'"
            }
            MediumError::NoImage(_) => "make the medium again with 'osmith disk'",
            MediumError::Store(error) => return error.hints(),
            MediumError::System(_) => {
                "the kernel needs EROFS with the compression of the medium (Linux 6.10 for zstd)"
            }
        };
        vec![hint.to_owned()]
    }
}

fn list(names: &[String]) -> String {
    match names.is_empty() {
        true => "none: there are no block devices".to_owned(),
        false => names.join(", "),
    }
}

/// The identity of a medium.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MediumId([u8; UUID_BYTES]);

impl MediumId {
    /// The medium whose file system has the UUID of these bytes.
    pub fn new(bytes: [u8; UUID_BYTES]) -> Self {
        MediumId(bytes)
    }

    /// The medium that the kernel arguments name, if they name one.
    pub fn find(command_line: &str) -> Result<Option<Self>, MediumError> {
        let arguments = kernel_arguments::split(command_line);
        let value = arguments
            .iter()
            .rev()
            .find_map(|argument| argument.strip_prefix(ARGUMENT)?.strip_prefix('='));
        let parse = |value: &str| Self::parse(value).ok_or_else(|| MediumError::Argument(value.to_owned()));
        value.map(parse).transpose()
    }

    fn parse(text: &str) -> Option<Self> {
        let digits: String = text.chars().filter(|letter| *letter != '-').collect();
        let mut bytes = [0; UUID_BYTES];
        hex::decode_to_slice(digits, &mut bytes).ok()?;
        Some(MediumId(bytes))
    }

    /// Whether the medium is on an open device. What cannot be read is not it.
    pub fn is_on(self, file: &File) -> bool {
        let mut start = [0; START_BYTES];
        file.read_exact_at(&mut start, 0).is_ok() && erofs::volume_uuid(&start) == Some(self.0)
    }
}

impl std::fmt::Display for MediumId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let digits = hex::encode(self.0);
        let mut rest = digits.as_str();
        for (number, length) in [8, 4, 4, 4, 12].into_iter().enumerate() {
            let (group, others) = rest.split_at_checked(length).unwrap_or((rest, ""));
            write!(f, "{}{group}", if number == 0 { "" } else { "-" })?;
            rest = others;
        }
        Ok(())
    }
}

/// Mounts the medium, read-only, at `sysroot` of the running system `initramfs`, and returns its root.
pub(crate) fn mount_at_sysroot(initramfs: &Path, medium: MediumId) -> Result<OwnedFd, MediumError> {
    let own = initramfs.join(IN_INITRAMFS);
    let mounted = match File::open(&own) {
        Ok(file) if medium.is_on(&file) => mount::erofs_on_loop(&file)?,
        Ok(_) => return Err(MediumError::OtherFile(medium.to_string())),
        Err(_) => mount::erofs(wait_for(initramfs, medium)?)?,
    };
    let sysroot = open_directory(initramfs.join("sysroot"))?;
    Ok(mounted.attach(sysroot, "")?)
}

/// The block device with the medium, as soon as it is there.
fn wait_for(initramfs: &Path, medium: MediumId) -> Result<File, MediumError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let names = block_devices(initramfs);
        let device = |name: &String| File::open(initramfs.join("dev").join(name)).ok();
        if let Some(found) = names.iter().filter_map(device).find(|file| medium.is_on(file)) {
            return Ok(found);
        }
        if Instant::now() >= deadline {
            return Err(MediumError::NotFound {
                uuid: medium.to_string(),
                looked_at: names,
            });
        }
        std::thread::sleep(PAUSE);
    }
}

/// The names of all block devices that may have something on them, whole disks before their partitions.
fn block_devices(initramfs: &Path) -> Vec<String> {
    let folder: PathBuf = initramfs.join("sys/class/block");
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| !["loop", "ram", "zram"].iter().any(|kind| name.starts_with(kind)))
        .collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: &str = "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0";

    #[test]
    fn the_last_argument_counts() {
        let line = format!("quiet osmith.medium=x osmith.medium={UUID}");
        let found = MediumId::find(&line).unwrap().unwrap();
        assert_eq!(found.to_string(), UUID);
        assert_eq!(MediumId::find("quiet osmith.mediums=x").unwrap(), None);
        let error = MediumId::find("osmith.medium=sr0").unwrap_err();
        assert_eq!(
            error.to_string(),
            "kernel argument 'osmith.medium=sr0' is no UUID"
        );
    }

    #[test]
    fn a_medium_is_known_by_its_superblock() {
        let medium = MediumId::parse(UUID).unwrap();
        let is_on = |bytes: &[u8]| {
            let file = tempfile::tempfile().unwrap();
            file.write_all_at(bytes, 0).unwrap();
            medium.is_on(&file)
        };
        let mut disk = vec![0; 4096];
        assert!(!is_on(&disk) && !is_on(&[]));
        disk[1024..1028].copy_from_slice(&[0xe2, 0xe1, 0xf5, 0xe0]);
        assert!(!is_on(&disk));
        disk[1024 + 48..1024 + 64].copy_from_slice(&medium.0);
        assert!(is_on(&disk));
        disk[1024] = 0;
        assert!(!is_on(&disk));
    }

    #[test]
    fn disks_are_looked_at_and_named() {
        let initramfs = tempfile::tempdir().unwrap();
        for name in ["loop0", "sr0", "sda1", "sda"] {
            fs::create_dir_all(initramfs.path().join("sys/class/block").join(name)).unwrap();
        }
        assert_eq!(block_devices(initramfs.path()), ["sda", "sda1", "sr0"]);
        let error = MediumError::NotFound {
            uuid: UUID.to_owned(),
            looked_at: Vec::new(),
        };
        assert!(
            error
                .to_string()
                .ends_with("looked at none: there are no block devices")
        );
    }
}
