//! Why something of a container does not work.

use std::path::PathBuf;

use osmith_image::store::StoreError;
use osmith_report::{Class, Failure};
use osmith_sys::OsError;
use osmith_sys::sandbox::SandboxError;
use rustix::io::Errno;

use crate::root::RootError;
use crate::users::UserError;

/// Why something of a container does not work.
#[derive(Debug, thiserror::Error)]
pub enum ContainerError {
    /// Neither the image nor the user names a program.
    #[error("the image names no command")]
    NoCommand,
    /// A directory inside is not given from the root.
    #[error("the working directory '{0}' does not begin with /")]
    RelativeDirectory(String),
    /// The image names a signal that does not exist.
    #[error("the image's stop signal '{0}' is no signal")]
    Signal(String),
    /// No container has that name or ID.
    #[error("there is no container '{0}'")]
    Unknown(String),
    /// There is no container at all.
    #[error("there are no containers")]
    NoContainers,
    /// Several containers have an ID that begins so.
    #[error("several containers have an ID that begins with '{0}'")]
    Ambiguous(String),
    /// A name that no container can have.
    #[error("'{0}' is no name for a container or volume")]
    Name(String),
    /// The name is another container's.
    #[error("the name '{name}' is that of the container {id}")]
    NameTaken {
        /// The name.
        name: String,
        /// Whose it is.
        id: String,
    },
    /// It would have to run.
    #[error("the container {0} does not run")]
    NotRunning(String),
    /// It must not run.
    #[error("the container {0} runs")]
    IsRunning(String),
    /// It does not end.
    #[error("the container {0} does not end, though it was killed")]
    DoesNotEnd(String),
    /// Its own files cannot be read.
    #[error("the file '{}' of a container is damaged", .0.display())]
    Damaged(PathBuf),
    /// The program that connects networks is missing.
    #[error("a network of its own needs the program '{program}', which is not installed")]
    NoPasta {
        /// Its name.
        program: String,
    },
    /// The program that connects networks failed.
    #[error("pasta cannot connect the container's network: {0}")]
    Pasta(String),
    /// There is no cgroup for systemd.
    #[error("systemd as pid 1 needs a cgroup of its own: {0}")]
    Cgroup(OsError),
    /// The supervisor said so before it ended.
    #[error("{words}")]
    Reported {
        /// The class of the failure.
        class: Class,
        /// What failed.
        words: String,
        /// What to do about it.
        hints: Vec<String>,
        /// The exit status that podman has for it.
        exit_status: u8,
    },
    /// The supervisor ended without a word.
    #[error("the supervisor of the container was killed")]
    SupervisorKilled,
    /// Its root file system, or its command.
    #[error(transparent)]
    Root(#[from] RootError),
    /// Its user.
    #[error(transparent)]
    User(#[from] UserError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The kernel refused something.
    #[error(transparent)]
    Os(#[from] OsError),
}

impl From<SandboxError> for ContainerError {
    fn from(error: SandboxError) -> Self {
        ContainerError::Root(error.into())
    }
}

impl ContainerError {
    /// The exit status that podman has for it: 127 if there is no such program, 126 if it cannot be executed, else 125.
    pub fn exit_status(&self) -> u8 {
        match self {
            ContainerError::Root(RootError::Sandbox(SandboxError::Execute { errno, .. })) => match *errno {
                Errno::NOENT => 127,
                _ => 126,
            },
            ContainerError::Reported { exit_status, .. } => *exit_status,
            _ => 125,
        }
    }
}

impl Failure for ContainerError {
    fn class(&self) -> Class {
        match self {
            ContainerError::NoCommand | ContainerError::Signal(_) => Class::Input,
            ContainerError::RelativeDirectory(_) | ContainerError::Ambiguous(_) | ContainerError::Name(_) => {
                Class::Usage
            }
            ContainerError::Unknown(_) | ContainerError::NoContainers => Class::NotFound,
            ContainerError::NameTaken { .. }
            | ContainerError::NotRunning(_)
            | ContainerError::IsRunning(_)
            | ContainerError::DoesNotEnd(_) => Class::Conflict,
            ContainerError::Damaged(_) => Class::Corrupt,
            ContainerError::Reported { class, .. } => *class,
            ContainerError::SupervisorKilled
            | ContainerError::NoPasta { .. }
            | ContainerError::Pasta(_)
            | ContainerError::Cgroup(_)
            | ContainerError::Os(_) => Class::Environment,
            ContainerError::Root(error) => error.class(),
            ContainerError::User(error) => error.class(),
            ContainerError::Store(error) => error.class(),
        }
    }

    fn hints(&self) -> Vec<String> {
        let hint = match self {
            ContainerError::NoCommand => "name a program behind the image: osmith run IMAGE PROGRAM",
            ContainerError::Signal(_) => "choose one with --stop-signal",
            ContainerError::Unknown(_) => "osmith ps --all lists the containers",
            ContainerError::NoContainers => "osmith run IMAGE makes one",
            ContainerError::Ambiguous(_) => "give more digits; osmith ps --all lists the IDs",
            ContainerError::Name(_) => {
                "names have letters, digits, '_', '.' and '-', and begin with a letter or digit"
            }
            ContainerError::NameTaken { name, .. } => {
                return vec![format!(
                    "remove that container: osmith rm --force {name}, or choose another name"
                )];
            }
            ContainerError::IsRunning(id) => {
                return vec![format!(
                    "osmith stop {id} stops it, osmith rm --force {id} removes it as well"
                )];
            }
            ContainerError::NotRunning(_) => "osmith ps --all shows how it ended, osmith logs what it wrote",
            ContainerError::Damaged(_) => "osmith rm --force removes what is left of the container",
            ContainerError::NoPasta { .. } => {
                return vec![
                    "install the package passt: apt install passt, or dnf install passt".into(),
                    "--network host shares the network of this computer, --network none has none".into(),
                ];
            }
            ContainerError::Pasta(_) => {
                "--network host shares the network of this computer, --network none has none"
            }
            ContainerError::Cgroup(_) => {
                return vec![
                    "run osmith as root, or in a session of systemd: systemd-run --user --scope -p Delegate=yes osmith run …"
                        .into(),
                    "--systemd=false runs the command without what systemd expects".into(),
                ];
            }
            ContainerError::Reported { hints, .. } => return hints.clone(),
            ContainerError::Root(error) => return error.hints(),
            ContainerError::User(error) => return error.hints(),
            ContainerError::Store(error) => return error.hints(),
            _ => return Vec::new(),
        };
        vec![hint.to_owned()]
    }
}
