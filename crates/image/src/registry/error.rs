//! What can go wrong with a registry.

use std::error::Error;
use std::path::PathBuf;

use osmith_report::{Class, Failure, Interrupted};

use super::configuration::ConfigurationError;
use super::credentials::CredentialsError;
use super::tunnel::ProxyRefusal;
use crate::digest::Sha256Digest;
use crate::intake::IntakeError;
use crate::manifest::JsonError;
use crate::store::StoreError;

/// Why an image was not found in, fetched from or sent to a registry.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// Nobody answers.
    #[error("cannot connect to the registry '{host}'")]
    Connect {
        /// The host, with its port if it is an unusual one.
        host: String,
        /// Why.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// The proxy that leads to the registry does not answer, or does not let us through.
    #[error("cannot reach the registry '{host}' by the proxy '{proxy}', which {setting} names")]
    Proxy {
        /// The registry, with its port if it is an unusual one.
        host: String,
        /// The proxy, with its port.
        proxy: String,
        /// The name of the setting.
        setting: String,
        /// Why.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// What is set as a proxy is none.
    #[error("{setting} is no address of a proxy: '{address}' is not http://HOST:PORT")]
    ProxyAddress {
        /// The name of the setting.
        setting: String,
        /// What it says, without name and password.
        address: String,
    },
    /// The certificate of the registry is not trusted.
    #[error("the registry '{host}' cannot be trusted: {reason}")]
    Certificate {
        /// The host.
        host: String,
        /// What is wrong with the certificate.
        reason: CertificateProblem,
    },
    /// The registry does not use TLS.
    #[error("the registry '{0}' speaks HTTP, not HTTPS")]
    PlainHttp(String),
    /// The connection broke while something was on its way.
    #[error("the connection to '{host}' broke during {operation}")]
    Broken {
        /// What was going on: `the request for the blob sha256:…`.
        operation: String,
        /// The host.
        host: String,
        /// Why.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// The registry wants somebody who is logged in.
    #[error("the registry '{host}' refuses {operation}: nobody is logged in")]
    LoginRequired {
        /// What was tried.
        operation: String,
        /// The host.
        host: String,
    },
    /// The registry knows neither the name nor the password.
    #[error("the registry '{host}' does not accept the password of '{username}'")]
    WrongPassword {
        /// The host.
        host: String,
        /// Who tried.
        username: String,
    },
    /// The registry does not allow it.
    #[error("the registry '{host}' does not allow {operation}{}", said(message))]
    Denied {
        /// What was tried.
        operation: String,
        /// The host.
        host: String,
        /// What the registry said.
        message: String,
    },
    /// There is no such image.
    #[error("the registry '{host}' has no image '{name}'{}", said(message))]
    UnknownImage {
        /// The host.
        host: String,
        /// The image.
        name: String,
        /// What the registry said.
        message: String,
    },
    /// A blob of an image is missing.
    #[error("the registry '{host}' does not have the blob {digest}, which its image needs")]
    MissingBlob {
        /// The host.
        host: String,
        /// The blob.
        digest: Sha256Digest,
    },
    /// The registry answered with an error.
    #[error(
        "the registry '{host}' answered {operation} with the status {status}{}",
        said(message)
    )]
    Status {
        /// What was tried.
        operation: String,
        /// The host.
        host: String,
        /// The status code of HTTP.
        status: u16,
        /// What the registry said.
        message: String,
        /// How many seconds it asked to wait.
        retry_after_seconds: Option<u64>,
    },
    /// The registry did not keep to the protocol.
    #[error("the registry '{host}' answered {operation} in a way that is not understood: {reason}")]
    Protocol {
        /// What was tried.
        operation: String,
        /// The host.
        host: String,
        /// What is wrong.
        reason: String,
    },
    /// What the registry calls a manifest is none.
    #[error("cannot read the manifest of '{name}'")]
    Manifest {
        /// The image.
        name: String,
        /// Why.
        #[source]
        source: JsonError,
    },
    /// A file with certificates or a key cannot be used.
    #[error("cannot use the certificates in '{}': {reason}", path.display())]
    CertificateFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The configuration cannot be read, or does not allow it.
    #[error(transparent)]
    Configuration(#[from] ConfigurationError),
    /// Passwords cannot be read.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// The image cannot be taken into the store.
    #[error(transparent)]
    Intake(#[from] IntakeError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The user asked to stop.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

/// What is wrong with a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CertificateProblem {
    /// It is too old.
    #[error("its certificate has expired")]
    Expired,
    /// It is too new.
    #[error("its certificate is not valid yet")]
    NotYetValid,
    /// Nobody who is trusted has signed it.
    #[error("its certificate is signed by an authority that is not known")]
    UnknownIssuer,
    /// It belongs to another host.
    #[error("its certificate is for another host")]
    OtherHost,
    /// It was taken back.
    #[error("its certificate is revoked")]
    Revoked,
    /// It wants to know who we are.
    #[error("it wants a certificate from us, and got none that it accepts")]
    Client,
    /// Something else.
    #[error("its certificate is not valid")]
    Invalid,
}

impl Failure for RegistryError {
    fn class(&self) -> Class {
        match self {
            RegistryError::UnknownImage { .. } => Class::NotFound,
            RegistryError::Configuration(error) => error.class(),
            RegistryError::Credentials(error) => error.class(),
            RegistryError::CertificateFile { .. } | RegistryError::ProxyAddress { .. } => Class::Input,
            RegistryError::LoginRequired { .. }
            | RegistryError::WrongPassword { .. }
            | RegistryError::Denied { .. } => Class::Environment,
            RegistryError::Intake(error) => error.class(),
            RegistryError::Store(error) => error.class(),
            RegistryError::Interrupted(_) => Class::Interrupted,
            RegistryError::Manifest { source, .. } => source.class(),
            _ => Class::Network,
        }
    }

    fn hints(&self) -> Vec<String> {
        let hint = match self {
            RegistryError::Connect { host, .. } => {
                format!(
                    "check the name '{host}' and the network, and set HTTPS_PROXY if a proxy leads there; then try again"
                )
            }
            RegistryError::Proxy {
                proxy,
                setting,
                source,
                ..
            } if is_refusal(source.as_ref(), 407) => {
                format!("set {setting}=http://NAME:PASSWORD@{proxy}")
            }
            RegistryError::Proxy { host, setting, .. } => format!(
                "check {setting} and the proxy; with NO_PROXY={host} the registry is reached without it"
            ),
            RegistryError::ProxyAddress { setting, .. } => format!("correct {setting}, or unset it"),
            RegistryError::Certificate { host, reason } => return certificate_hints(host, *reason),
            RegistryError::PlainHttp(host) => format!(
                "if it is meant to be so: --tls-verify=false, or 'insecure = true' for '{host}' in registries.conf"
            ),
            RegistryError::LoginRequired { host, .. } => format!("log in: osmith login {host}"),
            RegistryError::WrongPassword { host, .. } => format!("log in again: osmith login {host}"),
            RegistryError::Denied { host, .. } => {
                format!(
                    "ask who runs the registry for access, or log in as somebody else: osmith login {host}"
                )
            }
            RegistryError::UnknownImage { .. } => {
                "check the name and the tag; some registries say so of images that need osmith login"
                    .to_owned()
            }
            RegistryError::CertificateFile { .. } => {
                "a directory with certificates has PEM files: *.crt of authorities, *.cert and *.key of its own".to_owned()
            }
            RegistryError::MissingBlob { .. } => "push the image again".to_owned(),
            RegistryError::Configuration(error) => return error.hints(),
            RegistryError::Credentials(error) => return error.hints(),
            RegistryError::Broken { .. } | RegistryError::Status { .. } => "try again later".to_owned(),
            RegistryError::Intake(error) => return error.hints(),
            RegistryError::Store(error) => return error.hints(),
            _ => return Vec::new(),
        };
        vec![hint]
    }
}

impl RegistryError {
    /// Whether a registry that need not use TLS may fail so because it does not.
    pub(super) fn may_be_plain_http(&self) -> bool {
        matches!(
            self,
            RegistryError::PlainHttp(_)
                | RegistryError::Connect { .. }
                | RegistryError::Proxy { .. }
                | RegistryError::Broken { .. }
        )
    }

    /// Whether the same may work a little later.
    pub(super) fn passes(&self) -> bool {
        match self {
            RegistryError::Connect { .. } | RegistryError::Broken { .. } => true,
            RegistryError::Proxy { source, .. } => {
                !matches!(source.downcast_ref(), Some(ProxyRefusal::Status(..500)))
            }
            RegistryError::Status { status, .. } => matches!(status, 408 | 429 | 500..=599),
            _ => false,
        }
    }
}

fn certificate_hints(host: &str, reason: CertificateProblem) -> Vec<String> {
    let hint = match reason {
        CertificateProblem::UnknownIssuer => format!(
            "put the authority's certificate into /etc/containers/certs.d/{host}/ca.crt, or use --cert-dir or \
             --tls-verify=false"
        ),
        CertificateProblem::Expired | CertificateProblem::NotYetValid => {
            "check the clock of this machine; else the registry needs a new certificate".to_owned()
        }
        CertificateProblem::Client => format!(
            "put the certificate and its key into /etc/containers/certs.d/{host}/client.cert and client.key, or use \
             --cert-dir"
        ),
        _ => "the registry needs another certificate; --tls-verify=false does without".to_owned(),
    };
    vec![hint]
}

fn is_refusal(source: &(dyn Error + Send + Sync + 'static), status: u16) -> bool {
    matches!(source.downcast_ref(), Some(ProxyRefusal::Status(found)) if *found == status)
}

fn said(message: &str) -> String {
    match message {
        "" => String::new(),
        message => format!(" ({message})"),
    }
}
