//! A line becomes words, as a POSIX shell would split it: quotes, backslashes, comments, and nothing else.

use std::ops::Range;

/// A word of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Word {
    /// What it means, without quotes.
    pub(crate) text: String,
    /// The bytes it has in the line.
    pub(crate) span: Range<usize>,
}

/// The words of a line, and what is odd about them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Words {
    /// In the order of the line.
    pub(crate) words: Vec<Word>,
    /// A comment that begins inside a word: the byte of its `#`.
    pub(crate) comment_in_word: Option<usize>,
    /// Why the line cannot be split further, and from which byte on.
    pub(crate) broken: Option<(Broken, usize)>,
}

/// Why a line cannot be split.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Broken {
    /// A quote that nothing closes.
    OpenQuote,
    /// A backslash at the end.
    FinalBackslash,
}

/// The words of a line without its line end.
pub(crate) fn split(line: &str) -> Words {
    let mut found = Words::default();
    let mut characters = line.char_indices();
    let mut word: Option<Word> = None;
    while let Some((at, character)) = characters.next() {
        let end = at + character.len_utf8();
        match character {
            ' ' | '\t' | '\r' => found.words.extend(word.take()),
            '#' => {
                found.comment_in_word = word.is_some().then_some(at);
                break;
            }
            _ => {
                let word = word.get_or_insert_with(|| Word {
                    text: String::new(),
                    span: at..at,
                });
                let end = match character {
                    '\'' | '"' => quoted(&mut characters, character, &mut word.text),
                    '\\' => characters.next().map(|(at, escaped)| {
                        word.text.push(escaped);
                        at + escaped.len_utf8()
                    }),
                    other => {
                        word.text.push(other);
                        Some(end)
                    }
                };
                let Some(end) = end else {
                    let broken = if character == '\\' {
                        Broken::FinalBackslash
                    } else {
                        Broken::OpenQuote
                    };
                    found.broken = Some((broken, at));
                    break;
                };
                word.span.end = end;
            }
        }
    }
    match found.broken {
        // Half a word is none.
        Some(_) => {}
        None => found.words.extend(word),
    }
    found
}

/// Reads up to the closing quote; the byte after it, or `None` if there is none.
fn quoted(characters: &mut std::str::CharIndices<'_>, quote: char, text: &mut String) -> Option<usize> {
    while let Some((at, character)) = characters.next() {
        match character {
            _ if character == quote => return Some(at + 1),
            '\\' if quote == '"' => {
                let (_, escaped) = characters.next()?;
                if !matches!(escaped, '"' | '\\') {
                    text.push('\\');
                }
                text.push(escaped);
            }
            other => text.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        split(line).words.into_iter().map(|word| word.text).collect()
    }

    #[test]
    fn words_are_those_of_a_shell() {
        for (line, expected) in [
            ("a  b\tc", vec!["a", "b", "c"]),
            ("--append=a\" b\"'c d'", vec!["--append=a bc d"]),
            (r#"'a\b' "a\b\"\\" a\b\ c"#, vec![r"a\b", r#"a\b"\"#, "ab c"]),
            ("'' \"\"", vec!["", ""]),
            ("a # b", vec!["a"]),
            ("rootpw foo#bar", vec!["rootpw", "foo"]),
            ("'foo#bar' \\#", vec!["foo#bar", "#"]),
            ("", vec![]),
        ] {
            assert_eq!(words(line), expected, "{line}");
        }
    }

    #[test]
    fn a_comment_inside_a_word_is_told() {
        assert_eq!(split("rootpw foo#bar").comment_in_word, Some(10));
        assert_eq!(split("rootpw foo #bar").comment_in_word, None);
    }

    #[test]
    fn what_is_open_at_the_end_is_told_with_its_place() {
        assert_eq!(split("a 'b").broken, Some((Broken::OpenQuote, 2)));
        assert_eq!(split("a \\").broken, Some((Broken::FinalBackslash, 2)));
        assert_eq!(split("a \"b\\").broken, Some((Broken::OpenQuote, 2)));
    }

    #[test]
    fn a_word_knows_its_place() {
        let found = split("é 'a b'c");
        assert_eq!(found.words.last().map(|word| word.span.clone()), Some(3..9));
    }
}
