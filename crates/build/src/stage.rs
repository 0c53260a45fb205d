//! A stage while it is built: its tree, its layers, and what the cache knows of them.

use std::collections::HashMap;

use osmith_container::users::Accounts;
use osmith_formats::tree::{Content, InodeId, Node, Timestamp, Tree};
use osmith_image::layer::{Layer, LayerId};
use osmith_image::store::{LayerSource, Store};
use osmith_report::Observer;

use crate::Request;
use crate::built::{Built, Past};
use crate::copy::{Copied, ModeChange, Placement, Selection, transfer, unpack};
use crate::draft::Draft;
use crate::error::StepError;
use crate::key::{self, Key, KeyHasher};
use crate::plan::{Run, Transfer};

/// A stage while it is built.
pub(crate) struct Stage<'b> {
    store: &'b Store,
    observer: &'b dyn Observer,
    request: &'b Request,
    built: Built,
    /// The tree, once a step needs it.
    draft: Option<Draft>,
    /// Directories of WORKDIR and VOLUME that the next layer makes: paths and owner.
    directories: Vec<(Vec<String>, String)>,
}

impl<'b> Stage<'b> {
    pub(crate) fn new(
        store: &'b Store,
        request: &'b Request,
        observer: &'b dyn Observer,
        built: Built,
    ) -> Self {
        Stage {
            store,
            observer,
            request,
            built,
            draft: None,
            directories: Vec::new(),
        }
    }

    /// Makes directories that are missing, with the next layer.
    pub(crate) fn ensure_directories(&mut self, paths: &[String], user: &str) {
        self.directories.push((paths.to_vec(), user.to_owned()));
    }

    pub(crate) fn note(&mut self, text: String, has_layer: bool) {
        self.built.past.push(Past { text, has_layer });
    }

    /// The tree with everything up to here.
    pub(crate) fn draft(&mut self) -> Result<&mut Draft, StepError> {
        let mut draft = match self.draft.take() {
            Some(draft) => draft,
            None => Draft::new(self.store.merge(&self.built.layers)?),
        };
        let now = self.request.now();
        for (paths, user) in std::mem::take(&mut self.directories) {
            let owner = match user.as_str() {
                "" => Default::default(),
                user => Accounts::read(self.store, draft.tree())?.user(user)?.owner,
            };
            for path in paths {
                draft.ensure_directory(path.as_bytes(), owner, now)?;
            }
        }
        Ok(self.draft.insert(draft))
    }

    /// The key of a COPY or ADD.
    pub(crate) fn transfer_key(&self, transfer: &Transfer, sources: &Key) -> Key {
        self.key("osmith build 1: COPY")
            .list(transfer.extracts.then_some("extract"))
            .bytes(sources)
            .bytes(&transfer.destination)
            .bytes(&transfer.workdir)
            .option(transfer.chown.as_ref())
            .option(transfer.chmod.as_ref())
            .finish()
    }

    /// The key of a RUN.
    pub(crate) fn run_key(&self, run: &Run) -> Key {
        let mut env = run.env.clone();
        env.sort();
        self.key("osmith build 1: RUN")
            .list(&run.argv)
            .pairs(run.script.as_slice())
            .pairs(&env)
            .bytes(&run.workdir)
            .bytes(&run.user)
            .list(run.network.then_some("network"))
            .finish()
    }

    /// A key's beginning: everything below.
    fn key(&self, purpose: &str) -> KeyHasher {
        let directories = self
            .directories
            .iter()
            .flat_map(|(paths, user)| paths.iter().cloned().chain([format!("owner {user}")]));
        let platform = &self.request.platforms.target;
        KeyHasher::new(purpose)
            .bytes(key::chain(&self.built.layers))
            .list(directories)
            .bytes(&platform.os)
            .bytes(&platform.architecture)
            .option(self.request.timestamp.map(i64::to_le_bytes))
    }

    pub(crate) fn cached(&self, key: &Key) -> Result<Option<LayerId>, StepError> {
        if self.request.no_cache {
            return Ok(None);
        }
        let value = self.store.cache_get(key)?;
        Ok(value
            .and_then(|bytes| Key::try_from(bytes).ok())
            .map(LayerId::new))
    }

    /// Goes on with a layer that was made before.
    pub(crate) fn take(&mut self, layer: LayerId, history: String) -> Result<(), StepError> {
        self.draft = None;
        self.directories.clear();
        self.push(layer, history);
        Ok(())
    }

