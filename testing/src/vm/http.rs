//! Just enough HTTP to fetch a page.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(30);

/// A server's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The status, such as 200.
    pub status: u16,
    /// What follows the header fields.
    pub body: Vec<u8>,
}

/// Asks the server on a port of this computer for a path.
pub(super) fn fetch(port: u16, path: &str) -> io::Result<Page> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    parse(&answer).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no HTTP answer"))
}

/// RFC 9112, section 2.1: status line, header fields, an empty line, the body.
fn parse(answer: &[u8]) -> Option<Page> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let header = std::str::from_utf8(&answer[..end]).ok()?;
    let status = header.strip_prefix("HTTP/1.")?.split(' ').nth(1)?;
    Some(Page {
        status: status.parse().ok()?,
        body: answer[end + 4..].to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_taken_apart() {
        let page = parse(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nyes").expect("an answer");
        assert_eq!((page.status, page.body.as_slice()), (200, b"yes".as_slice()));
        assert_eq!(parse(b"HTTP/1.1 200 OK\r\n"), None);
        assert_eq!(parse(b"SSH-2.0-OpenSSH\r\n\r\n"), None);
    }
}
