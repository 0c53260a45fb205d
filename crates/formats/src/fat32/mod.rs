//! FAT32, written once: from a file tree to the bytes of a clean file system, in ascending order.
//!
//! Source: Microsoft's "FAT: General Overview of On-Disk Format" 1.03 and the UEFI specification 2.10, section 13.3.
//! Sectors of 512 bytes, numbers little-endian.
//!
//! ```text
//! │boot sector, FSInfo, copies at 6│FAT│FAT again│root directory│directories│file│file│ ... free │
//!  0                        sector 32            cluster 2
//! ```
//!
//! Everything is contiguous: directories in the order of the tree, then files, each from a multiple of 4 KiB on, so that
//! whole blocks belong to one of them even where clusters are smaller. [`plan`] decides all of it from names
//! and sizes; contents are never seen here. Names that are no upper-case 8.3 names get a long name beside a short one.
//!
//! Left out: FAT12 and FAT16, attributes, fractions of seconds; links of either kind (a second name of a file is a
//! second copy).

mod directory;
mod name;

use std::collections::BTreeMap;

use crate::tree::{InodeId, Node, Timestamp, Tree};

pub use name::NameReason;

/// The length of a sector.
pub const SECTOR_BYTES: u64 = 512;
/// The smallest file system: FAT32 by its number of clusters, with clusters of one sector.
pub const MIN_BYTES: u64 = 34 << 20;
/// The longest file.
pub const MAX_FILE_BYTES: u64 = u32::MAX as u64;

const RESERVED_SECTORS: u64 = 32;
const FIRST_CLUSTER: u32 = 2;
/// With fewer clusters a file system counts as FAT16; the specification asks for some distance.
const MIN_CLUSTERS: u64 = 65525 + 16;
const MAX_CLUSTERS: u64 = 0x0fff_fff4;
const MAX_DIRECTORY_BYTES: u64 = 65536 * 32;
const END_OF_CHAIN: u32 = 0x0fff_ffff;
/// FAT, directories and files start at multiples of this.
const GRAIN_SECTORS: u64 = 8;

/// A regular file of the file system to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// The caller's number for where the bytes come from; comes back in the pieces.
    pub source: u32,
    /// The length of the file.
    pub size_bytes: u64,
}

/// The file system as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The room to fill; whole sectors of it are used.
    pub size_bytes: u64,
    /// Where on the disk it begins, in sectors: firmware that boots by BIOS wants to know.
    pub hidden_sectors: u32,
    /// Identity of the file system (`/dev/disk/by-uuid/XXXX-XXXX`).
    pub volume_id: u32,
    /// The volume label: up to 11 upper-case characters; empty for none.
    pub label: String,
    /// When everything was created; modification times are the tree's.
    pub time: Timestamp,
}

/// A stretch of the file system. What no piece covers is zero.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Metadata.
    Bytes {
        /// Where in the file system.
        offset_bytes: u64,
        /// What.
        bytes: Vec<u8>,
    },
    /// The contents of a file, whole.
    Data {
        /// Where in the file system: a multiple of 4 KiB. The rest of the last 4 KiB is zero.
        offset_bytes: u64,
        /// Its [`File::source`].
        source: u32,
        /// How much.
        len_bytes: u64,
    },
}

/// A tree that cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The room is below [`MIN_BYTES`] or beyond what FAT32 can number.
    #[error("{0} bytes are no size for a FAT32 file system")]
    Size(u64),
    /// The label has more than 11 characters, or some that a label cannot have.
    #[error("'{0}' is no label for a FAT32 file system")]
    Label(String),
    /// The tree does not fit.
    #[error("the files need {needed_bytes} bytes, the FAT32 file system has {available_bytes}")]
    Full {
        /// What the tree takes, in whole clusters.
        needed_bytes: u64,
        /// What all clusters together have.
        available_bytes: u64,
    },
    /// An inode is neither a directory nor a regular file.
    #[error("'{0}' is neither a file nor a directory, and FAT32 has nothing else")]
    Kind(String),
    /// A file is longer than [`MAX_FILE_BYTES`].
    #[error("'{0}' is longer than 4 GiB, more than a file can be in FAT32")]
    FileTooLong(String),
    /// A directory has too many names.
    #[error("directory '{0}' has more names than FAT32 allows")]
    DirectoryTooLong(String),
    /// A name cannot be written.
    #[error("'{path}' cannot be a name in FAT32: {reason}")]
    Name {
        /// The path from the root of the tree.
        path: String,
        /// Why.
        reason: NameReason,
    },
}

/// A file system that is planned.
#[derive(Debug, Clone)]
pub struct Layout {
    geometry: Geometry,
    free_clusters: u32,
    pieces: Vec<Piece>,
}

