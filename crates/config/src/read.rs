//! From values to the model. What is of a wrong kind is passed over: [`crate::schema`] has told it.

mod accounts;
mod files;
mod rules;
mod settings;
mod storage;

use std::collections::HashMap;
use std::hash::Hash;
use std::ops::Range;

use crate::model::{Configuration, Owner, Storage};
use crate::problem::{Positions, Problems};
use crate::size;
use crate::value::{Kind, Value, below};

/// A table of the file.
#[derive(Debug, Clone)]
pub(super) struct Fields<'a> {
    value: &'a Value,
    pub(super) path: String,
}

/// A string of the file.
#[derive(Debug, Clone)]
pub(super) struct Text<'a> {
    pub(super) text: &'a str,
    pub(super) span: Range<usize>,
    pub(super) path: String,
}

const NOTHING: &Value = &Value {
    span: 0..0,
    kind: Kind::Table(Vec::new()),
};

/// Everything that a tree asks for.
pub(crate) fn configuration(tree: &Value, problems: &mut Problems) -> Configuration {
    let root = Fields {
        value: tree,
        path: String::new(),
    };
    let customizations = root.table("customizations");
    let settings = settings::read(&customizations, problems);
    let (directories, files) = files::read(&customizations, problems);
    Configuration {
        name: root.text("name").map(|name| name.text.to_owned()),
        description: root
            .text("description")
            .map(|description| description.text.to_owned()),
        version: root.text("version").map(|version| version.text.to_owned()),
        architecture: root.text("architecture").map(|name| name.text.to_owned()),
        users: accounts::users(&customizations, problems),
        groups: accounts::groups(&customizations, problems),
        ssh_keys: accounts::ssh_keys(&customizations, problems),
        storage: storage::read(&customizations, problems).unwrap_or(Storage::Default),
        directories,
        files,
        positions: positions(tree, problems),
        ..settings
    }
}

/// Where every key and every entry of an array stands.
fn positions(tree: &Value, problems: &Problems) -> Positions {
    let mut positions = Positions::default();
    let mut pending = vec![(String::new(), tree)];
    while let Some((path, value)) = pending.pop() {
        for (key, field) in value.entries() {
            let path = below(&path, &key.name);
            positions.set(path.clone(), problems.position(key.span.start));
            pending.push((path, field));
        }
        for (index, item) in value.items().iter().enumerate() {
            let path = format!("{path}[{index}]");
            positions.set(path.clone(), problems.position(item.span.start));
            pending.push((path, item));
        }
    }
    positions
}

impl<'a> Fields<'a> {
    /// The table of a key, or an empty one.
    pub(super) fn table(&self, name: &str) -> Fields<'a> {
        Fields {
            value: self.value.field(name).unwrap_or(NOTHING),
            path: below(&self.path, name),
        }
    }

    /// The tables of an array.
    pub(super) fn tables(&self, name: &str) -> Vec<Fields<'a>> {
        let path = below(&self.path, name);
        let items = self.value.field(name).map(Value::items).unwrap_or_default();
        let tables = items.iter().enumerate().map(|(index, value)| Fields {
            value,
            path: format!("{path}[{index}]"),
        });
        tables.collect()
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.value.field(name).is_some()
    }

    pub(super) fn span(&self) -> Range<usize> {
        self.value.span.clone()
    }

    /// Where a key stands, or the table if it has none.
    pub(super) fn key_span(&self, name: &str) -> Range<usize> {
        let found = self.value.entries().iter().find(|(key, _)| key.name == name);
        found.map_or_else(|| self.span(), |(key, _)| key.span.clone())
    }

    pub(super) fn text(&self, name: &str) -> Option<Text<'a>> {
        text(self.value.field(name)?, below(&self.path, name))
    }

    pub(super) fn texts(&self, name: &str) -> Vec<Text<'a>> {
        let path = below(&self.path, name);
        let items = self.value.field(name).map(Value::items).unwrap_or_default();
        let texts = items
            .iter()
            .enumerate()
            .filter_map(|(index, item)| text(item, format!("{path}[{index}]")));
        texts.collect()
    }

    /// A number that is not out of its range.
    pub(super) fn number(&self, name: &str) -> Option<u32> {
        match self.value.field(name)?.kind {
            Kind::Integer(number) => u32::try_from(number).ok(),
            _ => None,
        }
    }

    pub(super) fn boolean(&self, name: &str) -> Option<bool> {
        match self.value.field(name)?.kind {
            Kind::Boolean(boolean) => Some(boolean),
            _ => None,
        }
    }

    pub(super) fn size(&self, name: &str) -> Option<u64> {
        match &self.value.field(name)?.kind {
            Kind::Integer(bytes) => u64::try_from(*bytes).ok(),
            Kind::Text(text) => size::parse(text).ok(),
            _ => None,
        }
    }

    /// The owner that a key names.
    pub(super) fn owner(&self, name: &str, problems: &mut Problems) -> Option<Owner> {
        let value = self.value.field(name)?;
        match &value.kind {
            Kind::Integer(number) => {
                let id = u32::try_from(*number).ok().filter(|id| *id != u32::MAX);
                if id.is_none() {
                    let reason = format!("{number} is out of range");
                    let remedy = "ids are from 0 to 4294967294";
                    problems.add(value.span.clone(), &below(&self.path, name), reason, remedy);
                }
                id.map(Owner::Id)
            }
            Kind::Text(_) => {
                let text = self.text(name)?;
                rules::account_name(&text, problems).then(|| Owner::Name(text.text.to_owned()))
            }
            _ => None,
        }
    }
}

fn text(value: &Value, path: String) -> Option<Text<'_>> {
    match &value.kind {
        Kind::Text(text) => Some(Text {
            text,
            span: value.span.clone(),
            path,
        }),
        _ => None,
    }
}

impl Text<'_> {
    /// Says what is wrong with it.
    pub(super) fn wrong(
        &self,
        problems: &mut Problems,
        reason: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        problems.add(self.span.clone(), &self.path, reason, remedy);
    }
}

/// What was there before, by what must be unique; the place of the first.
#[derive(Debug)]
pub(super) struct Seen<K>(HashMap<K, String>);

impl<K: Hash + Eq> Seen<K> {
    pub(super) fn new() -> Self {
        Seen(HashMap::new())
    }

    /// The key of an earlier one that is the same.
    pub(super) fn before(&mut self, what: K, path: &str) -> Option<String> {
        match self.0.entry(what) {
            std::collections::hash_map::Entry::Occupied(entry) => Some(entry.get().clone()),
            std::collections::hash_map::Entry::Vacant(entry) => {
                entry.insert(path.to_owned());
                None
            }
        }
    }
}
