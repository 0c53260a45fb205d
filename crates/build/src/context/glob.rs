//! Patterns for file names, as Go's `filepath.Match` has them, and `**` in ignore files.
//!
//! `*` any characters but `/`, `?` one character but `/`, `[a-z]` and `[^a-z]`, `\c` the character itself; where it is
//! allowed, `**/` any directories or none, and `**` at the end anything.

/// What a pattern is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// A name in a source of COPY or ADD: beside other characters `**` is `*`.
    Source,
    /// Ignore files and `--exclude`: `**` crosses directories.
    Ignore,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    One(char),
    Any,
    Many,
    /// The beginning of `**/`: leads into [`Piece::Deep`] and past it.
    Directories,
    /// The inside of `**/`: anything up to a slash.
    Deep,
    /// `**` at the end: everything.
    Rest,
    Set {
        ranges: Vec<(char, char)>,
        negated: bool,
    },
}

/// A pattern that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Glob(Vec<Piece>);

/// The pattern is malformed: a set or an escape that is not finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BadPattern;

impl Glob {
    pub(crate) fn parse(pattern: &str, dialect: Dialect) -> Result<Glob, BadPattern> {
        let mut pieces = Vec::new();
        let mut rest = pattern.chars().peekable();
        while let Some(character) = rest.next() {
            let piece = match character {
                '*' if rest.next_if_eq(&'*').is_some() => match dialect {
                    Dialect::Source => Piece::Many,
                    Dialect::Ignore => {
                        rest.next_if_eq(&'/');
                        match rest.peek() {
                            None => Piece::Rest,
                            Some(_) => {
                                pieces.push(Piece::Directories);
                                Piece::Deep
                            }
                        }
                    }
                },
                '*' => Piece::Many,
                '?' => Piece::Any,
                '[' => set(&mut rest)?,
                '\\' => Piece::One(rest.next().ok_or(BadPattern)?),
                other => Piece::One(other),
            };
            pieces.push(piece);
        }
        Ok(Glob(pieces))
    }

    /// Whether the whole of `text` matches.
    pub(crate) fn matches(&self, text: &str) -> bool {
        let states = text
            .chars()
            .fold(self.start(), |states, character| self.after(&states, character));
        states.last() == Some(&true)
    }

    /// Whether something below the directory `text` can match.
    pub(super) fn can_match_below(&self, text: &str) -> bool {
        let states = text
            .chars()
            .fold(self.start(), |states, character| self.after(&states, character));
        self.after(&states, '/').contains(&true)
    }

    fn start(&self) -> Vec<bool> {
        let mut states = vec![false; self.0.len() + 1];
        if let Some(first) = states.first_mut() {
            *first = true;
        }
        self.skip(&mut states);
        states
    }

    /// The states after one more character.
    fn after(&self, states: &[bool], character: char) -> Vec<bool> {
        let mut next = vec![false; states.len()];
        for (at, piece) in self.0.iter().enumerate() {
            if states.get(at) != Some(&true) {
                continue;
            }
            let (stays, leads_on) = piece.step(character);
            for (index, reached) in [(at, stays), (at + 1, leads_on)] {
                if let Some(state) = next.get_mut(index) {
                    *state |= reached;
                }
            }
        }
        self.skip(&mut next);
        next
    }

    /// Pieces that may match nothing are passed.
    fn skip(&self, states: &mut [bool]) {
        for (at, piece) in self.0.iter().enumerate() {
            let passed = match piece {
                Piece::Many | Piece::Rest => 1,
                Piece::Directories => 2,
                _ => 0,
            };
            if states.get(at) == Some(&true) {
                let reached = states.iter_mut().skip(at + 1).take(passed);
                reached.for_each(|state| *state = true);
            }
        }
    }
}

