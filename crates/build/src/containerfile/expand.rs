//! Variables, quotes and escapes in a word.
//!
//! `$x ${x} ${x:-w} ${x:+w} ${x:?w}`, the same without `:` (then set but empty counts as set),
//! `${x#p} ${x##p} ${x%p} ${x%%p}` (cut the shortest or longest matching start or end),
//! `${x/p/r} ${x//p/r} ${x/#p/r} ${x/%p/r}` (replace first, all, start, end). `'…'` is literal, `"…"` knows escapes
//! of `"`, `$` and the escape character itself, outside quotes an escape makes any character literal. `$` before
//! anything else stays; the shell's parameters (`$1 $@ $# …`) are empty.

use std::iter::Peekable;
use std::str::CharIndices;

use super::pattern::{Pattern, Quoted};

/// How quotes are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Quoting {
    /// In a word: quotes and escapes are removed.
    Removed,
    /// In the body of a heredoc: quotes stay, as an escape does that protects the next character. Between single quotes
    /// nothing is replaced: no shell does that, but podman and BuildKit do. They refuse a body with a quote that is never
    /// closed; in such a body quotes are characters like others.
    Kept,
}

/// Why a word cannot be expanded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ExpandError {
    /// The byte in the word where it begins.
    pub(crate) at: usize,
    /// What is wrong.
    pub(crate) message: String,
    /// What to write instead.
    pub(crate) note: String,
    /// Whether it depends on values: a `${x:?}` that was not set.
    pub(crate) depends_on_values: bool,
}

/// Looks a variable up; `None` if it is not set.
pub(crate) type Lookup<'l> = &'l dyn Fn(&str) -> Option<String>;

/// The word with its variables replaced.
pub(crate) fn expand(
    text: &str,
    escape: char,
    quoting: Quoting,
    lookup: Lookup<'_>,
) -> Result<String, ExpandError> {
    let mut expansion = Expansion {
        rest: text.char_indices().peekable(),
        escape,
        quoting,
        quotes_protect: quotes_are_closed(text, escape),
        is_double_quoted: false,
        lookup,
        depth: 0,
    };
    let expanded = expansion.until(&[])?;
    Ok(expanded.into_iter().map(|(character, _)| character).collect())
}

/// The deepest nesting of `${x:-${y:-…}}` that is read.
const MAX_DEPTH: usize = 64;

struct Expansion<'t, 'l> {
    rest: Peekable<CharIndices<'t>>,
    escape: char,
    quoting: Quoting,
    /// Whether single quotes that stay protect what is between them.
    quotes_protect: bool,
    /// Whether this is between double quotes that stay.
    is_double_quoted: bool,
    lookup: Lookup<'l>,
    depth: usize,
}

fn failure<T>(at: usize, message: impl Into<String>, note: impl Into<String>) -> Result<T, ExpandError> {
    Err(ExpandError {
        at,
        message: message.into(),
        note: note.into(),
        depends_on_values: false,
    })
}

fn never_closed<T>(open: usize) -> Result<T, ExpandError> {
    failure(open, "`${` that is never closed", "expected a `}` after it")
}

fn unknown_operator<T>(at: usize, operator: &str, name: &str) -> Result<T, ExpandError> {
    let note = match operator {
        "=" | ":=" => format!("nothing is set here: ${{{name}:-DEFAULT}}, or ENV {name}=... above"),
        _ => "expected `}` or one of `:- :+ :? - + ? # ## % %% / //`".to_owned(),
    };
    let shown = operator.escape_debug();
    failure(
        at,
        format!("`{shown}` is no operator between `${{` and `}}`"),
        note,
    )
}

impl Expansion<'_, '_> {
    /// Expands until one of `stops`, which stays unread, or the end of the text.
    fn until(&mut self, stops: &[char]) -> Result<Vec<Quoted>, ExpandError> {
        let mut expanded = Vec::new();
        while let Some((at, character)) = self.rest.next_if(|(_, character)| !stops.contains(character)) {
            match character {
                '\'' if self.quoting == Quoting::Removed => self.single_quoted(at, &mut expanded)?,
                '"' if self.quoting == Quoting::Removed => self.double_quoted(at, &mut expanded)?,
                '\'' | '"' => self.kept_quote(character, &mut expanded),
                '$' => self.dollar(at, false, &mut expanded)?,
                _ if character == self.escape => {
                    if self.quoting == Quoting::Kept {
                        expanded.push((character, true));
                    }
                    expanded.extend(self.rest.next().map(|(_, next)| (next, true)));
                }
                _ => expanded.push((character, false)),
            }
        }
        Ok(expanded)
    }

