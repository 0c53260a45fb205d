//! Processes on an image: the file tree as their root, who they are there, and containers.
//!
//! ```text
//! tree ─ mount points ─▶ root: composefs image, stubs or copies ─▶ sandbox (sys) with an overlay on top
//!   └─ users: /etc/passwd and /etc/group of the image                 ▲
//! image + wishes ─▶ specification ─▶ container (a directory) ─▶ supervisor (a process): log, status, network, cgroup
//!                                         ▲
//!                                    list, exec, logs, stop, remove
//! ```
//!
//! RUN steps and containers differ in what becomes of their changes; what they run on is the same: [`root`], [`users`].
//! A build knows nothing of containers.

mod cgroup;
mod error;
pub mod exec;
pub mod life;
pub mod log;
mod network;
pub mod root;
pub mod signal;
pub mod specification;
mod streams;
pub mod supervise;
mod systemd;
pub mod users;
mod volumes;

pub use error::ContainerError;
pub use streams::Attachment;
