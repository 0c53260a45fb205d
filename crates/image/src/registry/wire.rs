//! Requests and answers: connections to hosts, redirects, and what went wrong with them.
//!
//! A redirect leads to where blobs are kept. What proves who we are is for the registry and never goes along to another
//! host.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{self, Read};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use osmith_report::Interrupted;
use ureq::http::header::{
    AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, LOCATION, PROXY_AUTHORIZATION, RETRY_AFTER,
};
use ureq::http::{Method, Request as HttpRequest, StatusCode, Uri};
use ureq::unversioned::transport::Connector as _;
use ureq::{Agent, Body, SendBody};

use super::certificates::Certificates;
use super::error::CertificateProblem;
use super::proxy::Proxy;
use super::retry::parse_retry_after;
use super::socket::{NameResolver, SocketConnector, Wish};
use super::tls::TlsConnector;
use super::tunnel::{ProxyConnector, ProxyRefusal};
use super::{Proxies, RegistryError};

const USER_AGENT: &str = concat!("osmith/", env!("CARGO_PKG_VERSION"));
const REDIRECTS_MAX: u32 = 10;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// A host that says nothing for so long is taken for dead. A registry may take long to store what was sent.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(120);
const IDLE_CONNECTIONS_MAX: usize = 16;
/// So much of an answer that is an error is read.
const MESSAGE_MAX_BYTES: u64 = 64 << 10;
const MESSAGE_MAX_CHARACTERS: usize = 200;

/// The connections to all hosts.
#[derive(Debug)]
pub(super) struct Wire {
    certificates: Certificates,
    proxies: Proxies,
    wish: Wish,
    routes: Mutex<BTreeMap<(String, bool), Route>>,
}

/// How a host is reached.
#[derive(Debug, Clone)]
struct Route {
    agent: Agent,
    proxy: Option<Proxy>,
}

/// A request.
pub(super) struct Request<'a, 'p> {
    pub(super) method: Method,
    pub(super) uri: Uri,
    pub(super) headers: Vec<(HeaderName, String)>,
    pub(super) payload: Payload<'p>,
    /// What the request is for, in messages: `the request for the blob sha256:…`.
    pub(super) operation: &'a str,
    /// Whether the certificate of the host may be any.
    pub(super) insecure: bool,
    /// After so long it has failed, whatever came by then; only of requests that send nothing along.
    pub(super) time_limit: Option<Duration>,
}

/// What is sent along.
pub(super) enum Payload<'a> {
    Nothing,
    Bytes(&'a [u8]),
    /// Bytes until the end of a reader, and their number if it is known.
    Stream(&'a mut dyn Read, Option<u64>),
}

/// An answer, whatever its status.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Body,
    /// Where it came from in the end.
    pub(super) uri: Uri,
}

impl Wire {
    pub(super) fn new(certificates: Certificates, proxies: Proxies, wish: Wish) -> Self {
        Wire {
            certificates,
            proxies,
            wish,
            routes: Mutex::default(),
        }
    }

    /// Sends a request and follows where it is sent to, if it asks for something.
    pub(super) fn send(&self, mut request: Request) -> Result<Answer, RegistryError> {
        for _ in 0..REDIRECTS_MAX {
            let answer = self.send_once(&mut request)?;
            let follows = matches!(request.method, Method::GET | Method::HEAD)
                && matches!(answer.status, 301 | 302 | 303 | 307 | 308);
            if !follows {
                return Ok(answer);
            }
            let target = answer.location(request.operation)?;
            if !same_host(&target, &request.uri) {
                request.headers.retain(|(name, _)| name != AUTHORIZATION);
            }
            request.uri = target;
        }
        Err(RegistryError::Protocol {
            operation: request.operation.to_owned(),
            host: host_of(&request.uri),
            reason: format!("it redirects more than {REDIRECTS_MAX} times"),
        })
    }

