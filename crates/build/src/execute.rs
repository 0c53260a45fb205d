//! A plan is carried out: stage after stage, each step from the cache or anew.

use std::collections::BTreeMap;

use osmith_container::users::Accounts;
use osmith_formats::tree::{Inode, Metadata, Node};
use osmith_image::layer::LayerId;
use osmith_image::store::{Image, LayerSource, Store};
use osmith_report::{Event, Observer, Outcome, StepId};

use crate::command::run_spec;
use crate::context::{Context, Ignore, Watch};
use crate::copy::{Copied, Item, ModeChange, SelectError, Selection, tree_selection};
use crate::error::{BuildError, StepError};
use crate::key::{self, Key, KeyHasher};
use crate::plan::{Action, Origin, Plan, Run, StagePlan, Step, Transfer, TransferSource};
use crate::run::BuildRoot;
use crate::stage::Stage;
use crate::{Request, containerfile};

/// What a step left in the history.
#[derive(Debug, Clone)]
pub(crate) struct Past {
    pub(crate) text: String,
    pub(crate) has_layer: bool,
}

/// A stage that is built.
#[derive(Debug, Clone)]
pub(crate) struct Built {
    /// All layers, as a new image has them.
    pub(crate) sources: Vec<LayerSource>,
    /// The same as records.
    pub(crate) layers: Vec<LayerId>,
    /// How many of them come from a base image.
    pub(crate) base_layers: usize,
    /// What the new steps did, those of stages below first.
    pub(crate) past: Vec<Past>,
    /// The image below all.
    pub(crate) base: Option<(String, Image)>,
}

/// What the sources of a COPY are.
struct Sources {
    digest: Key,
    /// In the words of the history.
    kind: &'static str,
}

/// A build under way.
pub(crate) struct Execution<'b> {
    pub(crate) store: &'b Store,
    pub(crate) request: &'b Request,
    pub(crate) source: &'b containerfile::Source,
    pub(crate) observer: &'b dyn Observer,
    pub(crate) images: &'b BTreeMap<String, Image>,
    context: Context<'b>,
    build_root: BuildRoot<'b>,
    built: Vec<Built>,
    next_step: u32,
}

impl<'b> Execution<'b> {
    pub(crate) fn new(
        store: &'b Store,
        request: &'b Request,
        source: &'b containerfile::Source,
        images: &'b BTreeMap<String, Image>,
        context: Context<'b>,
        observer: &'b dyn Observer,
    ) -> Self {
        Execution {
            store,
            request,
            source,
            observer,
            images,
            context,
            build_root: BuildRoot::new(store),
            built: Vec::new(),
            next_step: 0,
        }
    }

    /// Builds all stages; the last one is given back.
    pub(crate) fn run(&mut self, plan: &Plan) -> Result<Built, BuildError> {
        for stage in &plan.stages {
            let built = self.stage(stage)?;
            self.built.push(built);
        }
        self.context.save()?;
        Ok(self.built.pop().unwrap_or_else(Built::empty))
    }

    /// The number of the next step, which begins now.
    pub(crate) fn begin(&mut self) -> Result<StepId, BuildError> {
        self.observer.require_running()?;
        let step = StepId(self.next_step);
        self.next_step += 1;
        self.observer.observe(Event::Started { step });
        Ok(step)
    }

    pub(crate) fn finish(&self, step: StepId, outcome: Outcome, summary: impl Into<String>) {
        self.observer.observe(Event::Finished {
            step,
            outcome,
            summary: summary.into(),
        });
    }

    fn stage(&mut self, plan: &StagePlan) -> Result<Built, BuildError> {
        let step = self.begin()?;
        let built = self.base(&plan.base)?;
        self.finish(step, Outcome::Done, "");
        let mut stage = Stage::new(self.store, self.request, self.observer, built);
        for planned in &plan.steps {
            let id = self.begin()?;
            let done = self.step(&mut stage, planned, id);
            match done {
                Ok((outcome, summary)) => self.finish(id, outcome, summary),
                Err(error) => {
                    self.finish(id, Outcome::Failed, "");
                    return Err(BuildError::step(self.source, planned.span, &planned.title, error));
                }
            }
        }
        let last = plan.steps.last();
        let span = last.map_or(plan.span, |step| step.span);
        let title = last.map_or("FROM", |step| step.title.as_str());
        stage
            .finish()
            .map_err(|error| BuildError::step(self.source, span, title, error))
    }

