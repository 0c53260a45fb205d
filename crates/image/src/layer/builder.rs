//! Brings changes in any order into the normal form of a layer.

use std::collections::BTreeMap;

use osmith_formats::tree::Metadata;

use super::{Entry, Layer, LayerError, LayerNode, LayerPath};

/// Collects changes, the later ones of a path winning, as when a tar archive is extracted.
///
/// Whiteouts and opaque directories only hide what lower layers have, wherever they come in the order.
#[derive(Debug, Default)]
pub struct LayerBuilder {
    changes: BTreeMap<LayerPath, Change>,
    files: Vec<(Metadata, LayerNode)>,
}

#[derive(Debug, Clone)]
enum Change {
    Whiteout,
    Opaque,
    Directory {
        metadata: Metadata,
        opaque: bool,
    },
    /// A name of a file of [`LayerBuilder::files`].
    File(usize),
    Lower(LayerPath),
}

impl LayerBuilder {
    /// A builder of a layer that changes nothing so far.
    pub fn new() -> Self {
        Self::default()
    }

    /// Removes what lower layers have at `path`.
    pub fn whiteout(&mut self, path: LayerPath) -> Result<(), LayerError> {
        if path.is_root() {
            return Err(LayerError::Root);
        }
        if self.is_removed(&path) {
            return Ok(());
        }
        self.require_directories(&path)?;
        let has_files = self.has_files(&path);
        match self.changes.get_mut(&path) {
            Some(Change::Directory { opaque, .. }) => *opaque = true,
            Some(Change::File(_) | Change::Lower(_) | Change::Whiteout) => {}
            Some(Change::Opaque) | None if has_files => {
                self.changes.insert(path, implied_directory());
            }
            Some(Change::Opaque) | None => self.put(path, Change::Whiteout)?,
        }
        Ok(())
    }

    /// Removes what lower layers have in the directory `path`.
    pub fn opaque(&mut self, path: LayerPath) -> Result<(), LayerError> {
        if self.is_removed(&path) {
            return Ok(());
        }
        self.require_directories(&path)?;
        match self.changes.get_mut(&path) {
            Some(Change::Directory { opaque, .. }) => *opaque = true,
            Some(Change::File(_) | Change::Lower(_)) => return Err(below_file(path.join(b"*"), &path)),
            Some(Change::Whiteout | Change::Opaque) => {}
            None => {
                self.changes.insert(path, Change::Opaque);
            }
        }
        Ok(())
    }

    /// Puts a file at `path`.
    pub fn add(&mut self, path: LayerPath, metadata: Metadata, node: LayerNode) -> Result<(), LayerError> {
        self.require_directories(&path)?;
        if let LayerNode::Directory { opaque } = node {
            let opaque = opaque
                || match self.changes.get(&path) {
                    Some(Change::Directory { opaque, .. }) => *opaque,
                    Some(Change::Whiteout | Change::Opaque) => true,
                    // A file of this layer was there, so nothing of lower layers shows.
                    Some(Change::File(_) | Change::Lower(_)) => true,
                    None => false,
                };
            self.changes.insert(path, Change::Directory { metadata, opaque });
            return Ok(());
        }
        self.files.push((metadata, node));
        self.put(path, Change::File(self.files.len() - 1))
    }

    /// Gives the file at `target` one more name.
    pub fn hard_link(&mut self, path: LayerPath, target: LayerPath) -> Result<(), LayerError> {
        self.require_directories(&path)?;
        let to_directory = || LayerError::LinkToDirectory {
            path: path.to_string(),
            target: target.to_string(),
        };
        let change = match self.changes.get(&target) {
            _ if path == target && self.changes.contains_key(&path) => return Ok(()),
            Some(Change::File(index)) => Change::File(*index),
            Some(Change::Lower(lower)) => Change::Lower(lower.clone()),
            Some(Change::Directory { .. } | Change::Opaque) => return Err(to_directory()),
            Some(Change::Whiteout) | None => Change::Lower(target),
        };
        self.put(path, change)
    }

