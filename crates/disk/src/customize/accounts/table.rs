//! Files of lines with fields between colons: `passwd(5)`, `shadow(5)`, `group(5)`, `gshadow(5)`, `subuid(5)`.

use std::collections::BTreeSet;

/// Such a file. Lines that are none of its records stay as they are.
#[derive(Debug, Clone, Default)]
pub(super) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn parse(text: &str) -> Self {
        let rows = text
            .lines()
            .map(|line| line.split(':').map(str::to_owned).collect());
        Table { rows: rows.collect() }
    }

    pub(super) fn to_text(&self) -> String {
        self.rows.iter().map(|row| row.join(":") + "\n").collect()
    }

    /// The fields of a name.
    pub(super) fn row(&self, name: &str) -> Option<&[String]> {
        let found = self.rows.iter().find(|row| is_of(row, name));
        found.map(Vec::as_slice)
    }

    /// Sets a field of a name, if it is there.
    pub(super) fn set(&mut self, name: &str, field: usize, value: impl Into<String>) {
        if let Some(row) = self.rows.iter_mut().find(|row| is_of(row, name)) {
            row.resize(row.len().max(field + 1), String::new());
            row[field] = value.into();
        }
    }

    pub(super) fn push(&mut self, row: impl IntoIterator<Item = String>) {
        self.rows.push(row.into_iter().collect());
    }

    /// The number in a field of a name.
    pub(super) fn number(&self, name: &str, field: usize) -> Option<u32> {
        self.row(name)?.get(field)?.parse().ok()
    }

    /// The names that have this number in a field.
    pub(super) fn named(&self, field: usize, number: u32) -> Option<&str> {
        let has = |row: &&Vec<String>| number_of(row, field) == Some(number);
        self.rows
            .iter()
            .find(has)
            .and_then(|row| row.first())
            .map(String::as_str)
    }

    /// All numbers in a field.
    pub(super) fn numbers(&self, field: usize) -> BTreeSet<u32> {
        self.rows.iter().filter_map(|row| number_of(row, field)).collect()
    }

    /// Names and numbers in a field.
    pub(super) fn named_numbers(&self, field: usize) -> impl Iterator<Item = (String, u32)> {
        self.rows
            .iter()
            .filter_map(move |row| Some((row.first()?.clone(), number_of(row, field)?)))
    }

    /// The end of the highest range of `subuid(5)`.
    pub(super) fn highest_end(&self) -> u64 {
        let ends = self.rows.iter().filter_map(|row| {
            let start = u64::from(number_of(row, 1)?);
            Some(start + u64::from(number_of(row, 2)?))
        });
        ends.max().unwrap_or(0)
    }

    /// Makes a user a member of the group of that name; the members are the last field.
    pub(super) fn add_member(&mut self, group: &str, user: &str) {
        for row in self
            .rows
            .iter_mut()
            .filter(|row| is_of(row, group) && row.len() == 4)
        {
            let mut members = members(row);
            if !members.iter().any(|member| member == user) {
                members.push(user.to_owned());
                row[3] = members.join(",");
            }
        }
    }

    /// Takes a user out of all groups.
    pub(super) fn remove_member(&mut self, user: &str) {
        for row in self.rows.iter_mut().filter(|row| row.len() == 4) {
            let before = members(row);
            if before.iter().any(|member| member == user) {
                let kept: Vec<_> = before.into_iter().filter(|member| member != user).collect();
                row[3] = kept.join(",");
            }
        }
    }
}

fn is_of(row: &[String], name: &str) -> bool {
    row.len() > 1 && row.first().is_some_and(|first| first == name)
}

fn number_of(row: &[String], field: usize) -> Option<u32> {
    row.get(field)?.parse().ok()
}

fn members(row: &[String]) -> Vec<String> {
    let last = row.last().map(String::as_str).unwrap_or_default();
    let members = last.split(',').map(str::trim).filter(|member| !member.is_empty());
    members.map(str::to_owned).collect()
}
