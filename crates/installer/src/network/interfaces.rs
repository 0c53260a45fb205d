//! The network interfaces of a machine, as the kernel shows them in `sys/class/net`, `proc/net/route`,
//! `proc/net/ipv6_route` and `proc/net/if_inet6`.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::net::Ipv6Addr;
use std::path::Path;

use super::{Connection, DeviceSelector, MacAddress, NetworkError};

/// Ethernet, in `sys/class/net/*/type` (linux/if_arp.h).
const ARPHRD_ETHER: &str = "1";
/// linux/if.h and linux/route.h.
const IFF_UP: u32 = 1;
const RTF_UP: u32 = 1;
const RTF_REJECT: u32 = 0x200;

/// A network interface for Ethernet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// The address of the card.
    pub mac: Option<MacAddress>,
    /// Whether it is a piece of hardware, or of a virtual machine.
    pub is_hardware: bool,
    /// Whether it is turned on.
    pub is_up: bool,
    /// Whether something is at the other end of the cable.
    pub has_carrier: bool,
    /// Whether it has an IPv4 address.
    pub has_ipv4: bool,
    /// Whether it has an IPv6 address that is not only for its link.
    pub has_ipv6: bool,
    /// Whether all that is elsewhere is reached by it.
    pub has_default_route: bool,
}

/// The Ethernet interfaces of a machine whose root folder is `host`, hardware first, by their names.
pub fn probe_interfaces(host: &Path) -> Vec<Interface> {
    let routes = Routes::read(host);
    let entries = fs::read_dir(host.join("sys/class/net"))
        .into_iter()
        .flatten()
        .flatten();
    let mut interfaces: Vec<Interface> = entries
        .filter_map(|entry| probe(&entry.path(), &entry.file_name().to_string_lossy(), &routes))
        .collect();
    interfaces.sort_by(|left, right| (!left.is_hardware, &left.name).cmp(&(!right.is_hardware, &right.name)));
    interfaces
}

fn probe(folder: &Path, name: &str, routes: &Routes) -> Option<Interface> {
    let read = |file: &str| Some(fs::read_to_string(folder.join(file)).ok()?.trim().to_owned());
    if read("type")? != ARPHRD_ETHER {
        return None;
    }
    let flags = read("flags").and_then(|text| u32::from_str_radix(text.trim_start_matches("0x"), 16).ok());
    Some(Interface {
        mac: read("address").and_then(|text| text.parse().ok()),
        is_hardware: folder.join("device").exists(),
        is_up: flags.unwrap_or_default() & IFF_UP != 0,
        // It cannot be read while the interface is turned off.
        has_carrier: read("carrier").as_deref() == Some("1"),
        has_ipv4: routes.with_ipv4.contains(name),
        has_ipv6: routes.with_ipv6.contains(name),
        has_default_route: routes.with_default.contains(name),
        name: name.to_owned(),
    })
}

/// What the kernel's tables say, by the names of interfaces.
#[derive(Default)]
struct Routes {
    with_default: BTreeSet<String>,
    with_ipv4: BTreeSet<String>,
    with_ipv6: BTreeSet<String>,
}

impl Routes {
    fn read(host: &Path) -> Self {
        let mut routes = Routes::default();
        let read = |file: &str| fs::read_to_string(host.join("proc/net").join(file)).unwrap_or_default();
        for line in read("route").lines().skip(1) {
            routes.add_ipv4(line);
        }
        for line in read("ipv6_route").lines() {
            routes.add_ipv6(line);
        }
        for line in read("if_inet6").lines() {
            routes.add_ipv6_address(line);
        }
        routes
    }

