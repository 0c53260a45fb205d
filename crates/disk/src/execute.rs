//! Carrying out a plan: one pass over the disk into files without a name, which get their names when all is well.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use osmith_formats::tree::{Content, Node};
use osmith_formats::verity::Digest;
use osmith_image::store::Store;
use osmith_report::{Event, Observer, Outcome, Progress, Step, StepId, Unit};
use serde::Serialize;

use crate::bytes::Size;
use crate::chunk::Chunks;
use crate::contents;
use crate::device::Device;
use crate::error::{PlanError, WriteError};
use crate::new_files::NewFiles;
use crate::output::{self, Output, Raw, Withheld};
use crate::plan::Plan;
use crate::source::Sources;
use crate::spec::ImageType;
use crate::volume::VolumeLayout;
use crate::write;

const ERASE: StepId = StepId(0);
const WRITE: StepId = StepId(1);
const COMMIT: StepId = StepId(2);
const WRITE_TITLE: &str = "write the disk";
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Written {
    /// The format.
    pub format: ImageType,
    /// The file.
    pub path: PathBuf,
    /// Its length.
    pub len_bytes: u64,
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
        let layouts = layouts(plan)?;
        let outputs = output::open(plan, &layouts, files.targets())?;
        write_disk(plan, store, (&layouts, outputs), destination.processors, observer)
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
    write_on_device(plan, store, device, processors, observer)?.reveal()
}

/// The same without the partition table, which [`HiddenDisk::reveal`] writes: no firmware starts the disk before.
pub fn write_on_device<'a>(
    plan: &Plan,
    store: &Store,
    device: &'a Device,
    processors: usize,
    observer: &dyn Observer,
) -> Result<HiddenDisk<'a>, WriteError> {
    announce(observer, &[(ERASE, "erase the device"), (WRITE, WRITE_TITLE)]);
    let withheld = Withheld::default();
    let written = step(observer, ERASE, || {
        device.erase(|done| advance(observer, ERASE, done, plan.size_bytes))?;
        Ok(((), Size(plan.size_bytes).to_string()))
    })
    .and_then(|()| {
        step(observer, WRITE, || {
            let raw = Raw::over(device.target(), plan.size_bytes, &withheld);
            let outputs: Vec<Box<dyn Output>> = vec![Box::new(raw)];
            write_disk(plan, store, (&layouts(plan)?, outputs), processors, observer)
        })
    });
    written.map_err(|error| explain(on_device(error), plan, store))?;
    Ok(HiddenDisk {
        device,
        disk_bytes: plan.size_bytes,
        withheld,
    })
}

/// A disk that is written, but for its partition table.
#[derive(Debug)]
#[must_use = "nothing starts from the disk before it is revealed"]
pub struct HiddenDisk<'a> {
    device: &'a Device,
    disk_bytes: u64,
    withheld: Withheld,
}

impl HiddenDisk<'_> {
    /// Writes the partition table, when everything else is on the medium.
    pub fn reveal(self) -> Result<(), WriteError> {
        let written = self.withheld.write(self.device.target(), self.disk_bytes);
        written.map_err(on_device)
    }
}

fn on_device(error: WriteError) -> WriteError {
    match error {
        WriteError::Output {
            operation,
            path,
            source,
        } => WriteError::device(operation, &path, source),
        other => other,
    }
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

pub(crate) fn step<T>(
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

fn layouts(plan: &Plan) -> Result<Vec<VolumeLayout<'_>>, WriteError> {
    plan.stored.contents.layouts().map_err(inconsistent)
}

fn inconsistent(_: PlanError) -> WriteError {
    WriteError::Inconsistent("the plan does not fit itself any more")
}

fn write_disk(
    plan: &Plan,
    store: &Store,
    (layouts, outputs): (&[VolumeLayout<'_>], Vec<Box<dyn Output + '_>>),
    processors: usize,
    observer: &dyn Observer,
) -> Result<((), String), WriteError> {
    let stored = &plan.stored;
    let boot_code = stored.contents.boot_code.as_ref();
    let pieces =
        contents::pieces(&stored.table, boot_code, &stored.geometry, layouts).map_err(inconsistent)?;
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
