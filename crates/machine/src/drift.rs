//! In what a machine that runs is not what its image says.
//!
//! What a machine makes by itself, and what image and machine say is expected, is told apart: see `expected`.
//!
//! Left out: what was changed on the root itself while it has a layer in memory (`root.transient`); the next start
//! brings the image's back.

mod expected;

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use osmith_formats::verity::Digest;
use osmith_report::{Class, Failure, Observer, StepId};
use osmith_sys::OsError;
use osmith_sys::file::open_directory;

use crate::check::{CheckError, CheckOptions, Damage, check};
use crate::etc::{Change, ChangeKind, EtcError, changes_of_usr, diff, etc_of_image, etc_of_machine};
use crate::kernel_arguments::ComposefsArgument;
use crate::status::{UsrOverlay, mounts};
use expected::Expected;

/// The differences.
#[derive(Debug, Clone, PartialEq)]
pub struct Drift {
    /// The deployment that runs.
    pub deployment: Digest,
    /// A layer over `/usr`, which makes it writable.
    pub usr: Option<UsrDrift>,
    /// What was changed in `/etc`.
    pub etc: Vec<EtcDrift>,
    /// Whether `/etc` is as the image has it again after the next start.
    pub etc_is_transient: bool,
    /// Objects of the image that are not what they should be.
    pub objects: Vec<Damage>,
}

/// A change of `/etc`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EtcDrift {
    /// What was changed.
    pub change: Change,
    /// The name of the file that says that this is expected, if one does; then it is no drift.
    pub expected_by: Option<String>,
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
    /// Whether nothing is different but what is expected.
    pub fn is_none(&self) -> bool {
        let is_expected = |drift: &EtcDrift| drift.expected_by.is_some();
        self.usr.is_none() && self.etc.iter().all(is_expected) && self.objects.is_empty()
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
    /// A file or folder of expected changes cannot be read.
    #[error("cannot {operation} '/{}'", path.display())]
    File {
        /// What was tried.
        operation: &'static str,
        /// The path, from the root directory on.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file of expected changes has a line that is none.
    #[error("/{}, line {line}: '{pattern}' is no path below /etc", path.display())]
    Pattern {
        /// The file, from the root directory on.
        path: PathBuf,
        /// The number of the line, from 1 on.
        line: usize,
        /// The line.
        pattern: String,
    },
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
            DriftError::File { .. } => Class::Environment,
            DriftError::Pattern { .. } => Class::Input,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            DriftError::Compare(error) => error.hints(),
            DriftError::Check(error) => error.hints(),
            DriftError::File { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                vec!["run the command as root".to_owned()]
            }
            DriftError::File { .. } => Vec::new(),
            DriftError::Pattern { path, .. } => {
                let name = path.file_name().unwrap_or_default().display();
                vec![format!(
                    "write one path a line, such as /etc/app/*.conf; a file /etc/osmith/drift.d/{name} takes its place"
                )]
            }
        }
    }
}

/// Compares the machine whose root directory is `root` with its image. `deep` reads all that is to be compared, also
/// where lengths, times and what the kernel enforces already say that nothing is different.
pub fn drift(root: &Path, deep: bool, observer: &dyn Observer, step: StepId) -> Result<Drift, DriftError> {
    let (deployment, mountinfo) = booted(root)?;
    let expected = Expected::read(root)?;
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
        etc: marked(diff(base.as_fd(), current.as_fd())?, &expected),
        etc_is_transient: !mounts::folder_kind(&mountinfo, "/etc").is_kept(),
        objects: checked.damages,
    })
}

/// The changes, with who expects them. A folder is expected that was added only for what is.
fn marked(changes: Vec<Change>, expected: &Expected) -> Vec<EtcDrift> {
    let mut marked: Vec<EtcDrift> = Vec::with_capacity(changes.len());
    // From the end: what is in a folder comes before the folder.
    for change in changes.into_iter().rev() {
        let by = expected.by(&change.path).map(str::to_owned);
        let expected_by = by.or_else(|| by_contents(&change, &marked));
        marked.push(EtcDrift { change, expected_by });
    }
    marked.reverse();
    marked
}

/// Who expects all that is in a folder that was added, of which `after` is what comes after it, from the end.
fn by_contents(folder: &Change, after: &[EtcDrift]) -> Option<String> {
    let below = after.iter().rev();
    let below = below.take_while(|drift| drift.change.path.starts_with(&folder.path));
    let all: Option<Vec<&String>> = below.map(|drift| drift.expected_by.as_ref()).collect();
    let first = all?.first().copied()?;
    (folder.change == ChangeKind::Added).then(|| first.clone())
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
