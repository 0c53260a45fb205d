//! Which changes of `/etc` are expected, and so no drift.
//!
//! ```text
//! (built in)                     00-first-start.conf: what every machine makes when it starts for the first time
//! usr/lib/osmith/drift.d/*.conf  what machines of this image make
//! etc/osmith/drift.d/*.conf      what belongs to this machine; replaces one of the same name, a link to /dev/null masks it
//! ```
//!
//! A file has one path a line, from the root directory on and below `/etc`; `*` stands for any characters of one name,
//! `?` for one. A path stands for what it names and all below it. Empty lines and lines that begin with `#` or `;` are
//! passed over, as are blanks around a line.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use super::DriftError;
use crate::drop_in;

/// The folder in each of the places of drop-in files.
const FOLDER: &str = "osmith/drift.d";
const BUILT_IN_NAME: &str = "00-first-start.conf";
const BUILT_IN: &str = include_str!("first-start.conf");
/// The only folder in which changes can be expected.
const PLACE: &str = "/etc/";

/// A path with which a change is expected, and who says so.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Pattern {
    /// The names on the way, from `/etc` on.
    names: Vec<Vec<u8>>,
    /// The name of the file that has it.
    file: String,
}

/// What is expected on a machine.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Expected {
    patterns: Vec<Pattern>,
}

impl Expected {
    /// What is expected on the machine whose root directory is `root`.
    pub(super) fn read(root: &Path) -> Result<Self, DriftError> {
        let mut files = BTreeMap::from([(BUILT_IN_NAME.to_owned(), None)]);
        for base in drop_in::BASES {
            let folder = Path::new(base).join(FOLDER);
            let found = drop_in::files(&root.join(&folder)).map_err(failed("list", &folder))?;
            let found = found.into_iter().filter(|(name, _)| name.ends_with(".conf"));
            files.extend(found.map(|(name, _)| (name.clone(), Some(folder.join(name)))));
        }
        let mut expected = Expected::default();
        for (name, path) in files {
            let text = match &path {
                None => BUILT_IN.to_owned(),
                Some(path) => fs::read_to_string(root.join(path)).map_err(failed("read", path))?,
            };
            let path = path.unwrap_or_else(|| PathBuf::from(&name));
            expected.add(&name, &path, &text)?;
        }
        Ok(expected)
    }

    fn add(&mut self, name: &str, path: &Path, text: &str) -> Result<(), DriftError> {
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with(['#', ';']) {
                continue;
            }
            let names = names(line).ok_or_else(|| DriftError::Pattern {
                path: path.to_owned(),
                line: index + 1,
                pattern: line.to_owned(),
            })?;
            self.patterns.push(Pattern {
                names,
                file: name.to_owned(),
            });
        }
        Ok(())
    }

    /// The name of the first file by which a change at this path below `/etc` is expected.
    pub(super) fn by(&self, path: &Path) -> Option<&str> {
        let names: Vec<&[u8]> = path.iter().map(OsStr::as_bytes).collect();
        let found = self.patterns.iter().find(|pattern| pattern.matches(&names));
        found.map(|pattern| pattern.file.as_str())
    }
}

impl Pattern {
    fn matches(&self, names: &[&[u8]]) -> bool {
        self.names.len() <= names.len()
            && self
                .names
                .iter()
                .zip(names)
                .all(|(pattern, name)| is_like(pattern, name))
    }
}

/// The names of a path below `/etc`; `None` if it is none, or not in its shortest form.
fn names(line: &str) -> Option<Vec<Vec<u8>>> {
    let path = Path::new(line.strip_prefix(PLACE)?);
    let names: Option<Vec<_>> = path
        .components()
        .map(|component| match component {
            Component::Normal(name) => Some(name.as_bytes().to_owned()),
            _ => None,
        })
        .collect();
    names.filter(|names| !names.is_empty())
}

