//! A proxy between a client and a registry that makes faults: it drops connections, answers with errors, cuts off,
//! changes and delays bytes, asks for tokens, and sends clients elsewhere.
//!
//! One request a connection; bodies are kept in memory. What it does is decided request by request.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::server::Server;

use rustix::event::{PollFd, PollFlags, poll};

/// What happens to a request.
#[derive(Debug, Clone)]
pub enum Fault {
    /// The registry is not asked; this is the answer: status, headers, body.
    Answer(u16, Vec<(String, String)>, String),
    /// The connection is closed before an answer.
    Drop,
    /// The connection is closed while the request comes, after so many bytes of its body.
    DropRequest(usize),
    /// The connection is closed after so many bytes of the answer's body.
    Cut(usize),
    /// The byte of the answer's body at this place is another one.
    Flip(usize),
    /// Nothing more is read of the request, and nothing said, until the client goes.
    Silence,
    /// Nothing more is said after so many bytes of the answer's body, until the client goes.
    Stall(usize),
    /// So long passes before each piece of the answer's body of that many bytes.
    Slow(Duration, usize),
    /// The registry learns nothing of this header.
    WithoutHeader(&'static str),
}

/// A request as the proxy saw it.
#[derive(Debug, Clone)]
pub struct SeenRequest {
    /// `GET`.
    pub method: String,
    /// `/v2/shop/sample/manifests/1`.
    pub path: String,
    /// Names in small letters.
    pub headers: Vec<(String, String)>,
}

impl SeenRequest {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(found, _)| found == name);
        found.map(|(_, value)| value.as_str())
    }
}

type Plan = dyn FnMut(&SeenRequest) -> Option<Fault> + Send;

struct Shared {
    upstream: String,
    plan: Mutex<Box<Plan>>,
    seen: Mutex<Vec<SeenRequest>>,
}

/// A proxy that runs.
pub struct FaultProxy {
    server: Server,
    shared: Arc<Shared>,
}

impl FaultProxy {
    /// A proxy in front of `upstream` (`127.0.0.1:PORT`); `plan` says for every request what goes wrong.
    pub fn start(upstream: &str, plan: impl FnMut(&SeenRequest) -> Option<Fault> + Send + 'static) -> Self {
        let shared = Arc::new(Shared {
            upstream: upstream.to_owned(),
            plan: Mutex::new(Box::new(plan)),
            seen: Mutex::default(),
        });
        let for_server = shared.clone();
        FaultProxy {
            server: Server::start(move |client| serve(client, &for_server)),
            shared,
        }
    }

    /// A proxy whose faults come one after the other, each for the next request that `is_meant`.
    pub fn with_faults(
        upstream: &str,
        is_meant: impl Fn(&SeenRequest) -> bool + Send + 'static,
        faults: impl IntoIterator<Item = Fault>,
    ) -> Self {
        let mut faults: VecDeque<Fault> = faults.into_iter().collect();
        Self::start(upstream, move |request| match is_meant(request) {
            true => faults.pop_front(),
            false => None,
        })
    }

    /// Where it listens: `127.0.0.1:PORT`.
    pub fn address(&self) -> &str {
        self.server.address()
    }

    /// The requests so far.
    pub fn seen(&self) -> Vec<SeenRequest> {
        lock(&self.shared.seen).clone()
    }
}

fn serve(client: &TcpStream, shared: &Shared) -> io::Result<()> {
    let mut input = BufReader::new(client);
    let mut request = read_head(&mut input)?;
    let seen = seen(&request);
    lock(&shared.seen).push(seen.clone());
    let fault = (lock(&shared.plan))(&seen);
    if let Some(Fault::Silence) = fault {
        return wait_for_end(client);
    }
    if let Some(Fault::DropRequest(length)) = fault {
        return input.take(length as u64).read_to_end(&mut Vec::new()).map(drop);
    }
    let body = read_body(&mut input, &request, &seen.method)?;
    match &fault {
        Some(Fault::Drop) => return Ok(()),
        Some(Fault::Answer(status, headers, text)) => {
            return answer(client, *status, headers, text, &seen.method);
        }
        Some(Fault::WithoutHeader(name)) => {
            request
                .headers
                .retain(|(found, _)| !found.eq_ignore_ascii_case(name));
        }
        _ => {}
    }
    let (head, answer_body) = ask(shared, &request, &body, &seen.method)?;
    send(client, &head, answer_body, fault.as_ref())
}

/// The first line and the headers of a message.
pub(crate) struct Head {
    pub(crate) first: String,
    pub(crate) headers: Vec<(String, String)>,
}

