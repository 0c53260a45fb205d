//! `/etc`: what was changed on a machine, and how the changes meet the `/etc` of another image.
//!
//! Three folders are compared: *base*, the `/etc` of the image that runs; *current*, the one that the machine has;
//! *new*, the one of the image that is to run. As bootc and ostree do, but for attributes, which ostree ignores:
//!
//! * Compared are kind, mode, owner, group, all extended attributes, contents and link targets; no times. Sockets,
//!   pipes and devices are ignored, and `.updated`, in which systemd notes that it has seen an update.
//! * What was changed on the machine wins, what was deleted stays deleted (a folder with all that the new image has in
//!   it), and all else is as in the new image.
//! * A path that was changed here and that the new image has turned from a file into a folder, or the reverse, is a
//!   conflict; so is a file in whose folder something was changed here.
//!
//! Hard links become files of their own. Mount points below the folders are not looked through, but into.

mod apply;
mod error;
mod folder;
mod layer;
mod merge;
mod place;
mod snapshot;

use std::os::fd::BorrowedFd;

use serde::Serialize;

pub use error::EtcError;
pub use merge::{Change, ChangeKind, Conflict, MergePlan, changes};
pub(crate) use place::changes_of_usr;
pub use place::{EtcFolder, etc_of_image, etc_of_machine};
pub use snapshot::{Item, ItemKind, Snapshot, snapshot};

type Result<T, E = EtcError> = std::result::Result<T, E>;

/// What a change changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Aspect {
    /// File, folder or link.
    Kind,
    /// The contents of a file, the target of a link.
    Content,
    /// Permissions.
    Mode,
    /// Owner or group.
    Owner,
    /// Extended attributes.
    Attributes,
}

impl Aspect {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Aspect::Kind => "kind",
            Aspect::Content => "content",
            Aspect::Mode => "mode",
            Aspect::Owner => "owner",
            Aspect::Attributes => "attributes",
        }
    }
}

/// What was changed in `current` since it was `base`, in the order of the paths.
pub fn diff(base: BorrowedFd<'_>, current: BorrowedFd<'_>) -> Result<Vec<Change>> {
    Ok(changes(&snapshot(base)?, &snapshot(current)?))
}

/// How the changes of `current` since `base` are to be brought into `new`; nothing is changed yet.
pub fn plan(base: BorrowedFd<'_>, current: BorrowedFd<'_>, new: BorrowedFd<'_>) -> Result<MergePlan> {
    Ok(MergePlan::new(
        &snapshot(base)?,
        &snapshot(current)?,
        &snapshot(new)?,
    ))
}

#[cfg(test)]
mod tests;
