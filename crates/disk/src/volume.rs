//! A partition and what is in it.

use std::ops::Range;

use osmith_formats::gpt::{Guid, Partition, SECTOR_BYTES};
use osmith_formats::tree::{InodeId, Node, Timestamp, Tree};
use osmith_formats::{ext4, fat32, swap};
use osmith_machine::install::InstallFile;

use crate::bytes::GRAIN_BYTES;
use crate::chunk::{Filling, Piece};
use crate::error::{FormatError, PlanError};
use crate::identity::{Identity, volume_uuid};
use crate::storage::PartitionSpec;

pub(crate) const ESP_LABEL: &str = "EFI-SYSTEM";
pub(crate) const BOOT_LABEL: &str = "BOOT";
const BIOS_BOOT_NAME: &str = "BIOS-BOOT";
pub(crate) const ROOT_LABEL: &str = "root";

/// A new kernel comes beside the one that runs and the one to go back to, and goes only when all is done.
const KERNELS_AT_A_TIME: u64 = 3;
const KERNELS_MIN_BYTES: u64 = 512 << 20;
/// Of an EFI system partition without kernels.
const LOADER_MIN_BYTES: u64 = 128 << 20;
/// Boot loader, boot entries, and what firmware updates leave.
const BOOT_EXTRA_BYTES: u64 = 32 << 20;
const ROOT_MIN_FREE_BYTES: u64 = 1 << 30;
const RESERVED_PERCENT: u8 = 5;
const INODE_AND_NAME_BYTES: u64 = 512 + 2048;

/// A partition and what is in it.
#[derive(Debug)]
pub(crate) struct Volume {
    pub(crate) name: String,
    pub(crate) type_guid: Guid,
    pub(crate) guid: Guid,
    /// Where it is mounted, if it is by name.
    pub(crate) mount_point: Option<String>,
    /// The least size, of which whole grains are made.
    min_bytes: u64,
    pub(crate) format: Format,
}

/// What is in a partition.
#[derive(Debug)]
pub(crate) enum Format {
    Fat32 {
        tree: Tree<fat32::File>,
        options: fat32::Options,
    },
    Ext4 {
        tree: Tree<ext4::File>,
        options: ext4::Options,
    },
    Swap {
        uuid: Guid,
        label: String,
        size_bytes: u64,
    },
    /// The code of a boot loader, from the first byte on.
    Code(Vec<u8>),
    Empty,
}

/// What a volume is called, and what its identifiers are derived from: those of a disk all have another role.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Named<'a> {
    pub(crate) role: &'a str,
    pub(crate) identity: &'a Identity<'a>,
    /// What is wanted of it, if somebody said that.
    pub(crate) spec: Option<&'a PartitionSpec>,
}

