//! Names: long ones in UTF-16, and the 8.3 names that must stand beside them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::{Error, directory, text};
use crate::tree::{InodeId, Name};

const MAX_UNITS: usize = 255;
/// What a short name can have besides letters and digits.
const SHORT_PUNCTUATION: &[u8] = b"$%'-_@~`!(){}^#&";

/// Why something cannot be a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameReason {
    /// The bytes are no UTF-8, so they have no UTF-16 form.
    NotUtf8,
    /// More than 255 UTF-16 units.
    TooLong,
    /// A control character or one of `"*/:<>?\|`.
    Character,
    /// It ends with a dot or a space, which readers drop.
    Ending,
    /// Another name of the directory differs only in case.
    Case,
}

impl fmt::Display for NameReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NameReason::NotUtf8 => "it is no UTF-8",
            NameReason::TooLong => "it is longer than 255 UTF-16 units",
            NameReason::Character => "it has a control character or one of \"*/:<>?\\|",
            NameReason::Ending => "it ends with a dot or a space",
            NameReason::Case => "another name differs only in case",
        })
    }
}

/// A name in a directory.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) id: InodeId,
    pub(super) short: [u8; 11],
    /// Empty if the short name says it all.
    pub(super) long: Vec<u16>,
}

impl Entry {
    /// How many directory entries it takes.
    pub(super) fn slots(&self) -> usize {
        1 + directory::long_entries(self.long.len())
    }
}

/// The names of the directory at `path`, in their order.
pub(super) fn entries(names: &BTreeMap<Name, InodeId>, path: &[u8]) -> Result<Vec<Entry>, Error> {
    let mut folded = BTreeSet::new();
    let mut texts = Vec::with_capacity(names.len());
    for (name, id) in names {
        let refuse = |reason| Error::Name {
            path: text(&[path, b"/", name].concat()),
            reason,
        };
        let long = require_valid(name).map_err(refuse)?;
        if !folded.insert(long.to_lowercase()) {
            return Err(refuse(NameReason::Case));
        }
        texts.push((long, *id));
    }
    // Names that are short already keep their form, whatever the long ones before them would like to have.
    let mut taken: BTreeSet<[u8; 11]> = texts.iter().filter_map(|(long, _)| exact_short(long)).collect();
    Ok(texts
        .into_iter()
        .map(|(long, id)| match exact_short(long) {
            Some(short) => Entry {
                id,
                short,
                long: Vec::new(),
            },
            None => Entry {
                id,
                short: generated_short(long, &mut taken),
                long: long.encode_utf16().collect(),
            },
        })
        .collect())
}

/// A volume label as it is stored; `None` inside for the empty one, outside for one that cannot be.
pub(super) fn label(label: &str) -> Option<Option<[u8; 11]>> {
    if label.is_empty() {
        return Some(None);
    }
    let valid = label.bytes().all(|byte| is_short_byte(byte) || byte == b' ') && !label.starts_with(' ');
    (valid && label.len() <= 11).then(|| {
        let mut stored = [b' '; 11];
        stored[..label.len()].copy_from_slice(label.as_bytes());
        Some(stored)
    })
}

fn require_valid(name: &[u8]) -> Result<&str, NameReason> {
    let name = std::str::from_utf8(name).map_err(|_| NameReason::NotUtf8)?;
    if name.encode_utf16().count() > MAX_UNITS {
        return Err(NameReason::TooLong);
    }
    if name
        .chars()
        .any(|character| character < ' ' || "\"*/:<>?\\|\x7f".contains(character))
    {
        return Err(NameReason::Character);
    }
    if name.ends_with(['.', ' ']) || name.is_empty() {
        return Err(NameReason::Ending);
    }
    Ok(name)
}

fn is_short_byte(byte: u8) -> bool {
    byte.is_ascii_uppercase() || byte.is_ascii_digit() || SHORT_PUNCTUATION.contains(&byte)
}

