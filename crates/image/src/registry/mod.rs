//! Registries: images over HTTP.
//!
//! Source: OCI distribution specification 1.1; for everything around it the formats and habits of podman and skopeo.
//!
//! [`resolve()`] finds out what a name stands for, [`pull()`] fetches it into a store, [`push()`] sends it from one,
//! [`copy()`] needs none. A [`Client`] is told in its [`Settings`] what there is to know; nothing is read from the
//! environment here.

mod authentication;
mod blob;
mod certificates;
mod challenge;
mod client;
mod configuration;
mod copy;
mod credentials;
mod download;
mod error;
mod fetch;
mod follow;
mod login;
mod policy;
mod proxy;
mod pull;
mod push;
mod repository;
mod retry;
mod socket;
mod tls;
mod tunnel;
mod upload;
mod wire;

pub use authentication::Credential;
pub use certificates::CertificatePaths;
pub use challenge::{Challenge, parse_challenges};
pub use client::{Client, Settings};
pub use configuration::{Configuration, ConfigurationError, Place};
pub use copy::{Copied, Endpoint, copy};
pub use credentials::{
    AuthFile, Credentials, CredentialsError, erase_all_credentials, erase_credential, store_credential,
};
pub use download::{DownloadError, Downloaded, Validators, download};
pub use error::{CertificateProblem, RegistryError};
pub use fetch::{FetchError, FetchRequest, fetch};
pub use login::verify_login;
pub use policy::PullPolicy;
pub use proxy::{Proxies, ProxySetting};
pub use pull::{PullOptions, Pulled, Resolved, pull, resolve};
pub use push::{PushOptions, Pushed, Sent, push, push_index};
pub use retry::RetryPolicy;
