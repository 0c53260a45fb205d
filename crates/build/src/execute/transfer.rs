//! COPY and ADD: sources are found, their hash is looked up, and what is not known is copied.

use osmith_formats::tree::{Inode, Metadata, Node};
use osmith_report::{Outcome, StepId};

use super::Execution;
use super::parts::{Part, Summary};
use crate::copy::{Copied, Item, ModeChange, Selection};
use crate::error::StepError;
use crate::plan::{Transfer, TransferSource};
use crate::stage::Stage;

impl Execution<'_> {
    pub(super) fn transfer(
        &self,
        stage: &mut Stage<'_>,
        transfer: &Transfer,
        id: StepId,
    ) -> Result<(Outcome, String), StepError> {
        let chmod = transfer.chmod.as_deref().map(ModeChange::parse).transpose()?;
        let part = part(transfer);
        let (summary, selection) = match transfer.has_only_paths() {
            true => self.summary(&part, id)?,
            false => {
                let selection = self.sources(transfer, &part, id)?;
                (Summary::of(&selection), Some(selection))
            }
        };
        let key = stage.transfer_key(transfer, &summary.digest)?;
        let history = transfer_history(transfer, &summary);
        if let Some(layer) = stage.cached(&key)? {
            match transfer.is_linked {
                true => stage.take_linked(layer, history)?,
                false => stage.take(layer, history)?,
            }
            return Ok((Outcome::Cached, String::new()));
        }
        let selection = match selection {
            Some(selection) => selection,
            None => self.sources(transfer, &part, id)?,
        };
        let copied = stage.copy(transfer, selection, chmod, &key, history)?;
        Ok((Outcome::Done, shown(&copied)))
    }

    fn sources(
        &self,
        transfer: &Transfer,
        part: &Part<'_>,
        id: StepId,
    ) -> Result<Selection<'static>, StepError> {
        let mut selection = self.select(part, id)?;
        selection.is_several |= transfer.sources.len() > 1;
        for source in &transfer.sources {
            match source {
                TransferSource::Path(_) => {}
                TransferSource::Inline { name, text } => self.add_inline(name, text, &mut selection)?,
                TransferSource::Url(url) => self.add_url(url, transfer, id, &mut selection)?,
                TransferSource::Git(text) => self.add_repository(text, transfer, id, &mut selection)?,
            }
        }
        Ok(selection)
    }

    /// A file whose text stands in the Containerfile.
    fn add_inline(
        &self,
        name: &str,
        text: &str,
        selection: &mut Selection<'static>,
    ) -> Result<(), StepError> {
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
            above: Vec::new(),
            inode,
            is_unpacked: false,
            is_download: false,
        });
        Ok(())
    }
}

fn part(transfer: &Transfer) -> Part<'_> {
    let path = |source: &TransferSource| match source {
        TransferSource::Path(path) => Some(path.clone()),
        _ => None,
    };
    Part {
        from: transfer.from.as_ref(),
        paths: transfer.sources.iter().filter_map(path).collect(),
        excludes: &transfer.excludes,
        keeps_parents: transfer.keeps_parents,
    }
}

/// `COPY dir:HASH in DESTINATION`, as podman says it.
fn transfer_history(transfer: &Transfer, summary: &Summary) -> String {
    let name = if transfer.is_add { "ADD" } else { "COPY" };
    let link = if transfer.is_linked { " --link" } else { "" };
    let hash: String = summary.digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let destination = &transfer.written_destination;
    format!(
        "/bin/sh -c #(nop) {name}{link} {}:{hash} in {destination} ",
        summary.kind
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
