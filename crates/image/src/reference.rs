//! Names of images, as podman understands them.
//!
//! ```text
//! [DOMAIN/]PATH[:TAG][@DIGEST]     an image of the store or of a registry
//! oci:PATH[:NAME]                  an image in an OCI layout directory
//! oci-archive:PATH[:NAME]          an image in a tar archive of such a directory
//! ```
//!
//! The first component is a domain if it has a `.` or a `:` or is `localhost`. A name without a domain is *short*: it
//! means `localhost/NAME` when an image is given a name, and `localhost/NAME`, then the only image whose name ends with
//! `/NAME`, when one is looked for. No registry is preferred. Source of the grammar: the distribution project's
//! reference package.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use osmith_report::{Class, Failure};

use crate::digest::{DigestError, Sha256Digest};

const NAME_MAX_BYTES: usize = 255;
const TAG_MAX_BYTES: usize = 128;

/// The name of an image.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    domain: Option<String>,
    path: String,
    tag: Option<String>,
    digest: Option<Sha256Digest>,
}

/// Where an image is to be found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// In the store.
    Store(Reference),
    /// In an OCI layout directory.
    OciDirectory {
        /// The directory.
        path: PathBuf,
        /// Which of its images; needed if there are several.
        name: Option<String>,
    },
    /// In a tar archive of an OCI layout directory.
    OciArchive {
        /// The archive.
        path: PathBuf,
        /// Which of its images; needed if there are several.
        name: Option<String>,
    },
}

/// Why a text names no image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// There is no text.
    #[error("the name of the image is empty")]
    Empty,
    /// The name has upper-case letters.
    #[error("the image name '{0}' has upper-case letters")]
    UpperCase(String),
    /// The name breaks the grammar.
    #[error("'{0}' is no image name: '{1}' is not allowed as a part of it")]
    Component(String, String),
    /// The tag breaks the grammar.
    #[error("'{0}' is no image name: '{1}' is no tag")]
    Tag(String, String),
    /// The name is too long.
    #[error("the image name '{0}' is longer than {NAME_MAX_BYTES} bytes")]
    Length(String),
    /// What follows the `@` is no digest.
    #[error("'{0}' is no image name")]
    Digest(String, #[source] DigestError),
    /// The transport exists elsewhere, but not here.
    #[error("images cannot be named by '{transport}' in '{text}'")]
    Transport {
        /// The whole text.
        text: String,
        /// The transport.
        transport: String,
    },
}

impl Failure for ReferenceError {
    fn class(&self) -> Class {
        Class::Usage
    }

    fn hints(&self) -> Vec<String> {
        match self {
            ReferenceError::UpperCase(name) => vec![format!("write '{}'", name.to_lowercase())],
            ReferenceError::Tag(..) => {
                vec!["a tag has letters, digits, '_', '.' and '-', 128 at most, and does not begin with '.' or '-'".into()]
            }
            ReferenceError::Transport { .. } => {
                vec!["use the name of an image of the store, oci:PATH or oci-archive:PATH".into()]
            }
            _ => vec!["an image name looks like localhost/webserver:1.2".into()],
        }
    }
}

impl Reference {
    /// The registry, or `localhost`; `None` in a short name.
    pub fn domain(&self) -> Option<&str> {
        self.domain.as_deref()
    }

    /// The name without domain, tag and digest.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The name without tag and digest.
    pub fn name(&self) -> String {
        match &self.domain {
            Some(domain) => format!("{domain}/{}", self.path),
            None => self.path.clone(),
        }
    }

    /// The tag that was written.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The tag that is meant: `latest` if none was written.
    pub fn tag_or_latest(&self) -> &str {
        self.tag.as_deref().unwrap_or("latest")
    }

    /// The digest of the manifest, if it was written.
    pub fn digest(&self) -> Option<Sha256Digest> {
        self.digest
    }

    /// The name as an image of the store carries it: with a domain and a tag, without a digest.
    pub fn qualified(&self) -> Reference {
        Reference {
            domain: Some(self.domain.clone().unwrap_or_else(|| "localhost".to_owned())),
            path: self.path.clone(),
            tag: Some(self.tag_or_latest().to_owned()),
            digest: None,
        }
    }

