//! The argument `ip=`, in the forms of dracut.cmdline(7):
//!
//! ```text
//! ip=METHOD
//! ip=INTERFACE:METHOD[:[MTU][:MAC]]
//! ip=ADDRESS:[PEER]:[GATEWAY]:MASK:[HOSTNAME]:[INTERFACE]:[METHOD][:[MTU][:MAC]]
//! ip=ADDRESS:[PEER]:[GATEWAY]:MASK:[HOSTNAME]:[INTERFACE]:[METHOD]:DNS1[:DNS2[:NTP]]
//! ```
//!
//! Addresses of IPv6 stand in brackets. The peer is the server of a root file system over NFS, which there is not.

use std::net::IpAddr;

use super::{Wrong, interface, wrong};
use crate::network::{
    AddressInNetwork, MacAddress, is_host_name, parse_address, parse_ipv4_prefix, parse_number,
};

const EXAMPLE: &str = "ip=192.0.2.10::192.0.2.1:255.255.255.0:web1:ens3:none";
const SHORT_EXAMPLE: &str = "ip=ens3:dhcp";
/// What IPv6 needs.
const MTU_RANGE: std::ops::RangeInclusive<u32> = 68..=65_535;

/// How an interface gets its addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IpMethod {
    /// IPv4 by DHCP, IPv6 as routers say.
    Dhcp,
    /// IPv6 by DHCP.
    Dhcp6,
    /// IPv6 as routers say.
    Auto6,
    /// IPv6 for the link alone.
    LinkLocal6,
    /// Only what is said.
    Static,
}

/// An argument `ip=`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IpArgument {
    /// For which interface; all if there is none and no address.
    pub interface: Option<String>,
    /// How it gets its addresses.
    pub method: IpMethod,
    /// The address that it has.
    pub address: Option<AddressInNetwork>,
    /// Through whom all that is elsewhere is reached; of the same kind as the address.
    pub gateway: Option<IpAddr>,
    /// The name of the machine.
    pub hostname: Option<String>,
    /// Who is asked for names.
    pub nameservers: Vec<IpAddr>,
    /// The longest packet, in bytes.
    pub mtu: Option<u32>,
    /// The address that the card is to use instead of its own.
    pub mac: Option<MacAddress>,
}

pub(super) fn parse(value: &str) -> Result<IpArgument, Wrong> {
    let fields = split_fields(value);
    let first = fields.first().copied().unwrap_or_default();
    match fields.len() {
        1 if first.is_empty() => wrong("it says nothing", "ip=dhcp"),
        1 if parse_address(first).is_some() => wrong("the network mask is missing", EXAMPLE),
        1 => Ok(IpArgument::new(None, method(first, "ip=dhcp")?)),
        count if count >= 4 && (first.is_empty() || parse_address(first).is_some()) => parse_full(&fields),
        _ if parse_address(first).is_some() => wrong("the network mask is missing", EXAMPLE),
        _ => parse_short(&fields),
    }
}

fn parse_short(fields: &[&str]) -> Result<IpArgument, Wrong> {
    let field = |place: usize| fields.get(place).copied().unwrap_or_default();
    let mut argument = IpArgument::new(
        Some(interface(field(0), SHORT_EXAMPLE)?),
        method(field(1), SHORT_EXAMPLE)?,
    );
    argument.read_card(fields.get(2..).unwrap_or_default())?;
    Ok(argument)
}

