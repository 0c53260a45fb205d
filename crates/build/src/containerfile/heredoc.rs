//! Where a line opens heredocs: a shell word `<<NAME`, `<<-NAME`, `3<<NAME`, the name quoted or not, blanks before
//! the name allowed.

use std::ops::Range;

use super::expand::{Quoting, expand};
use super::words;

/// A heredoc that a line opens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Opening {
    /// The delimiter without quotes.
    pub(super) name: String,
    /// Whether tabs at the start of lines are removed (`<<-`).
    pub(super) strips_tabs: bool,
    /// Whether no part of the name is quoted.
    pub(super) expands: bool,
    /// Whether blanks stand before the name. Then `<<` may also be an operator of shell arithmetic.
    pub(super) is_detached: bool,
    /// The words it is made of.
    pub(super) range: Range<usize>,
}

/// The heredocs that `text` opens, in order.
pub(super) fn openings(text: &str, escape: char) -> Vec<Opening> {
    let separates = |character: char| character.is_whitespace() || matches!(character, ';' | '|' | '&' | '>');
    let mut found = Vec::new();
    let mut words = words::split_at(text, escape, separates).into_iter().peekable();
    while let Some(word) = words.next() {
        let Some(after) = after_operator(&text[word.clone()]) else {
            continue;
        };
        let start = word.start + after;
        let (strips_tabs, start) = match text[start..word.end].strip_prefix('-') {
            Some(_) => (true, start + 1),
            None => (false, start),
        };
        let is_detached = start == word.end;
        let name_range = match is_detached {
            true => words.next_if(|next| is_detached_name(text, start, next)),
            false => Some(start..word.end),
        };
        let Some(name_range) = name_range else { continue };
        if let Some((name, expands)) = name_of(&text[name_range.clone()], escape) {
            found.push(Opening {
                name,
                strips_tabs,
                expands,
                is_detached,
                range: word.start..name_range.end,
            });
        }
    }
    found
}

/// A heredoc whose name has a quote that is never closed: its place in the text, and the name without quotes.
pub(super) fn broken(text: &str, escape: char) -> Option<(Range<usize>, String)> {
    let last = words::split(text, escape).pop()?;
    let word = text.get(last.clone())?;
    let name = word.get(after_operator(word)?..)?;
    let is_open = expand(&name.replace('$', ""), escape, Quoting::Removed, &|_| None).is_err();
    let name = name.strip_prefix('-').unwrap_or(name);
    let name = name.split_whitespace().next()?.replace(['"', '\''], "");
    (is_open && !name.is_empty() && !name.contains('<')).then_some((last, name))
}

/// The offset after `<<` and a file descriptor's digits before it.
fn after_operator(word: &str) -> Option<usize> {
    let digits = word.bytes().take_while(u8::is_ascii_digit).count();
    word[digits..].starts_with("<<").then_some(digits + 2)
}

/// After a lone `<<` only a plain or quoted name counts, so that `$((1 << 3))` opens nothing.
fn is_detached_name(text: &str, after: usize, word: &Range<usize>) -> bool {
    let name = text[word.clone()].trim_matches(['"', '\'']);
    let name = name.strip_prefix('-').unwrap_or(name);
    let blanks = text[after..word.start].chars().all(char::is_whitespace);
    let starts = name.starts_with(|first: char| first.is_alphabetic() || first == '_');
    blanks
        && starts
        && name
            .chars()
            .all(|character| character.is_alphanumeric() || character == '_')
}

/// The name without its quotes, and whether it had none.
fn name_of(word: &str, escape: char) -> Option<(String, bool)> {
    if word.is_empty() || word.contains('<') {
        return None;
    }
    // A name is no place for variables: the shell takes `$` literally here.
    let literal = word.replace('$', "\u{0}");
    let name = expand(&literal, escape, Quoting::Removed, &|_| None).ok()?;
    let name = name.replace('\u{0}', "$");
    (!name.is_empty()).then(|| (name.clone(), name == word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<(String, bool, bool)> {
        openings(text, '\\')
            .into_iter()
            .map(|opening| (opening.name, opening.strips_tabs, opening.expands))
            .collect()
    }

    fn one(name: &str, strips_tabs: bool, expands: bool) -> Vec<(String, bool, bool)> {
        vec![(name.to_owned(), strips_tabs, expands)]
    }

    #[test]
    fn openings_are_found_in_every_position() {
        for (text, expected) in [
            ("<<EOF", one("EOF", false, true)),
            ("<<-EOF", one("EOF", true, true)),
            ("<<'EOF'", one("EOF", false, false)),
            ("<<E\"O\"F", one("EOF", false, false)),
            ("<<-\"EOF\" cat", one("EOF", true, false)),
            ("cat <<EOF >/x", one("EOF", false, true)),
            ("cat <<EOF>/x", one("EOF", false, true)),
            ("cat <<EOF|wc", one("EOF", false, true)),
            ("cat << EOF > x", one("EOF", false, true)),
            ("cat << -EOF > x", one("-EOF", false, true)),
            ("cat <<- 'EOF'", one("EOF", true, false)),
            ("cat 3<<EOF", one("EOF", false, true)),
            ("echo $((1 << 3))", vec![]),
            ("echo $((1<<3))", vec![]),
            ("cat <<<word", vec![]),
            ("echo '<<EOF'", vec![]),
            ("echo \\<<EOF", vec![]),
            ("cat <<", vec![]),
            ("cat << ; EOF", vec![]),
            ("cat <<''", vec![]),
        ] {
            assert_eq!(names(text), expected, "{text}");
        }
        assert_eq!(names("cat <<A <<'B'").len(), 2);
    }
}
