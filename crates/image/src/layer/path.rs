//! Paths of a layer.

use std::fmt;

use osmith_report::printable;

/// What `PATH_MAX` allows, without the final zero.
const PATH_MAX_BYTES: usize = 4095;
const NAME_MAX_BYTES: usize = 255;

/// A path below the root of an image: names separated by single slashes, none of them `.` or `..`; empty for the root.
///
/// The order is the byte order, in which a directory comes before what is in it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct LayerPath(Box<[u8]>);

/// Why bytes are no path of a layer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// The path begins with a slash.
    #[error("the path '{0}' is absolute")]
    Absolute(String),
    /// The path has a `..`.
    #[error("the path '{0}' has a '..'")]
    Parent(String),
    /// The path has a zero byte.
    #[error("the path '{0}' has a zero byte")]
    Zero(String),
    /// The path is too long for Linux.
    #[error("the path '{0}…' is longer than {PATH_MAX_BYTES} bytes")]
    Length(String),
    /// A name is too long for Linux.
    #[error("the path '{0}' has a name longer than {NAME_MAX_BYTES} bytes")]
    NameLength(String),
}

impl LayerPath {
    /// Reads a relative path. Empty names, `.` and a final slash are dropped.
    pub fn parse(bytes: &[u8]) -> Result<Self, PathError> {
        let shown = || display(bytes.get(..200).unwrap_or(bytes));
        if bytes.len() > PATH_MAX_BYTES {
            return Err(PathError::Length(shown()));
        }
        if bytes.first() == Some(&b'/') {
            return Err(PathError::Absolute(display(bytes)));
        }
        if bytes.contains(&0) {
            return Err(PathError::Zero(display(bytes)));
        }
        let mut path = Vec::with_capacity(bytes.len());
        for name in bytes.split(|byte| *byte == b'/') {
            match name {
                b"" | b"." => continue,
                b".." => return Err(PathError::Parent(display(bytes))),
                _ if name.len() > NAME_MAX_BYTES => return Err(PathError::NameLength(display(bytes))),
                _ => {}
            }
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(name);
        }
        Ok(LayerPath(path.into()))
    }

    /// A path that is known to be in the right form: one of a tree, or of another path.
    pub(super) fn trusted(bytes: &[u8]) -> Self {
        LayerPath(bytes.into())
    }

    /// The bytes of the path.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether this is the root.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The directory and the name; `None` for the root.
    pub fn split(&self) -> Option<(LayerPath, &[u8])> {
        if self.is_root() {
            return None;
        }
        match self.0.iter().rposition(|byte| *byte == b'/') {
            Some(slash) => {
                let (parent, name) = self.0.split_at(slash);
                Some((Self::trusted(parent), name.get(1..).unwrap_or_default()))
            }
            None => Some((LayerPath::default(), &self.0)),
        }
    }

    /// The path of a name in this directory.
    pub fn join(&self, name: &[u8]) -> LayerPath {
        let mut path = self.0.to_vec();
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(name);
        Self::trusted(&path)
    }

    /// The directories above, nearest first, the root last.
    pub fn ancestors(&self) -> impl Iterator<Item = LayerPath> + use<> {
        std::iter::successors(self.split().map(|(parent, _)| parent), |path| {
            path.split().map(|(parent, _)| parent)
        })
    }

    /// Whether the path is below `directory`, at any depth.
    pub fn is_below(&self, directory: &LayerPath) -> bool {
        match self.0.strip_prefix(directory.as_bytes()) {
            Some(rest) => !rest.is_empty() && (directory.is_root() || rest.first() == Some(&b'/')),
            None => false,
        }
    }
}

impl fmt::Display for LayerPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&display(&self.0))
    }
}

/// Bytes as text for a message: what is not printable is escaped.
pub(crate) fn display(bytes: &[u8]) -> String {
    printable(&String::from_utf8_lossy(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_brought_into_one_form() {
        for (given, expected) in [
            ("./", ""),
            ("", ""),
            ("a/", "a"),
            ("./a//b/./c", "a/b/c"),
            ("a..b/...", "a..b/..."),
        ] {
            let path = LayerPath::parse(given.as_bytes()).unwrap();
            assert_eq!(path.as_bytes(), expected.as_bytes(), "{given}");
        }
    }

    #[test]
    fn paths_that_leave_the_root_are_refused() {
        let long_name = "x".repeat(256);
        let long_path = "x/".repeat(2048);
        for (given, expected) in [
            ("/etc/passwd", PathError::Absolute("/etc/passwd".into())),
            ("a/../../b", PathError::Parent("a/../../b".into())),
            ("..", PathError::Parent("..".into())),
            ("a\0b", PathError::Zero("a\\u{0}b".into())),
            (&long_name, PathError::NameLength(long_name.clone())),
            (&long_path, PathError::Length("x/".repeat(100))),
        ] {
            assert_eq!(LayerPath::parse(given.as_bytes()), Err(expected), "{given}");
        }
    }

    #[test]
    fn parents_and_children() {
        let path = LayerPath::parse(b"a/b/c").unwrap();
        let ancestors: Vec<_> = path.ancestors().map(|path| path.to_string()).collect();
        assert_eq!(ancestors, ["a/b", "a", ""]);
        assert!(path.is_below(&LayerPath::default()));
        assert!(path.is_below(&LayerPath::parse(b"a/b").unwrap()));
        assert!(!path.is_below(&path) && !path.is_below(&LayerPath::parse(b"a/b/").unwrap().join(b"cc")));
        assert!(
            !LayerPath::parse(b"ab")
                .unwrap()
                .is_below(&LayerPath::parse(b"a").unwrap())
        );
        assert_eq!(
            LayerPath::default().join(b"x").split(),
            Some((LayerPath::default(), &b"x"[..]))
        );
    }
}
