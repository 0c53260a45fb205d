//! The registry client with Debian's registry, skopeo and podman.

mod images;
mod pull;
mod push;
