//! Units of systemd that are enabled.

use osmith_formats::tree::Node;

use crate::{LintError, View};

const ENABLED: &str = "etc/systemd/system";
const PLACES: [&str; 4] = [
    "etc/systemd/system",
    "usr/local/lib/systemd/system",
    "usr/lib/systemd/system",
    "lib/systemd/system",
];

/// Links in `*.wants` and `*.requires` whose unit is nowhere.
pub(super) fn broken(view: &View<'_>) -> Result<Vec<String>, LintError> {
    let mut items = Vec::new();
    for directory in view.names(ENABLED) {
        if !directory.ends_with(".wants") && !directory.ends_with(".requires") {
            continue;
        }
        for name in view.names(&format!("{ENABLED}/{directory}")) {
            let path = format!("{ENABLED}/{directory}/{name}");
            let is_link = view
                .entry(&path)
                .is_some_and(|inode| matches!(inode.node, Node::Symlink(_)));
            if is_link && view.follow(&path).is_none() && !is_known(view, &name) {
                items.push(format!("/{path}"));
            }
        }
    }
    Ok(items)
}

/// Whether there is a unit of that name, or a template for it.
fn is_known(view: &View<'_>, name: &str) -> bool {
    let template = match (name.split_once('@'), name.rsplit_once('.')) {
        (Some((stem, _)), Some((_, kind))) => format!("{stem}@.{kind}"),
        _ => name.to_owned(),
    };
    let names = [name, template.as_str()];
    PLACES.iter().any(|place| {
        names
            .iter()
            .any(|name| view.follow(&format!("{place}/{name}")).is_some())
    })
}
