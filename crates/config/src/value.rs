//! What TOML and JSON have in common: a tree of values that know where they stand.

use std::ops::Range;

/// A value, and the bytes of the file that it is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Value {
    pub(crate) span: Range<usize>,
    pub(crate) kind: Kind,
}

/// What a value is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kind {
    Null,
    Boolean(bool),
    Integer(i128),
    /// A number with a fraction or an exponent, and dates, as they are written.
    Other(&'static str),
    Text(String),
    Array(Vec<Value>),
    Table(Vec<(Key, Value)>),
}

/// A key of a table.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Key {
    pub(crate) span: Range<usize>,
    pub(crate) name: String,
}

impl Value {
    /// What a person calls it.
    pub(crate) fn kind_name(&self) -> &'static str {
        match &self.kind {
            Kind::Null => "null",
            Kind::Boolean(_) => "a boolean",
            Kind::Integer(_) => "an integer",
            Kind::Other(name) => name,
            Kind::Text(_) => "a string",
            Kind::Array(_) => "an array",
            Kind::Table(_) => "a table",
        }
    }

    /// The keys and values of a table; none of anything else.
    pub(crate) fn entries(&self) -> &[(Key, Value)] {
        match &self.kind {
            Kind::Table(entries) => entries,
            _ => &[],
        }
    }

    /// The values of an array; none of anything else.
    pub(crate) fn items(&self) -> &[Value] {
        match &self.kind {
            Kind::Array(items) => items,
            _ => &[],
        }
    }

    /// The value of a key.
    pub(crate) fn field(&self, name: &str) -> Option<&Value> {
        let found = self.entries().iter().find(|(key, _)| key.name == name);
        found.map(|(_, value)| value)
    }
}

/// The dotted key of a name in a table.
pub(crate) fn below(path: &str, name: &str) -> String {
    let is_bare = !name.is_empty()
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    let name = if is_bare {
        name.to_owned()
    } else {
        format!("{name:?}")
    };
    if path.is_empty() {
        name
    } else {
        format!("{path}.{name}")
    }
}
