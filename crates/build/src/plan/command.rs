//! RUN: the command in its forms, its environment and its flags.

use super::history::{run_entry, with_bodies};
use super::instructions::StageDraft;
use super::mount::mount;
use super::reader::Reader;
use super::scope::is_predeclared;
use super::{MountKind, Run, RunMount};
use crate::containerfile::{Arguments, Command, Flag, Instruction};

/// The command of an instruction and what the history says of it; `None`, with findings, if it cannot be done.
pub(super) fn run(
    instruction: &Instruction,
    stage: &StageDraft,
    reader: &mut Reader<'_, '_>,
) -> Option<(Run, String)> {
    let Arguments::Run {
        command,
        heredocs,
        is_script,
    } = &instruction.arguments
    else {
        return None;
    };
    let flags = flags(instruction, stage.workdir(), reader)?;
    let shell = stage.shell();
    let (argv, script) = match (command, heredocs.first()) {
        (Command::Exec(words), _) => (words.clone(), None),
        (Command::Shell(_), Some(heredoc)) if *is_script => match heredoc.body.starts_with("#!") {
            true => (Vec::new(), Some((heredoc.name.clone(), heredoc.body.clone()))),
            false => (with_text(&shell, &heredoc.body), None),
        },
        (Command::Shell(text), _) => (
            with_text(&shell, &with_bodies(text, &instruction.heredocs())),
            None,
        ),
    };
    if argv.is_empty() && script.is_none() {
        let note = "expected RUN [\"PROGRAM\", \"ARGUMENT\"]";
        reader.error(instruction.span, "RUN has no program", note);
        return None;
    }
    let args = reader.scope.visible_args();
    let history = run_entry(&args, instruction, heredocs);
    let mut env = reader.scope.env.clone();
    env.extend(args);
    let run = Run {
        argv,
        script,
        env,
        passing_env: passing_env(reader),
        workdir: stage.workdir().to_owned(),
        user: stage.user().to_owned(),
        network: flags.network,
        mounts: flags.mounts,
    };
    Some((run, history))
}

/// Proxies that were given and that no ARG or ENV declares.
fn passing_env(reader: &Reader<'_, '_>) -> Vec<(String, String)> {
    let given = reader.planner.globals.given.iter();
    given
        .filter(|(name, _)| is_predeclared(name) && reader.scope.value(name).is_none())
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

struct Flags {
    network: bool,
    mounts: Vec<RunMount>,
}

fn flags(instruction: &Instruction, workdir: &str, reader: &mut Reader<'_, '_>) -> Option<Flags> {
    let mut flags = Flags {
        network: true,
        mounts: Vec::new(),
    };
    for flag in &instruction.flags {
        match flag.name {
            "mount" => flags.mounts.push(mount(flag, workdir, reader)?),
            "network" => flags.network = network(flag, reader)?,
            "security" => security(flag, reader)?,
            _ => {
                let note = "a build has no devices of the machine; do this on the machine itself";
                reader.error(flag.span, "RUN --device is not supported", note);
                return None;
            }
        }
    }
    number_agents(&mut flags.mounts);
    require_distinct(instruction, &flags.mounts, reader)?;
    Some(flags)
}

/// Whether it has one.
fn network(flag: &Flag, reader: &mut Reader<'_, '_>) -> Option<bool> {
    match reader.flag(flag)?.as_str() {
        "default" | "host" => Some(true),
        "none" => Some(false),
        other => {
            let message = format!("there is no network `{other}`");
            reader.error(flag.span, message, "expected default, host or none");
            None
        }
    }
}

fn security(flag: &Flag, reader: &mut Reader<'_, '_>) -> Option<()> {
    let value = reader.flag(flag)?;
    if value == "sandbox" {
        return Some(());
    }
    let message = format!("RUN --security={value} is not supported");
    let note = "every command runs in the sandbox; osmith build --cap-add gives it single rights";
    reader.error(flag.span, message, note);
    None
}

/// Agents without a target get a numbered socket.
fn number_agents(mounts: &mut [RunMount]) {
    let agents = mounts
        .iter_mut()
        .filter(|mount| matches!(mount.kind, MountKind::Ssh { .. }));
    for (number, mount) in agents.enumerate() {
        if mount.target.is_empty() {
            mount.target = format!("/run/buildkit/ssh_agent.{number}");
        }
    }
}

fn require_distinct(
    instruction: &Instruction,
    mounts: &[RunMount],
    reader: &mut Reader<'_, '_>,
) -> Option<()> {
    for (index, mount) in mounts.iter().enumerate() {
        if mounts
            .iter()
            .take(index)
            .any(|other| other.target == mount.target)
        {
            let message = format!("two mounts have the target `{}`", mount.target);
            reader.error(instruction.span, message, "expected each target once");
            return None;
        }
    }
    Some(())
}

fn with_text(shell: &[String], text: &str) -> Vec<String> {
    shell.iter().cloned().chain([text.to_owned()]).collect()
}
