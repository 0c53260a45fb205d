//! The commands on a machine that runs a deployment.

use clap::{Args, Subcommand, ValueEnum};

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
A line each: A was added, M was modified (with what of it: kind, content, mode, owner, attributes),
D was deleted. Times are not compared; sockets, pipes and devices are passed over. An update keeps
these changes, unless the image has /etc in memory (setup-root-conf.toml); that is noted. Needs root.

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
Looks at /etc (as 'osmith etc diff'), at what a writable layer over /usr changed, and whether the
objects of the image are there, have their length and are protected by fs-verity with the right
digest. What is in a layer over /usr is found by length and modification time. Needs root.

Changes of /etc that are expected are no drift: what a machine makes when it starts for the first
time, and paths named in /usr/lib/osmith/drift.d/*.conf (by the image) and
/etc/osmith/drift.d/*.conf (on this machine).

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
    /// Only write down what is followed, and fetch nothing: for %post of a Kickstart file
    #[arg(long, conflicts_with_all = ["apply", "retain", "retry"])]
    pub(crate) mutate_in_place: bool,
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
