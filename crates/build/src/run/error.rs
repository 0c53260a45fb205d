//! Why a RUN step made no layer.

use osmith_formats::composefs;
use osmith_image::layer::{LayerError, PathError};
use osmith_image::store::StoreError;
use osmith_report::{Class, Failure, Interrupted};
use osmith_sys::OsError;
use osmith_sys::sandbox::{Exit, SandboxError, Stage};
use rustix::io::Errno;

/// Why a RUN step made no layer.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The command ran and failed.
    #[error("the command {}", how(.exit))]
    Failed {
        /// How it ended.
        exit: Exit,
    },
    /// The sandbox could not be set up, or the command not be executed.
    #[error(transparent)]
    Sandbox(SandboxError),
    /// This machine has no way to lay changes over a tree.
    #[error("cannot mount a root file system for the command: {}", listed(.refusals))]
    NoOverlay {
        /// What was tried.
        refusals: Vec<OsError>,
    },
    /// A file is to be shown where there is something that is no file.
    #[error("cannot show a file at '{path}' in the build: {reason}")]
    MountPoint {
        /// Where.
        path: String,
        /// What is in the way.
        reason: &'static str,
    },
    /// The command made a file whose name means something else in a layer.
    #[error("the command made '{path}', but layers cannot have names that begin with '.wh.'")]
    WhiteoutName {
        /// The file.
        path: String,
    },
    /// The changes make no layer.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// The tree makes no image to mount.
    #[error(transparent)]
    Image(#[from] composefs::Error),
    /// The store failed.
    #[error(transparent)]
    Store(Box<StoreError>),
    /// The kernel refused something.
    #[error(transparent)]
    Os(#[from] OsError),
    /// The user asked to stop.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

impl From<SandboxError> for RunError {
    fn from(error: SandboxError) -> Self {
        match error {
            SandboxError::Interrupted => RunError::Interrupted(Interrupted),
            SandboxError::Os(error) => RunError::Os(error),
            error => RunError::Sandbox(error),
        }
    }
}

impl From<StoreError> for RunError {
    fn from(error: StoreError) -> Self {
        RunError::Store(Box::new(error))
    }
}

impl From<PathError> for RunError {
    fn from(error: PathError) -> Self {
        RunError::Layer(error.into())
    }
}

impl Failure for RunError {
    fn class(&self) -> Class {
        match self {
            RunError::Failed { .. } | RunError::WhiteoutName { .. } => Class::Command,
            RunError::Sandbox(SandboxError::Execute { .. }) => Class::Command,
            RunError::Sandbox(_) | RunError::NoOverlay { .. } | RunError::Os(_) => Class::Environment,
            RunError::MountPoint { .. } | RunError::Image(_) => Class::Input,
            RunError::Layer(error) => error.class(),
            RunError::Store(error) => error.class(),
            RunError::Interrupted(_) => Class::Interrupted,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            RunError::Sandbox(SandboxError::SetUp {
                stage: Stage::Namespaces,
                error,
            }) if error.errno() == Errno::PERM => {
                vec!["a RUN step needs root, or a user namespace; in a container, give it CAP_SYS_ADMIN".into()]
            }
            RunError::Sandbox(SandboxError::Execute {
                errno: Errno::NOENT, ..
            }) => vec!["the image has no such program, or not the interpreter that it names".into()],
            RunError::NoOverlay { .. } => vec![
                "the kernel must have overlayfs (modprobe overlay)".into(),
                "the store must not itself be on an overlay file system, as in a container: put it on a volume".into(),
            ],
            RunError::Store(error) => error.hints(),
            _ => Vec::new(),
        }
    }
}

fn how(exit: &Exit) -> String {
    match exit {
        Exit::Code(code) => format!("failed with exit code {code}"),
        Exit::Signal(signal) => format!("was killed by signal {signal}"),
    }
}

fn listed(refusals: &[OsError]) -> String {
    let texts: Vec<String> = refusals.iter().map(OsError::to_string).collect();
    texts.join("; ")
}
