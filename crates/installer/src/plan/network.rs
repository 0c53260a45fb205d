//! The lines `network` of a Kickstart file as connections.

use osmith_kickstart::{self as kickstart, BootProtocol, Kickstart, NetworkDevice};

use super::problems::Problems;
use crate::network::{Connection, DeviceSelector, Ipv4, Ipv6, MacAddress};

/// The connections, in the order of the file. What makes none was refused by the language or is refused here.
pub(super) fn connections(kickstart: &Kickstart, problems: &mut Problems) -> Vec<Connection> {
    let lines = kickstart.networks.iter().filter(|network| network.has_connection);
    lines.map(|network| connection(network, problems)).collect()
}

fn connection(network: &kickstart::Network, problems: &mut Problems) -> Connection {
    let place = Some(&network.position);
    let is_plain = |class: &String| class.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    if network.dhcp_class.as_ref().is_some_and(|class| !is_plain(class)) {
        let message = "--dhcpclass has letters that DHCP servers are not told";
        problems.refuse(place, message, "write letters, digits and signs of ASCII");
    }
    let mut search = network.ipv4_dns_search.clone();
    let further = network.ipv6_dns_search.iter();
    search.extend(
        further
            .filter(|name| !network.ipv4_dns_search.contains(name))
            .cloned(),
    );
    Connection {
        ipv4: ipv4(network),
        ipv6: ipv6(network),
        nameservers: if network.no_dns {
            Vec::new()
        } else {
            network.nameservers.clone()
        },
        search,
        mtu: network.mtu_bytes,
        dhcp_hostname: network.hostname.clone(),
        dhcp_class: network.dhcp_class.clone(),
        has_default_route: !network.no_default_route,
        takes_ipv4_dns: !network.no_dns && !network.ipv4_ignore_auto_dns,
        takes_ipv6_dns: !network.no_dns && !network.ipv6_ignore_auto_dns,
        on_boot: network.on_boot.unwrap_or(true),
        binds_to_mac: network.bind_to.is_some(),
        ..Connection::automatic(device(&network.device))
    }
}

fn device(device: &NetworkDevice) -> DeviceSelector {
    match device {
        NetworkDevice::Link => DeviceSelector::Link,
        NetworkDevice::BootIf => DeviceSelector::Boot,
        NetworkDevice::Mac(bytes) => DeviceSelector::Mac(MacAddress(*bytes)),
        NetworkDevice::Name(name) => DeviceSelector::Name(name.clone()),
    }
}

fn ipv4(network: &kickstart::Network) -> Ipv4 {
    match (
        network.no_ipv4,
        network.protocol,
        network.address,
        network.prefix_length,
    ) {
        (true, ..) => Ipv4::Disabled,
        (false, BootProtocol::Static, Some(address), Some(prefix)) => Ipv4::Static {
            address,
            prefix,
            gateway: network.gateway,
        },
        // One without an address has one of IPv6, or was refused by the language.
        (false, BootProtocol::Static, ..) => Ipv4::Disabled,
        (false, BootProtocol::Dhcp | BootProtocol::Ibft, ..) => Ipv4::Dhcp,
    }
}

fn ipv6(network: &kickstart::Network) -> Ipv6 {
    match (network.no_ipv6, network.ipv6) {
        (true, _) => Ipv6::Disabled,
        (false, None | Some(kickstart::Ipv6::Auto)) => Ipv6::Auto,
        (false, Some(kickstart::Ipv6::Dhcp)) => Ipv6::Dhcp,
        (false, Some(kickstart::Ipv6::Address(address, prefix))) => Ipv6::Static {
            address,
            prefix,
            gateway: network.ipv6_gateway,
        },
    }
}