impl Layout {
    /// All pieces, by ascending offset.
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// How much is free, in whole clusters.
    pub fn free_bytes(&self) -> u64 {
        u64::from(self.free_clusters) * self.cluster_bytes()
    }

    /// The unit of allocation.
    pub fn cluster_bytes(&self) -> u64 {
        self.geometry.cluster_bytes()
    }
}

/// Plans a file system that holds the tree.
pub fn plan(tree: &Tree<File>, options: &Options) -> Result<Layout, Error> {
    let geometry = Geometry::of(options.size_bytes)?;
    let label = name::label(&options.label).ok_or_else(|| Error::Label(options.label.clone()))?;
    let mut layout = Allocation::of(tree, &geometry, label.is_some())?;
    let mut pieces = vec![Piece::Bytes {
        offset_bytes: 0,
        bytes: reserved(&geometry, options, label, &layout),
    }];
    let fat = layout.fat_bytes();
    for copy in 0..2 {
        let offset_bytes = (geometry.reserved_sectors + copy * geometry.fat_sectors) * SECTOR_BYTES;
        pieces.push(Piece::Bytes {
            offset_bytes,
            bytes: fat.clone(),
        });
    }
    for directory in &layout.directories {
        let bytes = directory::to_bytes(tree, directory, &layout, options.time, label);
        pieces.push(Piece::Bytes {
            offset_bytes: geometry.cluster_offset(directory.first_cluster),
            bytes,
        });
    }
    pieces.append(&mut layout.data);
    Ok(Layout {
        geometry,
        free_clusters: layout.free_clusters(),
        pieces,
    })
}

/// The smallest room, in steps of 1 MiB, for a file system that holds the tree.
pub fn minimum_size_bytes(tree: &Tree<File>) -> Result<u64, Error> {
    const STEP_BYTES: u64 = 1 << 20;
    let directories = collect_directories(tree, true)?;
    let mut size_bytes = MIN_BYTES;
    loop {
        // More room may mean larger clusters, in which the tree takes more.
        let geometry = Geometry::of(size_bytes)?;
        let grain_bytes = geometry.grain_clusters() * geometry.cluster_bytes();
        let needed_bytes = needed_bytes(tree, &directories, grain_bytes)?;
        let available_bytes = geometry.clusters * geometry.cluster_bytes();
        match needed_bytes.saturating_sub(available_bytes) {
            0 => return Ok(size_bytes),
            missing_bytes => size_bytes += missing_bytes.next_multiple_of(STEP_BYTES),
        }
    }
}

/// Where the parts of a file system of a certain size are.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Geometry {
    total_sectors: u64,
    reserved_sectors: u64,
    fat_sectors: u64,
    sectors_per_cluster: u64,
    clusters: u64,
}

impl Geometry {
    /// Clusters of 4 KiB; smaller ones where those would be too few, larger ones as `mkfs.fat` chooses them.
    fn of(size_bytes: u64) -> Result<Self, Error> {
        let usual = match size_bytes >> 30 {
            0..8 => 8,
            8..16 => 16,
            16..32 => 32,
            _ => 64,
        };
        std::iter::successors(Some(usual), |sectors| (*sectors > 1).then_some(sectors / 2))
            .map(|sectors_per_cluster| Self::with_clusters(size_bytes / SECTOR_BYTES, sectors_per_cluster))
            .find(|geometry| geometry.clusters >= MIN_CLUSTERS)
            .filter(|geometry| geometry.clusters <= MAX_CLUSTERS && size_bytes >= MIN_BYTES)
            .filter(|geometry| u32::try_from(geometry.total_sectors).is_ok())
            .ok_or(Error::Size(size_bytes))
    }

    fn with_clusters(total_sectors: u64, sectors_per_cluster: u64) -> Self {
        let most_clusters = total_sectors / sectors_per_cluster + u64::from(FIRST_CLUSTER);
        let fat_sectors = (most_clusters * 4)
            .div_ceil(SECTOR_BYTES)
            .next_multiple_of(GRAIN_SECTORS);
        let data = total_sectors.saturating_sub(RESERVED_SECTORS + 2 * fat_sectors);
        Geometry {
            total_sectors,
            reserved_sectors: RESERVED_SECTORS,
            fat_sectors,
            sectors_per_cluster,
            clusters: data / sectors_per_cluster,
        }
    }

    fn cluster_bytes(&self) -> u64 {
        self.sectors_per_cluster * SECTOR_BYTES
    }

    /// What directories and files begin at a multiple of.
    fn grain_clusters(&self) -> u64 {
        GRAIN_SECTORS.div_ceil(self.sectors_per_cluster)
    }

    fn cluster_offset(&self, cluster: u32) -> u64 {
        let before = self.reserved_sectors + 2 * self.fat_sectors;
        before * SECTOR_BYTES + u64::from(cluster - FIRST_CLUSTER) * self.cluster_bytes()
    }
}

