//! A Containerfile becomes an image: parser, stages, cache, RUN sandbox, commit.
//!
//! ```text
//! Containerfile ─ containerfile ─ plan ─ execute ─ commit ─▶ image in the store
//!                                  ▲        ├ copy   (trees: context, stages, images)
//!                       base images┘        ├ run    (the sandbox)
//!                                           └ key    (what the cache knows)
//! ```
//!
//! A tree is edited as a record of paths and objects; files of the build context are read once and never copied again.

#![expect(
    clippy::result_large_err,
    reason = "an error ends the build, and the errors of the store are that large"
)]

mod agent;
mod bases;
mod build;
mod built;
pub mod check;
mod command;
mod commit;
pub mod containerfile;
mod context;
mod copy;
mod draft;
mod elsewhere;
mod error;
mod execute;
mod git;
mod key;
mod outside;
pub mod plan;
pub mod run;
mod stage;
mod times;

pub use build::{
    BuiltImage, ContainerfileText, ExtraContext, NameService, Request, RunSettings, Squash, build,
    check as check_request,
};
pub use context::ContextError;
pub use copy::{ArchiveError, BadMode, SelectError};
pub use elsewhere::{fetch_context, is_repository, unpack_context};
pub use error::{BuildError, Findings, StepError};
pub use git::GitError;
pub use outside::{Outside, OutsideError};
pub use times::Times;
