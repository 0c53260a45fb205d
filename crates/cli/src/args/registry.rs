//! The command line of what speaks to registries.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use osmith_image::registry::PullPolicy;

/// How a registry is reached.
#[derive(Debug, Clone, Args)]
pub(crate) struct RegistryOptions {
    /// Check certificates and refuse HTTP [default: as registries.conf says, else true]
    #[arg(
        long,
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        action = clap::ArgAction::Set
    )]
    pub(crate) tls_verify: Option<bool>,
    /// The file with passwords [default: podman's, then docker's]
    #[arg(long, value_name = "FILE", env = "REGISTRY_AUTH_FILE", hide_env_values = true)]
    pub(crate) authfile: Option<PathBuf>,
    /// The directory with the registry's certificates [default: certs.d/HOST, below /etc/containers for instance]
    #[arg(long, value_name = "DIR")]
    pub(crate) cert_dir: Option<PathBuf>,
}

/// Who we are, and how often something is tried.
#[derive(Debug, Clone, Args)]
pub(crate) struct TransferOptions {
    #[command(flatten)]
    pub(crate) registry: RegistryOptions,
    /// The name and the password, in the place of those in files
    #[arg(long, value_name = "NAME[:PASSWORD]")]
    pub(crate) creds: Option<String>,
    /// How often to try again what fails on the way
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub(crate) retry: u32,
}

/// When images are fetched that have a registry's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PullWhen {
    /// If not in the store
    #[value(alias = "ifnotpresent", alias = "false")]
    Missing,
    /// Every time
    #[value(alias = "true")]
    Always,
    /// Every time; if that fails, what is in the store will do
    #[value(alias = "ifnewer")]
    Newer,
    /// Not at all
    Never,
}

impl From<PullWhen> for PullPolicy {
    fn from(when: PullWhen) -> Self {
        match when {
            PullWhen::Missing => PullPolicy::Missing,
            PullWhen::Always => PullPolicy::Always,
            PullWhen::Newer => PullPolicy::Newer,
            PullWhen::Never => PullPolicy::Never,
        }
    }
}

/// Send an image to a registry
#[derive(Debug, Args)]
#[command(after_help = "\
What the registry has is not sent again. Layers made here are compressed while they are sent.
Prints the name of the image in the registry, with its digest.

Examples:
  osmith push registry.example.org/shop/webserver:2
  osmith push localhost/webserver registry.example.org/shop/webserver:2
  osmith push --tls-verify=false localhost/webserver localhost:5000/webserver")]
pub(crate) struct PushArgs {
    #[command(flatten)]
    pub(crate) transfer: TransferOptions,
    /// How layers made here are compressed; layers that came compressed stay as they are
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = PushCompression::Zstd)]
    pub(crate) compression_format: PushCompression,
    /// How much they are compressed: gzip 1 to 9, zstd 1 to 19 [default: 6 for gzip, 2 for zstd]
    #[arg(long, value_name = "LEVEL")]
    pub(crate) compression_level: Option<i32>,
    /// The image for that kind of machine, of an index that has several [default: all of them]
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    pub(crate) platform: Option<osmith_image::Platform>,
    /// Write the digest of the manifest to a file
    #[arg(long, value_name = "FILE")]
    pub(crate) digestfile: Option<PathBuf>,
    /// Print nothing but errors
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// The image
    pub(crate) image: String,
    /// Its name in the registry [default: its name here]
    pub(crate) destination: Option<String>,
}

/// How layers are compressed on their way to a registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PushCompression {
    /// Fast and small; for podman, and docker 23 and newer
    Zstd,
    /// Read by everything
    Gzip,
}

/// Fetch images from registries
#[derive(Debug, Args)]
#[command(after_help = "\
Only layers that the store does not have are fetched. Prints the ID of each image.

Examples:
  osmith pull registry.example.org/os/base:13
  osmith pull --platform linux/arm64 registry.example.org/os/base
  osmith pull registry.example.org/os/base@sha256:DIGEST")]
pub(crate) struct PullArgs {
    #[command(flatten)]
    pub(crate) transfer: TransferOptions,
    /// The kind of machine, such as linux/arm64 or linux/arm/v7 [default: this one]
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    pub(crate) platform: Option<osmith_image::Platform>,
    /// Print only the IDs
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// The names of the images
    #[arg(required = true, value_name = "IMAGE")]
    pub(crate) images: Vec<String>,
}

