//! Names what was configured, so that the machine does not take it for drift.

use super::edit::{Attributes, Edit};

/// Where the machine says which of its changes are expected.
const EXPECTED: &str = "etc/osmith/drift.d/50-configuration.conf";

/// Writes the list of all changes below `/etc`, the list among them.
pub(super) fn apply(edit: &mut Edit) {
    let mut paths: Vec<String> = edit
        .changed()
        .filter(|path| path.starts_with("etc/"))
        .map(str::to_owned)
        .collect();
    if paths.is_empty() {
        return;
    }
    paths.push(EXPECTED.to_owned());
    paths.sort();
    let lines: Vec<_> = paths.iter().map(|path| format!("/{path}\n")).collect();
    let text = format!(
        "# What the configuration of this machine's disk changed.\n{}",
        lines.concat()
    );
    edit.write(EXPECTED, text.as_bytes(), Attributes::of_root(0o644));
}