    fn base(&self, base: &Origin) -> Result<Built, BuildError> {
        match base {
            Origin::Scratch => Ok(Built::empty()),
            Origin::Stage(position) => Ok(self.built.get(*position).cloned().unwrap_or_else(Built::empty)),
            Origin::Image(name) => match self.images.get(name) {
                Some(image) => Ok(Built::of_image(name, image, image.layers(self.store)?)),
                None => Ok(Built::empty()),
            },
        }
    }

    fn step(
        &mut self,
        stage: &mut Stage<'b>,
        step: &Step,
        id: StepId,
    ) -> Result<(Outcome, String), StepError> {
        match &step.action {
            Action::Configure => {
                stage.note(step.history.clone(), false);
                Ok((Outcome::Done, String::new()))
            }
            Action::Directories { paths, user } => {
                stage.ensure_directories(paths, user);
                stage.note(step.history.clone(), false);
                Ok((Outcome::Done, String::new()))
            }
            Action::Transfer(transfer) => self.transfer(stage, step, transfer, id),
            Action::Run(run) => self.run_command(stage, step, run, id),
        }
    }

    fn transfer(
        &mut self,
        stage: &mut Stage<'b>,
        step: &Step,
        transfer: &Transfer,
        id: StepId,
    ) -> Result<(Outcome, String), StepError> {
        let chmod = transfer.chmod.as_deref().map(ModeChange::parse).transpose()?;
        let (mut sources, mut selection) = self.sources(transfer, id)?;
        let key = stage.transfer_key(transfer, &sources.digest);
        let history = transfer_history(step, transfer, &sources);
        if let Some(layer) = stage.cached(&key)? {
            stage.take(layer, history)?;
            return Ok((Outcome::Cached, String::new()));
        }
        if let Some(found) = &selection
            && !self.is_stored(found)?
        {
            // Files that the memo knows may have been pruned from the store.
            self.context.forget();
            (sources, selection) = self.sources(transfer, id)?;
        }
        let selection = match selection {
            Some(selection) => selection,
            None => self.select(transfer, id)?,
        };
        let key = stage.transfer_key(transfer, &sources.digest);
        let copied = stage.copy(transfer, selection, chmod)?;
        stage.commit(&key, history)?;
        Ok((Outcome::Done, shown(&copied)))
    }

    /// What the sources are, and the sources themselves if they had to be looked at.
    fn sources(
        &mut self,
        transfer: &Transfer,
        id: StepId,
    ) -> Result<(Sources, Option<Selection<'static>>), StepError> {
        let Some(from) = &transfer.from else {
            let selection = self.select(transfer, id)?;
            return Ok((Sources::of(&selection), Some(selection)));
        };
        // What is in a stage or image is known by its layers; the hash of a part of it is remembered.
        let sources = transfer.sources.iter().map(|source| match source {
            TransferSource::Path(path) => format!("path {path}"),
            TransferSource::Inline { name, text } => format!("inline {name} {text}"),
        });
        let known = KeyHasher::new("osmith build 1: hash of a part of a tree")
            .bytes(key::chain(&self.layers_of(from)?))
            .list(sources)
            .list(&transfer.excludes)
            .finish();
        if let Some(sources) = self
            .store
            .cache_get(&known)?
            .and_then(|bytes| Sources::from_bytes(&bytes))
        {
            return Ok((sources, None));
        }
        let selection = self.select(transfer, id)?;
        let sources = Sources::of(&selection);
        self.store.cache_put(&known, &sources.to_bytes(), &[])?;
        Ok((sources, Some(selection)))
    }

    fn layers_of(&self, from: &Origin) -> Result<Vec<LayerId>, StepError> {
        Ok(match from {
            Origin::Scratch => Vec::new(),
            Origin::Stage(position) => self
                .built
                .get(*position)
                .map(|built| built.layers.clone())
                .unwrap_or_default(),
            Origin::Image(name) => match self.images.get(name) {
                Some(image) => image.layers(self.store)?,
                None => Vec::new(),
            },
        })
    }

