//! The registry client with Debian's registry, skopeo and podman.

mod faults;
mod images;
mod pull;
mod push;
mod silence;
mod tls;
