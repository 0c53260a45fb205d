//! What a build will do: stages in order, each with its base and its steps, all variables replaced.
//!
//! ```text
//! Containerfile + request + base images ─ stages ─ evaluate ─▶ Plan (pure data, printable)
//! ```
//!
//! Only stages that the target needs are planned. A plan is complete before anything runs: what an instruction does to
//! the configuration is known then, only trees are still to be made. What osmith cannot do is an error here.

mod command;
mod evaluate;
mod health;
mod history;
mod instructions;
mod mount;
mod path;
mod ports;
mod reader;
mod scope;
mod stages;
mod transfer;
mod triggers;

use std::collections::BTreeMap;

use osmith_image::{ImageConfig, Platform};

use crate::containerfile::{Containerfile, Diagnostic, Span};

pub use evaluate::plan;
pub(crate) use transfer::is_git;

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
    /// What the first FROM is to name, if not what it does.
    pub first_base: Option<String>,
    /// The platforms.
    pub platforms: Platforms,
    /// Whether the target platform was asked for, or is that of this machine for want of another.
    pub is_platform_given: bool,
    /// `--build-context`, by name.
    pub contexts: BTreeMap<String, NamedContext>,
    /// The form of the image.
    pub format: ImageFormat,
}

/// What a name of `--build-context` stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NamedContext {
    /// A directory.
    Directory,
    /// An image, by another name.
    Image(String),
}

/// The form of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ImageFormat {
    /// That of the Open Container Initiative.
    #[default]
    Oci,
    /// Docker's, schema 2, which has HEALTHCHECK, ONBUILD and SHELL.
    Docker,
}

/// Where base images are looked up while a plan is made.
pub trait BaseImages {
    /// The configuration of the image of that name for that platform; why there is none otherwise. What is found may
    /// be for another one.
    fn config(&mut self, name: &str, platform: &Platform) -> Result<ImageConfig, MissingImage>;
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
    /// An image.
    Image(ImageOrigin),
    /// A directory of `--build-context`, by its name.
    Context(String),
}

/// An image, as [`BaseImages`] was asked for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageOrigin {
    /// The name in the Containerfile, or what `--build-context` put in its place.
    pub name: String,
    /// For which machine.
    pub platform: Platform,
}

impl Origin {
    /// The position of the stage, if it is one.
    pub fn stage(&self) -> Option<usize> {
        match self {
            Origin::Stage(position) => Some(*position),
            Origin::Scratch | Origin::Image(_) | Origin::Context(_) => None,
        }
    }
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

impl Step {
    /// Where it takes files from, beside the tree and the build context.
    pub fn origins(&self) -> impl Iterator<Item = &Origin> {
        let (from, mounts): (_, &[RunMount]) = match &self.action {
            Action::Configure | Action::Directories { .. } => (None, &[]),
            Action::Transfer(transfer) => (transfer.from.as_ref(), &[]),
            Action::Run(run) => (None, &run.mounts),
        };
        from.into_iter().chain(mounts.iter().filter_map(RunMount::origin))
    }
}

/// A planned COPY or ADD.
#[derive(Debug, Clone)]
pub struct Transfer {
    /// Whether it is an ADD.
    pub is_add: bool,
    /// What is extracted.
    pub unpacking: Unpacking,
    /// Where the sources are; `None` for the build context.
    pub from: Option<Origin>,
    /// What is copied.
    pub sources: Vec<TransferSource>,
    /// Where to: absolute, with a final `/` if it was written.
    pub destination: String,
    /// The destination as it is written, for the history.
    pub written_destination: String,
    /// The working directory, which is a directory even if it is missing.
    pub workdir: String,
    /// `--chown`.
    pub chown: Option<String>,
    /// `--chmod`.
    pub chmod: Option<String>,
    /// `--exclude`, relative to the sources.
    pub excludes: Vec<String>,
    /// `--link`: the layer does not depend on those below.
    pub is_linked: bool,
    /// `--parents`: the directories above the sources are made in the destination.
    pub keeps_parents: bool,
    /// `--keep-git-dir`.
    pub keeps_git_directory: bool,
    /// `--checksum`: the SHA-256 of a URL's file, in hexadecimal.
    pub checksum: Option<String>,
}

impl Transfer {
    /// Whether nothing comes from elsewhere than a context, stage or image.
    pub fn has_only_paths(&self) -> bool {
        self.sources
            .iter()
            .all(|source| matches!(source, TransferSource::Path(_)))
    }
}

/// Which sources are extracted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unpacking {
    /// None.
    Nothing,
    /// Archives that are files.
    Archives,
    /// Archives, also those from URLs.
    Everything,
}

