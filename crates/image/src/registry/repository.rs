//! One repository of a registry: requests with the right proof of who we are, tried again where that helps.
//!
//! Source: OCI distribution specification 1.1.

use std::sync::{Arc, Mutex, PoisonError};

use osmith_report::Observer;
use ureq::http::header::{ACCEPT, AUTHORIZATION, HeaderName, RANGE, WWW_AUTHENTICATE};
use ureq::http::{HeaderMap, Method, Uri};

use super::authentication::{Asking, Credential, Tokens};
use super::challenge::{Challenge, parse_challenges};
use super::retry::Tries;
use super::wire::{Answer, Payload, Request, Wire};
use super::{Client, RegistryError};
use crate::digest::Sha256Digest;
use crate::manifest::{JSON_MAX_BYTES, media_type};

/// A registry, and what we know of it.
#[derive(Debug)]
pub(super) struct Registry {
    /// The host, with its port if it is an unusual one.
    pub(super) host: String,
    /// Whether it may speak HTTP, and show any certificate.
    pub(super) insecure: bool,
    reached: Mutex<Option<Reached>>,
    tokens: Tokens,
}

/// How a registry is spoken to.
#[derive(Debug, Clone)]
struct Reached {
    scheme: &'static str,
    challenges: Vec<Challenge>,
}

/// A repository of a registry.
#[derive(Clone)]
pub(super) struct Repository<'a> {
    pub(super) client: &'a Client,
    pub(super) registry: Arc<Registry>,
    /// The name within the registry: `shop/webserver`.
    pub(super) path: String,
    pub(super) credential: Option<Credential>,
    pub(super) observer: &'a dyn Observer,
}

/// What may be done in a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Right {
    Pull,
    PullAndPush,
}

/// A request to a repository.
pub(super) struct Call<'a> {
    pub(super) method: Method,
    pub(super) target: Target<'a>,
    pub(super) headers: Vec<(HeaderName, String)>,
    pub(super) scopes: Vec<String>,
    /// What it is for, in messages.
    pub(super) operation: &'a str,
}

pub(super) enum Target<'a> {
    /// A path below the repository: `manifests/latest`.
    Path(&'a str),
    /// An address that the registry gave.
    Uri(Uri),
}

/// A manifest or an index.
pub(super) struct FetchedManifest {
    pub(super) bytes: Vec<u8>,
    pub(super) digest: Sha256Digest,
}

impl Registry {
    pub(super) fn new(host: &str, insecure: bool) -> Self {
        Registry {
            host: host.to_owned(),
            insecure,
            reached: Mutex::default(),
            tokens: Tokens::default(),
        }
    }

    /// Finds out how the registry is spoken to; once.
    fn reach(&self, wire: &Wire) -> Result<Reached, RegistryError> {
        let mut reached = self.reached.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(reached) = &*reached {
            return Ok(reached.clone());
        }
        let found = match self.ping(wire, "https") {
            Err(error) if self.insecure && error.may_be_plain_http() => {
                // The first error says more, unless the second way is the right one.
                self.ping(wire, "http").map_err(|second| match second {
                    RegistryError::Connect { .. }
                    | RegistryError::Proxy { .. }
                    | RegistryError::Broken { .. } => error,
                    second => second,
                })
            }
            found => found,
        }?;
        *reached = Some(found.clone());
        Ok(found)
    }

    fn ping(&self, wire: &Wire, scheme: &'static str) -> Result<Reached, RegistryError> {
        const OPERATION: &str = "the first request";
        let answer = wire.send(Request {
            method: Method::GET,
            uri: uri(&format!("{scheme}://{}/v2/", self.host), &self.host, OPERATION)?,
            headers: Vec::new(),
            payload: Payload::Nothing,
            operation: OPERATION,
            insecure: self.insecure,
            time_limit: None,
        })?;
        match answer.status {
            408 | 429 | 500..=599 => Err(answer.into_error(OPERATION)),
            _ => Ok(Reached {
                scheme,
                challenges: challenges(&answer.headers),
            }),
        }
    }

    /// Notes what the registry asks for with another answer than the first.
    fn note_challenges(&self, headers: &HeaderMap) {
        let challenges = challenges(headers);
        let mut reached = self.reached.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(reached) = reached.as_mut()
            && !challenges.is_empty()
        {
            reached.challenges = challenges;
        }
    }
}

