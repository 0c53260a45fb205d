//! A connection as a file of systemd-networkd, systemd.network(5), and a name of an interface as one of udev,
//! systemd.link(5).

use std::fmt::{self, Write as _};

use super::{Connection, DeviceSelector, HEAD, Ipv4, Ipv6};
use crate::boot_options::InterfaceName;

/// The text of the `.network` file.
pub(super) fn render(connection: &Connection) -> String {
    let sections = [
        ("Match", matches(connection)),
        ("Link", link(connection)),
        ("Network", network(connection)),
        ("DHCPv4", dhcp_ipv4(connection)),
        ("DHCPv6", dhcp_ipv6(connection)),
        ("IPv6AcceptRA", routers(connection)),
    ];
    let mut text = HEAD.to_owned();
    let mut separator = "";
    let mut add = |name: &str, section: &Section| {
        if !section.0.is_empty() {
            let _ = write!(text, "{separator}[{name}]\n{}", section.0);
            separator = "\n";
        }
    };
    for (name, section) in &sections {
        add(name, section);
    }
    for route in &connection.routes {
        let mut section = Section::default();
        section.line("Destination", route.target);
        section.line("Gateway", route.gateway);
        add("Route", &section);
    }
    text
}

/// The text of the `.link` file.
pub(super) fn render_link(name: &InterfaceName) -> String {
    format!(
        "{HEAD}[Match]\nMACAddress={}\n\n[Link]\nName={}\n",
        name.mac, name.name
    )
}

#[derive(Default)]
struct Section(String);

impl Section {
    fn line(&mut self, name: &str, value: impl fmt::Display) {
        let _ = writeln!(self.0, "{name}={value}");
    }

    fn line_if(&mut self, is_needed: bool, name: &str, value: impl fmt::Display) {
        if is_needed {
            self.line(name, value);
        }
    }
}

fn matches(connection: &Connection) -> Section {
    let mut section = Section::default();
    match &connection.device {
        DeviceSelector::Name(name) => section.line("Name", name),
        DeviceSelector::Mac(address) => {
            section.line("MACAddress", address);
            // What is made of the card later, a bridge or a VLAN, has the same address.
            section.line("Kind", "!*");
        }
        DeviceSelector::Any | DeviceSelector::Link | DeviceSelector::Boot => {
            section.line("Type", "ether");
            section.line("Kind", "!*");
        }
    }
    section
}

fn link(connection: &Connection) -> Section {
    let mut section = Section::default();
    if let Some(address) = connection.cloned_mac {
        section.line("MACAddress", address);
    }
    if let Some(mtu) = connection.mtu {
        section.line("MTUBytes", mtu);
    }
    section.line_if(!connection.on_boot, "ActivationPolicy", "manual");
    section.line_if(!connection.on_boot, "RequiredForOnline", "no");
    section
}

fn network(connection: &Connection) -> Section {
    let mut section = Section::default();
    let dhcp = match (connection.ipv4, connection.ipv6) {
        (Ipv4::Dhcp, Ipv6::Dhcp) => "yes",
        (Ipv4::Dhcp, _) => "ipv4",
        (_, Ipv6::Dhcp) => "ipv6",
        _ => "no",
    };
    section.line("DHCP", dhcp);
    let has_ipv6 = connection.ipv6 != Ipv6::Disabled;
    section.line("LinkLocalAddressing", if has_ipv6 { "ipv6" } else { "no" });
    let listens = matches!(connection.ipv6, Ipv6::Auto | Ipv6::Dhcp);
    section.line("IPv6AcceptRA", if listens { "yes" } else { "no" });
    if let Ipv4::Static {
        address,
        prefix,
        gateway,
    } = connection.ipv4
    {
        section.line("Address", format_args!("{address}/{prefix}"));
        if let Some(gateway) = gateway.filter(|_| connection.has_default_route) {
            section.line("Gateway", gateway);
        }
    }
    if let Ipv6::Static {
        address,
        prefix,
        gateway,
    } = connection.ipv6
    {
        section.line("Address", format_args!("{address}/{prefix}"));
        if let Some(gateway) = gateway.filter(|_| connection.has_default_route) {
            section.line("Gateway", gateway);
        }
    }
    for server in &connection.nameservers {
        section.line("DNS", server);
    }
    section.line_if(
        !connection.search.is_empty(),
        "Domains",
        connection.search.join(" "),
    );
    section
}

fn dhcp_ipv4(connection: &Connection) -> Section {
    let mut section = Section::default();
    if connection.ipv4 != Ipv4::Dhcp {
        return section;
    }
    if let Some(name) = &connection.dhcp_hostname {
        section.line("Hostname", name);
    }
    if let Some(class) = &connection.dhcp_class {
        section.line("VendorClassIdentifier", class);
    }
    section.line("UseDomains", if connection.takes_ipv4_dns { "yes" } else { "no" });
    section.line_if(!connection.takes_ipv4_dns, "UseDNS", "no");
    section.line_if(!connection.has_default_route, "UseGateway", "no");
    section
}

fn dhcp_ipv6(connection: &Connection) -> Section {
    let mut section = Section::default();
    let may_use = matches!(connection.ipv6, Ipv6::Auto | Ipv6::Dhcp);
    // Routers need not say that there is a DHCP server.
    section.line_if(connection.ipv6 == Ipv6::Dhcp, "WithoutRA", "solicit");
    section.line_if(may_use && !connection.takes_ipv6_dns, "UseDNS", "no");
    section
}

fn routers(connection: &Connection) -> Section {
    let mut section = Section::default();
    if matches!(connection.ipv6, Ipv6::Auto | Ipv6::Dhcp) {
        section.line_if(!connection.takes_ipv6_dns, "UseDNS", "no");
        section.line_if(!connection.has_default_route, "UseGateway", "no");
    }
    section
}
