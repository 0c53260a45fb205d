//! Which hosts are reached by a proxy.
//!
//! Source: the convention of `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY` as curl and Go's `net/http` read them. SOCKS is
//! left out.

use std::net::IpAddr;

use ureq::http::Uri;

/// The proxies of this machine.
#[derive(Debug, Clone, Default)]
pub struct Proxies {
    /// For `http:` addresses: `http://proxy.example.org:3128`.
    pub http: Option<String>,
    /// For `https:` addresses.
    pub https: Option<String>,
    /// What is reached without one, separated by commas: `*`, domains (with all below them; after a `.` only those
    /// below), addresses and networks (`10.0.0.0/8`), each but networks with or without a port.
    pub except: String,
}

/// An address that is no proxy's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no address of a proxy: http://HOST:PORT is expected")]
pub(super) struct ProxyError(String);

impl Proxies {
    /// The proxy for an address; `None` if it is reached directly.
    pub(super) fn for_uri(&self, uri: &Uri) -> Result<Option<ureq::Proxy>, ProxyError> {
        let is_https = uri.scheme_str() == Some("https");
        let proxy = if is_https { &self.https } else { &self.http };
        let Some(proxy) = proxy.as_deref().filter(|text| !text.is_empty()) else {
            return Ok(None);
        };
        let host = uri.host().unwrap_or_default();
        let port = uri.port_u16().unwrap_or(if is_https { 443 } else { 80 });
        if self.excepts(host.trim_matches(['[', ']']), port) {
            return Ok(None);
        }
        let bad = || ProxyError(proxy.to_owned());
        // Others are not asked, and one for SOCKS would end the program.
        if proxy.contains("://") && !proxy.starts_with("http://") && !proxy.starts_with("https://") {
            return Err(bad());
        }
        ureq::Proxy::new(proxy).map(Some).map_err(|_| bad())
    }

    fn excepts(&self, host: &str, port: u16) -> bool {
        let address: Option<IpAddr> = host.parse().ok();
        if host == "localhost" || address.is_some_and(|address| address.is_loopback()) {
            return true;
        }
        let entries = self
            .except
            .split(',')
            .map(str::trim)
            .filter(|entry| !entry.is_empty());
        entries.into_iter().any(|entry| is_in(entry, host, address, port))
    }
}

fn is_in(entry: &str, host: &str, address: Option<IpAddr>, port: u16) -> bool {
    if entry == "*" {
        return true;
    }
    if let Some((network, bits)) = entry.split_once('/') {
        return match (network.parse(), bits.parse(), address) {
            (Ok(network), Ok(bits), Some(address)) => is_in_network(address, network, bits),
            _ => false,
        };
    }
    let (name, wanted_port) = match entry.rsplit_once(':') {
        // More colons are those of an address.
        Some((name, digits)) if !name.contains(':') || name.ends_with(']') => (name, digits.parse().ok()),
        _ => (entry, None),
    };
    if wanted_port.is_some_and(|wanted: u16| wanted != port) {
        return false;
    }
    let name = name
        .trim_matches(['[', ']'])
        .trim_start_matches('*')
        .to_ascii_lowercase();
    let host = host.to_ascii_lowercase();
    match name.strip_prefix('.') {
        Some(_) => host.ends_with(&name),
        None => host == name || host.strip_suffix(&name).is_some_and(|rest| rest.ends_with('.')),
    }
}

fn is_in_network(address: IpAddr, network: IpAddr, bits: u32) -> bool {
    let (address, network, length) = match (address, network) {
        (IpAddr::V4(address), IpAddr::V4(network)) => {
            (u128::from(address.to_bits()), u128::from(network.to_bits()), 32)
        }
        (IpAddr::V6(address), IpAddr::V6(network)) => (address.to_bits(), network.to_bits(), 128),
        _ => return false,
    };
    match u32::checked_sub(length, bits) {
        Some(rest) => (address ^ network).checked_shr(rest).unwrap_or(0) == 0,
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exceptions() {
        for (except, host, port, expected) in [
            ("", "registry.example", 443, false),
            ("", "localhost", 5000, true),
            ("", "127.0.0.1", 5000, true),
            ("*", "registry.example", 443, true),
            ("example.org, registry.example", "registry.example", 443, true),
            ("example", "registry.example", 443, true),
            ("ample", "registry.example", 443, false),
            (".example", "registry.example", 443, true),
            ("*.example", "registry.example", 443, true),
            (".registry.example", "registry.example", 443, false),
            ("registry.example:80", "registry.example", 443, false),
            ("registry.example:443", "registry.example", 443, true),
            ("10.0.0.0/8", "10.200.3.4", 443, true),
            ("10.0.0.0/8", "11.0.0.1", 443, false),
            ("0.0.0.0/0", "11.0.0.1", 443, true),
            ("10.0.0.1", "10.0.0.1", 443, true),
            ("fd00::/8", "fd12::1", 443, true),
            ("fd00::1", "fd00::1", 443, true),
            ("10.0.0.0/99", "10.0.0.1", 443, false),
            ("Registry.Example", "REGISTRY.example", 443, true),
        ] {
            let proxies = Proxies {
                except: except.to_owned(),
                ..Proxies::default()
            };
            assert_eq!(proxies.excepts(host, port), expected, "{except} {host}");
        }
    }

    #[test]
    fn the_scheme_decides() {
        let proxies = Proxies {
            http: Some("http://one.example:3128".to_owned()),
            https: Some("two.example:8080".to_owned()),
            except: "inside.example".to_owned(),
        };
        let host = |uri: &'static str| {
            let proxy = proxies.for_uri(&Uri::from_static(uri)).unwrap();
            proxy.map(|proxy| proxy.host().to_owned())
        };
        assert_eq!(
            host("http://registry.example/v2/").as_deref(),
            Some("one.example")
        );
        assert_eq!(
            host("https://registry.example/v2/").as_deref(),
            Some("two.example")
        );
        assert_eq!(host("https://inside.example/v2/"), None);
        let socks = Proxies {
            https: Some("socks5://x:1".to_owned()),
            ..Proxies::default()
        };
        assert!(
            socks
                .for_uri(&Uri::from_static("https://registry.example/"))
                .is_err()
        );
    }
}
