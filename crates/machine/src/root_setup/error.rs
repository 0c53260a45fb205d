//! Why the root of a deployment cannot be mounted.

use osmith_formats::verity::Digest;
use osmith_report::{Class, Failure};
use osmith_sys::OsError;

use crate::kernel_arguments::ComposefsArgumentError;
use crate::medium::MediumError;

/// Why the root of a deployment cannot be mounted.
#[derive(Debug, thiserror::Error)]
pub enum RootSetupError {
    /// No deployment is named.
    #[error("cannot mount the root: the kernel arguments have no composefs=<deployment>")]
    NoArgument,
    /// The kernel argument is malformed.
    #[error("cannot mount the root")]
    Argument(#[from] ComposefsArgumentError),
    /// The configuration is malformed.
    #[error("cannot mount the root as /{path} of the initramfs says: {message}", message = source.message())]
    Configuration {
        /// The file.
        path: String,
        /// What is wrong.
        source: Box<toml::de::Error>,
    },
    /// The physical root has no repository.
    #[error("cannot mount the root: the file system at /sysroot has no folder composefs")]
    NoRepository,
    /// The repository is one of another program or time.
    #[error("cannot use the repository /sysroot/composefs: meta.json: {reason}")]
    Repository {
        /// What is not understood.
        reason: String,
    },
    /// The image is not there.
    #[error("cannot mount the root: deployment {digest} is not on this disk")]
    NoDeployment {
        /// The deployment.
        digest: Digest,
    },
    /// The kernel does not enforce the contents of the image.
    #[error("refusing to mount the root: the image of deployment {digest} has no fs-verity")]
    NoVerity {
        /// The deployment.
        digest: Digest,
    },
    /// The image is another one.
    #[error(
        "refusing to mount the root: the image of deployment {digest} was changed; its digest is {found}"
    )]
    WrongDigest {
        /// The deployment.
        digest: Digest,
        /// What the image has.
        found: Box<Digest>,
    },
    /// The kernel does not mount the image.
    #[error("cannot mount the root: deployment {digest}")]
    Mount {
        /// The deployment.
        digest: Digest,
        /// What the kernel said.
        source: Box<OsError>,
    },
    /// A folder of the deployment's state is missing.
    #[error("cannot mount the root: /sysroot/{path}")]
    NoState {
        /// The folder.
        path: String,
        /// Why it cannot be opened.
        source: OsError,
    },
    /// The installation medium cannot be used.
    #[error(transparent)]
    Medium(#[from] MediumError),
    /// Anything else the kernel turned down.
    #[error("cannot mount the root")]
    System(#[from] OsError),
}

impl Failure for RootSetupError {
    fn class(&self) -> Class {
        match self {
            RootSetupError::NoArgument
            | RootSetupError::Argument(_)
            | RootSetupError::Configuration { .. } => Class::Input,
            RootSetupError::NoRepository
            | RootSetupError::NoDeployment { .. }
            | RootSetupError::NoState { .. } => Class::NotFound,
            RootSetupError::Medium(error) => error.class(),
            RootSetupError::NoVerity { .. } | RootSetupError::WrongDigest { .. } => Class::Corrupt,
            RootSetupError::Repository { .. } | RootSetupError::Mount { .. } | RootSetupError::System(_) => {
                Class::Environment
            }
        }
    }

    fn hints(&self) -> Vec<String> {
        let other = "start the machine again and choose another entry in the boot menu (hold the space bar)";
        let hint = match self {
            RootSetupError::Medium(error) => return error.hints(),
            RootSetupError::NoRepository => {
                "check root= in the kernel arguments: it must name the disk osmith installed"
            }
            RootSetupError::NoVerity { .. } => {
                "if this file system cannot have fs-verity, write composefs=? in the kernel arguments"
            }
            RootSetupError::Configuration { .. } => {
                "correct the file in the image and make its initramfs anew"
            }
            RootSetupError::Mount { .. } => {
                "the kernel needs EROFS and an overlay file system with verity= (Linux 6.6 or newer)"
            }
            _ => return vec![other.to_owned()],
        };
        vec![hint.to_owned(), other.to_owned()]
    }
}
