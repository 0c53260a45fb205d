//! What files of a build context contained when they were last read.
//!
//! A file is the one that was read if device, inode, length, modification and change time are the same, so an
//! unchanged context costs one look at each file. The change time cannot be set back by programs. A file that changed
//! within the granularity of the clock before it was read is not remembered.

use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use osmith_formats::tree::{Content, Xattrs};
use osmith_formats::verity::Digest;
use serde::{Deserialize, Serialize};

/// Twice the slowest clock of Linux (100 Hz).
const CLOCK_GRANULARITY: Duration = Duration::from_millis(20);
/// Files that were not seen in the last build are forgotten when there are more of them than this.
const UNSEEN_MAX: usize = 100_000;

/// What tells one state of a file from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct FileKey {
    pub(super) device: u64,
    pub(super) inode: u64,
    pub(super) size_bytes: u64,
    /// Seconds and nanoseconds.
    pub(super) mtime: (i64, u32),
    /// Seconds and nanoseconds.
    pub(super) ctime: (i64, u32),
}

#[derive(Debug, Clone, Serialize, Deserialize)]
enum Known {
    Inline(Vec<u8>),
    Object(Vec<u8>, u64),
}

#[derive(Debug, Serialize, Deserialize)]
struct Record {
    key: FileKey,
    content: Known,
    xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// A file's contents and attributes.
pub(super) type Remembered = (Content, Xattrs);

/// Contents by file.
#[derive(Debug, Default)]
pub(super) struct Memo {
    known: HashMap<FileKey, (Remembered, bool)>,
    has_news: bool,
}

impl Memo {
    /// Reads what [`Memo::to_bytes`] wrote; anything else is an empty memo.
    pub(super) fn from_bytes(bytes: &[u8]) -> Memo {
        let records: Vec<Record> = postcard::from_bytes(bytes).unwrap_or_default();
        let known = records.into_iter().filter_map(|record| {
            let content = match record.content {
                Known::Inline(bytes) => Content::Inline(bytes.into()),
                Known::Object(digest, size_bytes) => Content::Object {
                    digest: Digest::new(digest.try_into().ok()?),
                    size_bytes,
                },
            };
            let xattrs = record.xattrs.into_iter().collect();
            Some((record.key, ((content, xattrs), false)))
        });
        Memo {
            known: known.collect(),
            has_news: false,
        }
    }

    /// What a file contains; it counts as seen.
    pub(super) fn recall(&mut self, key: &FileKey) -> Option<Remembered> {
        let (remembered, seen) = self.known.get_mut(key)?;
        *seen = true;
        Some(remembered.clone())
    }

    /// Remembers a file that was read from `began` on.
    pub(super) fn remember(&mut self, key: FileKey, remembered: Remembered, began: SystemTime) {
        let (seconds, nanoseconds) = key.ctime;
        let changed = u64::try_from(seconds).map(|seconds| UNIX_EPOCH + Duration::new(seconds, nanoseconds));
        let settled = changed.is_ok_and(|changed| changed + CLOCK_GRANULARITY < began);
        if settled {
            self.known.insert(key, (remembered, true));
            self.has_news = true;
        }
    }

    /// The memo for the next build; `None` if nothing is new.
    pub(super) fn to_bytes(&self) -> Option<Vec<u8>> {
        if !self.has_news {
            return None;
        }
        let unseen = self.known.values().filter(|(_, seen)| !seen).count();
        let kept = self
            .known
            .iter()
            .filter(|(_, (_, seen))| *seen || unseen <= UNSEEN_MAX);
        let records: Vec<Record> = kept
            .map(|(key, ((content, xattrs), _))| record(*key, content, xattrs))
            .collect();
        postcard::to_stdvec(&records).ok()
    }
}

fn record(key: FileKey, content: &Content, xattrs: &Xattrs) -> Record {
    Record {
        key,
        content: match content {
            Content::Inline(bytes) => Known::Inline(bytes.to_vec()),
            Content::Object { digest, size_bytes } => Known::Object(digest.as_bytes().to_vec(), *size_bytes),
        },
        xattrs: xattrs
            .iter()
            .map(|(name, value)| (name.to_vec(), value.to_vec()))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(ctime_seconds: i64) -> FileKey {
        FileKey {
            device: 1,
            inode: 2,
            size_bytes: 3,
            mtime: (4, 5),
            ctime: (ctime_seconds, 0),
        }
    }

    #[test]
    fn settled_files_are_remembered_and_fresh_ones_are_not() {
        let now = UNIX_EPOCH + Duration::from_secs(1000);
        let mut memo = Memo::default();
        assert_eq!(memo.to_bytes(), None);
        let content = Content::Object {
            digest: Digest::of(&[7; 100]),
            size_bytes: 100,
        };
        let remembered = (content, Xattrs::from_iter([(&b"user.a"[..], &b"b"[..])]));
        memo.remember(key(1000), remembered.clone(), now);
        assert_eq!(memo.recall(&key(1000)), None);
        memo.remember(key(999), remembered.clone(), now);
        let mut again = Memo::from_bytes(&memo.to_bytes().unwrap());
        assert_eq!(again.recall(&key(999)), Some(remembered));
        assert_eq!(again.recall(&key(998)), None);
        assert_eq!(again.to_bytes(), None);
        assert!(Memo::from_bytes(b"\xff\xff").known.is_empty());
    }
}
