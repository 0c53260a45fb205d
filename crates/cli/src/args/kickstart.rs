//! `osmith kickstart`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::ReportFormat;

/// Work with Kickstart files
#[derive(Debug, Args)]
pub(crate) struct KickstartArgs {
    #[command(subcommand)]
    pub(crate) command: KickstartCommand,
}

/// What to do with a Kickstart file.
#[derive(Debug, Subcommand)]
pub(crate) enum KickstartCommand {
    Check(KickstartCheckArgs),
    Explain(super::ExplainArgs),
}

/// Find everything that is wrong with a Kickstart file
#[derive(Debug, Args)]
#[command(after_help = "\
Without --dialect: whether osmith installs from the file, read as that of RHEL 10. What is valid
Kickstart but cannot be done, and values that make no sense, are refused then. With --dialect:
whether the file is valid, whatever osmith can do; these are warnings then.

Files that %include names are read, URLs are not fetched. What is missing under an absolute path
is a warning, as %pre may write it. Passwords are not shown.

Examples:
  osmith kickstart check ks.cfg
  osmith kickstart check --strict ks.cfg
  osmith kickstart check --dialect rhel9 - < ks.cfg
  osmith kickstart check --format json ks.cfg

Exit status: 0 if the file is accepted (there may be warnings), 1 otherwise.")]
pub(crate) struct KickstartCheckArgs {
    /// Only check that the file is valid in this dialect
    #[arg(long, value_enum, value_name = "DIALECT")]
    pub(crate) dialect: Option<KickstartDialect>,
    /// Take warnings for errors
    #[arg(long)]
    pub(crate) strict: bool,
    /// The output's form
    #[arg(long, value_enum, default_value_t = ReportFormat::Text)]
    pub(crate) format: ReportFormat,
    /// The file; - for standard input
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
}

/// Whose Kickstart it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum KickstartDialect {
    /// Red Hat Enterprise Linux 9
    Rhel9,
    /// Red Hat Enterprise Linux 10
    Rhel10,
}
