//! What a deployment keeps of `/etc` and `/var`: as its image says in `setup-root-conf.toml`, which the initramfs reads.

use std::fmt;
use std::fs;
use std::io;
use std::os::fd::AsFd;

use osmith_formats::composefs;
use osmith_formats::tree::{Content, Node, Tree};
use osmith_formats::verity::Digest;

use super::{DeployError, Result, failed};
use crate::etc;
use crate::machine::Machine;
use crate::root_setup::{CONFIGURATION_PATH, Configuration, FolderKind};
use crate::writable::{UPPER, WORK};

/// What this machine has and the new deployment will not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeftBehind {
    /// Changes of `/etc`: the new deployment has the image's at every start.
    Etc {
        /// How many paths.
        changes: usize,
    },
    /// What is in `/var`: the new deployment has the image's at every start.
    Var,
}

impl fmt::Display for LeftBehind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = "the new image makes it anew at every start";
        match self {
            LeftBehind::Etc { changes: 1 } => write!(f, "one change of /etc does not come along: {why}"),
            LeftBehind::Etc { changes } => write!(f, "{changes} changes of /etc do not come along: {why}"),
            LeftBehind::Var => write!(f, "what is in /var stays on the disk and is not seen: {why}"),
        }
    }
}

/// What an image says; `object` reads an object.
pub(super) fn of_tree(
    tree: &Tree,
    object: &mut dyn FnMut(&Digest) -> io::Result<Vec<u8>>,
) -> Result<Configuration> {
    let Some(id) = tree.lookup(CONFIGURATION_PATH.as_bytes()) else {
        return Ok(Configuration::default());
    };
    let malformed = |reason: String| DeployError::RootConfiguration { reason };
    let bytes = match &tree.inode(id).node {
        Node::Regular(Content::Inline(bytes)) => bytes.to_vec(),
        Node::Regular(Content::Object { digest, .. }) => {
            object(digest).map_err(|error| malformed(error.to_string()))?
        }
        _ => return Err(malformed("it is no regular file".to_owned())),
    };
    let text = String::from_utf8(bytes).map_err(|error| malformed(error.to_string()))?;
    Configuration::parse(&text).map_err(|error| malformed(error.message().to_owned()))
}

/// What the image of a deployment of this machine says.
pub(super) fn of_deployment(machine: &Machine, deployment: &Digest) -> Result<Configuration> {
    let repository = machine.physical().join("composefs");
    let image = repository.join(format!("images/{deployment}"));
    let bytes = fs::read(&image).map_err(|error| failed("read", &image, error))?;
    // An image of another format is bootc's, which mounts as nothing said means.
    let Ok(tree) = composefs::read(&bytes) else {
        return Ok(Configuration::default());
    };
    of_tree(&tree, &mut |digest| {
        fs::read(repository.join("objects").join(digest.object_path()))
    })
}

/// Makes sure that the `/etc` that is looked at is the machine's: where nothing is mounted it is the image's, and all
/// changes would seem to be undone.
pub(super) fn require_mounted_etc(machine: &Machine) -> Result<()> {
    let is_missing = machine.etc_kind() == FolderKind::None;
    if is_missing && of_deployment(machine, &machine.booted())?.etc.is_kept() {
        return Err(DeployError::EtcNotMounted);
    }
    Ok(())
}

/// Whether local changes of `/etc` are there after the next start of a deployment.
pub fn keeps_etc(machine: &Machine, deployment: &Digest) -> Result<bool> {
    Ok(of_deployment(machine, deployment)?.etc.is_kept())
}

/// What the new image says, if this machine can follow it without losing what it is to keep.
pub(super) fn require_supported(
    machine: &Machine,
    tree: &Tree,
    configuration: Configuration,
    arguments: &[String],
) -> Result<Configuration> {
    let configuration = configuration.with_volatile(arguments);
    let name = |name: &&str| tree.lookup(format!("etc/{name}").as_bytes()).is_some();
    let taken = [UPPER, WORK].into_iter().find(name);
    if let Some(name) = taken.filter(|_| configuration.etc == FolderKind::Overlay) {
        return Err(DeployError::EtcName(name));
    }
    let (here, there) = (machine.var_kind(), configuration.var);
    if here != there && here.is_kept() && there.is_kept() {
        return Err(DeployError::VarMount {
            is_overlay: there == FolderKind::Overlay,
        });
    }
    Ok(configuration)
}

/// What does not come along.
pub(super) fn left_behind(machine: &Machine, next: &Configuration) -> Result<Vec<LeftBehind>> {
    let mut left = Vec::new();
    if machine.etc_kind().is_kept() && !next.etc.is_kept() {
        let (base, current) = machine.etc()?;
        let changes = etc::diff(base.as_fd(), current)?.len();
        left.extend((changes > 0).then_some(LeftBehind::Etc { changes }));
    }
    if machine.var_kind().is_kept() && !next.var.is_kept() {
        left.push(LeftBehind::Var);
    }
    Ok(left)
}
