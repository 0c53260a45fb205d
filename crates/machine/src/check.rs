//! Whether a composefs repository has what deployments need, and whether that is what it is named.
//!
//! Of every deployment: its composefs image, all objects that the files of the image are, and the streams that keep
//! manifest and configuration with all that those refer to. Images and streams are always read and hashed. Objects are
//! measured: the kernel says which digest it enforces, without reading the file. If that is asked for they are read, too:
//! the kernel then compares what it protects, and what it was never told to protect is hashed here.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use osmith_formats::composefs::repository::manifest_stream;
use osmith_formats::composefs::{self, ReadDefect};
use osmith_formats::splitstream;
use osmith_formats::tree::{Content, Node};
use osmith_formats::verity::{Digest, Hasher};
use osmith_report::{Class, Event, Failure, Interrupted, Observer, Progress, StepId, Unit};
use osmith_sys::OsError;
use osmith_sys::file::{open_beneath, open_without_links};
use rustix::fs::{Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::origin::Origin;

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY);
/// What became a pipe must not make anybody wait.
const FILE: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOCTTY);
const READ_BYTES: usize = 1 << 20;
/// The longest image or stream that is read.
const DOCUMENT_MAX_BYTES: u64 = 1 << 30;
const ORIGIN_MAX_BYTES: u64 = 64 << 10;
/// How many objects are looked at from one report to the next.
const REPORT_OBJECTS: usize = 256;

/// How objects are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckOptions {
    /// Whether an object without fs-verity is a defect.
    pub verity_required: bool,
    /// Whether all objects are read and hashed, which finds what the medium lost.
    pub deep: bool,
}

/// What was looked at, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Checked {
    /// How many objects, images and streams there are.
    pub object_count: usize,
    /// What is wrong, in the order of the digests.
    pub damages: Vec<Damage>,
}

/// An object that is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The object.
    pub digest: Digest,
    /// What is wrong with it.
    pub reason: DamageReason,
    /// The deployments that need it.
    pub deployments: Vec<Digest>,
    /// A file of theirs that has its contents.
    pub path: Option<PathBuf>,
}

/// What is wrong with an object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DamageReason {
    /// It is not there.
    #[error("is missing")]
    Missing,
    /// It has another length.
    #[error("has {found_bytes} bytes instead of {expected_bytes}")]
    Length {
        /// The length that the image gives.
        expected_bytes: u64,
        /// The length that it has.
        found_bytes: u64,
    },
    /// The kernel does not enforce its contents.
    #[error("has no fs-verity")]
    NoVerity,
    /// It has other contents.
    #[error("was changed; its digest is {0}")]
    Digest(Box<Digest>),
    /// It cannot be read.
    #[error("cannot be read: {0}")]
    Unreadable(String),
    /// It is no composefs image, or no stream.
    #[error("is malformed: {0}")]
    Malformed(String),
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "object {} {}", self.digest, self.reason)?;
        for (position, deployment) in self.deployments.iter().enumerate() {
            let before = if position == 0 {
                "; needed by deployment"
            } else {
                ","
            };
            write!(f, "{before} {deployment}")?;
        }
        match &self.path {
            Some(path) => write!(f, "; its file {}", path.display()),
            None => Ok(()),
        }
    }
}