/// The short form of a name that is one already.
fn exact_short(name: &str) -> Option<[u8; 11]> {
    let (base, extension) = name.rsplit_once('.').unwrap_or((name, ""));
    let dot = name.len() - base.len() - extension.len();
    let fits = (1..=8).contains(&base.len()) && (dot..=3).contains(&extension.len());
    let plain = base.bytes().chain(extension.bytes()).all(is_short_byte);
    (fits && plain).then(|| join(base.as_bytes(), extension.as_bytes()))
}

/// A short form for a long name that no other name of the directory has.
fn generated_short(name: &str, taken: &mut BTreeSet<[u8; 11]>) -> [u8; 11] {
    let stripped = name.trim_start_matches('.');
    let (base, extension) = stripped.rsplit_once('.').unwrap_or((stripped, ""));
    let (base, base_lossy) = shorten(base, 8);
    let (extension, extension_lossy) = shorten(extension, 3);
    let lossy = base_lossy || extension_lossy || stripped.len() < name.len() || base.is_empty();
    let whole = join(&base, &extension);
    if !lossy && taken.insert(whole) {
        return whole;
    }
    let mut number = 1_u32;
    loop {
        let tail = format!("~{number}");
        let kept = base.len().min(8 - tail.len());
        let short = join(&[&base[..kept], tail.as_bytes()].concat(), &extension);
        if taken.insert(short) {
            return short;
        }
        number += 1;
    }
}

/// The part of a name in the characters of short names, and whether something was lost but case.
fn shorten(part: &str, max: usize) -> (Vec<u8>, bool) {
    let mut lossy = false;
    let mut kept = Vec::new();
    for character in part.chars() {
        let byte = u8::try_from(character).unwrap_or(0).to_ascii_uppercase();
        match character {
            ' ' | '.' => lossy = true,
            _ if is_short_byte(byte) => kept.push(byte),
            _ => {
                lossy = true;
                kept.push(b'_');
            }
        }
    }
    lossy |= kept.len() > max;
    kept.truncate(max);
    (kept, lossy)
}

fn join(base: &[u8], extension: &[u8]) -> [u8; 11] {
    let mut short = [b' '; 11];
    short[..base.len()].copy_from_slice(base);
    short[8..8 + extension.len()].copy_from_slice(extension);
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shorts(names: &[&str]) -> Vec<String> {
        let map = names.iter().map(|name| {
            (
                Name::from(name.as_bytes()),
                crate::tree::Tree::<u8>::new(Default::default()).root(),
            )
        });
        let entries = entries(&map.collect(), b"").unwrap();
        entries
            .iter()
            .map(|entry| String::from_utf8(entry.short.to_vec()).unwrap())
            .collect()
    }

    #[test]
    fn short_names_are_kept_or_made() {
        assert_eq!(shorts(&["BOOTX64.EFI"]), ["BOOTX64 EFI"]);
        assert_eq!(
            shorts(&["EFI", "loader", "a.b.c"]),
            ["EFI        ", "AB~1    C  ", "LOADER     "]
        );
        assert_eq!(shorts(&["loader.conf"]), ["LOADER~1CON"]);
        assert_eq!(
            shorts(&[".profile", "ümlaut", "with space"]),
            ["PROFIL~1   ", "WITHSP~1   ", "_MLAUT~1   "]
        );
    }

    #[test]
    fn short_names_never_collide() {
        let many: Vec<String> = (0..1200)
            .map(|number| format!("bootc_debian-{number}.conf"))
            .collect();
        let mut names: Vec<&str> = many.iter().map(String::as_str).collect();
        names.push("BOOTC_~1.CON");
        let made = shorts(&names);
        let distinct: BTreeSet<_> = made.iter().collect();
        assert_eq!(distinct.len(), names.len());
        assert!(made.contains(&"BOOT~999CON".to_owned()));
    }

    #[test]
    fn labels_are_checked() {
        assert_eq!(label("EFI-SYSTEM"), Some(Some(*b"EFI-SYSTEM ")));
        assert_eq!(label(""), Some(None));
        for bad in ["esp", "TWELVE-CHARS", "A.B", " A"] {
            assert_eq!(label(bad), None, "{bad}");
        }
    }
}