    fn single_quoted(&mut self, open: usize, expanded: &mut Vec<Quoted>) -> Result<(), ExpandError> {
        loop {
            match self.rest.next() {
                Some((_, '\'')) => return Ok(()),
                Some((_, character)) => expanded.push((character, true)),
                None => {
                    let escape = self.escape;
                    let note = format!("expected another `'` after it; the character itself is {escape}'");
                    return failure(open, "a single quote that is never closed", note);
                }
            }
        }
    }

    fn double_quoted(&mut self, open: usize, expanded: &mut Vec<Quoted>) -> Result<(), ExpandError> {
        loop {
            match self.rest.next() {
                Some((_, '"')) => return Ok(()),
                Some((at, '$')) => self.dollar(at, true, expanded)?,
                Some((_, character)) if character == self.escape => {
                    let escape = self.escape;
                    let protected = |next: char| matches!(next, '"' | '$') || next == escape;
                    match self.rest.next_if(|(_, next)| protected(*next)) {
                        Some((_, next)) => expanded.push((next, true)),
                        None => expanded.push((character, true)),
                    }
                }
                Some((_, character)) => expanded.push((character, true)),
                None => {
                    let escape = self.escape;
                    let note = format!("expected another `\"` after it; the character itself is {escape}\"");
                    return failure(open, "a double quote that is never closed", note);
                }
            }
        }
    }

    /// A quote that stays: what single ones protect stays as it is.
    fn kept_quote(&mut self, quote: char, expanded: &mut Vec<Quoted>) {
        expanded.push((quote, true));
        if quote == '"' {
            self.is_double_quoted = !self.is_double_quoted;
        } else if self.quotes_protect && !self.is_double_quoted {
            for (_, character) in self.rest.by_ref() {
                expanded.push((character, true));
                if character == quote {
                    break;
                }
            }
        }
    }

    /// What follows a `$`.
    fn dollar(&mut self, at: usize, quoted: bool, expanded: &mut Vec<Quoted>) -> Result<(), ExpandError> {
        if self.rest.next_if(|(_, next)| *next == '{').is_some() {
            self.depth += 1;
            if self.depth > MAX_DEPTH {
                let message = format!("more than {MAX_DEPTH} expansions inside each other");
                return failure(
                    at,
                    message,
                    "keep parts of it in variables of their own: ENV or ARG above",
                );
            }
            let value = self.braced(at)?;
            self.depth -= 1;
            expanded.extend(
                value
                    .into_iter()
                    .map(|(character, own)| (character, own || quoted)),
            );
            return Ok(());
        }
        let name = self.name();
        if name.is_empty() {
            expanded.push(('$', quoted));
        } else {
            let value = (self.lookup)(&name).unwrap_or_default();
            expanded.extend(value.chars().map(|character| (character, quoted)));
        }
        Ok(())
    }

    /// A variable's name, one of the shell's parameters, or nothing.
    fn name(&mut self) -> String {
        let special =
            |next: char| matches!(next, '@' | '*' | '#' | '?' | '-' | '$' | '!') || next.is_ascii_digit();
        if let Some((_, parameter)) = self.rest.next_if(|(_, next)| special(*next)) {
            return parameter.to_string();
        }
        let mut name = String::new();
        while let Some((_, character)) = self
            .rest
            .next_if(|(_, next)| next.is_ascii_alphanumeric() || *next == '_')
        {
            name.push(character);
        }
        name
    }

    /// The inside of `${…}`.
    fn braced(&mut self, open: usize) -> Result<Vec<Quoted>, ExpandError> {
        let name = self.braced_name(open)?;
        let value = (self.lookup)(&name);
        let missing = match value {
            Some(_) => "it is empty",
            None => "it is not set",
        };
        let value = match self.rest.next() {
            None => return never_closed(open),
            Some((_, '}')) => return Ok(unquoted(&value.unwrap_or_default())),
            Some((_, ':')) => {
                let value = value.filter(|value| !value.is_empty());
                match self.rest.next() {
                    Some((_, operator @ ('-' | '+' | '?'))) => {
                        self.alternative(open, operator, &name, value, missing)?
                    }
                    Some((at, character)) => {
                        return unknown_operator(at - 1, &format!(":{character}"), &name);
                    }
                    None => return never_closed(open),
                }
            }
            Some((_, operator @ ('-' | '+' | '?'))) => {
                self.alternative(open, operator, &name, value, missing)?
            }
            Some((_, side @ ('#' | '%'))) => self.cut(side, &value.unwrap_or_default())?,
            Some((_, '/')) => self.replaced(open, &value.unwrap_or_default())?,
            Some((at, character)) => return unknown_operator(at, &character.to_string(), &name),
        };
        match self.rest.next() {
            Some((_, '}')) => Ok(value),
            _ => never_closed(open),
        }
    }

