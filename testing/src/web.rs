//! A web server of a test's own, with files that the test puts there.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::sync::{Arc, Mutex, PoisonError};

use crate::server::Server;

#[derive(Default)]
struct Shared {
    files: Mutex<BTreeMap<String, Vec<u8>>>,
    asked: Mutex<Vec<String>>,
}

/// A web server that runs.
pub struct WebServer {
    server: Server,
    shared: Arc<Shared>,
}

impl WebServer {
    /// A server without files.
    pub fn start() -> Self {
        let shared = Arc::new(Shared::default());
        let of_server = shared.clone();
        let server = Server::start(move |client| serve(client, &of_server));
        WebServer { server, shared }
    }

    /// Where it listens: `127.0.0.1:PORT`.
    pub fn address(&self) -> &str {
        self.server.address()
    }

    /// Puts a file in a place, such as `/ks.cfg`.
    pub fn put(&self, path: &str, content: impl Into<Vec<u8>>) {
        let mut files = self.shared.files.lock().unwrap_or_else(PoisonError::into_inner);
        files.insert(path.to_owned(), content.into());
    }

    /// What it was asked for: the paths, in order.
    pub fn asked(&self) -> Vec<String> {
        let asked = self.shared.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.clone()
    }
}

impl fmt::Debug for WebServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WebServer").field(&self.address()).finish()
    }
}

/// One request a connection (RFC 9112): its line, its header fields up to an empty line, the answer.
fn serve(client: &TcpStream, shared: &Shared) -> io::Result<()> {
    let mut reader = BufReader::new(client);
    let mut request = String::new();
    reader.read_line(&mut request)?;
    let mut field = String::from("x");
    while !field.trim().is_empty() {
        field.clear();
        reader.read_line(&mut field)?;
    }
    let path = request.split(' ').nth(1).unwrap_or_default();
    shared
        .asked
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(path.to_owned());
    let files = shared.files.lock().unwrap_or_else(PoisonError::into_inner);
    let (status, content) = match files.get(path) {
        Some(content) => ("200 OK", content.clone()),
        None => ("404 Not Found", Vec::new()),
    };
    drop(files);
    let mut client = client;
    write!(
        client,
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        content.len()
    )?;
    client.write_all(&content)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn answer(server: &WebServer, path: &str) -> String {
        let mut stream = TcpStream::connect(server.address()).expect("it listens");
        write!(stream, "GET {path} HTTP/1.1\r\nHost: test\r\n\r\n").expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        answer
    }

    #[test]
    fn files_are_served_as_they_are_now() {
        let server = WebServer::start();
        assert!(answer(&server, "/ks.cfg").starts_with("HTTP/1.1 404 "));
        server.put("/ks.cfg", "text\n");
        server.put("/ks.cfg", "reboot\n");
        let found = answer(&server, "/ks.cfg");
        assert!(
            found.starts_with("HTTP/1.1 200 ") && found.ends_with("\r\n\r\nreboot\n"),
            "{found}"
        );
        assert_eq!(server.asked(), ["/ks.cfg", "/ks.cfg"]);
    }
}
