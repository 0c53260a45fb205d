//! The build context: a directory, seen through an ignore file.
//!
//! Nothing outside of the directory is read: links are followed inside it, as if it were the root. Only what an
//! instruction names is looked at. Files go into the store when they are first seen (their contents are objects
//! there, named by their hash) and are known by a look at their inode afterwards, see [`memo`].

mod glob;
mod ignore;
mod memo;
mod walk;

use std::borrow::Cow;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use osmith_formats::tree::{Content, Metadata, Name, Node, Tree, path_names};
use osmith_image::store::Store;
use osmith_report::{Event, Observer, Progress, StepId, Unit};
use osmith_sys::file::PageBuffer;
use rustix::fs::{AtFlags, FileType, OFlags};

pub(crate) use glob::{Dialect, Glob, is_pattern};
pub(crate) use ignore::{BadLine, Ignore};
use memo::{Memo, Remembered};
use walk::{Job, Walk};

use crate::copy::{Above, Item, Listing, SelectError, Selection, matching_all};

/// How many files a thread takes at once.
const BATCH_FILES: usize = 8;

/// A context that is open.
pub(crate) struct Context<'s> {
    store: &'s Store,
    root: OwnedFd,
    ignore: Ignore,
    /// The name of the ignore file, for messages.
    ignore_name: String,
    /// The name of one that is there as well and is not used.
    second_ignore_name: Option<String>,
    memo: Mutex<Memo>,
    memo_key: [u8; 32],
}

/// Why a context cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ContextError {
    /// The directory cannot be opened.
    #[error("cannot open the build context '{}'", path.display())]
    Open {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The ignore file cannot be read.
    #[error("cannot read the ignore file '{}'", path.display())]
    IgnoreFile {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The ignore file has a line that is no pattern.
    #[error("'{text}' in line {line} of '{}' is no pattern", path.display())]
    Pattern {
        /// The file.
        path: PathBuf,
        /// The line.
        line: usize,
        /// Its text.
        text: String,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] osmith_image::store::StoreError),
}

/// Where ignore files are looked for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum IgnorePlaces<'p> {
    /// This one has to be there.
    File(&'p Path),
    /// Beside the Containerfile, if that is a file, and in the context.
    Beside(Option<&'p Path>),
    /// There is none.
    Nowhere,
}

/// Where an ignore file may be, the preferred one first.
fn ignore_candidates(context: &Path, containerfile: Option<&Path>) -> Vec<PathBuf> {
    let mut candidates = Vec::new();
    for suffix in ["containerignore", "dockerignore"] {
        candidates.extend(containerfile.map(|path| {
            let mut name = path.as_os_str().to_owned();
            name.push(format!(".{suffix}"));
            PathBuf::from(name)
        }));
    }
    candidates.extend([".containerignore", ".dockerignore"].map(|name| context.join(name)));
    candidates
}

/// The ignore file, its name, and the name of one that is there as well.
fn read_ignore(candidates: &[PathBuf]) -> Result<(Ignore, String, Option<String>), ContextError> {
    let name = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    };
    for (position, path) in candidates.iter().enumerate() {
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(source) => {
                let path = path.clone();
                return Err(ContextError::IgnoreFile { path, source });
            }
        };
        let ignore = Ignore::parse(&String::from_utf8_lossy(&bytes));
        let ignore = ignore.map_err(|BadLine { line, text }| ContextError::Pattern {
            path: path.clone(),
            line,
            text,
        })?;
        let second = candidates.iter().skip(position + 1).find(|path| path.exists());
        return Ok((ignore, name(path), second.map(name)));
    }
    Ok((Ignore::default(), String::new(), None))
}

impl<'s> Context<'s> {
    /// Opens a context.
    pub(crate) fn open(
        store: &'s Store,
        path: &Path,
        places: IgnorePlaces<'_>,
    ) -> Result<Context<'s>, ContextError> {
        let failed = |source: io::Error| ContextError::Open {
            path: path.to_owned(),
            source,
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root =
            rustix::fs::open(path, flags, rustix::fs::Mode::empty()).map_err(|errno| failed(errno.into()))?;
        let stat = rustix::fs::fstat(&root).map_err(|errno| failed(errno.into()))?;
        let candidates = match places {
            IgnorePlaces::Nowhere => Vec::new(),
            IgnorePlaces::Beside(containerfile) => ignore_candidates(path, containerfile),
            IgnorePlaces::File(file) => {
                let failed = |source| ContextError::IgnoreFile {
                    path: file.to_owned(),
                    source,
                };
                file.metadata().map_err(failed)?;
                vec![file.to_owned()]
            }
        };
        let (ignore, ignore_name, second_ignore_name) = read_ignore(&candidates)?;
        let memo_key = memo_key(stat.st_dev, stat.st_ino);
        let memo = store.cache_get(&memo_key)?;
        Ok(Context {
            store,
            root,
            ignore,
            ignore_name,
            second_ignore_name,
            memo: Mutex::new(memo.map(|bytes| Memo::from_bytes(&bytes)).unwrap_or_default()),
            memo_key,
        })
    }

