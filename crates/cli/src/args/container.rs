//! The commands on containers.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{ListFormat, PullWhen, TransferOptions};
use crate::commands::container::options::{Capabilities, Environment, Mounted, Published, TemporaryFolder};

/// Run a command, or a whole system, in a container of an image
#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
#[command(after_help = "\
Works as root and as an ordinary user. The container's own files are thrown away with it; -v keeps what is to stay.
If the command is systemd or init, it is pid 1 of a system: units start, 'osmith stop' shuts it down.

Exit status: the command's, or 125 if osmith failed, 126 if the command cannot be executed, 127 if there is none.

Examples:
  osmith run --rm localhost/webserver cat /etc/os-release
  osmith run --rm -it localhost/webserver bash
  osmith run -d -p 8080:80 --name web localhost/webserver
  osmith run --rm --pull newer registry.example.org/os/base:13 cat /etc/os-release
  osmith run --rm --network none -v $PWD:/src:ro -w /src localhost/tools make check")]
pub(crate) struct RunArgs {
    /// Start it and return; prints the container's ID
    #[arg(short, long)]
    pub(crate) detach: bool,
    /// Pass on what is typed
    #[arg(short, long)]
    pub(crate) interactive: bool,
    /// Give it a terminal
    #[arg(short, long)]
    pub(crate) tty: bool,
    /// Remove the container when it has ended
    #[arg(long)]
    pub(crate) rm: bool,
    /// Its name [default: the image's, with digits of the ID]
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Make a port of it reachable on this computer, from everywhere unless an address is given; repeatable
    #[arg(short, long, value_name = "[ADDRESS:]HOST:CONTAINER[/udp]")]
    pub(crate) publish: Vec<Published>,
    /// What it reaches
    #[arg(long, alias = "net", value_enum, default_value_t = NetworkChoice::Pasta)]
    pub(crate) network: NetworkChoice,
    /// Set a variable; without a value it is taken from the environment; repeatable
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    pub(crate) env: Vec<Environment>,
    /// Set the variables of a file: lines NAME=VALUE; repeatable
    #[arg(long, value_name = "FILE")]
    pub(crate) env_file: Vec<PathBuf>,
    /// Show a file or directory of this computer, or a named volume, in it; repeatable
    #[arg(short, long, value_name = "PATH|NAME:TARGET[:ro]")]
    pub(crate) volume: Vec<Mounted>,
    /// Mount an empty file system in memory; repeatable
    #[arg(long, value_name = "TARGET[:size=SIZE,mode=MODE,ro]")]
    pub(crate) tmpfs: Vec<TemporaryFolder>,
    /// Let its root file system take no changes
    #[arg(long)]
    pub(crate) read_only: bool,
    /// The directory it starts in [default: the image's]
    #[arg(short, long, value_name = "DIR")]
    pub(crate) workdir: Option<String>,
    /// Who runs the command [default: the image's]
    #[arg(short, long, value_name = "USER[:GROUP]")]
    pub(crate) user: Option<String>,
    /// Its host name [default: the beginning of its ID]
    #[arg(short = 'h', long, value_name = "NAME")]
    pub(crate) hostname: Option<String>,
    /// Another entry point; an empty one is none
    #[arg(long, value_name = "PROGRAM")]
    pub(crate) entrypoint: Option<String>,
    /// Give it a capability beyond the usual ones, or ALL; repeatable
    #[arg(long, value_name = "NAME")]
    pub(crate) cap_add: Vec<Capabilities>,
    /// Take a capability away, or ALL; repeatable
    #[arg(long, value_name = "NAME")]
    pub(crate) cap_drop: Vec<Capabilities>,
    /// Whether it gets what systemd as pid 1 expects; true: if its command is systemd or init
    #[arg(long, value_enum, default_value_t = SystemdChoice::True, value_name = "WHEN")]
    pub(crate) systemd: SystemdChoice,
    /// The signal that stops it [default: the image's, else SIGTERM; SIGRTMIN+3 for systemd]
    #[arg(long, value_name = "SIGNAL")]
    pub(crate) stop_signal: Option<String>,
    /// How long it may take to stop before it is killed
    #[arg(long, value_name = "SECONDS", default_value_t = osmith_container::specification::STOP_TIMEOUT_SECONDS)]
    pub(crate) stop_timeout: u32,
    /// The image for that kind of machine, of an index or a registry that has several [default: this one]
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    pub(crate) platform: Option<osmith_image::Platform>,
    /// When the image is fetched, if it has a registry's name
    #[arg(long, value_enum, value_name = "WHEN", default_value_t = PullWhen::Missing)]
    pub(crate) pull: PullWhen,
    #[command(flatten)]
    pub(crate) transfer: TransferOptions,
    /// Show no progress of fetching
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Print help
    #[arg(long, action = clap::ArgAction::Help)]
    pub(crate) help: Option<bool>,
    /// Name or ID
    #[arg(value_name = "IMAGE")]
    pub(crate) image: String,
    /// The command with its arguments [default: the image's]; with an entry point, its arguments
    #[arg(value_name = "COMMAND", trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) command: Vec<String>,
}

