//! `osmith lint`.

use clap::Args;

use super::ReportFormat;

/// Find what is wrong, or will be, with an image that machines are to boot
#[derive(Debug, Args)]
#[command(after_help = "\
Each finding comes with its reason and with what to write into the Containerfile.
The checks of 'bootc container lint' have the names that they have there.

Examples:
  osmith lint localhost/webserver
  osmith lint --fatal-warnings --skip var-tmpfiles localhost/webserver
  osmith lint --list

Exit status: 0 if nothing is wrong (there may be warnings), 1 otherwise.")]
pub(crate) struct LintArgs {
    /// Leave a check out; repeatable
    #[arg(long, value_name = "CHECK")]
    pub(crate) skip: Vec<String>,
    /// Take warnings for errors
    #[arg(long)]
    pub(crate) fatal_warnings: bool,
    /// Show everything that a check found, not only the first five
    #[arg(long)]
    pub(crate) no_truncate: bool,
    /// List the checks
    #[arg(long, conflicts_with = "image")]
    pub(crate) list: bool,
    /// The output's form
    #[arg(long, value_enum, default_value_t = ReportFormat::Text)]
    pub(crate) format: ReportFormat,
    /// Name or ID
    #[arg(value_name = "IMAGE", required_unless_present = "list")]
    pub(crate) image: Option<String>,
}
