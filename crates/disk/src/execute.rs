//! Carrying out a plan: one pass over the disk into files without a name, which get their names when all is well.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use osmith_formats::tree::{Content, Node};
use osmith_formats::verity::Digest;
use osmith_image::store::Store;
use osmith_report::{Event, Observer, Outcome, Progress, Step, StepId, Unit};
use osmith_sys::file::NewFile;
use rustix::fs::CWD;

use crate::bytes::Size;
use crate::chunk::Chunks;
use crate::device::Device;
use crate::error::{Needed, WriteError};
use crate::output::{Output, Qcow2, Raw};
use crate::plan::{Plan, PlannedOutput};
use crate::source::Sources;
use crate::spec::{Compression, ImageType};
use crate::write;

const ERASE: StepId = StepId(0);
const WRITE: StepId = StepId(1);
const COMMIT: StepId = StepId(2);
const WRITE_TITLE: &str = "write the disk";
/// No operating system shrinks more than this when it is compressed.
const BEST_COMPRESSION: u64 = 10;
/// So many threads a processor: while one waits for its turn or for the disk, the other one works.
const THREADS_PER_PROCESSOR: usize = 2;

/// Where a disk goes.
#[derive(Debug, Clone, Copy)]
pub struct Destination<'a> {
    /// The output directory; it is made if it is missing.
    pub directory: &'a Path,
    /// Whether outputs that exist are replaced.
    pub overwrite: bool,
    /// How many processors may be busy.
    pub processors: usize,
}

/// An output that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The format.
    pub format: ImageType,
    /// The file.
    pub path: PathBuf,
    /// How much of the file system it takes.
    pub allocated_bytes: u64,
}

/// Writes the disk, in all its formats in one pass. Every object is compared with its digest on the way.
///
/// Outputs get their names when all of them are complete and on stable storage; after an error, or when the observer
/// asks to stop, nothing is left of them, and outputs that were to be replaced are there as before.
pub fn execute(
    plan: &Plan,
    store: &Store,
    destination: &Destination<'_>,
    observer: &dyn Observer,
) -> Result<Vec<Written>, WriteError> {
    announce(
        observer,
        &[(WRITE, WRITE_TITLE), (COMMIT, "flush and name the outputs")],
    );
    let mut files = NewFiles::create(plan, destination)?;
    step(observer, WRITE, || {
        write_disk(
            plan,
            store,
            files.outputs(plan)?,
            destination.processors,
            observer,
        )
    })
    .map_err(|error| files.explain(error, plan))
    .map_err(|error| explain(error, plan, store))?;
    step(observer, COMMIT, || {
        observer.require_running()?;
        let written = files.commit(destination.overwrite)?;
        let total = written.iter().map(|output| output.allocated_bytes).sum();
        Ok((written, format!("{} on disk", Size(total))))
    })
}

/// Writes the disk onto a device, of whose size it was planned, over all that is there. Every object is compared with its
/// digest on the way. The partition table comes last: a device on which the work was cut short has none.
pub fn execute_on_device(
    plan: &Plan,
    store: &Store,
    device: &Device,
    processors: usize,
    observer: &dyn Observer,
) -> Result<(), WriteError> {
    announce(observer, &[(ERASE, "erase the device"), (WRITE, WRITE_TITLE)]);
    let written = step(observer, ERASE, || {
        device.erase(|done| advance(observer, ERASE, done, plan.size_bytes))?;
        Ok(((), Size(plan.size_bytes).to_string()))
    })
    .and_then(|()| {
        step(observer, WRITE, || {
            let raw = Raw::over(&device.file, &device.path, plan.size_bytes);
            write_disk(plan, store, vec![Box::new(raw)], processors, observer)
        })
    });
    written.map_err(|error| match error {
        WriteError::Output {
            operation,
            path,
            source,
        } => WriteError::device(operation, &path, source),
        other => explain(other, plan, store),
    })
}

fn announce(observer: &dyn Observer, steps: &[(StepId, &str)]) {
    let steps = steps.iter().map(|(id, title)| Step {
        id: *id,
        title: (*title).to_owned(),
    });
    observer.observe(Event::Plan {
        steps: steps.collect(),
    });
}

fn advance(observer: &dyn Observer, step: StepId, done: u64, total: u64) -> Result<(), WriteError> {
    observer.require_running()?;
    let progress = Progress {
        done: done.min(total),
        total: Some(total),
        unit: Unit::Bytes,
    };
    observer.observe(Event::Advanced { step, progress });
    Ok(())
}

