//! The build context of a case, from a compact list.
//!
//! ```text
//! d 0755 dir                       a directory
//! f 0644 dir/a "text\n"            a file; a string of JSON
//! l dir/b -> a                     a symbolic link
//! h dir/c = dir/a                  a hard link
//! tar dir.tar gz                   an archive (gz, bz2, xz, zst or nothing); its entries follow, indented
//!   g "comment"                    a global header of the archive
//! ```
//!
//! After the path may stand `UID:GID`, `@SECONDS` and `user.NAME=VALUE`. Directories that are not listed have 0755;
//! everything that says nothing else has the time [`KEPT`]. A path with blanks is a string of JSON.

use std::fs;
use std::os::unix::fs::{PermissionsExt, lchown, symlink};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, XattrFlags, lsetxattr, utimensat};

use crate::archive::{self, Member};

/// The modification time of everything in a context, in seconds since 1970.
pub(crate) const KEPT: i64 = 1_500_000_000;

/// A line of the list.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Item {
    pub(crate) kind: Kind,
    pub(crate) path: String,
    pub(crate) mode: u32,
    pub(crate) owner: (u32, u32),
    pub(crate) mtime: i64,
    pub(crate) xattrs: Vec<(String, String)>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kind {
    Directory,
    File(String),
    Symlink(String),
    HardLink(String),
    Global(String),
    Archive { compression: String, items: Vec<Item> },
}

/// Reads a list.
pub(crate) fn items(list: &str) -> Vec<Item> {
    let mut items: Vec<Item> = Vec::new();
    for line in list
        .lines()
        .filter(|line| !line.trim().is_empty() && !line.starts_with('#'))
    {
        let item = item(line.trim_start());
        match items.last_mut().map(|last| &mut last.kind) {
            Some(Kind::Archive { items, .. }) if line.starts_with(' ') => items.push(item),
            _ => items.push(item),
        }
    }
    items
}

fn item(line: &str) -> Item {
    let mut words = words(line).into_iter();
    let mut next = || {
        words
            .next()
            .unwrap_or_else(|| panic!("the line '{line}' is too short"))
    };
    let kind = next().text;
    let mut item = Item {
        kind: match kind.as_str() {
            "d" => Kind::Directory,
            "f" => Kind::File(String::new()),
            "l" => Kind::Symlink(String::new()),
            "h" => Kind::HardLink(String::new()),
            "g" => Kind::Global(String::new()),
            "tar" => archive_kind(""),
            _ => panic!("unknown kind in '{line}'"),
        },
        path: String::new(),
        mode: 0o777,
        owner: (0, 0),
        mtime: KEPT,
        xattrs: Vec::new(),
    };
    if matches!(item.kind, Kind::Directory | Kind::File(_)) {
        item.mode = u32::from_str_radix(&next().text, 8).unwrap_or_else(|_| panic!("no mode in '{line}'"));
    }
    item.path = next().text;
    for word in words {
        item.take(&word);
    }
    if let Kind::Global(text) = &mut item.kind {
        *text = std::mem::take(&mut item.path);
    }
    item
}

impl Item {
    /// What a word after the path says.
    fn take(&mut self, word: &Word) {
        let text = word.text.as_str();
        match &mut self.kind {
            Kind::File(contents) if word.is_quoted => text.clone_into(contents),
            Kind::Symlink(target) | Kind::HardLink(target) if !matches!(text, "->" | "=") => {
                text.clone_into(target);
            }
            Kind::Archive { compression, .. } => text.clone_into(compression),
            _ if matches!(text, "->" | "=") => {}
            _ if text.starts_with("user.") => {
                let (name, value) = text.split_once('=').unwrap();
                self.xattrs.push((name.to_owned(), value.to_owned()));
            }
            _ if text.starts_with('@') => self.mtime = text[1..].parse().unwrap(),
            _ => {
                let (uid, gid) = text.split_once(':').unwrap_or_else(|| panic!("'{text}'"));
                self.owner = (uid.parse().unwrap(), gid.parse().unwrap());
            }
        }
    }
}