/// A directory and the clusters it has.
#[derive(Debug)]
struct Directory {
    id: InodeId,
    names: Vec<name::Entry>,
    first_cluster: u32,
    /// Where its parent begins; 0 stands for the root, also in the root.
    parent_cluster: u32,
    /// Whole clusters.
    size_bytes: u64,
}

/// Which clusters everything has.
#[derive(Debug)]
struct Allocation {
    directories: Vec<Directory>,
    data: Vec<Piece>,
    /// First clusters by directory cluster and position of the name in the directory; 0 for an empty file.
    first_clusters: BTreeMap<(u32, usize), u32>,
    /// The first cluster and the length of each chain, in the order of the clusters.
    chains: Vec<(u32, u32)>,
    next_cluster: u32,
    grain_clusters: u32,
    clusters: u64,
}

impl Allocation {
    fn of(tree: &Tree<File>, geometry: &Geometry, has_label: bool) -> Result<Self, Error> {
        let mut found = collect_directories(tree, has_label)?;
        let grain_bytes = geometry.grain_clusters() * geometry.cluster_bytes();
        let needed_bytes = needed_bytes(tree, &found, grain_bytes)?;
        let available_bytes = geometry.clusters * geometry.cluster_bytes();
        if needed_bytes > available_bytes {
            return Err(Error::Full {
                needed_bytes,
                available_bytes,
            });
        }
        let mut allocation = Allocation {
            directories: Vec::new(),
            data: Vec::new(),
            first_clusters: BTreeMap::new(),
            chains: Vec::new(),
            next_cluster: FIRST_CLUSTER,
            grain_clusters: geometry.grain_clusters() as u32,
            clusters: geometry.clusters,
        };
        for directory in &mut found {
            directory.size_bytes = directory.size_bytes.next_multiple_of(geometry.cluster_bytes());
            directory.first_cluster = allocation.chain(directory.size_bytes / geometry.cluster_bytes());
        }
        allocation.connect(tree, &mut found);
        for directory in &found {
            allocation.place_files(tree, directory, geometry);
        }
        allocation.directories = found;
        Ok(allocation)
    }

    /// Takes the next `clusters` clusters from a grain on.
    fn chain(&mut self, clusters: u64) -> u32 {
        // The total was found to fit, and that is below 2^28.
        let first = (self.next_cluster - FIRST_CLUSTER).next_multiple_of(self.grain_clusters) + FIRST_CLUSTER;
        self.next_cluster = first + clusters as u32;
        self.chains.push((first, clusters as u32));
        first
    }

    /// Tells directories and their parents where the other is.
    fn connect(&mut self, tree: &Tree<File>, directories: &mut [Directory]) {
        let places: BTreeMap<InodeId, u32> = directories
            .iter()
            .map(|directory| (directory.id, directory.first_cluster))
            .collect();
        let mut parents = BTreeMap::new();
        for directory in directories.iter() {
            for (position, name) in directory.names.iter().enumerate() {
                if tree.inode(name.id).entries().is_some() {
                    let child = places.get(&name.id).copied().unwrap_or_default();
                    self.first_clusters
                        .insert((directory.first_cluster, position), child);
                    parents.insert(name.id, directory.first_cluster);
                }
            }
        }
        for directory in directories {
            let parent = parents.get(&directory.id).copied().unwrap_or_default();
            directory.parent_cluster = if parent == FIRST_CLUSTER { 0 } else { parent };
        }
    }

    fn place_files(&mut self, tree: &Tree<File>, directory: &Directory, geometry: &Geometry) {
        for (position, name) in directory.names.iter().enumerate() {
            let Node::Regular(file) = &tree.inode(name.id).node else {
                continue;
            };
            if file.size_bytes == 0 {
                continue;
            }
            let first = self.chain(file.size_bytes.div_ceil(geometry.cluster_bytes()));
            self.first_clusters
                .insert((directory.first_cluster, position), first);
            self.data.push(Piece::Data {
                offset_bytes: geometry.cluster_offset(first),
                source: file.source,
                len_bytes: file.size_bytes,
            });
        }
    }

    fn first_cluster(&self, directory: &Directory, position: usize) -> u32 {
        self.first_clusters
            .get(&(directory.first_cluster, position))
            .copied()
            .unwrap_or_default()
    }

    /// The FAT up to the last cluster in use.
    fn fat_bytes(&self) -> Vec<u8> {
        let mut entries = vec![0x0fff_fff8, END_OF_CHAIN];
        for (first, length) in &self.chains {
            entries.resize(*first as usize, 0);
            entries.extend(first + 1..first + length);
            entries.push(END_OF_CHAIN);
        }
        entries.iter().flat_map(|entry| entry.to_le_bytes()).collect()
    }

