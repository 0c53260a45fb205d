//! SELinux labels of a tree, from the policy in it.
//!
//! Source: `selabel_file(5)`, and composefs-rs where that page leaves a choice. Files, below `/etc/selinux`:
//!
//! ```text
//! config                                    SELINUXTYPE=<policy>
//! <policy>/contexts/files/file_contexts     lines of: path pattern · optional kind (-d, --, -l, …) · label or <<none>>
//!                      …file_contexts.local, …file_contexts.homedirs   more of them
//!                      …file_contexts.subs, …file_contexts.subs_dist   lines of: path · path to label it as
//! ```
//!
//! The last matching line wins. All patterns are one automaton, which reads a path and its kind once. Left out:
//! look-around in patterns, which no policy of a distribution has; such a policy is refused.

use std::collections::HashMap;
use std::io;

use regex_automata::hybrid::dfa::{Cache, DFA};
use regex_automata::util::syntax;
use regex_automata::{Anchored, Input};

use super::BootError;
use crate::tree::{Content, InodeId, Node, Tree, XattrSets};
use crate::verity::Digest;

const LABEL: &[u8] = b"security.selinux";
const CONFIG: &str = "etc/selinux/config";
const NO_LABEL: &str = "<<none>>";
/// Memory for the states of the automaton; it is slow, not wrong, with less than it needs.
const CACHE_BYTES: usize = 10_000_000;

/// Gives every inode the label of the policy in the tree, or none if there is no policy. A hard link whose names need
/// different labels becomes several inodes. No directory may have several names.
pub(super) fn label(
    tree: &mut Tree<Content>,
    object: &mut dyn FnMut(&Digest) -> io::Result<Vec<u8>>,
) -> Result<(), BootError> {
    let mut policy = Policy::load(tree, object)?;
    let mut labelled: HashMap<InodeId, Option<u32>> = HashMap::new();
    let mut sets = XattrSets::default();
    let mut pending = vec![(tree.root(), Vec::from(b""), tree.root(), Vec::from(b"/"))];
    while let Some((directory, name, id, path)) = pending.pop() {
        let label = match &mut policy {
            Some(policy) => policy.lookup(&path, kind(&tree.inode(id).node))?,
            None => None,
        };
        let id = match labelled.get(&id) {
            Some(other) if *other != label => {
                let copy = tree.add(tree.inode(id).clone());
                tree.link(directory, &name, copy);
                copy
            }
            _ => id,
        };
        let xattrs = &mut tree.inode_mut(id).metadata.xattrs;
        xattrs.retain(|name, _| name != LABEL);
        if let Some(text) = policy
            .as_ref()
            .zip(label)
            .map(|(policy, label)| policy.text(label))
        {
            xattrs.insert(LABEL.into(), text.into());
            *xattrs = std::mem::take(xattrs).shared(&mut sets);
        }
        labelled.insert(id, label);
        for (name, child) in tree.inode(id).entries().into_iter().flatten().rev() {
            let path = below(&path, name);
            let path = policy
                .as_ref()
                .and_then(|policy| policy.aliases.get(&path).cloned())
                .unwrap_or(path);
            pending.push((id, name.to_vec(), *child, path));
        }
    }
    Ok(())
}

fn below(directory: &[u8], name: &[u8]) -> Vec<u8> {
    let mut path = directory.to_vec();
    if !path.ends_with(b"/") {
        path.push(b'/');
    }
    path.extend_from_slice(name);
    path
}

/// The letter of `selabel_file(5)`.
fn kind(node: &Node<Content>) -> u8 {
    match node {
        Node::Directory(_) => b'd',
        Node::Regular(_) => b'-',
        Node::Symlink(_) => b'l',
        Node::CharacterDevice(_) => b'c',
        Node::BlockDevice(_) => b'b',
        Node::Fifo => b'p',
        Node::Socket => b's',
    }
}

struct Policy {
    name: String,
    /// Paths that are labelled as others.
    aliases: HashMap<Vec<u8>, Vec<u8>>,
    /// Of all patterns, the last line first: the automaton prefers the first.
    automaton: DFA,
    cache: Cache,
    /// The label of each pattern; the number of a label is that of the first pattern with it.
    labels: Vec<String>,
    /// The number of each pattern's label; `None` stands for no label.
    numbers: Vec<Option<u32>>,
}

impl Policy {
    /// `None` if the tree names no policy.
    fn load(
        tree: &Tree<Content>,
        object: &mut dyn FnMut(&Digest) -> io::Result<Vec<u8>>,
    ) -> Result<Option<Self>, BootError> {
        let Some(config) = read(tree, CONFIG, object)? else {
            return Ok(None);
        };
        let mut settings = config.lines().filter_map(|line| line.split_once('='));
        let setting = settings.find(|(key, _)| key.trim().eq_ignore_ascii_case("SELINUXTYPE"));
        let Some((_, name)) = setting else {
            return Ok(None);
        };
        let name = name.trim().to_owned();
        let base = format!("etc/selinux/{name}/contexts/files/file_contexts");
        let mut specifications = Vec::new();
        for suffix in ["", ".local", ".homedirs"] {
            let path = format!("{base}{suffix}");
            match read(tree, &path, object)? {
                Some(text) => specifications.extend(parse_specifications(&path, &text)?),
                None if suffix.is_empty() => return Err(BootError::NoPolicyFile(path)),
                None => {}
            }
        }
        let mut aliases = HashMap::new();
        for suffix in [".subs", ".subs_dist"] {
            let path = format!("{base}{suffix}");
            let text = read(tree, &path, object)?.unwrap_or_default();
            aliases.extend(parse_aliases(&path, &text)?);
        }
        specifications.reverse();
        let (patterns, labels): (Vec<String>, Vec<String>) = specifications.into_iter().unzip();
        let automaton = automaton(&name, &patterns)?;
        let mut first = HashMap::new();
        let numbers = labels.iter().zip(0..).map(|(label, pattern)| {
            let number = *first.entry(label).or_insert(pattern);
            (label != NO_LABEL).then_some(number)
        });
        Ok(Some(Policy {
            numbers: numbers.collect(),
            name,
            aliases,
            cache: automaton.create_cache(),
            automaton,
            labels,
        }))
    }