fn step<T>(
    observer: &dyn Observer,
    step: StepId,
    work: impl FnOnce() -> Result<(T, String), WriteError>,
) -> Result<T, WriteError> {
    observer.observe(Event::Started { step });
    let result = work();
    let (outcome, summary) = match &result {
        Ok((_, summary)) => (Outcome::Done, summary.clone()),
        Err(_) => (Outcome::Failed, String::new()),
    };
    observer.observe(Event::Finished {
        step,
        outcome,
        summary,
    });
    result.map(|(value, _)| value)
}

fn write_disk(
    plan: &Plan,
    store: &Store,
    outputs: Vec<Box<dyn Output + '_>>,
    processors: usize,
    observer: &dyn Observer,
) -> Result<((), String), WriteError> {
    let stored = &plan.stored;
    let inconsistent = |_| WriteError::Inconsistent("the plan does not fit itself any more");
    let layout = stored.contents.root_layout().map_err(inconsistent)?;
    let pieces = stored
        .contents
        .pieces(&stored.table, &stored.geometry, &layout)
        .map_err(inconsistent)?;
    let sources = Sources::new(&stored.contents.sources, store);
    let done = AtomicU64::new(0);
    let advance = |bytes: u64| {
        let done = done.fetch_add(bytes, Ordering::Relaxed) + bytes;
        advance(observer, WRITE, done, plan.file_bytes)
    };
    let threads = processors * THREADS_PER_PROCESSOR;
    write::write(Chunks::new(pieces), &sources, outputs, threads, &advance)?;
    let files = stored.contents.sources.len();
    Ok(((), format!("{} in {files} files", Size(plan.file_bytes))))
}

/// Says more about an error than the thread that met it knew.
fn explain(error: WriteError, plan: &Plan, store: &Store) -> WriteError {
    match error {
        WriteError::Damaged { digest, path: None } => WriteError::Damaged {
            digest,
            path: path_of(&digest, plan, store),
        },
        other => other,
    }
}

/// A file of the image that has the contents.
fn path_of(digest: &Digest, plan: &Plan, store: &Store) -> Option<String> {
    let tree = plan.stored.image.tree(store).ok()?;
    let wanted = |node: &Node<Content>| matches!(node, Node::Regular(Content::Object { digest: found, .. }) if found == digest);
    let (path, _) = tree
        .walk()
        .into_iter()
        .find(|(_, id)| wanted(&tree.inode(*id).node))?;
    Some(format!("/{}", String::from_utf8_lossy(&path)))
}

/// The outputs while they have no name.
struct NewFiles {
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
    fn create(plan: &Plan, destination: &Destination<'_>) -> Result<Self, WriteError> {
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

    fn outputs<'a>(&'a self, plan: &Plan) -> Result<Vec<Box<dyn Output + 'a>>, WriteError> {
        let mut outputs: Vec<Box<dyn Output + 'a>> = Vec::new();
        for output in &self.files {
            let Some(file) = output.file.as_ref().map(NewFile::file) else {
                continue;
            };
            outputs.push(match output.planned.format {
                ImageType::Raw => Box::new(Raw::create(file, &output.path, plan.size_bytes)?),
                ImageType::Qcow2 => Box::new(Qcow2::create(
                    file,
                    &output.path,
                    plan.size_bytes,
                    output.planned.compression,
                )?),
            });
        }
        Ok(outputs)
    }

    /// Flushes all outputs, then names them.
    fn commit(&mut self, overwrite: bool) -> Result<Vec<Written>, WriteError> {
        let mut written = Vec::new();
        for output in &self.files {
            let Some(file) = output.file.as_ref().map(NewFile::file) else {
                continue;
            };
            file.sync_all()
                .map_err(|error| WriteError::output("flush", &output.path, error))?;
            let allocated = file
                .metadata()
                .map(|metadata| std::os::unix::fs::MetadataExt::blocks(&metadata) * 512);
            written.push(Written {
                format: output.planned.format,
                path: output.path.clone(),
                allocated_bytes: allocated
                    .map_err(|error| WriteError::output("read the size of", &output.path, error))?,
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
            Compression::None => stored_bytes,
            Compression::Zlib | Compression::Zstd => stored_bytes / compression,
        };
        plan.outputs.iter().map(of).sum()
    }

    /// Says how much room there would have to be.
    fn explain(&self, error: WriteError, plan: &Plan) -> WriteError {
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
