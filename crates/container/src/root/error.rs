//! Why a tree is no root file system.

use osmith_formats::composefs;
use osmith_image::store::StoreError;
use osmith_report::{Class, Failure};
use osmith_sys::OsError;
use osmith_sys::sandbox::{SandboxError, Stage};
use rustix::io::Errno;

use crate::users::UserError;

/// Why nothing runs on a tree.
#[derive(Debug, thiserror::Error)]
pub enum RootError {
    /// The sandbox could not be set up, or the command not be executed.
    #[error(transparent)]
    Sandbox(SandboxError),
    /// This machine has no way to lay changes over a tree.
    #[error("cannot mount a root file system for the command: {}", listed(.refusals))]
    NoOverlay {
        /// What was tried.
        refusals: Vec<OsError>,
    },
    /// Something is to be mounted where it cannot be.
    #[error("cannot mount at '{path}' in the image: {reason}")]
    MountPoint {
        /// Where.
        path: String,
        /// What is in the way.
        reason: &'static str,
    },
    /// Its accounts cannot be read, or have no such user.
    #[error(transparent)]
    User(#[from] UserError),
    /// The tree makes no image to mount.
    #[error(transparent)]
    Image(#[from] composefs::Error),
    /// The store failed.
    #[error(transparent)]
    Store(Box<StoreError>),
    /// The kernel refused something.
    #[error(transparent)]
    Os(#[from] OsError),
}

impl From<SandboxError> for RootError {
    fn from(error: SandboxError) -> Self {
        match error {
            SandboxError::Os(error) => RootError::Os(error),
            error => RootError::Sandbox(error),
        }
    }
}

impl From<StoreError> for RootError {
    fn from(error: StoreError) -> Self {
        RootError::Store(Box::new(error))
    }
}

impl Failure for RootError {
    fn class(&self) -> Class {
        match self {
            RootError::Sandbox(SandboxError::Execute { .. }) => Class::Command,
            RootError::Sandbox(SandboxError::Interrupted) => Class::Interrupted,
            RootError::Sandbox(_) | RootError::NoOverlay { .. } | RootError::Os(_) => Class::Environment,
            RootError::MountPoint { .. } | RootError::Image(_) => Class::Input,
            RootError::User(error) => error.class(),
            RootError::Store(error) => error.class(),
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            RootError::Sandbox(SandboxError::SetUp {
                stage: Stage::Namespaces,
                error,
            }) if error.errno() == Errno::PERM => {
                vec!["a sandbox needs root, or a user namespace; in a container, give it CAP_SYS_ADMIN".into()]
            }
            RootError::Sandbox(SandboxError::Execute {
                errno: Errno::NOENT, ..
            }) => vec!["the image has no such program, or not the interpreter that it names".into()],
            RootError::NoOverlay { .. } => vec![
                "the kernel must have overlayfs (modprobe overlay)".into(),
                "the store must not itself be on an overlay file system, as in a container: put it on a volume".into(),
            ],
            RootError::User(error) => error.hints(),
            RootError::Store(error) => error.hints(),
            _ => Vec::new(),
        }
    }
}

fn listed(refusals: &[OsError]) -> String {
    let texts: Vec<String> = refusals.iter().map(OsError::to_string).collect();
    texts.join("; ")
}
