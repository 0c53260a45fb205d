//! What a build gets from registries and servers.

use std::sync::OnceLock;

use osmith_build::{Outside, OutsideError};
use osmith_image::registry::{
    Client, DownloadError, Downloaded, PullOptions, Validators, download, pull, resolve,
};
use osmith_image::store::{Image, Store};
use osmith_image::{Platform, Reference};
use osmith_report::{Failure, Observer, StepId};

use crate::args::TransferOptions;
use crate::registries;

/// Registries and servers, as the options and the machine's files say that they are reached.
pub(super) struct Machines<'a> {
    options: &'a TransferOptions,
    client: OnceLock<Client>,
}

impl<'a> Machines<'a> {
    pub(super) fn new(options: &'a TransferOptions) -> Self {
        Machines {
            options,
            client: OnceLock::new(),
        }
    }

    /// A build that stays at home needs none.
    fn client(&self) -> Result<&Client, Box<dyn Failure>> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let client = registries::client(self.options)?;
        Ok(self.client.get_or_init(|| client))
    }
}

impl Outside for Machines<'_> {
    fn pull(
        &self,
        name: &Reference,
        platform: &Platform,
        store: &Store,
        observer: &dyn Observer,
    ) -> Result<Image, OutsideError> {
        let client = self.client().map_err(|error| OutsideError::of(error.as_ref()))?;
        let pulled = resolve(client, name, platform, observer).and_then(|resolved| {
            pull(
                client,
                &resolved,
                store,
                &PullOptions::default(),
                observer,
                StepId(0),
            )
        });
        Ok(pulled.map_err(|error| OutsideError::of(&error))?.image)
    }

    fn download(
        &self,
        url: &str,
        known: &Validators,
        store: &Store,
        observer: &dyn Observer,
        step: StepId,
    ) -> Result<Option<Downloaded>, DownloadError> {
        let client = self
            .client()
            .map_err(|error| DownloadError::Settings(error.to_string()))?;
        download(client, url, known, store, observer, step)
    }
}
