//! Why the deployments of a machine cannot be changed.

use std::io;
use std::path::{Path, PathBuf};

use osmith_formats::verity::Digest;
use osmith_image::store::StoreError;
use osmith_report::{Class, Failure, Interrupted};
use osmith_sys::OsError;

use crate::esp::EspError;
use crate::etc::EtcError;
use crate::install::InstallError;
use crate::kernel_arguments::ComposefsArgumentError;
use crate::lock::LockError;
use crate::origin::BootType;

/// Why the deployments of a machine cannot be changed. What ran before still runs, and starts next.
#[derive(Debug, thiserror::Error)]
pub enum DeployError {
    /// The system was not started from a deployment.
    #[error("this system was not started from an image: it has no deployments")]
    NotDeployed,
    /// The image is for other machines.
    #[error("the image is for {image}, this machine is {machine}")]
    Architecture {
        /// The processor of the image, in Go's words.
        image: String,
        /// That of the machine.
        machine: String,
    },
    /// There is no room.
    #[error("{place} is too full: {needed_bytes} bytes are needed and {free_bytes} are free")]
    NoSpace {
        /// Where.
        place: &'static str,
        /// What would be written.
        needed_bytes: u64,
        /// What can be written.
        free_bytes: u64,
    },
    /// Objects of the image are not there.
    #[error("{count} files of the image are missing in the store, the first is object {first}")]
    MissingObjects {
        /// How many.
        count: usize,
        /// One of them.
        first: Box<Digest>,
    },
    /// The boot menu does not have the deployment that runs.
    #[error("the boot menu has no entry of the deployment that runs, {0}")]
    NoBootedEntry(Box<Digest>),
    /// The image starts in another way than this machine's deployments.
    #[error("{}", match here {
        BootType::Bls => "the image starts by a unified kernel image, this machine by kernel, initramfs and arguments of its own",
        BootType::Uki => "this machine starts by unified kernel images, and the image has none",
    })]
    BootType {
        /// How the machine starts.
        here: BootType,
    },
    /// Kernel arguments of a unified kernel image are not changed.
    #[error(
        "the kernel arguments of this machine are sealed in the unified kernel image of its operating system"
    )]
    SealedArguments,
    /// The image says something about its root that its initramfs will not understand.
    #[error("cannot use /{path} of the image: {reason}", path = crate::root_setup::CONFIGURATION_PATH)]
    RootConfiguration {
        /// What is wrong.
        reason: String,
    },
    /// What was changed in `/etc` is not seen.
    #[error("/etc of this machine is not mounted, so its changes cannot come along")]
    EtcNotMounted,
    /// The `/etc` of the image has a name that its layer takes.
    #[error("the image has /etc/{0} and mounts /etc as an overlay, which keeps its changes under that name")]
    EtcName(&'static str),
    /// The new deployment would not see what is in `/var`.
    #[error(
        "the image mounts /var {}, this machine does not: what is in /var would not be seen any more",
        if *.is_overlay { "as an overlay" } else { "directly" }
    )]
    VarMount {
        /// Whether it is an overlay in the image.
        is_overlay: bool,
    },
    /// Nothing is staged.
    #[error("no update is staged")]
    NothingStaged,
    /// What is staged is not what the boot menu for it says.
    #[error("the boot menu of the staged update is damaged; the update was dropped")]
    StagedMenu,
    /// There is only one deployment.
    #[error("there is no deployment to go back to")]
    NothingToRollBackTo,
    /// A deployment that is not there.
    #[error("there is no deployment {0}")]
    UnknownDeployment(String),
    /// A beginning that several deployments have.
    #[error("'{0}' is the beginning of several deployments")]
    AmbiguousDeployment(String),
    /// A kernel argument that is not there.
    #[error("there is no kernel argument '{0}'")]
    UnknownArgument(String),
    /// A kernel argument that only an update may set.
    #[error("kernel argument '{0}' names the deployment and cannot be changed")]
    DeploymentArgument(String),
    /// The image cannot be deployed.
    #[error(transparent)]
    Install(#[from] InstallError),
    /// The store of the machine's images fails.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The EFI system partition fails.
    #[error(transparent)]
    Esp(#[from] EspError),
    /// The machine cannot be locked.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// `/etc` cannot be merged.
    #[error(transparent)]
    Etc(#[from] EtcError),
    /// The kernel said no.
    #[error(transparent)]
    System(#[from] OsError),
    /// The kernel arguments name no deployment.
    #[error(transparent)]
    Argument(#[from] ComposefsArgumentError),
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
    /// The user asked to stop.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

/// An error about a file.
pub(crate) fn failed(operation: &'static str, path: &Path, source: io::Error) -> DeployError {
    DeployError::File {
        operation,
        path: path.to_owned(),
        source,
    }
}

impl Failure for DeployError {
    fn class(&self) -> Class {
        match self {
            DeployError::Install(error) => error.class(),
            DeployError::Store(error) => error.class(),
            DeployError::Esp(error) => error.class(),
            DeployError::Etc(error) => error.class(),
            DeployError::Lock(error) => error.class(),
            DeployError::Interrupted(_) => Class::Interrupted,
            DeployError::Architecture { .. }
            | DeployError::RootConfiguration { .. }
            | DeployError::EtcName(_) => Class::Input,
            DeployError::VarMount { .. } | DeployError::BootType { .. } | DeployError::SealedArguments => {
                Class::Conflict
            }
            DeployError::MissingObjects { .. } | DeployError::StagedMenu => Class::Corrupt,
            DeployError::NothingStaged
            | DeployError::NothingToRollBackTo
            | DeployError::UnknownDeployment(_)
            | DeployError::UnknownArgument(_) => Class::NotFound,
            DeployError::AmbiguousDeployment(_) | DeployError::DeploymentArgument(_) => Class::Usage,
            _ => Class::Environment,
        }
    }

    fn hints(&self) -> Vec<String> {
        let hint = match self {
            DeployError::Install(error) => return error.hints(),
            DeployError::Store(error) => return error.hints(),
            DeployError::Esp(error) => return error.hints(),
            DeployError::Etc(error) => return error.hints(),
            DeployError::Lock(error) => return error.hints(),
            DeployError::NotDeployed => "run the command on a machine that 'osmith disk' made",
            DeployError::Architecture { .. } => "follow an image that is made for this machine's processor",
            DeployError::BootType { here: BootType::Bls } => {
                "follow an image without /boot/EFI/Linux/*.efi, or install the machine anew from this one"
            }
            DeployError::BootType { here: BootType::Uki } => {
                "put one into the image (docs/uki.md of osmith has the Containerfile), or install the machine anew"
            }
            DeployError::SealedArguments => {
                "give them to ukify when the image is built, and upgrade the machine"
            }
            DeployError::RootConfiguration { .. } => {
                "correct the file in the image and make its initramfs anew"
            }
            DeployError::EtcName(_) => {
                "give it another name in the image, or mount /etc directly: mount = \"bind\""
            }
            DeployError::VarMount { .. } => {
                "leave the mount of [var] in the image's setup-root-conf.toml as it was, or install the machine anew"
            }
            DeployError::NoSpace { .. } => {
                "'osmith status' lists the deployments that take room; 'osmith unpin' gives up pinned ones"
            }
            DeployError::MissingObjects { .. } => "'osmith upgrade' fetches them from the registry",
            DeployError::NothingStaged => "'osmith upgrade' stages one",
            DeployError::NothingToRollBackTo | DeployError::UnknownDeployment(_) => {
                "'osmith status' lists the deployments"
            }
            DeployError::UnknownArgument(_) => "'osmith kargs' lists the kernel arguments",
            DeployError::AmbiguousDeployment(_) => "give more of its digits",
            DeployError::File { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                "run the command as root"
            }
            DeployError::System(error)
                if matches!(error.errno(), rustix::io::Errno::PERM | rustix::io::Errno::ACCESS) =>
            {
                "run the command as root"
            }
            _ => return Vec::new(),
        };
        vec![hint.to_owned()]
    }
}