    /// The label of that number.
    fn text(&self, number: u32) -> &[u8] {
        self.labels
            .get(number as usize)
            .map_or(&[], |label| label.as_bytes())
    }

    /// The number of a label, which is the same for the same label.
    fn lookup(&mut self, path: &[u8], kind: u8) -> Result<Option<u32>, BootError> {
        let subject = [path, &[kind]].concat();
        let input = Input::new(&subject).anchored(Anchored::Yes);
        let found = self.automaton.try_search_fwd(&mut self.cache, &input);
        let found = found.map_err(|error| unusable(&self.name, &error))?;
        let number = found.and_then(|found| self.numbers.get(found.pattern().as_usize()));
        Ok(number.copied().flatten())
    }
}

fn automaton(policy: &str, patterns: &[String]) -> Result<DFA, BootError> {
    DFA::builder()
        .syntax(
            syntax::Config::new()
                .unicode(false)
                .utf8(false)
                .line_terminator(0),
        )
        .configure(
            DFA::config()
                .cache_capacity(CACHE_BYTES)
                .skip_cache_capacity_check(true),
        )
        .build_many(patterns)
        .map_err(|error| unusable(policy, &error))
}

/// The causes of the error say which pattern it is.
fn unusable(policy: &str, error: &(dyn std::error::Error + 'static)) -> BootError {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let causes: Vec<_> = causes.map(ToString::to_string).collect();
    BootError::PolicyPattern {
        policy: policy.to_owned(),
        reason: causes.join(": "),
    }
}

/// Patterns of a path and its kind, and their labels.
fn parse_specifications(path: &str, text: &str) -> Result<Vec<(String, String)>, BootError> {
    let mut specifications = Vec::new();
    for (number, fields) in records(text) {
        let (pattern, kind, label) = match fields.as_slice() {
            [pattern, label] if !label.starts_with('-') => (pattern, ".", label),
            [pattern, kind, label] => (pattern, parse_kind(path, number, kind)?, label),
            _ => {
                return Err(defect(
                    path,
                    number,
                    "a pattern, an optional kind and a label are expected",
                ));
            }
        };
        specifications.push((format!("^({pattern}){kind}$"), (*label).to_owned()));
    }
    Ok(specifications)
}

fn parse_kind<'a>(path: &str, number: usize, text: &'a str) -> Result<&'a str, BootError> {
    let kind = text.strip_prefix('-').unwrap_or_default();
    if ["b", "c", "d", "p", "l", "s", "-"].contains(&kind) {
        return Ok(kind);
    }
    Err(defect(path, number, "the kind is none of -b -c -d -p -l -s --"))
}

fn parse_aliases(path: &str, text: &str) -> Result<HashMap<Vec<u8>, Vec<u8>>, BootError> {
    let mut aliases = HashMap::new();
    for (number, fields) in records(text) {
        let [alias, original] = fields.as_slice() else {
            return Err(defect(path, number, "two paths are expected"));
        };
        aliases.insert(alias.as_bytes().to_vec(), original.as_bytes().to_vec());
    }
    Ok(aliases)
}

/// The fields of every line that is neither empty nor a comment, with its number.
fn records(text: &str) -> impl Iterator<Item = (usize, Vec<&str>)> {
    let lines = (1..).zip(text.lines());
    let records = lines.map(|(number, line)| (number, line.split_whitespace().collect::<Vec<_>>()));
    records.filter(|(_, fields)| fields.first().is_some_and(|field| !field.starts_with('#')))
}

fn defect(path: &str, line: usize, reason: &'static str) -> BootError {
    BootError::PolicyLine {
        path: path.to_owned(),
        line,
        reason,
    }
}

/// The text of a file; `None` if there is none of that path.
fn read(
    tree: &Tree<Content>,
    path: &str,
    object: &mut dyn FnMut(&Digest) -> io::Result<Vec<u8>>,
) -> Result<Option<String>, BootError> {
    let Some(id) = tree.lookup(path.as_bytes()) else {
        return Ok(None);
    };
    let bytes = match &tree.inode(id).node {
        Node::Regular(Content::Inline(bytes)) => Ok(bytes.to_vec()),
        Node::Regular(Content::Object { digest, .. }) => object(digest),
        _ => return Err(BootError::NoPolicyFile(path.to_owned())),
    };
    let text = bytes.and_then(|bytes| String::from_utf8(bytes).map_err(io::Error::other));
    text.map(Some).map_err(|source| BootError::Unreadable {
        path: path.to_owned(),
        source,
    })
}
