//! Networks: what is wanted of each interface, as files for NetworkManager or systemd-networkd, and bringing it up with
//! the image's own programs.
//!
//! ```text
//! BootOptions ──connections_of──▶ Connection ──configuration_files──▶ files below run (live) or etc (installed)
//! Kickstart ────plan────────────▶     │
//!                                     └── bring_up: files, service, wait for a route
//! ```
//!
//! Left out on purpose: bonds, bridges, VLANs, teams and wireless networks.

mod address;
mod bring_up;
mod connection;
mod error;
mod files;
mod from_boot;
mod interfaces;
mod keyfile;
mod networkd;
#[cfg(test)]
mod tests;

pub use address::{AddressInNetwork, MacAddress, MacAddressError, Route};
pub(crate) use address::{is_host_name, is_interface_name, parse_address, parse_ipv4_prefix, parse_number};
pub use bring_up::{Network, bring_up};
pub use connection::{Connection, DeviceSelector, Ipv4, Ipv6};
pub use error::NetworkError;
pub use files::{Backend, ConfigurationFile, ImageFolders, Place, configuration_files};
pub use from_boot::connections_of;
pub use interfaces::{Interface, probe_interfaces};

/// The first line of every file that is made here, by which it is found again.
const HEAD: &str = "# Made by osmith's installer.\n";
