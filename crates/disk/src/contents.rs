//! What a disk holds, from the first sector to the last.
//!
//! ```text
//! │partition table│1 MiB: EFI system partition, FAT32│root, ext4│1 MiB: table again│
//! ```

use osmith_formats::gpt::{ATTRIBUTE_GROW_FILE_SYSTEM, BACKUP_SECTORS, Guid, Partition, SECTOR_BYTES, Table};
use osmith_formats::tree::{InodeId, Node, Tree};
use osmith_formats::{ext4, fat32};
use osmith_machine::install::{FileData, InstallFile};

use crate::chunk::{Filling, Piece};
use crate::error::PlanError;
use crate::identity::Identity;

/// Partitions start and end at multiples of this, and so does the disk.
pub(crate) const GRAIN_BYTES: u64 = 1 << 20;
/// A new kernel comes beside the one that runs and the one to go back to, and goes only when all is done.
const KERNELS_ON_ESP: u64 = 3;
const ESP_MIN_BYTES: u64 = 512 << 20;
/// Boot loader, boot entries, and what firmware updates leave on an ESP.
const ESP_EXTRA_BYTES: u64 = 32 << 20;
const ROOT_MIN_FREE_BYTES: u64 = 1 << 30;
const ROOT_RESERVED_PERCENT: u8 = 5;

pub(crate) const ESP_LABEL: &str = "EFI-SYSTEM";
pub(crate) const ROOT_LABEL: &str = "root";

/// A disk without its partition table.
#[derive(Debug)]
pub(crate) struct Contents {
    /// What is in the files of both file systems.
    pub(crate) sources: Vec<FileData>,
    esp: Tree<fat32::File>,
    esp_options: fat32::Options,
    root: Tree<ext4::File>,
    root_options: ext4::Options,
}

/// Where the parts of a disk are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Geometry {
    pub(crate) disk_bytes: u64,
    pub(crate) esp_bytes: u64,
    pub(crate) root_bytes: u64,
}

/// The identifiers of a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identifiers {
    pub(crate) disk: Guid,
    pub(crate) esp_partition: Guid,
    pub(crate) root_partition: Guid,
    pub(crate) root_type: Guid,
    pub(crate) esp_volume_id: u32,
    pub(crate) root_uuid: Guid,
    root_hash_seed: [u8; 16],
}

impl Identifiers {
    /// `None` if there is no root partition type for the architecture.
    pub(crate) fn derive(identity: &Identity<'_>, architecture: &str) -> Option<Self> {
        Some(Identifiers {
            disk: identity.guid("disk"),
            esp_partition: identity.guid("esp partition"),
            root_partition: identity.guid("root partition"),
            root_type: Guid::root_of(architecture)?,
            esp_volume_id: identity.volume_id("esp"),
            root_uuid: identity.guid("root"),
            root_hash_seed: identity.bytes("root directory hash"),
        })
    }
}

impl Geometry {
    pub(crate) fn esp_offset(&self) -> u64 {
        GRAIN_BYTES
    }

    pub(crate) fn root_offset(&self) -> u64 {
        GRAIN_BYTES + self.esp_bytes
    }

    /// A disk for partitions of these sizes, which are whole grains.
    fn around(esp_bytes: u64, root_bytes: u64) -> Self {
        let disk_bytes = GRAIN_BYTES + esp_bytes + root_bytes + GRAIN_BYTES;
        Geometry {
            disk_bytes,
            esp_bytes,
            root_bytes,
        }
    }
}

