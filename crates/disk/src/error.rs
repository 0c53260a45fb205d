//! What can go wrong.

use std::io;
use std::path::{Path, PathBuf};

use osmith_formats::verity::Digest;
use osmith_formats::{cpio, erofs, ext4, fat32, gpt, medium, qcow2, swap, tar, vhd, vmdk};
use osmith_image::store::StoreError;
use osmith_machine::install::InstallError;
use osmith_report::{Class, Failure, Interrupted};

use crate::bios::BiosBootError;
use crate::bytes::Size;
use crate::customize::CustomizeError;
use crate::spec::ImageType;

/// Why a disk cannot be planned.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The image cannot be read.
    #[error(transparent)]
    Store(Box<StoreError>),
    /// The image is for a processor that no disk can be made for.
    #[error("image '{image}' is for the architecture '{architecture}', for which no disk can be made")]
    Architecture {
        /// The image.
        image: String,
        /// Its architecture.
        architecture: String,
    },
    /// The configuration does not suit the image.
    #[error(transparent)]
    Configuration(#[from] CustomizeError),
    /// The image cannot be deployed: no kernel, no boot loader ...
    #[error("cannot make a disk of image '{image}'")]
    Install {
        /// The image.
        image: String,
        /// Why.
        source: Box<InstallError>,
    },
    /// The image has GRUB for BIOS machines, and it does not work out.
    #[error("cannot make a disk of image '{image}' that starts on BIOS machines")]
    BiosBoot {
        /// The image.
        image: String,
        /// Why.
        source: Box<BiosBootError>,
    },
    /// The disk that was asked for is too small.
    #[error("a disk of {} is too small for image '{image}', which needs {} at least", Size(*size_bytes), Size(*minimum_bytes))]
    TooSmall {
        /// The image.
        image: String,
        /// What was asked for.
        size_bytes: u64,
        /// The least that works.
        minimum_bytes: u64,
    },
    /// The device is too small.
    #[error("the device has {}, and image '{image}' needs {} at least", Size(*size_bytes), Size(*minimum_bytes))]
    DeviceTooSmall {
        /// The image.
        image: String,
        /// What the device has.
        size_bytes: u64,
        /// The least that works.
        minimum_bytes: u64,
    },
    /// An output format has no room for a disk of that size.
    #[error("a disk of {} is too large for the format {format}, which takes {} at most", Size(*size_bytes), Size(*maximum_bytes))]
    TooLarge {
        /// The format.
        format: ImageType,
        /// The size of the disk.
        size_bytes: u64,
        /// The most that the format takes.
        maximum_bytes: u64,
    },
    /// Something does not fit the file system or swap area of a partition.
    #[error("cannot lay out partition '{name}'")]
    Volume {
        /// The name of the partition.
        name: String,
        /// Why.
        source: Box<FormatError>,
    },
    /// A partition is larger than any disk.
    #[error("partition '{name}' cannot have {size_bytes} bytes")]
    PartitionTooLarge {
        /// Its name.
        name: String,
        /// What it would take.
        size_bytes: u64,
    },
    /// All partitions together are larger than any disk.
    #[error("the partitions together are larger than any disk")]
    DiskTooLarge,
    /// File systems cannot be mounted where it was asked for.
    #[error("{}", mount_points(.0))]
    MountPoints(Vec<(String, MountPointReason)>),
    /// The partitions do not fit the disk.
    #[error("cannot lay out the partitions")]
    Partitions(#[from] gpt::GptError),
}

/// Why something cannot be laid out.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// As an ext4 file system.
    #[error(transparent)]
    Ext4(#[from] ext4::Error),
    /// As a FAT32 file system.
    #[error(transparent)]
    Fat32(#[from] fat32::Error),
    /// As a swap area.
    #[error(transparent)]
    Swap(#[from] swap::SwapError),
}

/// Why no file system can be mounted at a path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MountPointReason {
    /// Outside `/var` nothing can be made on a machine.
    #[error("the image has no such directory; outside /var it must have one")]
    Missing,
    /// Something else has the name.
    #[error("it is no directory, or below something that is none")]
    NoDirectory,
    /// The file system would hide files.
    #[error("the directory is not empty in the image, and outside /var its files would be hidden")]
    NotEmpty,
    /// The machine uses it itself.
    #[error("it belongs to the operating system")]
    Reserved,
    /// Links lead in circles.
    #[error("too many symbolic links lead to it")]
    Links,
    /// Two paths lead to one directory.
    #[error("it is the same directory as '{0}'")]
    Same(String),
}

/// Why a disk could not be written. Nothing stands under the final names then.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// An output is there already.
    #[error("the output '{}' exists", .0.display())]
    Exists(PathBuf),
    /// There is no room for the outputs.
    #[error("there is no room for the disk in '{}': it needs {needed}, {} are free", directory.display(), Size(*free_bytes))]
    NoSpace {
        /// The output directory.
        directory: PathBuf,
        /// What the outputs take.
        needed: Needed,
        /// What is there.
        free_bytes: u64,
    },
    /// The operating system refused something about an output.
    #[error("cannot {operation} '{}'", path.display())]
    Output {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The operating system refused something about the device; what was on it is lost.
    #[error("cannot {operation} '{}'", path.display())]
    Device {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// An object is missing, or cannot be opened.
    #[error(transparent)]
    Store(Box<StoreError>),
    /// An object cannot be read.
    #[error("cannot read object {digest} of the store")]
    ReadObject {
        /// The object.
        digest: Digest,
        /// What the system said.
        source: io::Error,
    },
    /// A record of the store cannot be read.
    #[error("cannot read '{path}' of the store")]
    ReadRecord {
        /// Its path there.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// An object is not what its name says.
    #[error(
        "object {digest} of the store is damaged{}: its contents have another digest",
        place(path)
    )]
    Damaged {
        /// The object.
        digest: Digest,
        /// A file of the image that has these contents.
        path: Option<String>,
    },
    /// The user asked to stop.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    /// Another thread failed; its error is the one that counts.
    #[error("the work was stopped")]
    Stopped,
    /// Parts of the plan contradict each other.
    #[error("the plan of the disk contradicts itself: {0}")]
    Inconsistent(&'static str),
    /// A cluster cannot be placed.
    #[error("cannot lay out the qcow2 image")]
    Qcow2(#[from] qcow2::Qcow2Error),
    /// A grain cannot be placed.
    #[error("cannot lay out the VMDK")]
    Vmdk(#[from] vmdk::VmdkError),
    /// A block cannot be placed.
    #[error("cannot lay out the VHD")]
    Vhd(#[from] vhd::VhdError),
    /// An archive's member cannot be described.
    #[error("cannot lay out the archive")]
    Tar(#[from] tar::TarError),
    /// The VMDK is too long for an archive.
    #[error("the VMDK of this disk is longer than 8 GiB, which no member of an OVA can be")]
    OvaTooLong,
    /// The file system of a medium has no room for the image.
    #[error("cannot lay out the medium's file system")]
    Erofs(#[from] erofs::Error),
    /// The medium cannot hold the image, or its boot files.
    #[error("cannot lay out the medium")]
    Medium(#[from] medium::Error),
    /// A file is too long for an initramfs.
    #[error("cannot lay out the initramfs")]
    Cpio(#[from] cpio::Error),
    /// A compressor refused.
    #[error("cannot compress a part of the disk")]
    Compress(#[source] io::Error),
}

/// How much room outputs take, as far as it is known before they are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needed {
    /// So many bytes, or more.
    AtLeast(u64),
    /// So many bytes, or fewer.
    UpTo(u64),
}

impl std::fmt::Display for Needed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Needed::AtLeast(bytes) => write!(f, "at least {}", Size(*bytes)),
            Needed::UpTo(bytes) => write!(f, "up to {}", Size(*bytes)),
        }
    }
}

impl WriteError {
    pub(crate) fn damaged(digest: &Digest) -> Self {
        WriteError::Damaged {
            digest: *digest,
            path: None,
        }
    }

    pub(crate) fn device(operation: &'static str, path: &Path, source: io::Error) -> Self {
        WriteError::Device {
            operation,
            path: path.to_owned(),
            source,
        }
    }

    pub(crate) fn output(operation: &'static str, path: &Path, source: io::Error) -> Self {
        WriteError::Output {
            operation,
            path: path.to_owned(),
            source,
        }
    }
}

impl From<StoreError> for PlanError {
    fn from(error: StoreError) -> Self {
        PlanError::Store(Box::new(error))
    }
}

impl From<StoreError> for WriteError {
    fn from(error: StoreError) -> Self {
        WriteError::Store(Box::new(error))
    }
}

fn mount_points(wrong: &[(String, MountPointReason)]) -> String {
    let lines = wrong
        .iter()
        .map(|(path, reason)| format!("no file system can be mounted at '{path}': {reason}"));
    lines.collect::<Vec<_>>().join("\n")
}

fn place(path: &Option<String>) -> String {
    path.as_ref()
        .map(|path| format!(" (the image has it as {path})"))
        .unwrap_or_default()
}

impl Failure for PlanError {
    fn class(&self) -> Class {
        match self {
            PlanError::Store(error) => error.class(),
            PlanError::Install { source, .. } => source.class(),
            PlanError::Configuration(error) => error.class(),
            PlanError::BiosBoot { source, .. } => source.class(),
            PlanError::TooSmall { .. } | PlanError::DeviceTooSmall { .. } | PlanError::TooLarge { .. } => {
                Class::Usage
            }
            PlanError::Architecture { .. } | PlanError::Volume { .. } => Class::Input,
            PlanError::MountPoints(_) | PlanError::PartitionTooLarge { .. } | PlanError::DiskTooLarge => {
                Class::Usage
            }
            PlanError::Partitions(_) => Class::Internal,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            PlanError::Store(error) => error.hints(),
            PlanError::Install { source, .. } => source.hints(),
            PlanError::BiosBoot { source, .. } => source.hints(),
            PlanError::TooSmall { minimum_bytes, .. } => {
                vec![format!(
                    "ask for --size {} or more, or leave the size out",
                    Size(*minimum_bytes).option()
                )]
            }
            PlanError::TooLarge { maximum_bytes, .. } => {
                vec![format!(
                    "ask for --size {} or less, or for another --type",
                    Size(*maximum_bytes).option()
                )]
            }
            PlanError::Architecture { .. } => vec!["disks are made for amd64 and arm64".to_owned()],
            _ => Vec::new(),
        }
    }
}

impl Failure for WriteError {
    fn class(&self) -> Class {
        match self {
            WriteError::Exists(_) => Class::Conflict,
            WriteError::NoSpace { .. } | WriteError::Output { .. } => Class::Environment,
            WriteError::Device { .. } => Class::Environment,
            WriteError::ReadObject { .. } | WriteError::ReadRecord { .. } => Class::Environment,
            WriteError::Store(error) => error.class(),
            WriteError::Damaged { .. } => Class::Corrupt,
            WriteError::OvaTooLong => Class::Input,
            WriteError::Interrupted(_) => Class::Interrupted,
            WriteError::Stopped
            | WriteError::Inconsistent(_)
            | WriteError::Qcow2(_)
            | WriteError::Vmdk(_)
            | WriteError::Vhd(_)
            | WriteError::Tar(_)
            | WriteError::Erofs(_)
            | WriteError::Medium(_)
            | WriteError::Cpio(_)
            | WriteError::Compress(_) => Class::Internal,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            WriteError::Exists(_) => {
                vec!["replace it with --force, or choose another directory with --output DIR".to_owned()]
            }
            WriteError::Output { .. } => vec!["choose another directory with --output DIR".to_owned()],
            WriteError::NoSpace { .. } => {
                vec!["free some space, or choose another directory with --output DIR".to_owned()]
            }
            WriteError::Damaged { .. } => vec![
                "remove the image with osmith rmi, run osmith prune, and build or load the image again"
                    .to_owned(),
            ],
            WriteError::OvaTooLong => {
                vec!["make a VMDK, which can be longer: osmith disk --type vmdk IMAGE".to_owned()]
            }
            WriteError::Store(error) => error.hints(),
            _ => Vec::new(),
        }
    }
}
