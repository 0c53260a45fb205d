//! What a machine's administrator says of registries: `registries.conf`, version 2.
//!
//! ```toml
//! unqualified-search-registries = ["registry.example.org"]
//! short-name-mode = "enforcing"            # with several of them, none is chosen
//!
//! [[registry]]
//! prefix = "registry.example.org/shop"     # also "*.example.org"; the longest that fits counts
//! location = "inside.example.org/shop"     # what is in its place
//! insecure = false                         # HTTP, and certificates of anybody
//! blocked = false
//! mirror-by-digest-only = false
//!
//! [[registry.mirror]]                      # asked before the location, in this order
//! location = "mirror.example.org/shop"
//! insecure = false
//! pull-from-mirror = "all"                 # or digest-only, tag-only
//!
//! [aliases]
//! "webserver" = "registry.example.org/shop/webserver"
//! ```
//!
//! Source: containers-registries.conf(5). Files are read in the order they are given; of a later one each setting that
//! it has counts. Left out on purpose: version 1, and helpers for credentials (auth files name them, too).

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use osmith_report::{Class, Failure};
use serde::Deserialize;

use crate::reference::Reference;

/// What files say of registries.
#[derive(Debug, Clone, Default)]
pub struct Configuration {
    search: Vec<String>,
    mode: ShortNameMode,
    rules: Vec<Rule>,
    aliases: BTreeMap<String, String>,
}

/// Why a configuration was not read, or what it forbids.
#[derive(Debug, thiserror::Error)]
pub enum ConfigurationError {
    /// A file cannot be read.
    #[error("cannot read '{}'", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file is malformed.
    #[error("'{}' is no configuration of registries: line {line}: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where, from 1 on.
        line: usize,
        /// Why.
        reason: String,
    },
    /// A value makes no sense.
    #[error("'{}' has {problem}", path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// What makes no sense: `a registry without 'prefix' and 'location'`.
        problem: String,
    },
    /// The registry may not be used.
    #[error("the registry of '{0}' is blocked")]
    Blocked(String),
    /// A short name may be in several registries.
    #[error("'{name}' may be in any of the registries {}", registries.join(", "))]
    Ambiguous {
        /// The short name.
        name: String,
        /// The registries.
        registries: Vec<String>,
    },
    /// A short name is in no registry.
    #[error("'{0}' does not say in which registry the image is")]
    NoRegistry(String),
    /// What a rule makes of a name is none.
    #[error("the configuration of registries makes '{location}' of '{name}', which is no image name")]
    Location {
        /// The name.
        name: String,
        /// What came of it.
        location: String,
    },
}

impl Failure for ConfigurationError {
    fn class(&self) -> Class {
        match self {
            ConfigurationError::Read { .. } | ConfigurationError::Blocked(_) => Class::Environment,
            ConfigurationError::Ambiguous { .. } | ConfigurationError::NoRegistry(_) => Class::Usage,
            _ => Class::Input,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            ConfigurationError::Blocked(_) => {
                vec![
                    "'blocked = true' in registries.conf says so; use another registry, or ask who set it"
                        .to_owned(),
                ]
            }
            ConfigurationError::NoRegistry(name) => vec![
                format!("write the registry, too: registry.example.org/{name}"),
                "'unqualified-search-registries' in registries.conf names registries for short names"
                    .to_owned(),
            ],
            ConfigurationError::Ambiguous { name, registries } => registries
                .iter()
                .map(|registry| format!("write the one that is meant: {registry}/{name}"))
                .collect(),
            _ => Vec::new(),
        }
    }
}

