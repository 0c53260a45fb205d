//! Which keys there are, what they take, and what is said of keys that no disk can have.
//!
//! One pass over a file by these tables finds all keys that do not exist or are missing and all values of a wrong kind,
//! so that the readers of [`crate::read`] can pass over what is not as it should be.

mod keys;

use std::ops::Range;

pub(crate) use keys::{CONFIGURATION, RANGES};

use crate::problem::Problems;
use crate::size;
use crate::value::{Kind, Value, below};

/// A key of a table.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) takes: Takes,
    pub(crate) is_required: bool,
}

/// What a key takes.
#[derive(Debug)]
pub(crate) enum Takes {
    Text,
    Integer,
    Boolean,
    /// Bytes, as a number or with a unit.
    Size,
    /// A name or a number.
    Owner,
    /// An array of strings.
    Texts,
    /// A table of these keys.
    Table(&'static [Key]),
    /// An array of tables of these keys.
    Tables(&'static [Key]),
    /// What the reader looks at itself.
    Anything,
    /// The key exists, but no disk can have it.
    Nothing(Refusal),
}

/// Why a key that others know is refused, and what to do instead.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) reason: &'static str,
    pub(crate) remedy: &'static str,
}

impl Takes {
    fn name(&self) -> &'static str {
        match self {
            Takes::Text => "a string",
            Takes::Integer => "an integer",
            Takes::Boolean => "true or false",
            Takes::Size => "a size",
            Takes::Owner => "a name or a number",
            Takes::Texts => "an array of strings",
            Takes::Table(_) => "a table",
            Takes::Tables(_) => "an array of tables",
            Takes::Anything | Takes::Nothing(_) => "something else",
        }
    }

    fn example(&self) -> &'static str {
        match self {
            Takes::Text => "put it into quotes",
            Takes::Integer => "write a number without quotes, fraction and exponent",
            Takes::Boolean => "write true or false without quotes",
            Takes::Size => "write a number of bytes, or a number and a unit such as \"20 GiB\"",
            Takes::Texts => "write it as [\"one\", \"two\"]",
            Takes::Tables(_) => "in TOML, write its name in [[ ]]; in JSON, as [{ }]",
            Takes::Table(_) => "in TOML, write its name in [ ]; in JSON, as { }",
            Takes::Owner => "write a name in quotes, or a number without",
            Takes::Anything | Takes::Nothing(_) => "",
        }
    }
}

/// Finds everything that does not fit the tables.
pub(crate) fn check(tree: &Value, problems: &mut Problems) {
    if !matches!(tree.kind, Kind::Table(_)) {
        let reason = format!("the file is {}, not a table of keys", tree.kind_name());
        return problems.add(
            tree.span.clone(),
            "",
            reason,
            "write it as { \"customizations\": { } }",
        );
    }
    table(tree, "", CONFIGURATION, problems);
}

fn table(value: &Value, path: &str, keys: &[Key], problems: &mut Problems) {
    for (name, field) in value.entries() {
        let path = below(path, &name.name);
        match keys.iter().find(|key| key.name == name.name) {
            Some(key) => check_value(field, &path, &name.span, &key.takes, problems),
            None => {
                let (reason, remedy) = unknown(&name.name, keys);
                problems.add(name.span.clone(), &path, reason, remedy);
            }
        }
    }
    for key in keys
        .iter()
        .filter(|key| key.is_required && value.field(key.name).is_none())
    {
        let reason = format!("the key '{}' is missing", key.name);
        problems.add(
            value.span.clone(),
            path,
            reason,
            format!("add it; it takes {}", key.takes.name()),
        );
    }
}

fn check_value(value: &Value, path: &str, key: &Range<usize>, takes: &Takes, problems: &mut Problems) {
    match (takes, &value.kind) {
        (Takes::Nothing(refusal), _) => problems.add(key.clone(), path, refusal.reason, refusal.remedy),
        (Takes::Table(keys), Kind::Table(_)) => table(value, path, keys, problems),
        (Takes::Tables(keys), Kind::Array(items)) => {
            for (index, item) in items.iter().enumerate() {
                let path = format!("{path}[{index}]");
                check_value(item, &path, &item.span, &Takes::Table(keys), problems);
            }
        }
        (Takes::Texts, Kind::Array(items)) => {
            for (index, item) in items.iter().enumerate() {
                check_value(
                    item,
                    &format!("{path}[{index}]"),
                    &item.span,
                    &Takes::Text,
                    problems,
                );
            }
        }
        (Takes::Size, Kind::Text(text)) => {
            if let Err(reason) = size::parse(text) {
                let remedy = "write a number and kB, KiB, MB, MiB, GB, GiB, TB or TiB, as in \"1.5 GiB\"";
                problems.add(value.span.clone(), path, reason, remedy);
            }
        }
        (Takes::Size, Kind::Integer(bytes)) if *bytes < 0 => {
            problems.add(
                value.span.clone(),
                path,
                format!("{bytes} bytes is no size"),
                takes.example(),
            );
        }
        (Takes::Size, Kind::Integer(bytes)) if *bytes > i128::from(size::MAX_BYTES) => {
            let reason = format!("{bytes} bytes are more than 1024 PiB");
            problems.add(value.span.clone(), path, reason, takes.example());
        }
        (Takes::Integer, Kind::Integer(number)) => range(*number, value, path, problems),
        (Takes::Text | Takes::Owner, Kind::Text(text)) => plain_text(text, value, path, problems),
        (Takes::Boolean, Kind::Boolean(_))
        | (Takes::Size | Takes::Owner, Kind::Integer(_))
        | (Takes::Anything, _) => {}
        _ => {
            let reason = format!("this is {}; the key takes {}", value.kind_name(), takes.name());
            problems.add(value.span.clone(), path, reason, takes.example());
        }
    }
}

/// No setting takes bytes that end or hide a line; contents of files and certificates may.
fn plain_text(text: &str, value: &Value, path: &str, problems: &mut Problems) {
    let may_have_lines = [".data", ".key"].iter().any(|suffix| path.ends_with(suffix));
    let is_wrong = |c: char| c == '\0' || (c.is_control() && !may_have_lines);
    if let Some(wrong) = text.chars().find(|c| is_wrong(*c)) {
        let reason = format!("the text has the control character {:?}", wrong);
        problems.add(value.span.clone(), path, reason, "write it in one line");
    }
}

fn range(number: i128, value: &Value, path: &str, problems: &mut Problems) {
    let name = path.rsplit('.').next().unwrap_or(path);
    let Some((_, least, most)) = RANGES.iter().find(|(key, _, _)| *key == name) else {
        return;
    };
    if !(i128::from(*least)..=i128::from(*most)).contains(&number) {
        let reason = format!("{number} is out of range");
        problems.add(
            value.span.clone(),
            path,
            reason,
            format!("from {least} to {most} are possible"),
        );
    }
}

/// What is said of a key that does not exist.
fn unknown(name: &str, keys: &[Key]) -> (String, String) {
    let known = keys.iter().filter(|key| !matches!(key.takes, Takes::Nothing(_)));
    let near = |key: &&Key| strsim::damerau_levenshtein(&key.name.to_lowercase(), &name.to_lowercase());
    let nearest = known.clone().map(|key| (near(&key), key.name)).min();
    let remedy = match nearest {
        Some((distance, nearest)) if distance <= (name.chars().count() / 3).max(1) => {
            format!("did you mean '{nearest}'?")
        }
        _ => {
            let names: Vec<_> = known.map(|key| key.name).collect();
            format!("known are: {}", names.join(", "))
        }
    };
    (format!("there is no key '{name}'"), remedy)
}
