//! Small files of servers that are no registries, kept in memory: by the connections that registries are reached with,
//! in words for any server.

use std::io;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use osmith_report::{Class, Failure, Interrupted, Observer};
use percent_encoding::percent_decode_str;
use ureq::http::header::{AUTHORIZATION, CONTENT_LENGTH, HeaderName};
use ureq::http::{HeaderValue, Method, Uri};

use super::retry::Tries;
use super::wire::{Answer, Payload, Request, failure, host_of};
use super::{CertificateProblem, Client, RegistryError};

/// What is asked of a server.
#[derive(Debug, Clone)]
pub struct FetchRequest<'a> {
    /// The address, with `http:` or `https:`. A name and a password in it are for this host only.
    pub url: &'a str,
    /// Headers beside the usual ones.
    pub headers: &'a [(String, String)],
    /// A longer file is an error.
    pub max_bytes: u64,
    /// So long all tries may take together.
    pub time_limit: Duration,
    /// Whether the certificate of the server is checked.
    pub verifies_tls: bool,
}

/// Why a file was not fetched. Addresses are without passwords.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The address is none.
    #[error("'{0}' is no address of a file: http://HOST/PATH or https://HOST/PATH is")]
    Address(String),
    /// A header cannot be sent.
    #[error("the header '{0}' cannot be sent: it is no header, or has characters that none has")]
    Header(String),
    /// The server does not have it, or does not give it.
    #[error("cannot fetch '{url}': the server answered with the status {status}")]
    Status {
        /// The address.
        url: String,
        /// The status.
        status: u16,
    },
    /// It is too long.
    #[error("cannot fetch '{url}': it is longer than {max_bytes} bytes")]
    TooLong {
        /// The address.
        url: String,
        /// The most that is taken.
        max_bytes: u64,
    },
    /// All tries together took too long.
    #[error("cannot fetch '{url}': it took longer than {} s{}", limit.as_secs(), last.as_ref().map(|last| format!("; {last}")).unwrap_or_default())]
    TimeLimit {
        /// The address.
        url: String,
        /// So long they may take.
        limit: Duration,
        /// Why the try before the last failed.
        last: Option<String>,
    },
    /// It cannot be reached, or the connection broke.
    #[error("cannot fetch '{url}': {}", reason(error))]
    Connection {
        /// The address.
        url: String,
        /// Why, in words for registries.
        error: Box<RegistryError>,
    },
    /// The user asked to stop.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

impl Failure for FetchError {
    fn class(&self) -> Class {
        match self {
            FetchError::Address(_) | FetchError::Header(_) | FetchError::TooLong { .. } => Class::Input,
            FetchError::Status {
                status: 404 | 410, ..
            } => Class::NotFound,
            FetchError::Status { .. } | FetchError::TimeLimit { .. } => Class::Network,
            FetchError::Connection { error, .. } => error.class(),
            FetchError::Interrupted(_) => Class::Interrupted,
        }
    }

    fn hints(&self) -> Vec<String> {
        let hint = match self {
            FetchError::Status { status: 401, .. } => {
                "add a name and a password: https://NAME:PASSWORD@HOST/PATH"
            }
            FetchError::Status {
                status: 404 | 410, ..
            } => "check the path of the address",
            FetchError::Connection { error, .. } => match error.as_ref() {
                RegistryError::Connect { .. } => {
                    "check the name of the host, the network, and whether a proxy leads there"
                }
                RegistryError::Certificate {
                    reason: CertificateProblem::Expired | CertificateProblem::NotYetValid,
                    ..
                } => "check the clock of this machine; else the server needs a new certificate",
                RegistryError::PlainHttp(_) => "use http: in the address",
                _ => return Vec::new(),
            },
            _ => return Vec::new(),
        };
        vec![hint.to_owned()]
    }
}

