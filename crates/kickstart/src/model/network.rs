//! Network interfaces.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Secret;
use crate::problem::Position;

/// `network`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// Its place.
    pub position: Position,
    /// Whether the line describes a connection, not only the machine's name.
    pub has_connection: bool,
    /// `--hostname`.
    pub hostname: Option<String>,
    /// `--device`; the first with a carrier if there is none.
    pub device: NetworkDevice,
    /// `--bootproto`.
    pub protocol: BootProtocol,
    /// `--ip`.
    pub address: Option<Ipv4Addr>,
    /// `--netmask` as a length.
    pub prefix_length: Option<u8>,
    /// `--gateway`.
    pub gateway: Option<Ipv4Addr>,
    /// `--nameserver`.
    pub nameservers: Vec<IpAddr>,
    /// `--ipv6`.
    pub ipv6: Option<Ipv6>,
    /// `--ipv6gateway`.
    pub ipv6_gateway: Option<Ipv6Addr>,
    /// `--noipv4`.
    pub no_ipv4: bool,
    /// `--noipv6`.
    pub no_ipv6: bool,
    /// `--nodns`.
    pub no_dns: bool,
    /// `--nodefroute`.
    pub no_default_route: bool,
    /// `--mtu`.
    pub mtu_bytes: Option<u32>,
    /// `--onboot`.
    pub on_boot: Option<bool>,
    /// `--activate`, `--no-activate`; without either the first line of a file is activated.
    pub activate: Option<bool>,
    /// `--bindto=mac`.
    pub bind_to: Option<BindTo>,
    /// `--interfacename`.
    pub interface_name: Option<String>,
    /// `--vlanid`.
    pub vlan_id: Option<u16>,
    /// `--bondslaves`.
    pub bond_members: Vec<String>,
    /// `--bondopts`.
    pub bond_options: Vec<(String, String)>,
    /// `--bridgeslaves`.
    pub bridge_members: Vec<String>,
    /// `--bridgeopts`.
    pub bridge_options: Vec<(String, String)>,
    /// `--teamslaves` and `--teamconfig`, as they are written.
    pub team: Option<(String, Option<String>)>,
    /// `--ipv4-dns-search`.
    pub ipv4_dns_search: Vec<String>,
    /// `--ipv6-dns-search`.
    pub ipv6_dns_search: Vec<String>,
    /// `--ipv4-ignore-auto-dns`.
    pub ipv4_ignore_auto_dns: bool,
    /// `--ipv6-ignore-auto-dns`.
    pub ipv6_ignore_auto_dns: bool,
    /// `--ethtool`.
    pub ethtool: Option<String>,
    /// `--dhcpclass`.
    pub dhcp_class: Option<String>,
    /// `--essid`.
    pub essid: Option<String>,
    /// `--wpakey` or `--wepkey`.
    pub wifi_key: Option<Secret>,
}

/// Which interface is meant.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum NetworkDevice {
    /// The first one with a carrier.
    #[default]
    Link,
    /// The one that the firmware started from.
    BootIf,
    /// The one with this address.
    Mac([u8; 6]),
    /// The one of this name.
    Name(String),
}

/// How an interface gets its IPv4 address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BootProtocol {
    /// `dhcp` and its older names `bootp` and `query`.
    #[default]
    Dhcp,
    /// `static`.
    Static,
    /// `ibft`: as the firmware's iSCSI table says.
    Ibft,
}

/// How an interface gets its IPv6 address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ipv6 {
    /// From router advertisements.
    Auto,
    /// From DHCPv6.
    Dhcp,
    /// This one, with the length of its prefix.
    Address(Ipv6Addr, u8),
}

/// By what a connection knows its interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BindTo {
    /// By its hardware address.
    Mac,
}
