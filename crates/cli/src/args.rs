//! The command line, defined once: parser, help, man pages and completions come from these types.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

mod registry;

pub(crate) use registry::{
    CopyArgs, LoginArgs, LogoutArgs, PullArgs, PushArgs, PushCompression, RegistryOptions, TransferOptions,
};

/// Image mode for Linux: build, test, deploy and manage an operating system defined by a Containerfile.
#[derive(Debug, Parser)]
#[command(
    name = "osmith",
    version,
    propagate_version = true,
    arg_required_else_help = true
)]
#[command(after_help = "\
Examples:
  From a Containerfile to a machine that answers:
    osmith build -t localhost/webserver examples/webserver
    osmith disk --type qcow2 localhost/webserver
    osmith vm run output/qcow2/disk.qcow2 -p 8080:80

Exit status: 0 success, 1 failure, 2 wrong usage, 130 interrupted.")]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every command.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// Where images are kept [default: /var/lib/osmith for root, $XDG_DATA_HOME/osmith else]
    #[arg(
        long,
        value_name = "DIR",
        env = "OSMITH_STORE",
        global = true,
        hide_env_values = true
    )]
    pub(crate) store: Option<PathBuf>,

    /// How progress is shown on standard error
    #[arg(long, value_enum, default_value_t = ProgressMode::Auto, global = true, value_name = "MODE")]
    pub(crate) progress: ProgressMode,
}

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProgressMode {
    /// A display on a terminal, plain lines elsewhere
    Auto,
    /// A display that updates in place
    Term,
    /// One line an event
    Plain,
    /// One JSON object a line
    Json,
    /// Nothing
    None,
}

/// The verbs: podman's for images, bootc's for machines, bootc-image-builder's for disks.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Build(BuildArgs),
    Import(ImportArgs),
    Images(ImagesArgs),
    Inspect(InspectArgs),
    Tag(TagArgs),
    Rmi(RmiArgs),
    Prune(PruneArgs),
    Fsck(FsckArgs),
    Save(SaveArgs),
    Load(LoadArgs),
    Push(PushArgs),
    Pull(PullArgs),
    Copy(CopyArgs),
    Login(LoginArgs),
    Logout(LogoutArgs),
    Disk(DiskArgs),
    Install(InstallArgs),
    Vm(crate::vm::VmArgs),
    Status(StatusArgs),
    Etc(EtcArgs),
    Drift(DriftArgs),
    Upgrade(UpgradeArgs),
    Switch(SwitchArgs),
    Rollback(RollbackArgs),
    Pin(PinArgs),
    Unpin(PinArgs),
    Kargs(KargsArgs),
    UsrOverlay(UsrOverlayArgs),
    Log(LogArgs),
    Health(HealthArgs),
    Finalize(FinalizeArgs),
    Completions(CompletionsArgs),
    Man(ManArgs),
}

/// Build an image from a Containerfile
#[derive(Debug, Args)]
#[command(after_help = "\
Works as root and as an ordinary user with subordinate ids (/etc/subuid, /etc/subgid).
Prints the ID of the image.

Examples:
  osmith build -t localhost/webserver examples/webserver
  osmith build -t localhost/os:2 -f Containerfile.prod --build-arg CHANNEL=stable .
  osmith build --target base --no-cache .")]
pub(crate) struct BuildArgs {
    /// Name the image; repeatable
    #[arg(short, long, value_name = "NAME[:TAG]")]
    pub(crate) tag: Vec<String>,
    /// The Containerfile [default: CONTEXT/Containerfile, else CONTEXT/Dockerfile; - for standard input]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Set a build argument; without a value it is taken from the environment
    #[arg(long, value_name = "NAME[=VALUE]")]
    pub(crate) build_arg: Vec<String>,
    /// Stop at this stage
    #[arg(long, value_name = "STAGE")]
    pub(crate) target: Option<String>,
    /// Make one layer of all new layers; the base image's layers stay
    #[arg(long)]
    pub(crate) squash: bool,
    /// Run every step, also those whose result is known
    #[arg(long)]
    pub(crate) no_cache: bool,
    /// Creation time of image, history and new files, in seconds since 1970 [default: now; files keep theirs]
    #[arg(long, value_name = "SECONDS")]
    pub(crate) timestamp: Option<i64>,
    /// The directory that COPY and ADD read from
    #[arg(default_value = ".")]
    pub(crate) context: PathBuf,
}

