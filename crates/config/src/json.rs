//! JSON to values.
//!
//! `serde_json` reads everything; the places come from its raw values, which are slices of the text. Keys stand right
//! behind what is before them.

use std::fmt;
use std::ops::Range;

use serde::de::{Deserializer as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::problem::Problems;
use crate::toml::MAX_DEPTH;
use crate::value::{Key, Kind, Value, below};

/// The key under which blueprints of other tools stand.
const WRAPPER: &str = "blueprint";

/// The tree of a file; `None` if it is no JSON, which `problems` say.
pub(crate) fn parse(text: &str, problems: &mut Problems) -> Option<Value> {
    match serde_json::from_str::<&RawValue>(text) {
        Ok(raw) => {
            let mut reader = Reader { text, problems };
            reader.value(raw, "", MAX_DEPTH)
        }
        Err(error) => {
            let at = offset(text, &error);
            syntax(problems, at, &error);
            None
        }
    }
}

/// The blueprint in a file that has nothing else.
pub(crate) fn unwrapped(tree: &Value) -> &Value {
    match tree.entries() {
        [(key, value)] if key.name == WRAPPER => value,
        _ => tree,
    }
}

fn syntax(problems: &mut Problems, at: usize, error: &serde_json::Error) {
    let text = error.to_string();
    let reason = text
        .rsplit_once(" at line ")
        .map_or(text.as_str(), |(reason, _)| reason);
    let remedy = match reason {
        "trailing characters" => "a file has one JSON value; take away what follows it",
        "trailing comma" => "take away the comma",
        "key must be a string" => "put keys into double quotes; no comma stands before '}'",
        _ => "",
    };
    problems.add(at..at, "", format!("this is no JSON: {reason}"), remedy);
}

/// Where an error is. The reader counts lines from 1, and bytes in a line up to and with the wrong one.
fn offset(text: &str, error: &serde_json::Error) -> usize {
    let before: usize = text
        .split_inclusive('\n')
        .take(error.line().saturating_sub(1))
        .map(str::len)
        .sum();
    (before + error.column().saturating_sub(1)).min(text.len())
}

struct Reader<'a, 'p> {
    text: &'a str,
    problems: &'p mut Problems,
}

/// The members of an object with their raw values, in their order.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'a> Visitor<'a> for Members<'a> {
    type Value = Vec<(String, &'a RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(mut self, mut map: A) -> Result<Self::Value, A::Error> {
        while let Some(member) = map.next_entry()? {
            self.0.push(member);
        }
        Ok(self.0)
    }
}

impl<'a> Reader<'a, '_> {
    fn value(&mut self, raw: &'a RawValue, path: &str, depth: usize) -> Option<Value> {
        let json = raw.get();
        let span = self.span(json);
        let kind = match json.as_bytes().first() {
            Some(b'{' | b'[') if depth == 0 => {
                let reason = format!("objects and arrays are nested more than {MAX_DEPTH} deep");
                self.problems.add(span, path, reason, "");
                return None;
            }
            Some(b'{') => {
                let mut deserializer = serde_json::Deserializer::from_str(json);
                let members = deserializer.deserialize_map(Members(Vec::new()));
                let members = self.checked(members, &span)?;
                Kind::Table(self.entries(members, span.start, path, depth)?)
            }
            Some(b'[') => {
                let items = self.checked(serde_json::from_str::<Vec<&'a RawValue>>(json), &span)?;
                let items = items.into_iter().enumerate();
                let items =
                    items.map(|(index, item)| self.value(item, &format!("{path}[{index}]"), depth - 1));
                Kind::Array(items.collect::<Option<_>>()?)
            }
            Some(b'"') => Kind::Text(self.checked(serde_json::from_str(json), &span)?),
            Some(b't') => Kind::Boolean(true),
            Some(b'f') => Kind::Boolean(false),
            Some(b'n') => Kind::Null,
            _ if json.contains(['.', 'e', 'E']) => Kind::Other("a number with a fraction or an exponent"),
            _ => json
                .parse()
                .map_or(Kind::Other("a number out of range"), Kind::Integer),
        };
        Some(Value { span, kind })
    }

    fn entries(
        &mut self,
        members: Vec<(String, &'a RawValue)>,
        start: usize,
        path: &str,
        depth: usize,
    ) -> Option<Vec<(Key, Value)>> {
        let mut entries: Vec<(Key, Value)> = Vec::new();
        let mut before = start + 1;
        for (name, raw) in members {
            let key_path = below(path, &name);
            let span = self.key_span(before);
            before = self.span(raw.get()).end;
            if entries.iter().any(|(key, _)| key.name == name) {
                let reason = format!("the key '{name}' stands here twice");
                self.problems
                    .add(span, &key_path, reason, "take away one of them");
                continue;
            }
            let value = self.value(raw, &key_path, depth - 1)?;
            entries.push((Key { span, name }, value));
        }
        Some(entries)
    }

    /// Strings may have escapes that only become wrong when they are read.
    fn checked<T>(&mut self, read: serde_json::Result<T>, span: &Range<usize>) -> Option<T> {
        read.map_err(|error| {
            let json = self.text.get(span.clone()).unwrap_or_default();
            syntax(self.problems, span.start + offset(json, &error), &error);
        })
        .ok()
    }

    /// The bytes of the text that a slice of it is.
    fn span(&self, slice: &str) -> Range<usize> {
        let start = (slice.as_ptr() as usize).saturating_sub(self.text.as_ptr() as usize);
        start..start + slice.len()
    }

    /// The key that comes first behind a value, blanks and a comma.
    fn key_span(&self, before: usize) -> Range<usize> {
        let rest = self.text.get(before..).unwrap_or_default();
        let start = before + rest.find('"').unwrap_or(0);
        start..start + 1
    }
}