/// Something to copy.
#[derive(Debug, Clone)]
pub enum TransferSource {
    /// A path or pattern in the context, stage or image.
    Path(String),
    /// A file of a server.
    Url(String),
    /// A git repository: `PLACE[#REFERENCE[:DIRECTORY]]`.
    Git(String),
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
    /// What it sees beside its tree.
    pub mounts: Vec<RunMount>,
}

/// A planned `RUN --mount`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunMount {
    /// Where: an absolute path.
    pub target: String,
    /// What.
    pub kind: MountKind,
}

impl RunMount {
    /// The stage, image or context that it shows.
    pub fn origin(&self) -> Option<&Origin> {
        match &self.kind {
            MountKind::Bind { from, .. } | MountKind::Cache { from, .. } => from.as_ref(),
            MountKind::Memory { .. } | MountKind::Secret { .. } | MountKind::Ssh { .. } => None,
        }
    }
}

/// What a mount shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MountKind {
    /// A file or directory of the build context, a stage or an image. What is written there is thrown away.
    Bind {
        /// Where it is; `None` for the build context.
        from: Option<Origin>,
        /// The path there.
        source: String,
        /// Whether it can be written to at all.
        is_writable: bool,
    },
    /// A directory that outlives the build.
    Cache {
        /// Its name.
        id: String,
        /// Who else may use it meanwhile.
        sharing: Sharing,
        /// What a new one begins with; `None` for an empty directory.
        from: Option<Origin>,
        /// The path there.
        source: String,
        /// Permission bits of a new one.
        mode: u32,
        /// Owner of a new one.
        uid: u32,
        /// Group of a new one.
        gid: u32,
        /// Whether it can be written to.
        is_writable: bool,
    },
    /// A file system in memory.
    Memory {
        /// The most it holds.
        size_bytes: Option<u64>,
        /// Permission bits.
        mode: u32,
        /// Whether it begins as a copy of the target.
        copies_target: bool,
        /// Whether it can be written to.
        is_writable: bool,
    },
    /// A file, or a variable, that is in no layer, history or key.
    Secret {
        /// Its name.
        id: String,
        /// The variable that holds it.
        env: Option<String>,
        /// Whether it is a file.
        is_file: bool,
        /// Whether the build fails without it.
        is_required: bool,
        /// Permission bits.
        mode: u32,
        /// Owner.
        uid: u32,
        /// Group.
        gid: u32,
    },
    /// The socket of an agent for SSH keys.
    Ssh {
        /// Its name.
        id: String,
        /// Whether the build fails without it.
        is_required: bool,
        /// Permission bits.
        mode: u32,
        /// Owner.
        uid: u32,
        /// Group.
        gid: u32,
    },
}

/// Who may use a cache at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// Everybody.
    Shared,
    /// One user each: others get one of their own.
    Private,
    /// One user at a time: others wait.
    Locked,
}

/// All that is wrong with a Containerfile, or missing for it.
pub type Diagnostics = Vec<Diagnostic>;

/// A Containerfile, in the form in which evaluation needs it.
pub(crate) type Read<'a> = &'a Containerfile;
