//! Why there is no network.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use osmith_report::{Class, Failure, Interrupted};

use super::Interface;

/// Why there is no network.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// The image has no program for it.
    #[error("the image has neither NetworkManager nor systemd-networkd, so the network cannot be set up")]
    NoProgram,
    /// Nothing is plugged in.
    #[error("no network interface has a carrier{}", listed(interfaces))]
    NoCarrier {
        /// What is there.
        interfaces: Vec<Interface>,
    },
    /// The interface that the machine was started from is not known.
    #[error("the device 'bootif' is not known: the kernel command line has no BOOTIF=")]
    NoBootInterface,
    /// There is no interface of that name.
    #[error("there is no network interface '{name}'{}", listed(interfaces))]
    UnknownInterface {
        /// The name.
        name: String,
        /// What is there.
        interfaces: Vec<Interface>,
    },
    /// A file cannot be written.
    #[error("cannot write '{}'", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A program of the image failed.
    #[error("'{command}' failed: {reason}")]
    Program {
        /// The program and its arguments.
        command: String,
        /// How it ended, and what it said.
        reason: String,
    },
    /// The time is up.
    #[error("no network after {} s{}", waited.as_secs(), listed_lines(states))]
    NoRoute {
        /// How long was waited.
        waited: Duration,
        /// What each interface looks like: `ens3: no carrier`.
        states: Vec<String>,
    },
    /// The user asked to stop.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

fn listed(interfaces: &[Interface]) -> String {
    let lines: Vec<String> = interfaces.iter().map(Interface::to_string).collect();
    listed_lines(&lines)
}

fn listed_lines(lines: &[String]) -> String {
    match lines.is_empty() {
        true => "; there is no Ethernet interface at all".to_owned(),
        false => format!(" ({})", lines.join("; ")),
    }
}

impl Failure for NetworkError {
    fn class(&self) -> Class {
        match self {
            NetworkError::NoProgram | NetworkError::Write { .. } | NetworkError::Program { .. } => {
                Class::Environment
            }
            NetworkError::NoBootInterface => Class::Usage,
            NetworkError::UnknownInterface { .. } => Class::NotFound,
            NetworkError::NoCarrier { .. } | NetworkError::NoRoute { .. } => Class::Network,
            NetworkError::Interrupted(_) => Class::Interrupted,
        }
    }

    fn hints(&self) -> Vec<String> {
        let none: &[String] = &[];
        let hint = match self {
            NetworkError::NoProgram => "install NetworkManager, or enable systemd-networkd, in the image",
            NetworkError::NoCarrier { interfaces } if interfaces.is_empty() => NO_DRIVER,
            NetworkError::NoRoute { states, .. } if states.as_slice() == none => NO_DRIVER,
            NetworkError::NoCarrier { .. } => "check the cables",
            NetworkError::NoBootInterface => {
                "name the interface, or have the boot loader add BOOTIF= (IPAPPEND 2 in PXELINUX)"
            }
            NetworkError::UnknownInterface { .. } => "use one of those names, or the address of the card",
            NetworkError::NoRoute { .. } => {
                "check cables, VLANs and the DHCP server; an address is given with \
                 ip=192.0.2.10::192.0.2.1:255.255.255.0::ens3:none, more time with inst.waitfornet=180"
            }
            _ => return Vec::new(),
        };
        vec![hint.to_owned()]
    }
}

const NO_DRIVER: &str =
    "the kernel of the image has no driver for the network card, or its firmware is missing";