    /// The layer.
    pub fn finish(self) -> Layer {
        let mut first_names: Vec<Option<LayerPath>> = vec![None; self.files.len()];
        let mut files: Vec<_> = self.files.into_iter().map(Some).collect();
        let mut entries = Vec::with_capacity(self.changes.len());
        for (path, change) in self.changes {
            let entry = match change {
                Change::Whiteout => Entry::Whiteout,
                Change::Opaque => Entry::Opaque,
                Change::Directory { metadata, opaque } => Entry::Node {
                    metadata,
                    node: LayerNode::Directory { opaque },
                },
                Change::Lower(target) => Entry::LowerLink(target),
                Change::File(index) => match files.get_mut(index).and_then(Option::take) {
                    Some((metadata, node)) => {
                        if let Some(name) = first_names.get_mut(index) {
                            *name = Some(path.clone());
                        }
                        Entry::Node { metadata, node }
                    }
                    None => match first_names.get(index).cloned().flatten() {
                        Some(first) => Entry::HardLink(first),
                        None => continue,
                    },
                },
            };
            entries.push((path, entry));
        }
        Layer { entries }
    }

    /// Puts something that is no directory at `path`; what was there, and below it, is replaced.
    fn put(&mut self, path: LayerPath, change: Change) -> Result<(), LayerError> {
        if path.is_root() {
            return Err(LayerError::Root);
        }
        if matches!(
            self.changes.get(&path),
            Some(Change::Directory { .. } | Change::Opaque) | None
        ) {
            for below in self.paths_below(&path) {
                self.changes.remove(&below);
            }
        }
        self.changes.insert(path, change);
        Ok(())
    }

    /// Everything above `path` is a directory, or unknown to this layer. A whiteout above becomes a directory that
    /// hides what lower layers have.
    fn require_directories(&mut self, path: &LayerPath) -> Result<(), LayerError> {
        for ancestor in path.ancestors() {
            match self.changes.get_mut(&ancestor) {
                Some(Change::File(_) | Change::Lower(_)) => return Err(below_file(path.clone(), &ancestor)),
                Some(change @ Change::Whiteout) => {
                    *change = implied_directory();
                    return Ok(());
                }
                Some(Change::Directory { .. } | Change::Opaque) => return Ok(()),
                None => {}
            }
        }
        Ok(())
    }

    /// Whether a whiteout of this layer is above the path.
    fn is_removed(&self, path: &LayerPath) -> bool {
        path.ancestors()
            .any(|ancestor| matches!(self.changes.get(&ancestor), Some(Change::Whiteout)))
    }

    /// Whether the layer puts something below the path.
    fn has_files(&self, path: &LayerPath) -> bool {
        self.changes
            .range(path.join(b"")..)
            .take_while(|(found, _)| found.is_below(path))
            .any(|(_, change)| !matches!(change, Change::Whiteout | Change::Opaque))
    }

    fn paths_below(&self, path: &LayerPath) -> Vec<LayerPath> {
        self.changes
            .range(path.join(b"")..)
            .map(|(found, _)| found)
            .take_while(|found| found.is_below(path))
            .cloned()
            .collect()
    }
}

/// A directory that only other paths speak of.
pub(super) fn implied_metadata() -> Metadata {
    Metadata {
        mode: 0o755,
        ..Metadata::default()
    }
}

fn implied_directory() -> Change {
    Change::Directory {
        metadata: implied_metadata(),
        opaque: true,
    }
}

