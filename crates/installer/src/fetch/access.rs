//! How servers are reached.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use osmith_image::registry::{CertificatePaths, Proxies, ProxySetting, RetryPolicy, Settings};

use crate::boot_options::BootOptions;

/// How servers are reached.
#[derive(Clone)]
pub struct Access {
    /// The proxy, with a scheme; it may have a password.
    pub proxy: Option<String>,
    /// What is reached without it, as in `NO_PROXY`.
    pub no_proxy: String,
    /// Whether certificates are checked.
    pub verifies_tls: bool,
    /// Files with certificates of further authorities, as PEM: those of `%certificate`.
    pub authorities: Vec<PathBuf>,
    /// What is tried again.
    pub retry: RetryPolicy,
    /// Becomes true when somebody asks to stop: then no wait for the network goes on.
    pub interrupted: Arc<AtomicBool>,
}

/// Files with the certificates of an image's authorities, as distributions name them.
const BUNDLES: [&str; 5] = [
    "etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "etc/pki/tls/certs/ca-bundle.crt",
    "etc/ssl/certs/ca-certificates.crt",
    "etc/ssl/ca-bundle.pem",
    "etc/ssl/cert.pem",
];

impl Default for Access {
    fn default() -> Self {
        Access {
            proxy: None,
            no_proxy: String::new(),
            verifies_tls: true,
            authorities: Vec::new(),
            // Switches may take half a minute before they pass packets on.
            retry: RetryPolicy {
                retries: 6,
                ..RetryPolicy::default()
            },
            interrupted: Arc::default(),
        }
    }
}

impl Access {
    /// As boot options say.
    pub fn of(options: &BootOptions) -> Self {
        Access {
            proxy: options.proxy.clone(),
            verifies_tls: options.verifies_tls,
            ..Access::default()
        }
    }

    /// The proxies, also for registries.
    pub fn proxies(&self) -> Proxies {
        let setting = self.proxy.as_ref().map(|address| ProxySetting {
            address: address.clone(),
            name: "inst.proxy".to_owned(),
        });
        Proxies {
            http: setting.clone(),
            https: setting,
            except: self.no_proxy.clone(),
        }
    }

    /// The certificates that an image trusts, and those of `%certificate`, also for registries.
    pub fn certificates(&self, host: &Path) -> CertificatePaths {
        CertificatePaths {
            bundles: BUNDLES.iter().map(|path| host.join(path)).collect(),
            authorities: self.authorities.clone(),
            ..CertificatePaths::default()
        }
    }

    pub(super) fn settings(&self, host: &Path) -> Settings {
        Settings {
            certificates: self.certificates(host),
            proxies: self.proxies(),
            retry: self.retry,
            interrupted: self.interrupted.clone(),
            ..Settings::default()
        }
    }
}
