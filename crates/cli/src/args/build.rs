//! `osmith build`: podman's spelling of options.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, ValueEnum};
use osmith_image::Platform;

use super::foreign::ForeignOptions;
use super::{PullWhen, TransferOptions};
use crate::commands::container::options::Capabilities;

/// Build an image from a Containerfile
#[derive(Debug, Args)]
#[command(after_help = "\
Works as root and as an ordinary user with subordinate ids (/etc/subuid, /etc/subgid).
Prints the ID of the image, of several each on a line.

Examples:
  osmith build -t localhost/webserver examples/webserver
  osmith build -t localhost/os:2 -f Containerfile.prod --build-arg CHANNEL=stable .
  osmith build --target base --no-cache .
  osmith build --secret id=token,src=token.txt --build-context assets=../assets .
  osmith build --platform linux/amd64,linux/arm64 --manifest registry.example.org/os/base .
  osmith build --check .
  osmith build --source-date-epoch 1700000000 --iidfile id .")]
pub(crate) struct BuildArgs {
    /// Name the image; repeatable
    #[arg(short, long, value_name = "NAME[:TAG]")]
    pub(crate) tag: Vec<String>,
    /// The Containerfile [default: CONTEXT/Containerfile, else CONTEXT/Dockerfile; - for standard input]; several are
    /// read as one
    #[arg(short, long, value_name = "FILE")]
    pub(crate) file: Vec<PathBuf>,
    /// Set a build argument; without a value it is taken from the environment
    #[arg(long, value_name = "NAME[=VALUE]")]
    pub(crate) build_arg: Vec<String>,
    /// Read build arguments from a file with a line for each
    #[arg(long, value_name = "FILE")]
    pub(crate) build_arg_file: Vec<PathBuf>,
    /// Give a directory or an image (docker-image://NAME) a name for FROM and --from
    #[arg(long, value_name = "NAME=PLACE")]
    pub(crate) build_context: Vec<String>,
    /// The file that says what COPY and ADD leave out [default: CONTEXT/.containerignore, CONTEXT/.dockerignore]
    #[arg(long, value_name = "FILE")]
    pub(crate) ignorefile: Option<PathBuf>,
    /// Stop at this stage
    #[arg(long, value_name = "STAGE")]
    pub(crate) target: Option<String>,
    /// The kind of machine that the image is for, such as linux/arm64 [default: this one]; of several, with commas
    /// between them, each has an image in the index of --manifest
    #[arg(
        long,
        value_name = "OS/ARCH[/VARIANT]",
        value_delimiter = ',',
        conflicts_with_all = ["os", "arch", "variant"]
    )]
    pub(crate) platform: Vec<Platform>,
    /// Put the image into the index of that name, which is made if there is none; it takes the place of one for the same
    /// platform
    #[arg(long, value_name = "NAME[:TAG]")]
    pub(crate) manifest: Option<String>,
    /// The same in parts: the processor
    #[arg(long, value_name = "ARCH")]
    pub(crate) arch: Option<String>,
    /// The variant of the processor
    #[arg(long, value_name = "VARIANT")]
    pub(crate) variant: Option<String>,
    /// The system
    #[arg(long, value_name = "OS")]
    pub(crate) os: Option<String>,
    /// What the first FROM is to name
    #[arg(long, value_name = "IMAGE")]
    pub(crate) from: Option<String>,
    /// Show a file or variable to RUN --mount=type=secret; it is in no layer, history or cache key
    #[arg(long, value_name = "id=ID[,src=FILE|,env=VARIABLE]")]
    pub(crate) secret: Vec<String>,
    /// Show an SSH agent to RUN --mount=type=ssh [default socket: $SSH_AUTH_SOCK]
    #[arg(long, value_name = "ID[=SOCKET]")]
    pub(crate) ssh: Vec<String>,
    /// Make one layer of all new layers; the base image's layers stay
    #[arg(long, conflicts_with = "squash_all")]
    pub(crate) squash: bool,
    /// Make one layer of all layers, the base image's as well
    #[arg(long)]
    pub(crate) squash_all: bool,
    /// The form of the image
    #[arg(long, value_enum, default_value_t = BuildFormat::Oci, value_name = "FORMAT")]
    pub(crate) format: BuildFormat,
    /// Only say what is wrong with the Containerfile, and what could be better
    #[arg(long)]
    pub(crate) check: bool,
    /// Run every step, also those whose result is known
    #[arg(long)]
    pub(crate) no_cache: bool,
    /// Build at most so many stages at once [default: the number of processors]
    #[arg(long, value_name = "NUMBER")]
    pub(crate) jobs: Option<NonZeroUsize>,
    /// Creation time of image, history and new files, in seconds since 1970 [default: now; files keep theirs]
    #[arg(long, value_name = "SECONDS", conflicts_with = "source_date_epoch")]
    pub(crate) timestamp: Option<i64>,
    /// Creation time of image and history, and the latest time of new files, in seconds since 1970
    /// [default: $SOURCE_DATE_EPOCH, if set]
    #[arg(long, value_name = "SECONDS")]
    pub(crate) source_date_epoch: Option<i64>,
    /// Whether --source-date-epoch holds for files
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    pub(crate) rewrite_timestamp: bool,
    /// Set a label; repeatable
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) label: Vec<String>,
    /// Take a label of the base image or the Containerfile out of the image; repeatable
    #[arg(long, value_name = "NAME")]
    pub(crate) unsetlabel: Vec<String>,
    /// Set an annotation of the manifest; repeatable
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) annotation: Vec<String>,
    /// Take an annotation of the base image out of the manifest; repeatable
    #[arg(long, value_name = "NAME")]
    pub(crate) unsetannotation: Vec<String>,
    /// Whether an annotation says when the image was made
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) created_annotation: bool,
    /// Say nothing of how the image was made
    #[arg(long)]
    pub(crate) omit_history: bool,
    /// Whether the annotations of the base image are taken over
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    pub(crate) inherit_annotations: bool,
    /// Set a variable in the image; without a value it is taken from the environment
    #[arg(long, value_name = "NAME[=VALUE]")]
    pub(crate) env: Vec<String>,
    /// Take a variable out of the image
    #[arg(long, value_name = "NAME")]
    pub(crate) unsetenv: Vec<String>,
    /// Give RUN steps a capability beyond the usual ones, or ALL; repeatable
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(crate) cap_add: Vec<Capabilities>,
    /// Take a capability away from RUN steps, or ALL; repeatable
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(crate) cap_drop: Vec<Capabilities>,
    /// The network of RUN steps: host, which is this machine's, or none
    #[arg(long, default_value = "host", value_name = "NETWORK")]
    pub(crate) network: BuildNetwork,
    /// Give RUN steps the variables that name this machine's proxies
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    pub(crate) http_proxy: bool,
    /// Tell RUN steps the address of a host
    #[arg(long, value_name = "HOST:IP")]
    pub(crate) add_host: Vec<String>,
    /// Leave RUN steps the image's own /etc/hosts
    #[arg(long, conflicts_with = "add_host")]
    pub(crate) no_hosts: bool,
    /// Tell RUN steps the address of a name server, in the place of this machine's; none leaves them the image's own
    /// /etc/resolv.conf; repeatable
    #[arg(long, value_name = "IP|none")]
    pub(crate) dns: Vec<String>,
    /// Tell RUN steps in which domain names are looked for; repeatable
    #[arg(long, value_name = "DOMAIN")]
    pub(crate) dns_search: Vec<String>,
    /// An option of RUN steps' /etc/resolv.conf, such as timeout:1; repeatable
    #[arg(long, value_name = "OPTION")]
    pub(crate) dns_option: Vec<String>,
    /// Show a file or directory of this machine to RUN steps
    #[arg(short, long, value_name = "HERE:THERE[:ro]")]
    pub(crate) volume: Vec<String>,
    #[command(flatten)]
    pub(crate) foreign: ForeignOptions,
    /// Write the ID of the image to a file
    #[arg(long, value_name = "FILE")]
    pub(crate) iidfile: Option<PathBuf>,
    /// Write the file tree as well: type=local,dest=DIR or type=tar,dest=FILE; DIR alone, or - for a tar to standard output
    #[arg(short, long, value_name = "DEST")]
    pub(crate) output: Option<String>,
    /// When base images are fetched that have a registry's name
    #[arg(
        long,
        value_enum,
        value_name = "WHEN",
        default_value_t = PullWhen::Missing,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "always"
    )]
    pub(crate) pull: PullWhen,
    #[command(flatten)]
    pub(crate) transfer: TransferOptions,
    /// Show no progress
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// The directory that COPY and ADD read from; or a git repository (https://HOST/NAME.git#BRANCH:DIR), the URL of an
    /// archive, or - for an archive or a Containerfile on standard input
    #[arg(default_value = ".")]
    pub(crate) context: PathBuf,
}

/// What RUN steps reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BuildNetwork {
    /// This machine's network
    Host,
    /// Nothing
    None,
}

impl FromStr for BuildNetwork {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "host" | "default" => Ok(BuildNetwork::Host),
            "none" => Ok(BuildNetwork::None),
            "private" | "pasta" | "slirp4netns" | "bridge" => Err(
                "RUN steps have no network of their own, as containers of 'osmith run' do: expected host or none".to_owned(),
            ),
            _ => Err("expected host or none".to_owned()),
        }
    }
}

/// The form of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum BuildFormat {
    /// That of the Open Container Initiative
    Oci,
    /// Docker's, which keeps HEALTHCHECK, ONBUILD and SHELL
    Docker,
}
