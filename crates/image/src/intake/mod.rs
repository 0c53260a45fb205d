//! Images on their way into the store, wherever their blobs come from.
//!
//! Every blob is checked against its digest and length, every layer against its diff ID, and the layers against each
//! other, before the first name is written. Compressed layers are kept as they are, to leave unchanged; a plain tar
//! stream is kept only if osmith would write another one for the same layer.

mod documents;
mod error;
mod layers;

use std::collections::BTreeSet;
use std::io::{self, Read};

pub(crate) use documents::{Documents, choose};
pub use error::IntakeError;
pub(crate) use layers::take_layers;

use crate::digest::Sha256Digest;
use crate::manifest::Descriptor;
use crate::tar::Limits;

/// A place that blobs come from: a layout, a registry.
pub(crate) trait Blobs: Sync {
    /// Why the place fails.
    type Error: From<IntakeError> + Send;

    /// A manifest or index, whose digest the intake checks.
    fn manifest(&self, descriptor: &Descriptor) -> Result<Vec<u8>, Self::Error>;

    /// A reader of a blob, whose digest the intake checks.
    fn blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send + '_>, Self::Error>;

    /// The error that a reader of [`Blobs::blob`] failed with.
    fn read_error(&self, descriptor: &Descriptor, error: io::Error) -> Self::Error;

    /// How many blobs are best read at once.
    fn parallel_reads(&self) -> usize;
}

/// How layers are taken into a store.
#[derive(Debug, Clone)]
pub struct IntakeOptions {
    /// What a layer may have.
    pub limits: Limits,
    /// Whether blobs of layers are kept, so that they leave the store as they came. Without them a layer that osmith
    /// would not write the same way cannot leave.
    pub keep_blobs: bool,
    /// The diff IDs of layers that are read although the store knows them: some of their contents are missing.
    pub reread: BTreeSet<Sha256Digest>,
}

impl Default for IntakeOptions {
    fn default() -> Self {
        IntakeOptions {
            limits: Limits::default(),
            keep_blobs: true,
            reread: BTreeSet::new(),
        }
    }
}

/// What came in with an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Transferred {
    /// Bytes of blobs that were read.
    pub fetched_bytes: u64,
    /// Bytes that were written as new objects.
    pub written_bytes: u64,
    /// Bytes of objects that the store had already.
    pub present_bytes: u64,
    /// Layers that were read.
    pub layers_fetched: u64,
    /// Layers that the store had already.
    pub layers_reused: u64,
}

impl std::ops::AddAssign for Transferred {
    fn add_assign(&mut self, other: Self) {
        self.fetched_bytes += other.fetched_bytes;
        self.written_bytes += other.written_bytes;
        self.present_bytes += other.present_bytes;
        self.layers_fetched += other.layers_fetched;
        self.layers_reused += other.layers_reused;
    }
}
