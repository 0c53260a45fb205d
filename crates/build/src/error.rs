//! Why a build failed.

use std::path::PathBuf;

use osmith_container::users::UserError;
use osmith_formats::tree::ResolveError;
use osmith_image::layer::LayerError;
use osmith_image::store::StoreError;
use osmith_report::{Class, Failure, Interrupted};

use crate::containerfile::{Diagnostic, Severity, Source, Span};
use crate::context::ContextError;
use crate::copy::{ArchiveError, BadMode, SelectError};
use crate::run::RunError;

/// More findings than this are counted, not shown.
const SHOWN_MAX: usize = 20;

/// Why there is no image. The store is as it was before, except for what the cache remembers.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The Containerfile cannot be built.
    #[error(transparent)]
    Containerfile(#[from] Findings),
    /// The build context cannot be used.
    #[error(transparent)]
    Context(#[from] ContextError),
    /// A step failed.
    #[error("{place}: {title}")]
    Step {
        /// `FILE:LINE`.
        place: String,
        /// The instruction.
        title: String,
        /// The line with a marker.
        excerpt: String,
        /// Why.
        #[source]
        source: StepError,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Layers cannot be made one.
    #[error("cannot squash the layers")]
    Squash(#[source] LayerError),
    /// The user asked to stop.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

impl BuildError {
    pub(crate) fn step(source: &Source, span: Span, title: &str, error: StepError) -> Self {
        if let StepError::Interrupted(interrupted) = error {
            return interrupted.into();
        }
        let line = source.position(span.start).line;
        BuildError::Step {
            place: format!("{}:{line}", source.name()),
            title: title.to_owned(),
            excerpt: source.excerpt(span, ""),
            source: error,
        }
    }
}

impl Failure for BuildError {
    fn class(&self) -> Class {
        match self {
            BuildError::Containerfile(findings) => findings.class(),
            BuildError::Context(error) => match error {
                ContextError::Open { source, .. } | ContextError::IgnoreFile { source, .. } => {
                    io_class(source)
                }
                ContextError::Pattern { .. } => Class::Input,
                ContextError::Store(error) => error.class(),
            },
            BuildError::Step { source, .. } => source.class(),
            BuildError::Store(error) => error.class(),
            BuildError::Squash(error) => error.class(),
            BuildError::Interrupted(_) => Class::Interrupted,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            BuildError::Context(ContextError::Open { .. }) => {
                vec!["the last argument of osmith build is the directory that COPY reads from".to_owned()]
            }
            BuildError::Step { source, .. } => source.hints(),
            BuildError::Store(error) | BuildError::Context(ContextError::Store(error)) => error.hints(),
            _ => Vec::new(),
        }
    }

    fn excerpt(&self) -> Option<String> {
        match self {
            BuildError::Containerfile(findings) => findings.excerpt(),
            BuildError::Step { excerpt, .. } => Some(excerpt.clone()),
            _ => None,
        }
    }
}

/// Everything that prevents a Containerfile from being built.
#[derive(Debug)]
pub struct Findings {
    /// What is wrong, as text: the place and message of the first.
    headline: String,
    excerpt: String,
    /// The findings.
    pub findings: Vec<Diagnostic>,
}

impl Findings {
    /// The errors among findings; there is at least one.
    pub(crate) fn new(source: &Source, findings: Vec<Diagnostic>) -> Self {
        let errors: Vec<Diagnostic> = findings
            .into_iter()
            .filter(|finding| finding.severity == Severity::Error)
            .collect();
        let mut excerpt = String::new();
        for (index, finding) in errors.iter().take(SHOWN_MAX).enumerate() {
            if index > 0 {
                excerpt += &format!("\n{}\n", finding.headline(source));
            }
            excerpt += &finding.excerpt(source);
        }
        if errors.len() > SHOWN_MAX {
            excerpt += &format!("\n({} more)", errors.len() - SHOWN_MAX);
        }
        Findings {
            headline: errors
                .first()
                .map(|first| first.headline(source))
                .unwrap_or_default(),
            excerpt,
            findings: errors,
        }
    }
}

impl std::fmt::Display for Findings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.headline)
    }
}

impl std::error::Error for Findings {}

impl Failure for Findings {
    fn class(&self) -> Class {
        Class::Input
    }

    fn excerpt(&self) -> Option<String> {
        Some(self.excerpt.clone())
    }
}

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
    /// A source is on a server.
    #[error("sources on servers are not supported yet")]
    Remote,
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
            StepError::Run(error) => error.class(),
            StepError::NoSecret(_) | StepError::NoAgent(_) => Class::Usage,
            StepError::SecretText(_) | StepError::Remote => Class::Input,
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
            StepError::NoSecret(id) => vec![format!("osmith build --secret id={id},src=FILE")],
            StepError::NoAgent(id) => {
                vec![format!("osmith build --ssh {id}, with an agent in SSH_AUTH_SOCK")]
            }
            StepError::Run(error) => error.hints(),
            StepError::Store(error) => error.hints(),
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
