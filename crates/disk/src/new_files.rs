//! Files of outputs while they have no name, and how they get their names: all together, when all is well.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use osmith_sys::file::NewFile;
use rustix::fs::CWD;

use crate::error::{Needed, WriteError};
use crate::execute::{Destination, Written};
use crate::output::Target;
use crate::plan::{Plan, PlannedOutput};
use crate::spec::{Codec, OutputFile};

/// No operating system shrinks more than this when it is compressed.
const BEST_COMPRESSION: u64 = 10;

/// The outputs while they have no name.
pub(crate) struct NewFiles {
    directory: PathBuf,
    files: Vec<NewOutput>,
    /// What was free before anything was written.
    free_bytes: u64,
    /// Directories that were made for the outputs, outer ones first.
    made: Vec<PathBuf>,
    committed: bool,
}

struct NewOutput {
    planned: PlannedOutput,
    path: PathBuf,
    file: Option<NewFile>,
}

impl NewFiles {
    /// Makes the files, and the directories that they need.
    pub(crate) fn create(plan: &Plan, destination: &Destination<'_>) -> Result<Self, WriteError> {
        if !destination.overwrite {
            plan.outputs
                .iter()
                .try_for_each(|output| require_free_name(destination.directory, output))?;
        }
        let mut files = NewFiles {
            directory: destination.directory.to_owned(),
            files: Vec::new(),
            free_bytes: 0,
            made: Vec::new(),
            committed: false,
        };
        make_directories(destination.directory, &mut files.made)?;
        files.free_bytes = free_bytes(destination.directory)?;
        let needed_bytes = files.least_bytes(plan);
        if needed_bytes > files.free_bytes {
            return Err(files.no_space(Needed::AtLeast(needed_bytes)));
        }
        for planned in &plan.outputs {
            let path = destination.directory.join(&planned.path);
            let directory = path.parent().unwrap_or(destination.directory);
            make_directories(directory, &mut files.made)?;
            let file = File::open(directory)
                .map_err(|error| WriteError::output("open", directory, error))
                .and_then(|handle| {
                    let created = NewFile::create(handle, 0o644);
                    created.map_err(|error| WriteError::output("create a file in", directory, error))
                })?;
            files.files.push(NewOutput {
                planned: planned.clone(),
                path,
                file: Some(file),
            });
        }
        Ok(files)
    }

    /// The files that were planned, in the order of the plan.
    pub(crate) fn targets(&self) -> impl Iterator<Item = (OutputFile, Target<'_>, Codec)> {
        self.files.iter().filter_map(|output| {
            let file = output.file.as_ref().map(NewFile::file)?;
            let path = &output.path;
            let planned = &output.planned;
            Some((planned.file, Target { file, path }, planned.compression))
        })
    }

    /// Flushes all outputs, then names them.
    pub(crate) fn commit(&mut self, overwrite: bool) -> Result<Vec<Written>, WriteError> {
        let mut written = Vec::new();
        for output in &self.files {
            let Some(file) = output.file.as_ref().map(NewFile::file) else {
                continue;
            };
            file.sync_all()
                .map_err(|error| WriteError::output("flush", &output.path, error))?;
            let metadata = file
                .metadata()
                .map_err(|error| WriteError::output("read the size of", &output.path, error))?;
            written.push(Written {
                format: output.planned.format,
                path: output.path.clone(),
                len_bytes: metadata.len(),
                allocated_bytes: metadata.blocks() * 512,
            });
        }
        let mut named: Vec<Named> = Vec::new();
        for output in &mut self.files {
            let name = Named::over(&output.path, overwrite);
            if let Err(error) = output.reveal(overwrite) {
                name.forget_old();
                named.into_iter().for_each(Named::take_back);
                return Err(error);
            }
            named.push(name);
        }
        named.into_iter().for_each(Named::forget_old);
        self.committed = true;
        Ok(written)
    }

    /// What the outputs take at least.
    fn least_bytes(&self, plan: &Plan) -> u64 {
        self.estimate(plan, BEST_COMPRESSION)
    }

    /// What the outputs take at most.
    fn most_bytes(&self, plan: &Plan) -> u64 {
        self.estimate(plan, 1)
    }

