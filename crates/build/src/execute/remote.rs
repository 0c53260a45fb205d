//! Sources of ADD on servers: files and git repositories.

use osmith_formats::tree::{Content, Inode, Metadata, Node, Timestamp};
use osmith_formats::verity::Digest;
use osmith_image::Sha256Digest;
use osmith_image::registry::Validators;
use osmith_report::StepId;
use serde::{Deserialize, Serialize};

use super::Execution;
use crate::copy::{Item, Selection};
use crate::error::StepError;
use crate::git::{Checkout, Repository};
use crate::key::KeyHasher;
use crate::plan::Transfer;

/// What is remembered of a file.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Known {
    validators: Validators,
    sha256: [u8; 32],
    content: KnownContent,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
enum KnownContent {
    Inline(Vec<u8>),
    Object(Vec<u8>, u64),
}

impl Execution<'_> {
    /// Adds the file of a URL: mode 0600, of the time that the server says.
    pub(super) fn add_url(
        &self,
        url: &str,
        transfer: &Transfer,
        id: StepId,
        selection: &mut Selection<'static>,
    ) -> Result<(), StepError> {
        let name = file_name(url).ok_or_else(|| StepError::UrlName(url.to_owned()))?;
        let (content, validators) = self.fetched(url, transfer.checksum.as_deref(), id)?;
        let inode = selection.tree.to_mut().add(Inode {
            metadata: Metadata {
                mode: 0o600,
                mtime: Timestamp {
                    seconds: validators.modified().unwrap_or(0),
                    nanoseconds: 0,
                },
                ..Metadata::default()
            },
            node: Node::Regular(content),
        });
        selection.items.push(Item {
            name: name.as_bytes().into(),
            above: Vec::new(),
            inode,
            is_unpacked: false,
            is_download: true,
        });
        Ok(())
    }

    /// The contents of a URL: as they are known, if they are wanted by their checksum or the server says that they are
    /// still the same.
    fn fetched(
        &self,
        url: &str,
        checksum: Option<&str>,
        id: StepId,
    ) -> Result<(Content, Validators), StepError> {
        let store = self.workplace.store;
        let key = KeyHasher::new("osmith build 1: contents of a URL")
            .bytes(url)
            .finish();
        let known = store.cache_get(&key)?;
        let known: Option<Known> = known.and_then(|bytes| postcard::from_bytes(&bytes).ok());
        let known = known.and_then(|known| Some((known.content()?, known)));
        let known = match known {
            Some((content, known)) if store.contains_object(&content)? => Some((content, known)),
            _ => None,
        };
        if let (Some((content, known)), Some(wanted)) = (&known, checksum)
            && Sha256Digest::new(known.sha256).hex() == wanted
        {
            return Ok((content.clone(), known.validators.clone()));
        }
        let nothing = Validators::default();
        let validators = known.as_ref().map_or(&nothing, |(_, known)| &known.validators);
        let outside = self.workplace.outside;
        let Some(new) = outside.download(url, validators, store, self.observer, id)? else {
            let (content, known) = known.ok_or_else(|| StepError::Unchanged(url.to_owned()))?;
            require_checksum(url, &Sha256Digest::new(known.sha256), checksum)?;
            return Ok((content, known.validators));
        };
        require_checksum(url, &new.sha256, checksum)?;
        let known = Known {
            validators: new.validators.clone(),
            sha256: *new.sha256.as_bytes(),
            content: KnownContent::of(&new.content),
        };
        if let Ok(bytes) = postcard::to_stdvec(&known) {
            store.cache_put(&key, &bytes, &[])?;
        }
        Ok((new.content, new.validators))
    }

    /// Adds the files of a git repository, all with the time of the commit.
    pub(super) fn add_repository(
        &self,
        text: &str,
        transfer: &Transfer,
        id: StepId,
        selection: &mut Selection<'static>,
    ) -> Result<(), StepError> {
        let store = self.workplace.store;
        let work = store.work_directory()?;
        let checkout = Checkout {
            repository: Repository::parse(text),
            keeps_git_directory: transfer.keeps_git_directory,
        };
        let files = checkout.files(store, work.path(), self.observer, id)?;
        let Selection { tree, mut items, .. } = files;
        let Some(mut item) = items.pop() else {
            return Ok(());
        };
        let mut tree = tree.into_owned();
        let part = tree.split_off(item.inode);
        item.inode = selection.tree.to_mut().append(part);
        selection.items.push(item);
        Ok(())
    }
}

impl Known {
    fn content(&self) -> Option<Content> {
        Some(match &self.content {
            KnownContent::Inline(bytes) => Content::Inline(bytes.as_slice().into()),
            KnownContent::Object(digest, size_bytes) => Content::Object {
                digest: Digest::new(digest.as_slice().try_into().ok()?),
                size_bytes: *size_bytes,
            },
        })
    }
}

impl KnownContent {
    fn of(content: &Content) -> Self {
        match content {
            Content::Inline(bytes) => KnownContent::Inline(bytes.to_vec()),
            Content::Object { digest, size_bytes } => {
                KnownContent::Object(digest.as_bytes().to_vec(), *size_bytes)
            }
        }
    }
}

fn require_checksum(url: &str, found: &Sha256Digest, wanted: Option<&str>) -> Result<(), StepError> {
    match wanted {
        Some(wanted) if found.hex() != wanted => Err(StepError::Checksum {
            url: url.to_owned(),
            wanted: format!("sha256:{wanted}"),
            found: found.to_string(),
        }),
        _ => Ok(()),
    }
}

/// The last name of a URL's path.
fn file_name(url: &str) -> Option<String> {
    let path = url.split(['?', '#']).next()?;
    let (_, after_scheme) = path.split_once("://")?;
    let (_, path) = after_scheme.split_once('/')?;
    let name = path.rsplit('/').next()?;
    let name = percent_decoded(name);
    (!name.is_empty() && !matches!(name.as_str(), "." | "..") && !name.contains('/')).then_some(name)
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let escaped = match (first, after.get(..2)) {
            (b'%', Some(digits)) => str::from_utf8(digits)
                .ok()
                .and_then(|digits| u8::from_str_radix(digits, 16).ok()),
            _ => None,
        };
        bytes.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() {
            after.get(2..).unwrap_or_default()
        } else {
            after
        };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::file_name;

    #[test]
    fn files_are_called_like_the_end_of_their_address() {
        for (url, expected) in [
            ("https://host/a/b.tar.gz?x=1#y", Some("b.tar.gz")),
            ("http://host/a%20b", Some("a b")),
            ("http://host/%zz", Some("%zz")),
            ("http://host/", None),
            ("http://host", None),
            ("http://host/a/..", None),
            ("http://host/%2e%2e", None),
            ("http://host/a%2Fb", None),
        ] {
            assert_eq!(file_name(url).as_deref(), expected, "{url}");
        }
    }
}
