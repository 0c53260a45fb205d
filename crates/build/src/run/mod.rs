//! RUN: a command changes a file tree, and its changes become a layer.
//!
//! ```text
//! tree + mount points ──▶ lower, read-only     spec ──▶ command in a sandbox ──▶ upper ──diff──▶ layer
//! ```
//!
//! The lower is a composefs image where this process may mount one. In a user namespace it is a directory of files
//! without contents that redirect to the objects (Linux 6.16), and where that does not work either, a directory of
//! copies. What is mounted for the command alone, such as `/proc` or `/etc/resolv.conf`, has its mount points in that
//! lower, so nothing of it can get into the layer.
//!
//! Everything is in a work directory of the store, which goes away with its last use; mounts are seen by the sandbox
//! alone and end with it.

mod checkout;
mod diff;
mod error;
mod mount_points;

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use osmith_formats::composefs;
use osmith_formats::tree::{Content, Metadata, Tree};
use osmith_image::layer::Layer;
use osmith_image::store::Store;
use osmith_report::{Event, Observer, StepId, Stream};
use osmith_sys::mount::{Attributes, probe_user_data_layers};
use osmith_sys::sandbox::{DEFAULT_CAPABILITIES, Lower, Root, Sandbox, SandboxError, Stage};
use osmith_sys::{OsError, process, userns};
use rustix::io::Errno;

pub use error::RunError;
pub use osmith_sys::sandbox::{Exit, InjectedFile, Network, User};

use mount_points::MountPoints;

/// A command and its surroundings.
#[derive(Debug, Clone)]
pub struct RunSpec {
    /// The program and its arguments.
    pub argv: Vec<OsString>,
    /// The whole environment.
    pub env: Vec<(OsString, OsString)>,
    /// Where it starts; must exist in the tree.
    pub cwd: PathBuf,
    /// Who runs it.
    pub user: User,
    /// The host name that it sees.
    pub hostname: String,
    /// What it may reach.
    pub network: Network,
    /// Files that it sees and that are in no layer: name service configuration, the script of a heredoc.
    pub files: Vec<InjectedFile>,
}

/// Runs a command on a tree whose contents are in the store, and returns what it changed. Its output lines are events
/// of `step`.
pub fn run_step(
    store: &Store,
    base: &Tree<Content>,
    spec: &RunSpec,
    observer: &dyn Observer,
    step: StepId,
) -> Result<Layer, RunError> {
    run_step_over(&kinds(store)?, store, base, spec, observer, step)
}

/// The same with a choice of lowers: the first that this machine can do is taken.
pub fn run_step_over(
    kinds: &[LowerKind],
    store: &Store,
    base: &Tree<Content>,
    spec: &RunSpec,
    observer: &dyn Observer,
    step: StepId,
) -> Result<Layer, RunError> {
    observer.require_running()?;
    let mount_points = MountPoints::new(base, spec.files.iter().map(|file| file.path.as_path()))?;
    let directory = store.work_directory()?;
    let work = Work {
        directory: directory.path(),
        store,
    };
    let on_line = |stream, line: &[u8]| {
        observer.observe(Event::Output {
            step,
            stream: match stream {
                process::Stream::Stdout => Stream::Stdout,
                process::Stream::Stderr => Stream::Stderr,
            },
            line: String::from_utf8_lossy(line).into_owned(),
        });
    };
    let exit = work.run(kinds, spec, &mount_points, &on_line, &|| observer.interrupted())?;
    if exit != Exit::Code(0) {
        return Err(RunError::Failed { exit });
    }
    diff::layer_of(&work.path(UPPER), base, &mount_points, store, observer)
}

const UPPER: &str = "upper";
const WORK: &str = "work";
const SCRATCH: &str = "scratch";
const LOWER: &str = "lower";

/// How the tree becomes the read-only part of an overlay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LowerKind {
    /// An EROFS of its metadata, with the objects as data layer.
    Composefs,
    /// A directory of files without contents, with the objects as data layer.
    Stubs,
    /// A directory of copies.
    Checkout,
}

