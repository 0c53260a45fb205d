//! A medium to boot and install from, as an optical disc and as a USB stick: one run of bytes that is at once
//!
//! * an EROFS file system over the whole device (`mount -t erofs /dev/sr0`), with all the files,
//! * a GPT disk with an EFI system partition, for firmware that starts from a stick,
//! * an ISO 9660 volume with an El Torito boot entry for UEFI, for firmware that starts from a disc,
//! * a FAT file system inside, which is both the partition and what the boot entry names.
//!
//! ```text
//!      0 protective MBR · 512 GPT header · 1024 EROFS superblock · 4096 GPT entries · 32768 ISO 9660 descriptors
//!  1 MiB FAT: boot loader, kernel, initramfs, the reserved area
//!        EROFS: metadata, plain files, compressed clusters
//!    end the GPT's backup
//! ```
//!
//! A file is stored once: one that is in the FAT is, by its source, where EROFS and ISO 9660 find it too. The
//! ISO 9660 volume shows the files of the FAT, no others.
//!
//! One file of the FAT may have the source [`AREA`]: it is all zeros, in one part, and found again in a finished medium
//! by [`crate::iso9660::find`], to write something into it (a Kickstart file in a [`crate::cpio`] archive, which the boot
//! loader passes on as a second initramfs; the kernel skips the zeros).
//!
//! As in [`crate::erofs`], there are two steps: [`pack`] says what is to be compressed, [`Packing::plan`] where it belongs.
//!
//! ```
//! # use osmith_formats::{erofs::{self, Compressor, Storage}, fat32, gpt::Guid, medium::{self, AREA, Piece}};
//! # use osmith_formats::tree::{Inode, Metadata, Node, Timestamp, Tree};
//! # let contents = [vec![7; 100_000], b"a small file".to_vec()];
//! # fn file<F>(node: Node<F>) -> Inode<F> { Inode { metadata: Metadata::default(), node } }
//! let mut boot = Tree::new(Metadata::default());
//! let kernel = boot.add(file(Node::Regular(fat32::File { source: 0, size_bytes: 100_000 })));
//! boot.link(boot.root(), b"vmlinuz", kernel);
//! let area = boot.add(file(Node::Regular(fat32::File { source: AREA, size_bytes: 262_144 })));
//! boot.link(boot.root(), b"kickstart.img", area);
//! let mut root = Tree::new(Metadata::default());
//! for (name, source, size_bytes) in [("vmlinuz", 0, 100_000), ("small", 1, 12)] {
//!     let storage = Storage::Compressed;
//!     let id = root.add(file(Node::Regular(erofs::File { source, size_bytes, storage })));
//!     root.link(root.root(), name.as_bytes(), id);
//! }
//! let options = medium::Options {
//!     label: "OSMITH".into(),
//!     time: Timestamp::default(),
//!     uuid: [1; 16],
//!     disk_guid: Guid::from_random_bytes([2; 16]),
//!     partition_guid: Guid::from_random_bytes([3; 16]),
//!     volume_id: 4,
//!     cluster_bytes: erofs::CLUSTER_DEFAULT_BYTES,
//! };
//! let packing = medium::pack(&boot, &root, &options)?;
//! let mut compressor = Compressor::new(options.cluster_bytes, erofs::LEVEL_DEFAULT)?;
//! let mut compressed = Vec::new(); // Or a temporary file; and with several threads.
//! for cluster in packing.clusters() {
//!     let mut bytes = Vec::new();
//!     for segment in &cluster.segments {
//!         let start = segment.file_offset_bytes as usize;
//!         bytes.extend(&contents[segment.source as usize][start..][..segment.len_bytes as usize]);
//!     }
//!     compressed.push(compressor.compress(&bytes)?);
//! }
//! let lengths: Vec<u32> = compressed.iter().map(|bytes| bytes.len() as u32).collect();
//! let layout = packing.plan(&lengths)?;
//! let mut written = vec![0; layout.size_bytes() as usize];
//! for piece in layout.pieces() {
//!     let start = piece.offset_bytes() as usize;
//!     let bytes = match &piece {
//!         Piece::Bytes { bytes, .. } => &bytes[..],
//!         Piece::Data { source, file_offset_bytes, len_bytes, .. } => {
//!             &contents[*source as usize][*file_offset_bytes as usize..][..*len_bytes as usize]
//!         }
//!         Piece::Cluster { cluster, .. } => &compressed[*cluster as usize],
//!     };
//!     written[start..][..bytes.len()].copy_from_slice(bytes);
//! }
//! assert_eq!(erofs::volume_uuid(&written), Some([1; 16]));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::collections::BTreeMap;

use crate::erofs::{self, Cluster};
use crate::fat32;
use crate::gpt::{self, Guid, Partition, SECTOR_BYTES, Table};
use crate::iso9660;
use crate::tree::{Node, Timestamp, Tree};

pub use crate::erofs::Piece;

