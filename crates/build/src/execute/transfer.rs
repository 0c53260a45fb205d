//! COPY and ADD: sources are found, their hash is looked up, and what is not known is copied.

use osmith_formats::tree::{Inode, Metadata, Node};
use osmith_report::{Outcome, StepId};

use super::Execution;
use crate::context::{Ignore, Watch};
use crate::copy::{Copied, Item, ModeChange, SelectError, Selection, tree_selection};
use crate::error::StepError;
use crate::key::{self, Key, KeyHasher};
use crate::plan::{Step, Transfer, TransferSource};
use crate::stage::Stage;

/// What the sources of a COPY are.
struct Sources {
    digest: Key,
    /// In the words of the history.
    kind: &'static str,
}

impl Execution<'_> {
    pub(super) fn transfer(
        &self,
        stage: &mut Stage<'_>,
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
            self.workplace.context.forget();
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
        &self,
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
            .workplace
            .store
            .cache_get(&known)?
            .and_then(|bytes| Sources::from_bytes(&bytes))
        {
            return Ok((sources, None));
        }
        let selection = self.select(transfer, id)?;
        let sources = Sources::of(&selection);
        self.workplace.store.cache_put(&known, &sources.to_bytes(), &[])?;
        Ok((sources, Some(selection)))
    }

    fn select(&self, transfer: &Transfer, id: StepId) -> Result<Selection<'static>, StepError> {
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
                let tree = self.workplace.store.merge(&self.layers_of(from)?)?;
                tree_selection(&tree, &paths, &excludes)?.into_owned()
            }
            None => self.workplace.context.select(&paths, &excludes, watch)?,
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
            let content = self.workplace.store.put_bytes(text.as_bytes())?;
            let inode = selection.tree.to_mut().add(Inode {
                metadata: Metadata {
                    mode: 0o644,
                    mtime: self.workplace.request.now(),
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
                && !self.workplace.store.contains_object(content)?
            {
                return Ok(false);
            }
        }
        Ok(true)
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
