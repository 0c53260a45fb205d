//! Which certificates a registry is trusted by: those of the system, and those in `certs.d`.
//!
//! ```text
//! certs.d/HOST[:PORT]/*.crt              authorities
//! certs.d/HOST[:PORT]/NAME.cert, .key    what the client shows, and its key
//! ```
//!
//! Source: containers-certs.d(5).

use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::RegistryError;
use super::tls::Trust;

/// Where certificates are.
#[derive(Debug, Clone, Default)]
pub struct CertificatePaths {
    /// Files with the certificates of the system's authorities, as PEM; the first one that exists is read.
    pub bundles: Vec<PathBuf>,
    /// Directories `certs.d`; the first one that has a directory for a host is read.
    pub directories: Vec<PathBuf>,
    /// A directory with certificates for all hosts, in the place of `directories`.
    pub own: Option<PathBuf>,
    /// Files with the certificates of further authorities for all hosts, as PEM.
    pub authorities: Vec<PathBuf>,
}

#[derive(Debug)]
pub(super) struct Certificates {
    paths: CertificatePaths,
    system: OnceLock<Vec<CertificateDer<'static>>>,
}

impl Certificates {
    pub(super) fn new(paths: CertificatePaths) -> Self {
        Certificates {
            paths,
            system: OnceLock::new(),
        }
    }

    /// What a host (with its port, if it is an unusual one) is trusted by.
    pub(super) fn for_host(&self, host: &str, anyone: bool) -> Result<Trust, RegistryError> {
        let mut trust = Trust {
            anyone,
            ..Trust::default()
        };
        if !anyone {
            trust.roots = self.system_roots()?.to_vec();
            for path in &self.paths.authorities {
                trust.roots.extend(certificates(path)?);
            }
        }
        let directories = self
            .paths
            .directories
            .iter()
            .map(|directory| directory.join(host));
        let directory = match &self.paths.own {
            Some(own) => Some(own.clone()),
            None => directories.into_iter().find(|directory| directory.is_dir()),
        };
        if let Some(directory) = directory {
            add_directory(&directory, &mut trust)?;
        }
        Ok(trust)
    }

    fn system_roots(&self) -> Result<&[CertificateDer<'static>], RegistryError> {
        if let Some(roots) = self.system.get() {
            return Ok(roots);
        }
        let roots = match self.paths.bundles.iter().find(|path| path.exists()) {
            Some(bundle) => certificates(bundle)?,
            None => Vec::new(),
        };
        Ok(self.system.get_or_init(|| roots))
    }
}

fn add_directory(directory: &Path, trust: &mut Trust) -> Result<(), RegistryError> {
    let failed = |error: io::Error| unusable(directory, error.to_string());
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(failed)? {
        paths.push(entry.map_err(failed)?.path());
    }
    paths.sort();
    for path in &paths {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("crt") => trust.roots.extend(certificates(path)?),
            Some("cert") => trust.client = Some((certificates(path)?, key(&path.with_extension("key"))?)),
            _ => {}
        }
    }
    Ok(())
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, RegistryError> {
    let bytes = read(path)?;
    CertificateDer::pem_slice_iter(&bytes)
        .collect::<Result<_, _>>()
        .map_err(|error| unusable(path, error.to_string()))
}

fn key(path: &Path) -> Result<PrivateKeyDer<'static>, RegistryError> {
    PrivateKeyDer::from_pem_slice(&read(path)?).map_err(|error| unusable(path, error.to_string()))
}

fn read(path: &Path) -> Result<Vec<u8>, RegistryError> {
    std::fs::read(path).map_err(|error| unusable(path, error.to_string()))
}

fn unusable(path: &Path, reason: String) -> RegistryError {
    RegistryError::CertificateFile {
        path: path.to_owned(),
        reason,
    }
}
