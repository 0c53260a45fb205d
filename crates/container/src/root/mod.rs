//! Trees as root file systems.
//!
//! ```text
//! tree + mount points ──▶ lower, read-only ──▶ overlay with a directory for the changes (made by the sandbox)
//! ```
//!
//! The lower is a composefs image where this process may mount one. In a user namespace it is a directory of files
//! without contents that redirect to the objects (Linux 6.16), in a file system in memory, and where that does not work
//! either, a directory of copies. Directories are written once and brought up to date from tree to tree. What is mounted
//! for the processes alone, such as `/proc` or `/etc/resolv.conf`, has its mount points in that lower, so nothing of it
//! is among the changes.

mod checkout;
mod error;
mod lower;
mod mount_points;
mod shared;

use std::rc::Rc;

use osmith_image::store::Store;
use osmith_sys::mount::{Attributes, probe_user_data_layers};
use osmith_sys::sandbox::{Lower, SandboxError, Stage};
use osmith_sys::userns;
use rustix::io::Errno;

pub use checkout::{set_metadata, write_tree};
pub use error::RootError;
pub use mount_points::{MountPoints, Target};
pub(crate) use shared::{Additions, ImageTree, SharedRoot};

use lower::KeptLower;

/// How the tree becomes the read-only part of an overlay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LowerKind {
    /// An EROFS of its metadata, with the objects as data layer.
    Composefs,
    /// A directory of files without contents, with the objects as data layer.
    Stubs,
    /// A directory of copies.
    Checkout,
}

/// Trees as the read-only part of root file systems, one at a time: the next one is made of the one before, so it costs
/// what differs.
///
/// It may be mounted in the mount namespace of this process, in the store; best that is one of its own.
pub struct ReadOnlyRoot<'s> {
    store: &'s Store,
    /// The kinds to try, the best first; `None` before it is known what this machine can do.
    kinds: Option<Vec<LowerKind>>,
    lower: Option<KeptLower>,
}

impl<'s> ReadOnlyRoot<'s> {
    /// For trees whose contents are in `store`.
    pub fn new(store: &'s Store) -> Self {
        ReadOnlyRoot {
            store,
            kinds: None,
            lower: None,
        }
    }

    /// The same with a choice of lowers: the first that this machine can do is taken.
    pub fn over(kinds: &[LowerKind], store: &'s Store) -> Self {
        ReadOnlyRoot {
            kinds: Some(kinds.to_vec()),
            ..ReadOnlyRoot::new(store)
        }
    }

    /// Calls `start` with the tree as a lower, of the first kind that this machine can mount, and that kind: `start` is
    /// called again with another one if mounting it is what failed.
    pub fn with<T>(
        &mut self,
        tree: &Rc<MountPoints>,
        mut start: impl FnMut(Lower, LowerKind) -> Result<T, RootError>,
    ) -> Result<T, RootError> {
        let kinds = match &self.kinds {
            Some(kinds) => kinds.clone(),
            None => possible_kinds(self.store)?,
        };
        let (kind, answer) = try_kinds(kinds, |kind| start(self.lower(kind, tree)?, kind))?;
        self.kinds = Some(vec![kind]);
        Ok(answer)
    }

    /// The tree as a lower of that kind: the one before, brought up to date, or a new one. It is there as long as this
    /// lives and shows no other tree.
    pub fn lower(&mut self, kind: LowerKind, tree: &Rc<MountPoints>) -> Result<Lower, RootError> {
        let kept = self.lower.take().filter(|lower| lower.kind == kind);
        let updated = kept.and_then(|mut lower| lower.show(self.store, tree).is_ok().then_some(lower));
        let lower = match updated {
            Some(lower) => lower,
            None => KeptLower::new(kind, overlay_attributes(), self.store, tree)?,
        };
        Ok(self.lower.insert(lower).lower(self.store))
    }
}

/// The kinds that may work here, the best first.
fn possible_kinds(store: &Store) -> Result<Vec<LowerKind>, RootError> {
    if !userns::is_inside() {
        return Ok(vec![LowerKind::Composefs, LowerKind::Stubs, LowerKind::Checkout]);
    }
    let directory = store.work_directory()?;
    Ok(match probe_user_data_layers(directory.path()) {
        Ok(()) => vec![LowerKind::Stubs, LowerKind::Checkout],
        Err(_) => vec![LowerKind::Checkout],
    })
}

/// Tries one kind after the other, as long as mounting is what fails: the first that works, and what came of it.
fn try_kinds<T>(
    kinds: Vec<LowerKind>,
    mut attempt: impl FnMut(LowerKind) -> Result<T, RootError>,
) -> Result<(LowerKind, T), RootError> {
    let mut refusals = Vec::new();
    for kind in kinds {
        match attempt(kind) {
            Err(RootError::Sandbox(SandboxError::SetUp {
                stage: Stage::Root,
                error,
            })) if is_unsupported(error.errno()) => refusals.push(error),
            answer => return answer.map(|answer| (kind, answer)),
        }
    }
    Err(RootError::NoOverlay { refusals })
}

/// Where overlayfs may keep its notes.
pub fn overlay_attributes() -> Attributes {
    match userns::is_inside() {
        true => Attributes::User,
        false => Attributes::Trusted,
    }
}

/// Whether the answer means that this kernel, or this file system, cannot do it; another way may.
fn is_unsupported(errno: Errno) -> bool {
    let unsupported = [
        Errno::INVAL,
        Errno::PERM,
        Errno::NODEV,
        Errno::NOENT,
        Errno::NOSYS,
        Errno::OPNOTSUPP,
        Errno::NOTBLK,
        Errno::LOOP,
    ];
    unsupported.contains(&errno)
}