impl Named<'_> {
    fn partition(&self, name: &str, type_guid: Guid, format: Format) -> Volume {
        let spec = self.spec;
        Volume {
            name: spec.and_then(|spec| spec.name.clone()).unwrap_or(name.to_owned()),
            type_guid: spec.and_then(|spec| spec.type_guid).unwrap_or(type_guid),
            guid: spec
                .and_then(|spec| spec.guid)
                .unwrap_or_else(|| self.identity.guid(&format!("{} partition", self.role))),
            mount_point: None,
            min_bytes: spec.map_or(0, |spec| spec.min_bytes),
            format,
        }
    }

    fn label(&self, usual: &str) -> String {
        self.spec
            .and_then(|spec| spec.label.clone())
            .unwrap_or(usual.to_owned())
    }

    fn fat32(&self, tree: Tree<InstallFile>, label: &str) -> Format {
        let time = time_of(&tree);
        Format::Fat32 {
            tree: tree.into_map(|file| fat32::File {
                size_bytes: file.size_bytes,
                source: file.source,
            }),
            options: fat32::Options {
                size_bytes: 0,
                hidden_sectors: 0,
                volume_id: self.identity.volume_id(self.role),
                label: self.label(label),
                time,
            },
        }
    }

    fn ext4(&self, tree: Tree<InstallFile>, label: &str) -> Format {
        let time = time_of(&tree);
        Format::Ext4 {
            tree: tree.into_map(|file| ext4::File {
                size_bytes: file.size_bytes,
                holes: Box::default(),
                verity: file.verity,
                source: file.source,
            }),
            options: ext4::Options {
                size_bytes: 0,
                uuid: *self.identity.guid(self.role).as_bytes(),
                hash_seed: self.identity.bytes(&format!("{} directory hash", self.role)),
                label: self.label(label),
                time,
                journal_bytes: None,
                reserved_percent: RESERVED_PERCENT,
            },
        }
    }

    /// The EFI system partition. With kernels it has room for those of updates.
    pub(crate) fn esp(&self, tree: Tree<InstallFile>, has_kernels: bool) -> Volume {
        let mut volume = self.partition(ESP_LABEL, Guid::EFI_SYSTEM, self.fat32(tree, ESP_LABEL));
        volume.make_room(if has_kernels {
            KERNELS_MIN_BYTES
        } else {
            LOADER_MIN_BYTES
        });
        volume
    }

    /// The partition of boot entries and kernels beside the EFI system partition.
    pub(crate) fn boot(&self, tree: Tree<InstallFile>) -> Volume {
        let format = self.fat32(tree, BOOT_LABEL);
        let mut volume = self.partition("boot", Guid::EXTENDED_BOOT_LOADER, format);
        volume.make_room(KERNELS_MIN_BYTES);
        volume
    }

    /// The root file system. Without the attribute by which systemd grows it: what is mounted at `/` is a composefs, which
    /// cannot grow, so that the unit would fail where systemd finds root by the partition's type.
    pub(crate) fn root(&self, tree: Tree<InstallFile>, type_guid: Guid) -> Volume {
        self.partition(ROOT_LABEL, type_guid, self.ext4(tree, ROOT_LABEL))
    }

    /// A file system of its own.
    pub(crate) fn mounted_ext4(&self, tree: Tree<InstallFile>, path: &str) -> Volume {
        let mut volume = self.partition(&name_of(path), Guid::LINUX_DATA, self.ext4(tree, ""));
        volume.mount_point = Some(path.to_owned());
        volume
    }

    /// The same, FAT32.
    pub(crate) fn mounted_fat32(&self, tree: Tree<InstallFile>, path: &str) -> Volume {
        let mut volume = self.partition(&name_of(path), Guid::LINUX_DATA, self.fat32(tree, ""));
        volume.min_bytes = volume.min_bytes.max(volume.file_bytes() + fat32::MIN_BYTES);
        volume.mount_point = Some(path.to_owned());
        volume
    }

    /// A swap area.
    pub(crate) fn swap(&self) -> Volume {
        let format = Format::Swap {
            uuid: self.identity.guid(self.role),
            label: self.label(""),
            size_bytes: 0,
        };
        self.partition("swap", Guid::SWAP, format)
    }

    /// What the boot sector of a BIOS machine loads.
    pub(crate) fn bios_boot(&self, code: Vec<u8>) -> Volume {
        self.partition(BIOS_BOOT_NAME, Guid::BIOS_BOOT, Format::Code(code))
    }

    /// A partition that is left empty.
    pub(crate) fn empty(&self) -> Volume {
        self.partition("", Guid::LINUX_DATA, Format::Empty)
    }
}

fn time_of(tree: &Tree<InstallFile>) -> Timestamp {
    tree.inode(tree.root()).metadata.mtime
}

/// `/var/log` → `var-log`, as much as a partition's name can take.
fn name_of(path: &str) -> String {
    let name = path.trim_matches('/').replace('/', "-");
    let mut units = 0;
    name.chars()
        .take_while(|letter| {
            units += letter.len_utf16();
            units <= osmith_formats::gpt::NAME_MAX_UNITS
        })
        .collect()
}

impl Volume {
    fn make_room(&mut self, least_bytes: u64) {
        let needed = self.file_bytes() * KERNELS_AT_A_TIME + BOOT_EXTRA_BYTES;
        self.min_bytes = self.min_bytes.max(needed).max(least_bytes);
    }

    /// The smallest size it can have, whole grains.
    pub(crate) fn smallest_bytes(&self) -> Result<u64, PlanError> {
        let needed = match &self.format {
            Format::Ext4 { tree, options } => {
                ext4::minimum_size_bytes(tree, options, 0).map_err(|error| self.failed(error))?
            }
            Format::Code(code) => code.len() as u64,
            Format::Fat32 { .. } | Format::Swap { .. } | Format::Empty => GRAIN_BYTES,
        };
        self.at_least(needed)
    }

    /// A size with some room to grow, whole grains.
    pub(crate) fn roomy_bytes(&self) -> Result<u64, PlanError> {
        let free = |full: u64| (full / 4).max(ROOT_MIN_FREE_BYTES);
        match &self.format {
            Format::Ext4 { tree, options } => {
                let roomy = ext4::roomy_size_bytes(tree, options, free);
                self.at_least(roomy.map_err(|error| self.failed(error))?)
            }
            Format::Fat32 { .. } | Format::Swap { .. } | Format::Code(_) | Format::Empty => {
                self.smallest_bytes()
            }
        }
    }

    fn at_least(&self, needed_bytes: u64) -> Result<u64, PlanError> {
        let size_bytes = needed_bytes.max(self.min_bytes);
        size_bytes
            .checked_next_multiple_of(GRAIN_BYTES)
            .ok_or_else(|| PlanError::PartitionTooLarge {
                name: self.name.clone(),
                size_bytes,
            })
    }

