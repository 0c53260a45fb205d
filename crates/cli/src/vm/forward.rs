//! Ports of this computer that lead into the machine: `[ADDRESS:]HOST:GUEST[/tcp|/udp]`, as in podman's `--publish`.

use std::net::{IpAddr, Ipv4Addr, TcpListener, UdpSocket};
use std::str::FromStr;

/// A transport protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    Tcp,
    Udp,
}

/// A port here and the machine's port it leads to.
///
/// Unlike podman's, the default address is the loopback one: a machine under test is nobody else's business.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Forward {
    pub(crate) transport: Transport,
    pub(crate) address: IpAddr,
    pub(crate) host_port: u16,
    pub(crate) guest_port: u16,
}

impl Forward {
    /// A TCP forward from the loopback address.
    pub(crate) fn local(host_port: u16, guest_port: u16) -> Self {
        Forward {
            transport: Transport::Tcp,
            address: Ipv4Addr::LOCALHOST.into(),
            host_port,
            guest_port,
        }
    }

    /// The form of QEMU's `hostfwd=`.
    pub(crate) fn to_qemu(self) -> String {
        let transport = match self.transport {
            Transport::Tcp => "tcp",
            Transport::Udp => "udp",
        };
        format!(
            "{transport}:{}:{}-:{}",
            self.address, self.host_port, self.guest_port
        )
    }

    /// Finds out whether the port here is free by taking and releasing it.
    pub(crate) fn require_free(self) -> std::io::Result<()> {
        match self.transport {
            Transport::Tcp => TcpListener::bind((self.address, self.host_port)).map(drop),
            Transport::Udp => UdpSocket::bind((self.address, self.host_port)).map(drop),
        }
    }
}

/// A TCP port of the loopback address that nobody uses at the moment.
pub(crate) fn free_local_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

impl FromStr for Forward {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (ports, transport) = match text.rsplit_once('/') {
            None | Some((_, "tcp")) => (text.trim_end_matches("/tcp"), Transport::Tcp),
            Some((ports, "udp")) => (ports, Transport::Udp),
            Some((_, other)) => return Err(format!("'{other}' is no transport: tcp and udp are")),
        };
        let (rest, guest) = ports
            .rsplit_once(':')
            .ok_or("two ports are needed: HOST:GUEST, as in 8080:80")?;
        let (address, host) = match rest.rsplit_once(':') {
            Some((address, host)) => (parse_address(address)?, host),
            None => (Ipv4Addr::LOCALHOST.into(), rest),
        };
        Ok(Forward {
            transport,
            address,
            host_port: parse_port(host)?,
            guest_port: parse_port(guest)?,
        })
    }
}

/// QEMU's user network forwards from IPv4 addresses only.
fn parse_address(text: &str) -> Result<IpAddr, String> {
    text.parse::<Ipv4Addr>()
        .map(IpAddr::V4)
        .map_err(|_| format!("'{text}' is no IPv4 address of this computer, such as 127.0.0.1 or 0.0.0.0"))
}

fn parse_port(text: &str) -> Result<u16, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err(format!("'{text}' is no port: 1 to 65535 are")),
        Ok(port) => Ok(port),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forwards_are_written_as_for_podman() {
        for (text, qemu) in [
            ("8080:80", "tcp:127.0.0.1:8080-:80"),
            ("8080:80/tcp", "tcp:127.0.0.1:8080-:80"),
            ("0.0.0.0:53:53/udp", "udp:0.0.0.0:53-:53"),
        ] {
            assert_eq!(
                text.parse::<Forward>().map(Forward::to_qemu),
                Ok(qemu.to_owned()),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_forward_is_said_so() {
        for (text, reason) in [
            ("80", "HOST:GUEST"),
            ("", "HOST:GUEST"),
            ("0:80", "'0' is no port"),
            ("8080:", "'' is no port"),
            ("8080:65536", "'65536' is no port"),
            ("localhost:8080:80", "'localhost' is no IPv4 address"),
            ("::1:8080:80", "'::1' is no IPv4 address"),
            ("8080:80/sctp", "'sctp' is no transport"),
        ] {
            let error = text.parse::<Forward>().expect_err(text);
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    #[test]
    fn a_port_in_use_is_noticed() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = taken.local_addr().expect("its address").port();
        assert!(Forward::local(port, 80).require_free().is_err());
        drop(taken);
        assert!(Forward::local(port, 80).require_free().is_ok());
    }
}
