//! Names: Unicode ones, and plain ones that are made of them.

use std::collections::BTreeSet;

use super::NAME_MAX_UNITS;

/// How long a plain name and its extension can be together.
const PLAIN_MAX_CHARACTERS: usize = 30;
const PLAIN_EXTENSION_CHARACTERS: usize = 10;
const NOT_IN_NAMES: [char; 6] = ['*', '/', ':', ';', '?', '\\'];

/// The text of a name that can stand in a volume.
pub(super) fn text(name: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(name).ok()?;
    let is_refused = |character: char| character.is_control() || NOT_IN_NAMES.contains(&character);
    let fits = (1..=NAME_MAX_UNITS).contains(&text.encode_utf16().count());
    (fits && text != "." && text != ".." && !text.contains(is_refused)).then_some(text)
}

/// The identifier in a record of the Unicode tree.
pub(super) fn unicode(text: &str, is_directory: bool) -> Vec<u8> {
    let version = if is_directory { "" } else { ";1" };
    let units = text.encode_utf16().chain(version.encode_utf16());
    units.flat_map(u16::to_be_bytes).collect()
}

/// The identifier in a record of the plain tree, unlike all that are `taken`.
pub(super) fn plain(text: &str, is_directory: bool, taken: &mut BTreeSet<String>) -> Vec<u8> {
    let (base, extension) = match text.rsplit_once('.') {
        Some((base, extension)) if !is_directory => (base, extension),
        _ => (text, ""),
    };
    let extension = capitals(extension, PLAIN_EXTENSION_CHARACTERS);
    let base = capitals(base, PLAIN_MAX_CHARACTERS - extension.len());
    let whole = |base: &str| match is_directory {
        true => base.to_owned(),
        false => format!("{base}.{extension};1"),
    };
    let numbered = (1..).map(|number: u32| {
        let suffix = number.to_string();
        let kept = base
            .len()
            .min(PLAIN_MAX_CHARACTERS - extension.len() - suffix.len());
        whole(&format!("{}{suffix}", base.get(..kept).unwrap_or_default()))
    });
    let mut candidates = std::iter::once(whole(&base)).chain(numbered);
    let name = candidates.find(|name| !taken.contains(name)).unwrap_or_default();
    taken.insert(name.clone());
    name.into_bytes()
}

/// The label of the primary descriptor.
pub(super) fn plain_label(label: &str) -> String {
    capitals(label, 32)
}

fn capitals(text: &str, max_characters: usize) -> String {
    let plain = text
        .chars()
        .map(|character| match character.to_ascii_uppercase() {
            capital if capital.is_ascii_uppercase() || capital.is_ascii_digit() => capital,
            _ => '_',
        });
    plain.take(max_characters).collect()
}