/// The source of the file whose place is reserved.
pub const AREA: u32 = u32::MAX;

/// Behind the superblock of EROFS.
const GPT_ENTRIES_OFFSET: u64 = 4096;
const BLOCK_BYTES: u64 = 4096;
const FAT_ALIGNMENT_BYTES: u64 = 1 << 20;
const FAT_LABEL: &str = "BOOT";

/// The medium as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The name of the volume in EROFS and ISO 9660, 16 characters at most.
    pub label: String,
    /// When the medium was made.
    pub time: Timestamp,
    /// Identity of the EROFS file system.
    pub uuid: [u8; 16],
    /// Identity of the GPT disk.
    pub disk_guid: Guid,
    /// Identity of its partition.
    pub partition_guid: Guid,
    /// Identity of the FAT file system.
    pub volume_id: u32,
    /// See [`erofs::Options::cluster_bytes`].
    pub cluster_bytes: u32,
}

/// A medium that cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The boot files cannot be stored.
    #[error(transparent)]
    Fat(#[from] fat32::Error),
    /// The boot files cannot be shown on a disc.
    #[error(transparent)]
    Iso9660(#[from] iso9660::Error),
    /// The files cannot be stored.
    #[error(transparent)]
    Erofs(#[from] erofs::Error),
    /// The partition table cannot be written.
    #[error(transparent)]
    Gpt(#[from] gpt::GptError),
    /// A file with the source of a boot file has another length.
    #[error("source {0} of the medium has two lengths")]
    Lengths(u32),
    /// More than one boot file has the source [`AREA`].
    #[error("a medium has one reserved area")]
    Areas,
}

/// A medium whose contents are cut into clusters, waiting for the lengths of these.
#[derive(Debug)]
pub struct Packing<'a> {
    erofs: erofs::Packing<'a>,
    boot: Boot,
    options: Options,
}

/// The FAT and what is shown of it.
#[derive(Debug)]
struct Boot {
    start_bytes: u64,
    size_bytes: u64,
    layout: fat32::Layout,
    shown: Tree<iso9660::File>,
}

/// Plans the FAT with the tree `boot`, and cuts the contents of the tree `root` into clusters. Both number their sources
/// alike.
pub fn pack<'a>(
    boot: &Tree<fat32::File>,
    root: &'a Tree<erofs::File>,
    options: &Options,
) -> Result<Packing<'a>, Error> {
    let boot = Boot::of(boot, options)?;
    let placed = boot.placed(root)?;
    let end_bytes = boot.start_bytes + boot.size_bytes;
    let first_block = u32::try_from(end_bytes / BLOCK_BYTES).map_err(|_| erofs::Error::TreeSize)?;
    let erofs_options = erofs::Options {
        uuid: options.uuid,
        volume_name: options.label.clone(),
        build_time: options.time,
        first_block,
        cluster_bytes: options.cluster_bytes,
        placed,
    };
    Ok(Packing {
        erofs: erofs::pack(root, &erofs_options)?,
        boot,
        options: options.clone(),
    })
}

impl Packing<'_> {
    /// What is to be compressed, with a [`erofs::Compressor`]. The number of a cluster is its position.
    pub fn clusters(&self) -> &[Cluster] {
        self.erofs.clusters()
    }

    /// Places everything; `compressed_bytes` are the lengths of the compressed clusters, in their order.
    pub fn plan(&self, compressed_bytes: &[u32]) -> Result<Layout, Error> {
        let erofs = self.erofs.plan(compressed_bytes)?;
        let backup_bytes = gpt::BACKUP_SECTORS * SECTOR_BYTES;
        let size_bytes = (erofs.size_bytes() + backup_bytes).next_multiple_of(BLOCK_BYTES);
        let table = Table {
            disk_guid: self.options.disk_guid,
            disk_sectors: size_bytes / SECTOR_BYTES,
            partitions: vec![Partition {
                type_guid: Guid::EFI_SYSTEM,
                guid: self.options.partition_guid,
                first_lba: self.boot.start_bytes / SECTOR_BYTES,
                sectors: self.boot.size_bytes / SECTOR_BYTES,
                attributes: 0,
                name: FAT_LABEL.to_lowercase(),
            }],
        };
        let gpt = table.to_bytes_at(GPT_ENTRIES_OFFSET / SECTOR_BYTES)?;
        let iso9660_options = iso9660_options(&self.options, size_bytes, self.boot.start_bytes);
        let iso9660 = iso9660::plan(&self.boot.shown, &iso9660_options)?;
        Ok(Layout {
            gpt,
            iso9660,
            boot: self.boot.pieces(),
            erofs,
            size_bytes,
        })
    }
}

fn iso9660_options(options: &Options, size_bytes: u64, boot_image_offset_bytes: u64) -> iso9660::Options {
    iso9660::Options {
        label: options.label.clone(),
        time: options.time,
        size_bytes,
        boot_image_offset_bytes,
    }
}