/// Why a repository cannot be checked.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The kernel turned something down.
    #[error("cannot check the repository")]
    System(#[from] OsError),
    /// The user asked to stop.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

impl Failure for CheckError {
    fn class(&self) -> Class {
        match self {
            CheckError::System(_) => Class::Environment,
            CheckError::Interrupted(_) => Class::Interrupted,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            CheckError::System(error) if matches!(error.errno(), Errno::ACCESS | Errno::PERM) => {
                vec!["run the command as root".to_owned()]
            }
            _ => Vec::new(),
        }
    }
}

type Result<T, E = CheckError> = std::result::Result<T, E>;

/// The deployments whose state is on the physical root.
pub fn deployments(physical: BorrowedFd<'_>) -> Result<Vec<Digest>> {
    let folder = match open_beneath(physical, "state/deploy", DIRECTORY, Mode::empty()) {
        Err(error) if error.errno() == Errno::NOENT => return Ok(Vec::new()),
        folder => folder?,
    };
    let failed = |errno| OsError::new("list", "state/deploy", errno);
    let mut found = BTreeSet::new();
    for entry in Dir::read_from(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().to_str().ok();
        found.extend(name.and_then(|name| name.parse::<Digest>().ok()));
    }
    Ok(found.into_iter().collect())
}

/// Checks what these deployments need in the repository of the physical root. Tells the observer about the progress of
/// the step.
pub fn check(
    physical: BorrowedFd<'_>,
    deployments: &[Digest],
    options: CheckOptions,
    observer: &dyn Observer,
    step: StepId,
) -> Result<Checked> {
    let repository = Repository {
        physical,
        repository: open_beneath(physical, "composefs", DIRECTORY, Mode::empty())?,
        options,
    };
    let mut needed = Need::new();
    let mut found = BTreeMap::new();
    let mut needs = Vec::new();
    for deployment in deployments {
        observer.require_running()?;
        let need = repository.need(deployment, &mut found)?;
        add(&mut needed, &need);
        needs.push((deployment, need));
    }
    for (number, (digest, size_bytes)) in needed.iter().enumerate() {
        if number % REPORT_OBJECTS == 0 {
            observer.require_running()?;
            advance(observer, step, number, needed.len());
        }
        if !found.contains_key(digest) {
            let reason = repository.check_object(digest, *size_bytes, observer)?;
            found.extend(reason.map(|reason| (*digest, reason)));
        }
    }
    let mut paths = repository.paths(deployments, &found)?;
    let damages = found.into_iter().map(|(digest, reason)| {
        let needing = needs.iter().filter(|(_, need)| need.contains_key(&digest));
        Damage {
            digest,
            reason,
            deployments: needing.map(|(deployment, _)| **deployment).collect(),
            path: paths.remove(&digest),
        }
    });
    Ok(Checked {
        object_count: needed.len(),
        damages: damages.collect(),
    })
}

fn advance(observer: &dyn Observer, step: StepId, done: usize, total: usize) {
    let progress = Progress {
        done: done as u64,
        total: Some(total as u64),
        unit: Unit::Items,
    };
    observer.observe(Event::Advanced { step, progress });
}

/// What a deployment needs: objects, and their lengths where something says them.
type Need = BTreeMap<Digest, Option<u64>>;
/// Adds what is needed too; a length that is known stays known.
fn add(need: &mut Need, more: &Need) {
    for (digest, size_bytes) in more {
        let known = need.entry(*digest).or_default();
        *known = known.or(*size_bytes);
    }
}

/// What was found to be wrong.
type Found = BTreeMap<Digest, DamageReason>;

struct Repository<'a> {
    physical: BorrowedFd<'a>,
    repository: OwnedFd,
    options: CheckOptions,
}

