//! `osmith run`.

use std::fs;
use std::process::ExitCode;

use osmith_container::life::Containers;
use osmith_container::signal;
use osmith_container::specification::{NetworkMode, Specification, SystemdMode, Wishes};
use osmith_container::supervise::{Surroundings, detached, foreground};
use osmith_image::{Reference, Sha256Digest};

use osmith_image::store::{Access, Store};
use osmith_report::Class;

use super::{NoStatus, Own, cgroups, fetch, finish, options};
use crate::args::{Global, NetworkChoice, RunArgs, SystemdChoice};
use crate::commands::images::{parse_name, print};
use crate::failure::CommandFailure;
use crate::progress::Console;
use crate::{location, namespace};

/// The program that connects a container's network.
const PASTA: &str = "pasta";

pub(crate) fn run(args: &RunArgs, global: &Global, console: &Console) -> ExitCode {
    finish(run_container(args, global, console), console)
}

fn run_container(args: &RunArgs, global: &Global, console: &Console) -> Result<u8, NoStatus> {
    let path = location::store(global)?;
    let name = parse_name(&args.image)?;
    let image = fetch::image(args, &name, &path, console)?;
    let planned = plan(args, &name, &image, &Store::open(&path, Access::ReadOnly)?)?;
    let cgroups = match planned.systemd {
        true => cgroups::for_containers()?,
        false => None,
    };
    namespace::enter("run a container", console)?;
    let store = Store::open(&path, Access::ReadWrite)?;
    let containers = Containers::new(store.containers_path());
    containers.sweep(&store)?;
    let specification = plan(args, &name, &image, &store)?;
    let (container, lock) = containers.create(&store, args.name.as_deref(), specification)?;
    let surroundings = Surroundings {
        resolv_conf: fs::read("/etc/resolv.conf").unwrap_or_default(),
        cgroups,
        pasta: PASTA.to_owned(),
    };
    if args.detach {
        detached(&container, lock, store, &surroundings)?;
        print(&format!("{}\n", container.id()))?;
        return Ok(0);
    }
    let Own { attachment, _raw } = Own::streams(args.interactive, args.tty)?;
    Ok(foreground(
        &container,
        lock,
        store,
        &surroundings,
        attachment,
        || {},
    )?)
}

/// What the container is to be.
fn plan(
    args: &RunArgs,
    name: &Reference,
    image: &Sha256Digest,
    store: &Store,
) -> Result<Specification, NoStatus> {
    let image = store.image_of_digest(image)?;
    let full_name = store
        .resolve(name)?
        .map_or(args.image.clone(), |name| name.to_string());
    Ok(Specification::new(&full_name, &image, wishes(args)?)?)
}

fn wishes(args: &RunArgs) -> Result<Wishes, CommandFailure> {
    let all = |masks: &[options::Capabilities]| masks.iter().fold(0, |all, mask| all | mask.0);
    let mut volumes: Vec<_> = args.volume.iter().map(|volume| volume.0.clone()).collect();
    volumes.extend(args.tmpfs.iter().map(|volume| volume.0.clone()));
    Ok(Wishes {
        command: args.command.clone(),
        entrypoint: args.entrypoint.as_deref().map(entrypoint),
        env: options::variables(&args.env_file, &args.env)?,
        cwd: args.workdir.clone(),
        user: args.user.clone(),
        hostname: args.hostname.clone(),
        network: network(args)?,
        ports: args.publish.iter().map(|port| port.0).collect(),
        volumes,
        added_capabilities: all(&args.cap_add),
        dropped_capabilities: all(&args.cap_drop),
        systemd: match args.systemd {
            SystemdChoice::True => SystemdMode::Detect,
            SystemdChoice::False => SystemdMode::Never,
            SystemdChoice::Always => SystemdMode::Always,
        },
        stop_signal: args.stop_signal.as_deref().map(stop_signal).transpose()?,
        stop_timeout_seconds: args.stop_timeout,
        terminal: args.tty,
        input: args.interactive,
        read_only: args.read_only,
        remove_when_ended: args.rm,
    })
}

/// A JSON list, or a program.
fn entrypoint(text: &str) -> Vec<String> {
    let listed: Option<Vec<String>> = serde_json::from_str(text).ok();
    let program = || Some(text.to_owned()).filter(|text| !text.is_empty());
    listed.unwrap_or_else(|| program().into_iter().collect())
}

fn network(args: &RunArgs) -> Result<NetworkMode, CommandFailure> {
    let mode = match args.network {
        NetworkChoice::Pasta => NetworkMode::Pasta,
        NetworkChoice::Host => NetworkMode::Host,
        NetworkChoice::None => NetworkMode::None,
    };
    match mode == NetworkMode::Pasta || args.publish.is_empty() {
        true => Ok(mode),
        false => {
            let failure = CommandFailure::new(Class::Usage, "only a network of its own has ports to publish");
            Err(failure.hint("leave --network out, or --publish"))
        }
    }
}

fn stop_signal(text: &str) -> Result<i32, CommandFailure> {
    signal::parse(text).ok_or_else(|| {
        CommandFailure::new(Class::Usage, format!("there is no signal '{text}'"))
            .hint("give a name such as SIGTERM, or a number")
    })
}
