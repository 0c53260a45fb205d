//! The Kickstart command `network`: its options as plain values become a connection.

use std::fmt;
use std::net::IpAddr;

use osmith_report::{Class, Failure};

use super::address::{
    MacAddress, is_host_name, is_interface_name, parse_address, parse_ipv4_prefix, parse_number,
};
use super::{AddressInNetwork, Connection, DeviceSelector, Ipv4, Ipv6};

/// A line `network`, its options by their names and as they were given; lists are split.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NetworkLine {
    /// `--bootproto=`; `dhcp` if it is not given.
    pub bootproto: Option<String>,
    /// `--device=`; `link` if it is not given.
    pub device: Option<String>,
    /// `--ip=`.
    pub ip: Option<String>,
    /// `--netmask=`.
    pub netmask: Option<String>,
    /// `--gateway=`.
    pub gateway: Option<String>,
    /// `--nameserver=`.
    pub nameservers: Vec<String>,
    /// `--ipv6=`.
    pub ipv6: Option<String>,
    /// `--ipv6gateway=`.
    pub ipv6_gateway: Option<String>,
    /// `--noipv4`.
    pub no_ipv4: bool,
    /// `--noipv6`.
    pub no_ipv6: bool,
    /// `--nodns`.
    pub no_dns: bool,
    /// `--nodefroute`.
    pub no_default_route: bool,
    /// `--mtu=`.
    pub mtu: Option<String>,
    /// `--onboot=`.
    pub on_boot: Option<bool>,
    /// `--hostname=`.
    pub hostname: Option<String>,
    /// `--bindto=`.
    pub bind_to: Option<String>,
    /// `--ipv4-dns-search=`.
    pub ipv4_dns_search: Vec<String>,
    /// `--ipv6-dns-search=`.
    pub ipv6_dns_search: Vec<String>,
    /// `--ipv4-ignore-auto-dns`.
    pub ipv4_ignores_dns: bool,
    /// `--ipv6-ignore-auto-dns`.
    pub ipv6_ignores_dns: bool,
    /// `--dhcpclass=`.
    pub dhcp_class: Option<String>,
    /// The options of this line that nothing here knows how to do, with their values: `--vlanid`, `--bondslaves`,
    /// `--bridgeslaves`, `--teamslaves`, `--essid`, `--ethtool` and such.
    pub others: Vec<(String, String)>,
}

/// What is wrong with an option.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineProblem {
    /// The option: `--netmask`.
    pub option: String,
    /// Its value; empty if it is missing.
    pub value: String,
    /// What is wrong with it.
    pub reason: String,
    /// A right one.
    pub example: String,
}

impl fmt::Display for LineProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = match self.value.as_str() {
            "" => String::new(),
            value => format!("={value}"),
        };
        write!(f, "network {}{value}: {}", self.option, self.reason)?;
        match self.example.as_str() {
            "" => Ok(()),
            example => write!(f, " (right is: {example})"),
        }
    }
}

/// A line that makes no connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .problems.iter().map(LineProblem::to_string).collect::<Vec<_>>().join("\n"))]
pub struct LineError {
    /// All that is wrong; at least one.
    pub problems: Vec<LineProblem>,
}

impl Failure for LineError {
    fn class(&self) -> Class {
        Class::Input
    }
}

impl NetworkLine {
    /// Whether it only names the machine, and asks for no connection.
    pub fn is_only_a_name(&self) -> bool {
        let nothing_else = NetworkLine {
            hostname: self.hostname.clone(),
            on_boot: self.on_boot,
            ..NetworkLine::default()
        };
        self.hostname.is_some() && *self == nothing_else
    }

    /// The connection that it asks for.
    pub fn connection(&self) -> Result<Connection, LineError> {
        let mut reader = Reader::default();
        let connection = reader.read(self);
        match reader.problems.is_empty() {
            true => Ok(connection),
            false => Err(LineError {
                problems: reader.problems,
            }),
        }
    }
}

#[derive(Default)]
struct Reader {
    problems: Vec<LineProblem>,
}

impl Reader {
    fn problem(&mut self, option: &str, value: &str, reason: impl Into<String>, example: &str) {
        self.problems.push(LineProblem {
            option: option.to_owned(),
            value: value.to_owned(),
            reason: reason.into(),
            example: example.to_owned(),
        });
    }

    /// The value of an option, if it is given and right.
    fn parsed<T>(
        &mut self,
        option: &str,
        value: Option<&str>,
        parse: impl Fn(&str) -> Option<T>,
        (reason, example): (&str, &str),
    ) -> Option<T> {
        let value = value?;
        let parsed = parse(value);
        if parsed.is_none() {
            self.problem(option, value, reason, example);
        }
        parsed
    }

