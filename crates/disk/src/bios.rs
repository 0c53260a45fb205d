//! What makes a disk start on BIOS machines too: GRUB, put together from the files of the image.
//!
//! ```text
//! boot sector                  GRUB's code before the partition table
//! BIOS boot partition          GRUB's core image, and in it the memory disk:
//!   (memdisk)/grub.cfg           finds the boot entries, the same that systemd-boot reads
//!   (memdisk)/i386-pc/linux.mod  comes after the entries were read: until then its command is a function of grub.cfg
//! ```
//!
//! An image without these files makes a disk that starts by UEFI only.

use std::io;

use osmith_formats::grub::{self, BOOT_CODE_BYTES, CoreImage, CoreParts, Dependencies, GrubError};
use osmith_formats::tree::{Content, Node, Tree};
use osmith_formats::verity::Digest;
use osmith_machine::entry::BootEntry;
use osmith_machine::grub::{GrubObstacle, require_readable};
use osmith_machine::install::ReadObject;
use osmith_report::{Class, Failure};

use crate::identity::volume_uuid;

/// Where an image has the files.
const FOLDER: &str = "usr/lib/grub/i386-pc";
/// Longer files are none of GRUB's.
const FILE_MAX_BYTES: u64 = 4 << 20;
const CONFIGURATION: &str = include_str!("bios/grub.cfg");
/// What the configuration has in the place of the identity of the file system with the boot entries.
const VOLUME: &str = "@VOLUME@";
const PREFIX: &str = "(memdisk)";
/// The module that starts a kernel.
const LINUX: &str = "linux";
/// What is there from the start; `ls`, `reboot` and `halt` for who stands before a machine without entries.
const MODULES: [&str; 18] = [
    "biosdisk",
    "part_gpt",
    "fat",
    "memdisk",
    "newc",
    "normal",
    "configfile",
    "search",
    "loadenv",
    "regexp",
    "test",
    "true",
    "echo",
    "serial",
    "terminal",
    "ls",
    "reboot",
    "halt",
];

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BiosBootRequest<'a> {
    /// The texts of the boot entries.
    pub(crate) entries: &'a [BootEntry],
    /// The identity of the FAT file system they are on.
    pub(crate) volume_id: u32,
    /// The first sector of the BIOS boot partition.
    pub(crate) core_lba: u64,
}

/// What a BIOS machine starts from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BiosBoot {
    /// The code of the boot sector.
    pub(crate) boot_code: [u8; BOOT_CODE_BYTES],
    /// What is in the BIOS boot partition, from its first byte on.
    pub(crate) core_image: Vec<u8>,
}

