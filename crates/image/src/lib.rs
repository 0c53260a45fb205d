//! Container images: references, manifests, trees, layers and the object store.
//!
//! The file contents of all images are objects of one [`store::Store`]; a [`layer::Layer`] is a record of paths and
//! metadata that names them. So a layer is made, merged, compared and squashed without reading a file, and nothing is
//! compressed before it leaves.

pub mod compression;
mod config;
mod digest;
mod import;
mod intake;
pub mod layer;
pub mod layout;
mod manifest;
mod parallel;
mod platform;
mod progress;
mod reference;
pub mod registry;
pub mod store;
pub mod tar;
mod time;

pub use config::{Empty, History, ImageConfig, RootFs, RuntimeConfig, go_architecture, host_architecture};
pub use digest::{DigestError, Digesting, Sha256Digest};
pub use import::{ChangeError, ImportError, ImportOptions, import};
pub use intake::{IntakeError, IntakeOptions, Transferred};
pub use manifest::{
    Descriptor, Index, JSON_MAX_BYTES, JsonError, Manifest, ManifestFormat, ManifestOrIndex, Platform,
    media_type,
};
pub use platform::PlatformError;
pub use reference::{Location, Reference, ReferenceError};
pub use time::rfc3339;
