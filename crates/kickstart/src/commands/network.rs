//! `network`: one line, one connection, or only the machine's name.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::arguments::{Arguments, comma_separated};
use crate::model::{BindTo, BootProtocol, Ipv6, Network, NetworkDevice};
use crate::reading::Reading;

/// The longest name that the kernel gives an interface.
const MAX_NAME_BYTES: usize = 15;

pub(crate) fn network(at: &Arguments<'_>, reading: &mut Reading) {
    if !is_consistent(at, reading) {
        return;
    }
    note_what_cannot_be_done(at, reading);
    let protocol = match at.text("--bootproto") {
        Some("static") => BootProtocol::Static,
        Some("ibft") => BootProtocol::Ibft,
        _ => BootProtocol::Dhcp,
    };
    let address = address::<Ipv4Addr>(at, "--ip", reading);
    let prefix_length = netmask(at, reading);
    note_static(protocol, at, reading);
    let network = Network {
        position: at.position(),
        has_connection: at.has_other_than("--hostname"),
        hostname: hostname(at, reading),
        device: device(at, reading),
        protocol,
        address,
        prefix_length,
        gateway: self::address(at, "--gateway", reading),
        nameservers: nameservers(at, reading),
        ipv6: ipv6(at, reading),
        ipv6_gateway: self::address(at, "--ipv6gateway", reading),
        no_ipv4: at.has("--noipv4"),
        no_ipv6: at.has("--noipv6"),
        no_dns: at.has("--nodns"),
        no_default_route: at.has("--nodefroute"),
        mtu_bytes: number(at, "--mtu", 68, 65535, reading),
        on_boot: at.boolean("--onboot"),
        activate: at
            .last_of(&["--activate", "--no-activate"])
            .map(|option| option == "--activate"),
        bind_to: at.text("--bindto").map(|_| BindTo::Mac),
        interface_name: interface_name(at, reading),
        vlan_id: number(at, "--vlanid", 1, 4094, reading).and_then(|id| u16::try_from(id).ok()),
        bond_members: comma_separated(at.text("--bondslaves").unwrap_or_default()),
        bond_options: options(at.text("--bondopts").unwrap_or_default()),
        bridge_members: comma_separated(at.text("--bridgeslaves").unwrap_or_default()),
        bridge_options: options(at.text("--bridgeopts").unwrap_or_default()),
        team: at
            .filled("--teamslaves")
            .map(|members| (members, at.filled("--teamconfig"))),
        ipv4_dns_search: comma_separated(at.text("--ipv4-dns-search").unwrap_or_default()),
        ipv6_dns_search: comma_separated(at.text("--ipv6-dns-search").unwrap_or_default()),
        ipv4_ignore_auto_dns: at.has("--ipv4-ignore-auto-dns"),
        ipv6_ignore_auto_dns: at.has("--ipv6-ignore-auto-dns"),
        ethtool: at.filled("--ethtool"),
        dhcp_class: at.filled("--dhcpclass"),
        essid: at.filled("--essid"),
        wifi_key: at.secret("--wpakey").or_else(|| at.secret("--wepkey")),
    };
    note_repeats(&network, at, reading);
    reading.kickstart.networks.push(network);
}

/// Notes what a static address lacks.
fn note_static(protocol: BootProtocol, at: &Arguments<'_>, reading: &mut Reading) {
    // With IPv6 alone there is no other address.
    if protocol != BootProtocol::Static || at.has("--noipv4") || at.has("--ipv6") {
        return;
    }
    for option in ["--ip", "--netmask"] {
        if !at.has(option) {
            let message = format!("a static address needs {option}");
            reading.unsupported(at, "--bootproto", message, format!("add {option}=…"));
        }
    }
}