/// Why no disk for BIOS machines can be made of an image that has GRUB.
#[derive(Debug, thiserror::Error)]
pub enum BiosBootError {
    /// A file is missing.
    #[error("the image has GRUB for BIOS machines, but not its file '{0}'")]
    Missing(String),
    /// Something is no regular file, or too long.
    #[error("'{0}' is no file of GRUB")]
    NoFile(String),
    /// A file cannot be read.
    #[error("cannot read '{path}' of the image")]
    Unreadable {
        /// Its path.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// An object of the store is not what its name says.
    #[error("'{path}' of the image is damaged: its contents have another digest")]
    Damaged {
        /// Its path.
        path: String,
    },
    /// The files make no core image.
    #[error("cannot put GRUB together from '/{FOLDER}' of the image")]
    Grub(#[from] GrubError),
    /// A boot entry cannot be read by GRUB.
    #[error("the disk is to start on BIOS machines too, but its boot entry cannot be read there")]
    Entry(#[from] GrubObstacle),
}

impl Failure for BiosBootError {
    fn class(&self) -> Class {
        match self {
            BiosBootError::Unreadable { .. } => Class::Environment,
            BiosBootError::Damaged { .. } => Class::Corrupt,
            BiosBootError::Missing(_) | BiosBootError::NoFile(_) | BiosBootError::Grub(_) => Class::Input,
            BiosBootError::Entry(obstacle) => obstacle.class(),
        }
    }

    fn hints(&self) -> Vec<String> {
        let uefi_only = format!("an image without '/{FOLDER}' makes a disk that starts by UEFI only");
        match self {
            BiosBootError::Unreadable { .. } => Vec::new(),
            BiosBootError::Damaged { .. } => {
                vec!["'osmith fsck' names what is damaged in the store".to_owned()]
            }
            BiosBootError::Missing(_) | BiosBootError::NoFile(_) | BiosBootError::Grub(_) => {
                vec![
                    format!(
                        "the files of '/{FOLDER}' come from one version of GRUB: install it again (Debian: grub-pc-bin)"
                    ),
                    uefi_only,
                ]
            }
            BiosBootError::Entry(obstacle) => {
                let mut hints = obstacle.hints();
                hints.push(uefi_only);
                hints
            }
        }
    }
}

/// Makes a disk start on BIOS machines, if the image has what that takes.
pub(crate) fn bios_boot(
    tree: &Tree,
    object: &mut ReadObject,
    request: &BiosBootRequest<'_>,
) -> Result<Option<BiosBoot>, BiosBootError> {
    // A unified kernel image is a program for UEFI.
    let can_start = request.entries.iter().any(|entry| entry.linux.is_some());
    if tree.lookup(FOLDER.as_bytes()).is_none() || !can_start {
        return Ok(None);
    }
    request.entries.iter().try_for_each(require_readable)?;
    let mut files = GrubFiles { tree, object };
    let list = String::from_utf8_lossy(&files.read("moddep.lst")?).into_owned();
    let dependencies = Dependencies::parse(&list)?;
    let mut wanted = MODULES.to_vec();
    wanted.push(LINUX);
    let mut names = dependencies.order(&wanted)?;
    // Nothing else needs it: it comes last, and goes into the memory disk.
    names.retain(|name| name != LINUX);
    let modules = names.into_iter().map(|name| {
        let module = files.read(&format!("{name}.mod"))?;
        Ok((name, module))
    });
    let modules = modules.collect::<Result<_, BiosBootError>>()?;
    let core = CoreImage::new(&CoreParts {
        diskboot: files.read("diskboot.img")?,
        decompressor: files.read("lzma_decompress.img")?,
        kernel: files.read("kernel.img")?,
        modules,
        memory_disk: memory_disk(&files.read("linux.mod")?, request.volume_id)?,
        configuration: String::new(),
        prefix: PREFIX.to_owned(),
    })?;
    Ok(Some(BiosBoot {
        boot_code: grub::boot_code(&files.read("boot.img")?, request.core_lba)?,
        core_image: core.at(request.core_lba),
    }))
}

fn memory_disk(linux: &[u8], volume_id: u32) -> Result<Vec<u8>, BiosBootError> {
    let configuration = CONFIGURATION.replace(VOLUME, &volume_uuid(volume_id));
    let files = [
        ("grub.cfg", configuration.as_bytes()),
        ("i386-pc/linux.mod", linux),
    ];
    grub::archive(&files).map_err(|error| BiosBootError::NoFile(error.to_string()))
}

/// GRUB's files in an image.
struct GrubFiles<'a, 'b, 'c> {
    tree: &'a Tree,
    object: &'b mut ReadObject<'c>,
}

impl GrubFiles<'_, '_, '_> {
    fn read(&mut self, name: &str) -> Result<Vec<u8>, BiosBootError> {
        let path = format!("{FOLDER}/{name}");
        let id = self.tree.lookup(path.as_bytes());
        let id = id.ok_or_else(|| BiosBootError::Missing(path.clone()))?;
        match &self.tree.inode(id).node {
            Node::Regular(Content::Inline(bytes)) => Ok(bytes.to_vec()),
            Node::Regular(Content::Object { digest, size_bytes }) if *size_bytes <= FILE_MAX_BYTES => {
                let bytes = (self.object)(digest).map_err(|source| BiosBootError::Unreadable {
                    path: path.clone(),
                    source,
                })?;
                match Digest::of(&bytes) == *digest {
                    true => Ok(bytes),
                    false => Err(BiosBootError::Damaged { path }),
                }
            }
            _ => Err(BiosBootError::NoFile(path)),
        }
    }
}