pub(crate) fn read_head(input: &mut impl BufRead) -> io::Result<Head> {
    let mut first = String::new();
    if input.read_line(&mut first)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        input.read_line(&mut line)?;
        match line.trim_end().split_once(':') {
            Some((name, value)) => headers.push((name.to_owned(), value.trim().to_owned())),
            None => break,
        }
    }
    Ok(Head {
        first: first.trim_end().to_owned(),
        headers,
    })
}

pub(crate) fn seen(request: &Head) -> SeenRequest {
    let mut words = request.first.split(' ').map(str::to_owned);
    let headers = request.headers.iter();
    SeenRequest {
        method: words.next().unwrap_or_default(),
        path: words.next().unwrap_or_default(),
        headers: headers
            .map(|(name, value)| (name.to_ascii_lowercase(), value.clone()))
            .collect(),
    }
}

fn header<'a>(head: &'a Head, name: &str) -> Option<&'a str> {
    let found = head
        .headers
        .iter()
        .find(|(found, _)| found.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value.as_str())
}

fn read_body(input: &mut impl BufRead, head: &Head, method: &str) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    if method == "HEAD" {
        return Ok(body);
    }
    if header(head, "Transfer-Encoding") == Some("chunked") {
        loop {
            let mut line = String::new();
            input.read_line(&mut line)?;
            let length = u64::from_str_radix(line.trim(), 16).map_err(io::Error::other)?;
            input.take(length).read_to_end(&mut body)?;
            input.read_line(&mut line)?;
            if length == 0 {
                return Ok(body);
            }
        }
    }
    let length = header(head, "Content-Length").and_then(|text| text.parse().ok());
    input.take(length.unwrap_or(0)).read_to_end(&mut body)?;
    Ok(body)
}

/// Asks the registry, without keeping the connection.
fn ask(shared: &Shared, request: &Head, body: &[u8], method: &str) -> io::Result<(Head, Vec<u8>)> {
    let upstream = TcpStream::connect(&shared.upstream)?;
    let mut text = format!("{}\r\n", request.first);
    for (name, value) in &request.headers {
        let is_ours = ["connection", "content-length", "transfer-encoding"];
        if !is_ours.contains(&name.to_ascii_lowercase().as_str()) {
            let _ = write!(text, "{name}: {value}\r\n");
        }
    }
    let _ = write!(
        text,
        "Connection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    (&upstream).write_all(text.as_bytes())?;
    (&upstream).write_all(body)?;
    let mut input = BufReader::new(&upstream);
    let head = read_head(&mut input)?;
    let body = read_body(&mut input, &head, method)?;
    Ok((head, body))
}

fn send(mut client: &TcpStream, head: &Head, mut body: Vec<u8>, fault: Option<&Fault>) -> io::Result<()> {
    let mut text = format!("{}\r\n", head.first);
    for (name, value) in &head.headers {
        if !["connection", "transfer-encoding"].contains(&name.to_ascii_lowercase().as_str()) {
            let _ = write!(text, "{name}: {value}\r\n");
        }
    }
    if header(head, "Content-Length").is_none() {
        let _ = write!(text, "Content-Length: {}\r\n", body.len());
    }
    text += "Connection: close\r\n\r\n";
    client.write_all(text.as_bytes())?;
    let mut piece = body.len().max(1);
    match fault {
        Some(Fault::Cut(length) | Fault::Stall(length)) => body.truncate(*length),
        Some(Fault::Flip(at)) => body.iter_mut().skip(*at).take(1).for_each(|byte| *byte ^= 1),
        Some(Fault::Slow(_, length)) => piece = *length,
        _ => {}
    }
    for piece in body.chunks(piece) {
        if let Some(Fault::Slow(pause, _)) = fault {
            thread::sleep(*pause);
        }
        client.write_all(piece)?;
    }
    match fault {
        Some(Fault::Stall(_)) => wait_for_end(client),
        _ => Ok(()),
    }
}

/// Waits until the client closes the connection.
fn wait_for_end(client: &TcpStream) -> io::Result<()> {
    while poll(&mut [PollFd::new(client, PollFlags::RDHUP)], None)? == 0 {}
    Ok(())
}

fn answer(
    mut client: &TcpStream,
    status: u16,
    headers: &[(String, String)],
    body: &str,
    method: &str,
) -> io::Result<()> {
    let mut text = format!(
        "HTTP/1.1 {status} x\r\nContent-Length: {}\r\nConnection: close\r\n",
        body.len()
    );
    for (name, value) in headers {
        let _ = write!(text, "{name}: {value}\r\n");
    }
    text += "\r\n";
    if method != "HEAD" {
        text += body;
    }
    client.write_all(text.as_bytes())
}

pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