    fn select(&mut self, transfer: &Transfer, id: StepId) -> Result<Selection<'static>, StepError> {
        let excludes = Ignore::excludes(&transfer.excludes).map_err(SelectError::BadPattern)?;
        let paths: Vec<String> = transfer
            .sources
            .iter()
            .filter_map(|source| match source {
                TransferSource::Path(path) => Some(path.clone()),
                TransferSource::Inline { .. } => None,
            })
            .collect();
        let watch = Watch {
            observer: self.observer,
            step: id,
        };
        let mut selection = match &transfer.from {
            _ if paths.is_empty() => Selection::empty(),
            Some(from) => {
                let tree = self.store.merge(&self.layers_of(from)?)?;
                tree_selection(&tree, &paths, &excludes)?.into_owned()
            }
            None => self.context.select(&paths, &excludes, watch)?,
        };
        selection.is_several |= transfer.sources.len() > 1;
        self.add_inline(transfer, &mut selection)?;
        Ok(selection)
    }

    /// Files whose text stands in the Containerfile.
    fn add_inline(&self, transfer: &Transfer, selection: &mut Selection<'static>) -> Result<(), StepError> {
        for source in &transfer.sources {
            let TransferSource::Inline { name, text } = source else {
                continue;
            };
            let content = self.store.put_bytes(text.as_bytes())?;
            let inode = selection.tree.to_mut().add(Inode {
                metadata: Metadata {
                    mode: 0o644,
                    mtime: self.request.now(),
                    ..Metadata::default()
                },
                node: Node::Regular(content),
            });
            selection.items.push(Item {
                name: name.as_bytes().into(),
                inode,
                is_unpacked: false,
            });
        }
        Ok(())
    }

    fn is_stored(&self, selection: &Selection<'_>) -> Result<bool, StepError> {
        for (_, id) in selection.tree.walk() {
            if let Node::Regular(content) = &selection.tree.inode(id).node
                && !self.store.contains_object(content)?
            {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn run_command(
        &mut self,
        stage: &mut Stage<'b>,
        step: &Step,
        run: &Run,
        id: StepId,
    ) -> Result<(Outcome, String), StepError> {
        let key = stage.run_key(run);
        if let Some(layer) = stage.cached(&key)? {
            stage.take(layer, step.history.clone())?;
            return Ok((Outcome::Cached, String::new()));
        }
        let accounts = Accounts::read(self.store, stage.draft()?.tree())?;
        let spec = run_spec(run, &accounts, self.request)?;
        let layer = self
            .build_root
            .run(stage.draft()?.tree(), &spec, self.observer, id)?;
        let count = layer.len();
        let layer = stage.draft()?.absorb(layer)?;
        stage.keep(&key, layer, step.history.clone())?;
        Ok((Outcome::Done, format!("{count} changes")))
    }
}

impl Sources {
    const KINDS: [&str; 3] = ["file", "dir", "multi"];

    fn of(selection: &Selection<'_>) -> Self {
        let kind = match selection.items.as_slice() {
            [one] if selection.tree.inode(one.inode).entries().is_some() => "dir",
            [_] => "file",
            _ => "multi",
        };
        Sources {
            digest: key::selection(selection),
            kind,
        }
    }

    fn to_bytes(&self) -> Vec<u8> {
        [&self.digest[..], self.kind.as_bytes()].concat()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (digest, kind) = bytes.split_first_chunk()?;
        let kind = Self::KINDS.into_iter().find(|known| known.as_bytes() == kind)?;
        Some(Sources {
            digest: *digest,
            kind,
        })
    }
}

impl Built {
    fn empty() -> Self {
        Built {
            sources: Vec::new(),
            layers: Vec::new(),
            base_layers: 0,
            past: Vec::new(),
            base: None,
        }
    }

    fn of_image(name: &str, image: &Image, layers: Vec<LayerId>) -> Self {
        Built {
            sources: image.layer_sources(),
            base_layers: layers.len(),
            layers,
            past: Vec::new(),
            base: Some((name.to_owned(), image.clone())),
        }
    }
}

/// `COPY dir:HASH in DESTINATION`, as podman says it.
fn transfer_history(step: &Step, transfer: &Transfer, sources: &Sources) -> String {
    let name = if transfer.extracts { "ADD" } else { "COPY" };
    let hash: String = sources.digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let destination = step.title.split_whitespace().last().unwrap_or_default();
    format!(
        "/bin/sh -c #(nop) {name} {}:{hash} in {destination} ",
        sources.kind
    )
}

fn shown(copied: &Copied) -> String {
    let files = if copied.files == 1 { "file" } else { "files" };
    format!("{} in {} {files}", size(copied.size_bytes), copied.files)
}

fn size(size_bytes: u64) -> String {
    let units = ["kB", "MB", "GB", "TB"];
    let mut value = size_bytes as f64;
    let mut unit = "bytes";
    for next in units {
        if value < 1000.0 {
            break;
        }
        value /= 1000.0;
        unit = next;
    }
    match unit {
        "bytes" => format!("{size_bytes} bytes"),
        unit => format!("{value:.1} {unit}"),
    }
}
