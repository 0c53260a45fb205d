//! Why a build failed.

use osmith_image::layer::LayerError;
use osmith_image::store::StoreError;
use osmith_report::{Class, Failure, Interrupted};

use crate::containerfile::{Diagnostic, Severity, Source, Span};
use crate::context::ContextError;

mod step;

pub use step::StepError;

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
            excerpt: source.excerpt(span, "") + &error.last_lines(),
            source: error,
        }
    }
}

impl Failure for BuildError {
    fn class(&self) -> Class {
        match self {
            BuildError::Containerfile(findings) => findings.class(),
            BuildError::Context(error) => error.class(),
            BuildError::Step { source, .. } => source.class(),
            BuildError::Store(error) => error.class(),
            BuildError::Squash(error) => error.class(),
            BuildError::Interrupted(_) => Class::Interrupted,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            BuildError::Context(error) => error.hints(),
            BuildError::Step { source, .. } => source.hints(),
            BuildError::Store(error) => error.hints(),
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
