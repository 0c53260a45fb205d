//! What a build made, as text: the tree where it differs from the base, the configuration, the history.
//!
//! ```text
//! tree
//! d 0755 0:0 kept app              type, mode, owner, time, path
//! f 0644 0:0 new app/a "text\n"    contents; those over 200 bytes by their hash
//! l 0:0 kept app/l -> a
//! h app/b = app/a                  another name of the same inode
//! - etc/passwd                     in the base and not here
//! config
//! env "PATH=/bin"
//! history
//! layer "/bin/sh -c #(nop) ..."    a step with a layer; `empty`: without. Blanks at its end mean nothing
//! ```
//!
//! Times: `kept` is that of every file in a context, `base` that of the base image, `new` one of the build, `@N`
//! another. A directory has `-` for `base` and `new`: osmith edits trees, and a directory that gets a name keeps its time.

use std::collections::BTreeMap;
use std::fmt::Write;

use osmith_image::Sha256Digest;
use serde_json::Value;

use crate::material::KEPT;

/// The time of everything in the base image.
pub(crate) const BASE_TIME: i64 = 1_400_000_000;
/// Times from here on are of a build that ran.
const FIRST_NEW: i64 = 1_600_000_000;
const QUOTED_MAX_BYTES: usize = 200;

/// The lines of a tree by path.
pub(crate) type Listing = BTreeMap<Vec<u8>, String>;

/// What there is under a path.
pub(crate) enum What {
    Directory,
    File(Vec<u8>),
    Symlink(Vec<u8>),
    /// Another name of what is first under this path.
    Link(Vec<u8>),
    Special,
}

