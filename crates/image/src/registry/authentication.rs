//! Proving who we are: a password with every request, or a token that is asked for first.
//!
//! Source: the distribution project's specifications of token authentication (`token.md`, `oauth.md`). A token is good
//! for some scopes and some time; it is used for all requests with the same scopes until shortly before its end.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use ureq::http::header::{AUTHORIZATION, CONTENT_TYPE};
use ureq::http::{Method, Uri};

use super::RegistryError;
use super::challenge::Challenge;
use super::wire::{Answer, Payload, Request, Wire, host_of};

/// What is not changed in a query.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');
/// The seconds that a token is good for if nothing is said.
const LIFETIME_SECONDS: u64 = 60;
/// A token that ends so soon is renewed.
const MARGIN: Duration = Duration::from_secs(10);
const ANSWER_MAX_BYTES: u64 = 1 << 20;
const OPERATION: &str = "the request for a token";

/// Who we are.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    /// A name and a password.
    Password {
        /// The name.
        username: String,
        /// The password.
        password: String,
    },
    /// A token that stands for both, and is good for getting other tokens.
    IdentityToken(String),
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Credential::Password { username, .. } => write!(f, "Password({username})"),
            Credential::IdentityToken(_) => f.write_str("IdentityToken"),
        }
    }
}

impl Credential {
    /// Whom messages speak of.
    pub(super) fn name(&self) -> &str {
        match self {
            Credential::Password { username, .. } => username,
            Credential::IdentityToken(_) => "the identity token",
        }
    }

    fn basic(&self) -> Option<String> {
        match self {
            Credential::Password { username, password } => Some(format!(
                "Basic {}",
                STANDARD.encode(format!("{username}:{password}"))
            )),
            Credential::IdentityToken(_) => None,
        }
    }
}

/// The tokens that a registry has given us.
#[derive(Debug, Default)]
pub(super) struct Tokens(Mutex<HashMap<String, Token>>);

struct Token {
    text: String,
    ends: Instant,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            .field("ends", &self.ends)
            .finish_non_exhaustive()
    }
}

/// Who asks whom for what.
pub(super) struct Asking<'a> {
    pub(super) wire: &'a Wire,
    pub(super) challenges: &'a [Challenge],
    pub(super) credential: Option<&'a Credential>,
    /// `repository:PATH:pull,push`.
    pub(super) scopes: &'a [String],
    pub(super) insecure: bool,
}

impl Tokens {
    /// The value of the header `Authorization`; `None` if the registry asks for nothing that we have.
    pub(super) fn authorization(&self, asking: &Asking) -> Result<Option<String>, RegistryError> {
        for challenge in asking.challenges {
            match challenge {
                Challenge::Basic => {
                    if let Some(basic) = asking.credential.and_then(Credential::basic) {
                        return Ok(Some(basic));
                    }
                }
                Challenge::Bearer {
                    realm,
                    service,
                    scope,
                } => {
                    let token = self.token(asking, realm, service.as_deref(), scope.as_deref())?;
                    return Ok(Some(format!("Bearer {token}")));
                }
            }
        }
        Ok(None)
    }

    /// Forgets the tokens for some scopes: the registry did not take them.
    pub(super) fn forget(&self, scopes: &[String]) {
        self.lock().remove(&scopes.join(" "));
    }

    fn token(
        &self,
        asking: &Asking,
        realm: &str,
        service: Option<&str>,
        scope: Option<&str>,
    ) -> Result<String, RegistryError> {
        let key = asking.scopes.join(" ");
        let is_good = |token: &&Token| token.ends > Instant::now() + MARGIN;
        if let Some(token) = self.lock().get(&key).filter(is_good) {
            return Ok(token.text.clone());
        }
        let scopes = match asking.scopes {
            [] => scope.map(str::to_owned).into_iter().collect(),
            scopes => scopes.to_vec(),
        };
        let token = fetch_token(asking, realm, service, &scopes)?;
        let text = token.text.clone();
        self.lock().insert(key, token);
        Ok(text)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Token>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Deserialize)]
