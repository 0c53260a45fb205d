//! The commands on installation media that are finished.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// Change an ISO that 'osmith disk --type iso' made
#[derive(Debug, Args)]
pub(crate) struct IsoArgs {
    #[command(subcommand)]
    pub(crate) command: IsoCommand,
}

/// What to change.
#[derive(Debug, Subcommand)]
pub(crate) enum IsoCommand {
    EmbedKickstart(EmbedKickstartArgs),
}

/// Put a Kickstart file into an ISO: it then installs without asking anybody
#[derive(Debug, Args)]
#[command(after_help = "\
The file is checked first, as by 'osmith kickstart check'. It counts unless the kernel argument inst.ks=
names another one. Needs no root. The ISO is replaced when the new one is complete; with --output it stays
as it is.

Whoever has the ISO can read the file: write hashed passwords, and keys.

Examples:
  osmith iso embed-kickstart --output web1.iso output/bootiso/install.iso web1.ks
  osmith iso embed-kickstart output/bootiso/install.iso server.ks
  osmith iso embed-kickstart --remove output/bootiso/install.iso")]
pub(crate) struct EmbedKickstartArgs {
    /// The new ISO [default: in the place of the old one]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Replace the new ISO if it exists
    #[arg(long, requires = "output")]
    pub(crate) force: bool,
    /// Take out the file that is in the ISO
    #[arg(long, conflicts_with = "kickstart")]
    pub(crate) remove: bool,
    /// The ISO
    #[arg(value_name = "ISO")]
    pub(crate) iso: PathBuf,
    /// The Kickstart file, or - for standard input
    #[arg(value_name = "KICKSTART", required_unless_present = "remove")]
    pub(crate) kickstart: Option<PathBuf>,
}
