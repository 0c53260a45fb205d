//! The client: what it is told, and the registries it knows.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};

use osmith_report::Observer;

use super::certificates::{CertificatePaths, Certificates};
use super::configuration::Place;
use super::repository::{Registry, Repository};
use super::socket::Wish;
use super::wire::Wire;
use super::{Configuration, Credential, Credentials, Proxies, RegistryError, RetryPolicy};
use crate::reference::Reference;

/// Docker's registry has another name than its images.
const DOCKER_DOMAIN: &str = "docker.io";
const DOCKER_HOST: &str = "registry-1.docker.io";

/// How registries are reached.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Which certificates are trusted.
    pub certificates: CertificatePaths,
    /// Which proxies are used.
    pub proxies: Proxies,
    /// What is tried again.
    pub retry: RetryPolicy,
    /// What is said of registries: places, mirrors, short names.
    pub configuration: Configuration,
    /// Where passwords are.
    pub credentials: Credentials,
    /// Whether certificates are checked and HTTP is refused, whatever the configuration says.
    pub tls_verify: Option<bool>,
    /// Who we are in the registry that is named, whatever the files say. Mirrors do not learn it.
    pub credential: Option<Credential>,
    /// Becomes true when the user asks to stop: then no wait for the network goes on. It is what the observers of the
    /// operations say of all other work.
    pub interrupted: Arc<AtomicBool>,
}

/// Speaks to registries. Connections, tokens and what was found out are kept, so one client serves best for everything
/// that a command does. All methods may be called from several threads at once.
#[derive(Debug)]
pub struct Client {
    settings: Settings,
    wire: Wire,
    registries: Mutex<BTreeMap<(String, bool), Arc<Registry>>>,
}

impl Client {
    /// A client that has reached nobody so far.
    pub fn new(settings: Settings) -> Self {
        let certificates = Certificates::new(settings.certificates.clone());
        Client {
            wire: Wire::new(
                certificates,
                settings.proxies.clone(),
                Wish(settings.interrupted.clone()),
            ),
            settings,
            registries: Mutex::default(),
        }
    }

    pub(super) fn wire(&self) -> &Wire {
        &self.wire
    }

    pub(super) fn retry(&self) -> RetryPolicy {
        self.settings.retry
    }

    /// The full names that a name may stand for; at least one.
    pub(super) fn full_names(&self, name: &Reference) -> Result<Vec<Reference>, RegistryError> {
        Ok(self.settings.configuration.full_names(name)?)
    }

    /// Where an image with a full name may be fetched from, the best place first.
    pub(super) fn sources<'a>(
        &'a self,
        name: &Reference,
        observer: &'a dyn Observer,
    ) -> Result<Vec<Repository<'a>>, RegistryError> {
        let places = self.settings.configuration.places(name)?;
        let repositories = places.iter().map(|place| self.repository(place, name, observer));
        repositories.collect()
    }

    /// Where an image with a full name is sent to.
    pub(super) fn destination<'a>(
        &'a self,
        name: &Reference,
        observer: &'a dyn Observer,
    ) -> Result<Repository<'a>, RegistryError> {
        self.repository(&self.settings.configuration.destination(name)?, name, observer)
    }

    /// A registry as a whole, for somebody.
    pub(super) fn root<'a>(
        &'a self,
        registry: &str,
        credential: &Credential,
        observer: &'a dyn Observer,
    ) -> Repository<'a> {
        let host = if registry == DOCKER_DOMAIN {
            DOCKER_HOST
        } else {
            registry
        };
        Repository {
            client: self,
            registry: self.registry(host, self.settings.configuration.is_insecure(registry)),
            path: String::new(),
            credential: Some(credential.clone()),
            observer,
        }
    }

    fn repository<'a>(
        &'a self,
        place: &Place,
        asked: &Reference,
        observer: &'a dyn Observer,
    ) -> Result<Repository<'a>, RegistryError> {
        let domain = place.name.domain().unwrap_or_default();
        let (host, path) = match (domain, place.name.path()) {
            (DOCKER_DOMAIN, path) if !path.contains('/') => (DOCKER_HOST, format!("library/{path}")),
            (DOCKER_DOMAIN, path) => (DOCKER_HOST, path.to_owned()),
            (domain, path) => (domain, path.to_owned()),
        };
        let credential = match &self.settings.credential {
            Some(credential) if place.name.domain() == asked.domain() => Some(credential.clone()),
            _ => self.settings.credentials.find(&format!("{domain}/{path}"))?,
        };
        Ok(Repository {
            client: self,
            registry: self.registry(host, place.insecure),
            path,
            credential,
            observer,
        })
    }

    /// A registry, and whether it may be spoken to without TLS if nothing else was asked for.
    fn registry(&self, host: &str, insecure: bool) -> Arc<Registry> {
        let insecure = self.settings.tls_verify.map_or(insecure, |verify| !verify);
        let mut registries = self.registries.lock().unwrap_or_else(PoisonError::into_inner);
        let registry = registries
            .entry((host.to_owned(), insecure))
            .or_insert_with(|| Arc::new(Registry::new(host, insecure)));
        registry.clone()
    }
}