    /// The same image by the digest of its manifest or index.
    pub fn with_digest(&self, digest: Sha256Digest) -> Reference {
        Reference {
            tag: None,
            digest: Some(digest),
            ..self.clone()
        }
    }

    /// Whether this short name may stand for that image: the tags agree, and the other's path ends with this path.
    pub fn is_short_for(&self, other: &Reference) -> bool {
        let ends_alike = || {
            let rest = other.path.strip_suffix(&self.path);
            rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('/'))
        };
        self.domain.is_none() && self.tag_or_latest() == other.tag_or_latest() && ends_alike()
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        match &self.digest {
            Some(digest) => write!(f, "@{digest}"),
            None => Ok(()),
        }
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => match digest.parse() {
                Ok(digest) => (rest, Some(digest)),
                Err(error) => return Err(ReferenceError::Digest(text.to_owned(), error)),
            },
            None => (text, None),
        };
        let last_slash = rest.rfind('/').map_or(0, |at| at + 1);
        let (name, tag) = match rest[last_slash..].find(':') {
            Some(colon) => (&rest[..last_slash + colon], Some(&rest[last_slash + colon + 1..])),
            None => (rest, None),
        };
        if let Some(tag) = tag.filter(|tag| !is_tag(tag)) {
            return Err(ReferenceError::Tag(text.to_owned(), tag.to_owned()));
        }
        let (domain, path) = split_domain(name);
        require_name(text, name, domain, path)?;
        Ok(Reference {
            domain: domain.map(str::to_owned),
            path: path.to_owned(),
            tag: tag.map(str::to_owned),
            digest,
        })
    }
}

impl FromStr for Location {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        if let Some(rest) = text.strip_prefix("oci:") {
            let (path, name) = split_layout(rest)?;
            return Ok(Location::OciDirectory { path, name });
        }
        if let Some(rest) = text.strip_prefix("oci-archive:") {
            let (path, name) = split_layout(rest)?;
            return Ok(Location::OciArchive { path, name });
        }
        let foreign = [
            "docker://",
            "dir:/",
            "docker-archive:/",
            "docker-daemon:",
            "containers-storage:",
        ];
        if let Some(transport) = foreign.iter().find(|transport| text.starts_with(**transport)) {
            return Err(ReferenceError::Transport {
                text: text.to_owned(),
                transport: transport.trim_end_matches('/').to_owned(),
            });
        }
        text.parse().map(Location::Store)
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (transport, path, name) = match self {
            Location::Store(reference) => return reference.fmt(f),
            Location::OciDirectory { path, name } => ("oci", path, name),
            Location::OciArchive { path, name } => ("oci-archive", path, name),
        };
        write!(f, "{transport}:{}", path.display())?;
        match name {
            Some(name) => write!(f, ":{name}"),
            None => Ok(()),
        }
    }
}

/// `PATH[:NAME]`: the path ends at the first colon, as in skopeo; the name may have more of them.
fn split_layout(text: &str) -> Result<(PathBuf, Option<String>), ReferenceError> {
    let (path, name) = match text.split_once(':') {
        Some((path, name)) => (path, Some(name.to_owned()).filter(|name| !name.is_empty())),
        None => (text, None),
    };
    if path.is_empty() {
        return Err(ReferenceError::Empty);
    }
    Ok((path.into(), name))
}

fn split_domain(name: &str) -> (Option<&str>, &str) {
    match name.split_once('/') {
        Some((first, rest)) if first == "localhost" || first.contains(['.', ':']) => (Some(first), rest),
        _ => (None, name),
    }
}

fn require_name(text: &str, name: &str, domain: Option<&str>, path: &str) -> Result<(), ReferenceError> {
    if name.is_empty() {
        return Err(ReferenceError::Empty);
    }
    if name.len() > NAME_MAX_BYTES {
        return Err(ReferenceError::Length(name.to_owned()));
    }
    if path.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Err(ReferenceError::UpperCase(text.to_owned()));
    }
    let bad_domain = domain.filter(|domain| !is_domain(domain));
    match bad_domain.or_else(|| path.split('/').find(|component| !is_component(component))) {
        Some(component) => Err(ReferenceError::Component(text.to_owned(), component.to_owned())),
        None => Ok(()),
    }
}

