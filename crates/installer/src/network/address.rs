//! Addresses: of network cards, of interfaces, and what is behind a gateway.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// The address of a network card (Ethernet).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MacAddress(pub [u8; 6]);

/// A text that is no address of a network card.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is not six pairs of hexadecimal digits")]
pub struct MacAddressError;

impl FromStr for MacAddress {
    type Err = MacAddressError;

    /// Pairs of digits with `:` or `-` in between, in either case.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let separator = if text.contains(':') { ':' } else { '-' };
        let mut bytes = [0; 6];
        let mut pairs = text.split(separator);
        for byte in &mut bytes {
            let pair = pairs.next().ok_or(MacAddressError)?;
            let is_pair = pair.len() == 2 && pair.bytes().all(|digit| digit.is_ascii_hexdigit());
            *byte = u8::from_str_radix(pair, 16)
                .ok()
                .filter(|_| is_pair)
                .ok_or(MacAddressError)?;
        }
        match pairs.next() {
            None => Ok(MacAddress(bytes)),
            Some(_) => Err(MacAddressError),
        }
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, byte) in self.0.iter().enumerate() {
            let separator = if place == 0 { "" } else { ":" };
            write!(f, "{separator}{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// An address and how many of its first bits name the network.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct AddressInNetwork {
    /// The address.
    pub address: IpAddr,
    /// At most 32, or 128.
    pub prefix: u8,
}

impl AddressInNetwork {
    /// The two together; `None` if the prefix is too long.
    pub fn new(address: IpAddr, prefix: u8) -> Option<Self> {
        let longest = if address.is_ipv4() { 32 } else { 128 };
        (prefix <= longest).then_some(AddressInNetwork { address, prefix })
    }

    /// `192.0.2.0/24`, also with brackets around the address; without a length it is one address.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = match text.rsplit_once('/') {
            Some((address, digits)) => (parse_address(address)?, parse_number(digits)?),
            None => {
                let address = parse_address(text)?;
                (address, if address.is_ipv4() { 32 } else { 128 })
            }
        };
        AddressInNetwork::new(address, u8::try_from(prefix).ok()?)
    }
}

impl fmt::Display for AddressInNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl fmt::Debug for AddressInNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// What is reached through which gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The network that is reached.
    pub target: AddressInNetwork,
    /// By whom.
    pub gateway: IpAddr,
}

/// An address; one of IPv6 may have brackets.
pub(crate) fn parse_address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    match bare {
        Some(bare) => bare.parse::<Ipv6Addr>().ok().map(IpAddr::from),
        None => text.parse().ok(),
    }
}

/// How many bits a network mask leaves to the network: `255.255.255.0` or `24`.
pub(crate) fn parse_ipv4_prefix(text: &str) -> Option<u8> {
    if let Ok(mask) = text.parse::<Ipv4Addr>() {
        let bits = mask.to_bits();
        return (bits.leading_ones() + bits.trailing_zeros() == 32).then_some(bits.leading_ones() as u8);
    }
    parse_number(text)
        .and_then(|number| u8::try_from(number).ok())
        .filter(|prefix| *prefix <= 32)
}

/// Digits and nothing else: no sign, no blanks.
pub(crate) fn parse_number(text: &str) -> Option<u32> {
    match text.bytes().all(|byte| byte.is_ascii_digit()) {
        true => text.parse().ok(),
        false => None,
    }
}

/// Whether the kernel takes it as the name of an interface (`dev_valid_name`), and no configuration file or udev rule
/// misunderstands it.
pub(crate) fn is_interface_name(name: &str) -> bool {
    (1..=15).contains(&name.len())
        && !matches!(name, "." | "..")
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-@".contains(&byte))
}

/// Whether it is the name of a host (RFC 1123), with or without its domain.
pub(crate) fn is_host_name(name: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    name.len() <= 253 && name.strip_suffix('.').unwrap_or(name).split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cards_have_addresses_in_several_spellings() {
        let expected = MacAddress([0x52, 0x54, 0, 0xaa, 0xbb, 0xcc]);
        for text in ["52:54:00:aa:bb:cc", "52-54-00-AA-BB-CC"] {
            assert_eq!(text.parse(), Ok(expected));
        }
        assert_eq!(expected.to_string(), "52:54:00:aa:bb:cc");
        for bad in [
            "",
            "52:54:00:aa:bb",
            "52:54:00:aa:bb:cc:dd",
            "5:54:00:aa:bb:cc",
            "+2:54:00:aa:bb:cc",
        ] {
            assert_eq!(bad.parse::<MacAddress>(), Err(MacAddressError), "{bad}");
        }
    }

    #[test]
    fn masks_have_no_holes() {
        for (text, expected) in [
            ("255.255.255.0", Some(24)),
            ("0.0.0.0", Some(0)),
            ("255.255.255.255", Some(32)),
            ("22", Some(22)),
            ("33", None),
            ("+24", None),
            ("255.0.255.0", None),
            ("", None),
        ] {
            assert_eq!(parse_ipv4_prefix(text), expected, "{text}");
        }
    }

    #[test]
    fn networks_have_a_length_that_fits() {
        for (text, expected) in [
            ("192.0.2.0/24", Some("192.0.2.0/24")),
            ("192.0.2.1", Some("192.0.2.1/32")),
            ("[2001:db8::]/32", Some("2001:db8::/32")),
            ("2001:db8::/129", None),
            ("192.0.2.0/33", None),
            ("[192.0.2.0]/3", None),
        ] {
            let parsed = AddressInNetwork::parse(text).map(|network| network.to_string());
            assert_eq!(parsed.as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn names() {
        assert!(
            is_interface_name("enp0s31f6.100")
                && !is_interface_name("a/b")
                && !is_interface_name("a234567890123456")
        );
        assert!(
            is_host_name("web-1.example.org")
                && !is_host_name("web_1")
                && !is_host_name("a..b")
                && !is_host_name("")
        );
    }
}