fn archive_kind(compression: &str) -> Kind {
    Kind::Archive {
        compression: compression.to_owned(),
        items: Vec::new(),
    }
}

struct Word {
    text: String,
    is_quoted: bool,
}

/// The words of a line; what begins with a double quote is a string of JSON.
fn words(line: &str) -> Vec<Word> {
    let mut words = Vec::new();
    let mut rest = line.trim();
    while !rest.is_empty() {
        let is_quoted = rest.starts_with('"');
        let (text, length) = if is_quoted {
            let mut strings = serde_json::Deserializer::from_str(rest).into_iter::<String>();
            let text = strings
                .next()
                .unwrap()
                .unwrap_or_else(|error| panic!("{line}: {error}"));
            (text, strings.byte_offset())
        } else {
            let length = rest.find(' ').unwrap_or(rest.len());
            (rest[..length].to_owned(), length)
        };
        words.push(Word { text, is_quoted });
        rest = rest[length..].trim_start();
    }
    words
}

/// Makes what the list says in a directory that is there, and files beside it with the contents given.
pub(crate) fn lay_out(root: &Path, items: &[Item], files: &[(&str, &str)]) {
    for item in items {
        let path = root.join(&item.path);
        ensure_parents(root, Path::new(&item.path));
        match &item.kind {
            Kind::Directory => fs::create_dir_all(&path).unwrap(),
            Kind::File(text) => fs::write(&path, text).unwrap(),
            Kind::Symlink(target) => symlink(target, &path).unwrap(),
            Kind::HardLink(target) => fs::hard_link(root.join(target), &path).unwrap(),
            Kind::Archive { compression, items } => {
                let members: Vec<Member> = items.iter().map(Member::of).collect();
                fs::write(&path, archive::compressed(&archive::tar(&members), compression)).unwrap();
            }
            Kind::Global(_) => panic!("a global header is only in archives"),
        }
    }
    for (path, text) in files {
        ensure_parents(root, Path::new(path));
        fs::write(root.join(path), text).unwrap();
        fs::set_permissions(root.join(path), fs::Permissions::from_mode(0o644)).unwrap();
        set_time(&root.join(path), KEPT);
    }
    // Times come last: a directory's changes with every name in it.
    for item in items.iter().rev() {
        set_metadata(root, item);
    }
    keep_time(root);
}

fn ensure_parents(root: &Path, path: &Path) {
    let missing: Vec<_> = path
        .ancestors()
        .skip(1)
        .filter(|path| !root.join(path).exists())
        .collect();
    for directory in missing.into_iter().rev() {
        fs::create_dir(root.join(directory)).unwrap();
        fs::set_permissions(root.join(directory), fs::Permissions::from_mode(0o755)).unwrap();
    }
}

fn set_metadata(root: &Path, item: &Item) {
    let path = root.join(&item.path);
    if matches!(item.kind, Kind::HardLink(_)) {
        return;
    }
    lchown(&path, Some(item.owner.0), Some(item.owner.1)).unwrap();
    if matches!(item.kind, Kind::Directory | Kind::File(_)) {
        fs::set_permissions(&path, fs::Permissions::from_mode(item.mode)).unwrap();
    }
    for (name, value) in &item.xattrs {
        lsetxattr(&path, name, value.as_bytes(), XattrFlags::empty()).unwrap();
    }
    set_time(&path, item.mtime);
}

/// Gives the directories that no line names, and so have a time of now, the usual one.
fn keep_time(path: &Path) {
    for entry in fs::read_dir(path).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            keep_time(&entry.path());
        }
    }
    let modified = fs::metadata(path).unwrap().modified().unwrap();
    if modified.elapsed().is_ok_and(|age| age.as_secs() < 3600) {
        set_time(path, KEPT);
    }
}

fn set_time(path: &Path, seconds: i64) {
    let time = Timespec {
        tv_sec: seconds,
        tv_nsec: 0,
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}