    /// What is to be said of the ignore files, if there are two.
    pub(crate) fn warning(&self) -> Option<String> {
        let second = self.second_ignore_name.as_ref()?;
        Some(format!(
            "'{}' says what COPY and ADD leave out; '{second}' is there as well and is not read",
            self.ignore_name
        ))
    }

    /// The sources of an instruction. Files that are not known go into the store.
    pub(crate) fn select(
        &self,
        sources: &[String],
        excludes: &Ignore,
        keeps_parents: bool,
        watch: Watch<'_>,
    ) -> Result<Selection<'static>, SelectError> {
        let mut walk = Walk::new(self.root.as_fd(), &self.ignore, excludes, watch.observer);
        let mut found: Vec<Found> = Vec::new();
        for (source, matched) in matching_all(&mut Directory(&self.root), sources)? {
            let before = found.len();
            for path in &matched.paths {
                // The name in the tree is a number, so that equal names of different directories can stand together.
                if let Some(inode) = walk.add(path, found.len().to_string().as_bytes())? {
                    let is_directory = walk.tree.inode(inode).entries().is_some();
                    found.push(Found {
                        name: path_names(path).last().unwrap_or_default().into(),
                        above: match keeps_parents {
                            true => matched.above(path, is_directory, |path| self.metadata(path))?,
                            false => Vec::new(),
                        },
                    });
                }
            }
            if found.len() == before && excludes.is_empty() {
                return Err(SelectError::Ignored {
                    path: source.to_owned(),
                    ignore_file: self.ignore_name.clone(),
                });
            }
        }
        let Walk { tree, jobs, .. } = walk;
        let contents = self.contents(&jobs, watch)?;
        Ok(selection(tree, &contents, found, sources.len() > 1))
    }

    /// That of a directory.
    fn metadata(&self, path: &[u8]) -> Result<Metadata, SelectError> {
        walk::directory_metadata(self.root.as_fd(), path)
    }

    /// Forgets what files contained; they will be read again.
    pub(crate) fn forget(&self) {
        *self.memo() = Memo::default();
    }

    fn memo(&self) -> MutexGuard<'_, Memo> {
        self.memo.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps what is known of files for the next build.
    pub(crate) fn save(&self) -> Result<(), osmith_image::store::StoreError> {
        match self.memo().to_bytes() {
            Some(bytes) => self.store.cache_put(&self.memo_key, &bytes, &[]),
            None => Ok(()),
        }
    }

    /// What the files contain, in the order of the jobs.
    fn contents(&self, jobs: &[Job], watch: Watch<'_>) -> Result<Vec<Remembered>, SelectError> {
        let mut contents: Vec<Option<Remembered>> = {
            let mut memo = self.memo();
            jobs.iter().map(|job| memo.recall(&job.key)).collect()
        };
        let began = SystemTime::now();
        let unknown: Vec<usize> = (0..jobs.len())
            .filter(|index| matches!(contents.get(*index), Some(None)))
            .collect();
        let read = read_all(self.store, &self.root, jobs, &unknown, watch)?;
        let mut memo = self.memo();
        for (index, remembered) in read {
            if let Some(job) = jobs.get(index) {
                memo.remember(job.key, remembered.clone(), began);
            }
            if let Some(content) = contents.get_mut(index) {
                *content = Some(remembered);
            }
        }
        Ok(contents.into_iter().flatten().collect())
    }
}

/// Who is told how far a step is.
#[derive(Clone, Copy)]
pub(crate) struct Watch<'o> {
    pub(crate) observer: &'o dyn Observer,
    pub(crate) step: StepId,
}

/// A source that was found.
struct Found {
    name: Name,
    above: Vec<Above>,
}

fn selection(
    mut tree: Tree<usize>,
    contents: &[Remembered],
    found: Vec<Found>,
    is_several: bool,
) -> Selection<'static> {
    if contents.iter().any(|(_, xattrs)| !xattrs.is_empty()) {
        for (_, id) in tree.walk() {
            let inode = tree.inode_mut(id);
            if let Node::Regular(job) = inode.node
                && let Some((_, xattrs)) = contents.get(job)
            {
                inode.metadata.xattrs = xattrs.clone();
            }
        }
    }
    let missing = || Content::Inline(Box::default());
    let tree = tree.map(|job| {
        contents
            .get(*job)
            .map_or_else(missing, |(content, _)| content.clone())
    });
    let items: Vec<Item> = found
        .into_iter()
        .enumerate()
        .filter_map(|(index, Found { name, above })| {
            let inode = tree.lookup(index.to_string().as_bytes())?;
            Some(Item {
                name,
                above,
                inode,
                is_unpacked: false,
                is_download: false,
            })
        })
        .collect();
    let is_several = is_several || items.len() > 1;
    Selection {
        tree: Cow::Owned(tree),
        items,
        is_several,
    }
}

