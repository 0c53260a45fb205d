//! Processes on an image: the file tree as their root, and who they are there.
//!
//! ```text
//! tree ─ mount points ─▶ root: composefs image, stubs or copies ─▶ sandbox (sys) with an overlay on top
//!   └─ users: /etc/passwd and /etc/group of the image
//! ```
//!
//! RUN steps and containers differ in what becomes of their changes; what they run on is the same and is here.

pub mod root;
pub mod users;