    fn send_once(&self, request: &mut Request) -> Result<Answer, RegistryError> {
        let route = self.route(&request.uri, request.insecure)?;
        let host = host_of(&request.uri);
        let mut builder = HttpRequest::builder()
            .method(request.method.clone())
            .uri(request.uri.clone());
        for (name, value) in &request.headers {
            builder = builder.header(name, value);
        }
        if let Some(authorization) = route.authorization(&request.uri) {
            builder = builder.header(PROXY_AUTHORIZATION, authorization);
        }
        let body = match &mut request.payload {
            Payload::Nothing => None,
            Payload::Bytes(bytes) => {
                builder = builder.header("Content-Length", bytes.len());
                Some(SendBody::from_reader(bytes))
            }
            Payload::Stream(reader, size_bytes) => {
                if let Some(size_bytes) = size_bytes {
                    builder = builder.header("Content-Length", *size_bytes);
                }
                Some(SendBody::from_reader(*reader))
            }
        };
        let malformed = |error: ureq::http::Error| RegistryError::Protocol {
            operation: request.operation.to_owned(),
            host: host.clone(),
            reason: error.to_string(),
        };
        let sent = match body {
            Some(body) => route.agent.run(builder.body(body).map_err(malformed)?),
            None => {
                let limited = route
                    .agent
                    .configure_request(builder.body(()).map_err(malformed)?)
                    .timeout_global(request.time_limit)
                    .build();
                route.agent.run(limited)
            }
        };
        let response = sent.map_err(|error| route.failure(error, request.operation, &host))?;
        let (parts, body) = response.into_parts();
        if let Some(proxy) = &route.proxy
            && parts.status == StatusCode::PROXY_AUTHENTICATION_REQUIRED
        {
            let refusal = ProxyRefusal::Status(parts.status.as_u16());
            return Err(proxy_failure(proxy, &host, refusal.into()));
        }
        Ok(Answer {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body,
            uri: request.uri.clone(),
        })
    }

    /// The connections to a host; made when they are first needed.
    fn route(&self, uri: &Uri, insecure: bool) -> Result<Route, RegistryError> {
        let key = (origin(uri), insecure);
        let mut routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(route) = routes.get(&key) {
            return Ok(route.clone());
        }
        let route = self.new_route(uri, insecure)?;
        routes.insert(key, route.clone());
        Ok(route)
    }

    fn new_route(&self, uri: &Uri, insecure: bool) -> Result<Route, RegistryError> {
        let proxy = self.proxies.for_uri(uri)?;
        let has_tls = uri.scheme_str() == Some("https");
        // A connection that a proxy reads along on is for one request.
        let idle_connections = match &proxy {
            Some(_) if !has_tls => 0,
            _ => IDLE_CONNECTIONS_MAX,
        };
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .user_agent(USER_AGENT)
            .accept("*/*")
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_per_read(Some(SILENCE_TIMEOUT))
            .timeout_per_write(Some(SILENCE_TIMEOUT))
            .max_idle_connections(idle_connections)
            .max_idle_connections_per_host(idle_connections)
            .build();
        let resolver = NameResolver {
            proxy: proxy.as_ref().map(|proxy| proxy.uri().clone()),
            wish: self.wish.clone(),
        };
        let secured_proxy = proxy.as_ref().filter(|proxy| proxy.has_tls());
        let through_proxy = ProxyConnector {
            proxy: proxy.clone(),
            tls: secured_proxy
                .map(|proxy| self.tls_connector(&proxy.host_and_port(), false))
                .transpose()?,
        };
        let plain = ().chain(SocketConnector(self.wish.clone())).chain(through_proxy);
        let agent = match has_tls {
            false => Agent::with_parts(config, plain, resolver),
            true => {
                let tls = self.tls_connector(&host_of(uri), insecure)?;
                Agent::with_parts(config, plain.chain(tls), resolver)
            }
        };
        Ok(Route { agent, proxy })
    }

    fn tls_connector(&self, host: &str, insecure: bool) -> Result<TlsConnector, RegistryError> {
        let trust = self.certificates.for_host(host, insecure)?;
        TlsConnector::new(trust).map_err(|error| RegistryError::Connect {
            host: host.to_owned(),
            source: error.into(),
        })
    }
}

impl Route {
    /// What a proxy is told with every request that it reads; with others it learns it when it is connected to.
    fn authorization(&self, uri: &Uri) -> Option<String> {
        let proxy = self.proxy.as_ref().filter(|_| uri.scheme_str() != Some("https"));
        proxy.and_then(Proxy::authorization)
    }

    /// With a proxy, only the proxy is ever connected to.
    fn failure(&self, error: ureq::Error, operation: &str, host: &str) -> RegistryError {
        match (&self.proxy, failure(error, operation, host)) {
            (Some(proxy), RegistryError::Connect { source, .. }) => proxy_failure(proxy, host, source),
            (_, error) => error,
        }
    }
}

fn proxy_failure(proxy: &Proxy, host: &str, source: Box<dyn Error + Send + Sync>) -> RegistryError {
    RegistryError::Proxy {
        host: host.to_owned(),
        proxy: proxy.host_and_port(),
        setting: proxy.setting_name().to_owned(),
        source,
    }
}

