//! A stage while it is built: its tree, its layers, and what the cache knows of them.

use osmith_container::users::{Accounts, Owner};
use osmith_formats::tree::Node;
use osmith_image::layer::{Layer, LayerId, empty_tree};
use osmith_image::store::{LayerSource, Store};
use osmith_report::Observer;

use crate::Request;
use crate::built::{Built, Past};
use crate::copy::{Copied, ModeChange, Placement, Selection, transfer, unpack};
use crate::draft::Draft;
use crate::error::StepError;
use crate::key::{self, Key, KeyHasher};
use crate::plan::{Run, Transfer, Unpacking};
use crate::run::DEFAULT_CAPABILITIES;

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
    pub(crate) fn transfer_key(&mut self, transfer: &Transfer, sources: &Key) -> Result<Key, StepError> {
        let key = match transfer.is_linked {
            false => self.key("osmith build 2: COPY").option(transfer.chown.as_ref()),
            true => {
                self.flush_directories()?;
                let owner = self
                    .owner(transfer)?
                    .map(|owner| format!("{}:{}", owner.uid, owner.gid));
                let below = self.draft()?.directories_above(transfer.destination.as_bytes());
                self.independent_key("osmith build 2: COPY --link")
                    .option(owner)
                    .list(below)
            }
        };
        let unpacking: &[u8] = match transfer.unpacking {
            Unpacking::Nothing => b"",
            Unpacking::Archives => b"archives",
            Unpacking::Everything => b"everything",
        };
        Ok(key
            .bytes(unpacking)
            .bytes(sources)
            .bytes(&transfer.destination)
            .bytes(&transfer.workdir)
            .option(transfer.chmod.as_ref())
            .finish())
    }

    /// The key of a RUN.
    pub(crate) fn run_key(&self, run: &Run, mounts: &[Vec<u8>]) -> Key {
        let mut env = run.env.clone();
        env.sort();
        self.key("osmith build 2: RUN")
            .list(&run.argv)
            .pairs(run.script.as_slice())
            .pairs(&env)
            .bytes(&run.workdir)
            .bytes(&run.user)
            .list((run.network && self.request.run.network).then_some("network"))
            .option(other_capabilities(self.request.run.capabilities))
            .list(
                self.request
                    .run
                    .volumes
                    .iter()
                    .map(|volume| format!("{:?}", volume.target)),
            )
            .list(mounts)
            .finish()
    }

    /// A key's beginning: everything below.
    fn key(&self, purpose: &str) -> KeyHasher {
        let directories = self
            .directories
            .iter()
            .flat_map(|(paths, user)| paths.iter().cloned().chain([format!("owner {user}")]));
        self.independent_key(purpose)
            .bytes(key::chain(&self.built.layers))
            .list(directories)
    }

    /// The same without what is below.
    fn independent_key(&self, purpose: &str) -> KeyHasher {
        let platform = &self.request.platforms.target;
        KeyHasher::new(purpose)
            .bytes(&platform.os)
            .bytes(&platform.architecture)
            .bytes(self.request.times.key())
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

    /// The same for a layer that does not depend on those below, so the tree is still known.
    pub(crate) fn take_linked(&mut self, layer: LayerId, history: String) -> Result<(), StepError> {
        let record = self.store.layer(&layer)?;
        if let Some(draft) = &mut self.draft {
            draft.apply(&record)?;
        }
        self.push(layer, history);
        Ok(())
    }

    fn push(&mut self, layer: LayerId, history: String) {
        self.built.layers.push(layer);
        self.built.sources.push(LayerSource::Own(layer));
        self.note(history, true);
    }

    /// Copies the selection, makes the layer of it and remembers it.
    pub(crate) fn copy(
        &mut self,
        plan: &Transfer,
        mut selection: Selection<'static>,
        chmod: Option<ModeChange>,
        key: &Key,
        history: String,
    ) -> Result<Copied, StepError> {
        self.extract(plan.unpacking, &mut selection)?;
        let placement = Placement {
            destination: &plan.destination,
            workdir: &plan.workdir,
            chown: self.owner(plan)?,
            chmod,
            now: self.request.now(),
        };
        if !plan.is_linked {
            let draft = self.draft()?;
            let copied = transfer(draft, &selection, &placement)?;
            let layer = draft.take_layer()?;
            self.keep(key, layer, history)?;
            return Ok(copied);
        }
        let mut own = Draft::new(empty_tree());
        let copied = transfer(&mut own, &selection, &placement)?;
        let draft = self.draft()?;
        let layer = own.take_layer_over(draft.tree())?;
        draft.apply(&layer)?;
        self.keep(key, layer, history)?;
        Ok(copied)
    }

    /// `--chown`, as numbers.
    fn owner(&mut self, plan: &Transfer) -> Result<Option<Owner>, StepError> {
        let Some(text) = &plan.chown else {
            return Ok(None);
        };
        let store = self.store;
        Ok(Some(Accounts::read(store, self.draft()?.tree())?.owner(text)?))
    }

    /// Puts the contents of archives in their place.
    fn extract(&self, unpacking: Unpacking, selection: &mut Selection<'static>) -> Result<(), StepError> {
        if unpacking == Unpacking::Nothing {
            return Ok(());
        }
        for item in &mut selection.items {
            if item.is_download && unpacking != Unpacking::Everything {
                continue;
            }
            let Node::Regular(content) = selection.tree.inode(item.inode).node.clone() else {
                continue;
            };
            if let Some(unpacked) = unpack(self.store, &content, self.observer)? {
                item.inode = selection.tree.to_mut().append(unpacked);
                item.is_unpacked = true;
            }
        }
        Ok(())
    }

    /// Makes a layer of the stage and remembers it.
    pub(crate) fn keep(&mut self, key: &Key, layer: Layer, history: String) -> Result<(), StepError> {
        let id = self.put(layer)?;
        self.store.cache_put(key, id.as_bytes(), &[id])?;
        self.push(id, history);
        Ok(())
    }

    fn put(&self, mut layer: Layer) -> Result<LayerId, StepError> {
        layer.map_mtimes(|time| self.request.times.of_file(time));
        Ok(self.store.put_layer(&layer)?)
    }

    /// Directories that no step after them put into a layer get one of their own.
    pub(crate) fn finish(mut self) -> Result<Built, StepError> {
        self.flush_directories()?;
        Ok(self.built)
    }

    /// Puts directories that are to come with the next layer into one of their own.
    fn flush_directories(&mut self) -> Result<(), StepError> {
        if self.directories.is_empty() {
            return Ok(());
        }
        let key = self.key("osmith build 2: directories").finish();
        let known = match self.request.no_cache {
            true => None,
            false => self.store.cache_get(&key)?,
        };
        let layer = match known {
            Some(bytes) => {
                self.draft = None;
                self.directories.clear();
                Key::try_from(bytes).ok().map(LayerId::new)
            }
            None => self.directory_layer(&key)?,
        };
        if let Some(layer) = layer {
            self.built.layers.push(layer);
            self.built.sources.push(LayerSource::Own(layer));
            let mut past = self.built.past.iter_mut().rev();
            if let Some(last) = past.find(|past| is_directory_step(&past.text)) {
                last.has_layer = true;
            }
        }
        Ok(())
    }

    /// The layer of the directories that are missing; `None` if none is.
    fn directory_layer(&mut self, key: &Key) -> Result<Option<LayerId>, StepError> {
        let draft = self.draft()?;
        if !draft.has_changes() {
            self.store.cache_put(key, &[], &[])?;
            return Ok(None);
        }
        let layer = draft.take_layer()?;
        let id = self.put(layer)?;
        self.store.cache_put(key, id.as_bytes(), &[id])?;
        Ok(Some(id))
    }
}

fn is_directory_step(history: &str) -> bool {
    history.contains("#(nop) WORKDIR") || history.contains("#(nop) VOLUME")
}

/// What a key says of capabilities: nothing if they are the usual ones.
fn other_capabilities(mask: u64) -> Option<[u8; 8]> {
    (mask != DEFAULT_CAPABILITIES).then(|| mask.to_le_bytes())
}