    fn failed(&self, error: impl Into<FormatError>) -> PlanError {
        PlanError::Volume {
            name: self.name.clone(),
            source: Box::new(error.into()),
        }
    }

    /// Sets the size, and makes sure that everything fits.
    pub(crate) fn settle(&mut self, offset_bytes: u64, partition_bytes: u64) -> Result<(), PlanError> {
        match &mut self.format {
            Format::Fat32 { options, .. } => {
                options.size_bytes = partition_bytes;
                options.hidden_sectors = u32::try_from(offset_bytes / SECTOR_BYTES).unwrap_or(0);
            }
            Format::Ext4 { options, .. } => options.size_bytes = partition_bytes,
            Format::Swap { size_bytes, .. } => *size_bytes = partition_bytes,
            Format::Code(_) | Format::Empty => {}
        }
        self.layout().map(drop)
    }

    pub(crate) fn partition(&self, offset_bytes: u64, size_bytes: u64) -> Partition {
        Partition {
            type_guid: self.type_guid,
            guid: self.guid,
            first_lba: offset_bytes / SECTOR_BYTES,
            sectors: size_bytes / SECTOR_BYTES,
            attributes: 0,
            name: self.name.clone(),
        }
    }

    /// What `blkid` calls its contents.
    pub(crate) fn file_system(&self) -> &'static str {
        match self.format {
            Format::Fat32 { .. } => "vfat",
            Format::Ext4 { .. } => "ext4",
            Format::Swap { .. } => "swap",
            Format::Code(_) | Format::Empty => "",
        }
    }

    /// The identity of its contents, as in `/dev/disk/by-uuid`.
    pub(crate) fn uuid(&self) -> Option<String> {
        match &self.format {
            Format::Fat32 { options, .. } => Some(volume_uuid(options.volume_id)),
            Format::Ext4 { options, .. } => Some(Guid::from_bytes(options.uuid).to_string()),
            Format::Swap { uuid, .. } => Some(uuid.to_string()),
            Format::Code(_) | Format::Empty => None,
        }
    }

    /// How many bytes of files and of their fs-verity metadata there are.
    pub(crate) fn file_bytes(&self) -> u64 {
        match &self.format {
            Format::Fat32 { tree, .. } => sum_files(tree, |file| file.size_bytes),
            Format::Ext4 { tree, .. } => sum_files(tree, |file| match file.verity {
                true => file.size_bytes + ext4::verity_region_bytes(file.size_bytes),
                false => file.size_bytes,
            }),
            Format::Code(code) => code.len() as u64,
            Format::Swap { .. } | Format::Empty => 0,
        }
    }

    /// How many bytes of that are fs-verity metadata.
    pub(crate) fn verity_bytes(&self) -> u64 {
        match &self.format {
            Format::Ext4 { tree, .. } => sum_files(tree, |file| match file.verity {
                true => ext4::verity_region_bytes(file.size_bytes),
                false => 0,
            }),
            Format::Fat32 { .. } | Format::Swap { .. } | Format::Code(_) | Format::Empty => 0,
        }
    }

    /// How many bytes its metadata take at most.
    pub(crate) fn metadata_bytes(&self) -> u64 {
        match &self.format {
            Format::Ext4 { tree, .. } => tree.arena_len() as u64 * INODE_AND_NAME_BYTES,
            Format::Fat32 { .. } | Format::Swap { .. } | Format::Code(_) | Format::Empty => 0,
        }
    }

    /// How everything lies in it, once it is settled.
    pub(crate) fn layout(&self) -> Result<VolumeLayout<'_>, PlanError> {
        match &self.format {
            Format::Fat32 { tree, options } => fat32::plan(tree, options)
                .map(VolumeLayout::Fat32)
                .map_err(|error| self.failed(error)),
            Format::Ext4 { tree, options } => ext4::plan(tree, options)
                .map(|layout| VolumeLayout::Ext4(tree, Box::new(layout)))
                .map_err(|error| self.failed(error)),
            Format::Swap {
                uuid,
                label,
                size_bytes,
            } => swap::header(*size_bytes, *uuid, label)
                .map(VolumeLayout::Bytes)
                .map_err(|error| self.failed(error)),
            Format::Code(code) => Ok(VolumeLayout::Bytes(code.clone())),
            Format::Empty => Ok(VolumeLayout::Bytes(Vec::new())),
        }
    }
}

/// How everything lies in a volume.
pub(crate) enum VolumeLayout<'a> {
    Fat32(fat32::Layout),
    Ext4(&'a Tree<ext4::File>, Box<ext4::Layout<'a>>),
    Bytes(Vec<u8>),
}