fn is_consistent(at: &Arguments<'_>, reading: &mut Reading) -> bool {
    let mut refuse = |option: &str, message: &str, remedy: &str| {
        reading.error(at, option, message, remedy);
        false
    };
    if let Some(text) = at.filled("--bridgeopts") {
        if at.filled("--bridgeslaves").is_none() {
            return refuse(
                "--bridgeopts",
                "--bridgeopts needs --bridgeslaves",
                "name the bridge's members",
            );
        }
        let is_pair = |part: &str| {
            part.split_once('=')
                .is_some_and(|(_, value)| !value.is_empty() && !value.contains('='))
        };
        if !text.split(',').map(str::trim).all(is_pair) {
            return refuse(
                "--bridgeopts",
                "--bridgeopts are names and values between commas",
                "write --bridgeopts=NAME=VALUE,NAME=VALUE",
            );
        }
    }
    if at.has("--bindto") && at.filled("--vlanid").is_some() && at.filled("--bondopts").is_none() {
        return refuse(
            "--bindto",
            "a VLAN has no hardware address to be bound to",
            "take --bindto out",
        );
    }
    if at.filled("--device").is_none() {
        let texts = ["--ipv4-dns-search", "--ipv6-dns-search"];
        let flags = ["--ipv4-ignore-auto-dns", "--ipv6-ignore-auto-dns"];
        let given = texts
            .into_iter()
            .filter(|option| at.filled(option).is_some())
            .chain(flags.into_iter().filter(|option| at.has(option)))
            .next();
        if let Some(option) = given {
            return refuse(
                option,
                &format!("{option} needs --device"),
                "say which interface it is for",
            );
        }
    }
    true
}

fn note_what_cannot_be_done(at: &Arguments<'_>, reading: &mut Reading) {
    for (option, what, remedy) in [
        (
            "--essid",
            "join a wireless network",
            "use a cable for the installation",
        ),
        (
            "--wpakey",
            "join a wireless network",
            "use a cable for the installation",
        ),
        (
            "--wepkey",
            "join a wireless network",
            "use a cable for the installation",
        ),
        ("--teamslaves", "set up a team of interfaces", "do it in %post"),
        ("--teamconfig", "set up a team of interfaces", "do it in %post"),
        (
            "--bondslaves",
            "set up a bond of interfaces yet",
            "do it in %post",
        ),
        ("--bridgeslaves", "set up a bridge yet", "do it in %post"),
        ("--vlanid", "set up a VLAN yet", "do it in %post"),
    ] {
        if at.has(option) {
            reading.unsupported(at, option, format!("osmith cannot {what}"), remedy);
        }
    }
    if at.text("--bootproto") == Some("ibft") {
        let message = "osmith does not read the firmware's iSCSI table";
        reading.unsupported(at, "--bootproto", message, "write --bootproto=dhcp");
    }
    for (option, why) in [
        ("--ethtool", "settings of the hardware are the image's"),
        ("--notksdevice", "it has no effect"),
    ] {
        if at.has(option) {
            reading.warning(at, option, format!("{option} is ignored: {why}"), "");
        }
    }
}

fn note_repeats(network: &Network, at: &Arguments<'_>, reading: &mut Reading) {
    if !network.has_connection {
        return;
    }
    let device = at.text("--device").unwrap_or("link").to_owned();
    let device = match at.text("--vlanid") {
        Some(id) => format!("{device}.{id}"),
        None => device,
    };
    if reading.is_used_again("network", &device) {
        let message = format!("there is a network line for {device} already");
        reading.warning(at, "--device", message, "keep one of them");
    }
}

fn nonsense(at: &Arguments<'_>, option: &str, reading: &mut Reading, expected: &str) {
    let text = at.text(option).unwrap_or_default();
    let message = format!("{option}: '{text}' is no {expected}");
    reading.unsupported(at, option, message, "");
}

fn address<A: std::str::FromStr>(at: &Arguments<'_>, option: &str, reading: &mut Reading) -> Option<A> {
    let text = at.text(option)?;
    let address = text.trim().parse().ok();
    if address.is_none() {
        nonsense(at, option, reading, "address");
    }
    address
}

/// A netmask as the length of a prefix.
fn netmask(at: &Arguments<'_>, reading: &mut Reading) -> Option<u8> {
    let mask = u32::from(address::<Ipv4Addr>(at, "--netmask", reading)?);
    let length = mask.leading_ones();
    if length + mask.trailing_zeros() != 32 && mask != 0 {
        nonsense(at, "--netmask", reading, "netmask");
        return None;
    }
    u8::try_from(length).ok()
}