impl Repository<'_> {
    /// What a deployment needs, as far as what leads there can be read; what cannot is noted.
    fn need(&self, deployment: &Digest, found: &mut Found) -> Result<Need> {
        let mut need = Need::from([(*deployment, None)]);
        let mut pending = vec![*deployment];
        if !self.has_name(deployment)? {
            found.insert(*deployment, DamageReason::Missing);
        }
        pending.extend(self.manifest(deployment)?);
        let mut followed = BTreeSet::new();
        while let Some(document) = pending.pop() {
            if !followed.insert(document) {
                continue;
            }
            add(&mut need, &Need::from([(document, None)]));
            match self.document(&document)?.and_then(|bytes| References::of(&bytes)) {
                Ok(references) => {
                    add(&mut need, &references.objects);
                    pending.extend(references.documents);
                }
                Err(reason) => drop(found.entry(document).or_insert(reason)),
            }
        }
        Ok(need)
    }

    /// Whether the image of a deployment has the name by which the initramfs finds it.
    fn has_name(&self, deployment: &Digest) -> Result<bool> {
        let path = format!("images/{deployment}");
        match open_beneath(&self.repository, path, OFlags::PATH, Mode::empty()) {
            Ok(_) => Ok(true),
            Err(error) if error.errno() == Errno::NOENT => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// The stream of the manifest that the origin of a deployment names.
    fn manifest(&self, deployment: &Digest) -> Result<Option<Digest>> {
        let path = format!("state/deploy/{deployment}/{deployment}.origin");
        let mut text = String::new();
        let file = match open_beneath(self.physical, path, FILE, Mode::empty()) {
            Err(error) if error.errno() == Errno::NOENT => return Ok(None),
            file => File::from(file?),
        };
        // An origin that cannot be read is a matter of the status.
        if file.take(ORIGIN_MAX_BYTES).read_to_string(&mut text).is_err() {
            return Ok(None);
        }
        let manifest = Origin::parse(&text)
            .ok()
            .and_then(|origin| origin.manifest_digest);
        let Some(manifest) = manifest else {
            return Ok(None);
        };
        let path = format!("streams/{}", manifest_stream(&manifest.to_string()));
        let target = match rustix::fs::readlinkat(&self.repository, &path, Vec::new()) {
            Ok(target) => target,
            Err(Errno::NOENT | Errno::INVAL) => return Ok(None),
            Err(errno) => return Err(OsError::new("read the link", path, errno).into()),
        };
        let target = target.to_string_lossy().into_owned();
        let mut names = target.rsplit('/');
        let (rest, first) = (names.next().unwrap_or_default(), names.next().unwrap_or_default());
        Ok(format!("{first}{rest}").parse().ok())
    }

    /// For each of the damaged objects a file that has its contents.
    fn paths(&self, deployments: &[Digest], damaged: &Found) -> Result<BTreeMap<Digest, PathBuf>> {
        let mut paths = BTreeMap::new();
        for deployment in deployments {
            if paths.len() == damaged.len() {
                break;
            }
            let image = self.document(deployment)?;
            let Some(tree) = image.ok().and_then(|bytes| composefs::read(&bytes).ok()) else {
                continue;
            };
            for (path, inode) in tree.walk() {
                let named = named(&tree.inode(inode).node).filter(|(digest, _)| damaged.contains_key(digest));
                if let Some((digest, _)) = named {
                    let path = Path::new("/").join(OsStr::from_bytes(&path));
                    paths.entry(digest).or_insert(path);
                }
            }
        }
        Ok(paths)
    }

    /// Reads an image or a stream.
    fn document(&self, digest: &Digest) -> Result<Result<Vec<u8>, DamageReason>> {
        let file = match self.open(digest)? {
            Ok(file) => file,
            Err(reason) => return Ok(Err(reason)),
        };
        let mut bytes = Vec::new();
        if let Err(error) = file.take(DOCUMENT_MAX_BYTES).read_to_end(&mut bytes) {
            return Ok(Err(unreadable(&error)));
        }
        let measured = Digest::of(&bytes);
        if measured != *digest {
            return Ok(Err(DamageReason::Digest(Box::new(measured))));
        }
        Ok(Ok(bytes))
    }

    fn open(&self, digest: &Digest) -> Result<Result<File, DamageReason>> {
        let path = format!("objects/{}", digest.object_path());
        match open_without_links(&self.repository, path, FILE, Mode::empty()) {
            Ok(file) => Ok(Ok(file.into())),
            Err(error) => match error.errno() {
                Errno::NOENT | Errno::NOTDIR => Ok(Err(DamageReason::Missing)),
                Errno::ACCESS | Errno::PERM | Errno::MFILE | Errno::NFILE | Errno::NOMEM => Err(error.into()),
                _ => Ok(Err(unreadable(&error.into()))),
            },
        }
    }

    fn check_object(
        &self,
        digest: &Digest,
        size_bytes: Option<u64>,
        observer: &dyn Observer,
    ) -> Result<Option<DamageReason>> {
        let file = match self.open(digest)? {
            Ok(file) => file,
            Err(reason) => return Ok(Some(reason)),
        };
        let stat = rustix::fs::fstat(&file).map_err(|errno| OsError::new("look at", digest, errno))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Ok(Some(DamageReason::Unreadable("it is no regular file".to_owned())));
        }
        let found_bytes = u64::try_from(stat.st_size).unwrap_or_default();
        if let Some(expected_bytes) = size_bytes.filter(|expected| *expected != found_bytes) {
            return Ok(Some(DamageReason::Length {
                expected_bytes,
                found_bytes,
            }));
        }
        let enforced = match osmith_sys::verity::measure(file.as_fd()) {
            Ok(Some(found)) if found != *digest.as_bytes() => {
                return Ok(Some(DamageReason::Digest(Box::new(Digest::new(found)))));
            }
            Ok(None) if self.options.verity_required => return Ok(Some(DamageReason::NoVerity)),
            Ok(found) => found.is_some(),
            Err(error) => return Ok(Some(unreadable(&error.into()))),
        };
        match (self.options.deep, enforced) {
            (true, true) => read(&file, observer, |_| {}),
            (true, false) => hash(&file, digest, observer),
            (false, _) => Ok(None),
        }
    }
}

