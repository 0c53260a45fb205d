//! The boot menu: the files of boot entries in one folder, in the order in which systemd-boot offers them.
//!
//! Source: the Boot Loader Specification (UAPI.1) for sorting and for boot counting: a file named `name+LEFT.conf` or
//! `name+LEFT-DONE.conf` may be tried LEFT more times; the boot loader counts down by renaming. Entries without tries
//! left come last. Units: tries.

use std::cmp::Reverse;
use std::fmt;

use osmith_formats::verity::Digest;

use crate::entry::{self, BootEntry, Priority};

/// The end of the name of a boot entry's file.
const SUFFIX: &str = ".conf";

/// How often an entry may still be tried, and has been.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BootCounter {
    /// Tries left; with none, the entry is only started if somebody chooses it.
    pub left: u32,
    /// Tries that were made.
    pub done: u32,
}

/// A file of the menu.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MenuEntry {
    /// The name of the file without counter and suffix.
    pub stem: String,
    /// The counter, if tries are counted.
    pub counter: Option<BootCounter>,
    /// What the file says.
    pub entry: BootEntry,
}

/// A menu, in the order of its entries.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BootMenu {
    /// The entries, first what is started by itself.
    pub entries: Vec<MenuEntry>,
}

impl BootCounter {
    /// A counter of an entry that was not tried yet.
    pub fn new(tries: u32) -> Self {
        BootCounter { left: tries, done: 0 }
    }

    /// Whether all tries were in vain.
    pub fn is_exhausted(&self) -> bool {
        self.left == 0
    }
}

impl fmt::Display for BootCounter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.done {
            0 => write!(f, "+{}", self.left),
            done => write!(f, "+{}-{done}", self.left),
        }
    }
}

impl MenuEntry {
    /// The entry of a file; `None` if its name is not that of an entry.
    pub fn parse(file_name: &str, text: &str) -> Option<Self> {
        let name = file_name.strip_suffix(SUFFIX)?;
        let counted = name
            .rsplit_once('+')
            .and_then(|(stem, counter)| Some((stem, parse_counter(counter)?)));
        let (stem, counter) = match counted {
            Some((stem, counter)) => (stem, Some(counter)),
            None => (name, None),
        };
        Some(MenuEntry {
            stem: stem.to_owned(),
            counter,
            entry: BootEntry::parse(text),
        })
    }

    /// The name of the file.
    pub fn file_name(&self) -> String {
        match &self.counter {
            Some(counter) => format!("{}{counter}{SUFFIX}", self.stem),
            None => format!("{}{SUFFIX}", self.stem),
        }
    }

    /// The deployment it starts.
    pub fn deployment(&self) -> Option<Digest> {
        self.entry.deployment()
    }

    /// Whether all its tries were in vain: it is only started if somebody chooses it.
    pub fn is_exhausted(&self) -> bool {
        self.counter.is_some_and(|counter| counter.is_exhausted())
    }
}

fn parse_counter(text: &str) -> Option<BootCounter> {
    let number = |text: &str| -> Option<u32> {
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| text.parse().ok()).flatten()
    };
    let (left, done) = match text.split_once('-') {
        Some((left, done)) => (number(left)?, number(done)?),
        None => (number(text)?, 0),
    };
    Some(BootCounter { left, done })
}

impl BootMenu {
    /// The menu of files with these names and texts, in any order.
    pub fn new(files: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut entries: Vec<_> = files
            .into_iter()
            .filter_map(|(name, text)| MenuEntry::parse(&name, &text))
            .collect();
        // By sort key, those without one last; then the higher file name first.
        entries.sort_by_cached_key(|entry| {
            let key = entry.entry.sort_key.clone();
            (
                entry.is_exhausted(),
                key.is_none(),
                key,
                Reverse(entry.file_name()),
            )
        });
        BootMenu { entries }
    }

    /// The entry of a deployment.
    pub fn of(&self, deployment: &Digest) -> Option<&MenuEntry> {
        let mut entries = self.entries.iter();
        entries.find(|entry| entry.deployment().as_ref() == Some(deployment))
    }

    /// Whether an entry starts a kernel of the folder with that name, or the unified one with that name.
    pub fn uses_kernel(&self, name: &str) -> bool {
        let mut paths = self.entries.iter().flat_map(|entry| {
            let entry = &entry.entry;
            entry.linux.iter().chain(&entry.initrd).chain(&entry.uki)
        });
        paths.any(|path| path.split('/').any(|part| part == name))
    }

