//! What the kernel command line asks the installer for.
//!
//! Sources: Anaconda's documentation of its boot options (`inst.*`), dracut.cmdline(7) for the network. All that is
//! wrong is reported at once. Left out on purpose: what only a program with a display needs, which is noted and
//! ignored; network storage; bonds, bridges and VLANs, which are refused.

mod error;
mod ip;
mod source;

use std::net::IpAddr;
use std::time::Duration;

use osmith_machine::kernel_arguments::split;

pub use error::{BootOptionsError, BootProblem};
pub use ip::{IpArgument, IpMethod};
pub use source::{DEFAULT_PATH, DeviceName, KickstartSource, SourceError};

use crate::network::{
    AddressInNetwork, MacAddress, Route, is_host_name, is_interface_name, parse_address, parse_number,
};

/// The port of syslog (RFC 5426).
pub const SYSLOG_PORT: u16 = 514;
/// So long the network may take if nothing else is said.
pub const NETWORK_WAIT: Duration = Duration::from_secs(60);

/// What the kernel command line asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootOptions {
    /// Where the Kickstart file is, one after the other to be tried; none if nothing was said.
    pub kickstart: Vec<KickstartSource>,
    /// Whether the network cards are told to who serves the Kickstart file (`inst.ks.sendmac`).
    pub sends_mac: bool,
    /// Whether the serial number of the machine is told to him (`inst.ks.sendsn`).
    pub sends_serial: bool,
    /// Whether warnings about the Kickstart file are errors (`inst.ksstrict`).
    pub strict: bool,
    /// Whether the certificates of servers are checked; not with `inst.noverifyssl`.
    pub verifies_tls: bool,
    /// The proxy for all that is fetched: `http://USER:PASSWORD@proxy.example.org:3128`.
    pub proxy: Option<String>,
    /// How long the network may take.
    pub network_wait: Duration,
    /// Who is told all messages.
    pub syslog: Option<SyslogServer>,
    /// The arguments `ip=`.
    pub addresses: Vec<IpArgument>,
    /// The arguments `nameserver=`.
    pub nameservers: Vec<IpAddr>,
    /// The interface for an `ip=` without one (`bootdev=`).
    pub boot_device: Option<String>,
    /// The network card that the machine was started from (`BOOTIF=`).
    pub boot_mac: Option<MacAddress>,
    /// The names that network cards get (`ifname=`).
    pub interface_names: Vec<InterfaceName>,
    /// The arguments `rd.route=`.
    pub routes: Vec<BootRoute>,
    /// The values of `console=`, in their order.
    pub consoles: Vec<String>,
    /// What is not heeded, and why.
    pub ignored: Vec<Ignored>,
}

/// The name that a network card gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InterfaceName {
    /// The name.
    pub name: String,
    /// The card.
    pub mac: MacAddress,
}

/// A route, and the interface it belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootRoute {
    /// The route.
    pub route: Route,
    /// The interface, if it was said.
    pub interface: Option<String>,
}

/// Who is told messages by syslog, over UDP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyslogServer {
    /// A name or an address, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// An argument that is not heeded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ignored {
    /// As it was given.
    pub argument: String,
    /// Why.
    pub reason: &'static str,
}

impl Default for BootOptions {
    fn default() -> Self {
        BootOptions {
            kickstart: Vec::new(),
            sends_mac: false,
            sends_serial: false,
            strict: false,
            verifies_tls: true,
            proxy: None,
            network_wait: NETWORK_WAIT,
            syslog: None,
            addresses: Vec::new(),
            nameservers: Vec::new(),
            boot_device: None,
            boot_mac: None,
            interface_names: Vec::new(),
            routes: Vec::new(),
            consoles: Vec::new(),
            ignored: Vec::new(),
        }
    }
}

impl BootOptions {
    /// The host name that `ip=` gives the machine; the installed system has it if the Kickstart file says nothing else.
    pub fn host_name(&self) -> Option<String> {
        self.addresses.iter().find_map(|address| address.hostname.clone())
    }

    /// Reads a kernel command line.
    pub fn parse(command_line: &str) -> Result<Self, BootOptionsError> {
        let mut reader = Reader::default();
        for argument in split(command_line) {
            if let Err(problem) = reader.read(&argument) {
                reader.problems.push(problem.of(&argument));
            }
        }
        reader.finish()
    }
}

/// What is wrong with a value: a reason, and an example of a right argument.
struct Wrong {
    reason: String,
    example: &'static str,
}

impl Wrong {
    fn of(self, argument: &str) -> BootProblem {
        BootProblem {
            argument: without_password(argument),
            reason: self.reason,
            example: self.example.to_owned(),
        }
    }
}

fn wrong<T>(reason: impl Into<String>, example: &'static str) -> Result<T, Wrong> {
    let reason = reason.into();
    Err(Wrong { reason, example })
}

