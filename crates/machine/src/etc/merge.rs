//! The merge, as a pure function of three snapshots.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{Aspect, Item, Snapshot};

/// What was done to a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ChangeKind {
    /// It is new.
    Added,
    /// It is another one.
    Modified,
    /// It is gone.
    Removed,
}

/// A path that is not as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The path from the folder on.
    pub path: PathBuf,
    /// What was done to it.
    pub change: ChangeKind,
    /// In what it differs, if it was modified.
    pub aspects: Vec<Aspect>,
}

/// What is different in `current`, in the order of the paths.
pub fn changes(base: &Snapshot, current: &Snapshot) -> Vec<Change> {
    let paths: BTreeSet<&PathBuf> = base.keys().chain(current.keys()).collect();
    let changes = paths.into_iter().filter_map(|path| {
        let (change, aspects) = match (base.get(path), current.get(path)) {
            (Some(_), None) => (ChangeKind::Removed, Vec::new()),
            (None, _) => (ChangeKind::Added, Vec::new()),
            (Some(before), Some(after)) if before == after => return None,
            (Some(before), Some(after)) => (ChangeKind::Modified, before.differences(after)),
        };
        Some(Change {
            path: path.clone(),
            change,
            aspects,
        })
    });
    changes.collect()
}

/// A path that cannot be merged.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Conflict {
    /// The path that is a folder on one side and none on the other.
    pub path: PathBuf,
    /// Whether it is a folder in the new image.
    pub is_folder_in_new: bool,
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (here, there) = match self.is_folder_in_new {
            true => ("no folder", "one"),
            false => ("a folder", "none"),
        };
        let path = self.path.display();
        write!(
            f,
            "/etc/{path} is {here} on this machine and {there} in the new image"
        )
    }
}

/// What makes the changes of a machine in the new folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Operation {
    /// Removes what is there, with all below it.
    Remove(PathBuf),
    /// Makes the path what it is in the current folder: a file or link with its contents, a folder without.
    Copy(PathBuf),
}

/// How the changes of a machine are brought into the `/etc` of another image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MergePlan {
    pub(super) operations: Vec<Operation>,
    /// What cannot be merged; with any, the plan cannot be applied.
    pub conflicts: Vec<Conflict>,
    /// What the new image changed or brings and does not come into effect, as it was changed here.
    pub shadowed: Vec<PathBuf>,
}

impl MergePlan {
    /// The plan for these three.
    pub fn new(base: &Snapshot, current: &Snapshot, new: &Snapshot) -> Self {
        let changes = changes(base, current);
        let conflicts = conflicts(&changes, base, current, new);
        let merged = merged(&changes, current, new);
        let shadowed = new
            .iter()
            .filter(|(path, item)| base.get(*path) != Some(*item) && merged.get(*path) != Some(*item));
        // What the image dropped and this machine keeps, without the folders that are only on the way to it.
        let kept = changes.iter().map(|change| &change.path);
        let kept = kept.filter(|path| {
            merged.contains_key(*path) && base.contains_key(*path) && !new.contains_key(*path)
        });
        let shadowed: BTreeSet<&PathBuf> = shadowed.map(|(path, _)| path).chain(kept).collect();
        MergePlan {
            operations: operations(new, &merged),
            conflicts: conflicts.into_iter().collect(),
            shadowed: shadowed.into_iter().cloned().collect(),
        }
    }
}

fn conflicts(changes: &[Change], base: &Snapshot, current: &Snapshot, new: &Snapshot) -> BTreeSet<Conflict> {
    let mut found = BTreeSet::new();
    // Removing what the new image does not have either is no work.
    let kept = changes.iter().filter(|change| current.contains_key(&change.path));
    for path in kept.flat_map(|change| change.path.ancestors()) {
        let (Some(item), Some(other)) = (current.get(path), new.get(path)) else {
            continue;
        };
        // Where the image stayed what it was, what was done here is a clear wish.
        let image_turned = base.get(path).map(Item::is_directory) != Some(other.is_directory());
        if item.is_directory() != other.is_directory() && image_turned {
            found.insert(Conflict {
                path: path.to_owned(),
                is_folder_in_new: other.is_directory(),
            });
        }
    }
    found
}

/// The new folder with the changes.
pub(super) fn merged(changes: &[Change], current: &Snapshot, new: &Snapshot) -> Snapshot {
    let mut merged = new.clone();
    for Change { path, .. } in changes {
        match current.get(path) {
            None => remove(&mut merged, path),
            Some(item) => {
                if !item.is_directory() {
                    remove(&mut merged, path);
                }
                let missing = path
                    .ancestors()
                    .skip(1)
                    .filter(|path| !path.as_os_str().is_empty());
                for parent in missing {
                    if let Some(item) = current.get(parent) {
                        merged.entry(parent.to_owned()).or_insert_with(|| item.clone());
                    }
                }
                merged.insert(path.clone(), item.clone());
            }
        }
    }
    merged
}

/// Takes a path out, and all below it.
fn remove(items: &mut Snapshot, path: &Path) {
    let below = items.range(path.to_owned()..).map(|(other, _)| other);
    let below: Vec<PathBuf> = below
        .take_while(|other| other.starts_with(path))
        .cloned()
        .collect();
    for path in below {
        items.remove(&path);
    }
}

/// What makes `merged` of `new`, parents before children.
fn operations(new: &Snapshot, merged: &Snapshot) -> Vec<Operation> {
    let mut operations = Vec::new();
    let mut removed: Option<&Path> = None;
    let paths: BTreeSet<&PathBuf> = new.keys().chain(merged.keys()).collect();
    for path in paths {
        match merged.get(path) {
            Some(item) if new.get(path) == Some(item) => {}
            Some(item) => {
                // A file in the place of a folder removes it.
                removed = (!item.is_directory()).then_some(path.as_path()).or(removed);
                operations.push(Operation::Copy(path.clone()));
            }
            None if removed.is_some_and(|gone| path.starts_with(gone)) => {}
            None => {
                removed = Some(path);
                operations.push(Operation::Remove(path.clone()));
            }
        }
    }
    operations
}
