//! Shell patterns over strings, for `${x#pattern}` and its kin: `*` any string, `?` any character, `[a-z]`,
//! `[!a-z]`; `*` and `?` match `/` too. Characters that were quoted stand for themselves, as those do that a backslash
//! precedes in the value of a variable.

/// A character of a pattern or text, and whether it was quoted.
pub(super) type Quoted = (char, bool);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    One(char),
    Any,
    Many,
    Set {
        ranges: Vec<(char, char)>,
        negated: bool,
    },
}

impl Piece {
    fn matches(&self, character: char) -> bool {
        match self {
            Piece::One(own) => *own == character,
            Piece::Any | Piece::Many => true,
            Piece::Set { ranges, negated } => {
                let inside = ranges.iter().any(|(from, to)| (*from..=*to).contains(&character));
                inside != *negated
            }
        }
    }
}

/// A parsed pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern(Vec<Piece>);

impl Pattern {
    pub(super) fn new(characters: &[Quoted]) -> Pattern {
        let mut pieces = Vec::new();
        let mut rest = characters;
        while let Some(((character, quoted), tail)) = rest.split_first() {
            rest = tail;
            match (character, quoted) {
                ('*', false) if pieces.last() == Some(&Piece::Many) => {}
                ('*', false) => pieces.push(Piece::Many),
                ('?', false) => pieces.push(Piece::Any),
                ('\\', false) if !tail.is_empty() => {
                    pieces.extend(tail.first().map(|(next, _)| Piece::One(*next)));
                    rest = tail.get(1..).unwrap_or_default();
                }
                ('[', false) => match set(tail) {
                    Some((piece, after)) => {
                        pieces.push(piece);
                        rest = after;
                    }
                    None => pieces.push(Piece::One('[')),
                },
                (character, _) => pieces.push(Piece::One(*character)),
            }
        }
        Pattern(pieces)
    }

    /// The pattern that matches the reversed texts of this one.
    pub(super) fn reversed(&self) -> Pattern {
        Pattern(self.0.iter().rev().cloned().collect())
    }

    /// The lengths of the prefixes of `text` that match, shortest first.
    pub(super) fn prefixes(&self, text: &[char]) -> Vec<usize> {
        let mut lengths = Vec::new();
        let mut states = vec![false; self.0.len() + 1];
        states[0] = true;
        self.skip_stars(&mut states);
        for (length, character) in text.iter().map(Some).chain([None]).enumerate() {
            if states.last() == Some(&true) {
                lengths.push(length);
            }
            let Some(character) = character else { break };
            states = self.after(&states, *character);
            if !states.contains(&true) {
                break;
            }
        }
        lengths
    }

    fn after(&self, states: &[bool], character: char) -> Vec<bool> {
        let mut next = vec![false; states.len()];
        for (at, piece) in self.0.iter().enumerate() {
            if states[at] && piece.matches(character) {
                next[if *piece == Piece::Many { at } else { at + 1 }] = true;
            }
        }
        self.skip_stars(&mut next);
        next
    }

    fn skip_stars(&self, states: &mut [bool]) {
        for (at, piece) in self.0.iter().enumerate() {
            if states[at] && *piece == Piece::Many {
                states[at + 1] = true;
            }
        }
    }
}

/// The set after a `[`, and what follows it; `None` if it is never closed.
fn set(characters: &[Quoted]) -> Option<(Piece, &[Quoted])> {
    let negated = matches!(characters.first(), Some(('!' | '^', false)));
    let mut rest = &characters[usize::from(negated)..];
    let mut ranges = Vec::new();
    while let Some(((first, quoted), tail)) = rest.split_first() {
        if *first == ']' && !quoted && !ranges.is_empty() {
            return Some((Piece::Set { ranges, negated }, tail));
        }
        rest = tail;
        let last = match tail {
            [('-', false), (last, last_quoted), after @ ..] if *last != ']' || *last_quoted => {
                rest = after;
                *last
            }
            _ => *first,
        };
        ranges.push((*first, last));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefixes(pattern: &str, text: &str) -> Vec<usize> {
        let quoted: Vec<Quoted> = pattern.chars().map(|character| (character, false)).collect();
        let text: Vec<char> = text.chars().collect();
        Pattern::new(&quoted).prefixes(&text)
    }

    #[test]
    fn prefixes_that_match() {
        for (pattern, text, expected) in [
            ("a", "ab", vec![1]),
            ("*", "a/b", vec![0, 1, 2, 3]),
            ("*/", "a/b/", vec![2, 4]),
            ("?b", "abb", vec![2]),
            ("[a-c]", "b", vec![1]),
            ("[!a-c]", "b", vec![]),
            ("[]]", "]", vec![1]),
            ("[a", "[a", vec![2]),
            ("[a-]", "-", vec![1]),
            (r"\*", "*", vec![1]),
            (r"\*", "a", vec![]),
            (r"\", r"\", vec![1]),
            ("", "abc", vec![0]),
            ("x", "", vec![]),
        ] {
            assert_eq!(prefixes(pattern, text), expected, "{pattern} on {text}");
        }
    }

    #[test]
    fn quoted_stars_are_stars() {
        assert_eq!(Pattern::new(&[('*', true)]).prefixes(&['a']), Vec::<usize>::new());
    }
}
