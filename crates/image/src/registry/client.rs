//! The client: what it is told, and the registries it knows.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use osmith_report::Observer;

use super::certificates::{CertificatePaths, Certificates};
use super::repository::{Registry, Repository};
use super::wire::Wire;
use super::{Credential, Proxies, RegistryError, RetryPolicy};
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
    /// Whether certificates are checked and HTTP is refused.
    pub tls_verify: Option<bool>,
    /// Who we are, for every registry.
    pub credential: Option<Credential>,
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
            wire: Wire::new(certificates, settings.proxies.clone()),
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

    /// Where an image may be fetched from, the best place first.
    pub(super) fn sources<'a>(
        &'a self,
        name: &Reference,
        observer: &'a dyn Observer,
    ) -> Result<Vec<Repository<'a>>, RegistryError> {
        let domain = name
            .domain()
            .ok_or_else(|| RegistryError::NoRegistry(name.to_string()))?;
        Ok(vec![self.repository(domain, name.path(), observer)])
    }

    fn repository<'a>(&'a self, domain: &str, path: &str, observer: &'a dyn Observer) -> Repository<'a> {
        let (host, path) = match domain {
            DOCKER_DOMAIN if !path.contains('/') => (DOCKER_HOST, format!("library/{path}")),
            DOCKER_DOMAIN => (DOCKER_HOST, path.to_owned()),
            _ => (domain, path.to_owned()),
        };
        Repository {
            client: self,
            registry: self.registry(host, self.settings.tls_verify == Some(false)),
            path,
            credential: self.settings.credential.clone(),
            observer,
        }
    }

    fn registry(&self, host: &str, insecure: bool) -> Arc<Registry> {
        let mut registries = self.registries.lock().unwrap_or_else(PoisonError::into_inner);
        let registry = registries
            .entry((host.to_owned(), insecure))
            .or_insert_with(|| Arc::new(Registry::new(host, insecure)));
        registry.clone()
    }
}