    fn estimate(&self, plan: &Plan, compression: u64) -> u64 {
        let stored_bytes = plan.stored.contents.stored_bytes();
        let of = |output: &PlannedOutput| match output.compression {
            _ if output.file == OutputFile::AmiDescription => 0,
            Codec::None => stored_bytes,
            Codec::Zlib | Codec::Zstd | Codec::Xz => stored_bytes / compression,
        };
        plan.outputs.iter().map(of).sum()
    }

    /// Says how much room there would have to be.
    pub(crate) fn explain(&self, error: WriteError, plan: &Plan) -> WriteError {
        match error {
            WriteError::Output { source, .. }
                if source.kind() == io::ErrorKind::StorageFull && self.free_bytes < self.most_bytes(plan) =>
            {
                self.no_space(Needed::UpTo(self.most_bytes(plan)))
            }
            other => other,
        }
    }

    fn no_space(&self, needed: Needed) -> WriteError {
        WriteError::NoSpace {
            directory: self.directory.clone(),
            needed,
            free_bytes: self.free_bytes,
        }
    }
}

impl Drop for NewFiles {
    fn drop(&mut self) {
        self.files.clear();
        if !self.committed {
            // Those that somebody else uses by now are not empty, and stay.
            self.made
                .iter()
                .rev()
                .for_each(|directory| drop(std::fs::remove_dir(directory)));
        }
    }
}

/// An output that has its name, and the one that had it before.
struct Named {
    path: PathBuf,
    old: Old,
}

/// What had the name of an output.
enum Old {
    Nothing,
    /// It has a second name, so that it can come back if a later output fails.
    Kept(PathBuf),
    /// It could get no second name: the file system has no links.
    Lost,
}

impl Named {
    fn over(path: &Path, overwrite: bool) -> Self {
        let mut name = OsString::from(".");
        name.push(path.file_name().unwrap_or_default());
        name.push(format!(".{}.old", std::process::id()));
        let old = path.with_file_name(name);
        let old = match path.symlink_metadata() {
            Ok(_) if overwrite => std::fs::hard_link(path, &old).map_or(Old::Lost, |()| Old::Kept(old)),
            _ => Old::Nothing,
        };
        Named {
            path: path.to_owned(),
            old,
        }
    }

    fn take_back(self) {
        let _ = match self.old {
            Old::Kept(old) => std::fs::rename(old, self.path),
            Old::Nothing => std::fs::remove_file(self.path),
            Old::Lost => Ok(()),
        };
    }

    fn forget_old(self) {
        if let Old::Kept(old) = self.old {
            let _ = std::fs::remove_file(old);
        }
    }
}

impl NewOutput {
    fn reveal(&mut self, overwrite: bool) -> Result<(), WriteError> {
        let Some(mut file) = self.file.take() else {
            return Ok(());
        };
        let revealed = if overwrite {
            file.replace(CWD, &self.path)
        } else {
            file.create_new(CWD, &self.path)
        };
        revealed.map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => WriteError::Exists(self.path.clone()),
            _ => WriteError::output("name", &self.path, error),
        })?;
        let directory = self.path.parent().unwrap_or(Path::new("."));
        File::open(directory)
            .and_then(|handle| handle.sync_all())
            .map_err(|error| WriteError::output("flush", directory, error))
    }
}

fn require_free_name(directory: &Path, output: &PlannedOutput) -> Result<(), WriteError> {
    let path = directory.join(&output.path);
    match std::fs::symlink_metadata(&path) {
        Ok(_) => Err(WriteError::Exists(path)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(WriteError::output("look for", &path, error)),
    }
}

/// Makes a directory and those above it, and remembers which were missing.
fn make_directories(directory: &Path, made: &mut Vec<PathBuf>) -> Result<(), WriteError> {
    let missing: Vec<&Path> = directory
        .ancestors()
        .take_while(|ancestor| !ancestor.as_os_str().is_empty() && !ancestor.exists())
        .collect();
    for path in missing.into_iter().rev() {
        std::fs::create_dir(path).map_err(|error| WriteError::output("create the directory", path, error))?;
        made.push(path.to_owned());
    }
    Ok(())
}

/// What an ordinary user may still write.
fn free_bytes(directory: &Path) -> Result<u64, WriteError> {
    let figures = rustix::fs::statvfs(directory)
        .map_err(|errno| WriteError::output("ask for the free space of", directory, errno.into()))?;
    Ok(figures.f_bavail.saturating_mul(figures.f_frsize))
}
