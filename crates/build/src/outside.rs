//! What a build gets from other machines. Who calls it knows how they are reached.

use osmith_image::registry::{DownloadError, Downloaded, Validators};
use osmith_image::store::{Image, Store};
use osmith_image::{Platform, Reference};
use osmith_report::{Class, Failure, Observer, StepId};

/// Fetches what a build needs.
pub trait Outside: Sync {
    /// Fetches an image into the store and gives it its name.
    fn pull(
        &self,
        name: &Reference,
        platform: &Platform,
        store: &Store,
        observer: &dyn Observer,
    ) -> Result<Image, OutsideError>;

    /// Fetches a file into the store; `None` if it is the one that `known` speaks of.
    fn download(
        &self,
        url: &str,
        known: &Validators,
        store: &Store,
        observer: &dyn Observer,
        step: StepId,
    ) -> Result<Option<Downloaded>, DownloadError>;
}

/// Why an image was not fetched.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct OutsideError {
    message: String,
    class: Class,
    hints: Vec<String>,
}

impl OutsideError {
    /// What a failure comes to, in one line.
    pub fn of(failure: &dyn Failure) -> Self {
        OutsideError {
            message: crate::bases::chain_of(failure),
            class: failure.class(),
            hints: failure.hints(),
        }
    }
}

impl Failure for OutsideError {
    fn class(&self) -> Class {
        self.class
    }

    fn hints(&self) -> Vec<String> {
        self.hints.clone()
    }
}
