//! Networks: what is wanted of each interface, as files for NetworkManager or systemd-networkd, and bringing it up with
//! the image's own programs.

mod address;
mod connection;

pub use address::{AddressInNetwork, MacAddress, MacAddressError, Route};
pub(crate) use address::{is_host_name, is_interface_name, parse_address, parse_ipv4_prefix, parse_number};
pub use connection::{Connection, DeviceSelector, Ipv4, Ipv6};