impl Piece {
    /// Whether a character keeps this piece going, and whether it ends it.
    fn step(&self, character: char) -> (bool, bool) {
        match self {
            Piece::One(own) => (false, *own == character),
            Piece::Any => (false, character != '/'),
            Piece::Many => (character != '/', false),
            Piece::Directories => (false, false),
            Piece::Deep => (true, character == '/'),
            Piece::Rest => (true, false),
            Piece::Set { ranges, negated } => {
                let inside = ranges.iter().any(|(from, to)| (*from..=*to).contains(&character));
                (false, character != '/' && inside != *negated)
            }
        }
    }
}

fn set(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<Piece, BadPattern> {
    let negated = rest.next_if_eq(&'^').is_some();
    let mut ranges = Vec::new();
    loop {
        let first = match rest.next().ok_or(BadPattern)? {
            ']' if !ranges.is_empty() => return Ok(Piece::Set { ranges, negated }),
            '\\' => rest.next().ok_or(BadPattern)?,
            other => other,
        };
        let last = match rest.next_if_eq(&'-') {
            None => first,
            Some(_) => match rest.next().ok_or(BadPattern)? {
                ']' | '-' => return Err(BadPattern),
                '\\' => rest.next().ok_or(BadPattern)?,
                other => other,
            },
        };
        ranges.push((first, last));
    }
}

/// Whether a source has characters that make it a pattern.
pub(crate) fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '[', '\\'])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, text: &str, dialect: Dialect) -> bool {
        Glob::parse(pattern, dialect).unwrap().matches(text)
    }

    #[test]
    fn names_match_as_in_go() {
        for (pattern, text, expected) in [
            ("abc", "abc", true),
            ("*", "abc", true),
            ("*c", "abc", true),
            ("a*/b", "a/c/b", false),
            ("a*b?c*x", "abxbbxdbxebxczzx", true),
            ("a*b?c*x", "abxbbxdbxebxczzy", false),
            ("ab[c]", "abc", true),
            ("ab[b-d]", "abc", true),
            ("ab[^c]", "abc", false),
            ("ab[^e-g]", "abc", true),
            ("a\\*b", "a*b", true),
            ("a\\*b", "ab", false),
            ("a?b", "a/b", false),
            ("[^a]", "/", false),
            ("*x", "xxx", true),
            ("", "", true),
            ("**", "a/b", false),
        ] {
            assert_eq!(
                matches(pattern, text, Dialect::Source),
                expected,
                "{pattern} {text}"
            );
        }
        for bad in ["[", "[]", "[a", "[a-]", "a\\", "[^", "[-x"] {
            assert!(Glob::parse(bad, Dialect::Source).is_err(), "{bad}");
        }
    }

    #[test]
    fn two_stars_cross_directories() {
        for (pattern, text, expected) in [
            ("**", "a/b/c", true),
            ("**/c", "a/b/c", true),
            ("**/c", "c", true),
            ("**/c", "xc", false),
            ("**/c", "a/xc", false),
            ("a/**/c", "a/c", true),
            ("a/**/c", "a/b/b/c", true),
            ("a/**", "a/b/c", true),
            ("a/**", "b/c", false),
            ("**/*.txt", "a/b.txt", true),
            ("**/*.txt", "b.txt", true),
            ("a**/b", "ax/y/b", true),
            ("a**/b", "ab", true),
            ("a**/b", "axb", false),
        ] {
            assert_eq!(
                matches(pattern, text, Dialect::Ignore),
                expected,
                "{pattern} {text}"
            );
        }
    }

    #[test]
    fn what_can_match_below_a_directory() {
        for (pattern, directory, expected) in [
            ("a/b/c", "a", true),
            ("a/b/c", "a/b", true),
            ("a/b/c", "b", false),
            ("**/x", "anything", true),
            ("*/x", "a", true),
            ("a", "a", false),
        ] {
            let glob = Glob::parse(pattern, Dialect::Ignore).unwrap();
            assert_eq!(glob.can_match_below(directory), expected, "{pattern} {directory}");
        }
    }
}