/// Reads all of an object, and compares it with its name.
fn hash(file: &File, digest: &Digest, observer: &dyn Observer) -> Result<Option<DamageReason>> {
    let mut hasher = Hasher::new();
    if let Some(reason) = read(file, observer, |piece| hasher.update(piece))? {
        return Ok(Some(reason));
    }
    let found = hasher.finish().digest;
    Ok((found != *digest).then(|| DamageReason::Digest(Box::new(found))))
}

/// Reads all of an object. The kernel compares what it protects itself, and fails.
fn read(
    mut file: &File,
    observer: &dyn Observer,
    mut piece: impl FnMut(&[u8]),
) -> Result<Option<DamageReason>> {
    let mut buffer = vec![0; READ_BYTES];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(None),
            Ok(length) => {
                observer.require_running()?;
                piece(buffer.get(..length).unwrap_or_default());
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Ok(Some(unreadable(&error))),
        }
    }
}

fn unreadable(error: &std::io::Error) -> DamageReason {
    DamageReason::Unreadable(error.to_string())
}

/// What an image or a stream refers to.
struct References {
    objects: Need,
    /// Images and streams.
    documents: Vec<Digest>,
}

impl References {
    fn of(bytes: &[u8]) -> Result<Self, DamageReason> {
        if let Ok(stream) = splitstream::read(bytes) {
            return Ok(References {
                objects: stream.objects.iter().map(|digest| (*digest, None)).collect(),
                documents: stream.streams.clone(),
            });
        }
        let objects = match composefs::read(bytes) {
            Ok(tree) => tree.inodes().filter_map(|inode| named(&inode.node)).collect(),
            // Of a format whose trees are not read.
            Err(error) if matches!(error.defect, ReadDefect::Version(_)) => {
                let objects = composefs::objects(bytes).map_err(|error| malformed(&error))?;
                objects.into_iter().map(|digest| (digest, None)).collect()
            }
            Err(error) => return Err(malformed(&error)),
        };
        Ok(References {
            objects,
            documents: Vec::new(),
        })
    }
}

fn malformed(error: &composefs::ReadError) -> DamageReason {
    DamageReason::Malformed(error.to_string())
}

fn named(node: &Node<Content>) -> Option<(Digest, Option<u64>)> {
    match node {
        Node::Regular(Content::Object { digest, size_bytes }) => Some((*digest, Some(*size_bytes))),
        _ => None,
    }
}

#[cfg(test)]
pub(crate) mod tests;
