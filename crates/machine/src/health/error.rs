//! Why the health of a machine is not known, or what follows from it cannot be done.

use std::io;
use std::path::PathBuf;

use osmith_report::{Class, Failure, Interrupted};
use osmith_sys::OsError;
use rustix::io::Errno;

use crate::esp::EspError;
use crate::failures::FailuresError;
use crate::lock::LockError;

const AS_ROOT: &str = "run the command as root";

/// Why the health of a machine is not known, or what follows from it cannot be done.
#[derive(Debug, thiserror::Error)]
pub enum HealthError {
    /// The system was not started from a deployment.
    #[error("this system was not started from an image: there is no deployment that could be healthy")]
    NotDeployed,
    /// A folder of checks cannot be listed.
    #[error("cannot list the health checks in '{}'", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file cannot be read or written.
    #[error("cannot {operation} '{}'", path.display())]
    File {
        /// What was tried.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The kernel said no.
    #[error(transparent)]
    System(#[from] OsError),
    /// The record of failed deployments cannot be used.
    #[error(transparent)]
    Failures(#[from] FailuresError),
    /// The boot menu cannot be read or changed.
    #[error(transparent)]
    Esp(#[from] EspError),
    /// Another operation is in the way.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The user, or the shutdown, asked to stop.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

impl Failure for HealthError {
    fn class(&self) -> Class {
        match self {
            HealthError::NotDeployed
            | HealthError::Folder { .. }
            | HealthError::File { .. }
            | HealthError::System(_) => Class::Environment,
            HealthError::Failures(error) => error.class(),
            HealthError::Esp(error) => error.class(),
            HealthError::Lock(error) => error.class(),
            HealthError::Interrupted(_) => Class::Interrupted,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            HealthError::Folder { source, .. } | HealthError::File { source, .. }
                if source.kind() == io::ErrorKind::PermissionDenied =>
            {
                vec![AS_ROOT.to_owned()]
            }
            HealthError::System(error) if matches!(error.errno(), Errno::PERM | Errno::ACCESS) => {
                vec![AS_ROOT.to_owned()]
            }
            HealthError::Failures(error) => error.hints(),
            HealthError::Esp(error) => error.hints(),
            HealthError::Lock(error) => error.hints(),
            _ => Vec::new(),
        }
    }
}
