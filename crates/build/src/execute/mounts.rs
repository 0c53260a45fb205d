//! `RUN --mount`: what a command is shown, and what of it is in the cache key.

use std::path::{Path, PathBuf};

use osmith_container::root::write_tree;
use osmith_formats::tree::{Content, Metadata, Tree};
use osmith_image::store::{CacheIdentity, CacheMount, CacheSharing};
use osmith_report::{Interrupted, StepId};

use super::Execution;
use super::parts::Part;
use crate::agent::Agent;
use crate::copy::Selection;
use crate::error::StepError;
use crate::plan::{MountKind, Origin, Run, RunMount, Sharing};
use crate::run::{Mount, Source, TreeMount};

/// The file of a part that is one.
const FILE: &str = "file";
const SSH_VARIABLE: &str = "SSH_AUTH_SOCK";

/// What a command is shown, as long as this lives.
#[derive(Default)]
pub(crate) struct Shown {
    pub(crate) mounts: Vec<Mount>,
    pub(crate) trees: Vec<TreeMount>,
    /// Variables that nothing remembers.
    pub(crate) env: Vec<(String, String)>,
    caches: Vec<CacheMount>,
    agents: Vec<Agent>,
    directory: Option<tempfile::TempDir>,
}

impl Execution<'_> {
    /// What the command's result depends on: the files that it sees by their hash, all else by its name.
    pub(super) fn mount_keys(&self, run: &Run, id: StepId) -> Result<Vec<Vec<u8>>, StepError> {
        run.mounts.iter().map(|mount| self.mount_key(mount, id)).collect()
    }

    fn mount_key(&self, mount: &RunMount, id: StepId) -> Result<Vec<u8>, StepError> {
        let mut key = format!("{} ", mount.target).into_bytes();
        match &mount.kind {
            MountKind::Bind {
                from,
                source,
                is_writable,
            } => {
                let (summary, _) = self.summary(&part(from.as_ref(), source), id)?;
                key.extend(format!("bind {is_writable} ").bytes());
                key.extend(summary.digest);
            }
            // The stage or image counts only for a new one, and that only by chance.
            MountKind::Cache { id, uid, gid, .. } => key.extend(format!("cache {uid} {gid} {id}").bytes()),
            MountKind::Memory { .. } => key.extend(b"memory"),
            MountKind::Secret { id, env, .. } => key.extend(format!("secret {id} {env:?}").bytes()),
            MountKind::Ssh { id, .. } => key.extend(format!("ssh {id}").bytes()),
        }
        Ok(key)
    }

    /// Gets everything ready.
    pub(super) fn show(&self, run: &Run, id: StepId) -> Result<Shown, StepError> {
        let mut shown = Shown::default();
        for mount in &run.mounts {
            self.show_one(mount, id, &mut shown)?;
        }
        Ok(shown)
    }

    fn show_one(&self, mount: &RunMount, id: StepId, shown: &mut Shown) -> Result<(), StepError> {
        match &mount.kind {
            MountKind::Bind {
                from,
                source,
                is_writable,
            } => {
                let (tree, file) = whole(self.select(&part(from.as_ref(), source), id)?);
                shown.trees.push(TreeMount {
                    target: PathBuf::from(&mount.target),
                    tree,
                    file,
                    is_writable: *is_writable,
                });
            }
            MountKind::Cache { .. } => self.show_cache(mount, id, shown)?,
            MountKind::Memory {
                size_bytes,
                mode,
                copies_target,
                is_writable,
            } => {
                let source = Source::Memory {
                    mode: *mode,
                    size_bytes: *size_bytes,
                    copies_target: *copies_target,
                };
                let mut memory = Mount::new(&mount.target, source);
                memory.read_only = !is_writable;
                shown.mounts.push(memory);
            }
            MountKind::Secret { .. } => self.show_secret(mount, shown)?,
            MountKind::Ssh { .. } => self.show_agent(mount, shown)?,
        }
        Ok(())
    }

    fn show_cache(&self, mount: &RunMount, step: StepId, shown: &mut Shown) -> Result<(), StepError> {
        let MountKind::Cache {
            id,
            sharing,
            from,
            source,
            mode,
            uid,
            gid,
            is_writable,
        } = &mount.kind
        else {
            return Ok(());
        };
        let identity = CacheIdentity {
            id: id.clone(),
            uid: *uid,
            gid: *gid,
        };
        let sharing = match sharing {
            Sharing::Shared => CacheSharing::Shared,
            Sharing::Private => CacheSharing::Private,
            Sharing::Locked => CacheSharing::Locked,
        };
        let fill = |path: &Path| -> Result<(), StepError> {
            let mut tree = match from {
                Some(from) => whole(self.select(&part(Some(from), source), step)?).0,
                None => Tree::new(Metadata::default()),
            };
            let root = tree.root();
            let metadata = &mut tree.inode_mut(root).metadata;
            (metadata.mode, metadata.uid, metadata.gid) = (*mode as u16, *uid, *gid);
            Ok(write_tree(path, &tree, self.workplace.store).map_err(crate::run::RunError::from)?)
        };
        let running = || self.observer.require_running();
        let cache = self
            .workplace
            .store
            .cache_mount(&identity, sharing, fill, running)?;
        let cache = cache.ok_or(Interrupted)?;
        let mut shared = Mount::new(&mount.target, Source::Machine(cache.path().to_owned()));
        shared.read_only = !is_writable;
        shown.mounts.push(shared);
        shown.caches.push(cache);
        Ok(())
    }

    fn show_secret(&self, mount: &RunMount, shown: &mut Shown) -> Result<(), StepError> {
        let MountKind::Secret {
            id,
            env,
            is_file,
            is_required,
            mode,
            uid,
            gid,
        } = &mount.kind
        else {
            return Ok(());
        };
        let Some(bytes) = self.workplace.request.secrets.get(id) else {
            return match is_required {
                true => Err(StepError::NoSecret(id.clone())),
                false => Ok(()),
            };
        };
        if let Some(name) = env {
            let value = String::from_utf8(bytes.clone()).map_err(|_| StepError::SecretText(id.clone()))?;
            shown.env.push((name.clone(), value));
        }
        if *is_file {
            let source = Source::File {
                mode: *mode,
                uid: *uid,
                gid: *gid,
                bytes: bytes.clone(),
            };
            shown.mounts.push(Mount::new(&mount.target, source));
        }
        Ok(())
    }

    fn show_agent(&self, mount: &RunMount, shown: &mut Shown) -> Result<(), StepError> {
        let MountKind::Ssh {
            id,
            is_required,
            mode,
            uid,
            gid,
        } = &mount.kind
        else {
            return Ok(());
        };
        let Some(socket) = self.workplace.request.agents.get(id) else {
            return match is_required {
                true => Err(StepError::NoAgent(id.clone())),
                false => Ok(()),
            };
        };
        let directory = match shown.directory.take() {
            Some(directory) => directory,
            None => self.workplace.store.work_directory()?,
        };
        let name = format!("agent{}", shown.agents.len());
        let agent =
            Agent::listen(socket, directory.path(), &name, (*mode, *uid, *gid)).map_err(|source| {
                StepError::Agent {
                    id: id.clone(),
                    socket: socket.clone(),
                    source,
                }
            })?;
        if shown.agents.is_empty() {
            shown.env.push((SSH_VARIABLE.to_owned(), mount.target.clone()));
        }
        let source = Source::Machine(agent.path().to_owned());
        shown.mounts.push(Mount::new(&mount.target, source));
        shown.agents.push(agent);
        shown.directory = Some(directory);
        Ok(())
    }
}

/// The path as it is, without patterns.
fn part<'p>(from: Option<&'p Origin>, source: &str) -> Part<'p> {
    let mut path = String::with_capacity(source.len());
    for character in source.chars() {
        if matches!(character, '*' | '?' | '[' | '\\') {
            path.push('\\');
        }
        path.push(character);
    }
    Part {
        from,
        paths: vec![path],
        excludes: &[],
        keeps_parents: false,
    }
}

/// A selection of one path as a tree of its own, and the name of the file in it if it is one.
fn whole(selection: Selection<'static>) -> (Tree<Content>, Option<PathBuf>) {
    let mut tree = selection.tree.into_owned();
    let Some(item) = selection.items.first() else {
        return (Tree::new(Metadata::default()), None);
    };
    if tree.inode(item.inode).entries().is_some() {
        return (tree.split_off(item.inode), None);
    }
    let mut own = Tree::new(Metadata {
        mode: 0o755,
        ..Metadata::default()
    });
    let file = own.add(tree.inode(item.inode).clone());
    own.link(own.root(), FILE.as_bytes(), file);
    (own, Some(PathBuf::from(FILE)))
}
