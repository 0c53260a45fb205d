//! Completions and man pages, made from the command line's definition.

use std::fs;
use std::path::Path;

use clap::CommandFactory as _;
use osmith_report::Class;

use super::images::print;
use crate::args::{Cli, CompletionsArgs, ImageBuilder, ManArgs};
use crate::failure::{CommandFailure, CommandResult};

pub(crate) fn completions(args: &CompletionsArgs) -> CommandResult {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "osmith", &mut script);
    print(&String::from_utf8_lossy(&script))
}

/// Writes `osmith.1`, a page for every command, and one for `bootc-image-builder`.
pub(crate) fn man(args: &ManArgs) -> CommandResult {
    let cannot_write = |path: &Path, error: std::io::Error| {
        CommandFailure::new(
            Class::Environment,
            format!("cannot write man pages to '{}'", path.display()),
        )
        .because(error)
    };
    fs::create_dir_all(&args.directory).map_err(|error| cannot_write(&args.directory, error))?;
    [Cli::command(), ImageBuilder::command()]
        .into_iter()
        .try_for_each(|mut program| {
            program.build();
            clap_mangen::generate_to(program, &args.directory)
        })
        .map_err(|error| cannot_write(&args.directory, error))?;
    Ok(())
}
