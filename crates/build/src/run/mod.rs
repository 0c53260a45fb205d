//! RUN: a command changes a file tree, and its changes become a layer.
//!
//! ```text
//! tree + mount points ──▶ lower, read-only     spec ──▶ command in a sandbox ──▶ upper ──diff──▶ layer
//! ```
//!
//! Everything is in work directories of the store, which go away with their last use. The overlay and all on it are
//! seen by the sandbox alone and end with it.

mod diff;
mod error;

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use osmith_container::root::{
    MountPoints, ReadOnlyRoot, RootError, Target, overlay_attributes, set_metadata,
};
use osmith_formats::tree::{Content, Tree};
use osmith_image::layer::Layer;
use osmith_image::store::Store;
use osmith_report::{Event, Observer, StepId, Stream};
use osmith_sys::sandbox::{Init, Lower, Root, Sandbox, Streams};
use osmith_sys::{OsError, process};

pub use error::RunError;
pub use osmith_container::root::LowerKind;
pub use osmith_sys::sandbox::{DEFAULT_CAPABILITIES, Exit, Mount, Network, Source, User};

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
    /// The capabilities it may have, as a bit mask.
    pub capabilities: u64,
    /// What it sees and what is in no layer: name service configuration, the script of a heredoc, caches, secrets.
    pub mounts: Vec<Mount>,
    /// Trees that it sees.
    pub trees: Vec<TreeMount>,
}

/// A tree that a command sees beside its own.
#[derive(Debug, Clone)]
pub struct TreeMount {
    /// Where: an absolute path.
    pub target: PathBuf,
    /// The tree; its contents are in the store.
    pub tree: Tree<Content>,
    /// The name of the only file that is shown; `None` for the whole tree.
    pub file: Option<PathBuf>,
    /// Whether it can be written to. What is written is thrown away.
    pub is_writable: bool,
}

/// What the commands of a build run on. The read-only part of their root file system is kept from one command to the
/// next, so a step costs what differs from the step before.
pub struct BuildRoot<'s> {
    store: &'s Store,
    root: ReadOnlyRoot<'s>,
}

impl<'s> BuildRoot<'s> {
    /// For trees whose contents are in `store`.
    pub fn new(store: &'s Store) -> Self {
        BuildRoot {
            store,
            root: ReadOnlyRoot::new(store),
        }
    }

    /// The same with a choice of lowers: the first that this machine can do is taken.
    pub fn over(kinds: &[LowerKind], store: &'s Store) -> Self {
        BuildRoot {
            store,
            root: ReadOnlyRoot::over(kinds, store),
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
        let mount_points = Rc::new(MountPoints::new(base, &spec.targets()?)?);
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
        work.renew(SCRATCH)?;
        let trees: Vec<Rc<MountPoints>> = spec.trees.iter().map(TreeMount::points).collect();
        let exit = self.root.with(&mount_points, |lower, kind| {
            let mut sandbox = work.sandbox(lower, spec, &mount_points)?;
            let mut shown: Vec<ReadOnlyRoot<'_>> = Vec::new();
            for (number, (mount, tree)) in spec.trees.iter().zip(&trees).enumerate() {
                let mut root = ReadOnlyRoot::new(self.store);
                let lower = root.lower(kind, tree)?;
                sandbox.mounts.push(work.tree_mount(mount, tree, lower, number)?);
                shown.push(root);
            }
            // What is mounted first must not hide what comes after it.
            sandbox
                .mounts
                .sort_by_key(|mount| mount.target.components().count());
            Ok(sandbox.run(&on_line, || observer.interrupted())?)
        })?;
        if exit != Exit::Code(0) {
            return Err(RunError::Failed { exit });
        }
        diff::layer_of(&work.path(UPPER), base, &mount_points, self.store, observer)
    }
}

const UPPER: &str = "upper";
const WORK: &str = "work";
const SCRATCH: &str = "scratch";

/// The work directory of one RUN step.
struct Work<'a> {
    directory: &'a Path,
}

impl RunSpec {
    fn targets(&self) -> Result<Vec<Target<'_>>, RootError> {
        let trees = self.trees.iter().map(|mount| {
            Ok(Target {
                path: &mount.target,
                is_directory: mount.file.is_none(),
            })
        });
        let mut targets: Vec<Target<'_>> = self
            .mounts
            .iter()
            .map(Target::of)
            .chain(trees)
            .collect::<Result<_, RootError>>()?;
        targets.sort_by_key(|target| target.path.components().count());
        Ok(targets)
    }
}

impl TreeMount {
    fn points(&self) -> Rc<MountPoints> {
        Rc::new(MountPoints::none(self.tree.clone()))
    }
}

impl Work<'_> {
    fn tree_mount(
        &self,
        mount: &TreeMount,
        points: &MountPoints,
        lower: Lower,
        number: usize,
    ) -> Result<Mount, RootError> {
        let attributes = overlay_attributes();
        let root = match mount.is_writable {
            false => Root::ReadOnly { lower, attributes },
            true => {
                let upper = self.renew(&format!("{UPPER}{number}"))?;
                set_metadata(&upper, points.tree.inode(points.tree.root()))?;
                Root::Overlay {
                    lower,
                    upper,
                    work: self.renew(&format!("{WORK}{number}"))?,
                    attributes,
                }
            }
        };
        let path = Path::new("/").join(mount.file.as_deref().unwrap_or(Path::new("")));
        let mut shown = Mount::new(&mount.target, Source::Tree { root, path });
        shown.read_only = !mount.is_writable;
        Ok(shown)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn sandbox(&self, lower: Lower, spec: &RunSpec, tree: &MountPoints) -> Result<Sandbox, RootError> {
        let upper = self.renew(UPPER)?;
        set_metadata(&upper, tree.tree.inode(tree.tree.root()))?;
        Ok(Sandbox {
            root: Root::Overlay {
                lower,
                upper,
                work: self.renew(WORK)?,
                attributes: overlay_attributes(),
            },
            scratch: self.path(SCRATCH),
            argv: spec.argv.clone(),
            env: spec.env.clone(),
            cwd: spec.cwd.clone(),
            user: spec.user.clone(),
            hostname: spec.hostname.clone(),
            network: spec.network,
            capabilities: spec.capabilities,
            mounts: spec.mounts.clone(),
            init: Init::Reaper,
            streams: Streams::Output,
            cgroup: None,
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