/// Make an image of one layer from a root file system archive
#[derive(Debug, Args)]
#[command(after_help = "\
The archive is a tar file, plain or compressed with gzip, xz or zstd.

Examples:
  mmdebstrap --variant=minbase trixie | osmith import - localhost/debian:13
  osmith import -c 'CMD [\"/bin/bash\"]' rootfs.tar.zst localhost/base")]
pub(crate) struct ImportArgs {
    /// Apply an instruction to the configuration: CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, STOPSIGNAL, USER, WORKDIR
    #[arg(short, long, value_name = "INSTRUCTION")]
    pub(crate) change: Vec<String>,
    /// A remark for the image's history
    #[arg(short, long, value_name = "TEXT")]
    pub(crate) message: Option<String>,
    /// The archive, or - for standard input
    pub(crate) archive: PathBuf,
    /// The name of the image
    #[arg(value_name = "NAME[:TAG]")]
    pub(crate) name: Option<String>,
}

/// List images
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  osmith images
  osmith images --format json")]
pub(crate) struct ImagesArgs {
    /// The output's form
    #[arg(long, value_enum, default_value_t = ListFormat::Table)]
    pub(crate) format: ListFormat,
    /// Print only IDs
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// The form of a listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ListFormat {
    /// For a person
    Table,
    /// For a program
    Json,
}

/// Print what is known of an image, as JSON
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  osmith inspect localhost/webserver
  osmith inspect localhost/webserver | jq '.[0].Config.Labels'")]
pub(crate) struct InspectArgs {
    /// Names or IDs
    #[arg(required = true, value_name = "IMAGE")]
    pub(crate) images: Vec<String>,
}

/// Give an image another name
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  osmith tag localhost/webserver registry.example.org/webserver:1")]
pub(crate) struct TagArgs {
    /// The image
    pub(crate) image: String,
    /// Its new names
    #[arg(required = true, value_name = "NAME[:TAG]")]
    pub(crate) names: Vec<String>,
}

/// Take names away from images; what no name reaches any more is deleted
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  osmith rmi localhost/webserver:old")]
pub(crate) struct RmiArgs {
    /// Names or IDs; an ID takes all names
    #[arg(required = true, value_name = "IMAGE")]
    pub(crate) images: Vec<String>,
}

/// Delete what no image needs: objects, layers, blobs, and with --cache the build cache
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  osmith prune
  osmith prune --cache")]
pub(crate) struct PruneArgs {
    /// The build cache too
    #[arg(long)]
    pub(crate) cache: bool,
}

/// Read all that images need and compare it with its digests
#[derive(Debug, Args)]
#[command(after_help = "\
On a machine that osmith or bootc installed, without --store: the repository of the machine, with all that its
deployments need; needs root. Elsewhere: the images of the store.
Prints what is damaged or missing, a line each. The exit status is 0 if nothing is, or all was repaired.

--repair fetches the layers that have the damaged files, of the image that is deployed, by its
digest. Each file is replaced in one step when the new one is whole; others are not touched.

Examples:
  osmith fsck
  osmith fsck --repair
  osmith --store /srv/images fsck")]
pub(crate) struct FsckArgs {
    /// The repository of the machine, also if a store is given
    #[arg(long)]
    pub(crate) machine: bool,
    /// Fetch what the machine lost from where its images are
    #[arg(long)]
    pub(crate) repair: bool,
}

