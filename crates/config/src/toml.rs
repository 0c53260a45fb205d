//! TOML to values.

use ::toml::Spanned;
use ::toml::de::{DeTable, DeValue};

use crate::problem::Problems;
use crate::value::{Key, Kind, Value};

/// The deepest nesting that is read; no key needs a tenth of it.
pub(crate) const MAX_DEPTH: usize = 64;

/// The tree of a file; `None` if it is no TOML, which `problems` say.
pub(crate) fn parse(text: &str, problems: &mut Problems) -> Option<Value> {
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let span = error.span().unwrap_or(0..0);
        let reason = format!("this is no TOML: {}", error.message().replace('\n', ", "));
        problems.add(span, "", reason, "");
    }
    if !errors.is_empty() {
        return None;
    }
    let span = table.span();
    Some(Value {
        span,
        kind: entries(table.get_ref(), problems, MAX_DEPTH),
    })
}

fn entries(table: &DeTable, problems: &mut Problems, depth: usize) -> Kind {
    let mut entries: Vec<_> = table
        .iter()
        .map(|(key, spanned)| {
            let key = Key {
                span: key.span(),
                name: key.get_ref().to_string(),
            };
            (key, value(spanned, problems, depth - 1))
        })
        .collect();
    // The map is in the order of the names.
    entries.sort_by_key(|(key, _)| key.span.start);
    Kind::Table(entries)
}

fn value(spanned: &Spanned<DeValue>, problems: &mut Problems, depth: usize) -> Value {
    let span = spanned.span();
    let kind = match spanned.get_ref() {
        DeValue::String(text) => Kind::Text(text.to_string()),
        DeValue::Boolean(boolean) => Kind::Boolean(*boolean),
        DeValue::Integer(integer) => match i128::from_str_radix(integer.as_str(), integer.radix()) {
            Ok(integer) => Kind::Integer(integer),
            Err(_) => Kind::Other("a number out of range"),
        },
        DeValue::Float(_) => Kind::Other("a number with a fraction"),
        DeValue::Datetime(_) => Kind::Other("a date or time"),
        DeValue::Array(_) | DeValue::Table(_) if depth == 0 => {
            let reason = format!("tables and arrays are nested more than {MAX_DEPTH} deep");
            problems.add(span.clone(), "", reason, "");
            Kind::Null
        }
        DeValue::Array(items) => {
            let items = items.iter().map(|item| value(item, problems, depth - 1));
            Kind::Array(items.collect())
        }
        DeValue::Table(table) => entries(table, problems, depth),
    };
    Value { span, kind }
}
