//! Passwords for registries, where podman and docker keep them.
//!
//! ```json
//! {
//!   "auths": {"registry.example.org/shop": {"auth": "<base64 of NAME:PASSWORD>", "identitytoken": "…"}},
//!   "credHelpers": {"other.example.org": "secretservice"},
//!   "credsStore": "pass"
//! }
//! ```
//!
//! Source: containers-auth.json(5), docker's `config.json`, and the protocol of `docker-credential-*` programs: a word
//! as the argument, text on standard input, JSON on standard output. The longest part of a name that a file knows
//! counts; a helper knows whole registries only.

use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use osmith_report::{Class, Failure};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Credential;

/// A name of a user that stands for an identity token.
const TOKEN_USERNAME: &str = "<token>";
/// What docker calls its own registry.
const DOCKER_KEY: &str = "index.docker.io";

/// The files that passwords are looked for in.
#[derive(Debug, Clone, Default)]
pub struct Credentials {
    /// The files, the first that knows a registry counts. Those that do not exist are left out.
    pub files: Vec<AuthFile>,
}

/// A file with passwords.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthFile {
    /// The file.
    pub path: PathBuf,
    /// Whether it is docker's old `.dockercfg`, which has nothing but what is below `auths` in others.
    pub legacy: bool,
}

/// Why passwords were not read or written.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// A file cannot be read or written.
    #[error("cannot {operation} '{}'", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file is malformed.
    #[error("'{}' is no file with passwords for registries: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A helper does not help.
    #[error("the credential helper '{program}' failed{}", colon(reason))]
    Helper {
        /// The program.
        program: String,
        /// What it said.
        reason: String,
    },
    /// Nobody is logged in.
    #[error("nobody is logged in to '{0}'")]
    NotLoggedIn(String),
}

impl Failure for CredentialsError {
    fn class(&self) -> Class {
        match self {
            CredentialsError::Io { .. } | CredentialsError::Helper { .. } => Class::Environment,
            CredentialsError::Malformed { .. } => Class::Input,
            CredentialsError::NotLoggedIn(_) => Class::NotFound,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            CredentialsError::Malformed { .. } => {
                vec!["repair or remove the file, then log in again with osmith login".to_owned()]
            }
            CredentialsError::Helper { program, .. } => {
                vec![format!(
                    "check that '{program}' is installed and works, or take it out of the auth file"
                )]
            }
            _ => Vec::new(),
        }
    }
}

impl Credentials {
    /// What is known for a repository `registry.example.org/shop/webserver`, or for a registry.
    pub fn find(&self, name: &str) -> Result<Option<Credential>, CredentialsError> {
        for file in &self.files {
            let Some(contents) = Contents::read(file)? else {
                continue;
            };
            if let Some(credential) = contents.find(name)? {
                return Ok(Some(credential));
            }
        }
        Ok(None)
    }
}

/// Remembers a password in a file, which is made if it is missing and readable for its owner alone.
pub fn store_credential(
    path: &Path,
    registry: &str,
    credential: &Credential,
) -> Result<(), CredentialsError> {
    let mut contents = Contents::read_or_new(path)?;
    if let Some(helper) = contents.helper(registry) {
        let (username, secret) = match credential {
            Credential::Password { username, password } => (username.as_str(), password.as_str()),
            Credential::IdentityToken(token) => (TOKEN_USERNAME, token.as_str()),
        };
        let request = json!({"ServerURL": registry, "Username": username, "Secret": secret});
        return run_helper(&helper, "store", &request.to_string()).map(drop);
    }
    let entry = match credential {
        Credential::Password { username, password } => {
            json!({"auth": STANDARD.encode(format!("{username}:{password}"))})
        }
        Credential::IdentityToken(token) => json!({"identitytoken": token}),
    };
    contents.auths_mut()?.insert(registry.to_owned(), entry);
    contents.write()
}