/// A place of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The full name there.
    pub name: Reference,
    /// Whether the registry may speak HTTP and show any certificate.
    pub insecure: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ShortNameMode {
    Enforcing,
    #[default]
    Permissive,
    Disabled,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum PullFromMirror {
    #[default]
    All,
    DigestOnly,
    TagOnly,
}

#[derive(Debug, Clone)]
struct Rule {
    prefix: String,
    /// What is in the place of the prefix, if it is something else.
    location: Option<String>,
    insecure: bool,
    blocked: bool,
    mirrors: Vec<Mirror>,
}

#[derive(Debug, Clone)]
struct Mirror {
    location: String,
    insecure: bool,
    pull: PullFromMirror,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct File {
    unqualified_search_registries: Option<Vec<String>>,
    short_name_mode: Option<ShortNameMode>,
    #[serde(default)]
    registry: Vec<RegistryTable>,
    #[serde(default)]
    aliases: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct RegistryTable {
    #[serde(default)]
    prefix: String,
    #[serde(default)]
    location: String,
    #[serde(default)]
    insecure: bool,
    #[serde(default)]
    blocked: bool,
    #[serde(default)]
    mirror_by_digest_only: bool,
    #[serde(default)]
    mirror: Vec<MirrorTable>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct MirrorTable {
    location: String,
    #[serde(default)]
    insecure: bool,
    pull_from_mirror: Option<PullFromMirror>,
}

impl Configuration {
    /// Reads files in this order; those that do not exist are left out, and of a directory all files `*.conf` by name.
    pub fn read(paths: &[PathBuf]) -> Result<Self, ConfigurationError> {
        let mut configuration = Configuration::default();
        for path in paths {
            for file in files_of(path)? {
                let failed = |source| ConfigurationError::Read {
                    path: file.clone(),
                    source,
                };
                let bytes = match std::fs::read(&file) {
                    Ok(bytes) => bytes,
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    Err(error) => return Err(failed(error)),
                };
                configuration.add(&bytes, &file)?;
            }
        }
        Ok(configuration)
    }

    /// Adds what a file says; `path` is what it is called in messages.
    pub fn add(&mut self, bytes: &[u8], path: &Path) -> Result<(), ConfigurationError> {
        let file: File = toml::from_slice(bytes).map_err(|error| malformed(path, bytes, &error))?;
        if let Some(search) = file.unqualified_search_registries {
            self.search = search;
        }
        if let Some(mode) = file.short_name_mode {
            self.mode = mode;
        }
        for table in file.registry {
            let rule = Rule::of(table).map_err(|problem| ConfigurationError::Value {
                path: path.to_owned(),
                problem,
            })?;
            self.rules.retain(|known| known.prefix != rule.prefix);
            self.rules.push(rule);
        }
        for (alias, name) in file.aliases {
            match name.is_empty() {
                true => drop(self.aliases.remove(&alias)),
                false => drop(self.aliases.insert(alias, name)),
            }
        }
        Ok(())
    }

    /// The full names that a name may stand for, the likeliest first; at least one.
    pub fn full_names(&self, name: &Reference) -> Result<Vec<Reference>, ConfigurationError> {
        if name.domain().is_some() {
            return Ok(vec![name.clone()]);
        }
        let suffix = name.to_string().split_off(name.path().len());
        if let Some(alias) = self
            .aliases
            .get(name.path())
            .filter(|_| self.mode != ShortNameMode::Disabled)
        {
            return Ok(vec![parse(name, &format!("{alias}{suffix}"))?]);
        }
        match self.search.as_slice() {
            [] => Err(ConfigurationError::NoRegistry(name.to_string())),
            [_, _, ..] if self.mode == ShortNameMode::Enforcing => Err(ConfigurationError::Ambiguous {
                name: name.to_string(),
                registries: self.search.clone(),
            }),
            search => {
                let names = search
                    .iter()
                    .map(|registry| parse(name, &format!("{registry}/{name}")));
                names.collect()
            }
        }
    }

    /// The places to fetch an image with a full name from, the best one first: mirrors, then where it is.
    pub fn places(&self, name: &Reference) -> Result<Vec<Place>, ConfigurationError> {
        let Some((rule, matched)) = self.rule(name) else {
            return Ok(vec![Place {
                name: name.clone(),
                insecure: false,
            }]);
        };
        if rule.blocked {
            return Err(ConfigurationError::Blocked(name.to_string()));
        }
        let text = name.to_string();
        let rest = text.get(matched..).unwrap_or_default();
        let by_digest = name.digest().is_some();
        let mirrors = rule.mirrors.iter().filter(|mirror| match mirror.pull {
            PullFromMirror::All => true,
            PullFromMirror::DigestOnly => by_digest,
            PullFromMirror::TagOnly => !by_digest,
        });
        let mut places = Vec::new();
        for mirror in mirrors {
            places.push(Place {
                name: parse(name, &format!("{}{rest}", mirror.location))?,
                insecure: mirror.insecure,
            });
        }
        places.push(Place {
            name: match &rule.location {
                Some(location) => parse(name, &format!("{location}{rest}"))?,
                None => name.clone(),
            },
            insecure: rule.insecure,
        });
        Ok(places)
    }

    /// The place to send an image to: there are no mirrors for that, and nothing is rewritten.
    pub(super) fn destination(&self, name: &Reference) -> Result<Place, ConfigurationError> {
        let rule = self.rule(name).map(|(rule, _)| rule);
        match rule {
            Some(rule) if rule.blocked => Err(ConfigurationError::Blocked(name.to_string())),
            rule => Ok(Place {
                name: name.clone(),
                insecure: rule.is_some_and(|rule| rule.insecure),
            }),
        }
    }

    /// Whether a registry may speak HTTP and show any certificate.
    pub(super) fn is_insecure(&self, host: &str) -> bool {
        let found = self
            .rules
            .iter()
            .find(|rule| matched(host, &rule.prefix).is_some());
        found.is_some_and(|rule| rule.insecure)
    }

    /// The rule with the longest prefix, and how much of the name that is.
    fn rule(&self, name: &Reference) -> Option<(&Rule, usize)> {
        let text = name.to_string();
        let fitting = self
            .rules
            .iter()
            .filter_map(|rule| Some((rule, matched(&text, &rule.prefix)?)));
        fitting.max_by_key(|(rule, length)| (*length, rule.prefix.len()))
    }
}

impl Rule {
    fn of(table: RegistryTable) -> Result<Self, String> {
        let trimmed = |text: String| text.trim_end_matches('/').to_owned();
        let (prefix, location) = (trimmed(table.prefix), trimmed(table.location));
        let (prefix, location) = match (prefix.is_empty(), location.is_empty()) {
            (true, true) => return Err("a registry without 'prefix' and 'location'".to_owned()),
            (true, false) => (location, None),
            (false, true) => (prefix, None),
            (false, false) => (prefix, Some(location)),
        };
        let mirrors = table.mirror.into_iter().map(|mirror| {
            let location = trimmed(mirror.location);
            if location.is_empty() {
                return Err(format!("a mirror of '{prefix}' without 'location'"));
            }
            let pull = match (mirror.pull_from_mirror, table.mirror_by_digest_only) {
                (Some(_), true) => {
                    return Err(format!(
                        "both 'mirror-by-digest-only' and 'pull-from-mirror' for '{prefix}'"
                    ));
                }
                (Some(pull), false) => pull,
                (None, true) => PullFromMirror::DigestOnly,
                (None, false) => PullFromMirror::All,
            };
            Ok(Mirror {
                location,
                insecure: mirror.insecure,
                pull,
            })
        });
        Ok(Rule {
            mirrors: mirrors.collect::<Result<_, _>>()?,
            location,
            insecure: table.insecure,
            blocked: table.blocked,
            prefix,
        })
    }
}

/// How many bytes of a name a prefix is, if it is one.
fn matched(name: &str, prefix: &str) -> Option<usize> {
    if let Some(domain) = prefix.strip_prefix('*').filter(|domain| domain.starts_with('.')) {
        let host = name.split('/').next().unwrap_or_default();
        return host.ends_with(domain).then_some(host.len());
    }
    let rest = name.strip_prefix(prefix)?;
    let ends = match rest.chars().next() {
        None | Some('/' | '@') => true,
        // Behind a host there is its port, and the prefix is another host.
        Some(':') => prefix.contains('/'),
        Some(_) => false,
    };
    ends.then_some(prefix.len())
}

fn parse(name: &Reference, location: &str) -> Result<Reference, ConfigurationError> {
    let parsed = location.parse::<Reference>().ok();
    parsed
        .filter(|reference| reference.domain().is_some())
        .ok_or_else(|| ConfigurationError::Location {
            name: name.to_string(),
            location: location.to_owned(),
        })
}

fn malformed(path: &Path, bytes: &[u8], error: &toml::de::Error) -> ConfigurationError {
    let before = error
        .span()
        .and_then(|span| bytes.get(..span.start))
        .unwrap_or_default();
    ConfigurationError::Malformed {
        path: path.to_owned(),
        line: before.iter().filter(|byte| **byte == b'\n').count() + 1,
        reason: error.message().replace('\n', " "),
    }
}

/// The file itself, or the files `*.conf` of a directory by name.
fn files_of(path: &Path) -> Result<Vec<PathBuf>, ConfigurationError> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let failed = |source| ConfigurationError::Read {
        path: path.to_owned(),
        source,
    };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).map_err(failed)? {
        files.push(entry.map_err(failed)?.path());
    }
    files.retain(|file| file.extension().is_some_and(|extension| extension == "conf"));
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Sha256Digest;

    fn configuration(texts: &[&str]) -> Configuration {
        let mut configuration = Configuration::default();
        for text in texts {
            configuration
                .add(text.as_bytes(), Path::new("registries.conf"))
                .unwrap();
        }
        configuration
    }

    fn places(configuration: &Configuration, name: &str) -> Vec<String> {
        let places = configuration.places(&name.parse().unwrap()).unwrap();
        let text = |place: &Place| match place.insecure {
            true => format!("{} (insecure)", place.name),
            false => place.name.to_string(),
        };
        places.iter().map(text).collect()
    }

    #[test]
    fn the_longest_prefix_says_where_an_image_is() {
        let configuration = configuration(&[r#"
            [[registry]]
            prefix = "one.example"
            location = "two.example:5000/of-one"
            [[registry]]
            prefix = "one.example/shop"
            insecure = true
            [[registry]]
            location = "three.example"
            insecure = true
            [[registry]]
            prefix = "*.wild.example"
            location = "tame.example"
        "#]);
        for (name, expected) in [
            ("one.example/a:1", "two.example:5000/of-one/a:1"),
            ("one.example/shop/a:1", "one.example/shop/a:1 (insecure)"),
            ("one.example/shopping/a", "two.example:5000/of-one/shopping/a"),
            ("one.example:80/a", "one.example:80/a"),
            ("three.example/a", "three.example/a (insecure)"),
            ("x.y.wild.example/a", "tame.example/a"),
            ("wild.example/a", "wild.example/a"),
            ("other.example/a", "other.example/a"),
        ] {
            assert_eq!(places(&configuration, name), [expected], "{name}");
        }
        assert!(configuration.is_insecure("three.example"));
        assert!(!configuration.is_insecure("one.example"));
        let sent = configuration
            .destination(&"one.example/a:1".parse().unwrap())
            .unwrap();
        assert_eq!(sent.name.to_string(), "one.example/a:1");
    }

    #[test]
    fn mirrors_come_first_where_they_may() {
        let configuration = configuration(&[r#"
            [[registry]]
            prefix = "one.example"
            [[registry.mirror]]
            location = "any.example"
            insecure = true
            [[registry.mirror]]
            location = "digests.example/x"
            pull-from-mirror = "digest-only"
            [[registry.mirror]]
            location = "tags.example"
            pull-from-mirror = "tag-only"
            [[registry]]
            prefix = "two.example"
            mirror-by-digest-only = true
            [[registry.mirror]]
            location = "digests.example"
        "#]);
        let digest = Sha256Digest::of(b"");
        let any = |rest: &str| format!("any.example/a{rest} (insecure)");
        assert_eq!(
            places(&configuration, "one.example/a:1"),
            [
                any(":1"),
                "tags.example/a:1".to_owned(),
                "one.example/a:1".to_owned()
            ]
        );
        assert_eq!(
            places(&configuration, &format!("one.example/a@{digest}")),
            [
                any(&format!("@{digest}")),
                format!("digests.example/x/a@{digest}"),
                format!("one.example/a@{digest}")
            ]
        );
        assert_eq!(places(&configuration, "two.example/a"), ["two.example/a"]);
        assert_eq!(
            places(&configuration, &format!("two.example/a@{digest}")).len(),
            2
        );
    }

    #[test]
    fn short_names_have_aliases_and_registries() {
        let names = |configuration: &Configuration, name: &str| {
            let names = configuration.full_names(&name.parse().unwrap());
            names.map(|names| names.iter().map(Reference::to_string).collect::<Vec<_>>())
        };
        let aliases = "[aliases]\nweb = \"one.example/shop/web\"\n\"a/b\" = \"\"";
        let permissive = configuration(&[
            "[aliases]\n\"a/b\" = \"gone.example/b\"",
            &format!("unqualified-search-registries = [\"one.example\", \"two.example\"]\n{aliases}"),
        ]);
        assert_eq!(names(&permissive, "web:2").unwrap(), ["one.example/shop/web:2"]);
        assert_eq!(
            names(&permissive, "x/y").unwrap(),
            ["one.example/x/y", "two.example/x/y"]
        );
        assert_eq!(names(&permissive, "a/b").unwrap().len(), 2);
        assert_eq!(
            names(&permissive, "three.example/x").unwrap(),
            ["three.example/x"]
        );
        let enforcing = configuration(&[
            "unqualified-search-registries = [\"a.example\", \"b.example\"]\nshort-name-mode = \"enforcing\"",
        ]);
        assert!(matches!(
            names(&enforcing, "x"),
            Err(ConfigurationError::Ambiguous { .. })
        ));
        let one = configuration(&[
            "unqualified-search-registries = [\"a.example\"]\nshort-name-mode = \"enforcing\"",
        ]);
        assert_eq!(names(&one, "x").unwrap(), ["a.example/x"]);
        assert!(matches!(
            names(&Configuration::default(), "x"),
            Err(ConfigurationError::NoRegistry(_))
        ));
    }

    #[test]
    fn later_files_win_and_registries_can_be_blocked() {
        let configuration = configuration(&[
            "[[registry]]\nlocation = \"one.example\"\ninsecure = true",
            "unknown-setting = 1\n[[registry]]\nlocation = \"one.example\"\nblocked = true",
        ]);
        let name: Reference = "one.example/x".parse().unwrap();
        assert!(matches!(
            configuration.places(&name),
            Err(ConfigurationError::Blocked(_))
        ));
        assert!(matches!(
            configuration.destination(&name),
            Err(ConfigurationError::Blocked(_))
        ));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (text, expected) in [
            ("[[registry]]\ninsecure = true", "without 'prefix'"),
            ("[[registry]]\nprefix = 1", "no configuration"),
            (
                "[[registry]]\nprefix = \"a.b\"\n[[registry.mirror]]\nlocation = \"\"",
                "a mirror of 'a.b'",
            ),
            ("short-name-mode = \"x\"", "no configuration"),
            ("= 1", "no configuration"),
        ] {
            let error = Configuration::default()
                .add(text.as_bytes(), Path::new("x.conf"))
                .unwrap_err();
            assert!(error.to_string().contains(expected), "{text}: {error}");
        }
        let bad = configuration(&["[[registry]]\nprefix = \"a.b\"\nlocation = \"C:x/D\""]);
        assert!(matches!(
            bad.places(&"a.b/x".parse().unwrap()),
            Err(ConfigurationError::Location { .. })
        ));
    }
}
