//! Why `/etc` cannot be compared or merged.

use osmith_report::{Class, Failure};
use osmith_sys::OsError;
use rustix::io::Errno;

use super::Conflict;

/// Why `/etc` cannot be compared or merged.
#[derive(Debug, thiserror::Error)]
pub enum EtcError {
    /// The system does not run from an image.
    #[error("this system does not run from an image that osmith or bootc installed")]
    NoDeployment,
    /// Changes of the machine and of the image cannot both be kept.
    #[error("cannot merge /etc: {}", listed(.0))]
    Conflicts(Vec<Conflict>),
    /// The kernel turned something down.
    #[error(transparent)]
    System(#[from] OsError),
}

impl Failure for EtcError {
    fn class(&self) -> Class {
        match self {
            EtcError::Conflicts(_) => Class::Conflict,
            EtcError::NoDeployment | EtcError::System(_) => Class::Environment,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            EtcError::Conflicts(_) => {
                vec!["move these files away, or make them what the new image has, and try again".to_owned()]
            }
            EtcError::System(error) if matches!(error.errno(), Errno::ACCESS | Errno::PERM) => {
                vec!["run the command as root".to_owned()]
            }
            _ => Vec::new(),
        }
    }
}

impl EtcError {
    /// Whether something is not there.
    pub(super) fn is_missing(&self) -> bool {
        matches!(self, EtcError::System(error) if matches!(error.errno(), Errno::NOENT | Errno::NOTDIR))
    }
}

fn listed(conflicts: &[Conflict]) -> String {
    let conflicts: Vec<String> = conflicts.iter().map(Conflict::to_string).collect();
    conflicts.join("; ")
}
