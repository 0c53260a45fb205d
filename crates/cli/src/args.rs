//! The command line, defined once: parser, help, man pages and completions come from these types.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

mod build;
mod cache;
mod container;
mod disk;
mod foreign;
mod image;
mod image_builder;
mod iso;
mod kickstart;
mod lint;
mod machine;
mod registry;

pub(crate) use build::{BuildArgs, BuildFormat, BuildNetwork};
pub(crate) use cache::{CacheArgs, CacheCommand, CacheListArgs, CacheRemoveArgs};
pub(crate) use container::{
    ExecArgs, LogsArgs, NetworkChoice, PsArgs, RmArgs, RunArgs, StopArgs, SystemdChoice, WhichContainers,
};
pub(crate) use disk::{
    DiskArgs, DiskCompression, DiskType, ExplainArgs, InstallArgs, InstallCommand, InstallImageArgs,
    InstallKickstartArgs, InstallerArgs, ToDiskArgs, ToFilesystemArgs,
};
pub(crate) use image::{
    DigestArgs, FsckArgs, ImagesArgs, ImportArgs, InspectArgs, LayerCompression, ListFormat, LoadArgs,
    PruneArgs, RmiArgs, SaveArgs, SaveFormat, TagArgs,
};
pub(crate) use image_builder::{ImageBuilder, Owner};
pub(crate) use iso::{EmbedKickstartArgs, IsoArgs, IsoCommand};
pub(crate) use kickstart::{KickstartArgs, KickstartCheckArgs, KickstartCommand, KickstartDialect};
pub(crate) use lint::LintArgs;
pub(crate) use machine::{
    DriftArgs, EtcArgs, EtcCommand, EtcDiffArgs, FinalizeArgs, HealthArgs, HealthFormat, KargsArgs, LogArgs,
    LogFormat, PinArgs, ReportFormat, RollbackArgs, StatusArgs, StatusFormat, SwitchArgs, UpgradeArgs,
    UsrOverlayArgs,
};
pub(crate) use registry::{
    CopyArgs, LoginArgs, LogoutArgs, PullArgs, PullWhen, PushArgs, PushCompression, RegistryOptions,
    TransferOptions,
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
    Build(Box<BuildArgs>),
    Import(ImportArgs),
    Images(ImagesArgs),
    Inspect(InspectArgs),
    Digest(DigestArgs),
    Lint(LintArgs),
    Tag(TagArgs),
    Rmi(RmiArgs),
    Prune(PruneArgs),
    Cache(CacheArgs),
    Fsck(FsckArgs),
    Save(SaveArgs),
    Load(LoadArgs),
    Push(PushArgs),
    Pull(PullArgs),
    Copy(CopyArgs),
    Login(LoginArgs),
    Logout(LogoutArgs),
    Run(Box<RunArgs>),
    Exec(ExecArgs),
    Ps(PsArgs),
    Logs(LogsArgs),
    Stop(StopArgs),
    Rm(RmArgs),
    Disk(DiskArgs),
    Iso(IsoArgs),
    Install(InstallArgs),
    Installer(InstallerArgs),
    Kickstart(KickstartArgs),
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
