//! A container's network of its own, connected by pasta(1): the addresses of this computer, outgoing connections, ports,
//! and names by a name server that it passes on.
//!
//! pasta gets the network namespace as its standard input: it gives up the right to look into processes before it opens
//! what it is told. It stays our child, and ends with us; it tells that it is ready by writing its process id.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek};
use std::process::{Child, Command, Stdio};

use osmith_sys::OsError;
use osmith_sys::child::end_with_parent;
use rustix::fs::MemfdFlags;
use rustix::process::Signal;

use crate::ContainerError;
use crate::specification::{Port, Transport};

/// The address in the container to which names are asked.
pub(crate) const NAME_SERVER: &str = "169.254.1.1";

/// The process that connects a network; killed when this is dropped.
pub(crate) struct Pasta {
    child: Child,
}

impl Pasta {
    /// Connects a network namespace with this computer's network. `program` is a name or a path.
    pub(crate) fn connect(program: &str, namespace: File, ports: &[Port]) -> Result<Self, ContainerError> {
        let failed = |error: &std::io::Error| OsError::from_io("prepare", program, error);
        let words: File = rustix::fs::memfd_create("pasta", MemfdFlags::CLOEXEC)
            .map_err(|errno| failed(&errno.into()))?
            .into();
        let mut command = Command::new(program);
        command
            .args(arguments(ports))
            .stdin(namespace)
            .stdout(Stdio::piped())
            .stderr(words.try_clone().map_err(|error| failed(&error))?);
        end_with_parent(&mut command, Signal::KILL);
        let mut child = command.spawn().map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => ContainerError::NoPasta {
                program: program.to_owned(),
            },
            _ => OsError::from_io("start", program, &error).into(),
        })?;
        let ready = child.stdout.take().map(|pipe| {
            let mut line = String::new();
            BufReader::new(pipe).read_line(&mut line).map(|_| line)
        });
        let mut pasta = Pasta { child };
        match ready {
            Some(Ok(line)) if !line.trim().is_empty() => Ok(pasta),
            _ => Err(ContainerError::Pasta(pasta.last_words(words))),
        }
    }

    /// Why it ended.
    fn last_words(&mut self, mut words: File) -> String {
        let _ = self.child.wait();
        let mut text = String::new();
        // What cannot be read is not said; that it ended is.
        let _ = words.rewind().and_then(|()| words.read_to_string(&mut text));
        // It speaks of its logging as well.
        let lines: Vec<&str> = text.lines().filter(|line| !line.contains("syslog")).collect();
        match lines.last() {
            Some(line) => (*line).to_owned(),
            None => "it ended without a word".to_owned(),
        }
    }
}

impl Drop for Pasta {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Of the options of 2023 those that later versions have as well.
fn arguments(ports: &[Port]) -> Vec<String> {
    let mut arguments: Vec<String> = [
        "--foreground",
        "--quiet",
        "--runas",
        "0",
        "--config-net",
        "--no-map-gw",
        "--no-netns-quit",
        "--dns-forward",
        NAME_SERVER,
        "--netns",
        "/proc/self/fd/0",
        "--pid",
        "/proc/self/fd/1",
        "--tcp-ns",
        "none",
        "--udp-ns",
        "none",
    ]
    .map(str::to_owned)
    .to_vec();
    for (option, transport) in [("--tcp-ports", Transport::Tcp), ("--udp-ports", Transport::Udp)] {
        let mut specified = ports
            .iter()
            .filter(|port| port.transport == transport)
            .map(specified)
            .peekable();
        if specified.peek().is_none() {
            arguments.extend([option.to_owned(), "none".to_owned()]);
        }
        for text in specified {
            arguments.extend([option.to_owned(), text]);
        }
    }
    arguments
}

/// `[ADDRESS/]HOST:CONTAINER`.
fn specified(port: &Port) -> String {
    match port.address {
        Some(address) => format!("{address}/{}:{}", port.host, port.container),
        None => format!("{}:{}", port.host, port.container),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_said_in_pastas_words() {
        let port = |transport, address: Option<&str>, host, container| Port {
            transport,
            address: address.map(|address| address.parse().unwrap()),
            host,
            container,
        };
        let ports = [
            port(Transport::Tcp, None, 8080, 80),
            port(Transport::Tcp, Some("127.0.0.1"), 8443, 443),
        ];
        let text = arguments(&ports).join(" ");
        assert!(
            text.ends_with("--tcp-ports 8080:80 --tcp-ports 127.0.0.1/8443:443 --udp-ports none"),
            "{text}"
        );
    }
}
