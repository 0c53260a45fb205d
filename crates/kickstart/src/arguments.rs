//! The options and words of a command, by the rules of Python's `argparse`, which are Kickstart's grammar: an option may
//! be shortened as long as it stays unambiguous, `--` ends options, and numbers may be negative.
//!
//! Different: positional words and options mix freely, where `argparse` loses words that come after an option.

use std::ops::Range;

use crate::line::{Line, Problems};
use crate::model::Secret;
use crate::problem::{Level, Position};
use crate::table::{CommandSpec, Kind, OptionSpec};
use crate::words::Word;
use crate::{Dialect, secrets};

/// What an option was given.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Flag,
    Text(String),
    Integer(i64),
    Boolean(bool),
    List(Vec<String>),
    /// An option whose value may be left out.
    Optional(Option<String>),
}

/// Stands for the first word that belongs to no option where an option's name is wanted.
pub(crate) const WORD: &str = "word";

/// An option that was given.
#[derive(Debug)]
struct Given {
    spec: &'static OptionSpec,
    value: Value,
    span: Range<usize>,
}

/// A command with its options, checked against the table.
#[derive(Debug)]
pub(crate) struct Arguments<'l> {
    /// The line.
    pub(crate) line: &'l Line,
    /// The command as it is written.
    pub(crate) command: Word,
    /// The words that belong to no option.
    pub(crate) words: Vec<Word>,
    given: Vec<Given>,
}

impl<'l> Arguments<'l> {
    /// A command of which only the words are known.
    pub(crate) fn of_words(line: &'l Line, command: Word, words: Vec<Word>) -> Self {
        Arguments {
            line,
            command,
            words,
            given: Vec::new(),
        }
    }

    /// The command's place.
    pub(crate) fn position(&self) -> Position {
        self.line.position(self.command.span.start)
    }

    fn last(&self, option: &str) -> Option<&Given> {
        self.given
            .iter()
            .rev()
            .find(|given| given.spec.names.first() == Some(&option))
    }

    /// Whether any option was given but the one of that name.
    pub(crate) fn has_other_than(&self, option: &str) -> bool {
        self.given
            .iter()
            .any(|given| given.spec.names.first() != Some(&option))
    }

    /// Whether the option was given. Options go by the first of their names.
    pub(crate) fn has(&self, option: &str) -> bool {
        self.last(option).is_some()
    }

    /// Which of some options was given last.
    pub(crate) fn last_of<'o>(&self, options: &[&'o str]) -> Option<&'o str> {
        self.given.iter().rev().find_map(|given| {
            let is_it = |option: &&&str| given.spec.name() == **option;
            options.iter().find(is_it).copied()
        })
    }

    /// The value of a text option.
    pub(crate) fn text(&self, option: &str) -> Option<&str> {
        match &self.last(option)?.value {
            Value::Text(text) => Some(text),
            Value::Optional(text) => text.as_deref(),
            _ => None,
        }
    }

    /// The same if it is not empty: an empty value is as good as none.
    pub(crate) fn filled(&self, option: &str) -> Option<String> {
        self.text(option)
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
    }

    /// The same as a secret.
    pub(crate) fn secret(&self, option: &str) -> Option<Secret> {
        self.filled(option).map(Secret)
    }

    /// The value of a number option.
    pub(crate) fn integer(&self, option: &str) -> Option<i64> {
        match self.last(option)?.value {
            Value::Integer(number) => Some(number),
            _ => None,
        }
    }

    /// The value of a yes-or-no option.
    pub(crate) fn boolean(&self, option: &str) -> Option<bool> {
        match self.last(option)?.value {
            Value::Boolean(value) => Some(value),
            _ => None,
        }
    }

    /// The values of a list option; of all that were given, if the option adds up.
    pub(crate) fn list(&self, option: &str) -> Vec<String> {
        let values = self
            .given
            .iter()
            .filter(|given| given.spec.names.first() == Some(&option));
        let mut list = Vec::new();
        for given in values {
            if !given.spec.adds_up {
                list.clear();
            }
            match &given.value {
                Value::List(more) => list.extend_from_slice(more),
                Value::Text(one) => list.push(one.clone()),
                _ => {}
            }
        }
        list
    }

    /// Where an option is, or the command if it is not; for [`WORD`] the first word.
    pub(crate) fn span(&self, option: &str) -> Range<usize> {
        if option == WORD
            && let Some(word) = self.words.first()
        {
            return word.span.clone();
        }
        match self.last(option) {
            Some(given) => given.span.clone(),
            None => self.command.span.clone(),
        }
    }

    /// The first word that belongs to no option.
    pub(crate) fn word(&self) -> Option<&str> {
        self.words.first().map(|word| word.text.as_str())
    }
}

