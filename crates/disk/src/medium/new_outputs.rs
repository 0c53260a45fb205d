//! The files of a medium while they have no name.

use std::fs::File;
use std::path::PathBuf;

use osmith_sys::file::NewFile;

use super::{Job, WrittenMedium};
use crate::error::WriteError;
use crate::output::Target;

/// Files without a name; dropped, they are gone.
pub(super) struct NewOutputs {
    files: Vec<(PathBuf, NewFile)>,
}

impl NewOutputs {
    /// Makes the files, and the folders that they need.
    pub(super) fn create(job: &Job<'_>, outputs: &[&str]) -> Result<Self, WriteError> {
        let mut files = Vec::new();
        for output in outputs {
            let path = job.path(output);
            if path.symlink_metadata().is_ok() && !job.destination.overwrite {
                return Err(WriteError::Exists(path));
            }
            let folder = super::ensure_folder(&path)?;
            let handle = File::open(folder).map_err(|error| WriteError::output("open", folder, error))?;
            let file = NewFile::create(handle, 0o644);
            let file = file.map_err(|error| WriteError::output("create a file in", folder, error))?;
            files.push((path, file));
        }
        Ok(NewOutputs { files })
    }

    /// One of the files, in the order of the outputs.
    pub(super) fn target(&self, number: usize) -> Result<Target<'_>, WriteError> {
        let (path, file) = self
            .files
            .get(number)
            .ok_or(WriteError::Inconsistent("an output has no number"))?;
        Ok(Target {
            file: file.file(),
            path,
        })
    }

    /// Flushes all, then names them.
    pub(super) fn commit(self, overwrite: bool) -> Result<Vec<WrittenMedium>, WriteError> {
        for (path, file) in &self.files {
            let synced = file.file().sync_all();
            synced.map_err(|error| WriteError::output("flush", path, error))?;
        }
        let mut written = Vec::new();
        for (path, mut file) in self.files {
            let failed = |operation| {
                let path = path.clone();
                move |error| WriteError::output(operation, &path, error)
            };
            let folder = super::ensure_folder(&path)?.to_owned();
            let handle = File::open(&folder).map_err(failed("open the folder of"))?;
            let name = path.file_name().unwrap_or_default();
            let named = match overwrite {
                true => file.replace(&handle, name),
                false => file.create_new(&handle, name),
            };
            named.map_err(failed("name"))?;
            handle.sync_all().map_err(failed("flush the folder of"))?;
            let len_bytes = file.file().metadata().map_err(failed("read the size of"))?.len();
            written.push(WrittenMedium { path, len_bytes });
        }
        Ok(written)
    }
}