/// Copy an image from one place to another, without changing it
#[derive(Debug, Args)]
#[command(after_help = "\
Places are docker://NAME in a registry, oci:DIR[:NAME] and oci-archive:FILE[:NAME]. Prints the digest of the copy.

Examples:
  osmith copy docker://registry.example.org/os/base:13 docker://inside.example.org/os/base:13
  osmith copy --all docker://registry.example.org/os/base docker://inside.example.org/os/base
  osmith copy docker://registry.example.org/os/base:13 oci-archive:base.tar")]
pub(crate) struct CopyArgs {
    /// Copy the images for all kinds of machines, from one registry to another
    #[arg(short, long)]
    pub(crate) all: bool,
    /// The file with passwords [default: podman's, then docker's]
    #[arg(long, value_name = "FILE", env = "REGISTRY_AUTH_FILE", hide_env_values = true)]
    pub(crate) authfile: Option<PathBuf>,
    /// Check certificates of the source and refuse HTTP
    #[arg(long, value_name = "BOOL", action = clap::ArgAction::Set)]
    pub(crate) src_tls_verify: Option<bool>,
    /// Check certificates of the destination and refuse HTTP
    #[arg(long, value_name = "BOOL", action = clap::ArgAction::Set)]
    pub(crate) dest_tls_verify: Option<bool>,
    /// The directory with the certificates of the source
    #[arg(long, value_name = "DIR")]
    pub(crate) src_cert_dir: Option<PathBuf>,
    /// The directory with the certificates of the destination
    #[arg(long, value_name = "DIR")]
    pub(crate) dest_cert_dir: Option<PathBuf>,
    /// The name and the password for the source
    #[arg(long, value_name = "NAME[:PASSWORD]")]
    pub(crate) src_creds: Option<String>,
    /// The name and the password for the destination
    #[arg(long, value_name = "NAME[:PASSWORD]")]
    pub(crate) dest_creds: Option<String>,
    /// How often to try again what fails on the way
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub(crate) retry_times: u32,
    /// Write the digest of the copy to a file
    #[arg(long, value_name = "FILE")]
    pub(crate) digestfile: Option<PathBuf>,
    /// Where from
    pub(crate) source: String,
    /// Where to
    pub(crate) destination: String,
}

/// Remember a password for a registry, when the registry has accepted it
#[derive(Debug, Args)]
#[command(after_help = "\
Asks for what is not given. podman, skopeo and buildah find the password, too.

Examples:
  osmith login registry.example.org
  osmith login -u jo --password-stdin registry.example.org < password
  osmith login --get-login registry.example.org")]
pub(crate) struct LoginArgs {
    #[command(flatten)]
    pub(crate) registry: RegistryOptions,
    /// The name
    #[arg(short, long, value_name = "NAME")]
    pub(crate) username: Option<String>,
    /// The password; others can see it in the list of processes
    #[arg(short, long, value_name = "PASSWORD", conflicts_with = "password_stdin")]
    pub(crate) password: Option<String>,
    /// Read the password from standard input
    #[arg(long)]
    pub(crate) password_stdin: bool,
    /// Print who is logged in, and do nothing else
    #[arg(long, conflicts_with_all = ["username", "password", "password_stdin"])]
    pub(crate) get_login: bool,
    /// The registry, or a part of it such as registry.example.org/shop
    #[arg(value_name = "REGISTRY", value_parser = parse_registry)]
    pub(crate) name: String,
}

/// Forget the password for a registry
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  osmith logout registry.example.org
  osmith logout --all")]
pub(crate) struct LogoutArgs {
    /// The file with passwords [default: podman's]
    #[arg(long, value_name = "FILE", env = "REGISTRY_AUTH_FILE", hide_env_values = true)]
    pub(crate) authfile: Option<PathBuf>,
    /// Forget the passwords of all registries
    #[arg(long, conflicts_with = "name")]
    pub(crate) all: bool,
    /// The registry
    #[arg(value_name = "REGISTRY", required_unless_present = "all", value_parser = parse_registry)]
    pub(crate) name: Option<String>,
}

/// Addresses are taken for the hosts in them.
fn parse_registry(text: &str) -> Result<String, String> {
    let rest = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    let name = rest.unwrap_or(text).trim_end_matches('/');
    match name.is_empty() || name.contains([' ', '@', '?']) {
        false => Ok(name.to_owned()),
        true => Err("a registry is expected, such as registry.example.org".to_owned()),
    }
}
