//! RUN: a command changes a file tree, and its changes become a layer.
//!
//! ```text
//! tree + mount points ──▶ lower, read-only     spec ──▶ command in a sandbox ──▶ upper ──diff──▶ layer
//! ```
//!
//! The lower is a composefs image where this process may mount one. In a user namespace it is a directory of files
//! without contents that redirect to the objects (Linux 6.16), in a file system in memory, and where that does not work
//! either, a directory of copies. Directories are written once for all steps of a build, and brought up to date between
//! them. What is mounted for the command alone, such as `/proc` or `/etc/resolv.conf`, has its mount points in that
//! lower, so nothing of it can get into the layer.
//!
//! Everything is in work directories of the store, which go away with their last use. The overlay and all on it are
//! seen by the sandbox alone and end with it.

mod checkout;
mod diff;
mod error;
mod lower;
mod mount_points;

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;

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

use lower::KeptLower;
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

/// What the commands of a build run on. The read-only part of their root file system is kept from one command to the
/// next, so a step costs what differs from the step before.
///
/// It may be mounted in the mount namespace of this process, in the store; best that is one of its own.
pub struct BuildRoot<'s> {
    store: &'s Store,
    /// The kinds to try, the best first; `None` before it is known what this machine can do.
    kinds: Option<Vec<LowerKind>>,
    lower: Option<KeptLower>,
}

impl<'s> BuildRoot<'s> {
    /// For trees whose contents are in `store`.
    pub fn new(store: &'s Store) -> Self {
        BuildRoot {
            store,
            kinds: None,
            lower: None,
        }
    }

    /// The same with a choice of lowers: the first that this machine can do is taken.
    pub fn over(kinds: &[LowerKind], store: &'s Store) -> Self {
        BuildRoot {
            kinds: Some(kinds.to_vec()),
            ..BuildRoot::new(store)
        }
    }

    /// Runs a command on a tree and returns what it changed. Its output lines are events of `step`.
    pub fn run(
        &mut self,
        base: &Tree<Content>,
        spec: &RunSpec,
        observer: &dyn Observer,
        step: StepId,
    ) -> Result<Layer, RunError> {
        observer.require_running()?;
        let files = spec.files.iter().map(|file| file.path.as_path());
        let mount_points = Rc::new(MountPoints::new(base, files)?);
        let directory = self.store.work_directory()?;
        let work = Work {
            directory: directory.path(),
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
        let exit = self.execute(&work, spec, &mount_points, &on_line, &|| observer.interrupted())?;
        if exit != Exit::Code(0) {
            return Err(RunError::Failed { exit });
        }
        diff::layer_of(&work.path(UPPER), base, &mount_points, self.store, observer)
    }

    /// Runs the command over the first kind of lower that this machine can do.
    fn execute(
        &mut self,
        work: &Work<'_>,
        spec: &RunSpec,
        tree: &Rc<MountPoints>,
        on_line: &dyn Fn(process::Stream, &[u8]),
        interrupted: &dyn Fn() -> bool,
    ) -> Result<Exit, RunError> {
        work.renew(SCRATCH)?;
        let mut refusals = Vec::new();
        for kind in self.kinds()? {
            let lower = self.lower(kind, tree)?;
            match work.sandbox(lower, spec, tree)?.run(on_line, interrupted) {
                Err(SandboxError::SetUp {
                    stage: Stage::Root,
                    error,
                }) if is_unsupported(error.errno()) => refusals.push(error),
                answer => {
                    self.kinds = Some(vec![kind]);
                    return Ok(answer?);
                }
            }
        }
        Err(RunError::NoOverlay { refusals })
    }

    fn kinds(&self) -> Result<Vec<LowerKind>, RunError> {
        if let Some(kinds) = &self.kinds {
            return Ok(kinds.clone());
        }
        if !userns::is_inside() {
            return Ok(vec![LowerKind::Composefs, LowerKind::Stubs, LowerKind::Checkout]);
        }
        let directory = self.store.work_directory()?;
        Ok(match probe_user_data_layers(directory.path()) {
            Ok(()) => vec![LowerKind::Stubs, LowerKind::Checkout],
            Err(_) => vec![LowerKind::Checkout],
        })
    }

    /// The tree as a lower: the one of the step before, brought up to date, or a new one.
    fn lower(&mut self, kind: LowerKind, tree: &Rc<MountPoints>) -> Result<Lower, RunError> {
        let kept = self.lower.take().filter(|lower| lower.kind == kind);
        let updated = kept.and_then(|mut lower| lower.show(self.store, tree).is_ok().then_some(lower));
        let lower = match updated {
            Some(lower) => lower,
            None => KeptLower::new(kind, attributes(), self.store, tree)?,
        };
        Ok(self.lower.insert(lower).lower(self.store))
    }
}

const UPPER: &str = "upper";
const WORK: &str = "work";
const SCRATCH: &str = "scratch";

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

/// Where overlayfs may keep its notes.
fn attributes() -> Attributes {
    match userns::is_inside() {
        true => Attributes::User,
        false => Attributes::Trusted,
    }
}

/// The work directory of one RUN step.
struct Work<'a> {
    directory: &'a Path,
}

impl Work<'_> {
    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn sandbox(&self, lower: Lower, spec: &RunSpec, tree: &MountPoints) -> Result<Sandbox, RunError> {
        let upper = self.renew(UPPER)?;
        checkout::set_metadata(&upper, tree.tree.inode(tree.tree.root()))?;
        Ok(Sandbox {
            root: Root::Overlay {
                lower,
                upper,
                work: self.renew(WORK)?,
                attributes: attributes(),
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