    fn push(&mut self, layer: LayerId, history: String) {
        self.built.layers.push(layer);
        self.built.sources.push(LayerSource::Own(layer));
        self.note(history, true);
    }

    pub(crate) fn copy(
        &mut self,
        transfer_plan: &Transfer,
        mut selection: Selection<'static>,
        chmod: Option<ModeChange>,
    ) -> Result<Copied, StepError> {
        if transfer_plan.extracts {
            self.extract(&mut selection)?;
        }
        let (store, now) = (self.store, self.request.now());
        let draft = self.draft()?;
        let chown = match &transfer_plan.chown {
            Some(text) => Some(Accounts::read(store, draft.tree())?.owner(text)?),
            None => None,
        };
        let placement = Placement {
            destination: &transfer_plan.destination,
            workdir: &transfer_plan.workdir,
            chown,
            chmod,
            now,
        };
        Ok(transfer(draft, &selection, &placement)?)
    }

    /// Puts the contents of archives in their place.
    fn extract(&self, selection: &mut Selection<'static>) -> Result<(), StepError> {
        for index in 0..selection.items.len() {
            let Some(item) = selection.items.get(index) else {
                break;
            };
            let Node::Regular(content) = selection.tree.inode(item.inode).node.clone() else {
                continue;
            };
            if let Some(unpacked) = unpack(self.store, &content, self.observer)? {
                let root = graft(selection.tree.to_mut(), &unpacked);
                if let Some(item) = selection.items.get_mut(index) {
                    item.inode = root;
                    item.is_unpacked = true;
                }
            }
        }
        Ok(())
    }

    /// Makes the layer of the changes and remembers it.
    pub(crate) fn commit(&mut self, key: &Key, history: String) -> Result<(), StepError> {
        let layer = self.draft()?.take_layer()?;
        self.keep(key, layer, history)
    }

    pub(crate) fn keep(&mut self, key: &Key, mut layer: Layer, history: String) -> Result<(), StepError> {
        if let Some(seconds) = self.request.timestamp {
            layer.map_mtimes(|_| Timestamp {
                seconds,
                nanoseconds: 0,
            });
        }
        let id = self.store.put_layer(&layer)?;
        self.store.cache_put(key, id.as_bytes(), &[id])?;
        self.push(id, history);
        Ok(())
    }

    /// Directories that no step after them put into a layer get one of their own.
    pub(crate) fn finish(mut self) -> Result<Built, StepError> {
        if self.directories.is_empty() {
            return Ok(self.built);
        }
        let key = self.key("osmith build 1: directories").finish();
        let known = if self.request.no_cache {
            None
        } else {
            self.store.cache_get(&key)?
        };
        let layer = match known {
            Some(bytes) => Key::try_from(bytes).ok().map(LayerId::new),
            None => self.own_layer(&key)?,
        };
        if let Some(layer) = layer {
            self.built.layers.push(layer);
            self.built.sources.push(LayerSource::Own(layer));
            if let Some(last) = self
                .built
                .past
                .iter_mut()
                .rev()
                .find(|past| is_directory_step(&past.text))
            {
                last.has_layer = true;
            }
        }
        Ok(self.built)
    }

    /// The layer of the directories that are missing; `None` if none is.
    fn own_layer(&mut self, key: &Key) -> Result<Option<LayerId>, StepError> {
        let draft = self.draft()?;
        if !draft.has_changes() {
            self.store.cache_put(key, &[], &[])?;
            return Ok(None);
        }
        let layer = draft.take_layer()?;
        let id = self.store.put_layer(&layer)?;
        self.store.cache_put(key, id.as_bytes(), &[id])?;
        Ok(Some(id))
    }
}

fn is_directory_step(history: &str) -> bool {
    history.contains("#(nop) WORKDIR") || history.contains("#(nop) VOLUME")
}

/// Adds a tree to another one; the number of its root there.
fn graft(tree: &mut Tree<Content>, other: &Tree<Content>) -> InodeId {
    let mut moved = HashMap::new();
    for (_, id) in other.walk() {
        moved.entry(id).or_insert_with(|| {
            let mut inode = other.inode(id).clone();
            if let Node::Directory(entries) = &mut inode.node {
                entries.clear();
            }
            tree.add(inode)
        });
    }
    for (id, new) in &moved {
        for (name, child) in other.inode(*id).entries().into_iter().flatten() {
            if let Some(child) = moved.get(child) {
                tree.link(*new, name, *child);
            }
        }
    }
    moved.get(&other.root()).copied().unwrap_or(tree.root())
}
