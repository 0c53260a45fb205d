//! Directories of the root, as a machine needs them.

use osmith_formats::tree::Node;

use crate::{LintError, View};

type Items = Result<Vec<String>, LintError>;

const API_DIRECTORIES: [&str; 6] = ["dev", "proc", "sys", "run", "tmp", "var"];
const OSTREE_CONFIGURATION: &str = "usr/lib/ostree/prepare-root.conf";

pub(super) fn api_directories(view: &View<'_>) -> Items {
    let problem = |name: &str| match view.entry(name).map(|inode| &inode.node) {
        Some(Node::Directory(_)) => None,
        Some(_) => Some(format!("/{name} is no directory")),
        None => Some(format!("there is no /{name}")),
    };
    Ok(API_DIRECTORIES.into_iter().filter_map(problem).collect())
}

pub(super) fn sysroot(view: &View<'_>) -> Items {
    Ok(match view.entry("sysroot").map(|inode| &inode.node) {
        Some(Node::Directory(_)) => Vec::new(),
        Some(_) => vec!["/sysroot is no directory".to_owned()],
        None => vec!["there is no /sysroot".to_owned()],
    })
}

pub(super) fn var_run(view: &View<'_>) -> Items {
    Ok(match view.entry("var/run").map(|inode| &inode.node) {
        None | Some(Node::Symlink(_)) => Vec::new(),
        Some(_) => vec!["/var/run is no link".to_owned()],
    })
}

pub(super) fn usr_etc(view: &View<'_>) -> Items {
    let has_both = view.entry("etc").is_some() && view.entry("usr/etc").is_some();
    Ok(has_both
        .then(|| "/usr/etc is there beside /etc".to_owned())
        .into_iter()
        .collect())
}

pub(super) fn utf8(view: &View<'_>) -> Items {
    let mut items = Vec::new();
    for (path, id) in view.tree.walk() {
        if str::from_utf8(&path).is_err() {
            items.push(format!("/{}", path.escape_ascii()));
        }
        if let Node::Symlink(target) = &view.tree.inode(id).node
            && str::from_utf8(target).is_err()
        {
            items.push(format!(
                "/{} leads to {}",
                path.escape_ascii(),
                target.escape_ascii()
            ));
        }
    }
    Ok(items)
}

/// Only for images that are made for the ostree backend.
pub(super) fn ostree_composefs(view: &View<'_>) -> Items {
    if !view.is_directory("usr/lib/ostree") {
        return Ok(Vec::new());
    }
    let Some(text) = view.text(OSTREE_CONFIGURATION)? else {
        return Ok(vec![format!("there is no /{OSTREE_CONFIGURATION}")]);
    };
    let is_enabled = enabled_in(&text);
    Ok((!is_enabled)
        .then(|| format!("/{OSTREE_CONFIGURATION} does not enable composefs"))
        .into_iter()
        .collect())
}

/// Whether `[composefs]` has `enabled` with a value that means yes.
fn enabled_in(text: &str) -> bool {
    let mut section = "";
    let mut is_enabled = false;
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            section = name.trim();
        } else if let ("composefs", Some((key, value))) = (section, line.split_once('='))
            && key.trim() == "enabled"
        {
            is_enabled = matches!(value.trim(), "yes" | "true" | "1" | "signed" | "verity");
        }
    }
    is_enabled
}

pub(super) fn homes(view: &View<'_>) -> Items {
    let problem = |name: &str| match view.entry(name).map(|inode| &inode.node) {
        Some(Node::Directory(_)) => Some(format!(
            "/{name} is a directory of the image, which cannot be written to"
        )),
        _ => None,
    };
    Ok(["home", "root"].into_iter().filter_map(problem).collect())
}

#[cfg(test)]
mod tests {
    use super::enabled_in;

    #[test]
    fn composefs_is_enabled_in_its_section() {
        for (text, expected) in [
            ("[composefs]\nenabled = yes\n", true),
            ("[composefs]\nenabled=verity\n[root]\nenabled = no\n", true),
            ("[root]\nenabled = yes\n", false),
            ("[composefs]\nenabled = no\n", false),
            ("", false),
        ] {
            assert_eq!(enabled_in(text), expected, "{text}");
        }
    }
}