fn nameservers(at: &Arguments<'_>, reading: &mut Reading) -> Vec<IpAddr> {
    let Some(text) = at.text("--nameserver") else {
        return Vec::new();
    };
    let parts = comma_separated(text);
    let addresses: Vec<_> = parts.iter().filter_map(|part| part.parse().ok()).collect();
    if addresses.is_empty() || addresses.len() < parts.len() {
        nonsense(at, "--nameserver", reading, "list of addresses");
    }
    addresses
}

fn ipv6(at: &Arguments<'_>, reading: &mut Reading) -> Option<Ipv6> {
    let found = match at.text("--ipv6")? {
        "auto" => Some(Ipv6::Auto),
        "dhcp" => Some(Ipv6::Dhcp),
        text => {
            let (address, length) = text.split_once('/').unwrap_or((text, "64"));
            let length = length.parse().ok().filter(|length| *length <= 128);
            address
                .parse::<Ipv6Addr>()
                .ok()
                .zip(length)
                .map(|(address, length)| Ipv6::Address(address, length))
        }
    };
    if found.is_none() {
        nonsense(at, "--ipv6", reading, "auto, dhcp or address with a length");
    }
    found
}

fn number(at: &Arguments<'_>, option: &str, least: u32, most: u32, reading: &mut Reading) -> Option<u32> {
    let number = at.text(option)?.trim().parse().ok();
    let number = number.filter(|number| (least..=most).contains(number));
    if number.is_none() {
        nonsense(at, option, reading, &format!("number from {least} to {most}"));
    }
    number
}

fn hostname(at: &Arguments<'_>, reading: &mut Reading) -> Option<String> {
    let name = at.text("--hostname")?;
    let is_label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    // The kernel's limit.
    if name.len() > 64 || !name.split('.').all(is_label) {
        nonsense(at, "--hostname", reading, "name of a machine");
        return None;
    }
    Some(name.to_owned())
}

fn is_interface_name(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= MAX_NAME_BYTES
        && !matches!(text, "." | "..")
        && text
            .chars()
            .all(|c| c.is_ascii_graphic() && !matches!(c, '/' | ':' | '%'))
}

fn interface_name(at: &Arguments<'_>, reading: &mut Reading) -> Option<String> {
    let name = at.text("--interfacename")?;
    if !is_interface_name(name) {
        nonsense(at, "--interfacename", reading, "name of an interface");
        return None;
    }
    Some(name.to_owned())
}

fn device(at: &Arguments<'_>, reading: &mut Reading) -> NetworkDevice {
    match at.text("--device") {
        None | Some("link") => NetworkDevice::Link,
        Some("bootif") => NetworkDevice::BootIf,
        Some(text) => {
            if let Some(address) = mac(text) {
                return NetworkDevice::Mac(address);
            }
            if !is_interface_name(text) {
                nonsense(at, "--device", reading, "name or address of an interface");
            }
            NetworkDevice::Name(text.to_owned())
        }
    }
}

fn mac(text: &str) -> Option<[u8; 6]> {
    let mut address = [0; 6];
    let mut parts = text.split([':', '-']);
    for byte in &mut address {
        let is_hex = |part: &&str| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
        let part = parts.next().filter(is_hex)?;
        *byte = u8::from_str_radix(part, 16).ok()?;
    }
    parts.next().is_none().then_some(address)
}

/// `name=value` between commas, or between semicolons if values have commas.
fn options(text: &str) -> Vec<(String, String)> {
    let separator = if text.contains(';') { ';' } else { ',' };
    text.split(separator)
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(|part| {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            (name.to_owned(), value.to_owned())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hardware_addresses() {
        assert_eq!(mac("52:54:00:aa:bb:CC"), Some([0x52, 0x54, 0, 0xaa, 0xbb, 0xcc]));
        for text in [
            "52:54:00:aa:bb",
            "52:54:00:aa:bb:cc:dd",
            "eth0",
            "+1:54:00:aa:bb:cc",
        ] {
            assert_eq!(mac(text), None, "{text}");
        }
    }

    #[test]
    fn options_of_bonds_may_have_commas() {
        assert_eq!(
            options("mode=4;primary=a,b"),
            [
                ("mode".to_owned(), "4".to_owned()),
                ("primary".to_owned(), "a,b".to_owned())
            ]
        );
        assert_eq!(options("a=1, b=2").len(), 2);
    }
}
