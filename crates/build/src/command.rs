//! A planned RUN becomes a command for the sandbox.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use osmith_container::users::Accounts;

use crate::Request;
use crate::error::StepError;
use crate::execute::Shown;
use crate::plan::Run;
use crate::run::{Mount, Network, RunSpec, User};

/// The same for every build, so that it does not leak into results.
const HOST_NAME: &str = "build";
/// On a file system of its own, so it is in no layer.
const SCRIPT_DIRECTORY: &str = "/dev/pipes";

/// The command, its environment, and the files it sees beside the image's.
pub(crate) fn run_spec(
    run: &Run,
    accounts: &Accounts,
    request: &Request,
    shown: &Shown,
) -> Result<RunSpec, StepError> {
    let user = accounts.user(&run.user)?;
    let mut mounts = Vec::new();
    let mut file = |path: &str, mode: u32, bytes: &[u8]| mounts.push(Mount::file(path, mode, bytes));
    let network = run.network && request.run.network;
    if let (true, Some(text)) = (network, &request.name_service.resolv_conf) {
        file("/etc/resolv.conf", 0o644, text);
    }
    if let Some(text) = &request.name_service.hosts {
        file("/etc/hosts", 0o644, text);
    }
    let argv = match &run.script {
        Some((name, text)) => {
            let path = format!("{SCRIPT_DIRECTORY}/{name}");
            file(&path, 0o755, text.as_bytes());
            vec![OsString::from(path)]
        }
        None => run.argv.iter().map(OsString::from).collect(),
    };
    // What a mount covers is not there to be mounted on.
    let targets = shown.mounts.iter().map(|mount| mount.target.as_path());
    let targets: Vec<&Path> = targets
        .chain(shown.trees.iter().map(|mount| mount.target.as_path()))
        .collect();
    mounts.retain(|mount| !targets.iter().any(|target| mount.target.starts_with(target)));
    mounts.extend(shown.mounts.iter().cloned());
    mounts.extend(request.run.volumes.iter().cloned());
    let mut env = run.env.clone();
    env.extend(run.passing_env.iter().chain(&shown.env).cloned());
    for (name, value) in &request.run.proxies {
        if !env.iter().any(|(known, _)| known == name) {
            env.push((name.clone(), value.clone()));
        }
    }
    for (name, value) in [("HOME", user.home.as_str()), ("HOSTNAME", HOST_NAME)] {
        if !env.iter().any(|(known, _)| known == name) {
            env.push((name.to_owned(), value.to_owned()));
        }
    }
    Ok(RunSpec {
        argv,
        env: env
            .into_iter()
            .map(|(name, value)| (name.into(), value.into()))
            .collect(),
        cwd: PathBuf::from(&run.workdir),
        user: User {
            uid: user.owner.uid,
            gid: user.owner.gid,
            groups: user.groups,
        },
        hostname: HOST_NAME.to_owned(),
        network: if network { Network::Host } else { Network::None },
        capabilities: request.run.capabilities,
        mounts,
        trees: shown.trees.clone(),
    })
}