struct TokenAnswer {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

fn fetch_token(
    asking: &Asking,
    realm: &str,
    service: Option<&str>,
    scopes: &[String],
) -> Result<Token, RegistryError> {
    let now = Instant::now();
    let answer = match asking.credential {
        Some(Credential::IdentityToken(token)) => post(asking, realm, service, scopes, token),
        _ => get(asking, realm, service, scopes),
    }?;
    let host = host_of(&answer.uri);
    match (answer.status, asking.credential) {
        (200..=299, _) => {}
        (401 | 403, Some(credential)) => {
            return Err(RegistryError::WrongPassword {
                host,
                username: credential.name().to_owned(),
            });
        }
        (401 | 403, None) => {
            return Err(RegistryError::LoginRequired {
                operation: OPERATION.to_owned(),
                host,
            });
        }
        _ => return Err(answer.into_error(OPERATION)),
    }
    let no_token = |reason: &str| RegistryError::Protocol {
        operation: OPERATION.to_owned(),
        host: host.clone(),
        reason: reason.to_owned(),
    };
    let bytes = answer.bytes(ANSWER_MAX_BYTES, OPERATION)?;
    let parsed: TokenAnswer = serde_json::from_slice(&bytes).map_err(|_| no_token("it is no JSON"))?;
    let text = [parsed.token, parsed.access_token]
        .into_iter()
        .flatten()
        .find(|text| !text.is_empty());
    let lifetime = Duration::from_secs(parsed.expires_in.unwrap_or(LIFETIME_SECONDS));
    Ok(Token {
        text: text.ok_or_else(|| no_token("it has no token"))?,
        ends: now.checked_add(lifetime).unwrap_or(now),
    })
}

fn get(
    asking: &Asking,
    realm: &str,
    service: Option<&str>,
    scopes: &[String],
) -> Result<Answer, RegistryError> {
    let mut query: Vec<(&str, &str)> = service.map(|service| ("service", service)).into_iter().collect();
    query.extend(scopes.iter().map(|scope| ("scope", scope.as_str())));
    if let Some(Credential::Password { username, .. }) = asking.credential {
        query.push(("account", username));
    }
    let separator = if realm.contains('?') { '&' } else { '?' };
    let uri = realm_uri(&format!("{realm}{separator}{}", encoded(&query)))?;
    let basic = asking.credential.and_then(Credential::basic);
    asking.wire.send(Request {
        method: Method::GET,
        uri,
        headers: basic.map(|basic| (AUTHORIZATION, basic)).into_iter().collect(),
        payload: Payload::Nothing,
        operation: OPERATION,
        insecure: asking.insecure,
        time_limit: None,
    })
}

fn post(
    asking: &Asking,
    realm: &str,
    service: Option<&str>,
    scopes: &[String],
    token: &str,
) -> Result<Answer, RegistryError> {
    let scope = scopes.join(" ");
    let mut form = vec![
        ("grant_type", "refresh_token"),
        ("client_id", "osmith"),
        ("refresh_token", token),
        ("scope", &scope),
    ];
    form.extend(service.map(|service| ("service", service)));
    let form = encoded(&form);
    asking.wire.send(Request {
        method: Method::POST,
        uri: realm_uri(realm)?,
        headers: vec![(CONTENT_TYPE, "application/x-www-form-urlencoded".to_owned())],
        payload: Payload::Bytes(form.as_bytes()),
        operation: OPERATION,
        insecure: asking.insecure,
        time_limit: None,
    })
}

fn realm_uri(text: &str) -> Result<Uri, RegistryError> {
    let uri: Option<Uri> = text.parse().ok();
    uri.filter(|uri| matches!(uri.scheme_str(), Some("http" | "https")))
        .ok_or_else(|| RegistryError::Protocol {
            operation: OPERATION.to_owned(),
            host: String::new(),
            reason: format!("'{text}' is no address that gives tokens"),
        })
}

fn encoded(pairs: &[(&str, &str)]) -> String {
    let pairs = pairs
        .iter()
        .map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, QUERY)));
    pairs.collect::<Vec<_>>().join("&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_encoded() {
        assert_eq!(
            encoded(&[("scope", "repository:a/b:pull,push"), ("account", "jo&jo")]),
            "scope=repository%3Aa%2Fb%3Apull%2Cpush&account=jo%26jo"
        );
    }

    #[test]
    fn passwords_are_not_shown() {
        let credential = Credential::Password {
            username: "jo".to_owned(),
            password: "secret".to_owned(),
        };
        assert_eq!(format!("{credential:?}"), "Password(jo)");
        assert_eq!(credential.basic().unwrap(), "Basic am86c2VjcmV0");
        assert_eq!(
            format!("{:?}", Credential::IdentityToken("secret".to_owned())),
            "IdentityToken"
        );
    }
}