fn is_domain(domain: &str) -> bool {
    let (host, port) = domain.split_once(':').unwrap_or((domain, "0"));
    !port.is_empty()
        && port.bytes().all(|byte| byte.is_ascii_digit())
        && host.split('.').all(|label| {
            !label.is_empty()
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        })
}

/// Letters and digits, separated by one `.`, one or two `_`, or any number of `-`.
fn is_component(component: &str) -> bool {
    let words = component.split(['.', '_', '-']);
    let separators = component.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    let edges_are_words = words.clone().next().is_some_and(|word| !word.is_empty())
        && words.clone().next_back().is_some_and(|word| !word.is_empty());
    edges_are_words
        && words
            .flat_map(str::chars)
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
        && separators
            .filter(|separator| !separator.is_empty())
            .all(|separator| {
                matches!(separator, "." | "_" | "__") || separator.bytes().all(|byte| byte == b'-')
            })
}

fn is_tag(tag: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    !tag.is_empty() && tag.len() <= TAG_MAX_BYTES && !tag.starts_with(['.', '-']) && tag.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Reference {
        text.parse().unwrap()
    }

    #[test]
    fn parts_are_found() {
        let reference = parse("localhost:5000/a/b_c:1.0");
        assert_eq!(reference.domain(), Some("localhost:5000"));
        assert_eq!((reference.path(), reference.tag()), ("a/b_c", Some("1.0")));
        assert_eq!(reference.to_string(), "localhost:5000/a/b_c:1.0");
        let digest = Sha256Digest::of(b"");
        let pinned = parse(&format!("registry.example/fedora/fedora@{digest}"));
        assert_eq!((pinned.tag(), pinned.digest()), (None, Some(digest)));
    }

    #[test]
    fn short_names_stand_for_longer_ones() {
        for (short, long) in [
            ("debian:13", "registry.example/debian:13"),
            ("debian:13", "registry.example/library/debian:13"),
            ("a/b", "localhost/x/a/b:latest"),
        ] {
            assert!(parse(short).is_short_for(&parse(long)), "{short} {long}");
        }
        for (short, long) in [
            ("debian:13", "registry.example/debian:12"),
            ("debian", "registry.example/mydebian"),
            ("localhost/debian", "registry.example/localhost/debian"),
        ] {
            assert!(!parse(short).is_short_for(&parse(long)), "{short} {long}");
        }
        assert_eq!(parse("debian").qualified().to_string(), "localhost/debian:latest");
    }

    #[test]
    fn bad_names_are_refused() {
        for text in [
            "",
            ":",
            "a:",
            "A",
            "a//b",
            "/a",
            "a/",
            "a..b",
            "a___b",
            "-a",
            "a-",
            "a:.x",
            "a@sha256:1",
            "a b",
            "a:b:c",
            "localhost:x/a",
            "ä",
            "exa..mple.org/a",
            "a/..",
        ] {
            assert!(text.parse::<Reference>().is_err(), "{text}");
        }
        for text in [
            "a--b",
            "a__b",
            "a.b_c-d",
            "x/y/z",
            "127.0.0.1:80/x",
            "UPPER.example/x",
        ] {
            assert_eq!(parse(text).to_string(), text);
        }
        assert!("a".repeat(256).parse::<Reference>().is_err());
    }

    #[test]
    fn locations() {
        assert_eq!(
            "oci:/x/y:localhost/a:1".parse(),
            Ok(Location::OciDirectory {
                path: "/x/y".into(),
                name: Some("localhost/a:1".into())
            })
        );
        assert_eq!(
            "oci-archive:x.tar".parse(),
            Ok(Location::OciArchive {
                path: "x.tar".into(),
                name: None
            })
        );
        assert_eq!("a:1".parse(), Ok(Location::Store(parse("a:1"))));
        assert!("oci:".parse::<Location>().is_err());
        assert!(matches!(
            "docker://debian".parse::<Location>(),
            Err(ReferenceError::Transport { .. })
        ));
    }
}
