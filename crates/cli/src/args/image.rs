//! The commands on images in the store.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

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
    /// The processor it is for, such as arm64 [default: this computer's]
    #[arg(long)]
    pub(crate) arch: Option<String>,
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
    /// The image for that kind of machine, of an index that has several [default: the index itself]
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    pub(crate) platform: Option<osmith_image::Platform>,
    /// Names or IDs
    #[arg(required = true, value_name = "IMAGE")]
    pub(crate) images: Vec<String>,
}

/// Print the composefs digest of an image: what a unified kernel image for it must name
#[derive(Debug, Args)]
#[command(after_help = "\
The digest is of all files but those in /boot, so that a unified kernel image in /boot/EFI/Linux does not change it.
It is the identity of every deployment of the image; 'osmith status' shows it.

Example:
  osmith build --build-arg COMPOSEFS=$(osmith digest localhost/webserver) -t localhost/webserver:sealed examples/sealed")]
pub(crate) struct DigestArgs {
    /// Name or ID
    #[arg(value_name = "IMAGE")]
    pub(crate) image: String,
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
    /// The image for that kind of machine, of an index that has several [default: all of them]
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    pub(crate) platform: Option<osmith_image::Platform>,
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
