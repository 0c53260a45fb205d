//! Where a Kickstart file is.

use std::fmt;
use std::str::FromStr;

use super::without_password;

/// The path of the Kickstart file if only a medium is named.
pub const DEFAULT_PATH: &str = "/ks.cfg";

/// Where a Kickstart file is.
#[derive(Clone, PartialEq, Eq)]
pub enum KickstartSource {
    /// An address with `http:` or `https:`; it may have a password.
    Url(String),
    /// A file of a file system on a device.
    Device {
        /// The device.
        device: DeviceName,
        /// The path from the root of the file system.
        path: String,
    },
    /// A file of a disc in a drive.
    Cdrom {
        /// The path from the root of the disc.
        path: String,
    },
    /// A file of the live system, or one that was in the initramfs.
    File {
        /// Its path.
        path: String,
    },
}

/// How a device is named.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum DeviceName {
    /// Below `/dev`: `sda1`, `disk/by-id/usb-…`.
    Path(String),
    /// By the label of its file system.
    Label(String),
    /// By the identity of its file system.
    Uuid(String),
    /// By the name of its partition.
    PartitionLabel(String),
    /// By the identity of its partition.
    PartitionUuid(String),
}

/// A text that names no Kickstart file that can be fetched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason} (right is: {example})")]
pub struct SourceError {
    /// What is wrong.
    pub reason: String,
    /// A right one, as a kernel argument.
    pub example: &'static str,
}

impl KickstartSource {
    /// Whether it is elsewhere.
    pub fn needs_network(&self) -> bool {
        matches!(self, KickstartSource::Url(_))
    }
}

const URL_EXAMPLE: &str = "inst.ks=https://server.example.org/ks.cfg";
const DEVICE_EXAMPLE: &str = "inst.ks=hd:LABEL=KICKSTART:/ks.cfg";

impl FromStr for KickstartSource {
    type Err = SourceError;

    fn from_str(text: &str) -> Result<Self, SourceError> {
        let fail = |reason: String, example| Err(SourceError { reason, example });
        if text.starts_with("http://") || text.starts_with("https://") {
            let host = without_password(text);
            let host = host.split("://").nth(1).unwrap_or_default();
            return match host.starts_with(['/', ':', '?', '#']) || host.is_empty() {
                true => fail("the address has no host".to_owned(), URL_EXAMPLE),
                false => Ok(KickstartSource::Url(text.to_owned())),
            };
        }
        let (scheme, rest) = text.split_once(':').unwrap_or(("", text));
        match scheme {
            "hd" => parse_device(rest),
            "ftp" | "ftps" | "nfs" | "nfs4" | "tftp" => fail(
                format!("'{scheme}' is not supported; serve the file by http"),
                URL_EXAMPLE,
            ),
            "file" => Ok(KickstartSource::File {
                path: absolute(rest.strip_prefix("//").unwrap_or(rest)),
            }),
            "cdrom" => Ok(KickstartSource::Cdrom { path: absolute(rest) }),
            _ if text == "cdrom" => Ok(KickstartSource::Cdrom {
                path: DEFAULT_PATH.to_owned(),
            }),
            "" if text.is_empty() => fail("it is empty".to_owned(), URL_EXAMPLE),
            _ if text.starts_with('/') || scheme.is_empty() => {
                Ok(KickstartSource::File { path: absolute(text) })
            }
            scheme => fail(
                format!("'{scheme}:' is no kind of place: http:, https:, hd:, cdrom: and file: are"),
                URL_EXAMPLE,
            ),
        }
    }
}

/// `DEVICE[:PATH]`. Names below `/dev/disk/by-path` have colons of their own, but none before a slash.
fn parse_device(text: &str) -> Result<KickstartSource, SourceError> {
    let (device, path) = match text.find(":/") {
        Some(place) => (text.get(..place), text.get(place + 1..)),
        None if text.starts_with("/dev/disk/by-path/") => (Some(text), None),
        None => match text.split_once(':') {
            Some((device, path)) => (Some(device), Some(path)),
            None => (Some(text), None),
        },
    };
    let device = parse_device_name(&unescape(device.unwrap_or_default()))?;
    Ok(KickstartSource::Device {
        device,
        path: absolute(&unescape(path.unwrap_or_default())),
    })
}

fn parse_device_name(text: &str) -> Result<DeviceName, SourceError> {
    let (kind, value) = text.split_once('=').unwrap_or(("", text));
    let value = value.to_owned();
    let name = match kind {
        "" => {
            let below = text.strip_prefix("/dev/").unwrap_or(text);
            DeviceName::Path(below.trim_start_matches('/').to_owned())
        }
        "LABEL" | "CDLABEL" => DeviceName::Label(value),
        "UUID" => DeviceName::Uuid(value),
        "PARTLABEL" => DeviceName::PartitionLabel(value),
        "PARTUUID" => DeviceName::PartitionUuid(value),
        kind => {
            return Err(SourceError {
                reason: format!(
                    "'{kind}=' names no device: LABEL=, CDLABEL=, UUID=, PARTLABEL= and PARTUUID= do"
                ),
                example: DEVICE_EXAMPLE,
            });
        }
    };
    let is_sound = match &name {
        DeviceName::Path(path) => {
            !path.is_empty() && path.split('/').all(|part| !matches!(part, "" | "." | ".."))
        }
        _ => !text.ends_with('='),
    };
    match is_sound {
        true => Ok(name),
        false => Err(SourceError {
            reason: "the device is missing".to_owned(),
            example: DEVICE_EXAMPLE,
        }),
    }
}

fn absolute(path: &str) -> String {
    match path {
        "" => DEFAULT_PATH.to_owned(),
        path if path.starts_with('/') => path.to_owned(),
        path => format!("/{path}"),
    }
}

/// `\x20` is a blank: one of the command line itself would end the argument.
fn unescape(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some(place) = rest.find("\\x") {
        let (before, escaped) = rest.split_at(place);
        bytes.extend_from_slice(before.as_bytes());
        let digits = escaped.get(2..4).unwrap_or_default();
        match u8::from_str_radix(digits, 16) {
            Ok(byte) if !digits.starts_with('+') => {
                bytes.push(byte);
                rest = escaped.get(4..).unwrap_or_default();
            }
            _ => {
                bytes.extend_from_slice(b"\\x");
                rest = escaped.get(2..).unwrap_or_default();
            }
        }
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8_lossy(&bytes).into_owned()
}

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeviceName::Path(path) => write!(f, "/dev/{path}"),
            DeviceName::Label(label) => write!(f, "LABEL={label}"),
            DeviceName::Uuid(uuid) => write!(f, "UUID={uuid}"),
            DeviceName::PartitionLabel(label) => write!(f, "PARTLABEL={label}"),
            DeviceName::PartitionUuid(uuid) => write!(f, "PARTUUID={uuid}"),
        }
    }
}

impl fmt::Display for KickstartSource {
    /// As it is written, without passwords.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KickstartSource::Url(url) => f.write_str(&without_password(url)),
            KickstartSource::Device { device, path } => write!(f, "hd:{device}:{path}"),
            KickstartSource::Cdrom { path } => write!(f, "cdrom:{path}"),
            KickstartSource::File { path } => write!(f, "file:{path}"),
        }
    }
}

// The address may have a password.
impl fmt::Debug for KickstartSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}
