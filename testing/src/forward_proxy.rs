//! A forward proxy as `HTTP_PROXY` and `HTTPS_PROXY` name them: it makes tunnels for `CONNECT`, and passes on requests
//! whose first line says in full where they go. It knows the addresses of its own hosts only.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::fault_proxy::{SeenRequest, lock, read_head, seen};
use crate::server::Server;

/// What a proxy lets through.
#[derive(Debug, Clone, Default)]
pub struct ForwardOptions {
    /// The addresses (`127.0.0.1:PORT`) of hosts (`registry.example:5000`).
    pub hosts: BTreeMap<String, String>,
    /// The value of `Proxy-Authorization` without which nothing goes.
    pub authorization: Option<String>,
    /// Whether tunnels are refused.
    pub refuses_tunnels: bool,
}

/// A proxy that runs.
#[derive(Debug)]
pub struct ForwardProxy {
    server: Server,
    seen: Arc<Mutex<Vec<SeenRequest>>>,
}

impl ForwardProxy {
    /// A proxy on a free port.
    pub fn start(options: ForwardOptions) -> Self {
        let all_seen = Arc::<Mutex<Vec<_>>>::default();
        let for_server = all_seen.clone();
        ForwardProxy {
            server: Server::start(move |client| serve(client, &options, &for_server)),
            seen: all_seen,
        }
    }

    /// Where it listens: `127.0.0.1:PORT`.
    pub fn address(&self) -> &str {
        self.server.address()
    }

    /// The requests since this was asked last: `CONNECT` of a host, other methods of a whole address.
    pub fn take_seen(&self) -> Vec<SeenRequest> {
        std::mem::take(&mut lock(&self.seen))
    }
}

fn serve(
    mut client: &TcpStream,
    options: &ForwardOptions,
    all_seen: &Mutex<Vec<SeenRequest>>,
) -> io::Result<()> {
    let mut input = BufReader::new(client);
    let request = read_head(&mut input)?;
    let seen = seen(&request);
    lock(all_seen).push(seen.clone());
    let is_tunnel = seen.method == "CONNECT";
    let refuse = |mut client: &TcpStream, status: &str| {
        write!(
            client,
            "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )
    };
    if options.authorization.is_some()
        && seen.header("proxy-authorization") != options.authorization.as_deref()
    {
        return refuse(client, "407 Proxy Authentication Required");
    }
    if is_tunnel && options.refuses_tunnels {
        return refuse(client, "403 Forbidden");
    }
    let (host, path) = match (is_tunnel, seen.path.strip_prefix("http://")) {
        (true, _) => (seen.path.as_str(), ""),
        (false, Some(rest)) => rest.split_once('/').unwrap_or((rest, "")),
        (false, None) => return refuse(client, "400 Bad Request"),
    };
    let Some(address) = options.hosts.get(host) else {
        return refuse(client, "502 Bad Gateway");
    };
    let mut upstream = TcpStream::connect(address)?;
    if is_tunnel {
        client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
    } else {
        let mut head = format!("{} /{path} HTTP/1.1\r\nConnection: close\r\n", seen.method);
        for (name, value) in &request.headers {
            if !name.eq_ignore_ascii_case("connection") && !name.eq_ignore_ascii_case("proxy-authorization") {
                let _ = write!(head, "{name}: {value}\r\n");
            }
        }
        head += "\r\n";
        upstream.write_all(head.as_bytes())?;
    }
    relay(input, client, &upstream)
}

/// Passes bytes in both directions until both sides have ended.
fn relay(mut from_client: impl Read + Send, mut client: &TcpStream, upstream: &TcpStream) -> io::Result<()> {
    thread::scope(|scope| {
        scope.spawn(move || {
            let mut to_upstream = upstream;
            let _ = io::copy(&mut from_client, &mut to_upstream);
            let _ = upstream.shutdown(Shutdown::Write);
        });
        let mut from_upstream = upstream;
        let copied = io::copy(&mut from_upstream, &mut client);
        // The other direction ends with it.
        let _ = client.shutdown(Shutdown::Both);
        copied.map(drop)
    })
}
