//! Content of `/var`, and what tmpfiles.d makes there.
//!
//! Source: tmpfiles.d(5). Only types that make something count; paths with specifiers are taken as they are written.

use std::collections::BTreeSet;

use osmith_formats::tree::Node;

use crate::{LintError, View};

const DIRECTORIES: [&str; 2] = ["usr/lib/tmpfiles.d", "etc/tmpfiles.d"];
/// What systemd and every package expect there without a word.
const KNOWN: [&str; 8] = [
    "/var/cache",
    "/var/lib",
    "/var/local",
    "/var/lock",
    "/var/log",
    "/var/run",
    "/var/spool",
    "/var/tmp",
];

pub(super) fn var(view: &View<'_>) -> Result<Vec<String>, LintError> {
    let mut made = BTreeSet::new();
    for directory in DIRECTORIES {
        for text in view.texts(directory, ".conf")? {
            made.extend(paths_of(&text));
        }
    }
    let mut items = Vec::new();
    let mut reported: Option<String> = None;
    for (path, inode) in view.below("var") {
        let is_below = reported
            .as_ref()
            .is_some_and(|top| path.starts_with(top.as_str()));
        if is_below || made.contains(&path) || KNOWN.contains(&path.as_str()) {
            continue;
        }
        // One word for a directory is enough for what is in it.
        if matches!(inode.node, Node::Directory(_)) {
            reported = Some(format!("{path}/"));
        }
        items.push(path);
    }
    Ok(items)
}

/// The paths that lines of tmpfiles.d make, without a final `/`.
fn paths_of(text: &str) -> impl Iterator<Item = String> {
    text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let kind = words.next()?.chars().next()?;
        let path = words.next()?.trim_matches('"');
        let makes = "dDvqQfFLCpceb".contains(kind);
        makes.then(|| path.trim_end_matches('/').to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::paths_of;

    #[test]
    fn lines_that_make_something_count() {
        let text = "# comment\nd /var/lib/a 0755 root root -\nL+ /var/b - - - - x\nz /var/c\nR! /var/d\nd! \"/var/e/\"\n\n";
        let paths: Vec<String> = paths_of(text).collect();
        assert_eq!(paths, ["/var/lib/a", "/var/b", "/var/e"]);
    }
}
