//! The commands that write disks.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::ReportFormat;

/// Make disk images of an image
#[derive(Debug, Args)]
#[command(after_help = "\
Needs no root, no loop device and no program: the disk is written directly, in one pass.
The same image with the same options and seed gives the same bytes.

Output below DIR: image/disk.raw, qcow2/disk.qcow2, vmdk/disk.vmdk, vpc/disk.vhd (vhd),
vpc-dynamic/disk.vhd (vhd-dynamic), image/disk.raw and image/ami.json (ami),
gce/image.tar.gz, archive/image.ova, image/disk.raw.zst, image/disk.raw.xz,
bootiso/install.iso, pxe/vmlinuz, initrd.img, kernel-arguments, boot.ipxe

An installer (iso, pxe) needs osmith in the image, and installs by a Kickstart file: give its place with
--karg inst.ks=URL, or put it into a finished ISO with 'osmith iso embed-kickstart'.

Examples:
  osmith disk --type qcow2 localhost/webserver
  osmith disk --type raw --type qcow2 --output build --size 20GiB localhost/webserver
  osmith disk --config config.toml localhost/webserver
  osmith disk --type iso --karg inst.ks=https://server.example.org/ks.cfg localhost/webserver
  osmith disk --dry-run --report localhost/webserver")]
pub(crate) struct DiskArgs {
    /// The format; repeatable, all are written in one pass
    #[arg(
        long = "type",
        value_enum,
        value_name = "TYPE",
        default_value = "qcow2",
        value_delimiter = ','
    )]
    pub(crate) types: Vec<DiskType>,
    /// Accounts, settings and partitions of the machine: a .toml or .json file, or - for JSON on standard input
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The directory for the output
    #[arg(long, value_name = "DIR", default_value = "output")]
    pub(crate) output: PathBuf,
    /// Size of the disk, such as 20GiB [default: content and a quarter, 1 GiB free at least]
    #[arg(long, value_name = "SIZE", value_parser = crate::size::parse)]
    pub(crate) size: Option<u64>,
    /// What identifiers are derived from: another seed, another disk
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,
    /// How qcow2 clusters are compressed
    #[arg(long, value_enum, default_value_t = DiskCompression::Zstd)]
    pub(crate) compression: DiskCompression,
    /// Add a kernel argument; repeatable
    #[arg(long, value_name = "ARG")]
    pub(crate) karg: Vec<String>,
    /// Replace outputs that exist
    #[arg(long)]
    pub(crate) force: bool,
    /// Print the plan and write nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Print where the space goes: in the disk, in the image's directories, and in the outputs
    #[arg(
        long,
        value_enum,
        value_name = "FORMAT",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "text"
    )]
    pub(crate) report: Option<ReportFormat>,
    /// The image for that kind of machine, of an index that has several [default: this one]
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    pub(crate) platform: Option<osmith_image::Platform>,
    /// The image
    pub(crate) image: String,
}

/// A disk format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DiskType {
    /// The bytes of the disk, in a sparse file
    Raw,
    /// For QEMU and KVM
    Qcow2,
    /// For vSphere: a streamOptimized VMDK
    Vmdk,
    /// For Azure: a fixed VHD
    Vhd,
    /// For Hyper-V: a dynamic VHD
    VhdDynamic,
    /// For Amazon EC2: a raw disk, and what to tell EC2 of it
    Ami,
    /// For Google Compute Engine: a raw disk of whole GiB in an archive
    Gce,
    /// For vSphere: a virtual machine with its disk
    #[value(alias = "vsphere-ova")]
    Ova,
    /// The bytes of the disk, compressed with zstd
    #[value(name = "raw.zst")]
    RawZst,
    /// The bytes of the disk, compressed with xz: the smallest, and slow
    #[value(name = "raw.xz")]
    RawXz,
    /// An installer that is the image itself, for discs and USB sticks
    #[value(alias = "bootc-installer", alias = "anaconda-iso")]
    Iso,
    /// The same as a kernel and an initramfs, for PXE and UEFI HTTP boot
    Pxe,
}

/// How qcow2 clusters are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DiskCompression {
    /// zstd: fast and small, QEMU 5.1 and newer
    Zstd,
    /// zlib: read by every qcow2 program
    Zlib,
    /// Not at all
    None,
}