fn below_file(path: LayerPath, ancestor: &LayerPath) -> LayerError {
    LayerError::BelowFile {
        path: path.to_string(),
        ancestor: ancestor.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use osmith_formats::tree::Content;

    use super::*;

    fn path(text: &str) -> LayerPath {
        LayerPath::parse(text.as_bytes()).unwrap()
    }

    fn file(text: &str) -> LayerNode {
        LayerNode::Regular(Content::Inline(text.as_bytes().into()))
    }

    fn directory() -> LayerNode {
        LayerNode::Directory { opaque: false }
    }

    fn paths(layer: &Layer) -> Vec<String> {
        layer.entries().map(|(path, _)| path.to_string()).collect()
    }

    fn is_opaque(layer: &Layer, text: &str) -> bool {
        matches!(
            layer.entry(&path(text)),
            Some(Entry::Node {
                node: LayerNode::Directory { opaque: true },
                ..
            })
        )
    }

    #[test]
    fn the_first_name_carries_the_file() {
        let mut builder = LayerBuilder::new();
        builder.add(path("z"), Metadata::default(), file("1")).unwrap();
        builder.hard_link(path("a"), path("z")).unwrap();
        builder.hard_link(path("b"), path("a")).unwrap();
        builder.add(path("z"), Metadata::default(), file("2")).unwrap();
        let layer = builder.finish();
        let content = |name: &str| layer.entry(&path(name)).cloned().unwrap();
        assert!(matches!(content("a"), Entry::Node { node, .. } if node == file("1")));
        assert_eq!(content("b"), Entry::HardLink(path("a")));
        assert!(matches!(content("z"), Entry::Node { node, .. } if node == file("2")));
    }

    type Step = fn(&mut LayerBuilder) -> Result<(), LayerError>;

    #[test]
    fn a_whiteout_and_a_directory_are_an_opaque_directory_in_either_order() {
        for whiteout_first in [true, false] {
            for with_directory in [true, false] {
                let mut builder = LayerBuilder::new();
                let mut steps: Vec<Step> = Vec::new();
                if with_directory {
                    steps.push(|builder| builder.add(path("d"), implied_metadata(), directory()));
                }
                steps.push(|builder| builder.add(path("d/x"), Metadata::default(), file("")));
                steps.insert(if whiteout_first { 0 } else { steps.len() }, |builder| {
                    builder.whiteout(path("d"))
                });
                for step in steps {
                    step(&mut builder).unwrap();
                }
                let layer = builder.finish();
                assert_eq!(paths(&layer), ["d", "d/x"]);
                assert!(is_opaque(&layer, "d"));
            }
        }
    }

    #[test]
    fn what_replaces_a_directory_removes_what_is_in_it() {
        let mut builder = LayerBuilder::new();
        for name in ["d/x", "d-y", "d/x2/z"] {
            builder.add(path(name), Metadata::default(), file("")).unwrap();
        }
        builder
            .add(path("d"), Metadata::default(), LayerNode::Fifo)
            .unwrap();
        assert_eq!(paths(&builder.finish()), ["d", "d-y"]);
    }

    #[test]
    fn nothing_lies_below_a_link() {
        let mut builder = LayerBuilder::new();
        let link = LayerNode::Symlink(b"/etc"[..].into());
        builder.add(path("lib"), Metadata::default(), link).unwrap();
        let error = builder
            .add(path("lib/x/y"), Metadata::default(), file(""))
            .unwrap_err();
        assert_eq!(error, below_file(path("lib/x/y"), &path("lib")));
        assert!(builder.whiteout(path("lib/x")).is_err());
        assert!(builder.opaque(path("lib")).is_err());
        assert!(builder.hard_link(path("lib/x"), path("lib")).is_err());
    }

    #[test]
    fn the_root_stays_a_directory() {
        let mut builder = LayerBuilder::new();
        let root = LayerPath::default();
        assert_eq!(builder.whiteout(root.clone()), Err(LayerError::Root));
        assert_eq!(
            builder.add(root.clone(), Metadata::default(), file("")),
            Err(LayerError::Root)
        );
        builder.add(path("x"), Metadata::default(), file("")).unwrap();
        assert_eq!(builder.hard_link(root.clone(), path("x")), Err(LayerError::Root));
        builder.opaque(root.clone()).unwrap();
        builder.add(root, implied_metadata(), directory()).unwrap();
        assert!(is_opaque(&builder.finish(), ""));
    }
}
