//! Which hosts are reached by a proxy.
//!
//! Source: the convention of `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY` as curl and Go's `net/http` read them. SOCKS is
//! left out.

use std::fmt;
use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ureq::http::Uri;

use super::RegistryError;

/// The proxies of this machine.
#[derive(Debug, Clone, Default)]
pub struct Proxies {
    /// For `http:` addresses.
    pub http: Option<ProxySetting>,
    /// For `https:` addresses.
    pub https: Option<ProxySetting>,
    /// What is reached without one, separated by commas or spaces: `*`, domains (with all below them; after a `.` only those
    /// below), addresses and networks (`10.0.0.0/8`), each but networks with or without a port.
    pub except: String,
}

/// A proxy, and where it is set.
#[derive(Clone, PartialEq, Eq)]
pub struct ProxySetting {
    /// `http://USER:PASSWORD@proxy.example.org:3128`, where all but the host may be left out.
    pub address: String,
    /// The name of the setting, for messages: `HTTPS_PROXY`.
    pub name: String,
}

/// A proxy that a host is reached by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Proxy {
    parsed: ureq::Proxy,
    setting_name: String,
}

// The address may have a password.
impl fmt::Debug for ProxySetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProxySetting")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl ProxySetting {
    fn parse(&self) -> Result<Proxy, RegistryError> {
        let bad = || RegistryError::ProxyAddress {
            setting: self.name.clone(),
            address: match self.address.split_once("://") {
                Some((scheme, rest)) => format!("{scheme}://{}", without_password(rest)),
                None => without_password(&self.address).to_owned(),
            },
        };
        // Others are not known here, and one for SOCKS would end the program.
        let schemes = ["http://", "https://"];
        if self.address.contains("://") && !schemes.iter().any(|scheme| self.address.starts_with(scheme)) {
            return Err(bad());
        }
        let parsed = ureq::Proxy::new(&self.address).map_err(|_| bad())?;
        let authority = parsed
            .uri()
            .authority()
            .map_or("", |authority| authority.as_str());
        let port = without_password(authority).strip_prefix(parsed.host());
        let has_good_port = port.is_some_and(|port| port.is_empty() || parsed.uri().port_u16().is_some());
        match parsed.host().is_empty() || !has_good_port {
            true => Err(bad()),
            false => Ok(Proxy {
                parsed,
                setting_name: self.name.clone(),
            }),
        }
    }
}

impl Proxy {
    /// The address, whose name is the one to be looked up.
    pub(super) fn uri(&self) -> &Uri {
        self.parsed.uri()
    }

    pub(super) fn host(&self) -> &str {
        self.parsed.host()
    }

    /// For messages: `proxy.example.org:3128`.
    pub(super) fn host_and_port(&self) -> String {
        format!("{}:{}", self.parsed.host(), self.parsed.port())
    }

    /// The name of the setting, for messages.
    pub(super) fn setting_name(&self) -> &str {
        &self.setting_name
    }

    /// Whether the connection to the proxy itself has TLS.
    pub(super) fn has_tls(&self) -> bool {
        self.parsed.protocol() == ureq::ProxyProtocol::Https
    }

    /// The value of `Proxy-Authorization`.
    pub(super) fn authorization(&self) -> Option<String> {
        let (username, password) = (self.parsed.username(), self.parsed.password());
        username.or(password)?;
        let both = format!(
            "{}:{}",
            username.unwrap_or_default(),
            password.unwrap_or_default()
        );
        Some(format!("Basic {}", STANDARD.encode(both)))
    }
}

impl Proxies {
    /// The proxy for an address; `None` if it is reached directly.
    pub(super) fn for_uri(&self, uri: &Uri) -> Result<Option<Proxy>, RegistryError> {
        let is_https = uri.scheme_str() == Some("https");
        let Some(setting) = (if is_https { &self.https } else { &self.http }) else {
            return Ok(None);
        };
        let host = uri.host().unwrap_or_default();
        let port = uri.port_u16().unwrap_or(if is_https { 443 } else { 80 });
        match self.excepts(host.trim_matches(['[', ']']), port) {
            true => Ok(None),
            false => setting.parse().map(Some),
        }
    }

    fn excepts(&self, host: &str, port: u16) -> bool {
        let address: Option<IpAddr> = host.parse().ok();
        if host == "localhost" || address.is_some_and(|address| address.is_loopback()) {
            return true;
        }
        let mut entries = self
            .except
            .split(|separator: char| separator == ',' || separator.is_whitespace())
            .filter(|entry| !entry.is_empty());
        entries.any(|entry| is_in(entry, host, address, port))
    }
}

fn without_password(address: &str) -> &str {
    address.rsplit_once('@').map_or(address, |(_, host)| host)
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

    fn setting(address: &str) -> Option<ProxySetting> {
        Some(ProxySetting {
            address: address.to_owned(),
            name: "THE_PROXY".to_owned(),
        })
    }

    #[test]
    fn the_scheme_decides() {
        let proxies = Proxies {
            http: setting("http://one.example:3128"),
            https: setting("two.example:8080"),
            except: "inside.example".to_owned(),
        };
        let host = |uri: &'static str| {
            let proxy = proxies.for_uri(&Uri::from_static(uri)).unwrap();
            proxy.map(|proxy| proxy.host_and_port())
        };
        assert_eq!(
            host("http://registry.example/v2/").as_deref(),
            Some("one.example:3128")
        );
        assert_eq!(
            host("https://registry.example/v2/").as_deref(),
            Some("two.example:8080")
        );
        assert_eq!(host("https://inside.example/v2/"), None);
    }

    #[test]
    fn addresses() {
        let proxy = |address: &str| setting(address).unwrap().parse();
        for (address, expected, has_tls) in [
            ("proxy.example", "proxy.example:80", false),
            ("http://proxy.example/", "proxy.example:80", false),
            ("https://proxy.example", "proxy.example:443", true),
            ("http://[::1]:3128", "[::1]:3128", false),
        ] {
            let proxy = proxy(address).unwrap();
            assert_eq!(
                (proxy.host_and_port().as_str(), proxy.has_tls()),
                (expected, has_tls)
            );
            assert_eq!(proxy.authorization(), None);
        }
        let authorization = proxy("http://jo:a%40b@proxy.example").unwrap().authorization();
        assert_eq!(authorization.as_deref(), Some("Basic am86YUBi"));
        for bad in [
            "socks5://jo:secret@x:1",
            "http://",
            "http://jo:secret@x:port",
            "/",
        ] {
            let error = proxy(bad).unwrap_err().to_string();
            assert!(
                error.contains("THE_PROXY") && !error.contains("secret"),
                "{error}"
            );
        }
    }
}