/// Write an image to an OCI directory or archive
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  osmith save --format oci-archive -o webserver.tar localhost/webserver
  osmith save --format oci-dir -o webserver-oci localhost/webserver
  skopeo inspect oci-archive:webserver.tar")]
pub(crate) struct SaveArgs {
    /// The form
    #[arg(long, value_enum, default_value_t = SaveFormat::OciArchive)]
    pub(crate) format: SaveFormat,
    /// Where to; must not exist
    #[arg(short, long, value_name = "PATH")]
    pub(crate) output: PathBuf,
    /// How layers made here are compressed; layers that came compressed stay as they are
    #[arg(long, value_enum, default_value_t = LayerCompression::Zstd)]
    pub(crate) compression: LayerCompression,
    /// The image
    #[arg(value_name = "NAME")]
    pub(crate) image: String,
}

/// The form of a saved image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SaveFormat {
    /// A directory: index.json, oci-layout, blobs/
    OciDir,
    /// The same in a tar file
    OciArchive,
}

/// How layers are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LayerCompression {
    /// zstd
    Zstd,
    /// gzip, for old registries and tools
    Gzip,
    /// Not at all
    None,
}

/// Read an image from an OCI directory or archive
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  osmith load webserver.tar
  osmith load webserver-oci localhost/webserver:2")]
pub(crate) struct LoadArgs {
    /// The directory or archive
    pub(crate) path: PathBuf,
    /// The image's name here [default: the name it was saved with]
    #[arg(value_name = "NAME[:TAG]")]
    pub(crate) name: Option<String>,
}

/// Make disk images of an image
#[derive(Debug, Args)]
#[command(after_help = "\
Needs no root, no loop device and no program: the disk is written directly, in one pass.
The same image with the same options and seed gives the same bytes.

Output below DIR: image/disk.raw, qcow2/disk.qcow2

Examples:
  osmith disk --type qcow2 localhost/webserver
  osmith disk --type raw --type qcow2 --output build --size 20GiB localhost/webserver
  osmith disk --dry-run localhost/webserver")]
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
  truncate -s 20G disk.img && osmith install to-disk localhost/webserver disk.img")]
pub(crate) struct ToDiskArgs {
    #[command(flatten)]
    pub(crate) image: InstallImageArgs,
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

/// Show what this machine runs, and what it will run after a reboot
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  osmith status
  osmith status --format json | jq -r .status.booted.image.imageDigest")]
pub(crate) struct StatusArgs {
    /// The output's form
    #[arg(long, value_enum, default_value_t = StatusFormat::Humanreadable)]
    pub(crate) format: StatusFormat,
    /// Print JSON, as --format json
    #[arg(long, conflicts_with = "format")]
    pub(crate) json: bool,
    /// Only the booted deployment
    #[arg(long)]
    pub(crate) booted: bool,
}

/// The form of a status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum StatusFormat {
    /// For a person
    Humanreadable,
    /// For a program: one line, in bootc's schema
    Json,
    /// The same as YAML
    Yaml,
}

/// Show what was changed in /etc
#[derive(Debug, Args)]
pub(crate) struct EtcArgs {
    #[command(subcommand)]
    pub(crate) command: EtcCommand,
}

/// What to show of /etc.
#[derive(Debug, Subcommand)]
pub(crate) enum EtcCommand {
    Diff(EtcDiffArgs),
}

/// List what in /etc is not as in the image that runs
#[derive(Debug, Args)]
#[command(after_help = "\
A line each: A was added, M was modified (with what of it: kind, content, mode, owner, attributes), D was deleted.
Times are not compared; sockets, pipes and devices are passed over. An update keeps these changes, unless
the image has /etc in memory (setup-root-conf.toml); that is noted. Needs root.

Examples:
  osmith etc diff
  osmith etc diff --format json | jq -r '.[].path'")]
pub(crate) struct EtcDiffArgs {
    /// The output's form
    #[arg(long, value_enum, default_value_t = ReportFormat::Text)]
    pub(crate) format: ReportFormat,
}

