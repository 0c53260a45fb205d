//! What a disk holds, from the first sector to the last.
//!
//! ```text
//! │partition table│1 MiB: BIOS boot│EFI system partition│boot│file systems of their own, swap│root, ext4│table again│
//! ```
//!
//! The root file system comes last, so that it can grow with the disk.

use std::io::{self, Read};
use std::ops::Range;

use osmith_formats::fat32;
use osmith_formats::gpt::{BACKUP_SECTORS, Guid, SECTOR_BYTES, Table};
use osmith_formats::grub::BOOT_CODE_BYTES;
use osmith_formats::tree::{Inode, InodeId, Node, Tree};
use osmith_formats::verity::Digest;
use osmith_image::Reference;
use osmith_image::store::Store;
use osmith_machine::entry::BootEntry;
use osmith_machine::esp::{TRIES_FILE, empty_tries_block};
use osmith_machine::install::{Deployment, FileData, InstallFile};

use crate::bios::{self, BiosBoot, BiosBootRequest};
use crate::bytes::GRAIN_BYTES;
use crate::chunk::Piece;
use crate::error::PlanError;
use crate::identity::Identity;
use crate::mounts;
use crate::storage::{FileSystem, PartitionSpec, Purpose, Wanted};
use crate::volume::{Format, Named, Volume, VolumeLayout};

/// The whole of other metadata, at most.
const FIXED_BYTES: u64 = 4 << 20;
/// Where boot entries and kernels are, of an EFI system partition or beside it.
const BOOT_FOLDERS: [&str; 2] = ["EFI/Linux", BOOT_ENTRIES];
const BOOT_ENTRIES: &str = "loader/entries";

/// A disk without its partition table.
#[derive(Debug)]
pub(crate) struct Contents {
    /// What is in the files of all file systems.
    pub(crate) sources: Vec<FileData>,
    /// In the order of the disk; the root file system is the last one.
    pub(crate) volumes: Vec<Volume>,
    /// Where the first volume begins.
    first_offset_bytes: u64,
    /// The code of the boot sector, if BIOS machines start from the disk.
    pub(crate) boot_code: Option<[u8; BOOT_CODE_BYTES]>,
}

/// Where the parts of a disk are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Geometry {
    pub(crate) disk_bytes: u64,
    /// Of each volume.
    pub(crate) extents: Vec<Extent>,
}

/// A stretch of the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) offset_bytes: u64,
    pub(crate) size_bytes: u64,
}

/// What a disk is made of.
pub(crate) struct Parts<'a> {
    pub(crate) image_name: &'a Reference,
    pub(crate) tree: &'a Tree,
    pub(crate) store: &'a Store,
    pub(crate) identity: &'a Identity<'a>,
    pub(crate) root_type: Guid,
    pub(crate) wanted: &'a Wanted,
}

impl Contents {
    /// What a disk of the deployment holds. The sizes come later.
    pub(crate) fn of(mut deployment: Deployment, parts: &Parts<'_>) -> Result<Self, PlanError> {
        let mut volumes = boot_volumes(&mut deployment, parts);
        let bios_boot = bios_boot(&deployment.sources, &volumes, parts)?;
        let boot_code = bios_boot.as_ref().map(|bios| bios.boot_code);
        if let Some(bios) = bios_boot {
            add_tries_file(&mut volumes, &mut deployment.sources);
            // The first one: its place is known before all sizes are.
            volumes.insert(0, parts.named("bios boot", None).bios_boot(bios.core_image));
        }
        volumes.extend(own_volumes(&mut deployment, parts)?);
        let root = parts.named("root", parts.partition(|spec| spec.purpose == Purpose::Root));
        volumes.push(root.root(deployment.root, parts.root_type));
        Ok(Contents {
            sources: deployment.sources,
            volumes,
            first_offset_bytes: parts.wanted.first_offset_bytes,
            boot_code,
        })
    }

    /// The geometry of a disk with some room to grow.
    pub(crate) fn roomy(&self) -> Result<Geometry, PlanError> {
        self.around(|root| root.roomy_bytes())
    }

