//! Container images: references, manifests, trees, layers and the object store.
//!
//! The file contents of all images are objects of one [`store::Store`]; a [`layer::Layer`] is a record of paths and
//! metadata that names them. So a layer is made, merged, compared and squashed without reading a file, and nothing is
//! compressed before it leaves.

mod config;
mod digest;
pub mod layer;
mod manifest;
mod parallel;
mod reference;
pub mod store;
pub mod tar;

pub use config::{Empty, History, ImageConfig, RootFs, RuntimeConfig, host_architecture};
pub use digest::{DigestError, Digesting, Sha256Digest};
pub use manifest::{
    Descriptor, Index, JSON_MAX_BYTES, JsonError, Manifest, ManifestOrIndex, Platform, media_type,
};
pub use reference::{Location, Reference, ReferenceError};
