//! Disks, partitions and what is on them.

use super::{Password, Secret};
use crate::problem::Position;

/// `zerombr`: disks without a known label are given one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zerombr {
    /// Its place.
    pub position: Position,
}

/// `clearpart`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clearpart {
    /// Its place.
    pub position: Position,
    /// Which partitions are deleted.
    pub clear: Clear,
    /// `--drives`: the disks they are on; empty for every disk that is not ignored.
    pub drives: Vec<String>,
    /// `--initlabel`: cleared disks get a new label.
    pub initlabel: bool,
    /// `--disklabel`: `gpt` or `msdos`.
    pub disklabel: Option<String>,
    /// `--cdl`: has a meaning for DASD only.
    pub cdl: bool,
}

/// Which partitions are deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Clear {
    /// None: `--none`, or nothing of the kind.
    None,
    /// Those of Linux.
    Linux,
    /// All.
    All,
    /// These.
    List(Vec<String>),
}

/// `ignoredisk`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ignoredisk {
    /// Its place.
    pub position: Position,
    /// Which disks.
    pub disks: DiskChoice,
}

/// Disks by name: `sda`, `/dev/…`, globs, `LABEL=`, `UUID=`, alternatives with `|`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DiskChoice {
    /// `--drives`: all but these.
    AllBut(Vec<String>),
    /// `--only-use`: these.
    Only(Vec<String>),
}

/// `autopart`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Autopart {
    /// Its place.
    pub position: Position,
    /// `--type`, `--nolvm`.
    pub scheme: Option<AutopartScheme>,
    /// `--fstype`.
    pub fstype: Option<String>,
    /// `--nohome`.
    pub nohome: bool,
    /// `--noswap`.
    pub noswap: bool,
    /// `--noboot`.
    pub noboot: bool,
    /// `--hibernation`.
    pub hibernation: bool,
    /// `--encrypted` and its options.
    pub encryption: Option<Encryption>,
}

/// What automatic partitioning makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AutopartScheme {
    /// Partitions only.
    Plain,
    /// Logical volumes.
    Lvm,
    /// Thin logical volumes.
    ThinLvm,
    /// Subvolumes of Btrfs.
    Btrfs,
}

/// `reqpart`: what the platform needs to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reqpart {
    /// Its place.
    pub position: Position,
    /// `--add-boot`: also `/boot`.
    pub add_boot: bool,
}

/// Encryption with LUKS.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Encryption {
    /// `--passphrase`; the first one of a file serves later requests without one.
    pub passphrase: Option<Secret>,
    /// `--luks-version`.
    pub luks_version: Option<String>,
    /// `--cipher`.
    pub cipher: Option<String>,
    /// `--pbkdf`.
    pub pbkdf: Option<String>,
    /// `--pbkdf-memory`, in KiB.
    pub pbkdf_memory_kib: Option<u64>,
    /// `--pbkdf-time`, in milliseconds.
    pub pbkdf_time_ms: Option<u64>,
    /// `--pbkdf-iterations`.
    pub pbkdf_iterations: Option<u64>,
    /// `--escrowcert`.
    pub escrowcert: Option<String>,
    /// `--backuppassphrase`.
    pub backuppassphrase: bool,
}

/// What a request for space is for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Target {
    /// A file system with this mount point: absolute, without doubled or final slashes.
    Path(String),
    /// Swap space.
    Swap,
    /// A physical volume of LVM, such as `pv.1`.
    PhysicalVolume(String),
    /// A member of an array, such as `raid.1`.
    RaidMember(String),
    /// A member of a Btrfs volume, such as `btrfs.1`.
    BtrfsMember(String),
    /// The partition in which GRUB has its core on a BIOS machine with GPT.
    BiosBoot,
    /// The PReP partition of POWER.
    PrepBoot,
    /// Formatted, and mounted nowhere: `None`, `none`.
    Nothing,
}

/// What storage requests have in common.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Storage {
    /// `--size`.
    pub size_mib: Option<u64>,
    /// `--grow`.
    pub grow: bool,
    /// `--maxsize`.
    pub max_size_mib: Option<u64>,
    /// `--recommended`: the size that suits swap on this machine.
    pub recommended: bool,
    /// `--hibernation`: the size of swap that holds the memory too.
    pub hibernation: bool,
    /// `--fstype`.
    pub fstype: Option<String>,
    /// `--label`.
    pub label: Option<String>,
    /// `--fsoptions`.
    pub mount_options: Option<String>,
    /// `--mkfsoptions`.
    pub mkfs_options: Option<String>,
    /// `--fsprofile`.
    pub fs_profile: Option<String>,
    /// `--noformat`: what is there is kept.
    pub noformat: bool,
    /// `--resize`: what is there gets the size.
    pub resize: bool,
    /// `--encrypted` and its options.
    pub encryption: Option<Encryption>,
}