    /// The geometry of the smallest disk.
    pub(crate) fn smallest(&self) -> Result<Geometry, PlanError> {
        self.around(|root| root.smallest_bytes())
    }

    fn around(&self, root_bytes: impl Fn(&Volume) -> Result<u64, PlanError>) -> Result<Geometry, PlanError> {
        let mut sizes = Vec::with_capacity(self.volumes.len());
        if let Some((root, others)) = self.volumes.split_last() {
            for volume in others {
                sizes.push(volume.smallest_bytes()?);
            }
            sizes.push(root_bytes(root)?);
        }
        let mut end = self.first_offset_bytes;
        let mut extents = Vec::with_capacity(sizes.len());
        for size_bytes in sizes {
            extents.push(Extent {
                offset_bytes: end,
                size_bytes,
            });
            end = end.checked_add(size_bytes).ok_or(PlanError::DiskTooLarge)?;
        }
        let disk_bytes = end.checked_add(GRAIN_BYTES).ok_or(PlanError::DiskTooLarge)?;
        Ok(Geometry { disk_bytes, extents })
    }

    /// The geometry of a disk of that size, which is not below the smallest.
    pub(crate) fn filling(&self, disk_bytes: u64) -> Result<Geometry, PlanError> {
        let mut geometry = self.smallest()?;
        geometry.disk_bytes = disk_bytes;
        if let Some(root) = geometry.extents.last_mut() {
            // The end of a device may be anywhere.
            let room = disk_bytes.saturating_sub(root.offset_bytes + GRAIN_BYTES);
            root.size_bytes = room / GRAIN_BYTES * GRAIN_BYTES;
        }
        Ok(geometry)
    }

    /// Sets the sizes of the file systems, and makes sure that everything fits.
    pub(crate) fn settle(&mut self, geometry: &Geometry) -> Result<(), PlanError> {
        let volumes = self.volumes.iter_mut().zip(&geometry.extents);
        volumes
            .into_iter()
            .try_for_each(|(volume, extent)| volume.settle(extent.offset_bytes, extent.size_bytes))
    }

    /// The partition table.
    pub(crate) fn table(&self, geometry: &Geometry, disk_guid: Guid) -> Table {
        let volumes = self.volumes.iter().zip(&geometry.extents);
        let partitions =
            volumes.map(|(volume, extent)| volume.partition(extent.offset_bytes, extent.size_bytes));
        Table {
            disk_guid,
            disk_sectors: geometry.disk_bytes / SECTOR_BYTES,
            partitions: partitions.collect(),
        }
    }

    /// How everything lies in each volume.
    pub(crate) fn layouts(&self) -> Result<Vec<VolumeLayout<'_>>, PlanError> {
        self.volumes.iter().map(Volume::layout).collect()
    }

    /// How many bytes of files and of their fs-verity metadata there are.
    pub(crate) fn file_bytes(&self) -> u64 {
        self.volumes.iter().map(Volume::file_bytes).sum()
    }

    /// How many bytes a disk without zeros takes, or a little more.
    pub(crate) fn stored_bytes(&self) -> u64 {
        let metadata: u64 = self.volumes.iter().map(Volume::metadata_bytes).sum();
        self.file_bytes() + metadata + FIXED_BYTES
    }
}

/// Everything on a disk, in its order.
pub(crate) fn pieces<'a>(
    table: &Table,
    boot_code: Option<&[u8; BOOT_CODE_BYTES]>,
    geometry: &'a Geometry,
    layouts: &'a [VolumeLayout<'a>],
) -> Result<impl Iterator<Item = Piece> + Send + 'a, PlanError> {
    let mut written = table.to_bytes()?;
    if let (Some(code), Some(place)) = (boot_code, written.primary.first_chunk_mut()) {
        *place = *code;
    }
    let backup_offset = geometry.disk_bytes - BACKUP_SECTORS * SECTOR_BYTES;
    let volumes = layouts.iter().zip(&geometry.extents);
    Ok(std::iter::once(Piece::bytes(0, written.primary))
        .chain(volumes.flat_map(|(layout, extent)| layout.pieces(extent.offset_bytes)))
        .chain(std::iter::once(Piece::bytes(backup_offset, written.backup))))
}

