//! The Linux kernel and child processes: mounts, namespaces, atomic files, sandbox.
//!
//! The only crate of the workspace with `unsafe` code; every such block says why it is sound. What the running kernel
//! can do is found out by trying, never from its version. The kernel's own interfaces (`/proc`, `/dev`) are the only
//! absolute paths here.

pub mod child;
mod error;
pub mod file;
pub mod mount;
pub mod network;
pub mod process;
pub mod sandbox;
pub mod signals;
pub mod swap;
pub mod terminal;
pub mod userns;
pub mod verity;

pub use error::{OsError, Result};

/// Which start of this computer it is: another text after every one.
pub fn boot_id() -> Result<String> {
    const PATH: &str = "/proc/sys/kernel/random/boot_id";
    let text = std::fs::read_to_string(PATH).map_err(|error| OsError::from_io("read", PATH, &error))?;
    Ok(text.trim().to_owned())
}