/// Forgets the password of a registry.
pub fn erase_credential(path: &Path, registry: &str) -> Result<(), CredentialsError> {
    let mut contents = Contents::read_or_new(path)?;
    let by_helper = match contents.helper(registry) {
        Some(helper) => run_helper(&helper, "erase", registry).is_ok(),
        None => false,
    };
    let known = contents.auths_mut()?.shift_remove(registry).is_some();
    match (known, by_helper) {
        (true, _) => contents.write(),
        (false, true) => Ok(()),
        (false, false) => Err(CredentialsError::NotLoggedIn(registry.to_owned())),
    }
}

/// Forgets all passwords of a file.
pub fn erase_all_credentials(path: &Path) -> Result<(), CredentialsError> {
    let mut contents = Contents::read_or_new(path)?;
    contents.auths_mut()?.clear();
    contents.write()
}

/// What a file says.
struct Contents {
    path: PathBuf,
    json: Map<String, Value>,
}

impl Contents {
    fn read(file: &AuthFile) -> Result<Option<Self>, CredentialsError> {
        let bytes = match std::fs::read(&file.path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => {
                return Err(CredentialsError::Io {
                    operation: "read",
                    path: file.path.clone(),
                    source,
                });
            }
        };
        Self::parse(&bytes, file).map(Some)
    }

    fn parse(bytes: &[u8], file: &AuthFile) -> Result<Self, CredentialsError> {
        let malformed = |reason: String| CredentialsError::Malformed {
            path: file.path.clone(),
            reason,
        };
        // Who makes the file first, as `touch` does, leaves it empty.
        let json: Map<String, Value> = match bytes.trim_ascii() {
            [] => Map::new(),
            bytes => serde_json::from_slice(bytes).map_err(|error| malformed(error.to_string()))?,
        };
        let json = match file.legacy {
            true => Map::from_iter([("auths".to_owned(), Value::Object(json))]),
            false => json,
        };
        Ok(Contents {
            path: file.path.clone(),
            json,
        })
    }

    fn read_or_new(path: &Path) -> Result<Self, CredentialsError> {
        let file = AuthFile {
            path: path.to_owned(),
            legacy: false,
        };
        Ok(Self::read(&file)?.unwrap_or(Contents {
            path: file.path,
            json: Map::new(),
        }))
    }

    fn find(&self, name: &str) -> Result<Option<Credential>, CredentialsError> {
        let registry = name.split('/').next().unwrap_or(name);
        let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
        if let Some(helper) = text(
            self.json
                .get("credHelpers")
                .and_then(|helpers| helpers.get(registry)),
        ) {
            return from_helper(&helper, registry);
        }
        if let Some(found) = self.in_auths(name, registry)? {
            return Ok(Some(found));
        }
        match text(self.json.get("credsStore")) {
            Some(helper) => from_helper(&helper, registry),
            None => Ok(None),
        }
    }

    fn in_auths(&self, name: &str, registry: &str) -> Result<Option<Credential>, CredentialsError> {
        let Some(Value::Object(auths)) = self.json.get("auths") else {
            return Ok(None);
        };
        for key in prefixes(name) {
            if let Some(entry) = auths.get(key)
                && let Some(credential) = self.credential(key, entry)?
            {
                return Ok(Some(credential));
            }
        }
        let address_of = |key: &str| registry_of_address(key) == docker_key(registry);
        let by_address = auths.iter().find(|(key, _)| address_of(key));
        match by_address {
            Some((key, entry)) => self.credential(key, entry),
            None => Ok(None),
        }
    }

    fn credential(&self, key: &str, entry: &Value) -> Result<Option<Credential>, CredentialsError> {
        let text = |name: &str| entry.get(name).and_then(Value::as_str).unwrap_or_default();
        if !text("identitytoken").is_empty() {
            return Ok(Some(Credential::IdentityToken(text("identitytoken").to_owned())));
        }
        if text("auth").is_empty() {
            return Ok(None);
        }
        let malformed = || CredentialsError::Malformed {
            path: self.path.clone(),
            reason: format!("the password of '{key}' is no base64 of NAME:PASSWORD"),
        };
        let decoded = STANDARD.decode(text("auth")).map_err(|_| malformed())?;
        let decoded = String::from_utf8(decoded).map_err(|_| malformed())?;
        let (username, password) = decoded.split_once(':').ok_or_else(malformed)?;
        Ok(Some(Credential::Password {
            username: username.to_owned(),
            password: password.trim_end_matches('\0').to_owned(),
        }))
    }