impl Answer {
    /// A header that is text.
    pub(super) fn header(&self, name: impl ureq::http::header::AsHeaderName) -> Option<&str> {
        self.headers.get(name).map(HeaderValue::to_str)?.ok()
    }

    /// The whole body, if it is not longer than that.
    pub(super) fn bytes(self, max_bytes: u64, operation: &str) -> Result<Vec<u8>, RegistryError> {
        let host = host_of(&self.uri);
        let mut bytes = Vec::new();
        self.reader()
            .take(max_bytes.saturating_add(1))
            .read_to_end(&mut bytes)
            .map_err(|error| failure(error.into(), operation, &host))?;
        match bytes.len() as u64 > max_bytes {
            false => Ok(bytes),
            true => Err(RegistryError::Protocol {
                operation: operation.to_owned(),
                host,
                reason: format!("it is longer than {max_bytes} bytes"),
            }),
        }
    }

    /// The bytes of the body as they come.
    pub(super) fn reader(self) -> impl Read + Send {
        self.body.into_with_config().limit(u64::MAX).reader()
    }

    /// Where the header `Location` leads, which may leave out what is the same.
    pub(super) fn location(&self, operation: &str) -> Result<Uri, RegistryError> {
        let protocol = |reason: String| RegistryError::Protocol {
            operation: operation.to_owned(),
            host: host_of(&self.uri),
            reason,
        };
        let text = self
            .header(LOCATION)
            .ok_or_else(|| protocol("it does not say where to go on".to_owned()))?;
        resolve(&self.uri, text).ok_or_else(|| protocol(format!("it sends to '{text}'")))
    }

    /// The error that an unexpected status stands for.
    pub(super) fn into_error(self, operation: &str) -> RegistryError {
        let host = host_of(&self.uri);
        let status = self.status;
        let retry_after = self.header(RETRY_AFTER);
        let retry_after_seconds = retry_after.and_then(|value| parse_retry_after(value, SystemTime::now()));
        RegistryError::Status {
            operation: operation.to_owned(),
            host,
            status,
            message: self.message(),
            retry_after_seconds,
        }
    }

    /// What the registry says of an error: its first sentence, fit for one line.
    pub(super) fn message(self) -> String {
        let mut bytes = Vec::new();
        // A message that is cut off is no reason to hide the error that it explains.
        let _ = self.reader().take(MESSAGE_MAX_BYTES).read_to_end(&mut bytes);
        message_of(&bytes)
    }
}

fn message_of(bytes: &[u8]) -> String {
    let Ok(json) = serde_json::from_slice::<serde_json::Value>(bytes) else {
        return String::new();
    };
    let first = json.pointer("/errors/0").unwrap_or(&json);
    let field = |name: &str| {
        first
            .get(name)
            .and_then(|value| value.as_str())
            .unwrap_or_default()
    };
    let message = match (field("message"), field("details")) {
        ("", details) => [details, field("code")].into_iter().find(|text| !text.is_empty()),
        (message, _) => Some(message),
    };
    let printable = message
        .unwrap_or_default()
        .chars()
        .filter(|character| !character.is_control());
    printable.take(MESSAGE_MAX_CHARACTERS).collect()
}

/// The host of an address, with its port if it is an unusual one.
pub(super) fn host_of(uri: &Uri) -> String {
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host)
        .to_owned()
}

fn origin(uri: &Uri) -> String {
    format!("{}://{}", uri.scheme_str().unwrap_or_default(), host_of(uri))
}

fn same_host(left: &Uri, right: &Uri) -> bool {
    origin(left) == origin(right)
}

/// A reference in an answer from `base` (RFC 3986, 5.2, without dots in paths).
fn resolve(base: &Uri, reference: &str) -> Option<Uri> {
    let scheme = base.scheme_str()?;
    let text = if reference.starts_with("http://") || reference.starts_with("https://") {
        reference.to_owned()
    } else if reference.starts_with("//") {
        format!("{scheme}:{reference}")
    } else if reference.starts_with('/') {
        format!("{}{reference}", origin(base))
    } else if reference.starts_with('?') {
        format!("{}{}{reference}", origin(base), base.path())
    } else {
        let directory = base
            .path()
            .rsplit_once('/')
            .map_or("", |(directory, _)| directory);
        format!("{}{directory}/{reference}", origin(base))
    };
    text.parse()
        .ok()
        .filter(|uri: &Uri| uri.host().is_some_and(|host| !host.is_empty()))
}