fn parse_full(fields: &[&str]) -> Result<IpArgument, Wrong> {
    let field = |place: usize| fields.get(place).copied().filter(|field| !field.is_empty());
    let interface = field(5).map(|name| interface(name, EXAMPLE)).transpose()?;
    let method = field(6).map_or(Ok(IpMethod::Static), |name| method(name, EXAMPLE))?;
    let mut argument = IpArgument::new(interface, method);
    let address = field(0)
        .map(|text| parse_address(text).map_or_else(|| wrong(format!("'{text}' is no address"), EXAMPLE), Ok))
        .transpose()?;
    if let Some(address) = address {
        argument.address = Some(in_network(address, field(3).unwrap_or_default())?);
    }
    if let Some(text) = field(2) {
        let gateway = parse_address(text);
        let fits = |gateway: &IpAddr| address.is_none_or(|address| address.is_ipv4() == gateway.is_ipv4());
        argument.gateway = gateway.filter(fits);
        if argument.gateway.is_none() {
            return wrong(format!("'{text}' is no address of a gateway"), EXAMPLE);
        }
    }
    if let Some(name) = field(4) {
        if !is_host_name(name) {
            return wrong(format!("'{name}' is no name of a machine"), EXAMPLE);
        }
        argument.hostname = Some(name.to_owned());
    }
    if method == IpMethod::Static && address.is_none() && argument.interface.is_none() {
        return wrong("it has neither an address nor an interface", EXAMPLE);
    }
    match field(7).and_then(parse_address) {
        // The third is a time server, which the installer does not need.
        Some(first) => {
            argument.nameservers = vec![first];
            match (field(8), field(8).and_then(parse_address)) {
                (_, Some(second)) => argument.nameservers.push(second),
                (None, None) => {}
                (Some(text), None) => {
                    return wrong(format!("'{text}' is no address of a name server"), EXAMPLE);
                }
            }
        }
        None => argument.read_card(fields.get(7..).unwrap_or_default())?,
    }
    Ok(argument)
}

fn in_network(address: IpAddr, mask: &str) -> Result<AddressInNetwork, Wrong> {
    let prefix = match (address, mask) {
        (IpAddr::V4(_), "") => return wrong("the network mask is missing", EXAMPLE),
        (IpAddr::V4(_), mask) => parse_ipv4_prefix(mask),
        (IpAddr::V6(_), "") => Some(64),
        (IpAddr::V6(_), mask) => parse_number(mask).and_then(|prefix| u8::try_from(prefix).ok()),
    };
    match prefix.and_then(|prefix| AddressInNetwork::new(address, prefix)) {
        Some(address) => Ok(address),
        None => wrong(format!("'{mask}' is no network mask for {address}"), EXAMPLE),
    }
}

fn method(name: &str, example: &'static str) -> Result<IpMethod, Wrong> {
    match name {
        "dhcp" | "on" | "any" | "both" | "single-dhcp" | "dhcp4" => Ok(IpMethod::Dhcp),
        "dhcp6" => Ok(IpMethod::Dhcp6),
        "auto6" | "either6" => Ok(IpMethod::Auto6),
        "link6" | "link-local" => Ok(IpMethod::LinkLocal6),
        "none" | "off" | "static" => Ok(IpMethod::Static),
        "ibft" => wrong("addresses from the firmware (iBFT) are not supported", example),
        "" => wrong("the method is missing: dhcp, dhcp6, auto6 or none", example),
        other => wrong(
            format!("'{other}' is no method: dhcp, dhcp6, auto6 and none are"),
            example,
        ),
    }
}

impl IpArgument {
    fn new(interface: Option<String>, method: IpMethod) -> Self {
        IpArgument {
            interface,
            method,
            address: None,
            gateway: None,
            hostname: None,
            nameservers: Vec::new(),
            mtu: None,
            mac: None,
        }
    }

    /// `[MTU][:MAC]`, whose own colons have split it as well.
    fn read_card(&mut self, fields: &[&str]) -> Result<(), Wrong> {
        let (mtu, mac) = match fields.split_first() {
            Some((mtu, mac)) => (*mtu, mac.join(":")),
            None => return Ok(()),
        };
        if !mtu.is_empty() {
            self.mtu = parse_number(mtu).filter(|mtu| MTU_RANGE.contains(mtu));
            if self.mtu.is_none() {
                return wrong(format!("'{mtu}' is no length of packets"), "ip=ens3:dhcp:1500");
            }
        }
        if !mac.is_empty() {
            match mac.parse() {
                Ok(mac) => self.mac = Some(mac),
                Err(_) => {
                    let reason = format!("'{mac}' is no address of a network card");
                    return wrong(reason, "ip=ens3:dhcp:1500:52:54:00:aa:bb:cc");
                }
            }
        }
        Ok(())
    }
}

/// What is between colons that are not in brackets.
pub(super) fn split_fields(value: &str) -> Vec<&str> {
    let mut is_bracketed = false;
    let separator = |character: char| {
        match character {
            '[' => is_bracketed = true,
            ']' => is_bracketed = false,
            _ => {}
        }
        character == ':' && !is_bracketed
    };
    value.split(separator).collect()
}