    /// The helper that keeps the password of a registry.
    fn helper(&self, registry: &str) -> Option<String> {
        let own = self
            .json
            .get("credHelpers")
            .and_then(|helpers| helpers.get(registry));
        let helper = own.or_else(|| self.json.get("credsStore"))?;
        helper.as_str().map(str::to_owned)
    }

    fn auths_mut(&mut self) -> Result<&mut Map<String, Value>, CredentialsError> {
        let auths = self
            .json
            .entry("auths")
            .or_insert_with(|| Value::Object(Map::new()));
        auths.as_object_mut().ok_or_else(|| CredentialsError::Malformed {
            path: self.path.clone(),
            reason: "'auths' is no object".to_owned(),
        })
    }

    fn write(&self) -> Result<(), CredentialsError> {
        let failed = |source| CredentialsError::Io {
            operation: "write",
            path: self.path.clone(),
            source,
        };
        let directory = match self.path.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        std::fs::create_dir_all(directory).map_err(failed)?;
        let mut file = tempfile::Builder::new()
            .prefix(".auth-")
            .permissions(std::fs::Permissions::from_mode(0o600))
            .tempfile_in(directory)
            .map_err(failed)?;
        let mut text = serde_json::to_string_pretty(&self.json).unwrap_or_default();
        text.push('\n');
        file.write_all(text.as_bytes()).map_err(failed)?;
        file.as_file().sync_all().map_err(failed)?;
        file.persist(&self.path).map_err(|error| failed(error.error))?;
        std::fs::File::open(directory)
            .and_then(|directory| directory.sync_all())
            .map_err(failed)
    }
}

/// The name, then what is left of it without its last components.
fn prefixes(name: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(name), |name| name.rsplit_once('/').map(|(parent, _)| parent))
}

/// The registry of a key that is an address, as docker writes them: `https://registry.example.org/v1/`.
fn registry_of_address(key: &str) -> &str {
    let rest = key
        .strip_prefix("https://")
        .or_else(|| key.strip_prefix("http://"));
    match rest {
        Some(rest) => rest.split('/').next().unwrap_or(rest),
        None => key,
    }
}

fn docker_key(registry: &str) -> &str {
    match registry {
        "docker.io" => DOCKER_KEY,
        other => other,
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HelperAnswer {
    username: String,
    secret: String,
}

fn from_helper(helper: &str, registry: &str) -> Result<Option<Credential>, CredentialsError> {
    let Some(answer) = run_helper(helper, "get", registry)? else {
        return Ok(None);
    };
    let answer: HelperAnswer = serde_json::from_slice(&answer).map_err(|error| CredentialsError::Helper {
        program: program_of(helper),
        reason: error.to_string(),
    })?;
    Ok(Some(match answer.username.as_str() {
        TOKEN_USERNAME => Credential::IdentityToken(answer.secret),
        _ => Credential::Password {
            username: answer.username,
            password: answer.secret,
        },
    }))
}

/// Runs a helper; `None` if it knows nothing of what it was asked for.
fn run_helper(helper: &str, word: &str, input: &str) -> Result<Option<Vec<u8>>, CredentialsError> {
    let program = program_of(helper);
    let failed = |reason: String| CredentialsError::Helper {
        program: program.clone(),
        reason,
    };
    if helper.contains('/') {
        return Err(failed("its name has a '/'".to_owned()));
    }
    let mut child = Command::new(&program)
        .arg(word)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| failed(error.to_string()))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A helper that does not listen says why in its status.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child
        .wait_with_output()
        .map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        return Ok(Some(output.stdout));
    }
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    match said.contains("credentials not found") {
        true => Ok(None),
        false => Err(failed(said)),
    }
}

fn program_of(helper: &str) -> String {
    format!("docker-credential-{helper}")
}

