//! Registries: images over HTTP.
//!
//! Source: OCI distribution specification 1.1; for everything around it the formats and habits of podman and skopeo.
//!
//! [`resolve`] finds out what a name stands for, [`pull`] fetches it into a store. A [`Client`] is told in its
//! [`Settings`] what there is to know; nothing is read from the environment here.

mod authentication;
mod blob;
mod certificates;
mod challenge;
mod client;
mod error;
mod proxy;
mod pull;
mod repository;
mod retry;
mod tls;
mod wire;

pub use authentication::Credential;
pub use certificates::CertificatePaths;
pub use client::{Client, Settings};
pub use error::{CertificateProblem, RegistryError};
pub use proxy::Proxies;
pub use pull::{PullOptions, Pulled, Resolved, pull, resolve};
pub use retry::RetryPolicy;