    fn read(&mut self, line: &NetworkLine) -> Connection {
        for (option, value) in &line.others {
            self.problem(option, value, "it is not supported yet", "");
        }
        let device = self.device(line.device.as_deref().unwrap_or("link"));
        let mtu_of = |text: &str| parse_number(text).filter(|mtu| (68..=65_535).contains(mtu));
        let nameservers = line.nameservers.iter().filter_map(|text| {
            self.parsed(
                "--nameserver",
                Some(text),
                parse_address,
                ("it is no address", "--nameserver=192.0.2.53"),
            )
        });
        let nameservers: Vec<IpAddr> = nameservers.collect();
        let name = |text: &str| is_host_name(text).then(|| text.to_owned());
        let mut search: Vec<String> = Vec::new();
        for domain in line.ipv4_dns_search.iter().chain(&line.ipv6_dns_search) {
            let words = ("it is no domain", "--ipv4-dns-search=example.org");
            let domain = self.parsed("--ipv4-dns-search", Some(domain), name, words);
            search.extend(domain.filter(|domain| !search.contains(domain)));
        }
        let hostname_words = ("it is no name of a machine", "--hostname=web1.example.org");
        let class_of = |text: &str| {
            // What systemd-networkd takes, and needs no quoting in a keyfile.
            let is_plain = |byte: u8| (b' '..=b'~').contains(&byte) && !b"\"'\\".contains(&byte);
            let is_sound = !text.is_empty() && text.trim() == text && text.bytes().all(is_plain);
            is_sound.then(|| text.to_owned())
        };
        Connection {
            ipv4: self.ipv4(line),
            ipv6: self.ipv6(line),
            nameservers,
            search,
            routes: Vec::new(),
            mtu: self.parsed(
                "--mtu",
                line.mtu.as_deref(),
                mtu_of,
                ("it is no length of packets", "--mtu=1500"),
            ),
            cloned_mac: None,
            dhcp_hostname: self.parsed("--hostname", line.hostname.as_deref(), name, hostname_words),
            dhcp_class: self.parsed(
                "--dhcpclass",
                line.dhcp_class.as_deref(),
                class_of,
                ("it is empty, or has characters other than printable ASCII without quotes and backslashes", "--dhcpclass=kickstart"),
            ),
            has_default_route: !line.no_default_route,
            takes_ipv4_dns: !line.no_dns && !line.ipv4_ignores_dns,
            takes_ipv6_dns: !line.no_dns && !line.ipv6_ignores_dns,
            on_boot: line.on_boot.unwrap_or(true),
            binds_to_mac: self.binds_to_mac(line),
            device,
        }
    }

    fn binds_to_mac(&mut self, line: &NetworkLine) -> bool {
        let is_mac = |text: &str| (text == "mac").then_some(());
        let words = ("it can only be mac", "--bindto=mac");
        self.parsed("--bindto", line.bind_to.as_deref(), is_mac, words)
            .is_some()
    }

    fn device(&mut self, text: &str) -> DeviceSelector {
        match text {
            "link" => return DeviceSelector::Link,
            "bootif" => return DeviceSelector::Boot,
            _ => {}
        }
        if let Ok(address) = text.parse::<MacAddress>() {
            return DeviceSelector::Mac(address);
        }
        if !is_interface_name(text) {
            let reason = "it is neither a name of an interface nor an address of a card, link or bootif";
            self.problem("--device", text, reason, "--device=ens3");
        }
        DeviceSelector::Name(text.to_owned())
    }

    fn ipv4(&mut self, line: &NetworkLine) -> Ipv4 {
        let v4 = |text: &str| match parse_address(text) {
            Some(IpAddr::V4(address)) => Some(address),
            _ => None,
        };
        let words = |example| ("it is no IPv4 address", example);
        let address = self.parsed("--ip", line.ip.as_deref(), v4, words("--ip=192.0.2.10"));
        let gateway = self.parsed(
            "--gateway",
            line.gateway.as_deref(),
            v4,
            words("--gateway=192.0.2.1"),
        );
        let mask_words = ("it is no network mask", "--netmask=255.255.255.0");
        let prefix = self.parsed(
            "--netmask",
            line.netmask.as_deref(),
            parse_ipv4_prefix,
            mask_words,
        );
        if line.no_ipv4 {
            return Ipv4::Disabled;
        }
        match line.bootproto.as_deref().unwrap_or("dhcp") {
            "dhcp" | "bootp" => Ipv4::Dhcp,
            "static" => {
                if line.ip.is_none() && line.ipv6.is_some() {
                    return Ipv4::Disabled;
                }
                for (option, value, example) in [
                    ("--ip", &line.ip, "--ip=192.0.2.10"),
                    ("--netmask", &line.netmask, "--netmask=255.255.255.0"),
                ] {
                    if value.is_none() {
                        self.problem(
                            option,
                            "",
                            "it is missing, and --bootproto=static needs it",
                            example,
                        );
                    }
                }
                match (address, prefix) {
                    (Some(address), Some(prefix)) => Ipv4::Static {
                        address,
                        prefix,
                        gateway,
                    },
                    _ => Ipv4::Disabled,
                }
            }
            other => {
                let reason = match other {
                    "query" | "ibft" => "it is not supported",
                    _ => "it is neither dhcp nor static",
                };
                self.problem("--bootproto", other, reason, "--bootproto=dhcp");
                Ipv4::Dhcp
            }
        }
    }

    fn ipv6(&mut self, line: &NetworkLine) -> Ipv6 {
        let v6 = |text: &str| match parse_address(text) {
            Some(IpAddr::V6(address)) => Some(address),
            _ => None,
        };
        let words = ("it is no IPv6 address", "--ipv6gateway=2001:db8::1");
        let gateway = self.parsed("--ipv6gateway", line.ipv6_gateway.as_deref(), v6, words);
        if line.no_ipv6 {
            return Ipv6::Disabled;
        }
        match line.ipv6.as_deref() {
            None | Some("auto" | "") => Ipv6::Auto,
            Some("dhcp") => Ipv6::Dhcp,
            Some(text) => {
                let with_prefix = |text: &str| match text.contains('/') {
                    true => AddressInNetwork::parse(text),
                    false => AddressInNetwork::parse(&format!("{text}/64")),
                };
                match with_prefix(text) {
                    Some(AddressInNetwork {
                        address: IpAddr::V6(address),
                        prefix,
                    }) => Ipv6::Static {
                        address,
                        prefix,
                        gateway,
                    },
                    _ => {
                        let reason =
                            "it is neither auto nor dhcp nor an IPv6 address with the length of its network";
                        self.problem("--ipv6", text, reason, "--ipv6=2001:db8::10/64");
                        Ipv6::Auto
                    }
                }
            }
        }
    }
}
