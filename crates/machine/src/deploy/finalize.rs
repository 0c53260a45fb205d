//! The shutdown of a machine with a staged deployment: what was changed in `/etc` comes along, then the boot menus
//! change places.
//!
//! Any step may be the last one before the power fails, and the whole may be run again: merging twice gives what
//! merging once gives, and a note in memory tells whether a folder has already changed places.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use osmith_formats::verity::Digest;
use osmith_sys::file::open_directory;
use rustix::fs::{CWD, RenameFlags};

use super::{
    DeployError, Result, STAGED, failed, persistence, remove, remove_staged_state, remove_unused_kernels,
    unstage,
};
use crate::boot_menu::BootMenu;
use crate::esp::Esp;
use crate::etc;
use crate::machine::Machine;
use crate::root_setup::FolderKind;
use crate::staged::StagedDeployment;
use crate::writable::{self, UPPER, WORK};

/// What the shutdown did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finalized {
    /// Nothing was staged.
    Nothing,
    /// What is staged was only downloaded.
    Locked(Digest),
    /// The deployment starts next.
    Done {
        /// The deployment.
        deployment: Digest,
        /// Paths below `/etc` that the image changed and that stay as they are on the machine.
        shadowed: Vec<PathBuf>,
    },
}

/// Makes the staged deployment the one that starts next.
pub fn finalize(machine: &Machine) -> Result<Finalized> {
    let root = machine.root();
    let staged = StagedDeployment::read(root);
    let staged = match staged.map_err(|error| failed("read what is staged in", root, error))? {
        None => return Ok(Finalized::Nothing),
        Some(staged) if staged.download_only => return Ok(Finalized::Locked(staged.deployment)),
        Some(staged) => staged.deployment,
    };
    let esp = machine.esp()?;
    let menu = esp.menu()?;
    let mut shadowed = Vec::new();
    match esp.staged_menu()? {
        None if menu.deployments().first() == Some(&staged) => {}
        next => {
            let next = require_menu(machine, &esp, next, &staged)?;
            persistence::require_mounted_etc(machine)?;
            shadowed = take_state(machine, &staged, menu.of(&staged).is_some())?;
            esp.exchange_menus()?;
            remove_unused_kernels(&esp, &[&next])?;
        }
    }
    remove_staged_state(machine, &staged)?;
    StagedDeployment::remove(root).map_err(|error| failed("remove what was staged in", root, error))?;
    machine.sync()?;
    Ok(Finalized::Done {
        deployment: staged,
        shadowed,
    })
}

/// Lets the shutdown use what was only downloaded.
pub fn unlock(machine: &Machine) -> Result<Digest> {
    let root = machine.root();
    let staged =
        StagedDeployment::read(root).map_err(|error| failed("read what is staged in", root, error))?;
    let staged = staged.ok_or(DeployError::NothingStaged)?;
    let unlocked = StagedDeployment {
        download_only: false,
        ..staged
    };
    unlocked
        .write(root)
        .map_err(|error| failed("stage a deployment in", root, error))?;
    Ok(staged.deployment)
}

/// The menu must start what is staged, and still offer what runs.
fn require_menu(machine: &Machine, esp: &Esp, next: Option<BootMenu>, staged: &Digest) -> Result<BootMenu> {
    let is_whole =
        |menu: &BootMenu| menu.deployments().first() == Some(staged) && menu.of(&machine.booted()).is_some();
    match next.filter(is_whole) {
        Some(next) => Ok(next),
        None => {
            unstage(machine, esp)?;
            Err(DeployError::StagedMenu)
        }
    }
}

/// Completes the state of the deployment; one that was there before gets the new in the place of the old.
fn take_state(machine: &Machine, staged: &Digest, is_there: bool) -> Result<Vec<PathBuf>> {
    let state = machine.state(staged);
    let kind = persistence::of_deployment(machine, staged)?.etc;
    if !is_there {
        return merge(machine, &state.join("etc"), kind);
    }
    let (etc, waiting) = (state.join("etc"), state.join(format!("etc{STAGED}")));
    let note = Note::of(machine);
    let number = |path: &Path| fs::metadata(path).map(|found| found.ino()).ok();
    let mut shadowed = Vec::new();
    if note.read() != number(&etc) || number(&etc).is_none() {
        shadowed = merge(machine, &waiting, kind)?;
        note.write(number(&waiting))?;
        let exchanged = rustix::fs::renameat_with(CWD, &waiting, CWD, &etc, RenameFlags::EXCHANGE);
        exchanged.map_err(|errno| failed("exchange", &etc, errno.into()))?;
    }
    let origin = state.join(format!("{staged}.origin"));
    let waiting = state.join(format!("{staged}.origin{STAGED}"));
    match fs::rename(&waiting, &origin) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("rename", &waiting, error))?,
        _ => machine.sync()?,
    }
    Ok(shadowed)
}

/// Brings local changes of `/etc` into the one of the deployment, and waits until they are on the medium. Where either
/// has none that stay, the new one is the image's.
fn merge(machine: &Machine, path: &Path, kind: FolderKind) -> Result<Vec<PathBuf>> {
    if !machine.etc_kind().is_kept() || !kind.is_kept() {
        return Ok(Vec::new());
    }
    // What an interrupted merge left.
    if kind == FolderKind::Overlay {
        remove(&path.join(UPPER))?;
        remove(&path.join(WORK))?;
    }
    let new = open_directory(path)?;
    let (base, current) = machine.etc()?;
    let plan = etc::plan(base.as_fd(), current.as_fd(), new.as_fd())?;
    match kind {
        FolderKind::Overlay => {
            let layer = writable::ensure_upper(&new, &new)?;
            plan.apply_as_layer(current, new.as_fd(), layer.as_fd())?;
        }
        _ => plan.apply(current, new.as_fd())?,
    }
    Ok(plan.shadowed)
}

/// The number of the folder that takes its place, in memory.
struct Note {
    path: PathBuf,
}

impl Note {
    fn of(machine: &Machine) -> Self {
        Note {
            path: machine.root().join("run/osmith/merged-etc"),
        }
    }

    fn read(&self) -> Option<u64> {
        fs::read_to_string(&self.path).ok()?.trim().parse().ok()
    }

    fn write(&self, number: Option<u64>) -> Result<()> {
        let text = number.map_or_else(String::new, |number| format!("{number}\n"));
        let folder = self.path.parent().unwrap_or(Path::new("."));
        let written = fs::create_dir_all(folder).and_then(|()| fs::write(&self.path, text));
        written.map_err(|error| failed("write", &self.path, error))
    }
}