    fn braced_name(&mut self, open: usize) -> Result<String, ExpandError> {
        let mut name = self.name();
        if name.is_empty() {
            let note = format!(
                "expected ${{NAME}}; the characters themselves are {}${{",
                self.escape
            );
            return failure(open, "`${` without the name of a variable", note);
        }
        // Between braces a parameter's number may have several digits.
        while name.starts_with(|first: char| first.is_ascii_digit())
            && let Some((_, digit)) = self.rest.next_if(|(_, next)| next.is_ascii_digit())
        {
            name.push(digit);
        }
        Ok(name)
    }

    fn alternative(
        &mut self,
        at: usize,
        operator: char,
        name: &str,
        value: Option<String>,
        missing: &str,
    ) -> Result<Vec<Quoted>, ExpandError> {
        let word = self.until(&['}'])?;
        match (operator, value) {
            ('+', Some(_)) => Ok(word),
            ('+', None) => Ok(Vec::new()),
            (_, Some(value)) => Ok(unquoted(&value)),
            ('-', None) => Ok(word),
            (_, None) => {
                let reason: String = word.into_iter().map(|(character, _)| character).collect();
                let (reason, missing) = match reason.as_str() {
                    "" => (missing, String::new()),
                    reason => (reason, format!("{missing}; ")),
                };
                Err(ExpandError {
                    at,
                    message: format!("variable `{name}`: {reason}"),
                    note: format!("{missing}give it a value: ARG or ENV above, or --build-arg for an ARG"),
                    depends_on_values: true,
                })
            }
        }
    }

    /// `${x#p}`, `${x##p}`, `${x%p}`, `${x%%p}`.
    fn cut(&mut self, side: char, value: &str) -> Result<Vec<Quoted>, ExpandError> {
        let longest = self.rest.next_if(|(_, next)| *next == side).is_some();
        let pattern = Pattern::new(&self.until(&['}'])?);
        let mut text: Vec<char> = value.chars().collect();
        let (pattern, backward) = match side {
            '%' => (pattern.reversed(), true),
            _ => (pattern, false),
        };
        if backward {
            text.reverse();
        }
        let lengths = pattern.prefixes(&text);
        let length = if longest { lengths.last() } else { lengths.first() };
        text.drain(..length.copied().unwrap_or(0));
        if backward {
            text.reverse();
        }
        Ok(text.into_iter().map(|character| (character, false)).collect())
    }

    /// `${x/p/r}`, `${x//p/r}`, `${x/#p/r}`, `${x/%p/r}`.
    fn replaced(&mut self, open: usize, value: &str) -> Result<Vec<Quoted>, ExpandError> {
        let place = self.rest.next_if(|(_, next)| matches!(next, '/' | '#' | '%'));
        let pattern = Pattern::new(&self.until(&['/', '}'])?);
        let replacement = match self.rest.next_if(|(_, next)| *next == '/') {
            Some(_) => self.until(&['}'])?,
            None if self.rest.peek().is_some() => Vec::new(),
            None => return never_closed(open),
        };
        let text: Vec<char> = value.chars().collect();
        Ok(match place {
            Some((_, '%')) => replace_end(&text, &pattern, replacement),
            place => replace(&text, &pattern, &replacement, place.map(|(_, place)| place)),
        })
    }
}

fn quotes_are_closed(text: &str, escape: char) -> bool {
    let mut open = None;
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match (character, open) {
            (_, Some(quote)) if quote == character => open = None,
            ('\'' | '"', None) => open = Some(character),
            _ if character == escape && open != Some('\'') => {
                characters.next();
            }
            _ => {}
        }
    }
    open.is_none()
}

fn unquoted(text: &str) -> Vec<Quoted> {
    text.chars().map(|character| (character, false)).collect()
}

fn replace_end(text: &[char], pattern: &Pattern, replacement: Vec<Quoted>) -> Vec<Quoted> {
    let backward: Vec<char> = text.iter().rev().copied().collect();
    let Some(length) = pattern.reversed().prefixes(&backward).pop() else {
        return text.iter().map(|character| (*character, false)).collect();
    };
    let kept = text.iter().take(text.len() - length);
    kept.map(|character| (*character, false))
        .chain(replacement)
        .collect()
}

