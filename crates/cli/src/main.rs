//! The program `osmith`.

mod args;
mod commands;
mod configuration;
mod failure;
mod interrupt;
mod location;
mod namespace;
mod password;
mod progress;
mod registries;
mod size;
mod usage;
mod vm;

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use osmith_image::store::{Access, Store};
use osmith_report::Failure;

use args::{CacheCommand, Cli, Command, EtcCommand, InstallCommand, IsoCommand, KickstartCommand};
use commands::{
    build, cache, container, copy, disk, drift, image_builder, images, import, install, installation, iso,
    kickstart, layout, lint, machine, reference_pages, transfer,
};
use progress::{Console, Messages};

fn main() -> ExitCode {
    if let Some(status) = osmith_sys::sandbox::run_if_child() {
        return status;
    }
    if let Some(status) = osmith_container::supervise::run_if_supervisor() {
        return status;
    }
    if called_as(image_builder::NAME) {
        return image_builder::main();
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage::report(&error),
    };
    if let Err(error) = interrupt::listen() {
        let _ = writeln!(std::io::stderr(), "error: cannot listen for signals: {error}");
        return ExitCode::FAILURE;
    }
    let console = Console::new(cli.global.progress, interrupt::asked());
    match run(&cli, &console) {
        Ok(status) => status,
        Err(failure) => {
            failure::report(failure.as_ref(), &console);
            ExitCode::from(failure::exit_status(failure.class()))
        }
    }
}

/// Whether the program was started under that name.
fn called_as(name: &str) -> bool {
    let program = std::env::args_os().next().unwrap_or_default();
    std::path::Path::new(&program).file_name() == Some(name.as_ref())
}

fn run(cli: &Cli, console: &Console) -> Result<ExitCode, Box<dyn Failure>> {
    let store = |access| -> Result<Store, Box<dyn Failure>> {
        Ok(Store::open(&location::store(&cli.global)?, access)?)
    };
    match &cli.command {
        Command::Build(args) => {
            let path = location::store(&cli.global)?;
            namespace::enter("build", console)?;
            build::build(args, &Store::open(&path, Access::ReadWrite)?, console)
        }
        Command::Cache(args) => {
            let path = location::store(&cli.global)?;
            namespace::enter("look after caches", console)?;
            let store = Store::open(&path, Access::ReadWrite)?;
            match &args.command {
                CacheCommand::List(args) => cache::list(args, &store),
                CacheCommand::Remove(args) => cache::remove(args, &store),
            }
        }
        Command::Import(args) => import::import(args, &store(Access::ReadWrite)?, console),
        Command::Images(args) => images::images(args, &store(Access::ReadOnly)?),
        Command::Digest(args) => images::digest(args, &store(Access::ReadOnly)?),
        Command::Lint(args) => lint::lint(args, &|| store(Access::ReadOnly)),
        Command::Inspect(args) => images::inspect(args, &store(Access::ReadOnly)?),
        Command::Tag(args) => images::tag(args, &store(Access::ReadWrite)?),
        Command::Rmi(args) => images::rmi(args, &store(Access::ReadWrite)?, console),
        Command::Prune(args) => {
            let path = location::store(&cli.global)?;
            // What containers ran on has files of other users.
            if Store::open(&path, Access::ReadOnly).is_ok_and(|store| store.has_kept_roots().unwrap_or(false))
            {
                namespace::enter("prune", console)?;
            }
            images::prune(args, &Store::open(&path, Access::ReadWrite)?, console)
        }
        Command::Fsck(args) if args.repair => machine::repair(console),
        Command::Fsck(args) if drift::is_machine_checked(args, &cli.global) => drift::fsck(console),
        Command::Fsck(_) => images::fsck(&store(Access::ReadOnly)?, console),
        Command::Save(args) => layout::save(args, &store(Access::ReadWrite)?, console),
        Command::Load(args) => layout::load(args, &store(Access::ReadWrite)?, console),
        Command::Push(args) => transfer::push(args, &store(Access::ReadWrite)?, console),
        Command::Pull(args) => transfer::pull(args, &store(Access::ReadWrite)?, console),
        Command::Copy(args) => copy::copy(args, console),
        Command::Login(args) => transfer::login(args, console),
        Command::Logout(args) => transfer::logout(args),
        Command::Run(args) => return Ok(container::run(args, &cli.global, console)),
        Command::Exec(args) => return Ok(container::exec(args, &cli.global, console)),
        Command::Ps(args) => container::ps(args, &cli.global),
        Command::Logs(args) => container::logs(args, &cli.global, console),
        Command::Stop(args) => container::stop(args, &cli.global),
        Command::Rm(args) => container::rm(args, &cli.global, console),
        Command::Disk(args) => disk::disk(args, &store(Access::ReadOnly)?, console),
        Command::Install(args) => match &args.command {
            InstallCommand::ToDisk(args) => install::to_disk(args, &store(Access::ReadOnly)?, console),
            InstallCommand::ToFilesystem(args) => {
                install::to_filesystem(args, &store(Access::ReadOnly)?, console)
            }
            InstallCommand::Kickstart(args) => {
                installation::install_kickstart(args, &store(Access::ReadWrite)?, console)
            }
        },
        Command::Iso(args) => match &args.command {
            IsoCommand::EmbedKickstart(args) => iso::embed(args, console),
        },
        Command::Installer(_) => return Ok(installation::installer()),
        Command::Kickstart(args) => match &args.command {
            KickstartCommand::Check(args) => kickstart::check(args),
            KickstartCommand::Explain(args) => installation::explain(args, console),
        },
        Command::Status(args) => machine::status(args, console),
        Command::Etc(args) => match &args.command {
            EtcCommand::Diff(args) => drift::etc_diff(args, console),
        },
        Command::Drift(args) => return drift::drift(args, console),
        Command::Upgrade(args) if args.quiet => machine::upgrade(args, &Messages(console)),
        Command::Upgrade(args) => machine::upgrade(args, console),
        Command::Switch(args) if args.quiet => machine::switch(args, &Messages(console)),
        Command::Switch(args) => machine::switch(args, console),
        Command::Rollback(args) => machine::rollback(args, console),
        Command::Pin(args) => machine::pin(args, console),
        Command::Unpin(args) => machine::unpin(args, console),
        Command::Kargs(args) => machine::kargs(args, console),
        Command::UsrOverlay(args) => machine::usr_overlay(args),
        Command::Health(args) => machine::health(args, console),
        Command::Log(args) => machine::log(args, console),
        Command::Finalize(args) => machine::finalize(args, console),
        Command::Completions(args) => reference_pages::completions(args),
        Command::Man(args) => reference_pages::man(args),
        Command::Vm(args) => vm::run(args, &|| store(Access::ReadOnly), console),
    }?;
    Ok(ExitCode::SUCCESS)
}
