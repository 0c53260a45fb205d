//! `osmith exec`.

use std::process::ExitCode;

use osmith_container::exec::{Command, run};
use osmith_report::Class;

use super::{NoStatus, Own, cgroups, containers, finish, options};
use crate::args::{ExecArgs, Global};
use crate::failure::CommandFailure;
use crate::progress::Console;

pub(crate) fn exec(args: &ExecArgs, global: &Global, console: &Console) -> ExitCode {
    finish(exec_command(args, global), console)
}

fn exec_command(args: &ExecArgs, global: &Global) -> Result<u8, NoStatus> {
    let containers = containers(global)?;
    let (container, argv) = match (args.latest, args.words.as_slice()) {
        (true, argv) => (containers.latest()?, argv),
        (false, [name, argv @ ..]) => (containers.find(name)?, argv),
        (false, []) => return Err(no_command().into()),
    };
    if argv.is_empty() {
        return Err(no_command().into());
    }
    let command = Command {
        argv: argv.to_vec(),
        env: options::variables(&[], &args.env)?,
        cwd: args.workdir.clone(),
        user: args.user.clone(),
        terminal: args.tty,
        input: args.interactive,
    };
    let Own { attachment, _raw } = Own::streams(args.interactive, args.tty)?;
    let exit = run(&container, &command, cgroups::root().as_deref(), attachment)?;
    Ok(u8::try_from(exit.shell_code()).unwrap_or(u8::MAX))
}

fn no_command() -> CommandFailure {
    CommandFailure::new(Class::Usage, "no command is given")
        .hint("name a container and a command: osmith exec CONTAINER COMMAND, or osmith exec -l COMMAND")
}