/// The kinds to try in this process, the best first.
fn kinds(store: &Store) -> Result<Vec<LowerKind>, RunError> {
    if !userns::is_inside() {
        return Ok(vec![LowerKind::Composefs, LowerKind::Checkout]);
    }
    let directory = store.work_directory()?;
    Ok(match probe_user_data_layers(directory.path()) {
        Ok(()) => vec![LowerKind::Stubs, LowerKind::Checkout],
        Err(_) => vec![LowerKind::Checkout],
    })
}

/// The work directory of one RUN step.
struct Work<'a> {
    directory: &'a Path,
    store: &'a Store,
}

impl Work<'_> {
    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Runs the command over the first kind of lower that this machine can do.
    fn run(
        &self,
        kinds: &[LowerKind],
        spec: &RunSpec,
        mount_points: &MountPoints,
        on_line: &dyn Fn(process::Stream, &[u8]),
        interrupted: &dyn Fn() -> bool,
    ) -> Result<Exit, RunError> {
        self.renew(SCRATCH)?;
        let mut refusals = Vec::new();
        for kind in kinds {
            let sandbox = self.sandbox(*kind, spec, mount_points)?;
            match sandbox.run(on_line, interrupted) {
                Err(SandboxError::SetUp {
                    stage: Stage::Root,
                    error,
                }) if is_unsupported(error.errno()) => refusals.push(error),
                answer => return Ok(answer?),
            }
        }
        Err(RunError::NoOverlay { refusals })
    }

    fn sandbox(
        &self,
        kind: LowerKind,
        spec: &RunSpec,
        mount_points: &MountPoints,
    ) -> Result<Sandbox, RunError> {
        let attributes = match userns::is_inside() {
            true => Attributes::User,
            false => Attributes::Trusted,
        };
        let upper = self.renew(UPPER)?;
        let root = mount_points.tree.root();
        checkout::set_metadata(&upper, &mount_points.tree.inode(root).metadata)?;
        Ok(Sandbox {
            root: Root::Overlay {
                lower: self.lower(kind, &mount_points.tree)?,
                upper,
                work: self.renew(WORK)?,
                attributes,
            },
            scratch: self.path(SCRATCH),
            argv: spec.argv.clone(),
            env: spec.env.clone(),
            cwd: spec.cwd.clone(),
            user: spec.user.clone(),
            hostname: spec.hostname.clone(),
            network: spec.network,
            capabilities: DEFAULT_CAPABILITIES,
            files: spec.files.clone(),
        })
    }

    fn lower(&self, kind: LowerKind, tree: &Tree<Content>) -> Result<Lower, RunError> {
        let objects = self.store.objects_path();
        match kind {
            LowerKind::Composefs => {
                let image = self.path("lower.erofs");
                fs::write(&image, composefs::image(tree)?)
                    .map_err(|error| OsError::from_io("write", image.display(), &error))?;
                Ok(Lower::Composefs { image, objects })
            }
            LowerKind::Stubs => {
                let directory = self.renew(LOWER)?;
                checkout::write(tree, &directory, &checkout::Stubs)?;
                Ok(Lower::Stubs { directory, objects })
            }
            LowerKind::Checkout => {
                let directory = self.renew(LOWER)?;
                checkout::write(tree, &directory, &checkout::Copies { store: self.store })?;
                Ok(Lower::Directory(directory))
            }
        }
    }

    /// An empty directory of that name: overlayfs takes no upper directory a second time.
    fn renew(&self, name: &str) -> Result<PathBuf, OsError> {
        let path = self.path(name);
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(OsError::from_io("remove", path.display(), &error));
            }
            _ => {}
        }
        fs::create_dir(&path).map_err(|error| OsError::from_io("create", path.display(), &error))?;
        Ok(path)
    }
}

/// Whether the answer means that this kernel, or this file system, cannot do it; another way may.
fn is_unsupported(errno: Errno) -> bool {
    let unsupported = [
        Errno::INVAL,
        Errno::PERM,
        Errno::NODEV,
        Errno::NOENT,
        Errno::NOSYS,
        Errno::OPNOTSUPP,
        Errno::NOTBLK,
        Errno::LOOP,
    ];
    unsupported.contains(&errno)
}

/// What a directory has that no layer speaks of.
fn plain_directory(like: &Metadata) -> Metadata {
    Metadata {
        mode: 0o755,
        mtime: like.mtime,
        ..Metadata::default()
    }
}