#[derive(Default)]
struct Reader {
    options: BootOptions,
    tries_all: bool,
    problems: Vec<BootProblem>,
}

/// Arguments that only make sense for another installer.
const WITHOUT_EFFECT: [(&str, &str); 12] = [
    ("inst.stage2", "the installer is the image itself"),
    ("inst.repo", "the image is the only source"),
    ("inst.text", "the installation is always unattended"),
    ("inst.cmdline", "the installation is always unattended"),
    ("inst.graphical", "the installation is always unattended"),
    ("inst.rdp", "the installation is always unattended"),
    ("inst.rdp.password", "the installation is always unattended"),
    ("inst.rdp.username", "the installation is always unattended"),
    ("inst.sshd", "the image decides whether it has an SSH server"),
    ("inst.updates", "the installer is part of the image"),
    ("inst.dd", "drivers are part of the image"),
    (
        "inst.nosave",
        "what is kept of the installation has no secrets in it",
    ),
];
const NOT_KNOWN: &str = "it is not known";
const WITHOUT_PREFIX: &str = "only arguments that begin with 'inst.' are for the installer";

impl Reader {
    fn read(&mut self, argument: &str) -> Result<(), Wrong> {
        let (name, value) = match argument.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (argument, None),
        };
        match name {
            "inst.ks.all" => self.tries_all = flag(value, "inst.ks.all")?,
            "inst.ks.sendmac" => self.options.sends_mac = flag(value, "inst.ks.sendmac")?,
            "inst.ks.sendsn" => self.options.sends_serial = flag(value, "inst.ks.sendsn")?,
            "inst.ksstrict" => self.options.strict = flag(value, "inst.ksstrict")?,
            "inst.noverifyssl" => self.options.verifies_tls = !flag(value, "inst.noverifyssl")?,
            "inst.ks" => self.options.kickstart.push(kickstart(value)?),
            "inst.proxy" => self.options.proxy = Some(proxy(value.unwrap_or_default())?),
            "inst.waitfornet" => self.options.network_wait = seconds(value.unwrap_or_default())?,
            "inst.syslog" => self.options.syslog = Some(syslog(value.unwrap_or_default())?),
            "console" => self.options.consoles.extend(value.map(str::to_owned)),
            name if name.starts_with("inst.") => {
                let known = WITHOUT_EFFECT.iter().find(|(known, _)| *known == name);
                self.ignore(argument, known.map_or(NOT_KNOWN, |(_, reason)| reason));
            }
            "ks" | "ksdevice" | "kssendmac" => self.ignore(argument, WITHOUT_PREFIX),
            name => return self.read_network(name, value.unwrap_or_default()),
        }
        Ok(())
    }

    fn read_network(&mut self, name: &str, value: &str) -> Result<(), Wrong> {
        let options = &mut self.options;
        match name {
            "ip" => options.addresses.push(ip::parse(value)?),
            "nameserver" => match parse_address(value) {
                Some(address) => options.nameservers.push(address),
                None => return wrong(format!("'{value}' is no address"), "nameserver=192.0.2.53"),
            },
            "bootdev" => options.boot_device = Some(interface(value, "bootdev=ens3")?),
            "ifname" => options.interface_names.push(interface_name(value)?),
            "BOOTIF" => options.boot_mac = Some(boot_mac(value)?),
            "rd.route" => options.routes.push(route(value)?),
            "bond" | "bridge" | "vlan" | "team" => {
                return wrong(
                    "bonds, bridges, VLANs and teams are not supported yet; reach the network by one interface",
                    "ip=ens3:dhcp",
                );
            }
            _ => {}
        }
        Ok(())
    }

    fn ignore(&mut self, argument: &str, reason: &'static str) {
        self.options.ignored.push(Ignored {
            argument: without_password(argument),
            reason,
        });
    }

    fn finish(mut self) -> Result<BootOptions, BootOptionsError> {
        if !self.tries_all {
            // The last one wins, as everywhere on the command line.
            let earlier = self.options.kickstart.len().saturating_sub(1);
            self.options.kickstart.drain(..earlier);
        }
        match self.problems.is_empty() {
            true => Ok(self.options),
            false => Err(BootOptionsError {
                problems: self.problems,
            }),
        }
    }
}

fn flag(value: Option<&str>, example: &'static str) -> Result<bool, Wrong> {
    match value.map(str::to_ascii_lowercase).as_deref() {
        None | Some("" | "1" | "yes" | "on" | "true") => Ok(true),
        Some("0" | "no" | "off" | "false") => Ok(false),
        Some(other) => wrong(format!("'{other}' is neither yes nor no"), example),
    }
}

fn kickstart(value: Option<&str>) -> Result<KickstartSource, Wrong> {
    const EXAMPLE: &str = "inst.ks=https://server.example.org/ks.cfg";
    match value.unwrap_or_default() {
        "" => wrong(
            "it does not say where the Kickstart file is, and NFS servers that DHCP names are not supported",
            EXAMPLE,
        ),
        text => text
            .parse()
            .or_else(|error: SourceError| wrong(error.reason, error.example)),
    }
}

