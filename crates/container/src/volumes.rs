//! What a container sees beside its root file system: directories of this computer, named volumes, memory.
//!
//! A named volume is `volumes/<name>/data` in the store. It begins as a copy of what the image has at its target.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use osmith_formats::tree::{Content, Tree};
use osmith_sys::OsError;
use osmith_sys::sandbox::{Mount, Source};

use crate::ContainerError;
use crate::life::require_name;
use crate::root::{ImageTree, write_tree};
use crate::specification::{Volume, VolumeSource};

const DATA: &str = "data";

/// The volumes as mounts. Named ones that are missing are made.
pub(crate) fn mounts(image: &ImageTree<'_>, volumes: &[Volume]) -> Result<Vec<Mount>, ContainerError> {
    volumes
        .iter()
        .map(|volume| {
            let source = match &volume.source {
                VolumeSource::Path(path) => Source::Machine(path.clone()),
                VolumeSource::Named(name) => Source::Machine(ensure_named(image, name, volume)?),
                VolumeSource::Memory { mode, size_bytes } => Source::Memory {
                    mode: *mode,
                    size_bytes: *size_bytes,
                    copies_target: false,
                },
            };
            let is_memory = matches!(volume.source, VolumeSource::Memory { .. });
            Ok(Mount {
                read_only: volume.read_only,
                no_suid: is_memory,
                no_devices: true,
                ..Mount::new(&volume.target, source)
            })
        })
        .collect()
}

/// The directory of a named volume. It gets its name when it is complete.
fn ensure_named(image: &ImageTree<'_>, name: &str, volume: &Volume) -> Result<PathBuf, ContainerError> {
    let store = image.store();
    let volumes = store.volumes_path();
    let path = volumes.join(require_name(name)?);
    if path.is_dir() {
        return Ok(path.join(DATA));
    }
    let work = store.work_directory()?;
    let data = work.path().join(DATA);
    let failed = |error| OsError::from_io("create", path.display(), &error);
    fs::create_dir(&data).map_err(failed)?;
    if let Some(part) = directory_at(image.tree()?, &volume.target) {
        write_tree(&data, &part, store)?;
    }
    let parent = fs::DirBuilder::new().recursive(true).mode(0o700).create(&volumes);
    parent.map_err(failed)?;
    match fs::rename(work.path(), &path) {
        Ok(()) => drop(work.keep()),
        // Another container of the same volume was faster.
        Err(_) if path.is_dir() => {}
        Err(error) => return Err(failed(error).into()),
    }
    Ok(path.join(DATA))
}

/// What the image has there, if that is a directory.
fn directory_at(tree: &Tree<Content>, path: &Path) -> Option<Tree<Content>> {
    let found = tree.resolve(path.as_os_str().as_bytes()).ok()?;
    if !found.exists() || tree.inode(found.inode).entries().is_none() {
        return None;
    }
    Some(tree.clone().split_off(found.inode))
}
