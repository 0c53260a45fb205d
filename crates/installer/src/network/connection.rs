//! What is wanted of one interface.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::address::{MacAddress, Route};

/// Which interface a connection is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeviceSelector {
    /// Every Ethernet interface.
    Any,
    /// The one of that name.
    Name(String),
    /// The one with that address.
    Mac(MacAddress),
    /// The first one with a carrier.
    Link,
    /// The one that the machine was booted from, as `BOOTIF=` names it.
    Boot,
}

/// How an interface gets its IPv4 address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ipv4 {
    /// By DHCP.
    Dhcp,
    /// It has this one.
    Static {
        /// The address.
        address: Ipv4Addr,
        /// How many bits of it name the network; at most 32.
        prefix: u8,
        /// Through whom all that is elsewhere is reached.
        gateway: Option<Ipv4Addr>,
    },
    /// It gets none.
    Disabled,
}

/// How an interface gets its IPv6 addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ipv6 {
    /// As routers say: by themselves, by DHCP, or both.
    Auto,
    /// By DHCP, whatever routers say.
    Dhcp,
    /// Only the one that needs nobody.
    LinkLocal,
    /// It has this one.
    Static {
        /// The address.
        address: Ipv6Addr,
        /// How many bits of it name the network; at most 128.
        prefix: u8,
        /// Through whom all that is elsewhere is reached.
        gateway: Option<Ipv6Addr>,
    },
    /// It gets none.
    Disabled,
}

/// A connection to a network: an interface and its addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// For which interface.
    pub device: DeviceSelector,
    /// Its IPv4 address.
    pub ipv4: Ipv4,
    /// Its IPv6 addresses.
    pub ipv6: Ipv6,
    /// Who is asked for names, beside those that DHCP and routers tell.
    pub nameservers: Vec<IpAddr>,
    /// The domains in which short names are looked up.
    pub search: Vec<String>,
    /// What is reached through others than the gateway.
    pub routes: Vec<Route>,
    /// The longest packet, in bytes.
    pub mtu: Option<u32>,
    /// The address that the card is to use instead of its own.
    pub cloned_mac: Option<MacAddress>,
    /// The name that DHCP servers are told.
    pub dhcp_hostname: Option<String>,
    /// The class that DHCP servers are told (option 60).
    pub dhcp_class: Option<String>,
    /// Whether all that is elsewhere may be reached by it.
    pub has_default_route: bool,
    /// Whether name servers that DHCP tells are used.
    pub takes_ipv4_dns: bool,
    /// Whether name servers that routers and DHCPv6 tell are used.
    pub takes_ipv6_dns: bool,
    /// Whether it comes up when the installed machine starts.
    pub on_boot: bool,
    /// Whether it is for the card that has the name now, whatever it is called later; only with a name.
    pub binds_to_mac: bool,
}

impl Connection {
    /// The addresses that DHCP and routers give an interface.
    pub fn automatic(device: DeviceSelector) -> Self {
        Connection {
            device,
            ipv4: Ipv4::Dhcp,
            ipv6: Ipv6::Auto,
            nameservers: Vec::new(),
            search: Vec::new(),
            routes: Vec::new(),
            mtu: None,
            cloned_mac: None,
            dhcp_hostname: None,
            dhcp_class: None,
            has_default_route: true,
            takes_ipv4_dns: true,
            takes_ipv6_dns: true,
            on_boot: true,
            binds_to_mac: false,
        }
    }

    /// Whether it may bring a route to all that is elsewhere: then it is waited for.
    pub fn may_bring_default_route(&self) -> bool {
        let by_ipv4 = match self.ipv4 {
            Ipv4::Dhcp => true,
            Ipv4::Static { gateway, .. } => gateway.is_some(),
            Ipv4::Disabled => false,
        };
        let by_ipv6 = match self.ipv6 {
            Ipv6::Auto => true,
            Ipv6::Static { gateway, .. } => gateway.is_some(),
            // DHCP for IPv6 knows no gateways, and NetworkManager does not listen to routers then.
            Ipv6::Dhcp | Ipv6::LinkLocal | Ipv6::Disabled => false,
        };
        let by_route = self.routes.iter().any(|route| route.target.prefix == 0);
        self.has_default_route && (by_ipv4 || by_ipv6) || by_route
    }

    /// Adds what another connection for the same interface says: each kind of address once, the later one of two.
    pub(super) fn add(&mut self, other: Connection) {
        if other.ipv4 != Ipv4::Disabled {
            self.ipv4 = other.ipv4;
        }
        if other.ipv6 != Ipv6::Disabled {
            self.ipv6 = other.ipv6;
        }
        for server in other.nameservers {
            if !self.nameservers.contains(&server) {
                self.nameservers.push(server);
            }
        }
        self.search.extend(other.search);
        self.routes.extend(other.routes);
        self.mtu = other.mtu.or(self.mtu);
        self.cloned_mac = other.cloned_mac.or(self.cloned_mac);
        self.dhcp_hostname = other.dhcp_hostname.or(self.dhcp_hostname.take());
        self.dhcp_class = other.dhcp_class.or(self.dhcp_class.take());
        self.has_default_route |= other.has_default_route;
    }

    /// What it is called: the interface, or its address.
    pub fn name(&self) -> String {
        match &self.device {
            DeviceSelector::Any => "ethernet".to_owned(),
            DeviceSelector::Name(name) => name.clone(),
            DeviceSelector::Mac(address) => address.to_string().replace(':', "-"),
            DeviceSelector::Link => "link".to_owned(),
            DeviceSelector::Boot => "bootif".to_owned(),
        }
    }
}
