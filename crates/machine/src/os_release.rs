//! The operating system's description of itself, `/usr/lib/os-release`.
//!
//! Source: os-release(5). Lines `KEY=value`, values quoted as a shell would; anything else is skipped.

use std::collections::BTreeMap;

/// The fields of an `os-release` file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct OsRelease {
    fields: BTreeMap<String, String>,
}

impl OsRelease {
    /// Reads the text of the file.
    pub(crate) fn parse(text: &str) -> Self {
        let fields = text.lines().filter_map(parse_line).collect();
        OsRelease { fields }
    }

    /// A field that is there and not empty.
    pub(crate) fn field(&self, key: &str) -> Option<&str> {
        self.fields
            .get(key)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    /// The short name, `linux` if there is none.
    pub(crate) fn id(&self) -> &str {
        self.field("ID").unwrap_or("linux")
    }

    /// The version, if the system has versions.
    pub(crate) fn version(&self) -> Option<&str> {
        self.field("VERSION_ID").or_else(|| self.field("VERSION"))
    }

    /// What a person calls the system.
    pub(crate) fn title(&self) -> &str {
        let names = ["PRETTY_NAME", "NAME", "ID"];
        names.iter().find_map(|key| self.field(key)).unwrap_or("Linux")
    }
}

fn parse_line(line: &str) -> Option<(String, String)> {
    let (key, value) = line.trim().split_once('=')?;
    let is_name = !key.is_empty()
        && key
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    is_name.then(|| (key.to_owned(), unquote(value)))
}

fn unquote(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    let mut quote = None;
    let mut characters = value.chars();
    while let Some(character) = characters.next() {
        match (quote, character) {
            (None, '"' | '\'') => quote = Some(character),
            (Some(open), close) if open == close => quote = None,
            (None | Some('"'), '\\') => text.extend(characters.next()),
            _ => text.push(character),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_unquoted() {
        let text = "# comment\nID=debian\nVERSION_ID=\"13\"\nPRETTY_NAME='It'\\''s \"13\"'\nX=a\\\"b\nnonsense\n=1\n";
        let release = OsRelease::parse(text);
        assert_eq!(release.id(), "debian");
        assert_eq!(release.version(), Some("13"));
        assert_eq!(release.title(), "It's \"13\"");
        assert_eq!(release.field("X"), Some("a\"b"));
    }

    #[test]
    fn what_is_missing_has_a_fallback() {
        let release = OsRelease::parse("VERSION_ID=\nVERSION=1 (one)\nNAME=N\n");
        assert_eq!(release.id(), "linux");
        assert_eq!(release.version(), Some("1 (one)"));
        assert_eq!(release.title(), "N");
    }
}
