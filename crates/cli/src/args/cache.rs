//! `osmith cache`.

use clap::{Args, Subcommand};

use super::ListFormat;

/// Look at the directories that RUN --mount=type=cache keeps, and remove them
#[derive(Debug, Args)]
pub(crate) struct CacheArgs {
    #[command(subcommand)]
    pub(crate) command: CacheCommand,
}

/// What is done with kept directories.
#[derive(Debug, Subcommand)]
pub(crate) enum CacheCommand {
    List(CacheListArgs),
    Remove(CacheRemoveArgs),
}

/// List the directories, with size and last use
#[derive(Debug, Args)]
#[command(
    visible_alias = "ls",
    after_help = "\
Example:
  osmith cache list"
)]
pub(crate) struct CacheListArgs {
    /// The output's form
    #[arg(long, value_enum, default_value_t = ListFormat::Table)]
    pub(crate) format: ListFormat,
}

/// Remove directories that nobody uses now
#[derive(Debug, Args)]
#[command(
    visible_alias = "rm",
    after_help = "\
Examples:
  osmith cache remove /var/cache/apt
  osmith cache remove --all"
)]
pub(crate) struct CacheRemoveArgs {
    /// Remove all
    #[arg(short, long, conflicts_with = "ids")]
    pub(crate) all: bool,
    /// Their names, as the list has them: for all owners
    #[arg(value_name = "ID", required_unless_present = "all")]
    pub(crate) ids: Vec<String>,
}
