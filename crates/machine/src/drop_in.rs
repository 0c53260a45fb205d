//! Folders of drop-in files: the image's below `usr/lib`, the machine's below `etc`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Where such folders are, from the root directory on; a file of a later one replaces one of the same name.
pub(crate) const BASES: [&str; 2] = ["usr/lib", "etc"];

/// The files of a folder in the order of their names, without hidden ones and folders; there need be no folder.
pub(crate) fn files(folder: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = entry.path();
        if !name.starts_with('.') && !path.is_dir() {
            files.push((name, path));
        }
    }
    files.sort();
    Ok(files)
}