/// Where something lies on a disk, in its order: found without making what lies there. Ranges are multiples of `block_bytes`
/// and further from each other than `gap_bytes`.
pub(crate) fn covered_bytes(
    geometry: &Geometry,
    layouts: &[VolumeLayout<'_>],
    block_bytes: u64,
    gap_bytes: u64,
) -> Vec<Range<u64>> {
    let table_bytes = BACKUP_SECTORS * SECTOR_BYTES;
    let backup = geometry.disk_bytes - table_bytes..geometry.disk_bytes;
    // The primary table has one sector more.
    let tables = [0..table_bytes + SECTOR_BYTES, backup];
    let volumes = layouts.iter().zip(&geometry.extents);
    let mut ranges: Vec<Range<u64>> = volumes
        .flat_map(|(layout, extent)| layout.covered_bytes(extent.offset_bytes))
        .chain(tables)
        .collect();
    ranges.sort_unstable_by_key(|range| range.start);
    let mut merged: Vec<Range<u64>> = Vec::new();
    for range in ranges {
        let start = range.start / block_bytes * block_bytes;
        let end = range.end.next_multiple_of(block_bytes).min(geometry.disk_bytes);
        match merged.last_mut() {
            Some(last) if start <= last.end + gap_bytes => last.end = last.end.max(end),
            _ => merged.push(start..end),
        }
    }
    merged
}

impl<'a> Parts<'a> {
    fn partition(&self, is_wanted: impl Fn(&PartitionSpec) -> bool) -> Option<&'a PartitionSpec> {
        self.wanted.partitions.iter().find(|spec| is_wanted(spec))
    }

    fn named<'b>(&self, role: &'b str, spec: Option<&'b PartitionSpec>) -> Named<'b>
    where
        'a: 'b,
    {
        Named {
            role,
            identity: self.identity,
            spec,
        }
    }
}

/// What the firmware and the boot loader read.
fn boot_volumes(deployment: &mut Deployment, parts: &Parts<'_>) -> Vec<Volume> {
    let empty = Tree::new(deployment.esp.inode(deployment.esp.root()).metadata.clone());
    let mut esp = std::mem::replace(&mut deployment.esp, empty);
    let boot = parts.partition(PartitionSpec::is_boot).map(|spec| {
        let tree = take_boot_folders(&mut esp);
        parts.named("boot", Some(spec)).boot(tree)
    });
    let spec = parts.partition(|spec| spec.purpose == Purpose::Esp);
    let esp = parts.named("esp", spec).esp(esp, boot.is_none());
    [Some(esp), boot].into_iter().flatten().collect()
}