    /// The deployments, first what is started by itself.
    pub fn deployments(&self) -> Vec<Digest> {
        self.entries.iter().filter_map(MenuEntry::deployment).collect()
    }

    /// Gives the entries names and sort keys that keep the order they stand in, whatever their systems and versions
    /// are called. Counters stay. `os_id` is the ID of the system of the first.
    pub fn in_this_order(mut self, os_id: &str) -> Self {
        for (index, entry) in self.entries.iter_mut().enumerate() {
            let version = entry.entry.version.clone().unwrap_or_default();
            entry.stem = stem(os_id, &version, index);
            entry.entry.sort_key = Some(sort_key(os_id, index));
        }
        self
    }
}

/// The first two are named as bootc names its two.
fn stem(os_id: &str, version: &str, index: usize) -> String {
    let priority = match index {
        0 => Priority::Primary,
        _ => Priority::Secondary,
    };
    let name = entry::file_name(os_id, version, priority);
    let name = name.strip_suffix(SUFFIX).unwrap_or(&name).replace('+', "_");
    match index {
        0 | 1 => name,
        _ => format!("{name}.{index}"),
    }
}

fn sort_key(os_id: &str, index: usize) -> String {
    let first = entry::sort_key(os_id, Priority::Primary);
    let base = first.strip_suffix('0').unwrap_or(&first);
    match index {
        0..=9 => format!("{base}{index}"),
        // After "9" for whoever compares strings.
        _ => format!("{base}9{index:04}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, key: Option<&str>, image: &[u8]) -> (String, String) {
        let key = key.map_or_else(String::new, |key| format!("sort-key {key}\n"));
        let digest = Digest::of(image);
        (
            name.to_owned(),
            format!("title {name}\nversion 1\noptions composefs={digest}\n{key}"),
        )
    }

    #[test]
    fn counters_are_read_and_written() {
        for (name, stem, counter) in [
            ("a-1+3.conf", "a-1", Some((3, 0))),
            ("a-1+2-1.conf", "a-1", Some((2, 1))),
            ("a+b+0-3.conf", "a+b", Some((0, 3))),
            ("a-1.conf", "a-1", None),
            ("a+b.conf", "a+b", None),
            ("a+3-.conf", "a+3-", None),
            ("a+.conf", "a+", None),
            ("a+-1.conf", "a+-1", None),
            ("a+99999999999.conf", "a+99999999999", None),
        ] {
            let entry = MenuEntry::parse(name, "").unwrap();
            assert_eq!(entry.stem, stem);
            let found = entry.counter.map(|counter| (counter.left, counter.done));
            assert_eq!(found, counter, "{name}");
            assert_eq!(entry.file_name(), name);
        }
        assert_eq!(MenuEntry::parse("notes.txt", ""), None);
    }

    #[test]
    fn the_order_is_that_of_the_boot_loader() {
        let menu = BootMenu::new([
            file("z.conf", None, b"1"),
            file("b-0.conf", Some("bootc-x-1"), b"2"),
            file("a+0-3.conf", Some("bootc-x-0"), b"3"),
            file("c+1.conf", Some("bootc-x-2"), b"4"),
            file("b-1.conf", Some("bootc-x-1"), b"5"),
        ]);
        let names: Vec<_> = menu.entries.iter().map(MenuEntry::file_name).collect();
        assert_eq!(
            names,
            ["b-1.conf", "b-0.conf", "c+1.conf", "z.conf", "a+0-3.conf"]
        );
    }

    #[test]
    fn any_number_of_entries_keeps_its_order() {
        let mut menu = BootMenu::default();
        for index in 0..25_u8 {
            let (name, text) = file("any.conf", Some("zz"), &[index]);
            menu.entries.extend(MenuEntry::parse(&name, &text));
        }
        let wanted = menu.deployments();
        let named = menu.in_this_order("opensuse-leap");
        assert_eq!(named.entries[0].file_name(), "bootc_opensuse_leap-1-1.conf");
        assert_eq!(
            named.entries[0].entry.sort_key.as_deref(),
            Some("bootc-opensuse-leap-0")
        );
        assert_eq!(named.entries[1].file_name(), "bootc_opensuse_leap-1-0.conf");
        assert_eq!(
            named.entries[1].entry.sort_key.as_deref(),
            Some("bootc-opensuse-leap-1")
        );
        let files = named.entries.iter();
        let files = files.map(|entry| (entry.file_name(), entry.entry.to_text()));
        let mut files: Vec<_> = files.collect();
        files.reverse();
        assert_eq!(BootMenu::new(files).deployments(), wanted);
    }
}
