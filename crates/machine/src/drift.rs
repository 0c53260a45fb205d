//! In what a machine that runs is not what its image says.
//!
//! Left out: what was changed on the root itself while it has a layer in memory (`root.transient`); the next start
//! brings the image's back.

use std::fs;
use std::os::fd::AsFd;
use std::path::Path;

use osmith_formats::verity::Digest;
use osmith_report::{Class, Failure, Observer, StepId};
use osmith_sys::OsError;
use osmith_sys::file::open_directory;

use crate::check::{CheckError, CheckOptions, Damage, check};
use crate::etc::{Change, EtcError, changes_of_usr, diff, etc_of_image, etc_of_machine};
use crate::kernel_arguments::ComposefsArgument;
use crate::status::{UsrOverlay, mounts};

/// The differences.
#[derive(Debug, Clone, PartialEq)]
pub struct Drift {
    /// The deployment that runs.
    pub deployment: Digest,
    /// A layer over `/usr`, which makes it writable.
    pub usr: Option<UsrDrift>,
    /// What was changed in `/etc`.
    pub etc: Vec<Change>,
    /// Objects of the image that are not what they should be.
    pub objects: Vec<Damage>,
}

/// A layer over `/usr`.
#[derive(Debug, Clone, PartialEq)]
pub struct UsrDrift {
    /// How it is mounted.
    pub overlay: UsrOverlay,
    /// What is different through it.
    pub changes: Vec<Change>,
}

impl Drift {
    /// Whether nothing is different.
    pub fn is_none(&self) -> bool {
        self.usr.is_none() && self.etc.is_empty() && self.objects.is_empty()
    }
}

/// Why nothing can be said.
#[derive(Debug, thiserror::Error)]
pub enum DriftError {
    /// A folder cannot be compared.
    #[error(transparent)]
    Compare(#[from] EtcError),
    /// The objects cannot be checked.
    #[error(transparent)]
    Check(#[from] CheckError),
}

impl From<OsError> for DriftError {
    fn from(error: OsError) -> Self {
        DriftError::Compare(error.into())
    }
}

impl Failure for DriftError {
    fn class(&self) -> Class {
        match self {
            DriftError::Compare(error) => error.class(),
            DriftError::Check(error) => error.class(),
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            DriftError::Compare(error) => error.hints(),
            DriftError::Check(error) => error.hints(),
        }
    }
}

/// Compares the machine whose root directory is `root` with its image. `deep` reads all that is to be compared, also
/// where lengths, times and what the kernel enforces already say that nothing is different.
pub fn drift(root: &Path, deep: bool, observer: &dyn Observer, step: StepId) -> Result<Drift, DriftError> {
    let (deployment, mountinfo) = booted(root)?;
    let usr = match mounts::usr_overlay(&mountinfo) {
        None => None,
        Some(overlay) => Some(UsrDrift {
            overlay,
            changes: changes_of_usr(root, deep)?,
        }),
    };
    let (base, current) = (etc_of_image(root)?, etc_of_machine(root)?);
    let physical = open_directory(root.join("sysroot"))?;
    let options = CheckOptions {
        verity_required: is_verity_required(root)?,
        deep,
    };
    let checked = check(physical.as_fd(), &[deployment], options, observer, step)?;
    Ok(Drift {
        deployment,
        usr,
        etc: diff(base.as_fd(), current.as_fd())?,
        objects: checked.damages,
    })
}

/// The deployment that runs, and the mount table.
fn booted(root: &Path) -> Result<(Digest, String), DriftError> {
    let mountinfo = read_kernel(root, "proc/self/mountinfo")?;
    let deployment = mounts::deployment(&mountinfo).ok_or(EtcError::NoDeployment)?;
    Ok((deployment, mountinfo))
}

/// Whether the machine whose root directory is `root` was started so that it reads nothing without fs-verity.
pub fn is_verity_required(root: &Path) -> Result<bool, DriftError> {
    booted(root)?;
    let command_line = read_kernel(root, "proc/cmdline")?;
    let argument = ComposefsArgument::find(&command_line).ok().flatten();
    Ok(argument.is_some_and(|argument| !argument.missing_verity_allowed))
}

fn read_kernel(root: &Path, path: &'static str) -> Result<String, OsError> {
    let path = root.join(path);
    fs::read_to_string(&path).map_err(|error| OsError::from_io("read", path.display(), &error))
}

#[cfg(test)]
mod tests;