/// What an error of the connection means.
pub(super) fn failure(error: ureq::Error, operation: &str, host: &str) -> RegistryError {
    if inner_error::<Interrupted>(&error).is_some() {
        return Interrupted.into();
    }
    if let Some(tls) = inner_error(&error) {
        return tls_failure(tls, operation, host);
    }
    let host = host.to_owned();
    if let Some(refusal) = inner_error::<ProxyRefusal>(&error) {
        let source = refusal.clone().into();
        return RegistryError::Connect { host, source };
    }
    let connect = match &error {
        ureq::Error::HostNotFound
        | ureq::Error::ConnectionFailed
        | ureq::Error::Timeout(ureq::Timeout::Connect | ureq::Timeout::Resolve) => true,
        ureq::Error::Io(error) => matches!(
            error.kind(),
            io::ErrorKind::ConnectionRefused
                | io::ErrorKind::HostUnreachable
                | io::ErrorKind::NetworkUnreachable
                | io::ErrorKind::AddrNotAvailable
        ),
        _ => false,
    };
    let source: Box<dyn Error + Send + Sync> = match error {
        ureq::Error::Io(error) => error.into(),
        ureq::Error::HostNotFound => "the name is not known".into(),
        ureq::Error::Timeout(_) => "there is no answer".into(),
        error => error.into(),
    };
    match connect {
        true => RegistryError::Connect { host, source },
        false => RegistryError::Broken {
            operation: operation.to_owned(),
            host,
            source,
        },
    }
}

/// What an error of input or output was made of.
fn inner_error<T: Error + 'static>(error: &ureq::Error) -> Option<&T> {
    match error {
        ureq::Error::Io(error) => error.get_ref()?.downcast_ref(),
        _ => None,
    }
}

fn tls_failure(error: &rustls::Error, operation: &str, host: &str) -> RegistryError {
    use rustls::{AlertDescription, CertificateError, InvalidMessage};
    let reason = match error {
        rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            return RegistryError::PlainHttp(host.to_owned());
        }
        rustls::Error::InvalidCertificate(error) => match error {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                CertificateProblem::Expired
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                CertificateProblem::NotYetValid
            }
            CertificateError::UnknownIssuer => CertificateProblem::UnknownIssuer,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                CertificateProblem::OtherHost
            }
            CertificateError::Revoked => CertificateProblem::Revoked,
            _ => CertificateProblem::Invalid,
        },
        rustls::Error::AlertReceived(
            AlertDescription::CertificateRequired
            | AlertDescription::BadCertificate
            | AlertDescription::UnknownCA
            | AlertDescription::CertificateUnknown,
        ) => CertificateProblem::Client,
        error => {
            return RegistryError::Broken {
                operation: operation.to_owned(),
                host: host.to_owned(),
                source: error.clone().into(),
            };
        }
    };
    RegistryError::Certificate {
        host: host.to_owned(),
        reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_are_whole_or_leave_out_what_is_the_same() {
        let base = Uri::from_static("https://registry.example:5000/v2/a/blobs/uploads/1?x=1");
        for (reference, expected) in [
            ("https://other.example/x?y=%2F", "https://other.example/x?y=%2F"),
            (
                "/v2/a/blobs/uploads/2?_state=z",
                "https://registry.example:5000/v2/a/blobs/uploads/2?_state=z",
            ),
            ("//other.example/x", "https://other.example/x"),
            ("2?y", "https://registry.example:5000/v2/a/blobs/uploads/2?y"),
            ("?y", "https://registry.example:5000/v2/a/blobs/uploads/1?y"),
        ] {
            assert_eq!(resolve(&base, reference).unwrap().to_string(), expected);
        }
        for bad in ["https://", "http:// x", "/a b"] {
            assert_eq!(resolve(&base, bad), None, "{bad}");
        }
    }

    #[test]
    fn messages_are_one_printable_line() {
        for (body, expected) in [
            (
                r#"{"errors":[{"code":"DENIED","message":"no\u0007 way\n"}]}"#,
                "no way",
            ),
            (r#"{"errors":[{"code":"DENIED"}]}"#, "DENIED"),
            (
                r#"{"details":"incorrect username or password"}"#,
                "incorrect username or password",
            ),
            ("<html>", ""),
            ("", ""),
        ] {
            assert_eq!(message_of(body.as_bytes()), expected, "{body}");
        }
    }
}
