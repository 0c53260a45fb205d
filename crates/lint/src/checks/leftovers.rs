//! What a build leaves behind and no machine needs.

use osmith_formats::tree::{Content, Inode, Node};

use crate::{LintError, View};

type Items = Result<Vec<String>, LintError>;

/// What says that a machine ID is still to be made.
const UNINITIALIZED: &str = "uninitialized";
const CACHES: [&str; 7] = [
    "var/cache/apt",
    "var/lib/apt/lists",
    "var/cache/dnf",
    "var/cache/libdnf5",
    "var/cache/yum",
    "var/cache/zypp",
    "var/cache/pacman",
];
/// Less than this is not worth a word.
const CACHE_MIN_BYTES: u64 = 1 << 20;
/// What container engines mount while a build runs, and leave directories for.
const INJECTED_IN_RUN: [&str; 3] = [
    "/run/systemd/resolve/stub-resolv.conf",
    "/run/systemd/resolve",
    "/run/systemd",
];

pub(super) fn machine_id(view: &View<'_>) -> Items {
    let text = view.text("etc/machine-id")?.unwrap_or_default();
    Ok(match text.trim() {
        "" | UNINITIALIZED => Vec::new(),
        id => vec![format!("/etc/machine-id is {id}")],
    })
}

pub(super) fn host_keys(view: &View<'_>) -> Items {
    let names = view.names("etc/ssh").into_iter();
    Ok(names
        .filter(|name| name.starts_with("ssh_host_"))
        .map(|name| format!("/etc/ssh/{name}"))
        .collect())
}

pub(super) fn injected(view: &View<'_>) -> Items {
    let is_empty =
        |inode: &Inode<Content>| matches!(&inode.node, Node::Regular(content) if content.size_bytes() == 0);
    let names = ["etc/hostname", "etc/resolv.conf"].into_iter();
    Ok(names
        .filter(|path| view.entry(path).is_some_and(is_empty))
        .map(|path| format!("/{path} is empty"))
        .collect())
}

pub(super) fn run_and_tmp(view: &View<'_>) -> Items {
    let mut items = Vec::new();
    for directory in ["run", "tmp"] {
        let found = view.below(directory);
        let is_own = |path: &str| {
            let below = format!("{path}/");
            let injected = INJECTED_IN_RUN.contains(&path);
            injected
                && !found
                    .iter()
                    .any(|(other, _)| other.starts_with(&below) && !INJECTED_IN_RUN.contains(&other.as_str()))
        };
        items.extend(
            found
                .iter()
                .map(|(path, _)| path.clone())
                .filter(|path| !is_own(path)),
        );
    }
    Ok(items)
}

pub(super) fn logs(view: &View<'_>) -> Items {
    let has_content =
        |inode: &Inode<Content>| matches!(&inode.node, Node::Regular(content) if content.size_bytes() > 0);
    let found = view.below("var/log").into_iter();
    Ok(found
        .filter(|(_, inode)| has_content(inode))
        .map(|(path, _)| path)
        .collect())
}

pub(super) fn caches(view: &View<'_>) -> Items {
    let mut items = Vec::new();
    for directory in CACHES {
        let sizes = view
            .below(directory)
            .into_iter()
            .map(|(_, inode)| match &inode.node {
                Node::Regular(content) => content.size_bytes(),
                _ => 0,
            });
        let size_bytes: u64 = sizes.sum();
        if size_bytes >= CACHE_MIN_BYTES {
            items.push(format!("/{directory} has {} MB", size_bytes / 1_000_000));
        }
    }
    Ok(items)
}
