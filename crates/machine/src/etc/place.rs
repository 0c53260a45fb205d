//! Where the folders are on a machine that runs.

use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use osmith_sys::OsError;
use osmith_sys::file::{open_beneath, open_directory};
use osmith_sys::mount::DetachedMount;
use rustix::fs::{Mode, OFlags};

use super::folder::Folder;
use super::snapshot::{Comparison, read};
use super::{Change, EtcError, Result, changes};
use crate::status::mounts;

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY);

/// An open `/etc`.
#[derive(Debug)]
pub struct EtcFolder {
    folder: OwnedFd,
    /// Through which it is seen.
    _mount: DetachedMount,
}

impl AsFd for EtcFolder {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.folder.as_fd()
    }
}

/// The `/etc` of the image from which the machine with the root directory `root` runs, which the machine's own covers.
pub fn etc_of_image(root: &Path) -> Result<EtcFolder> {
    of_image(root, "etc")
}

/// The `/etc` of the machine, without what is mounted below it.
pub fn etc_of_machine(root: &Path) -> Result<EtcFolder> {
    of_machine(root, "etc")
}

/// What a layer over `/usr` changed: found by reading all files, or by their lengths and times.
pub(crate) fn changes_of_usr(root: &Path, deep: bool) -> Result<Vec<Change>> {
    let comparison = match deep {
        true => Comparison::Contents,
        false => Comparison::Times,
    };
    let (base, current) = (of_image(root, "usr")?, of_machine(root, "usr")?);
    let [base, current] =
        [&base, &current].map(|folder| read(Folder::new(folder.as_fd(), "/usr"), comparison));
    Ok(changes(&base?, &current?))
}

fn of_image(root: &Path, name: &str) -> Result<EtcFolder> {
    require_deployment(root)?;
    let mount = DetachedMount::clone_of(open_directory(root)?, "", false)?;
    let folder = open_beneath(&mount, name, DIRECTORY, Mode::empty())?;
    Ok(EtcFolder {
        folder,
        _mount: mount,
    })
}

fn of_machine(root: &Path, name: &str) -> Result<EtcFolder> {
    let mount = DetachedMount::clone_of(open_directory(root)?, name, false)?;
    let folder = open_beneath(&mount, ".", DIRECTORY, Mode::empty())?;
    Ok(EtcFolder {
        folder,
        _mount: mount,
    })
}

fn require_deployment(root: &Path) -> Result<()> {
    let path = root.join("proc/self/mountinfo");
    let table = fs::read_to_string(&path)
        .map_err(|error| EtcError::System(OsError::from_io("read", path.display(), &error)))?;
    match mounts::deployment(&table) {
        Some(_) => Ok(()),
        None => Err(EtcError::NoDeployment),
    }
}
