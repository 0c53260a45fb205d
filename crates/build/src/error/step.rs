//! Why a step failed.

use std::path::PathBuf;

use osmith_container::users::UserError;
use osmith_formats::tree::ResolveError;
use osmith_image::layer::LayerError;
use osmith_image::registry::DownloadError;
use osmith_image::store::StoreError;
use osmith_report::{Class, Failure, Interrupted, printable};

use crate::context::ContextError;
use crate::copy::{ArchiveError, BadMode, SelectError};
use crate::git::GitError;
use crate::run::RunError;

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// A source cannot be found or read.
    #[error(transparent)]
    Source(SelectError),
    /// An archive cannot be extracted.
    #[error("cannot extract the archive")]
    Archive(#[source] ArchiveError),
    /// A user or group cannot be found.
    #[error(transparent)]
    User(UserError),
    /// A path in the image is in the way.
    #[error(transparent)]
    Path(#[from] ResolveError),
    /// `--chmod` has no mode.
    #[error(transparent)]
    Mode(#[from] BadMode),
    /// The command failed.
    #[error("{error}")]
    Command {
        /// How.
        error: RunError,
        /// What it said last.
        last_lines: Vec<String>,
    },
    /// The command could not be run.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A secret is required and was not given.
    #[error("the secret '{0}' is required, and was not given")]
    NoSecret(String),
    /// A secret is to be a variable, which only text can be.
    #[error("the secret '{0}' is no UTF-8 text, and cannot be a variable")]
    SecretText(String),
    /// An agent is required and was not given.
    #[error("the SSH agent '{0}' is required, and was not given")]
    NoAgent(String),
    /// An agent does not answer.
    #[error("cannot reach the SSH agent '{id}' at '{}'", socket.display())]
    Agent {
        /// Its name.
        id: String,
        /// Its socket.
        socket: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A context of that name was planned and is not open.
    #[error("there is no build context '{0}'")]
    NoContext(String),
    /// A file of a server cannot be fetched.
    #[error(transparent)]
    Download(#[from] DownloadError),
    /// A server says that a file is the one that is known, but none is.
    #[error("the server says that '{0}' did not change, but it was never fetched")]
    Unchanged(String),
    /// An address does not end in the name of a file.
    #[error("'{0}' does not end in the name of a file")]
    UrlName(String),
    /// A file of a server is not the one that is wanted.
    #[error("'{url}' has the checksum {found}, not {wanted}")]
    Checksum {
        /// The address.
        url: String,
        /// What `--checksum` says.
        wanted: String,
        /// What it is.
        found: String,
    },
    /// A git repository cannot be fetched.
    #[error(transparent)]
    Git(GitError),
    /// The layer cannot be made.
    #[error("cannot make the layer")]
    Layer(#[from] LayerError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The user asked to stop.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

impl Failure for StepError {
    fn class(&self) -> Class {
        match self {
            StepError::Source(error) => error.class(),
            StepError::Archive(error) => error.class(),
            StepError::User(error) => error.class(),
            StepError::Path(_) | StepError::Mode(_) => Class::Input,
            StepError::Command { error, .. } | StepError::Run(error) => error.class(),
            StepError::NoSecret(_) | StepError::NoAgent(_) => Class::Usage,
            StepError::SecretText(_) | StepError::UrlName(_) => Class::Input,
            StepError::Checksum { .. } => Class::Corrupt,
            StepError::Unchanged(_) => Class::Network,
            StepError::Download(error) => error.class(),
            StepError::Git(error) => error.class(),
            StepError::Agent { source, .. } => io_class(source),
            StepError::Layer(_) | StepError::NoContext(_) => Class::Internal,
            StepError::Store(error) => error.class(),
            StepError::Interrupted(_) => Class::Interrupted,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            StepError::Source(error) => error.hints(),
            StepError::User(error) => error.hints(),
            StepError::Download(error) => error.hints(),
            StepError::Git(error) => error.hints(),
            StepError::Checksum { .. } => {
                vec!["the file is another one than when the checksum was written: look at it before you change that".to_owned()]
            }
            StepError::NoSecret(id) => vec![format!("osmith build --secret id={id},src=FILE")],
            StepError::NoAgent(id) => {
                vec![format!("osmith build --ssh {id}, with an agent in SSH_AUTH_SOCK")]
            }
            StepError::Command { error, .. } | StepError::Run(error) => error.hints(),
            StepError::Store(error) => error.hints(),
            _ => Vec::new(),
        }
    }
}

impl StepError {
    /// The last lines of a command that failed, for people, under a heading; may be empty.
    pub(crate) fn last_lines(&self) -> String {
        match self {
            StepError::Command { last_lines, .. } if !last_lines.is_empty() => {
                let lines: Vec<String> = last_lines
                    .iter()
                    .map(|line| format!("   > {}", printable(line)))
                    .collect();
                format!("\n   the command's last lines:\n{}", lines.join("\n"))
            }
            _ => String::new(),
        }
    }
}

impl From<GitError> for StepError {
    fn from(error: GitError) -> Self {
        match error {
            GitError::Interrupted(interrupted) => interrupted.into(),
            GitError::Store(error) => error.into(),
            GitError::Files(error) => error.into(),
            error => StepError::Git(error),
        }
    }
}

impl Failure for GitError {
    fn class(&self) -> Class {
        match self {
            GitError::Run(_) => Class::Environment,
            GitError::Failed { .. } => Class::Network,
            GitError::NoDirectory { .. } => Class::NotFound,
            GitError::Files(error) => error.class(),
            GitError::Context(error) => error.class(),
            GitError::Store(error) => error.class(),
            GitError::Interrupted(_) => Class::Interrupted,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            GitError::Run(_) => vec!["install the package git".to_owned()],
            _ => Vec::new(),
        }
    }
}

impl From<SelectError> for StepError {
    fn from(error: SelectError) -> Self {
        match error {
            SelectError::Interrupted(interrupted) => interrupted.into(),
            SelectError::Store(error) => error.into(),
            error => StepError::Source(error),
        }
    }
}

impl From<ArchiveError> for StepError {
    fn from(error: ArchiveError) -> Self {
        match error {
            ArchiveError::Store(error) => error.into(),
            error => StepError::Archive(error),
        }
    }
}

impl From<UserError> for StepError {
    fn from(error: UserError) -> Self {
        match error {
            UserError::Store(error) => error.into(),
            error => StepError::User(error),
        }
    }
}

impl Failure for SelectError {
    fn class(&self) -> Class {
        match self {
            SelectError::NotFound(_) | SelectError::NoMatch(_) | SelectError::Ignored { .. } => {
                Class::NotFound
            }
            SelectError::BadPattern(_) | SelectError::Outside(_) | SelectError::Path(_) => Class::Input,
            SelectError::Changed(_) => Class::Conflict,
            SelectError::Io { source, .. } => io_class(source),
            SelectError::Store(error) => error.class(),
            SelectError::Interrupted(_) => Class::Interrupted,
        }
    }

    fn hints(&self) -> Vec<String> {
        let hint = match self {
            SelectError::NotFound(_) | SelectError::NoMatch(_) => {
                "paths begin at the root of the build context, or of the stage or image of --from"
            }
            SelectError::Ignored { .. } => "take the path back with a line that begins with '!'",
            SelectError::Outside(_) => "COPY and ADD only see what is below the build context",
            SelectError::Changed(_) => "build again when nobody writes there",
            SelectError::Io { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied => {
                "make the file readable, or name it in .containerignore"
            }
            _ => return Vec::new(),
        };
        vec![hint.to_owned()]
    }
}

impl Failure for ArchiveError {
    fn class(&self) -> Class {
        match self {
            ArchiveError::Tar(error) => error.class(),
            ArchiveError::Layer(error) => error.class(),
            ArchiveError::Store(error) => error.class(),
        }
    }
}

impl Failure for BadMode {
    fn class(&self) -> Class {
        Class::Input
    }
}

fn io_class(error: &std::io::Error) -> Class {
    match error.kind() {
        std::io::ErrorKind::NotFound => Class::NotFound,
        _ => Class::Environment,
    }
}

impl Failure for ContextError {
    fn class(&self) -> Class {
        match self {
            ContextError::Open { source, .. } | ContextError::IgnoreFile { source, .. } => io_class(source),
            ContextError::Pattern { .. } => Class::Input,
            ContextError::Store(error) => error.class(),
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            ContextError::Open { .. } => {
                vec!["the last argument of osmith build is the directory that COPY reads from".to_owned()]
            }
            ContextError::Store(error) => error.hints(),
            _ => Vec::new(),
        }
    }
}
