//! Why a Kickstart file was not fetched.

use std::io;
use std::time::Duration;

use osmith_image::registry::{self as server, CertificateProblem, RegistryError};
use osmith_report::{Class, Failure, Interrupted};

use super::BlockDevice;
use crate::boot_options::{KickstartSource, SourceError};

/// Why a Kickstart file was not fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// A server does not give it.
    #[error(transparent)]
    Server(server::FetchError),
    /// It is named in a way that means nothing.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The file of the live system cannot be read.
    #[error("cannot read '{path}'")]
    File {
        /// Its path.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// There is no such device.
    #[error("there is no device '{name}' after {} s{}", waited.as_secs(), listed(devices))]
    NoDevice {
        /// As it was named.
        name: String,
        /// How long was waited.
        waited: Duration,
        /// The devices that are there.
        devices: Vec<BlockDevice>,
    },
    /// Nobody said where it is, and it is not where it would be by habit.
    #[error(
        "no Kickstart file: the kernel command line has no inst.ks=, and there is no volume with the label OEMDRV{}",
        listed(devices)
    )]
    NoSource {
        /// The devices that are there.
        devices: Vec<BlockDevice>,
    },
    /// No file system of the device can be mounted.
    #[error("cannot mount '{device}': {}", reasons(tried))]
    Mount {
        /// The device.
        device: String,
        /// The kinds of file systems that were tried, and what the kernel said.
        tried: Vec<(&'static str, String)>,
    },
    /// The file system of the device has no such file.
    #[error("cannot read '{path}' of '{device}', a file system of the type {kind}")]
    OnDevice {
        /// The device.
        device: String,
        /// The type of the file system.
        kind: &'static str,
        /// The path from its root.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// It is too long to be one.
    #[error("'{name}' is no Kickstart file: it is longer than 16 MiB")]
    TooLong {
        /// What it is called.
        name: String,
    },
    /// It is no text.
    #[error("'{name}' is no Kickstart file: line {line} is not UTF-8")]
    NoText {
        /// What it is called.
        name: String,
        /// The first line that is none, from 1.
        line: usize,
    },
    /// None of several places has it.
    #[error("none of the places of inst.ks= has a Kickstart file: {}", all(failures))]
    All {
        /// The places, and why not; more than one.
        failures: Vec<(KickstartSource, FetchError)>,
    },
    /// Somebody asked to stop.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

impl From<server::FetchError> for FetchError {
    fn from(error: server::FetchError) -> Self {
        match error {
            server::FetchError::Interrupted(interrupted) => interrupted.into(),
            error => FetchError::Server(error),
        }
    }
}

fn listed(devices: &[BlockDevice]) -> String {
    let lines: Vec<String> = devices.iter().map(BlockDevice::to_string).collect();
    match lines.is_empty() {
        true => "; there is no block device at all".to_owned(),
        false => format!("; there are {}", lines.join(", ")),
    }
}

fn reasons(tried: &[(&'static str, String)]) -> String {
    let lines: Vec<String> = tried
        .iter()
        .map(|(kind, reason)| format!("{kind}: {reason}"))
        .collect();
    lines.join("; ")
}

fn all(failures: &[(KickstartSource, FetchError)]) -> String {
    let line = |(source, error): &(KickstartSource, FetchError)| {
        let cause = std::error::Error::source(error).map(|cause| format!(": {cause}"));
        format!("{source}: {error}{}", cause.unwrap_or_default())
    };
    failures.iter().map(line).collect::<Vec<_>>().join("; ")
}

impl Failure for FetchError {
    fn class(&self) -> Class {
        match self {
            FetchError::Server(error) => error.class(),
            FetchError::Source(_) => Class::Usage,
            FetchError::NoDevice { .. } | FetchError::NoSource { .. } => Class::NotFound,
            FetchError::File { source, .. } | FetchError::OnDevice { source, .. } => match source.kind() {
                io::ErrorKind::NotFound => Class::NotFound,
                _ => Class::Environment,
            },
            FetchError::Mount { .. } => Class::Environment,
            FetchError::TooLong { .. } | FetchError::NoText { .. } => Class::Input,
            FetchError::All { failures } => failures
                .first()
                .map_or(Class::NotFound, |(_, error)| error.class()),
            FetchError::Interrupted(_) => Class::Interrupted,
        }
    }

    fn hints(&self) -> Vec<String> {
        let hint = match self {
            FetchError::Server(server::FetchError::Connection { error, .. }) => match error.as_ref() {
                RegistryError::Certificate {
                    reason: CertificateProblem::UnknownIssuer,
                    ..
                } => {
                    return vec![
                        "put the certificate of the authority into the image, or in front of other files with \
                         %certificate; for this file inst.noverifyssl does without"
                            .to_owned(),
                    ];
                }
                RegistryError::Certificate {
                    reason: CertificateProblem::OtherHost,
                    ..
                } => "use a name that is in the certificate; inst.noverifyssl does without",
                RegistryError::Proxy { .. } => {
                    "check inst.proxy=[http://][NAME:PASSWORD@]HOST[:PORT] and the proxy"
                }
                RegistryError::Connect { .. } => {
                    "check the address and the network; a proxy is named by inst.proxy=http://HOST:PORT"
                }
                _ => {
                    let FetchError::Server(error) = self else {
                        return Vec::new();
                    };
                    return error.hints();
                }
            },
            FetchError::Server(error) => return error.hints(),
            FetchError::NoSource { .. } => {
                "add inst.ks=https://HOST/ks.cfg to the kernel command line, or attach a volume with the label OEMDRV \
                 that has a file ks.cfg"
            }
            FetchError::NoDevice { .. } => "name one of those: inst.ks=hd:LABEL=NAME:/ks.cfg",
            FetchError::Mount { .. } => "use a file system that the kernel of the image knows",
            FetchError::All { failures } => {
                return failures.iter().flat_map(|(_, error)| error.hints()).collect();
            }
            _ => return Vec::new(),
        };
        vec![hint.to_owned()]
    }
}