/// What a container reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum NetworkChoice {
    /// A network of its own, which the program pasta connects
    #[value(alias = "private")]
    Pasta,
    /// This computer's
    Host,
    /// Nothing
    None,
}

/// When a container is one of systemd.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SystemdChoice {
    True,
    False,
    Always,
}

/// Run one more command in a container that runs
#[derive(Debug, Args)]
#[command(after_help = "\
Exit status: the command's, or 125 if osmith failed, 126 if the command cannot be executed, 127 if there is none.

Examples:
  osmith exec web systemctl --failed
  osmith exec -it web bash
  osmith exec -l ps -ef")]
pub(crate) struct ExecArgs {
    /// Pass on what is typed
    #[arg(short, long)]
    pub(crate) interactive: bool,
    /// Give it a terminal
    #[arg(short, long)]
    pub(crate) tty: bool,
    /// In the container that was made last; no container is named then
    #[arg(short, long)]
    pub(crate) latest: bool,
    /// Who runs it [default: the container's user]
    #[arg(short, long, value_name = "USER[:GROUP]")]
    pub(crate) user: Option<String>,
    /// The directory it starts in [default: the container's]
    #[arg(short, long, value_name = "DIR")]
    pub(crate) workdir: Option<String>,
    /// Set a variable; without a value it is taken from the environment; repeatable
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    pub(crate) env: Vec<Environment>,
    /// Name or ID of the container, and the command with its arguments
    #[arg(
        required = true,
        value_name = "CONTAINER COMMAND",
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    pub(crate) words: Vec<String>,
}

/// List the containers
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  osmith ps
  osmith ps --all --format json")]
pub(crate) struct PsArgs {
    /// Also those that have ended
    #[arg(short, long)]
    pub(crate) all: bool,
    /// Print only IDs
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// The output's form
    #[arg(long, value_enum, default_value_t = ListFormat::Table)]
    pub(crate) format: ListFormat,
}

/// Print what a container wrote
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  osmith logs web
  osmith logs -f --tail 10 -l")]
pub(crate) struct LogsArgs {
    /// Go on until the container ends
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Only so many lines from the end
    #[arg(long, value_name = "NUMBER")]
    pub(crate) tail: Option<usize>,
    /// With the time of each line
    #[arg(short, long)]
    pub(crate) timestamps: bool,
    /// Of the container that was made last
    #[arg(short, long, conflicts_with = "container")]
    pub(crate) latest: bool,
    /// Name or ID
    #[arg(required_unless_present = "latest", value_name = "CONTAINER")]
    pub(crate) container: Option<String>,
}

/// Stop containers
#[derive(Debug, Args)]
#[command(after_help = "\
A container gets its stop signal; if it does not end in time, it is killed.

Examples:
  osmith stop web
  osmith stop --time 60 --all")]
pub(crate) struct StopArgs {
    /// How long each may take before it is killed [default: what run --stop-timeout said]
    #[arg(short, long, value_name = "SECONDS")]
    pub(crate) time: Option<u32>,
    #[command(flatten)]
    pub(crate) which: WhichContainers,
}

/// Remove containers
#[derive(Debug, Args)]
#[command(after_help = "\
Named volumes stay: they are directories in the store's directory volumes/.

Examples:
  osmith rm web
  osmith rm --force --all")]
pub(crate) struct RmArgs {
    /// Also those that run: they are killed
    #[arg(short, long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) which: WhichContainers,
}

/// Which containers are meant.
#[derive(Debug, Args)]
pub(crate) struct WhichContainers {
    /// All containers
    #[arg(short, long, conflicts_with_all = ["latest", "containers"])]
    pub(crate) all: bool,
    /// The container that was made last
    #[arg(short, long, conflicts_with = "containers")]
    pub(crate) latest: bool,
    /// Names or IDs
    #[arg(required_unless_present_any = ["all", "latest"], value_name = "CONTAINER")]
    pub(crate) containers: Vec<String>,
}