    fn free_clusters(&self) -> u32 {
        let used: u32 = self.chains.iter().map(|(_, length)| length).sum();
        self.clusters as u32 - used
    }
}

/// All directories, parents before children, with the bytes their entries take.
fn collect_directories(tree: &Tree<File>, has_label: bool) -> Result<Vec<Directory>, Error> {
    let mut found = Vec::new();
    for (path, id) in tree.walk() {
        match &tree.inode(id).node {
            Node::Directory(entries) => {
                let names = name::entries(entries, &path)?;
                let extra = if id == tree.root() {
                    u64::from(has_label)
                } else {
                    2
                };
                let slots: u64 = names.iter().map(|name| name.slots() as u64).sum();
                let size_bytes = ((slots + extra) * directory::ENTRY_BYTES as u64).max(1);
                if size_bytes > MAX_DIRECTORY_BYTES {
                    return Err(Error::DirectoryTooLong(text(&path)));
                }
                found.push(Directory {
                    id,
                    names,
                    first_cluster: 0,
                    parent_cluster: 0,
                    size_bytes,
                });
            }
            Node::Regular(file) if file.size_bytes > MAX_FILE_BYTES => {
                return Err(Error::FileTooLong(text(&path)));
            }
            Node::Regular(_) => {}
            _ => return Err(Error::Kind(text(&path))),
        }
    }
    Ok(found)
}

fn needed_bytes(tree: &Tree<File>, directories: &[Directory], grain_bytes: u64) -> Result<u64, Error> {
    let files = directories
        .iter()
        .flat_map(|directory| &directory.names)
        .map(|name| match &tree.inode(name.id).node {
            Node::Regular(file) => file.size_bytes,
            _ => 0,
        });
    Ok(directories
        .iter()
        .map(|directory| directory.size_bytes)
        .chain(files)
        .map(|bytes| bytes.next_multiple_of(grain_bytes))
        .sum())
}

/// The sectors before the first FAT.
fn reserved(
    geometry: &Geometry,
    options: &Options,
    label: Option<[u8; 11]>,
    allocation: &Allocation,
) -> Vec<u8> {
    let mut boot = [0; SECTOR_BYTES as usize];
    boot[..11].copy_from_slice(b"\xeb\x58\x90osmith  ");
    boot[11..13].copy_from_slice(&(SECTOR_BYTES as u16).to_le_bytes());
    boot[13] = geometry.sectors_per_cluster as u8;
    boot[14..16].copy_from_slice(&(geometry.reserved_sectors as u16).to_le_bytes());
    boot[16] = 2;
    boot[21] = 0xf8;
    boot[24..26].copy_from_slice(&63_u16.to_le_bytes());
    boot[26..28].copy_from_slice(&255_u16.to_le_bytes());
    boot[28..32].copy_from_slice(&options.hidden_sectors.to_le_bytes());
    boot[32..36].copy_from_slice(&(geometry.total_sectors as u32).to_le_bytes());
    boot[36..40].copy_from_slice(&(geometry.fat_sectors as u32).to_le_bytes());
    boot[44..48].copy_from_slice(&FIRST_CLUSTER.to_le_bytes());
    boot[48..50].copy_from_slice(&1_u16.to_le_bytes());
    boot[50..52].copy_from_slice(&6_u16.to_le_bytes());
    boot[64] = 0x80;
    boot[66] = 0x29;
    boot[67..71].copy_from_slice(&options.volume_id.to_le_bytes());
    boot[71..82].copy_from_slice(&label.unwrap_or(*b"NO NAME    "));
    boot[82..90].copy_from_slice(b"FAT32   ");
    // Whoever starts this by BIOS waits here: hlt, jmp back.
    boot[90..93].copy_from_slice(&[0xf4, 0xeb, 0xfd]);
    boot[510..].copy_from_slice(&[0x55, 0xaa]);

    let mut info = [0; SECTOR_BYTES as usize];
    info[..4].copy_from_slice(b"RRaA");
    info[484..488].copy_from_slice(b"rrAa");
    info[488..492].copy_from_slice(&allocation.free_clusters().to_le_bytes());
    info[492..496].copy_from_slice(&allocation.next_cluster.to_le_bytes());
    info[510..].copy_from_slice(&[0x55, 0xaa]);

    let mut last = [0; SECTOR_BYTES as usize];
    last[510..].copy_from_slice(&[0x55, 0xaa]);
    let sectors = [boot, info, last];
    let mut bytes = sectors.concat();
    bytes.resize(6 * SECTOR_BYTES as usize, 0);
    bytes.extend(sectors.concat());
    bytes
}

fn text(path: &[u8]) -> String {
    format!("/{}", String::from_utf8_lossy(path))
}

#[cfg(test)]
mod tests;