fn proxy(value: &str) -> Result<String, Wrong> {
    const EXAMPLE: &str = "inst.proxy=http://proxy.example.org:3128";
    let (scheme, rest) = value.split_once("://").unwrap_or(("http", value));
    if !matches!(scheme, "http" | "https") {
        return wrong(
            format!("proxies of the kind '{scheme}' are not supported"),
            EXAMPLE,
        );
    }
    let rest = rest.trim_end_matches('/');
    let host_and_port = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    if parse_host_and_port(host_and_port, 80).is_none() {
        return wrong(format!("'{host_and_port}' is no host with a port"), EXAMPLE);
    }
    Ok(format!("{scheme}://{rest}"))
}

fn seconds(value: &str) -> Result<Duration, Wrong> {
    match parse_number(value) {
        Some(seconds) => Ok(Duration::from_secs(seconds.into())),
        None => wrong(format!("'{value}' is no number of seconds"), "inst.waitfornet=90"),
    }
}

fn syslog(value: &str) -> Result<SyslogServer, Wrong> {
    match parse_host_and_port(value, SYSLOG_PORT) {
        Some((host, port)) => Ok(SyslogServer { host, port }),
        None => wrong(
            format!("'{value}' is no host, and no host with a port"),
            "inst.syslog=log.example.org:514",
        ),
    }
}

/// A host, without the brackets of an IPv6 address, and a port.
fn parse_host_and_port(text: &str, default_port: u16) -> Option<(String, u16)> {
    let is_bare_ipv6 = text.parse::<std::net::Ipv6Addr>().is_ok();
    let (host, port) = match text.rsplit_once(':') {
        Some((host, digits)) if !is_bare_ipv6 && !text.ends_with(']') => {
            let port = parse_number(digits).and_then(|port| u16::try_from(port).ok());
            (host, port.filter(|port| *port != 0)?)
        }
        _ => (text, default_port),
    };
    let address = parse_address(host).map(|address| address.to_string());
    let name = is_host_name(host).then(|| host.to_owned());
    Some((address.or(name)?, port))
}

fn interface(value: &str, example: &'static str) -> Result<String, Wrong> {
    match is_interface_name(value) {
        true => Ok(value.to_owned()),
        false => wrong(format!("'{value}' is no name of an interface"), example),
    }
}

fn interface_name(value: &str) -> Result<InterfaceName, Wrong> {
    const EXAMPLE: &str = "ifname=lan0:52:54:00:aa:bb:cc";
    let Some((name, mac)) = value.split_once(':') else {
        return wrong("it is not a name and the address of a network card", EXAMPLE);
    };
    let name = interface(name, EXAMPLE)?;
    match mac.parse() {
        Ok(mac) => Ok(InterfaceName { name, mac }),
        Err(_) => wrong(format!("'{mac}' is no address of a network card"), EXAMPLE),
    }
}

/// PXELINUX writes the kind of hardware first: 01 is Ethernet.
fn boot_mac(value: &str) -> Result<MacAddress, Wrong> {
    let address = value.strip_prefix("01-").unwrap_or(value);
    address.parse().or_else(|_| {
        wrong(
            format!("'{value}' is no address of a network card"),
            "BOOTIF=01-52-54-00-aa-bb-cc",
        )
    })
}

fn route(value: &str) -> Result<BootRoute, Wrong> {
    const EXAMPLE: &str = "rd.route=198.51.100.0/24:192.0.2.1:ens3";
    let fields = ip::split_fields(value);
    let field = |place: usize| fields.get(place).copied().filter(|field| !field.is_empty());
    let target = field(0).and_then(AddressInNetwork::parse);
    let Some(target) = target else {
        return wrong("it does not begin with a network, as in 198.51.100.0/24", EXAMPLE);
    };
    let gateway = field(1).and_then(parse_address);
    let Some(gateway) = gateway.filter(|gateway| gateway.is_ipv4() == target.address.is_ipv4()) else {
        return wrong("the gateway after the network is no address of its kind", EXAMPLE);
    };
    if fields.len() > 3 {
        return wrong("it has more than a network, a gateway and an interface", EXAMPLE);
    }
    let interface = field(2).map(|name| interface(name, EXAMPLE)).transpose()?;
    Ok(BootRoute {
        route: Route { target, gateway },
        interface,
    })
}

/// The text without the password of an address that is in it.
pub(crate) fn without_password(text: &str) -> String {
    let Some((before, rest)) = text.split_once("://") else {
        return match text.split_once('=') {
            Some((name @ "inst.proxy", value)) => {
                let host = value.rsplit_once('@').map_or(value, |(_, host)| host);
                format!("{name}={host}")
            }
            _ => text.to_owned(),
        };
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    format!("{before}://{host}{path}")
}

#[cfg(test)]
mod tests;