impl Repository<'_> {
    /// The name in full: `registry.example.org/shop/webserver`.
    pub(super) fn name(&self) -> String {
        format!("{}/{}", self.registry.host, self.path)
    }

    /// What a token must allow.
    pub(super) fn scope(&self, right: Right) -> String {
        let actions = match right {
            Right::Pull => "pull",
            Right::PullAndPush => "pull,push",
        };
        format!("repository:{}:{actions}", self.path)
    }

    /// Tries something as often as it is worth it.
    pub(super) fn tries<T>(
        &self,
        attempt: impl FnMut() -> Result<T, RegistryError>,
    ) -> Result<T, RegistryError> {
        Tries::new(self.client.retry(), self.observer).run(attempt)
    }

    /// Fetches what a tag or a digest stands for.
    pub(super) fn manifest(&self, selector: &str) -> Result<FetchedManifest, RegistryError> {
        let operation = format!(
            "the request for the manifest of '{}'",
            named(&self.name(), selector)
        );
        self.tries(|| {
            let accept = [
                media_type::MANIFEST,
                media_type::INDEX,
                media_type::DOCKER_MANIFEST,
                media_type::DOCKER_INDEX,
            ];
            let answer = self.call(
                Call {
                    method: Method::GET,
                    target: Target::Path(&format!("manifests/{selector}")),
                    headers: vec![(ACCEPT, accept.join(", "))],
                    scopes: vec![self.scope(Right::Pull)],
                    operation: &operation,
                },
                Payload::Nothing,
            )?;
            match answer.status {
                200 => {
                    let bytes = answer.bytes(JSON_MAX_BYTES, &operation)?;
                    let digest = Sha256Digest::of(&bytes);
                    Ok(FetchedManifest { bytes, digest })
                }
                404 => Err(RegistryError::UnknownImage {
                    host: self.registry.host.clone(),
                    name: named(&self.path, selector),
                    message: answer.message(),
                }),
                _ => Err(answer.into_error(&operation)),
            }
        })
    }

    /// Whether the registry takes the credential: it is asked for what is allowed to everybody who is known.
    pub(super) fn check_login(&self) -> Result<(), RegistryError> {
        const OPERATION: &str = "the login";
        self.tries(|| {
            let reached = self.registry.reach(self.client.wire())?;
            let host = &self.registry.host;
            let root = uri(&format!("{}://{host}/v2/", reached.scheme), host, OPERATION)?;
            let answer = self.call(
                Call {
                    method: Method::GET,
                    target: Target::Uri(root),
                    headers: Vec::new(),
                    scopes: Vec::new(),
                    operation: OPERATION,
                },
                Payload::Nothing,
            )?;
            match answer.status {
                200..=299 => Ok(()),
                _ => Err(answer.into_error(OPERATION)),
            }
        })
    }

    /// Asks once for the bytes of a blob from `offset_bytes` on; the registry may send all of them (status 200).
    pub(super) fn open_blob(
        &self,
        digest: &Sha256Digest,
        offset_bytes: u64,
        operation: &str,
    ) -> Result<Answer, RegistryError> {
        let range = (offset_bytes > 0).then(|| (RANGE, format!("bytes={offset_bytes}-")));
        let answer = self.call(
            Call {
                method: Method::GET,
                target: Target::Path(&format!("blobs/{digest}")),
                headers: range.into_iter().collect(),
                scopes: vec![self.scope(Right::Pull)],
                operation,
            },
            Payload::Nothing,
        )?;
        match answer.status {
            200 | 206 => Ok(answer),
            404 => Err(RegistryError::MissingBlob {
                host: self.registry.host.clone(),
                digest: *digest,
            }),
            _ => Err(answer.into_error(operation)),
        }
    }

    /// Makes a request, once; only a proof that is not taken is renewed, once. An answer that refuses us is an error.
    pub(super) fn call(&self, call: Call, payload: Payload) -> Result<Answer, RegistryError> {
        let reached = self.registry.reach(self.client.wire())?;
        let again = match &payload {
            Payload::Nothing => Some(Payload::Nothing),
            Payload::Bytes(bytes) => Some(Payload::Bytes(bytes)),
            Payload::Stream(..) => None,
        };
        let mut answer = self.call_once(&call, &reached, payload)?;
        if answer.status == 401
            && let Some(payload) = again
        {
            self.registry.note_challenges(&answer.headers);
            self.registry.tokens.forget(&call.scopes);
            let reached = self.registry.reach(self.client.wire())?;
            answer = self.call_once(&call, &reached, payload)?;
        }
        self.require_allowed(answer, &call)
    }

    fn call_once(&self, call: &Call, reached: &Reached, payload: Payload) -> Result<Answer, RegistryError> {
        let uri = match &call.target {
            Target::Path(path) => {
                let (host, repository) = (&self.registry.host, &self.path);
                let text = format!("{}://{host}/v2/{repository}/{path}", reached.scheme);
                uri(&text, host, call.operation)?
            }
            Target::Uri(uri) => uri.clone(),
        };
        let mut headers = call.headers.clone();
        // An upload may go to another host, which proves in the address that it may.
        if super::wire::host_of(&uri) == self.registry.host {
            let authorization = self.registry.tokens.authorization(&Asking {
                wire: self.client.wire(),
                challenges: &reached.challenges,
                credential: self.credential.as_ref(),
                scopes: &call.scopes,
                insecure: self.registry.insecure,
            })?;
            headers.extend(authorization.map(|value| (AUTHORIZATION, value)));
        }
        self.client.wire().send(Request {
            method: call.method.clone(),
            uri,
            headers,
            payload,
            operation: call.operation,
            insecure: self.registry.insecure,
            time_limit: None,
        })
    }

    fn require_allowed(&self, answer: Answer, call: &Call) -> Result<Answer, RegistryError> {
        let host = self.registry.host.clone();
        let operation = call.operation.to_owned();
        match (answer.status, &self.credential) {
            (401, Some(credential)) => Err(RegistryError::WrongPassword {
                host,
                username: credential.name().to_owned(),
            }),
            (401, None) => Err(RegistryError::LoginRequired { operation, host }),
            (403, _) => Err(RegistryError::Denied {
                operation,
                host,
                message: answer.message(),
            }),
            _ => Ok(answer),
        }
    }
}

/// `NAME:TAG` or `NAME@DIGEST`.
pub(super) fn named(name: &str, selector: &str) -> String {
    match selector.contains(':') {
        true => format!("{name}@{selector}"),
        false => format!("{name}:{selector}"),
    }
}

fn challenges(headers: &HeaderMap) -> Vec<Challenge> {
    let values = headers.get_all(WWW_AUTHENTICATE).into_iter();
    values
        .filter_map(|value| value.to_str().ok())
        .flat_map(parse_challenges)
        .collect()
}

fn uri(text: &str, host: &str, operation: &str) -> Result<Uri, RegistryError> {
    text.parse().map_err(|_| RegistryError::Protocol {
        operation: operation.to_owned(),
        host: host.to_owned(),
        reason: format!("'{text}' is no address"),
    })
}
