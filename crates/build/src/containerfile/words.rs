//! Words as a shell splits them: blanks separate, quotes and the escape character protect. Nothing is removed from
//! a word here; [`super::expand()`] does that.

use std::ops::Range;

/// The words of `text` as ranges. A quote that is never closed protects the rest of the text.
pub(super) fn split(text: &str, escape: char) -> Vec<Range<usize>> {
    split_at(text, escape, char::is_whitespace)
}

/// The words of `text` where every character for which `separates` holds stands between words.
pub(super) fn split_at(text: &str, escape: char, separates: impl Fn(char) -> bool) -> Vec<Range<usize>> {
    let mut words = Vec::new();
    let mut start = None;
    let mut quote = None;
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        if quote.is_none() && separates(character) {
            words.extend(start.take().map(|start| start..at));
            continue;
        }
        start.get_or_insert(at);
        match quote {
            Some(open) if open == character => quote = None,
            None if matches!(character, '"' | '\'') => quote = Some(character),
            _ if character == escape && quote != Some('\'') => {
                characters.next();
            }
            _ => {}
        }
    }
    words.extend(start.map(|start| start..text.len()));
    words
}

/// The first `=` of a word that no quote protects.
pub(super) fn equals_sign(word: &str, escape: char) -> Option<usize> {
    let first = split_at(word, escape, |character| character == '=')
        .into_iter()
        .next();
    let at = first.map_or(0, |range| if range.start > 0 { 0 } else { range.end });
    (word.as_bytes().get(at) == Some(&b'=')).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_keep_what_is_quoted_or_escaped() {
        for (text, expected) in [
            ("a b", vec!["a", "b"]),
            (" a\tb ", vec!["a", "b"]),
            (r#"a="b c" d"#, vec![r#"a="b c""#, "d"]),
            (r"a\ b c", vec![r"a\ b", "c"]),
            (r"'a\' b", vec![r"'a\'", "b"]),
            (r#""a\" b" c"#, vec![r#""a\" b""#, "c"]),
            ("'open a", vec!["'open a"]),
            ("a\\", vec!["a\\"]),
            ("", vec![]),
        ] {
            let words: Vec<_> = split(text, '\\').into_iter().map(|range| &text[range]).collect();
            assert_eq!(words, expected, "{text}");
        }
    }

    #[test]
    fn the_equals_sign_outside_quotes_counts() {
        for (word, expected) in [
            ("a=b", Some(1)),
            (r#""a=b"=c"#, Some(5)),
            ("=a", Some(0)),
            ("a", None),
            ("", None),
            ("==", Some(0)),
        ] {
            assert_eq!(equals_sign(word, '\\'), expected, "{word}");
        }
    }
}