impl Boot {
    fn of(tree: &Tree<fat32::File>, options: &Options) -> Result<Self, Error> {
        let areas = tree
            .inodes()
            .filter(|inode| matches!(&inode.node, Node::Regular(file) if file.source == AREA));
        if areas.count() > 1 {
            return Err(Error::Areas);
        }
        let show = |place: &dyn Fn(&fat32::File) -> u64| {
            tree.map(|file| iso9660::File {
                offset_bytes: place(file),
                size_bytes: file.size_bytes,
            })
        };
        // The length of the descriptors does not depend on places.
        let anywhere = iso9660_options(options, u32::MAX.into(), 0);
        let descriptors = iso9660::plan(&show(&|_| 0), &anywhere)?;
        let start_bytes = descriptors.end_bytes().next_multiple_of(FAT_ALIGNMENT_BYTES);
        let size_bytes = fat32::minimum_size_bytes(tree)?;
        let fat_options = fat32::Options {
            size_bytes,
            hidden_sectors: (start_bytes / SECTOR_BYTES) as u32,
            volume_id: options.volume_id,
            label: FAT_LABEL.to_owned(),
            time: options.time,
        };
        let layout = fat32::plan(tree, &fat_options)?;
        let places: BTreeMap<(u32, u64), u64> = data(&layout)
            .map(|(offset_bytes, source, len_bytes)| ((source, len_bytes), start_bytes + offset_bytes))
            .collect();
        let place = |file: &fat32::File| places.get(&(file.source, file.size_bytes)).copied();
        Ok(Boot {
            start_bytes,
            size_bytes,
            shown: show(&|file| place(file).unwrap_or_default()),
            layout,
        })
    }

    /// The first blocks of the files that both trees have.
    fn placed(&self, root: &Tree<erofs::File>) -> Result<BTreeMap<u32, u32>, Error> {
        let mut places = BTreeMap::new();
        for (offset_bytes, source, len_bytes) in data(&self.layout) {
            places.insert(source, (self.start_bytes + offset_bytes, len_bytes));
        }
        let mut placed = BTreeMap::new();
        for inode in root.inodes() {
            let Node::Regular(file) = &inode.node else {
                continue;
            };
            let Some((offset_bytes, len_bytes)) = places.get(&file.source) else {
                continue;
            };
            if *len_bytes != file.size_bytes {
                return Err(Error::Lengths(file.source));
            }
            let block = u32::try_from(offset_bytes / BLOCK_BYTES).map_err(|_| erofs::Error::TreeSize)?;
            placed.insert(file.source, block);
        }
        Ok(placed)
    }

    fn pieces(&self) -> Vec<Piece> {
        let pieces = self.layout.pieces().iter().filter_map(|piece| match piece {
            fat32::Piece::Bytes { offset_bytes, bytes } => Some(Piece::Bytes {
                offset_bytes: self.start_bytes + offset_bytes,
                bytes: bytes.clone(),
            }),
            fat32::Piece::Data { source: AREA, .. } => None,
            fat32::Piece::Data {
                offset_bytes,
                source,
                len_bytes,
            } => Some(Piece::Data {
                offset_bytes: self.start_bytes + offset_bytes,
                source: *source,
                file_offset_bytes: 0,
                len_bytes: *len_bytes,
            }),
        });
        pieces.collect()
    }
}

/// Offset, source and length of the files of a FAT.
fn data(layout: &fat32::Layout) -> impl Iterator<Item = (u64, u32, u64)> {
    layout.pieces().iter().filter_map(|piece| match piece {
        fat32::Piece::Bytes { .. } => None,
        fat32::Piece::Data {
            offset_bytes,
            source,
            len_bytes,
        } => Some((*offset_bytes, *source, *len_bytes)),
    })
}

/// A medium that is planned.
#[derive(Debug, Clone)]
pub struct Layout {
    gpt: gpt::Parted,
    iso9660: iso9660::Layout,
    boot: Vec<Piece>,
    erofs: erofs::Layout,
    size_bytes: u64,
}

impl Layout {
    /// The length of the medium.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Everything to be written, sorted by offset, without overlaps. What no piece covers is zero.
    pub fn pieces(&self) -> impl Iterator<Item = Piece> + '_ {
        let bytes = |offset_bytes, bytes: &[u8]| Piece::Bytes {
            offset_bytes,
            bytes: bytes.to_vec(),
        };
        let mut erofs = self.erofs.pieces();
        let superblock = erofs.next();
        let backup_offset = self.size_bytes - self.gpt.backup.len() as u64;
        let start = std::iter::once(bytes(0, &self.gpt.start))
            .chain(superblock)
            .chain([
                bytes(GPT_ENTRIES_OFFSET, &self.gpt.entries),
                bytes(iso9660::START_BYTES, self.iso9660.bytes()),
            ]);
        let boot = self.boot.iter().cloned();
        start
            .chain(boot)
            .chain(erofs)
            .chain([bytes(backup_offset, &self.gpt.backup)])
    }
}