/// Show in what this machine is not what its image says
#[derive(Debug, Args)]
#[command(after_help = "\
Looks at /etc (as 'osmith etc diff'), at what a writable layer over /usr changed, and whether the objects of the image
are there, have their length and are protected by fs-verity with the right digest. What is in a layer over /usr is
found by length and modification time. Needs root.

Changes of /etc that are expected are no drift: what a machine makes when it starts for the first time, and paths
named in /usr/lib/osmith/drift.d/*.conf (by the image) and /etc/osmith/drift.d/*.conf (on this machine).

Exit status: 0 no difference but expected ones, 3 differences found, 1 failure, 2 wrong usage.

Examples:
  osmith drift
  osmith drift --all --deep
  osmith drift --format json | jq '.etc[] | select(.expected | not)'")]
pub(crate) struct DriftArgs {
    /// Show also what is expected
    #[arg(long)]
    pub(crate) all: bool,
    /// Read and hash every object, and all of /usr if there is a layer over it
    #[arg(long)]
    pub(crate) deep: bool,
    /// The output's form
    #[arg(long, value_enum, default_value_t = ReportFormat::Text)]
    pub(crate) format: ReportFormat,
}

/// The form of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReportFormat {
    /// For a person
    Text,
    /// For a program
    Json,
}

/// Bring this machine to the newest version of the image it follows
#[derive(Debug, Args)]
#[command(
    alias = "update",
    after_help = "\
The new version is written beside the one that runs and starts after the next reboot. Local changes of
/etc come along; /var is shared. A version that did not become healthy on this machine is not tried
again until the image changes.

Examples:
  osmith upgrade --check
  osmith upgrade --apply
  osmith upgrade --download-only; osmith upgrade --from-downloaded --apply"
)]
pub(crate) struct UpgradeArgs {
    /// Only say whether there is a newer version
    #[arg(long, conflicts_with_all = ["apply", "download_only", "from_downloaded"])]
    pub(crate) check: bool,
    /// Reboot if there is something new
    #[arg(long, conflicts_with = "download_only")]
    pub(crate) apply: bool,
    /// Fetch the new version, but do not let the next reboot start it
    #[arg(long, conflicts_with = "from_downloaded")]
    pub(crate) download_only: bool,
    /// Let the next reboot start what was fetched with --download-only; fetches nothing
    #[arg(long)]
    pub(crate) from_downloaded: bool,
    /// Stage a version although it did not become healthy before
    #[arg(long)]
    pub(crate) retry: bool,
    /// No progress
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// Let this machine follow another image
#[derive(Debug, Args)]
#[command(after_help = "\
As with upgrade, the image starts after the next reboot, and rollback leads back.

Examples:
  osmith switch registry.example.org/os:2
  osmith switch --transport oci --apply /srv/os-oci")]
pub(crate) struct SwitchArgs {
    /// Where the image is: registry, oci (a directory, with :NAME if it has several images), oci-archive
    #[arg(long, value_name = "TRANSPORT", default_value = "registry")]
    pub(crate) transport: String,
    /// Reboot when the image is staged
    #[arg(long)]
    pub(crate) apply: bool,
    /// Keep the deployment that runs until it is unpinned
    #[arg(long)]
    pub(crate) retain: bool,
    /// Stage the image although it did not become healthy before
    #[arg(long)]
    pub(crate) retry: bool,
    /// No progress
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// The image
    pub(crate) image: String,
}

/// Go back to the deployment before the one that runs
#[derive(Debug, Args)]
#[command(after_help = "\
It starts at the next reboot, with the /etc it had. If an update is staged, only that is dropped. A
second rollback takes the first one back.

Examples:
  osmith rollback
  osmith rollback --apply")]
pub(crate) struct RollbackArgs {
    /// Reboot now
    #[arg(long)]
    pub(crate) apply: bool,
}

/// Keep a deployment until it is unpinned, or stop keeping it
#[derive(Debug, Args)]
#[command(after_help = "\
Updates remove deployments that are neither running, staged, the one to go back to, nor pinned.

Examples:
  osmith pin
  osmith unpin 4f1d9c
  osmith pin rollback")]
pub(crate) struct PinArgs {
    /// booted, rollback, or the first digits of a deployment as 'osmith status' shows them [default: booted]
    pub(crate) deployment: Option<String>,
}

/// Show or change the kernel arguments of this machine
#[derive(Debug, Args)]
#[command(after_help = "\
Changes are those of the deployment that starts next, and updates keep them. Arguments that the image
sets (/usr/lib/bootc/kargs.d) change with the image.

Examples:
  osmith kargs
  osmith kargs --append console=ttyS0 --delete quiet
  osmith kargs --replace mitigations=off")]
pub(crate) struct KargsArgs {
    /// Add an argument; repeatable
    #[arg(long, value_name = "ARG")]
    pub(crate) append: Vec<String>,
    /// Remove an argument, or all of a name; repeatable
    #[arg(long, value_name = "ARG")]
    pub(crate) delete: Vec<String>,
    /// Put an argument in the place of those of the same name; repeatable
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) replace: Vec<String>,
}

/// Make /usr writable until the next reboot
#[derive(Debug, Args)]
#[command(after_help = "\
Changes are kept in memory, over the image, and are gone after a reboot.

Example:
  osmith usr-overlay && apt-get install strace")]
pub(crate) struct UsrOverlayArgs {}

/// Show what was done to this machine: updates, rollbacks, results
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  osmith log
  osmith log -n 5
  osmith log --format json | jq -r 'select(.result == \"failure\") | .message'")]
pub(crate) struct LogArgs {
    /// The output's form
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub(crate) format: LogFormat,
    /// Only the last N operations
    #[arg(short = 'n', long, value_name = "N")]
    pub(crate) lines: Option<usize>,
}

/// The form of the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// A line an operation
    Text,
    /// One JSON object a line
    Json,
}

/// Run the health checks of this machine
#[derive(Debug, Args)]
#[command(after_help = "\
Checks are the executables in /usr/lib/osmith/health.d and /etc/osmith/health.d, and greenboot's in
check/required.d and check/wanted.d. The machine runs them at every start; a new version that fails
them in all its tries is left for the previous one.

Exit status: 0 healthy, 1 not healthy.

Examples:
  osmith health
  osmith health --format json | jq -r '.checks[] | select(.outcome != \"passed\") | .output'")]
pub(crate) struct HealthArgs {
    /// The output's form
    #[arg(long, value_enum, default_value_t = HealthFormat::Text)]
    pub(crate) format: HealthFormat,
    /// How long each check may take
    #[arg(long, value_name = "SECONDS", default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(crate) time_limit: u64,
    /// Act on the result: keep this deployment, or restart the machine
    #[arg(long, hide = true, conflicts_with_all = ["deadline", "format"])]
    pub(crate) at_boot: bool,
    /// Restart the machine if a new deployment is not healthy by now
    #[arg(long, hide = true, conflicts_with = "format")]
    pub(crate) deadline: bool,
}

/// The form of the results of health checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum HealthFormat {
    /// A line a check
    Text,
    /// One JSON object
    Json,
}

/// Make the staged deployment the next one, as the machine does when it goes down
#[derive(Debug, Args)]
#[command(hide = true)]
pub(crate) struct FinalizeArgs {}

/// Print shell completions
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  osmith completions bash > /etc/bash_completion.d/osmith")]
pub(crate) struct CompletionsArgs {
    /// The shell
    pub(crate) shell: clap_complete::Shell,
}

/// Write the man pages
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  osmith man /usr/local/share/man/man1")]
pub(crate) struct ManArgs {
    /// The directory for the pages
    pub(crate) directory: PathBuf,
}
