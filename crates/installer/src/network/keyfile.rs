//! A connection as a keyfile of NetworkManager: nm-settings-keyfile(5).

use std::fmt::Write as _;
use std::net::IpAddr;

use osmith_image::Sha256Digest;

use super::{Connection, DeviceSelector, HEAD, Ipv4, Ipv6};

/// The text of the keyfile.
pub(super) fn render(connection: &Connection) -> String {
    let settings = settings(connection);
    let uuid = uuid_of(connection);
    let id = connection.name();
    format!("{HEAD}[connection]\nid={id}\nuuid={uuid}\ntype=ethernet\n{settings}")
}

/// All that follows the name.
fn settings(connection: &Connection) -> String {
    let mut text = String::new();
    write_device(&mut text, connection);
    write_ipv4(&mut text, connection);
    write_ipv6(&mut text, connection);
    text
}

/// The identity of the connection: the same for the same settings.
pub(super) fn uuid_of(connection: &Connection) -> String {
    let digest =
        Sha256Digest::of(format!("osmith {}\n{}", connection.name(), settings(connection)).as_bytes());
    let mut id = [0; 16];
    for (to, from) in id.iter_mut().zip(digest.as_bytes()) {
        *to = *from;
    }
    // RFC 9562, version 8: of own making.
    id[6] = id[6] & 0x0f | 0x80;
    id[8] = id[8] & 0x3f | 0x80;
    let mut text = String::new();
    for (place, byte) in id.iter().enumerate() {
        let separator = if [4, 6, 8, 10].contains(&place) { "-" } else { "" };
        let _ = write!(text, "{separator}{byte:02x}");
    }
    text
}

fn write_device(text: &mut String, connection: &Connection) {
    match &connection.device {
        DeviceSelector::Name(name) => line(text, "interface-name", name),
        // One profile, any number of interfaces.
        DeviceSelector::Any => line(text, "multi-connect", 3),
        DeviceSelector::Mac(_) | DeviceSelector::Link | DeviceSelector::Boot => {}
    }
    if !connection.on_boot {
        line(text, "autoconnect", false);
    }
    text.push_str("\n[ethernet]\n");
    if let DeviceSelector::Mac(address) = &connection.device {
        line(text, "mac-address", address);
    }
    if let Some(address) = connection.cloned_mac {
        line(text, "cloned-mac-address", address);
    }
    if let Some(mtu) = connection.mtu {
        line(text, "mtu", mtu);
    }
}

fn write_ipv4(text: &mut String, connection: &Connection) {
    text.push_str("\n[ipv4]\n");
    match connection.ipv4 {
        Ipv4::Disabled => return line(text, "method", "disabled"),
        Ipv4::Dhcp => {
            line(text, "method", "auto");
            if let Some(name) = &connection.dhcp_hostname {
                line(text, "dhcp-hostname", name);
            }
            if let Some(class) = &connection.dhcp_class {
                line(text, "dhcp-vendor-class-identifier", class);
            }
            write_limits(text, connection, connection.takes_ipv4_dns);
        }
        Ipv4::Static {
            address,
            prefix,
            gateway,
        } => {
            line(text, "method", "manual");
            let gateway = gateway.filter(|_| connection.has_default_route).map(IpAddr::from);
            write_address(text, address.into(), prefix, gateway);
            write_limits(text, connection, true);
        }
    }
    write_names(text, connection, true);
    write_routes(text, connection, true);
}

fn write_ipv6(text: &mut String, connection: &Connection) {
    text.push_str("\n[ipv6]\n");
    match connection.ipv6 {
        Ipv6::Disabled => return line(text, "method", "disabled"),
        Ipv6::LinkLocal => return line(text, "method", "link-local"),
        Ipv6::Auto => line(text, "method", "auto"),
        Ipv6::Dhcp => line(text, "method", "dhcp"),
        Ipv6::Static {
            address,
            prefix,
            gateway,
        } => {
            line(text, "method", "manual");
            let gateway = gateway.filter(|_| connection.has_default_route).map(IpAddr::from);
            write_address(text, address.into(), prefix, gateway);
        }
    }
    let is_static = matches!(connection.ipv6, Ipv6::Static { .. });
    write_limits(text, connection, is_static || connection.takes_ipv6_dns);
    write_names(text, connection, false);
    write_routes(text, connection, false);
}

fn write_address(text: &mut String, address: IpAddr, prefix: u8, gateway: Option<IpAddr>) {
    match gateway {
        Some(gateway) => line(text, "address1", format!("{address}/{prefix},{gateway}")),
        None => line(text, "address1", format!("{address}/{prefix}")),
    }
}

fn write_limits(text: &mut String, connection: &Connection, takes_dns: bool) {
    if !takes_dns {
        line(text, "ignore-auto-dns", true);
    }
    if !connection.has_default_route {
        line(text, "never-default", true);
    }
}

/// Name servers of the one kind; domains stand where IPv4 is, or else with IPv6.
fn write_names(text: &mut String, connection: &Connection, is_ipv4: bool) {
    let servers = connection.nameservers.iter();
    let servers: Vec<String> = servers
        .filter(|address| address.is_ipv4() == is_ipv4)
        .map(IpAddr::to_string)
        .collect();
    if !servers.is_empty() {
        line(text, "dns", format!("{};", servers.join(";")));
    }
    let has_domains = is_ipv4 == (connection.ipv4 != Ipv4::Disabled);
    if has_domains && !connection.search.is_empty() {
        line(text, "dns-search", format!("{};", connection.search.join(";")));
    }
}

fn write_routes(text: &mut String, connection: &Connection, is_ipv4: bool) {
    let routes = connection.routes.iter();
    let routes = routes.filter(|route| route.gateway.is_ipv4() == is_ipv4);
    for (number, route) in routes.enumerate() {
        let value = format!("{},{}", route.target, route.gateway);
        line(text, &format!("route{}", number + 1), value);
    }
}

fn line(text: &mut String, name: &str, value: impl std::fmt::Display) {
    let _ = writeln!(text, "{name}={value}");
}