    /// `Iface Destination Gateway Flags RefCnt Use Metric Mask …`. An interface with an address has a route to its own
    /// network.
    fn add_ipv4(&mut self, line: &str) -> Option<()> {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let field = |place: usize| fields.get(place).copied();
        let flags = u32::from_str_radix(field(3)?, 16).ok()?;
        if flags & RTF_UP == 0 || flags & RTF_REJECT != 0 {
            return None;
        }
        let name = field(0)?.to_owned();
        if field(1)? == "00000000" && field(7)? == "00000000" {
            self.with_default.insert(name.clone());
        }
        self.with_ipv4.insert(name);
        Some(())
    }

    /// `DESTINATION LENGTH SOURCE LENGTH GATEWAY METRIC REFERENCES USE FLAGS NAME`, numbers without `0x`.
    fn add_ipv6(&mut self, line: &str) -> Option<()> {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let field = |place: usize| fields.get(place).copied();
        let flags = u32::from_str_radix(field(8)?, 16).ok()?;
        let is_default = field(1)? == "00" && field(0)?.bytes().all(|digit| digit == b'0');
        let name = field(9)?;
        // The kernel rejects what it knows no route for by one of these on the loopback device.
        if is_default && flags & RTF_UP != 0 && flags & RTF_REJECT == 0 && name != "lo" {
            self.with_default.insert(name.to_owned());
        }
        Some(())
    }

    /// `ADDRESS INDEX LENGTH SCOPE FLAGS NAME`.
    fn add_ipv6_address(&mut self, line: &str) -> Option<()> {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let address = u128::from_str_radix(fields.first()?, 16).ok()?;
        let is_for_link = Ipv6Addr::from_bits(address).is_unicast_link_local();
        if !is_for_link {
            self.with_ipv6.insert((*fields.get(5)?).to_owned());
        }
        Some(())
    }
}

impl fmt::Display for Interface {
    /// `ens3: no carrier`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self {
            Interface { is_up: false, .. } => "turned off",
            Interface {
                has_carrier: false, ..
            } => "no carrier",
            Interface {
                has_default_route: true,
                ..
            } => "up, with a default route",
            Interface { has_ipv4: true, .. } | Interface { has_ipv6: true, .. } => {
                "up, with an address, but no default route"
            }
            _ => "up, no address",
        };
        write!(f, "{}: {state}", self.name)
    }
}

impl Connection {
    /// The same for one interface that is there: `link`, `bootif` and the binding to a card are looked up. Names and
    /// addresses stay as they are, whether there is such an interface or not.
    pub fn resolve(
        &self,
        interfaces: &[Interface],
        boot_mac: Option<MacAddress>,
    ) -> Result<Connection, NetworkError> {
        let device = match &self.device {
            DeviceSelector::Link => {
                let connected = interfaces.iter().find(|interface| interface.has_carrier);
                let connected = connected.ok_or_else(|| NetworkError::NoCarrier {
                    interfaces: interfaces.to_vec(),
                })?;
                DeviceSelector::Name(connected.name.clone())
            }
            DeviceSelector::Boot => DeviceSelector::Mac(boot_mac.ok_or(NetworkError::NoBootInterface)?),
            device => device.clone(),
        };
        let device = match (device, self.binds_to_mac) {
            (DeviceSelector::Name(name), true) => {
                let interface = interfaces.iter().find(|interface| interface.name == name);
                let mac = interface.and_then(|interface| interface.mac);
                DeviceSelector::Mac(mac.ok_or_else(|| NetworkError::UnknownInterface {
                    name,
                    interfaces: interfaces.to_vec(),
                })?)
            }
            (device, _) => device,
        };
        Ok(Connection {
            device,
            ..self.clone()
        })
    }

    /// Whether it is for this interface.
    pub fn is_for(&self, interface: &Interface) -> bool {
        match &self.device {
            DeviceSelector::Any | DeviceSelector::Link | DeviceSelector::Boot => true,
            DeviceSelector::Name(name) => *name == interface.name,
            DeviceSelector::Mac(mac) => interface.mac == Some(self.cloned_mac.unwrap_or(*mac)),
        }
    }
}
