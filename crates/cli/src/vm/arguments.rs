//! The command line of `osmith vm`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::forward::Forward;

/// Run virtual machines
#[derive(Debug, Args)]
pub(crate) struct VmArgs {
    #[command(subcommand)]
    pub(crate) command: VmCommand,
}

/// What to do with a machine.
#[derive(Debug, Subcommand)]
pub(crate) enum VmCommand {
    Run(RunArgs),
    Define(DefineArgs),
}

/// Boot a disk or an image in a virtual machine
#[derive(Debug, Args)]
#[command(after_help = "\
The terminal becomes the machine's serial console; Ctrl-A x ends the machine at once. Without a terminal the
console is printed, and Ctrl-C (or SIGTERM) asks the machine to shut down; a second Ctrl-C ends it at once.
Needs QEMU and UEFI firmware, no root; with --firmware bios, QEMU alone. Uses KVM if it works here,
else a slower emulation; a machine with another processor than this computer's is always emulated.

Examples:
  osmith vm run output/qcow2/disk.qcow2
  osmith vm run output/qcow2/disk.qcow2 -p 8080:80
  osmith vm run localhost/webserver -p 8080:80
  osmith vm run localhost/webserver-arm64 --memory 4GiB
  osmith vm run --snapshot --ssh output/qcow2/disk.qcow2 -- osmith status
  truncate -s 10G target.raw && osmith vm run output/qcow2/disk.qcow2 --attach target.raw
  truncate -s 20G blank.raw && osmith vm run --cdrom output/bootiso/install.iso blank.raw
  osmith vm run --no-reboot --kernel output/pxe/vmlinuz --initrd output/pxe/initrd.img \\
      --append \"$(cat output/pxe/kernel-arguments) inst.ks=http://10.0.2.2:8000/ks.cfg\" blank.raw")]
pub(crate) struct RunArgs {
    /// Make a port of the machine reachable on this computer, by default from itself only; repeatable
    #[arg(short, long, value_name = "[ADDRESS:]HOST:GUEST[/udp]")]
    pub(crate) publish: Vec<Forward>,
    /// Log in as root over ssh instead of showing the console, and shut down afterwards
    #[arg(long)]
    pub(crate) ssh: bool,
    /// Let the owner of this ssh public key log in as root
    #[arg(long, value_name = "FILE", conflicts_with = "ssh")]
    pub(crate) authorized_key: Option<PathBuf>,
    /// Memory of the machine
    #[arg(long, value_name = "SIZE", value_parser = crate::size::parse, default_value = "2GiB")]
    pub(crate) memory: u64,
    /// Processors of the machine [default: those of this computer, 4 at most]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=255))]
    pub(crate) cpus: Option<u16>,
    /// Another disk of the machine, raw unless its name ends in .qcow2; it may be empty; repeatable
    #[arg(long, value_name = "DISK")]
    pub(crate) attach: Vec<PathBuf>,
    /// Throw away what the machine writes to its disks
    #[arg(long)]
    pub(crate) snapshot: bool,
    #[command(flatten)]
    pub(crate) installer: BootArgs,
    /// No network at all
    #[arg(long, conflicts_with_all = ["publish", "ssh"])]
    pub(crate) no_network: bool,
    /// A restart ends the machine
    #[arg(long)]
    pub(crate) no_reboot: bool,
    /// What starts it
    #[arg(long, value_enum, default_value_t = FirmwareChoice::Uefi)]
    pub(crate) firmware: FirmwareChoice,
    /// The processor it has [default: the image's; what a raw or qcow2 disk's partition table says, else this computer's]
    #[arg(long = "arch", value_enum, value_name = "ARCH")]
    pub(crate) architecture: Option<VmArchitecture>,
    /// How the machine's processors are run
    #[arg(long, value_enum, default_value_t = AcceleratorChoice::Auto)]
    pub(crate) accelerator: AcceleratorChoice,
    /// How long --ssh waits for the machine to answer, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 900)]
    pub(crate) ssh_timeout: u64,
    /// A disk: raw, qcow2, VMDK or VHD; or the name of an image, of which a disk is made for this run alone
    #[arg(value_name = "DISK|IMAGE")]
    pub(crate) source: String,
    /// Run this over ssh instead of a shell
    #[arg(last = true, requires = "ssh", value_name = "COMMAND")]
    pub(crate) command: Vec<String>,
}