impl VolumeLayout<'_> {
    /// What can still be written; nothing where there is no file system.
    pub(crate) fn free_bytes(&self) -> u64 {
        match self {
            VolumeLayout::Fat32(layout) => layout.free_bytes(),
            VolumeLayout::Ext4(_, layout) => layout.free_bytes(),
            VolumeLayout::Bytes(_) => 0,
        }
    }

    /// Where something lies in it, in no order, for a volume that begins at `start` on the disk; a little more at most.
    pub(crate) fn covered_bytes(&self, start: u64) -> Vec<Range<u64>> {
        let mut covered: Vec<Range<u64>> = match self {
            VolumeLayout::Fat32(layout) => layout.pieces().iter().map(fat32_range).collect(),
            VolumeLayout::Ext4(_, layout) => layout.covered_bytes().collect(),
            VolumeLayout::Bytes(bytes) => std::iter::once(0..bytes.len() as u64).collect(),
        };
        for range in &mut covered {
            *range = start + range.start..start + range.end;
        }
        covered
    }

    /// Everything in it, in its order, for a volume that begins at `start` on the disk.
    pub(crate) fn pieces(&self, start: u64) -> Box<dyn Iterator<Item = Piece> + Send + '_> {
        match self {
            VolumeLayout::Fat32(layout) => {
                Box::new(layout.pieces().iter().map(move |piece| fat32_piece(piece, start)))
            }
            VolumeLayout::Ext4(tree, layout) => {
                Box::new(layout.pieces().map(move |piece| ext4_piece(piece, tree, start)))
            }
            VolumeLayout::Bytes(bytes) if bytes.is_empty() => Box::new(std::iter::empty()),
            VolumeLayout::Bytes(bytes) => Box::new(std::iter::once(Piece::bytes(start, bytes.clone()))),
        }
    }
}

fn fat32_range(piece: &fat32::Piece) -> Range<u64> {
    let (offset_bytes, len_bytes) = match piece {
        fat32::Piece::Bytes { offset_bytes, bytes } => (*offset_bytes, bytes.len() as u64),
        fat32::Piece::Data {
            offset_bytes,
            len_bytes,
            ..
        } => (*offset_bytes, *len_bytes),
    };
    offset_bytes..offset_bytes + len_bytes
}

fn fat32_piece(piece: &fat32::Piece, start: u64) -> Piece {
    match piece {
        fat32::Piece::Bytes { offset_bytes, bytes } => Piece::bytes(start + offset_bytes, bytes.clone()),
        fat32::Piece::Data {
            offset_bytes,
            source,
            len_bytes,
        } => Piece {
            offset_bytes: start + offset_bytes,
            len_bytes: *len_bytes,
            filling: Filling::Data {
                file: InstallFile {
                    source: *source,
                    size_bytes: *len_bytes,
                    verity: false,
                },
                at_bytes: 0,
            },
        },
    }
}

fn ext4_piece(piece: ext4::Piece, tree: &Tree<ext4::File>, start: u64) -> Piece {
    let (offset_bytes, len_bytes, filling) = match piece {
        ext4::Piece::Bytes { offset_bytes, bytes } => return Piece::bytes(start + offset_bytes, bytes),
        ext4::Piece::Data {
            offset_bytes,
            inode,
            file_offset_bytes: at_bytes,
            len_bytes,
            ..
        } => {
            let file = file_of(tree, inode);
            (offset_bytes, len_bytes, Filling::Data { file, at_bytes })
        }
        ext4::Piece::Verity {
            offset_bytes,
            inode,
            region_offset_bytes: at_bytes,
            len_bytes,
            ..
        } => {
            let file = file_of(tree, inode);
            (offset_bytes, len_bytes, Filling::Verity { file, at_bytes })
        }
    };
    Piece {
        offset_bytes: start + offset_bytes,
        len_bytes,
        filling,
    }
}

/// The file of an inode that has contents.
fn file_of(tree: &Tree<ext4::File>, inode: InodeId) -> InstallFile {
    let file = match &tree.inode(inode).node {
        Node::Regular(file) => file.clone(),
        _ => ext4::File::default(),
    };
    InstallFile {
        source: file.source,
        size_bytes: file.size_bytes,
        verity: file.verity,
    }
}

fn sum_files<F>(tree: &Tree<F>, bytes: impl Fn(&F) -> u64) -> u64 {
    let files = tree.inodes().map(|inode| match &inode.node {
        Node::Regular(file) => bytes(file),
        _ => 0,
    });
    files.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_the_table() {
        assert_eq!(name_of("/var/log"), "var-log");
        let long = format!("/var/{}", "ö".repeat(60));
        assert_eq!(name_of(&long).encode_utf16().count(), 36);
    }
}