/// Reads files into the store, in parallel: pairs of job number and what was read.
fn read_all(
    store: &Store,
    root: &OwnedFd,
    jobs: &[Job],
    unknown: &[usize],
    watch: Watch<'_>,
) -> Result<Vec<(usize, Remembered)>, SelectError> {
    let total: u64 = unknown
        .iter()
        .filter_map(|index| jobs.get(*index))
        .map(|job| job.key.size_bytes)
        .sum();
    let next = AtomicUsize::new(0);
    let done_bytes = AtomicU64::new(0);
    let results = Mutex::new((Vec::with_capacity(unknown.len()), Ok(())));
    let worker = || {
        let mut read = Vec::new();
        let mut buffer = Store::file_buffer();
        let mut outcome = Ok(());
        loop {
            let first = next.fetch_add(BATCH_FILES, Ordering::Relaxed);
            let last = unknown.len().min(first.saturating_add(BATCH_FILES));
            let Some(batch) = unknown.get(first..last).filter(|batch| !batch.is_empty()) else {
                break;
            };
            let batch: Vec<_> = batch
                .iter()
                .filter_map(|index| Some((*index, jobs.get(*index)?)))
                .collect();
            match read_batch(store, root, &batch, &mut buffer, watch.observer) {
                Ok(remembered) => read.extend(batch.iter().map(|(index, _)| *index).zip(remembered)),
                Err(error) => {
                    next.store(unknown.len(), Ordering::Relaxed);
                    outcome = Err(error);
                    break;
                }
            }
            let bytes: u64 = batch.iter().map(|(_, job)| job.key.size_bytes).sum();
            let done = done_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
            advance(watch, done, total);
        }
        let mut results = results.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        results.0.extend(read);
        if outcome.is_err() && results.1.is_ok() {
            results.1 = outcome;
        }
    };
    let threads = std::thread::available_parallelism()
        .map_or(1, |count| count.get())
        .max(2);
    std::thread::scope(|scope| {
        for _ in 1..threads.min(unknown.len()) {
            scope.spawn(worker);
        }
        worker();
    });
    let (read, outcome) = results
        .into_inner()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    outcome.map(|()| read)
}

fn advance(watch: Watch<'_>, done: u64, total: u64) {
    watch.observer.observe(Event::Advanced {
        step: watch.step,
        progress: Progress {
            done,
            total: Some(total),
            unit: Unit::Bytes,
        },
    });
}

fn read_batch(
    store: &Store,
    root: &OwnedFd,
    batch: &[(usize, &Job)],
    buffer: &mut PageBuffer,
    observer: &dyn Observer,
) -> Result<Vec<Remembered>, SelectError> {
    observer.require_running()?;
    let mut opened = Vec::with_capacity(batch.len());
    for (_, job) in batch {
        // A pipe in the place of the file must not be waited for.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK;
        let file = File::from(walk::open(root.as_fd(), &job.path, flags)?);
        let xattrs = walk::attributes(file.as_fd(), &job.path)?;
        opened.push((job, file, xattrs));
    }
    let files: Vec<_> = opened
        .iter()
        .map(|(job, file, _)| (file, job.key.size_bytes))
        .collect();
    let contents = store.put_files(&files, buffer)?;
    let mut read = Vec::with_capacity(batch.len());
    for ((job, file, xattrs), content) in opened.into_iter().zip(contents) {
        let stat = rustix::fs::fstat(&file).map_err(|errno| walk::failure("look at", &job.path, errno))?;
        if walk::key(&stat) != job.key {
            let path = String::from_utf8_lossy(&job.path).into_owned();
            return Err(SelectError::Changed(path));
        }
        read.push((content, xattrs));
    }
    Ok(read)
}

fn memo_key(device: u64, inode: u64) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key("osmith build 1: contents of context files");
    hasher.update(&device.to_le_bytes());
    hasher.update(&inode.to_le_bytes());
    *hasher.finalize().as_bytes()
}

/// Lists directories of the context.
struct Directory<'r>(&'r OwnedFd);

impl Listing for Directory<'_> {
    fn names(&mut self, directory: &[u8]) -> Result<Vec<Name>, SelectError> {
        match walk::open(self.0.as_fd(), directory, OFlags::RDONLY | OFlags::DIRECTORY) {
            Ok(handle) => walk::names(&handle, directory),
            Err(error) if is_missing(&error) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    fn exists(&mut self, path: &[u8]) -> Result<bool, SelectError> {
        match walk::open(self.0.as_fd(), path, OFlags::PATH) {
            Ok(handle) => Ok(rustix::fs::statat(&handle, "", AtFlags::EMPTY_PATH).is_ok()),
            Err(error) if is_missing(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn is_directory(&mut self, path: &[u8]) -> Result<bool, SelectError> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW;
        let handle = walk::open(self.0.as_fd(), path, flags)?;
        let stat = rustix::fs::fstat(&handle).map_err(|errno| walk::failure("look at", path, errno))?;
        Ok(FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
    }
}

fn is_missing(error: &SelectError) -> bool {
    let SelectError::Io { source, .. } = error else {
        return false;
    };
    matches!(
        source.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}