impl Contents {
    /// What a disk of these file systems holds. Their sizes come later.
    pub(crate) fn of(
        (esp, root, sources): (Tree<InstallFile>, Tree<InstallFile>, Vec<FileData>),
        identifiers: &Identifiers,
    ) -> Self {
        let esp = esp.into_map(|file| fat32::File {
            size_bytes: file.size_bytes,
            source: file.source,
        });
        let root = root.into_map(|file| ext4::File {
            size_bytes: file.size_bytes,
            holes: Box::default(),
            verity: file.verity,
            source: file.source,
        });
        let time = root.inode(root.root()).metadata.mtime;
        Contents {
            sources,
            esp,
            esp_options: fat32::Options {
                size_bytes: 0,
                hidden_sectors: (GRAIN_BYTES / SECTOR_BYTES) as u32,
                volume_id: identifiers.esp_volume_id,
                label: ESP_LABEL.to_owned(),
                time,
            },
            root,
            root_options: ext4::Options {
                size_bytes: 0,
                uuid: *identifiers.root_uuid.as_bytes(),
                hash_seed: identifiers.root_hash_seed,
                label: ROOT_LABEL.to_owned(),
                time,
                journal_bytes: None,
                reserved_percent: ROOT_RESERVED_PERCENT,
            },
        }
    }

    /// The geometry of a disk with some room to grow.
    pub(crate) fn roomy(&self) -> Result<Geometry, PlanError> {
        let free = |full: u64| (full / 4).max(ROOT_MIN_FREE_BYTES);
        let root_bytes = ext4::roomy_size_bytes(&self.root, &self.root_options, free)?;
        Ok(Geometry::around(
            self.esp_bytes(),
            root_bytes.next_multiple_of(GRAIN_BYTES),
        ))
    }

    /// The geometry of the smallest disk.
    pub(crate) fn smallest(&self) -> Result<Geometry, PlanError> {
        let root_bytes = ext4::minimum_size_bytes(&self.root, &self.root_options, 0)?;
        Ok(Geometry::around(
            self.esp_bytes(),
            root_bytes.next_multiple_of(GRAIN_BYTES),
        ))
    }

    /// The geometry of a disk of that size, which is not below the smallest.
    pub(crate) fn filling(&self, disk_bytes: u64) -> Geometry {
        let esp_bytes = self.esp_bytes();
        // The end of a device may be anywhere.
        let root_bytes = (disk_bytes - 2 * GRAIN_BYTES - esp_bytes) / GRAIN_BYTES * GRAIN_BYTES;
        Geometry {
            disk_bytes,
            esp_bytes,
            root_bytes,
        }
    }

    fn esp_file_bytes(&self) -> u64 {
        let files = self.esp.inodes().map(|inode| match &inode.node {
            Node::Regular(file) => file.size_bytes,
            _ => 0,
        });
        files.sum()
    }

    fn esp_bytes(&self) -> u64 {
        (self.esp_file_bytes() * KERNELS_ON_ESP + ESP_EXTRA_BYTES)
            .next_multiple_of(GRAIN_BYTES)
            .max(ESP_MIN_BYTES)
    }

    /// Sets the sizes of the file systems, and makes sure that everything fits.
    pub(crate) fn settle(&mut self, geometry: &Geometry) -> Result<(), PlanError> {
        self.esp_options.size_bytes = geometry.esp_bytes;
        self.root_options.size_bytes = geometry.root_bytes;
        fat32::plan(&self.esp, &self.esp_options)?;
        self.root_layout()?;
        Ok(())
    }

