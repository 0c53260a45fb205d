//! Accounts of the image.
//!
//! Source: passwd(5), group(5), shadow(5), sysusers.d(5).

use std::collections::BTreeSet;

use crate::{LintError, View};

const SYSUSERS: [&str; 2] = ["usr/lib/sysusers.d", "etc/sysusers.d"];
/// Accounts from here on are people.
const FIRST_PERSON: u32 = 1000;
const NOBODY: u32 = 65534;

pub(super) fn empty_passwords(view: &View<'_>) -> Result<Vec<String>, LintError> {
    let shadow = view.text("etc/shadow")?.unwrap_or_default();
    let is_open = |line: &&str| {
        let mut fields = line.split(':');
        fields.next().is_some_and(|name| !name.is_empty()) && fields.next() == Some("")
    };
    let lines = shadow.lines().filter(is_open);
    Ok(lines
        .map(|line| line.split(':').next().unwrap_or_default().to_owned())
        .collect())
}

pub(super) fn sysusers(view: &View<'_>) -> Result<Vec<String>, LintError> {
    let mut users = BTreeSet::new();
    let mut groups = BTreeSet::new();
    for directory in SYSUSERS {
        for text in view.texts(directory, ".conf")? {
            collect(&text, &mut users, &mut groups);
        }
    }
    let mut items = Vec::new();
    for (file, kind, known) in [("etc/passwd", "user", &users), ("etc/group", "group", &groups)] {
        let text = view.text(file)?.unwrap_or_default();
        let names = text.lines().filter_map(account);
        let missing = names.filter(|(name, id)| is_of_the_system(*id) && !known.contains(*name));
        items.extend(missing.map(|(name, _)| format!("{kind} {name}")));
    }
    Ok(items)
}

/// Name and number of a line of passwd or group.
fn account(line: &str) -> Option<(&str, u32)> {
    let mut fields = line.split(':');
    Some((fields.next()?, fields.nth(1)?.parse().ok()?))
}

fn is_of_the_system(id: u32) -> bool {
    id < FIRST_PERSON || id == NOBODY
}

/// Takes in the names of a file of sysusers.d; a user has a group of the same name.
fn collect(text: &str, users: &mut BTreeSet<String>, groups: &mut BTreeSet<String>) {
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let (Some(kind), Some(name)) = (words.next(), words.next()) else {
            continue;
        };
        match kind.trim_end_matches('!') {
            "u" => {
                users.insert(name.to_owned());
                groups.insert(name.to_owned());
            }
            "g" => {
                groups.insert(name.to_owned());
            }
            "m" => {
                users.insert(name.to_owned());
                groups.extend(words.next().map(str::to_owned));
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_sysusers() {
        let (mut users, mut groups) = (BTreeSet::new(), BTreeSet::new());
        collect(
            "# c\nu web 33 \"Web\"\nu! own -\ng logs -\nm joe wheel\nr - 1-2\n",
            &mut users,
            &mut groups,
        );
        assert_eq!(users.into_iter().collect::<Vec<_>>(), ["joe", "own", "web"]);
        assert_eq!(
            groups.into_iter().collect::<Vec<_>>(),
            ["logs", "own", "web", "wheel"]
        );
    }
}