/// What starts an installer. DISK may then be blank, and is written to.
#[derive(Debug, Args)]
pub(crate) struct BootArgs {
    /// A disc in the drive; the machine starts from it if its disk is blank
    #[arg(long, value_name = "ISO")]
    pub(crate) cdrom: Option<PathBuf>,
    /// The same on a USB stick that cannot be written to
    #[arg(long, value_name = "ISO")]
    pub(crate) usb: Option<PathBuf>,
    /// Start this kernel and not the disk, as PXE would; a restart starts it again: see --no-reboot
    #[arg(long, value_name = "FILE")]
    pub(crate) kernel: Option<PathBuf>,
    /// The initramfs of --kernel
    #[arg(long, value_name = "FILE", requires = "kernel")]
    pub(crate) initrd: Option<PathBuf>,
    /// The kernel arguments of --kernel
    #[arg(long, value_name = "ARGS", requires = "kernel")]
    pub(crate) append: Option<String>,
}

/// How the machine's processors are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum AcceleratorChoice {
    /// KVM if a try shows that it works, else TCG
    Auto,
    /// By this computer's processors
    Kvm,
    /// By translation, on any computer
    Tcg,
}

/// Print what libvirt has to be told to run a disk
#[derive(Debug, Args)]
#[command(after_help = "\
Nothing is run and nothing is changed: the command line or the XML goes to standard output.
libvirt opens the disk where it is; for machines of the whole computer (qemu:///system) that is best
below /var/lib/libvirt/images. The machine gets UEFI without secure boot, or BIOS.

Examples:
  osmith vm define output/qcow2/disk.qcow2
  osmith vm define --name web --memory 4GiB --cpus 2 output/qcow2/disk.qcow2 | sh
  osmith vm define --form xml --name web output/qcow2/disk.qcow2 > web.xml && virsh define web.xml")]
pub(crate) struct DefineArgs {
    /// What is printed
    #[arg(long, value_enum, default_value_t = DefineForm::VirtInstall)]
    pub(crate) form: DefineForm,
    /// Name of the machine
    #[arg(long, default_value = "osmith")]
    pub(crate) name: String,
    /// Memory of the machine
    #[arg(long, value_name = "SIZE", value_parser = crate::size::parse, default_value = "4GiB")]
    pub(crate) memory: u64,
    /// Processors of the machine
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) cpus: u16,
    /// What its network card is connected to: a network of libvirt, bridge=NAME, or user
    #[arg(long, value_name = "NETWORK", default_value = "default")]
    pub(crate) network: String,
    /// What starts it
    #[arg(long, value_enum, default_value_t = FirmwareChoice::Uefi)]
    pub(crate) firmware: FirmwareChoice,
    /// The processor it has [default: what a raw or qcow2 disk's partition table says, else this computer's]
    #[arg(long = "arch", value_enum, value_name = "ARCH")]
    pub(crate) architecture: Option<VmArchitecture>,
    /// The operating system, as osinfo-query(1) calls it
    #[arg(long, value_name = "OS", default_value = "detect=on,require=off")]
    pub(crate) osinfo: String,
    /// The disk
    pub(crate) disk: PathBuf,
}

/// What is printed of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DefineForm {
    /// A command line of virt-install
    VirtInstall,
    /// A domain of libvirt, for virsh define
    Xml,
}

/// What starts a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum FirmwareChoice {
    /// UEFI, without secure boot
    Uefi,
    /// The BIOS of a PC
    Bios,
}

/// The processor of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum VmArchitecture {
    /// x86-64
    #[value(alias = "x86_64")]
    Amd64,
    /// 64-bit ARM
    #[value(alias = "aarch64")]
    Arm64,
}
