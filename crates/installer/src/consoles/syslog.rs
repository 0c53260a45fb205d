//! Messages to a syslog server: RFC 5424 over UDP (RFC 5426).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs as _, UdpSocket};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use osmith_image::rfc3339;

use crate::boot_options::SyslogServer;

/// A name that is not known is looked up again after this time.
const RETRY_PAUSE: Duration = Duration::from_secs(5);
/// "Messages of users"; RFC 5424, 6.2.1.
const FACILITY: u8 = 1;
/// Every receiver takes messages of this length (RFC 5426, 3.2).
const MESSAGE_MAX_BYTES: usize = 1180;

pub(super) struct Syslog {
    server: SyslogServer,
    host_name: String,
    socket: Option<UdpSocket>,
    tried: Option<Instant>,
}

impl Syslog {
    pub(super) fn new(server: SyslogServer, host_name: &str) -> Self {
        let is_sound = |character: &char| ('!'..='~').contains(character);
        let host_name: String = host_name.chars().filter(is_sound).take(255).collect();
        Syslog {
            server,
            host_name: if host_name.is_empty() {
                "-".to_owned()
            } else {
                host_name
            },
            socket: None,
            tried: None,
        }
    }

    /// Sends a line. What cannot be sent is lost, as everything may be on the way.
    pub(super) fn send(&mut self, line: &str) {
        if self.socket.is_none() && self.tried.is_none_or(|tried| tried.elapsed() >= RETRY_PAUSE) {
            self.tried = Some(Instant::now());
            self.socket = self.connect();
        }
        if let Some(socket) = &self.socket {
            let _ = socket.send(message(line, &self.host_name, SystemTime::now()).as_bytes());
        }
    }

    fn connect(&self) -> Option<UdpSocket> {
        let mut addresses = (self.server.host.as_str(), self.server.port)
            .to_socket_addrs()
            .ok()?;
        addresses.find_map(|address| {
            let any = match address {
                SocketAddr::V4(_) => IpAddr::from(Ipv4Addr::UNSPECIFIED),
                SocketAddr::V6(_) => IpAddr::from(Ipv6Addr::UNSPECIFIED),
            };
            let socket = UdpSocket::bind((any, 0)).ok()?;
            socket.connect(address).ok()?;
            Some(socket)
        })
    }
}

fn message(line: &str, host_name: &str, now: SystemTime) -> String {
    let severity = match line {
        line if line.starts_with("error:") => 3,
        line if line.starts_with("warning:") => 4,
        _ => 6,
    };
    let priority = FACILITY * 8 + severity;
    let time = timestamp(now);
    let mut message = format!("<{priority}>1 {time} {host_name} osmith - - - {line}");
    let mut end = MESSAGE_MAX_BYTES.min(message.len());
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    message.truncate(end);
    message
}

/// `2026-08-01T12:00:00Z`; `-` if the clock is before 1970.
fn timestamp(now: SystemTime) -> String {
    let since = now.duration_since(UNIX_EPOCH).ok();
    let seconds = since.and_then(|since| i64::try_from(since.as_secs()).ok());
    seconds.map_or_else(|| "-".to_owned(), rfc3339)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_have_time_and_severity() {
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        for (line, seconds, expected) in [
            ("hello", 0, "<14>1 1970-01-01T00:00:00Z web osmith - - - hello"),
            (
                "warning: x",
                951_782_399,
                "<12>1 2000-02-28T23:59:59Z web osmith - - - warning: x",
            ),
            (
                "error: x",
                951_782_400,
                "<11>1 2000-02-29T00:00:00Z web osmith - - - error: x",
            ),
            (
                "x",
                4_107_542_400,
                "<14>1 2100-03-01T00:00:00Z web osmith - - - x",
            ),
        ] {
            assert_eq!(message(line, "web", at(seconds)), expected);
        }
        let long = message(&"ä".repeat(1000), "-", at(0));
        assert!((MESSAGE_MAX_BYTES - 1..=MESSAGE_MAX_BYTES).contains(&long.len()));
    }
}
