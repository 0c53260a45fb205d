//! Connections by a proxy.
//!
//! What has TLS goes through a tunnel that the proxy makes (`CONNECT`, RFC 9110, 9.3.6). Of what has none the proxy
//! reads the requests, which say in full where they go (the absolute form of RFC 9112, 3.2.2): proxies rarely make
//! tunnels to other ports than those of TLS.

use std::io::{self, Write as _};

use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, Either, NextTimeout, Transport, TransportAdapter,
};

use super::proxy::Proxy;
use super::tls::TlsConnector;

/// Why a proxy that answers does not make a tunnel.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum ProxyRefusal {
    #[error("{}", meaning(*.0))]
    Status(u16),
    #[error("it does not answer as a proxy does")]
    NoProxy,
    #[error("{0}")]
    Tls(rustls::Error),
}

fn meaning(status: u16) -> String {
    match status {
        407 => "it wants a name and a password that it knows".to_owned(),
        status => format!("it refuses the connection with the status {status}"),
    }
}

/// Takes connections to a proxy for those to a host, if there is a proxy.
#[derive(Debug)]
pub(super) struct ProxyConnector {
    pub(super) proxy: Option<Proxy>,
    /// For a proxy that wants TLS itself.
    pub(super) tls: Option<TlsConnector>,
}

impl<In: Transport> Connector<In> for ProxyConnector {
    type Out = Either<In, Proxied>;

    fn connect(
        &self,
        details: &ConnectionDetails,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, ureq::Error> {
        let Some(transport) = chained else {
            return Ok(None);
        };
        let Some(proxy) = &self.proxy else {
            return Ok(Some(Either::A(transport)));
        };
        let mut transport: Box<dyn Transport> = Box::new(transport);
        if let Some(tls) = &self.tls {
            let secured = tls.secure(transport, proxy.host(), details);
            transport = Box::new(secured.map_err(untrusted)?);
        }
        let origin = match details.needs_tls() {
            true => {
                transport = open_tunnel(transport, proxy, details)?;
                None
            }
            false => Some(origin_of(details)),
        };
        Ok(Some(Either::B(Proxied { transport, origin })))
    }
}

/// A connection that leads to a host by a proxy.
#[derive(Debug)]
pub(super) struct Proxied {
    transport: Box<dyn Transport>,
    /// What is still to be written before the path of the request, if the proxy reads that: `http://HOST`. Such a
    /// connection is for one request.
    origin: Option<String>,
}

impl Transport for Proxied {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.transport.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        let Some(origin) = self.origin.take() else {
            return self.transport.transmit_output(amount, timeout);
        };
        let output = self.transport.buffers().output();
        let written = output.get(..amount).unwrap_or_default();
        let Some(method_end) = written.iter().position(|byte| *byte == b' ') else {
            self.origin = Some(origin);
            return self.transport.transmit_output(amount, timeout);
        };
        let (method, path) = written.split_at(method_end + 1);
        let bytes = [method, origin.as_bytes(), path].concat();
        transmit(&mut *self.transport, &bytes, timeout)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        self.transport.await_input(timeout)
    }

    fn is_open(&mut self) -> bool {
        self.transport.is_open()
    }

    /// The TLS of the proxy is none of the host.
    fn is_tls(&self) -> bool {
        false
    }
}

fn transmit(
    transport: &mut dyn Transport,
    mut bytes: &[u8],
    timeout: NextTimeout,
) -> Result<(), ureq::Error> {
    while !bytes.is_empty() {
        let output = transport.buffers().output();
        let count = bytes.len().min(output.len());
        let (now, later) = bytes.split_at(count);
        output.iter_mut().zip(now).for_each(|(to, from)| *to = *from);
        transport.transmit_output(count, timeout)?;
        bytes = later;
    }
    Ok(())
}

fn origin_of(details: &ConnectionDetails) -> String {
    let authority = details.uri.authority().map_or("", |authority| authority.as_str());
    format!("http://{authority}")
}

/// Asks the proxy for a tunnel.
fn open_tunnel(
    transport: Box<dyn Transport>,
    proxy: &Proxy,
    details: &ConnectionDetails,
) -> Result<Box<dyn Transport>, ureq::Error> {
    let host = details.uri.host().unwrap_or_default();
    let port = details.uri.port_u16().unwrap_or(443);
    let authorization = proxy
        .authorization()
        .map_or_else(String::new, |value| format!("Proxy-Authorization: {value}\r\n"));
    let mut proxied = TransportAdapter::new(transport, details.current_time.clone());
    proxied.set_timeout(details.timeout);
    let request = format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n{authorization}\r\n");
    proxied.write_all(request.as_bytes())?;
    let head = read_head(&mut proxied)?;
    match status_of(&head) {
        Some(200..=299) => Ok(proxied.into_inner()),
        Some(status) => Err(refused(ProxyRefusal::Status(status))),
        None => Err(refused(ProxyRefusal::NoProxy)),
    }
}

fn refused(refusal: ProxyRefusal) -> ureq::Error {
    io::Error::other(refusal).into()
}

/// What TLS says of the proxy is not to be taken for the registry's.
fn untrusted(error: ureq::Error) -> ureq::Error {
    let tls = match &error {
        ureq::Error::Io(error) => error.get_ref().and_then(|inner| inner.downcast_ref()),
        _ => None,
    };
    let refusal = tls.map(|tls: &rustls::Error| refused(ProxyRefusal::Tls(tls.clone())));
    refusal.unwrap_or(error)
}

/// The first line of an answer and its headers, and no byte of what follows.
fn read_head(connection: &mut impl io::Read) -> Result<Vec<u8>, ureq::Error> {
    const HEAD_MAX_BYTES: usize = 64 << 10;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if head.len() == HEAD_MAX_BYTES || connection.read(&mut byte)? == 0 {
            return Err(refused(ProxyRefusal::NoProxy));
        }
        head.extend_from_slice(&byte);
    }
    Ok(head)
}

fn status_of(head: &[u8]) -> Option<u16> {
    let head = head.strip_prefix(b"HTTP/1.")?;
    let text = std::str::from_utf8(head.get(2..5)?).ok()?;
    text.parse().ok()
}