    /// The layout of the root file system.
    pub(crate) fn root_layout(&self) -> Result<ext4::Layout<'_>, PlanError> {
        Ok(ext4::plan(&self.root, &self.root_options)?)
    }

    /// The partition table.
    pub(crate) fn table(&self, geometry: &Geometry, identifiers: &Identifiers) -> Table {
        let partition = |name: &str, type_guid, guid, offset: u64, size: u64, attributes| Partition {
            type_guid,
            guid,
            first_lba: offset / SECTOR_BYTES,
            sectors: size / SECTOR_BYTES,
            attributes,
            name: name.to_owned(),
        };
        let esp = partition(
            ESP_LABEL,
            Guid::EFI_SYSTEM,
            identifiers.esp_partition,
            geometry.esp_offset(),
            geometry.esp_bytes,
            0,
        );
        let root = partition(
            ROOT_LABEL,
            identifiers.root_type,
            identifiers.root_partition,
            geometry.root_offset(),
            geometry.root_bytes,
            ATTRIBUTE_GROW_FILE_SYSTEM,
        );
        Table {
            disk_guid: identifiers.disk,
            disk_sectors: geometry.disk_bytes / SECTOR_BYTES,
            partitions: vec![esp, root],
        }
    }

    /// Everything on the disk, in its order.
    pub(crate) fn pieces<'a>(
        &'a self,
        table: &Table,
        geometry: &Geometry,
        layout: &'a ext4::Layout<'_>,
    ) -> Result<impl Iterator<Item = Piece> + 'a, PlanError> {
        let written = table.to_bytes()?;
        let backup_offset = geometry.disk_bytes - BACKUP_SECTORS * SECTOR_BYTES;
        let (esp_offset, root_offset) = (geometry.esp_offset(), geometry.root_offset());
        let esp = fat32::plan(&self.esp, &self.esp_options)?.into_pieces();
        Ok(std::iter::once(Piece::bytes(0, written.primary))
            .chain(esp.into_iter().map(move |piece| esp_piece(piece, esp_offset)))
            .chain(
                layout
                    .pieces()
                    .map(move |piece| self.root_piece(piece, root_offset)),
            )
            .chain(std::iter::once(Piece::bytes(backup_offset, written.backup))))
    }

    fn root_piece(&self, piece: ext4::Piece, start: u64) -> Piece {
        let (offset_bytes, len_bytes, filling) = match piece {
            ext4::Piece::Bytes { offset_bytes, bytes } => return Piece::bytes(start + offset_bytes, bytes),
            ext4::Piece::Data {
                offset_bytes,
                inode,
                file_offset_bytes: at_bytes,
                len_bytes,
                ..
            } => {
                let file = self.root_file(inode);
                (offset_bytes, len_bytes, Filling::Data { file, at_bytes })
            }
            ext4::Piece::Verity {
                offset_bytes,
                inode,
                region_offset_bytes: at_bytes,
                len_bytes,
                ..
            } => {
                let file = self.root_file(inode);
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
    fn root_file(&self, inode: InodeId) -> InstallFile {
        let file = match &self.root.inode(inode).node {
            Node::Regular(file) => file.clone(),
            _ => ext4::File::default(),
        };
        InstallFile {
            source: file.source,
            size_bytes: file.size_bytes,
            verity: file.verity,
        }
    }

    /// How many bytes of files and of their fs-verity metadata there are.
    pub(crate) fn file_bytes(&self) -> u64 {
        let bytes = self.root.inodes().map(|inode| match &inode.node {
            Node::Regular(file) if file.verity => {
                file.size_bytes + ext4::verity_region_bytes(file.size_bytes)
            }
            Node::Regular(file) => file.size_bytes,
            _ => 0,
        });
        self.esp_file_bytes() + bytes.sum::<u64>()
    }

    /// How many bytes a disk without zeros takes, or a little more.
    pub(crate) fn stored_bytes(&self) -> u64 {
        const INODE_AND_NAME_BYTES: u64 = 512;
        const FIXED_BYTES: u64 = 4 << 20;
        self.file_bytes() + (self.root.arena_len() as u64) * (INODE_AND_NAME_BYTES + 2048) + FIXED_BYTES
    }
}

fn esp_piece(piece: fat32::Piece, start: u64) -> Piece {
    match piece {
        fat32::Piece::Bytes { offset_bytes, bytes } => Piece::bytes(start + offset_bytes, bytes),
        fat32::Piece::Data {
            offset_bytes,
            source,
            len_bytes,
        } => Piece {
            offset_bytes: start + offset_bytes,
            len_bytes,
            filling: Filling::Data {
                file: InstallFile {
                    source,
                    size_bytes: len_bytes,
                    verity: false,
                },
                at_bytes: 0,
            },
        },
    }
}