/// `part`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// Its place.
    pub position: Position,
    /// What it is for.
    pub target: Target,
    /// Its size and contents. Without a size it has 500 MiB.
    pub storage: Storage,
    /// `--ondisk`.
    pub on_disk: Option<String>,
    /// `--onpart`, without `/dev/`.
    pub on_partition: Option<String>,
    /// `--onbiosdisk`.
    pub on_bios_disk: Option<String>,
    /// `--asprimary`: moot with GPT.
    pub as_primary: bool,
}

/// `volgroup`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeGroup {
    /// Its place.
    pub position: Position,
    /// Its name.
    pub name: String,
    /// Its physical volumes, such as `pv.1`.
    pub physical_volumes: Vec<String>,
    /// `--pesize`.
    pub extent_kib: u64,
    /// `--reserved-space`.
    pub reserved_mib: Option<u64>,
    /// `--reserved-percent`.
    pub reserved_percent: Option<u64>,
    /// `--useexisting` or `--noformat`.
    pub use_existing: bool,
}

/// `logvol`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogicalVolume {
    /// Its place.
    pub position: Position,
    /// What it is for; nothing for a pool.
    pub target: Target,
    /// `--vgname`.
    pub volume_group: String,
    /// `--name`.
    pub name: String,
    /// Its size and contents.
    pub storage: Storage,
    /// `--percent` of the volume group.
    pub percent: Option<u64>,
    /// `--useexisting`.
    pub use_existing: bool,
    /// `--thinpool`: it is a pool.
    pub thin_pool: bool,
    /// `--thin`: it is in the pool `pool`.
    pub thin: bool,
    /// `--poolname`.
    pub pool: Option<String>,
    /// `--chunksize`, in KiB.
    pub chunk_kib: Option<u64>,
    /// `--metadatasize`.
    pub metadata_mib: Option<u64>,
    /// `--profile`.
    pub profile: Option<String>,
    /// `--cachesize`.
    pub cache_mib: Option<u64>,
    /// `--cachemode`.
    pub cache_mode: Option<CacheMode>,
    /// `--cachepvs`.
    pub cache_physical_volumes: Vec<String>,
}

/// How a cache writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheMode {
    /// Later.
    Writeback,
    /// At once.
    Writethrough,
}

/// `raid`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Raid {
    /// Its place.
    pub position: Position,
    /// What it is for.
    pub target: Target,
    /// `--device`: `md0`, or a name.
    pub device: String,
    /// `--level`; none if the array exists.
    pub level: Option<RaidLevel>,
    /// Its members, such as `raid.1`.
    pub members: Vec<String>,
    /// `--spares`.
    pub spares: u64,
    /// `--chunksize`, in KiB.
    pub chunk_kib: Option<u64>,
    /// Its contents.
    pub storage: Storage,
    /// `--useexisting`.
    pub use_existing: bool,
}

/// The level of an array.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RaidLevel {
    /// Striped.
    Raid0,
    /// Mirrored.
    Raid1,
    /// Striped, with one disk of parity.
    Raid4,
    /// Striped, with parity on all disks.
    Raid5,
    /// Striped, with double parity.
    Raid6,
    /// Striped mirrors.
    Raid10,
}

/// `mount`: a device that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Its place.
    pub position: Position,
    /// The device.
    pub device: String,
    /// Where it is mounted: absolute, or `None` for nowhere.
    pub mount_point: Option<String>,
    /// Whether it is formatted before.
    pub reformat: Reformat,
    /// `--mkfsoptions`.
    pub mkfs_options: Option<String>,
    /// `--mountoptions`.
    pub mount_options: Option<String>,
}

/// Whether a device is formatted before it is mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reformat {
    /// No.
    No,
    /// With the file system that it has.
    Same,
    /// With this file system.
    As(String),
}

/// `bootloader`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bootloader {
    /// Its place.
    pub position: Position,
    /// `--append`: kernel arguments.
    pub append: Option<String>,
    /// `--boot-drive`.
    pub boot_drive: Option<String>,
    /// `--driveorder`.
    pub drive_order: Vec<String>,
    /// `--location`.
    pub location: Option<BootLocation>,
    /// `--leavebootorder`: the firmware's list of boot entries is not changed.
    pub leave_boot_order: bool,
    /// `--disabled`: none is installed.
    pub disabled: bool,
    /// `--timeout` in seconds: without effect.
    pub timeout_seconds: Option<u64>,
    /// `--password`: cannot be carried out.
    pub password: Option<Password>,
    /// `--default`: without effect.
    pub default: Option<String>,
    /// `--extlinux`: cannot be carried out.
    pub extlinux: bool,
    /// `--nombr`.
    pub nombr: bool,
    /// `--sdboot`: systemd-boot.
    pub sdboot: bool,
}

/// Where a boot loader goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BootLocation {
    /// Where the platform looks first: `mbr`, and `boot`, which old files have.
    Mbr,
    /// Into the boot partition.
    Partition,
    /// Nowhere.
    None,
}