fn colon(reason: &str) -> String {
    match reason {
        "" => String::new(),
        reason => format!(": {reason}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(username: &str, password: &str) -> Credential {
        Credential::Password {
            username: username.to_owned(),
            password: password.to_owned(),
        }
    }

    fn auth(name: &str) -> String {
        STANDARD.encode(format!("{name}:secret"))
    }

    fn found(json: &str, legacy: bool, name: &str) -> Option<Credential> {
        let file = AuthFile {
            path: "auth.json".into(),
            legacy,
        };
        Contents::parse(json.as_bytes(), &file)
            .unwrap()
            .find(name)
            .unwrap()
    }

    #[test]
    fn the_longest_part_of_a_name_counts() {
        let json = format!(
            r#"{{"auths":{{"r.example":{{"auth":"{}"}},"r.example/shop":{{"auth":"{}"}},"r.example/shop/token":
            {{"auth":"","identitytoken":"T"}},"empty.example":{{}}}}}}"#,
            auth("any"),
            auth("shop")
        );
        for (name, expected) in [
            ("r.example/other/x", Some(password("any", "secret"))),
            ("r.example", Some(password("any", "secret"))),
            ("r.example/shop/x", Some(password("shop", "secret"))),
            ("r.example/shopping", Some(password("any", "secret"))),
            (
                "r.example/shop/token",
                Some(Credential::IdentityToken("T".to_owned())),
            ),
            ("empty.example/x", None),
            ("r.example:5000/x", None),
        ] {
            assert_eq!(found(&json, false, name), expected, "{name}");
        }
    }

    #[test]
    fn docker_writes_addresses() {
        let json = format!(
            r#"{{"https://index.docker.io/v1/":{{"auth":"{}"}},"http://r.example/v2/":{{"auth":"{}"}}}}"#,
            auth("docker"),
            auth("r")
        );
        assert_eq!(
            found(&json, true, "docker.io/library/x"),
            Some(password("docker", "secret"))
        );
        assert_eq!(found(&json, true, "r.example/x"), Some(password("r", "secret")));
        let json = format!(r#"{{"auths":{json}}}"#);
        assert_eq!(found(&json, false, "r.example/x"), Some(password("r", "secret")));
    }

    #[test]
    fn what_is_written_is_found_and_the_rest_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("new/auth.json");
        store_credential(&path, "r.example", &password("jo", "a:b")).unwrap();
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        std::fs::write(
            &path,
            std::fs::read_to_string(&path)
                .unwrap()
                .replacen('{', "{\"other\": [1],", 1),
        )
        .unwrap();
        store_credential(&path, "s.example", &Credential::IdentityToken("T".to_owned())).unwrap();
        let credentials = Credentials {
            files: vec![AuthFile {
                path: path.clone(),
                legacy: false,
            }],
        };
        assert_eq!(
            credentials.find("r.example/x").unwrap(),
            Some(password("jo", "a:b"))
        );
        erase_credential(&path, "r.example").unwrap();
        assert_eq!(credentials.find("r.example/x").unwrap(), None);
        assert!(matches!(
            erase_credential(&path, "r.example"),
            Err(CredentialsError::NotLoggedIn(_))
        ));
        assert!(credentials.find("s.example").unwrap().is_some());
        erase_all_credentials(&path).unwrap();
        assert_eq!(credentials.find("s.example").unwrap(), None);
        assert!(std::fs::read_to_string(&path).unwrap().contains("other"));
    }

    #[test]
    fn malformed_files_are_said_so() {
        for text in [
            "[]",
            "{",
            r#"{"auths":{"r.example":{"auth":"%"}}}"#,
            r#"{"auths":{"r.example":{"auth":"eA=="}}}"#,
        ] {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("auth.json");
            std::fs::write(&path, text).unwrap();
            let credentials = Credentials {
                files: vec![AuthFile { path, legacy: false }],
            };
            assert!(
                matches!(
                    credentials.find("r.example/x"),
                    Err(CredentialsError::Malformed { .. })
                ),
                "{text}"
            );
        }
        assert_eq!(found("", false, "r.example"), None);
        assert_eq!(found("{\"auths\":null}", false, "r.example"), None);
    }
}