/// Replaces the first match, every match (`place` is `/`), or a match at the start (`place` is `#`).
fn replace(text: &[char], pattern: &Pattern, replacement: &[Quoted], place: Option<char>) -> Vec<Quoted> {
    let mut replaced = Vec::new();
    let mut rest = text;
    let mut goes_on = true;
    loop {
        let longest = if goes_on {
            pattern.prefixes(rest).pop()
        } else {
            None
        };
        goes_on = goes_on && place != Some('#');
        if let Some(length) = longest.filter(|length| *length > 0) {
            replaced.extend_from_slice(replacement);
            rest = &rest[length..];
            goes_on = goes_on && place == Some('/');
        } else if let Some((first, tail)) = rest.split_first() {
            replaced.push((*first, false));
            rest = tail;
        } else {
            return replaced;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(name: &str) -> Option<String> {
        match name {
            "x" => Some("value".to_owned()),
            "empty" => Some(String::new()),
            "path" => Some("/usr/local/lib.tar.gz".to_owned()),
            "star" => Some("a*b".to_owned()),
            "escaped" => Some("a\\*".to_owned()),
            _ => None,
        }
    }

    fn expanded(word: &str) -> Result<String, ExpandError> {
        expand(word, '\\', Quoting::Removed, &value)
    }

    #[test]
    fn words_expand() {
        for (word, expected) in [
            ("a", "a"),
            ("$x", "value"),
            ("${x}", "value"),
            ("a$x.b", "avalue.b"),
            ("$none", ""),
            ("'$x'", "$x"),
            ("\"$x\"", "value"),
            (r"\$x", "$x"),
            (r#""\$x \" \\ \n""#, r#"$x " \ \n"#),
            (r"\a\'", "a'"),
            ("a\\", "a"),
            ("$", "$"),
            ("$.", "$."),
            ("100%$", "100%$"),
            ("$1$@$#$?$$$!$-$*|", "|"),
            ("$12 ${12} ${007:-w}", "2  w"),
            ("${x:-w}", "value"),
            ("${none:-w}", "w"),
            ("${empty:-w}", "w"),
            ("${empty-w}", ""),
            ("${none-w}", "w"),
            ("${none:-}", ""),
            ("${none:-a b}", "a b"),
            ("${none:-\"}\"}", "}"),
            ("${none:-${x}}", "value"),
            ("${none:-${none:-deep}}", "deep"),
            ("${x:+w}", "w"),
            ("${empty:+w}", ""),
            ("${empty+w}", "w"),
            ("${none+w}", ""),
            ("${x:?w}", "value"),
            ("${path#/*/}", "local/lib.tar.gz"),
            ("${path##*/}", "lib.tar.gz"),
            ("${path%.*}", "/usr/local/lib.tar"),
            ("${path%%.*}", "/usr/local/lib"),
            ("${path#nothing}", "/usr/local/lib.tar.gz"),
            ("${path/l/L}", "/usr/Local/lib.tar.gz"),
            ("${path//l/L}", "/usr/LocaL/Lib.tar.gz"),
            ("${path/#\\/usr/U}", "U/local/lib.tar.gz"),
            ("${path/%gz/xz}", "/usr/local/lib.tar.xz"),
            ("${path/%zz/xz}", "/usr/local/lib.tar.gz"),
            ("${path/usr}", "//local/lib.tar.gz"),
            ("${path//[a-z]}", "///.."),
            ("${star#a\\*}", "b"),
            ("${star#a'*'}", "b"),
            ("${star#$escaped}", "b"),
            ("${x#}", "value"),
            ("${x//}", "value"),
        ] {
            assert_eq!(expanded(word).as_deref(), Ok(expected), "{word}");
        }
    }

    #[test]
    fn broken_words_say_where() {
        for (word, at) in [
            ("a'b", 1),
            ("a\"b", 1),
            ("a${x", 1),
            ("a${", 1),
            ("${}", 0),
            ("${x:", 0),
            ("${x:z}", 3),
            ("${x!}", 3),
            ("${x:-w", 0),
            ("${x/a", 0),
            ("${x/a/b", 0),
            ("\"${x:-'}\"", 6),
        ] {
            let error = expanded(word).expect_err(word);
            assert_eq!(error.at, at, "{word}: {}", error.message);
            assert!(!error.depends_on_values, "{word}");
        }
    }

    #[test]
    fn a_required_variable_fails_with_its_message() {
        let error = expanded("${none:?give a version}").unwrap_err();
        assert_eq!(error.message, "variable `none`: give a version");
        assert!(error.depends_on_values);
        assert!(expanded("${empty?}").is_ok());
        assert!(expanded("${empty:?}").is_err());
    }

    #[test]
    fn bodies_keep_quotes_and_escapes() {
        for (body, expected) in [
            ("\"$x\" '${x}' \\$x", "\"value\" '${x}' \\$x"),
            ("don't $x it's", "don't $x it's"),
            ("\"don't $x\" $x", "\"don't value\" value"),
            // One quote is not closed.
            ("don't \"$x\" '${x}' \\$x", "don't \"value\" 'value' \\$x"),
        ] {
            assert_eq!(expand(body, '\\', Quoting::Kept, &value).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn the_escape_character_is_an_input() {
        assert_eq!(
            expand("`$x \\$x", '`', Quoting::Removed, &value).as_deref(),
            Ok("$x \\value")
        );
    }

    #[test]
    fn deep_nesting_ends_in_an_error() {
        assert!(expanded(&"${a:-".repeat(100_000)).is_err());
    }
}