/// The same error in words for any server, with its causes.
fn reason(error: &RegistryError) -> String {
    match error {
        RegistryError::Connect { host, source } => format!("cannot connect to '{host}': {source}"),
        RegistryError::Proxy {
            host,
            proxy,
            setting,
            source,
        } => format!("cannot reach '{host}' by the proxy '{proxy}', which {setting} names: {source}"),
        RegistryError::Certificate { host, reason } => format!("'{host}' cannot be trusted: {reason}"),
        RegistryError::PlainHttp(host) => format!("'{host}' speaks HTTP, not HTTPS"),
        RegistryError::Broken { host, source, .. } => format!("the connection to '{host}' broke: {source}"),
        RegistryError::Status { status, .. } => format!("the server answered with the status {status}"),
        RegistryError::Protocol { host, reason, .. } => {
            format!("'{host}' answered in a way that is not understood: {reason}")
        }
        other => other.to_string(),
    }
}

/// Fetches a file. What may pass is tried again as the client's settings say.
pub fn fetch(
    client: &Client,
    request: &FetchRequest,
    observer: &dyn Observer,
) -> Result<Vec<u8>, FetchError> {
    let asked = Asked::of(request)?;
    let end = Instant::now() + request.time_limit;
    let mut tries = Tries::new(client.retry(), observer);
    let mut last = None;
    loop {
        observer.require_running()?;
        let left = end.saturating_duration_since(Instant::now());
        let took_too_long = |last: Option<String>| FetchError::TimeLimit {
            url: asked.url.clone(),
            limit: request.time_limit,
            last,
        };
        if left.is_zero() {
            return Err(took_too_long(last));
        }
        let error = match asked.ask(client, request, left) {
            Ok(bytes) => return Ok(bytes),
            Err(AskError::Final(error)) => return Err(error),
            Err(AskError::Connection(error)) => error,
        };
        if Instant::now() >= end {
            return Err(took_too_long(last.or_else(|| Some(reason(&error)))));
        }
        let said = reason(&error);
        tries
            .wait_after_saying(error, &format!("cannot fetch '{}': {said}", asked.url))
            .map_err(|error| asked.failed(error))?;
        last = Some(said);
    }
}

enum AskError {
    Connection(RegistryError),
    Final(FetchError),
}

/// A request that makes sense.
struct Asked {
    /// For messages, without a password.
    url: String,
    uri: Uri,
    headers: Vec<(HeaderName, String)>,
}

impl Asked {
    fn of(request: &FetchRequest) -> Result<Self, FetchError> {
        let (plain, password) = split_password(request.url);
        let uri: Option<Uri> = plain.parse().ok();
        let is_sound = |uri: &Uri| {
            matches!(uri.scheme_str(), Some("http" | "https"))
                && uri.host().is_some_and(|host| !host.is_empty())
        };
        let Some(uri) = uri.filter(is_sound) else {
            return Err(FetchError::Address(plain));
        };
        let mut headers = Vec::new();
        if let Some(password) = password {
            headers.push((AUTHORIZATION, format!("Basic {}", STANDARD.encode(password))));
        }
        for (name, value) in request.headers {
            let parsed: Option<HeaderName> = name.parse().ok();
            match parsed.filter(|_| HeaderValue::from_str(value).is_ok()) {
                Some(name) => headers.push((name, value.clone())),
                None => return Err(FetchError::Header(format!("{name}: {value}"))),
            }
        }
        Ok(Asked {
            url: plain,
            uri,
            headers,
        })
    }

    fn ask(&self, client: &Client, request: &FetchRequest, left: Duration) -> Result<Vec<u8>, AskError> {
        let operation = format!("the request for '{}'", self.url);
        let answer = client.wire().send(Request {
            method: Method::GET,
            uri: self.uri.clone(),
            headers: self.headers.clone(),
            payload: Payload::Nothing,
            operation: &operation,
            insecure: !request.verifies_tls,
            time_limit: Some(left),
        });
        let answer = answer.map_err(AskError::Connection)?;
        match answer.status {
            200 => self.take(answer, request, &operation),
            408 | 429 | 500.. => Err(AskError::Connection(answer.into_error(&operation))),
            status => Err(AskError::Final(FetchError::Status {
                url: self.url.clone(),
                status,
            })),
        }
    }