/// Install an image onto a disk or onto mounted file systems
#[derive(Debug, Args)]
pub(crate) struct InstallArgs {
    #[command(subcommand)]
    pub(crate) command: InstallCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum InstallCommand {
    ToDisk(ToDiskArgs),
    ToFilesystem(ToFilesystemArgs),
    Kickstart(InstallKickstartArgs),
}

/// What is installed.
#[derive(Debug, Args)]
pub(crate) struct InstallImageArgs {
    /// What the machine follows for updates [default: the name of the image]
    #[arg(long, value_name = "NAME")]
    pub(crate) target_imgref: Option<String>,
    /// Add a kernel argument; repeatable
    #[arg(long, value_name = "ARG")]
    pub(crate) karg: Vec<String>,
    /// The image, of the store
    pub(crate) image: String,
}

/// Write an image over a whole disk, or over a file in place of one
#[derive(Debug, Args)]
#[command(after_help = "\
The disk gets a partition table, an EFI system partition, and a root file system that fills the
rest. The partition table comes last, so a disk on which the work was cut short does not start.
A disk that is in use is refused, and without --wipe one that is not empty. With it, all that was
on the disk is lost. A file in place of a disk needs no root.

Examples:
  osmith install to-disk localhost/webserver /dev/sdb
  osmith install to-disk --wipe --target-imgref registry.example.org/web:1 localhost/web /dev/sdb
  osmith install to-disk --config web1.toml localhost/webserver /dev/sdb
  truncate -s 20G disk.img && osmith install to-disk localhost/webserver disk.img")]
pub(crate) struct ToDiskArgs {
    #[command(flatten)]
    pub(crate) image: InstallImageArgs,
    /// Accounts, settings, files and partitions of the machine: a .toml or .json file, or - for JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Erase what is on the disk
    #[arg(long)]
    pub(crate) wipe: bool,
    /// What identifiers are derived from: another seed, another disk [default: a random number]
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
    /// Print the plan and write nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// The disk
    #[arg(value_name = "DEVICE")]
    pub(crate) device: PathBuf,
}

/// Write an image into an empty root file system that is mounted
#[derive(Debug, Args)]
#[command(after_help = "\
For disks with partitions, encryption or a file system of their own. The root file system is ext4,
xfs or btrfs, empty, and best has fs-verity (ext4: mkfs.ext4 -O verity). The EFI system partition
is mounted at boot, efi or boot/efi of it, or given with --esp. Needs root.

Examples:
  mount /dev/sdb2 /mnt && mount --mkdir /dev/sdb1 /mnt/boot
  osmith install to-filesystem localhost/webserver /mnt
  osmith install to-filesystem --root-mount-spec LABEL=root localhost/webserver /mnt")]
pub(crate) struct ToFilesystemArgs {
    #[command(flatten)]
    pub(crate) image: InstallImageArgs,
    /// Where the EFI system partition is mounted [default: boot, efi or boot/efi of the root]
    #[arg(long, value_name = "DIR")]
    pub(crate) esp: Option<PathBuf>,
    /// How the machine finds its root file system, as root= takes it [default: by its UUID]
    #[arg(long, value_name = "SPEC")]
    pub(crate) root_mount_spec: Option<String>,
    /// Where the root file system is mounted
    #[arg(value_name = "ROOT")]
    pub(crate) root: PathBuf,
}

/// Install as a Kickstart file says, from a running system
#[derive(Debug, Args)]
#[command(after_help = "\
Reads the file, runs its %pre scripts, says what will be done, and does it; nothing is written to a
disk before all of it is known to be possible. The image comes from where bootc or ostreecontainer
say, or is one of the store. The disk that is installed onto is erased. The file's network, reboot and
poweroff are for the new system and for installation media; this machine goes on. Needs root.

Examples:
  osmith install kickstart --dry-run server.ks
  osmith install kickstart server.ks
  truncate -s 20G disk.img && osmith install kickstart --disk sda=disk.img server.ks")]
pub(crate) struct InstallKickstartArgs {
    /// An image of the store, for a file that names none
    #[arg(long, value_name = "IMAGE")]
    pub(crate) image: Option<String>,
    /// A disk by the name that the file has for it, in the place of those of this machine; repeatable
    #[arg(long, value_name = "NAME=PATH", value_parser = named_path)]
    pub(crate) disk: Vec<(String, PathBuf)>,
    /// Warnings are errors
    #[arg(long)]
    pub(crate) strict: bool,
    /// What identifiers are derived from: another seed, another disk [default: a random number]
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
    /// Print what would be done, and do nothing but run %pre
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// The Kickstart file, or - for standard input
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
}

fn named_path(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((name, path)) if !name.is_empty() && !path.is_empty() => Ok((name.to_owned(), path.into())),
        _ => Err("NAME=PATH is expected, such as sda=disk.img".to_owned()),
    }
}

/// Say what a Kickstart file would do, step by step
#[derive(Debug, Args)]
#[command(after_help = "\
Looks at no machine: the disks are those that are given, blank. Scripts are not run.

Examples:
  osmith kickstart explain --disks sda=20GiB server.ks
  osmith kickstart explain --disks sda=500GB,sdb=2TB --memory 64GiB server.ks")]
pub(crate) struct ExplainArgs {
    /// The disks of the machine, with their sizes
    #[arg(long, value_name = "NAME=SIZE", value_delimiter = ',', required = true, value_parser = named_size)]
    pub(crate) disks: Vec<(String, u64)>,
    /// Its memory [default: 4GiB]
    #[arg(long, value_name = "SIZE", value_parser = crate::size::parse)]
    pub(crate) memory: Option<u64>,
    /// The Kickstart file, or - for standard input
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
}

fn named_size(text: &str) -> Result<(String, u64), String> {
    match text.split_once('=') {
        Some((name, size)) if !name.is_empty() => Ok((name.to_owned(), crate::size::parse(size)?)),
        _ => Err("NAME=SIZE is expected, such as sda=20GiB".to_owned()),
    }
}

/// Install this machine from the medium it was started from
#[derive(Debug, Args)]
#[command(hide = true)]
pub(crate) struct InstallerArgs {}
