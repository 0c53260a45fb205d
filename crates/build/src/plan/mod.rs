//! What a build will do: stages in order, each with its base and its steps, all variables replaced.
//!
//! ```text
//! Containerfile + request + base images ─ stages ─ evaluate ─▶ Plan (pure data, printable)
//! ```
//!
//! Only stages that the target needs are planned. A plan is complete before anything runs: what an instruction does to
//! the configuration is known then, only trees are still to be made. What osmith cannot do is an error here.

mod config;
mod evaluate;
mod ports;
mod scope;
mod stages;

use std::collections::BTreeMap;

use osmith_image::{ImageConfig, Platform};

use crate::containerfile::{Containerfile, Diagnostic, Span};

pub use evaluate::plan;

/// For which machine an image is built, and on which.
#[derive(Debug, Clone)]
pub struct Platforms {
    /// The image's.
    pub target: Platform,
    /// That of this machine.
    pub build: Platform,
}

/// What the request says about the plan.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// `--build-arg`.
    pub build_args: BTreeMap<String, String>,
    /// The stage to build; the last one if not given.
    pub target: Option<String>,
    /// The platforms.
    pub platforms: Platforms,
}

/// Where base images are looked up while a plan is made.
pub trait BaseImages {
    /// The configuration of the image of that name; why there is none otherwise.
    fn config(&mut self, name: &str) -> Result<ImageConfig, MissingImage>;
}

/// Why a base image cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingImage {
    /// One sentence.
    pub message: String,
    /// What to do; may be empty.
    pub note: String,
}

/// A planned build.
#[derive(Debug)]
pub struct Plan {
    /// The stages that are needed, each after those it needs. The last one is the target.
    pub stages: Vec<StagePlan>,
    /// What is strange but does not prevent the build.
    pub warnings: Vec<Diagnostic>,
}

/// Where files come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nothing: an empty tree.
    Scratch,
    /// A stage: its position in [`Plan::stages`].
    Stage(usize),
    /// An image, by the name in the Containerfile.
    Image(String),
}

/// A planned stage.
#[derive(Debug)]
pub struct StagePlan {
    /// Its name, or its number in the Containerfile.
    pub title: String,
    /// What it begins with.
    pub base: Origin,
    /// The positions of the stages that must be built before.
    pub needs: Vec<usize>,
    /// The base as written, for the history.
    pub base_name: String,
    /// FROM.
    pub span: Span,
    /// What is done.
    pub steps: Vec<Step>,
    /// The configuration after the last step, without layers, and with the base's history only.
    pub config: ImageConfig,
}

/// A planned instruction.
#[derive(Debug)]
pub struct Step {
    /// Where it stands.
    pub span: Span,
    /// The instruction as written, in one line.
    pub title: String,
    /// What the image's history says (for COPY and ADD without the hash of what was copied).
    pub history: String,
    /// What it does to the tree.
    pub action: Action,
}

/// What a step does to the tree.
#[derive(Debug)]
pub enum Action {
    /// Nothing: only the configuration changes.
    Configure,
    /// Makes directories that are missing.
    Directories {
        /// Absolute paths.
        paths: Vec<String>,
        /// The owner as USER has it; empty for root.
        user: String,
    },
    /// COPY or ADD.
    Transfer(Transfer),
    /// RUN.
    Run(Run),
}

/// A planned COPY or ADD.
#[derive(Debug, Clone)]
pub struct Transfer {
    /// Whether archives are extracted (ADD).
    pub extracts: bool,
    /// Where the sources are; `None` for the build context.
    pub from: Option<Origin>,
    /// What is copied.
    pub sources: Vec<TransferSource>,
    /// Where to: absolute, with a final `/` if it was written.
    pub destination: String,
    /// The working directory, which is a directory even if it is missing.
    pub workdir: String,
    /// `--chown`.
    pub chown: Option<String>,
    /// `--chmod`.
    pub chmod: Option<String>,
    /// `--exclude`, relative to the sources.
    pub excludes: Vec<String>,
}

/// Something to copy.
#[derive(Debug, Clone)]
pub enum TransferSource {
    /// A path or pattern in the context, stage or image.
    Path(String),
    /// The body of a heredoc.
    Inline {
        /// The name of the file.
        name: String,
        /// Its bytes.
        text: String,
    },
}

/// A planned RUN.
#[derive(Debug, Clone)]
pub struct Run {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// A script to be executed as a file: its name and text. `argv` is empty then.
    pub script: Option<(String, String)>,
    /// The variables that the history and the cache know.
    pub env: Vec<(String, String)>,
    /// Variables that nothing remembers: proxies.
    pub passing_env: Vec<(String, String)>,
    /// The working directory.
    pub workdir: String,
    /// As USER has it; empty for root.
    pub user: String,
    /// Whether the network of the host can be used.
    pub network: bool,
}

/// All that is wrong with a Containerfile, or missing for it.
pub type Diagnostics = Vec<Diagnostic>;

/// A Containerfile, in the form in which evaluation needs it.
pub(crate) type Read<'a> = &'a Containerfile;