    fn take(&self, answer: Answer, request: &FetchRequest, operation: &str) -> Result<Vec<u8>, AskError> {
        let host = host_of(&answer.uri);
        let expected: Option<u64> = answer
            .header(CONTENT_LENGTH)
            .and_then(|length| length.parse().ok());
        let too_long = || {
            AskError::Final(FetchError::TooLong {
                url: self.url.clone(),
                max_bytes: request.max_bytes,
            })
        };
        if expected.is_some_and(|expected| expected > request.max_bytes) {
            return Err(too_long());
        }
        let mut bytes = Vec::new();
        let broken = |error: io::Error| AskError::Connection(failure(error.into(), operation, &host));
        io::Read::read_to_end(
            &mut io::Read::take(answer.reader(), request.max_bytes.saturating_add(1)),
            &mut bytes,
        )
        .map_err(broken)?;
        let length = bytes.len() as u64;
        match expected {
            _ if length > request.max_bytes => Err(too_long()),
            Some(expected) if expected != length => Err(broken(io::ErrorKind::UnexpectedEof.into())),
            _ => Ok(bytes),
        }
    }

    fn failed(&self, error: RegistryError) -> FetchError {
        let url = self.url.clone();
        match error {
            RegistryError::Interrupted(interrupted) => interrupted.into(),
            RegistryError::Status { status, .. } => FetchError::Status { url, status },
            error => FetchError::Connection {
                url,
                error: Box::new(error),
            },
        }
    }
}

/// The address without the name and the password in it, and those, `NAME:PASSWORD`.
fn split_password(url: &str) -> (String, Option<Vec<u8>>) {
    let Some((scheme, rest)) = url.split_once("://") else {
        return (url.to_owned(), None);
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    // What is behind # is not for the server.
    let path = path.split('#').next().unwrap_or_default();
    match authority.rsplit_once('@') {
        Some((user, host)) => (
            format!("{scheme}://{host}{path}"),
            Some(percent_decode_str(user).collect()),
        ),
        None => (format!("{scheme}://{authority}{path}"), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_taken_out() {
        for (url, plain, password) in [
            ("http://a.example/x?y#z", "http://a.example/x?y", None),
            (
                "https://jo:a%40b@a.example:1/x@y",
                "https://a.example:1/x@y",
                Some("jo:a@b"),
            ),
            ("http://jo@a.example", "http://a.example", Some("jo")),
            ("x", "x", None),
        ] {
            let expected = password.map(|password| password.as_bytes().to_vec());
            assert_eq!(split_password(url), (plain.to_owned(), expected), "{url}");
        }
    }

    #[test]
    fn what_makes_no_request_is_refused() {
        let fetch = |url, header: (&str, &str)| {
            let headers = [(header.0.to_owned(), header.1.to_owned())];
            let request = FetchRequest {
                url,
                headers: &headers,
                max_bytes: 1,
                time_limit: Duration::from_secs(1),
                verifies_tls: true,
            };
            fetch(
                &Client::new(super::super::Settings::default()),
                &request,
                &osmith_report::Silent,
            )
            .unwrap_err()
        };
        for bad in ["ftp://a/b", "http://", "http://:80/", "/x", "http://a b/"] {
            assert!(matches!(fetch(bad, ("a", "b")), FetchError::Address(_)), "{bad}");
        }
        assert!(matches!(fetch("http://a/", ("a b", "c")), FetchError::Header(_)));
        assert!(matches!(fetch("http://a/", ("a", "b\nc")), FetchError::Header(_)));
    }
}
