//! Parts of the build context, of stages and of images: what they are called in keys, and their files.

use osmith_image::layer::LayerId;
use osmith_report::StepId;

use super::Execution;
use crate::context::{Context, Ignore, Watch};
use crate::copy::{SelectError, Selection, tree_selection};
use crate::error::StepError;
use crate::key::{self, Key, KeyHasher};
use crate::plan::Origin;

/// What is wanted.
pub(super) struct Part<'p> {
    /// Where it is; `None` for the build context.
    pub(super) from: Option<&'p Origin>,
    /// Paths and patterns there.
    pub(super) paths: Vec<String>,
    /// Patterns of what is left out.
    pub(super) excludes: &'p [String],
    /// Whether directories above count.
    pub(super) keeps_parents: bool,
}

/// What a part is.
pub(super) struct Summary {
    pub(super) digest: Key,
    /// In the words of the history.
    pub(super) kind: &'static str,
}

impl Execution<'_> {
    /// What the part is, and the part itself if it had to be looked at.
    pub(super) fn summary(
        &self,
        part: &Part<'_>,
        id: StepId,
    ) -> Result<(Summary, Option<Selection<'static>>), StepError> {
        let Some(layers) = self.layers_of(part.from)? else {
            let selection = self.stored(part, id)?;
            return Ok((Summary::of(&selection), Some(selection)));
        };
        // What is in a stage or image is known by its layers; the hash of a part of it is remembered.
        let known = KeyHasher::new("osmith build 2: hash of a part of a tree")
            .bytes(key::chain(&layers))
            .list(&part.paths)
            .list(part.excludes)
            .list(part.keeps_parents.then_some("parents"))
            .finish();
        let store = self.workplace.store;
        let remembered = store.cache_get(&known)?;
        if let Some(summary) = remembered.and_then(|bytes| Summary::from_bytes(&bytes)) {
            return Ok((summary, None));
        }
        let selection = self.select(part, id)?;
        let summary = Summary::of(&selection);
        store.cache_put(&known, &summary.to_bytes(), &[])?;
        Ok((summary, Some(selection)))
    }

    /// The files of a part.
    pub(super) fn select(&self, part: &Part<'_>, id: StepId) -> Result<Selection<'static>, StepError> {
        let excludes = Ignore::excludes(part.excludes).map_err(SelectError::BadPattern)?;
        if part.paths.is_empty() {
            return Ok(Selection::empty());
        }
        if let Some(layers) = self.layers_of(part.from)? {
            let tree = self.workplace.store.merge(&layers)?;
            let selection = tree_selection(&tree, &part.paths, &excludes, part.keeps_parents)?;
            return Ok(selection.into_owned());
        }
        let watch = Watch {
            observer: self.observer,
            step: id,
        };
        let context = self.context(part.from)?;
        Ok(context.select(&part.paths, &excludes, part.keeps_parents, watch)?)
    }

    /// The files of a part of a context, whose contents are in the store.
    fn stored(&self, part: &Part<'_>, id: StepId) -> Result<Selection<'static>, StepError> {
        let selection = self.select(part, id)?;
        if self.is_stored(&selection)? {
            return Ok(selection);
        }
        // Files that the memo knows may have been pruned from the store.
        self.context(part.from)?.forget();
        self.select(part, id)
    }

    fn is_stored(&self, selection: &Selection<'_>) -> Result<bool, StepError> {
        for (_, id) in selection.tree.walk() {
            if let osmith_formats::tree::Node::Regular(content) = &selection.tree.inode(id).node
                && !self.workplace.store.contains_object(content)?
            {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn context(&self, from: Option<&Origin>) -> Result<&Context<'_>, StepError> {
        match from {
            Some(Origin::Context(name)) => {
                let context = self.workplace.named_contexts.get(name);
                context.ok_or_else(|| StepError::NoContext(name.clone()))
            }
            _ => Ok(self.workplace.context),
        }
    }

    /// The layers of a stage or image; `None` for a context.
    fn layers_of(&self, from: Option<&Origin>) -> Result<Option<Vec<LayerId>>, StepError> {
        Ok(match from {
            None | Some(Origin::Context(_)) => None,
            Some(Origin::Scratch) => Some(Vec::new()),
            Some(Origin::Stage(position)) => {
                let built = self.stage_at(*position);
                Some(built.map(|built| built.layers.clone()).unwrap_or_default())
            }
            Some(Origin::Image(origin)) => Some(match self.workplace.images.get(origin) {
                Some(image) => image.layers(self.workplace.store)?,
                None => Vec::new(),
            }),
        })
    }
}

impl Summary {
    const KINDS: [&str; 3] = ["file", "dir", "multi"];

    pub(super) fn of(selection: &Selection<'_>) -> Self {
        let kind = match selection.items.as_slice() {
            [one] if selection.tree.inode(one.inode).entries().is_some() => "dir",
            [_] => "file",
            _ => "multi",
        };
        Summary {
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
        Some(Summary {
            digest: *digest,
            kind,
        })
    }
}