/// The arguments of a command; `None` if something is wrong with them, which is among the problems then.
pub(crate) fn parse<'l>(
    line: &'l Line,
    spec: &'static CommandSpec,
    words: Vec<Word>,
    dialect: Dialect,
    problems: &mut Problems,
) -> Option<Arguments<'l>> {
    let before = problems.errors();
    let mut words = words.into_iter();
    let command = words.next()?;
    let mut reading = Reading {
        spec,
        dialect,
        problems,
        has_unknown: false,
        arguments: Arguments::of_words(line, command, Vec::new()),
    };
    reading.options(words);
    reading.require_all();
    let arguments = reading.arguments;
    (problems.errors() == before).then_some(arguments)
}

/// What a word after the command is.
enum Role {
    Positional,
    Option(&'static OptionSpec),
    Ambiguous(Vec<&'static str>),
    Unknown,
}

struct Reading<'l, 'p> {
    spec: &'static CommandSpec,
    dialect: Dialect,
    problems: &'p mut Problems,
    has_unknown: bool,
    arguments: Arguments<'l>,
}

impl Reading<'_, '_> {
    fn error(&mut self, span: Range<usize>, message: String, remedy: impl Into<String>) {
        self.problems
            .add(Level::Error, self.arguments.line, span, message, remedy);
    }

    fn options(&mut self, words: std::vec::IntoIter<Word>) {
        let mut words = words.peekable();
        while let Some(word) = words.next() {
            if word.text == "--" {
                self.arguments.words.extend(words);
                return;
            }
            match self.role(&word.text) {
                Role::Positional => self.arguments.words.push(word),
                Role::Option(option) => {
                    let takes_value = option.kind.takes_value() && !word.text.contains('=');
                    let value = words.next_if(|next| takes_value && self.is_value(&next.text));
                    let is_dashed =
                        |next: &Word| next.text != "--" && matches!(self.role(&next.text), Role::Unknown);
                    if takes_value
                        && value.is_none()
                        && option.kind != Kind::OptionalText
                        && let Some(dashed) = words.next_if(is_dashed)
                    {
                        let name = option.name();
                        let message = format!("a value of {name} that begins with '-' must follow a '='");
                        let span = word.span.start..dashed.span.end;
                        self.error(span, message, format!("write {name}=…"));
                        continue;
                    }
                    self.option(option, word, value);
                }
                Role::Ambiguous(options) => {
                    let name = name_of(&word.text);
                    let message = format!("'{name}' may be {}", options.join(", "));
                    self.error(word.span, message, "write the whole name");
                    self.has_unknown = true;
                }
                Role::Unknown => {
                    self.unknown(&word);
                    self.has_unknown = true;
                    if self.spec.takes_unknown {
                        self.arguments.words.push(word);
                    }
                }
            }
        }
    }

    /// Whether a word can be the value of an option before it.
    fn is_value(&self, text: &str) -> bool {
        text != "--" && matches!(self.role(text), Role::Positional)
    }

    fn role(&self, text: &str) -> Role {
        if !text.starts_with('-') || text.len() == 1 {
            return Role::Positional;
        }
        let name = name_of(text);
        let options = || self.spec.options_of(self.dialect);
        if let Some(option) = options().find(|option| option.names.contains(&name)) {
            return Role::Option(option);
        }
        if name.starts_with("--") {
            let named = |option: &'static OptionSpec| option.names.iter().map(move |name| (*name, option));
            let matching: Vec<_> = options()
                .flat_map(named)
                .filter(|(full, _)| full.starts_with(name))
                .collect();
            match matching.as_slice() {
                [] => {}
                [(_, option)] => return Role::Option(option),
                several => return Role::Ambiguous(several.iter().map(|(name, _)| *name).collect()),
            }
        }
        if is_negative_number(text) || text.contains(' ') {
            return Role::Positional;
        }
        Role::Unknown
    }

    fn unknown(&mut self, word: &Word) {
        if self.problems.is_full() {
            return self.error(word.span.clone(), String::new(), "");
        }
        let name = name_of(&word.text);
        let command = &self.arguments.command.text;
        if secrets::is_secret_word(command, &word.text) {
            let message = format!("{command} takes what begins with '-' for an option");
            let remedy = format!("write {command} -- and then the password");
            return self.error(word.span.clone(), message, remedy);
        }
        let removed = self.spec.removed.iter().find(|removed| removed.name == name);
        let known: Vec<_> = self
            .spec
            .options_of(self.dialect)
            .flat_map(|option| option.names.iter().copied())
            .collect();
        let dashed = format!("-{name}");
        let (message, remedy) = match (removed, nearest(name, &known)) {
            (Some(removed), _) => (
                format!("{name} of {command} is not in {}", self.dialect),
                removed.instead.to_owned(),
            ),
            (None, _) if known.contains(&dashed.as_str()) => (
                format!("unknown option '{name}' of {command}"),
                format!("did you mean '{dashed}'?"),
            ),
            (None, Some(near)) => (
                format!("unknown option '{name}' of {command}"),
                format!("did you mean '{near}'?"),
            ),
            (None, None) if known.is_empty() => (
                format!("{command} has no options; there is '{name}'"),
                String::new(),
            ),
            (None, None) => (
                format!("unknown option '{name}' of {command}"),
                format!("known are {}", known.join(", ")),
            ),
        };
        let level = match self.spec.takes_unknown {
            true => Level::Unsupported,
            false => Level::Error,
        };
        let line = self.arguments.line;
        self.problems.add(level, line, word.span.clone(), message, remedy);
    }

    fn option(&mut self, option: &'static OptionSpec, word: Word, separate: Option<Word>) {
        let name = option.name();
        let span = word.span.start..separate.as_ref().map_or(word.span.end, |value| value.span.end);
        let attached = word.text.split_once('=').map(|(_, value)| value.to_owned());
        let text = attached.or(separate.map(|value| value.text));
        let has_unit = text
            .as_deref()
            .is_some_and(|text| text.starts_with(|c: char| c.is_ascii_digit()));
        let value = match (option.kind, text) {
            (Kind::Flag, None) => Ok(Value::Flag),
            (Kind::Flag, Some(_)) => Err(format!("{name} takes no value")),
            (Kind::OptionalText, text) => Ok(Value::Optional(text)),
            (_, None) => Err(format!("{name} needs a value")),
            (kind, Some(text)) => converted(kind, name, text),
        };
        match value {
            Err(message) => {
                let remedy = match option.kind {
                    Kind::Flag => format!("write {name} alone"),
                    Kind::Boolean => "write yes or no".to_owned(),
                    Kind::Integer if has_unit => "write the number alone; sizes are in MiB".to_owned(),
                    _ => String::new(),
                };
                self.error(span, message, remedy);
            }
            Ok(value) => {
                if option.deprecated.contains(&self.dialect) {
                    let message = format!("{name} is deprecated");
                    self.problems.add(
                        Level::Warning,
                        self.arguments.line,
                        span.clone(),
                        message,
                        option.instead,
                    );
                }
                self.arguments.given.push(Given {
                    spec: option,
                    value,
                    span,
                });
            }
        }
    }

    /// Checks for options that must be there, and how many words there are.
    fn require_all(&mut self) {
        let command = self.arguments.command.clone();
        let is_missing = |option: &&OptionSpec| option.required && !self.arguments.has(option.name());
        let missing: Vec<_> = self
            .spec
            .options_of(self.dialect)
            .filter(is_missing)
            .map(OptionSpec::name)
            .collect();
        // A misspelled option may well be the one that is missing.
        if !missing.is_empty() && !self.has_unknown {
            let message = format!("{} needs {}", command.text, missing.join(" and "));
            self.error(command.span.clone(), message, self.spec.usage());
        }
        let count = self.arguments.words.len();
        let bounds = self.spec.words;
        if count < bounds.least && !self.has_unknown {
            let message = format!("{} needs {}", command.text, bounds.what);
            self.error(command.span, message, self.spec.usage());
        } else if let Some(surplus) = self.arguments.words.get(bounds.most)
            // The word after an unknown option may be its value.
            && !self.has_unknown
        {
            let span = surplus.span.clone();
            let message = match secrets::has_secret_words(&command.text) {
                true => format!("{} has more words than it takes", command.text),
                // The value of an option may be a secret.
                false => format!(
                    "{} does not take the word '{}'",
                    command.text,
                    name_of(&surplus.text)
                ),
            };
            let remedy = match bounds.what {
                "" => String::new(),
                what => format!("it takes {what}; quote a value with blanks"),
            };
            self.error(span, message, remedy);
        }
    }
}

/// The part of an option's word before its value.
fn name_of(text: &str) -> &str {
    text.split_once('=').map_or(text, |(name, _)| name)
}

fn is_negative_number(text: &str) -> bool {
    let Some(number) = text.strip_prefix('-') else {
        return false;
    };
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    match number.split_once('.') {
        None => !number.is_empty() && is_digits(number),
        Some((whole, part)) => is_digits(whole) && !part.is_empty() && is_digits(part),
    }
}

fn converted(kind: Kind, name: &str, text: String) -> Result<Value, String> {
    match kind {
        Kind::Integer => match integer(&text) {
            Some(number) => Ok(Value::Integer(number)),
            None => Err(format!("{name} needs a whole number, not '{text}'")),
        },
        Kind::Boolean => match text.to_lowercase().as_str() {
            "on" | "yes" | "true" | "1" => Ok(Value::Boolean(true)),
            "off" | "no" | "false" | "0" => Ok(Value::Boolean(false)),
            _ => Err(format!("{name} is yes or no, not '{text}'")),
        },
        Kind::List => Ok(Value::List(comma_separated(&text))),
        Kind::AnyCase(choices) => {
            let lower = text.to_lowercase();
            match choices.contains(&lower.as_str()) {
                true => Ok(Value::Text(lower)),
                false => Err(format!("{name} is one of {}, not '{text}'", choices.join(", "))),
            }
        }
        Kind::Choice(choices) if choices.contains(&text.as_str()) => Ok(Value::Text(text)),
        Kind::Choice(choices) => Err(format!("{name} is one of {}, not '{text}'", choices.join(", "))),
        Kind::Flag | Kind::OptionalText | Kind::Text => Ok(Value::Text(text)),
    }
}

/// The parts between commas without blanks around them; empty ones are left out.
pub(crate) fn comma_separated(text: &str) -> Vec<String> {
    text.split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(str::to_owned)
        .collect()
}

/// A number as Python reads it: blanks around it, a sign, single `_` between digits. What is too large for 64 bits is
/// the largest (or smallest) number that is not: nonsense all the same, and refused as such.
fn integer(text: &str) -> Option<i64> {
    let text = text.trim();
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !digits.split('_').all(is_number) {
        return None;
    }
    let number = digits.replace('_', "").parse().unwrap_or(i64::MAX);
    Some(if text.starts_with('-') { -number } else { number })
}

/// No name of a command or an option is longer, by far.
const MAX_NAME_BYTES: usize = 64;

/// The nearest of some names, if it is near enough to be what was meant.
pub(crate) fn nearest<'n>(name: &str, known: &[&'n str]) -> Option<&'n str> {
    if name.len() > MAX_NAME_BYTES {
        return None;
    }
    let is_near = |distance: usize, known: &str| distance <= (known.len() / 3).max(1);
    known
        .iter()
        .filter(|known| is_near(known.len().abs_diff(name.len()), known))
        .map(|known| (strsim::damerau_levenshtein(name, known), *known))
        .filter(|(distance, known)| is_near(*distance, known))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_python() {
        for (text, expected) in [
            ("5", Some(5)),
            (" +1_000 ", Some(1000)),
            ("-5", Some(-5)),
            ("007", Some(7)),
            ("99999999999999999999", Some(i64::MAX)),
            ("10G", None),
            ("10.5", None),
            ("0x10", None),
            ("1__0", None),
            ("_1", None),
            ("", None),
            ("-", None),
        ] {
            assert_eq!(integer(text), expected, "{text:?}");
        }
    }

    #[test]
    fn negative_numbers_are_values() {
        for (text, expected) in [
            ("-5", true),
            ("-.5", true),
            ("-5.", false),
            ("-a", false),
            ("-", false),
        ] {
            assert_eq!(is_negative_number(text), expected, "{text}");
        }
    }
}