/// Metadata of a path.
pub(crate) struct Metadata {
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mtime: i64,
    pub(crate) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// The line of a path.
pub(crate) fn line(path: &[u8], metadata: &Metadata, what: &What) -> String {
    let Metadata { mode, uid, gid, .. } = metadata;
    let time = match (metadata.mtime, what) {
        (KEPT, _) => "kept".to_owned(),
        (BASE_TIME, What::Directory) => "-".to_owned(),
        (BASE_TIME, _) => "base".to_owned(),
        (time, What::Directory) if time >= FIRST_NEW => "-".to_owned(),
        (time, _) if time >= FIRST_NEW => "new".to_owned(),
        (time, _) => format!("@{time}"),
    };
    let path = shown(path);
    let mode = mode & 0o7777;
    let mut line = match what {
        What::Directory => format!("d {mode:04o} {uid}:{gid} {time} {path}"),
        What::File(bytes) => format!("f {mode:04o} {uid}:{gid} {time} {path} {}", contents(bytes)),
        What::Symlink(target) => format!("l {uid}:{gid} {time} {path} -> {}", shown(target)),
        What::Link(first) => return format!("h {path} = {}", shown(first)),
        What::Special => format!("s {mode:04o} {uid}:{gid} {time} {path}"),
    };
    for (name, value) in &metadata.xattrs {
        let _ = write!(line, " {}={}", String::from_utf8_lossy(name), shown(value));
    }
    line
}

fn contents(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if text.len() <= QUOTED_MAX_BYTES => quoted(text),
        _ => format!("{} bytes sha256:{}", bytes.len(), Sha256Digest::of(bytes).hex()),
    }
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

fn shown(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let is_plain = |character: char| !character.is_whitespace() && !matches!(character, '"' | '\\');
    match text.chars().all(is_plain) && !text.is_empty() {
        true => text.into_owned(),
        false => quoted(&text),
    }
}

/// An image's tree and configuration.
pub(crate) struct Built {
    pub(crate) listing: Listing,
    /// The image's configuration as JSON.
    pub(crate) config: Value,
}

impl Built {
    /// The text, with the tree and the history after those of the base.
    pub(crate) fn text(&self, base: &Built) -> String {
        let tree = tree_text(&self.listing, &base.listing);
        let config = config_text(&self.config);
        let history = history_text(&self.config, &base.config);
        let mut text = String::new();
        for (title, part) in [("tree", tree), ("config", config), ("history", history)] {
            if !part.is_empty() {
                text += &format!("{title}\n{part}");
            }
        }
        match text.is_empty() {
            true => "an empty image".to_owned(),
            false => text.trim_end().to_owned(),
        }
    }
}

fn tree_text(listing: &Listing, base: &Listing) -> String {
    // An image that does not begin with the base shows all it has.
    let is_derived = base.keys().filter(|path| listing.contains_key(*path)).count() * 2 > base.len();
    let mut lines: BTreeMap<&[u8], String> = BTreeMap::new();
    for (path, line) in listing {
        if !is_derived || base.get(path) != Some(line) {
            lines.insert(path, format!("{line}\n"));
        }
    }
    for path in base
        .keys()
        .filter(|path| is_derived && !listing.contains_key(*path))
    {
        lines.insert(path, format!("- {}\n", shown(path)));
    }
    lines.into_values().collect()
}

/// The fields of the configuration that an instruction can set.
fn config_text(config: &Value) -> String {
    let mut text = String::new();
    let empty = Value::Null;
    let runtime = config.get("config").unwrap_or(&empty);
    for (field, name) in [
        ("Env", "env"),
        ("Labels", "label"),
        ("ExposedPorts", "port"),
        ("Volumes", "volume"),
        ("OnBuild", "onbuild"),
    ] {
        match runtime.get(field) {
            Some(Value::Array(values)) => {
                text.extend(values.iter().map(|value| format!("{name} {value}\n")));
            }
            Some(Value::Object(values)) => {
                let sorted: BTreeMap<_, _> = values.iter().collect();
                text.extend(sorted.into_iter().map(|(key, value)| match value {
                    Value::String(_) => format!("{name} {}={value}\n", quoted(key)),
                    _ => format!("{name} {}\n", quoted(key)),
                }));
            }
            _ => {}
        }
    }
    for (field, name) in [
        ("Entrypoint", "entrypoint"),
        ("Cmd", "cmd"),
        ("Shell", "shell"),
        ("User", "user"),
        ("WorkingDir", "workdir"),
        ("StopSignal", "stopsignal"),
        ("Healthcheck", "healthcheck"),
    ] {
        match runtime.get(field) {
            None | Some(Value::Null) => {}
            Some(Value::String(value)) if value.is_empty() => {}
            Some(Value::Array(words)) if words.is_empty() => {}
            Some(value) => text += &format!("{name} {value}\n"),
        }
    }
    if let Some(Value::String(author)) = config.get("author") {
        text += &format!("author {}\n", quoted(author));
    }
    text
}

fn history_text(config: &Value, base: &Value) -> String {
    let entries = |config: &Value| -> Vec<String> {
        let history = config.get("history").and_then(Value::as_array);
        history.into_iter().flatten().map(history_line).collect()
    };
    let (all, below) = (entries(config), entries(base));
    let own = all.strip_prefix(below.as_slice()).unwrap_or(&all);
    own.concat()
}

fn history_line(entry: &Value) -> String {
    let kind = match entry.get("empty_layer") {
        Some(Value::Bool(true)) => "empty",
        _ => "layer",
    };
    let by = entry
        .get("created_by")
        .and_then(Value::as_str)
        .unwrap_or_default();
    // buildah has --timestamp in the texts by which its cache finds a layer.
    let by = by.split("|force-mtime=").next().unwrap_or_default();
    format!("{kind} {}\n", quoted(without_hashes(by).trim_end()))
}

/// `file:0123…` names what was copied, `:sha256:0123…` what was mounted; no two builders have the same.
fn without_hashes(text: &str) -> String {
    let mut result = text.to_owned();
    for (kind, shown) in [
        ("file:", "file:HASH"),
        ("dir:", "dir:HASH"),
        ("multi:", "multi:HASH"),
        (":sha256:", ""),
    ] {
        let mut parts = result.split(kind);
        let mut replaced = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let digits = part.bytes().take_while(u8::is_ascii_hexdigit).count();
            match digits {
                64 => replaced += &format!("{shown}{}", &part[digits..]),
                _ => replaced += &format!("{kind}{part}"),
            }
        }
        result = replaced;
    }
    result
}
