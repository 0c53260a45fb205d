//! Why a RUN step made no layer.

use osmith_container::root::RootError;
use osmith_image::layer::{LayerError, PathError};
use osmith_image::store::StoreError;
use osmith_report::{Class, Failure, Interrupted};
use osmith_sys::OsError;
use osmith_sys::sandbox::{Exit, SandboxError};

/// Why a RUN step made no layer.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The command ran and failed.
    #[error("the command {}", how(.exit))]
    Failed {
        /// How it ended.
        exit: Exit,
    },
    /// There is no root file system to run it on, or it cannot be executed there.
    #[error(transparent)]
    Root(RootError),
    /// The command made a file whose name means something else in a layer.
    #[error("the command made '{path}', but layers cannot have names that begin with '.wh.'")]
    WhiteoutName {
        /// The file.
        path: String,
    },
    /// The changes make no layer.
    #[error(transparent)]
    Layer(#[from] LayerError),
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

impl From<RootError> for RunError {
    fn from(error: RootError) -> Self {
        match error {
            RootError::Sandbox(SandboxError::Interrupted) => RunError::Interrupted(Interrupted),
            RootError::Os(error) => RunError::Os(error),
            RootError::Store(error) => RunError::Store(error),
            error => RunError::Root(error),
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
            RunError::Root(error) => error.class(),
            RunError::Os(_) => Class::Environment,
            RunError::Layer(error) => error.class(),
            RunError::Store(error) => error.class(),
            RunError::Interrupted(_) => Class::Interrupted,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            RunError::Root(error) => error.hints(),
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
