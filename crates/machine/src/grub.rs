//! What GRUB can read of a boot entry.
//!
//! On a BIOS machine GRUB reads an entry by running it as a script, so that what has a meaning in its language does not
//! arrive as it was written. The rest does, word by word. Source: the lexer of GRUB 2.06 to 2.12, and its replacing of
//! patterns in words that could be a path.

use osmith_report::{Class, Failure};

use crate::entry::BootEntry;

/// Characters that end a word, quote something or stand for something.
const SPECIAL: [char; 12] = ['\'', '"', '\\', '$', ';', '{', '}', '|', '&', '<', '>', '\0'];

/// A word that GRUB cannot read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("GRUB cannot read '{word}' in the line '{key}' of a boot entry: {reason}")]
pub struct GrubObstacle {
    /// The key of the line.
    pub key: String,
    /// The word.
    pub word: String,
    /// What is wrong with it.
    pub reason: ObstacleReason,
}

/// What is wrong with a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ObstacleReason {
    /// A character has a meaning.
    #[error("the character {0:?} has a meaning of its own for it")]
    Character(char),
    /// A comment begins.
    #[error("it takes a word with # in front for a comment")]
    Comment,
    /// Names of files come instead.
    #[error("it takes a path with * or ? for a pattern of file names")]
    Pattern,
    /// A bracket of its language.
    #[error("it is a bracket of its language")]
    Bracket,
}

impl Failure for GrubObstacle {
    fn class(&self) -> Class {
        Class::Input
    }

    fn hints(&self) -> Vec<String> {
        let hint = match self.key.as_str() {
            "options" => "write the kernel argument without it",
            _ => "the line comes from '/usr/lib/os-release' of the image",
        };
        vec![hint.to_owned()]
    }
}

/// Whether everything in an entry arrives unchanged when GRUB reads it.
pub fn require_readable(entry: &BootEntry) -> Result<(), GrubObstacle> {
    let known = [
        ("title", &entry.title),
        ("version", &entry.version),
        ("linux", &entry.linux),
        ("sort-key", &entry.sort_key),
    ];
    let known = known
        .into_iter()
        .flat_map(|(key, value)| Some((key, value.as_deref()?)));
    let lists = entry.initrd.iter().map(|path| ("initrd", path.as_str()));
    let extra = entry
        .extra
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()));
    known
        .chain(lists)
        .chain([("options", entry.options.as_str())])
        .chain(extra)
        .try_for_each(|(key, value)| match value.split_whitespace().find_map(obstacle) {
            Some((word, reason)) => Err(GrubObstacle {
                key: key.to_owned(),
                word: word.to_owned(),
                reason,
            }),
            None => Ok(()),
        })
}

fn obstacle(word: &str) -> Option<(&str, ObstacleReason)> {
    let is_special = |character: &char| SPECIAL.contains(character) || character.is_control();
    let reason = if let Some(character) = word.chars().find(is_special) {
        ObstacleReason::Character(character)
    } else if word.starts_with('#') {
        ObstacleReason::Comment
    } else if word.starts_with(['/', '(', '*']) && word.contains(['*', '?']) {
        ObstacleReason::Pattern
    } else if matches!(word, "[[" | "]]") {
        ObstacleReason::Bracket
    } else {
        return None;
    };
    Some((word, reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(options: &str) -> Option<(String, ObstacleReason)> {
        let entry = BootEntry {
            title: Some("Debian GNU/Linux 13 (trixie)".to_owned()),
            options: options.to_owned(),
            ..BootEntry::default()
        };
        let obstacle = require_readable(&entry).err()?;
        assert_eq!(obstacle.key, "options");
        Some((obstacle.word, obstacle.reason))
    }

    #[test]
    fn ordinary_arguments_are_readable() {
        let options = "root=UUID=1-2 rw x=@%^~![]()*?+= a#b if for done then -- console=ttyS0,115200n8";
        assert_eq!(verdict(options), None);
    }

    #[test]
    fn what_would_arrive_changed_is_named() {
        for character in ['\'', '"', '\\', '$', ';', '{', '}', '|', '&', '<', '>', '\u{1b}'] {
            let word = format!("a={character}b");
            let reason = ObstacleReason::Character(character);
            assert_eq!(verdict(&format!("rw {word} quiet")), Some((word, reason)));
        }
        for (word, reason) in [
            ("#quiet", ObstacleReason::Comment),
            ("/sbin/*", ObstacleReason::Pattern),
            ("(hd?)", ObstacleReason::Pattern),
            ("[[", ObstacleReason::Bracket),
        ] {
            assert_eq!(verdict(&format!("rw {word}")), Some((word.to_owned(), reason)));
        }
    }

    #[test]
    fn every_line_counts() {
        let entry = BootEntry {
            title: Some("Bob's OS".to_owned()),
            ..BootEntry::default()
        };
        let obstacle = require_readable(&entry).unwrap_err();
        assert_eq!(
            obstacle.to_string(),
            "GRUB cannot read 'Bob's' in the line 'title' of a boot entry: the character '\\'' has a meaning of its \
             own for it"
        );
    }
}
