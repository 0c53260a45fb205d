//! Build contexts that are no directory of this machine: archives and git repositories become one.

use std::path::{Path, PathBuf};

use osmith_container::root::write_tree;
use osmith_formats::tree::Content;
use osmith_image::store::Store;
use osmith_report::Observer;

use crate::copy::unpack;
use crate::error::StepError;
use crate::git::Repository;
use crate::plan::is_git;
use crate::run::RunError;

/// Whether the name of a context is that of a git repository: `https://host/project.git#branch:directory`.
pub fn is_repository(text: &str) -> bool {
    is_git(text)
}

/// Writes what is in an archive, plain or compressed, into the empty directory; false, with nothing done, if the content
/// is no archive.
pub fn unpack_context(
    store: &Store,
    archive: &Content,
    directory: &Path,
    observer: &dyn Observer,
) -> Result<bool, StepError> {
    let Some(mut tree) = unpack(store, archive, observer)? else {
        return Ok(false);
    };
    for inode in tree.inodes_mut() {
        // They are this user's files, as those of a directory are.
        (inode.metadata.uid, inode.metadata.gid) = (0, 0);
    }
    write_tree(directory, &tree, store).map_err(RunError::from)?;
    Ok(true)
}

/// Fetches a git repository into the empty directory; the directory of it that is meant.
pub fn fetch_context(text: &str, directory: &Path, observer: &dyn Observer) -> Result<PathBuf, StepError> {
    Ok(Repository::parse(text).fetch_directory(directory, observer)?)
}
