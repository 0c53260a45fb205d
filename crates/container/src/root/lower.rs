//! The read-only part of the overlays, kept from one RUN step to the next.
//!
//! A composefs image is one file and is written anew for each tree. Directories are brought up to date. Stubs are in a
//! file system in memory: it takes ten thousand of them in half a second, and they vanish with the mount. Where it
//! cannot be made or has no room, they are in a directory of the store, as copies always are.

use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use osmith_formats::composefs;
use osmith_formats::tree::{Content, Tree};
use osmith_image::store::Store;
use osmith_sys::OsError;
use osmith_sys::file::open_directory;
use osmith_sys::mount::{Attributes, detach, tmpfs};
use osmith_sys::sandbox::Lower;

use super::checkout::{Copies, Stubs, update};
use super::{LowerKind, MountPoints, RootError};

const IMAGE: &str = "image";

/// A composefs image or a directory that shows a tree.
pub(super) struct KeptLower {
    pub(super) kind: LowerKind,
    attributes: Attributes,
    shown: Option<Rc<MountPoints>>,
    place: Place,
}

impl KeptLower {
    /// Writes the whole tree.
    pub(super) fn new(
        kind: LowerKind,
        attributes: Attributes,
        store: &Store,
        tree: &Rc<MountPoints>,
    ) -> Result<Self, RootError> {
        let write = |place: Place| {
            let mut lower = KeptLower {
                kind,
                attributes,
                shown: None,
                place,
            };
            lower.show(store, tree).map(|()| lower)
        };
        let on_disk = || Place::on_disk(store).and_then(write);
        match kind {
            LowerKind::Stubs => Place::in_memory(store).and_then(write).or_else(|_| on_disk()),
            LowerKind::Composefs | LowerKind::Checkout => on_disk(),
        }
    }

    /// Shows another tree, by what differs. Nothing may be mounted over it. After an error it is of no use.
    pub(super) fn show(&mut self, store: &Store, tree: &Rc<MountPoints>) -> Result<(), RootError> {
        let (path, old) = (self.place.path(), self.shown.as_ref().map(|shown| &shown.tree));
        write_lower(self.kind, self.attributes, store, &path, old, &tree.tree)?;
        self.shown = Some(Rc::clone(tree));
        Ok(())
    }

    /// For the sandbox.
    pub(super) fn lower(&self, store: &Store) -> Lower {
        lower_in(self.kind, self.place.path(), store)
    }
}

/// Makes `directory`, which shows `old` or is empty, show `new`.
pub(super) fn write_lower(
    kind: LowerKind,
    attributes: Attributes,
    store: &Store,
    directory: &Path,
    old: Option<&Tree<Content>>,
    new: &Tree<Content>,
) -> Result<(), RootError> {
    match kind {
        LowerKind::Composefs => {
            let path = directory.join(IMAGE);
            fs::write(&path, composefs::image(new)?)
                .map_err(|error| OsError::from_io("write", path.display(), &error))?;
            Ok(())
        }
        LowerKind::Stubs => update(directory, old, new, &Stubs { attributes }),
        LowerKind::Checkout => update(directory, old, new, &Copies { store }),
    }
}

/// What [`write_lower`] made in `directory`, for the sandbox.
pub(super) fn lower_in(kind: LowerKind, directory: PathBuf, store: &Store) -> Lower {
    let objects = store.objects_path();
    match kind {
        LowerKind::Composefs => Lower::Composefs {
            image: directory.join(IMAGE),
            objects,
        },
        LowerKind::Stubs => Lower::Stubs { directory, objects },
        LowerKind::Checkout => Lower::Directory(directory),
    }
}

/// A directory that goes away when dropped.
struct Place {
    work: tempfile::TempDir,
    is_mounted: bool,
}

impl Place {
    fn on_disk(store: &Store) -> Result<Self, RootError> {
        Place::in_directory(store.work_directory()?)
    }

    fn in_directory(work: tempfile::TempDir) -> Result<Self, RootError> {
        let place = Place {
            work,
            is_mounted: false,
        };
        let path = place.path();
        fs::create_dir(&path).map_err(|error| OsError::from_io("create", path.display(), &error))?;
        Ok(place)
    }

    fn in_memory(store: &Store) -> Result<Self, RootError> {
        let mut place = Place::on_disk(store)?;
        tmpfs("osmith-lower", "0755", None)?.attach(open_directory(place.path())?, "")?;
        place.is_mounted = true;
        Ok(place)
    }

    fn path(&self) -> PathBuf {
        self.work.path().join("lower")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.is_mounted {
            // Nobody is left to be told; the mount ends with this process's mount namespace.
            let _ = detach(self.path());
        }
    }
}