/// What a BIOS machine starts from, if the image has GRUB: it reads the boot entries of these volumes.
fn bios_boot(
    sources: &[FileData],
    volumes: &[Volume],
    parts: &Parts<'_>,
) -> Result<Option<BiosBoot>, PlanError> {
    let entries = volumes.iter().find_map(|volume| match &volume.format {
        Format::Fat32 { tree, options } => {
            let folder = tree.lookup(BOOT_ENTRIES.as_bytes())?;
            Some((entries_of(tree, folder, sources), options.volume_id))
        }
        _ => None,
    });
    let Some((entries, volume_id)) = entries else {
        return Ok(None);
    };
    let request = BiosBootRequest {
        entries: &entries,
        volume_id,
        core_lba: parts.wanted.first_offset_bytes / SECTOR_BYTES,
    };
    let mut object = |digest: &Digest| {
        let mut bytes = Vec::new();
        let mut object = parts.store.read_object(digest).map_err(io::Error::other)?;
        object.read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let made = bios::bios_boot(parts.tree, &mut object, &request);
    made.map_err(|source| PlanError::BiosBoot {
        image: parts.image_name.to_string(),
        source: Box::new(source),
    })
}

/// Adds what GRUB counts in, beside the boot entries: it can write into a file that is there.
fn add_tries_file(volumes: &mut [Volume], sources: &mut Vec<FileData>) {
    let Some((folder, name)) = TRIES_FILE.rsplit_once('/') else {
        return;
    };
    for volume in volumes {
        if let Format::Fat32 { tree, .. } = &mut volume.format
            && tree.lookup(BOOT_ENTRIES.as_bytes()).is_some()
            && let Some(folder) = tree.lookup(folder.as_bytes())
        {
            let block = empty_tries_block();
            let file = tree.add(Inode {
                metadata: tree.inode(folder).metadata.clone(),
                node: Node::Regular(fat32::File {
                    size_bytes: block.len() as u64,
                    source: sources.len() as u32,
                }),
            });
            tree.link(folder, name.as_bytes(), file);
            sources.push(FileData::Bytes(block));
        }
    }
}

fn entries_of(tree: &Tree<fat32::File>, folder: InodeId, sources: &[FileData]) -> Vec<BootEntry> {
    let files = tree.inode(folder).entries().into_iter().flatten();
    let texts = files.filter_map(|(_, id)| match &tree.inode(*id).node {
        Node::Regular(file) => match sources.get(file.source as usize)? {
            FileData::Bytes(bytes) => Some(String::from_utf8_lossy(bytes)),
            FileData::Object(_) | FileData::Record(_) => None,
        },
        _ => None,
    });
    texts.map(|text| BootEntry::parse(&text)).collect()
}

/// Moves boot entries and kernels into a tree of their own.
fn take_boot_folders(esp: &mut Tree<InstallFile>) -> Tree<InstallFile> {
    let mut boot = Tree::new(esp.inode(esp.root()).metadata.clone());
    for path in BOOT_FOLDERS {
        let (above, name) = path.split_once('/').unwrap_or(("", path));
        let Some((parent, folder)) = esp
            .lookup(above.as_bytes())
            .and_then(|parent| Some((parent, esp.child(parent, name.as_bytes())?)))
        else {
            continue;
        };
        let taken = esp.split_off(folder);
        esp.unlink(parent, name.as_bytes());
        let folder = boot.append(taken);
        let above = ensure_folder(&mut boot, above);
        boot.link(above, name.as_bytes(), folder);
    }
    boot
}

fn ensure_folder(tree: &mut Tree<InstallFile>, name: &str) -> InodeId {
    let root = tree.root();
    tree.child(root, name.as_bytes()).unwrap_or_else(|| {
        let folder = tree.add(Inode {
            metadata: tree.inode(root).metadata.clone(),
            node: Node::Directory(Default::default()),
        });
        tree.link(root, name.as_bytes(), folder);
        folder
    })
}

/// File systems of their own and swap areas, in the order in which they are wanted.
fn own_volumes(deployment: &mut Deployment, parts: &Parts<'_>) -> Result<Vec<Volume>, PlanError> {
    let mounts = parts.wanted.partitions.iter().filter(|spec| !spec.is_boot());
    let paths: Vec<&str> = mounts
        .filter_map(|spec| match &spec.purpose {
            Purpose::Mount { path, .. } => Some(path.as_str()),
            _ => None,
        })
        .collect();
    let mut trees = match paths.is_empty() {
        true => Vec::new(),
        false => mounts::separate(deployment, parts.tree, &paths)?,
    };
    let mut volumes = Vec::new();
    for (number, spec) in parts.wanted.partitions.iter().enumerate() {
        let role = spec.role(number);
        let named = parts.named(&role, Some(spec));
        match &spec.purpose {
            Purpose::Swap => volumes.push(named.swap()),
            Purpose::Empty => volumes.push(named.empty()),
            Purpose::Mount { path, file_system } => {
                let Some(place) = trees.iter().position(|(of, _)| of == path) else {
                    continue;
                };
                let (_, tree) = trees.swap_remove(place);
                volumes.push(match file_system {
                    FileSystem::Ext4 => named.mounted_ext4(tree, path),
                    FileSystem::Fat32 => named.mounted_fat32(tree, path),
                });
            }
            Purpose::Esp | Purpose::Root => {}
        }
    }
    Ok(volumes)
}