/// Whether a name is what a pattern stands for.
fn is_like(pattern: &[u8], name: &[u8]) -> bool {
    let (mut pattern, mut name) = (pattern, name);
    // Where to go on if what follows the last `*` does not fit: one byte of the name later.
    let mut retry: Option<(&[u8], &[u8])> = None;
    loop {
        let advanced = match (pattern.split_first(), name.split_first()) {
            (None, None) => return true,
            (Some((b'*', after)), _) => {
                retry = Some((after, name));
                Some((after, name))
            }
            (Some((b'?', after)), Some((_, rest))) => Some((after, rest)),
            (Some((wanted, after)), Some((found, rest))) if wanted == found => Some((after, rest)),
            _ => None,
        };
        (pattern, name) = match (advanced, retry) {
            (Some(advanced), _) => advanced,
            (None, Some((after, from))) => {
                let Some((_, rest)) = from.split_first() else {
                    return false;
                };
                retry = Some((after, rest));
                (after, rest)
            }
            (None, None) => return false,
        };
    }
}

fn failed<'a>(operation: &'static str, path: &'a Path) -> impl Fn(io::Error) -> DriftError + 'a {
    move |source| DriftError::File {
        operation,
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use proptest::prelude::*;

    use super::*;

    fn write(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn what_every_machine_makes_is_known() {
        let root = tempfile::tempdir().unwrap();
        let expected = Expected::read(root.path()).unwrap();
        for path in [
            "machine-id",
            "ssh/ssh_host_ed25519_key",
            "ssh/ssh_host_rsa_key.pub",
            "resolv.conf",
        ] {
            assert_eq!(expected.by(Path::new(path)), Some(BUILT_IN_NAME), "{path}");
        }
        for path in [
            "passwd",
            "ssh",
            "ssh/sshd_config",
            "ssh/ssh_host_key_evil.conf",
            "systemd/machine-id",
        ] {
            assert_eq!(expected.by(Path::new(path)), None, "{path}");
        }
    }

    #[test]
    fn the_image_and_the_machine_say_what_else_is_expected() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        write(
            root,
            "usr/lib/osmith/drift.d/10-net.conf",
            "# why\n\n  /etc/net?/*.conf\n; no\n",
        );
        write(root, "usr/lib/osmith/drift.d/20-app.conf", "/etc/app\n");
        write(root, "usr/lib/osmith/drift.d/README", "not read");
        write(root, "etc/osmith/drift.d/20-app.conf", "/etc/own/\n");
        symlink("/dev/null", root.join("etc/osmith/drift.d/00-first-start.conf")).unwrap();
        let expected = Expected::read(root).unwrap();
        let by = |path: &str| expected.by(Path::new(path));
        assert_eq!(by("net1/a.conf"), Some("10-net.conf"));
        assert_eq!(by("net1/a.conf/below"), Some("10-net.conf"));
        assert_eq!(by("own/deep/file"), Some("20-app.conf"));
        assert_eq!(by("own"), Some("20-app.conf"));
        for path in ["net1", "net1/a.conf2", "net/a.conf", "app", "owner", "machine-id"] {
            assert_eq!(by(path), None, "{path}");
        }
    }

    #[test]
    fn what_is_no_path_below_etc_is_named_with_its_line() {
        for pattern in [
            "/usr/bin",
            "etc/hosts",
            "/etc/",
            "/etc",
            "/etc/../usr",
            "/etcetera/x",
        ] {
            let root = tempfile::tempdir().unwrap();
            write(
                root.path(),
                "etc/osmith/drift.d/a.conf",
                &format!("# a\n{pattern}\n"),
            );
            let error = Expected::read(root.path()).unwrap_err();
            let expected = format!("/etc/osmith/drift.d/a.conf, line 2: '{pattern}' is no path below /etc");
            assert_eq!(error.to_string(), expected);
        }
    }

    /// The same by trying all that a `*` can stand for.
    fn is_like_slowly(pattern: &[u8], name: &[u8]) -> bool {
        match pattern.split_first() {
            None => name.is_empty(),
            Some((b'*', after)) => (0..=name.len()).any(|skipped| is_like_slowly(after, &name[skipped..])),
            Some((first, after)) => {
                name.first().is_some_and(|found| *first == b'?' || first == found)
                    && is_like_slowly(after, &name[1..])
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn patterns_stand_for_what_they_say(pattern in "[ab*?]{0,7}", name in "[ab*]{0,9}") {
            let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
            prop_assert_eq!(is_like(pattern, name), is_like_slowly(pattern, name));
        }
    }
}
