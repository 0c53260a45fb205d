//! The Linux kernel and child processes: mounts, namespaces, atomic files, sandbox.
//!
//! The only crate of the workspace with `unsafe` code; every such block says why it is sound. What the running kernel
//! can do is found out by trying, never from its version. The kernel's own interfaces (`/proc`, `/dev`) are the only
//! absolute paths here.

pub mod child;
mod error;
pub mod file;
pub mod mount;
pub mod process;
pub mod sandbox;
pub mod signals;
pub mod terminal;
pub mod userns;
pub mod verity;

pub use error::{OsError, Result};
