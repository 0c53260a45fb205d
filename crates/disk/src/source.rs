//! Where contents come from, and the proof that they are what their name says.
//!
//! Threads read parts of a source in any order. Each part's blocks are hashed as they pass; whoever delivers the last
//! one puts the hashes together, compares the digest with the name of the object, and leaves the verity region for
//! the chunk that holds it.

use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use osmith_formats::ext4;
use osmith_formats::verity::{BLOCK_BYTES, HASH_BYTES, Measured};
use osmith_image::store::Store;
use osmith_machine::install::{FileData, InstallFile};

use crate::error::WriteError;

/// All sources of a disk while it is written.
pub(crate) struct Sources<'a> {
    store: &'a Store,
    entries: Vec<Entry<'a>>,
    stopped: AtomicBool,
}

struct Entry<'a> {
    source: &'a InstallFile,
    measuring: Mutex<Measuring>,
    measured: Condvar,
}

/// How far a source is.
enum Measuring {
    /// Nothing was read.
    Untouched,
    /// The hashes of blocks, and how many blocks are still to come.
    Hashing { leaves: Vec<u8>, missing_blocks: u64 },
    /// The verity region, and how many of its bytes are still to be written.
    Region {
        bytes: Arc<Vec<u8>>,
        unwritten_bytes: u64,
    },
    /// All is written.
    Done,
}

impl<'a> Sources<'a> {
    pub(crate) fn new(sources: &'a [InstallFile], store: &'a Store) -> Self {
        let entry = |source| Entry {
            source,
            measuring: Mutex::new(Measuring::Untouched),
            measured: Condvar::new(),
        };
        Sources {
            store,
            entries: sources.iter().map(entry).collect(),
            stopped: AtomicBool::new(false),
        }
    }

    /// Fills `buffer` with the contents of a source from `at_bytes` on.
    pub(crate) fn read(&self, source: usize, at_bytes: u64, buffer: &mut [u8]) -> Result<(), WriteError> {
        match &self.entry(source)?.source.data {
            FileData::Bytes(bytes) => {
                let from = bytes
                    .get(at_bytes as usize..)
                    .and_then(|rest| rest.get(..buffer.len()));
                buffer.copy_from_slice(from.ok_or(WriteError::Inconsistent("a source is too short"))?);
                Ok(())
            }
            FileData::Object { digest, .. } => {
                let file = self.store.read_object(digest)?;
                file.read_exact_at(buffer, at_bytes)
                    .map_err(|error| match error.kind() {
                        std::io::ErrorKind::UnexpectedEof => WriteError::damaged(digest),
                        _ => WriteError::ReadObject {
                            digest: *digest,
                            source: error,
                        },
                    })
            }
        }
    }

    /// Whether the blocks of a source must be hashed.
    pub(crate) fn is_measured(&self, source: usize) -> Result<bool, WriteError> {
        self.entry(source).map(Entry::is_measured)
    }

    /// Takes the hashes of what was read from `at_bytes` on: whole blocks, the last one of the file padded with zeros.
    pub(crate) fn take_hashes(&self, source: usize, at_bytes: u64, hashes: &[u8]) -> Result<(), WriteError> {
        let entry = self.entry(source)?;
        let first = at_bytes as usize / BLOCK_BYTES * HASH_BYTES;
        let mut measuring = entry.lock();
        measuring.begin(entry.source.data.size_bytes());
        let Measuring::Hashing {
            leaves,
            missing_blocks,
        } = &mut *measuring
        else {
            return Err(WriteError::Inconsistent("a source was read twice"));
        };
        let place = leaves.get_mut(first..first + hashes.len());
        place
            .ok_or(WriteError::Inconsistent("a source is too long"))?
            .copy_from_slice(hashes);
        *missing_blocks = missing_blocks.saturating_sub((hashes.len() / HASH_BYTES) as u64);
        if *missing_blocks == 0 {
            let leaves = std::mem::take(leaves);
            *measuring = entry.conclude(leaves)?;
            entry.measured.notify_all();
        }
        Ok(())
    }

    /// Fills `buffer` with the verity region of a source from `at_bytes` on; waits until the source is measured.
    pub(crate) fn verity(&self, source: usize, at_bytes: u64, buffer: &mut [u8]) -> Result<(), WriteError> {
        let entry = self.entry(source)?;
        let mut measuring = entry.lock();
        loop {
            if entry.source.data.size_bytes() == 0 && matches!(*measuring, Measuring::Untouched) {
                *measuring = entry.conclude(Vec::new())?;
            }
            if let Measuring::Region {
                bytes,
                unwritten_bytes,
            } = &mut *measuring
            {
                let bytes = Arc::clone(bytes);
                *unwritten_bytes = unwritten_bytes.saturating_sub(buffer.len() as u64);
                if *unwritten_bytes == 0 {
                    *measuring = Measuring::Done;
                }
                drop(measuring);
                let from = bytes
                    .get(at_bytes as usize..)
                    .and_then(|rest| rest.get(..buffer.len()));
                buffer.copy_from_slice(from.ok_or(WriteError::Inconsistent("a verity region is too short"))?);
                return Ok(());
            }
            if self.stopped.load(Ordering::Acquire) {
                return Err(WriteError::Stopped);
            }
            measuring = entry
                .measured
                .wait(measuring)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Wakes all who wait, to tell them that there is nothing to wait for.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        for entry in &self.entries {
            let _held = entry.lock();
            entry.measured.notify_all();
        }
    }

    fn entry(&self, source: usize) -> Result<&Entry<'a>, WriteError> {
        self.entries
            .get(source)
            .ok_or(WriteError::Inconsistent("a source has no number"))
    }
}

impl Entry<'_> {
    fn lock(&self) -> MutexGuard<'_, Measuring> {
        self.measuring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there is something to compare, or a region to write.
    fn is_measured(&self) -> bool {
        self.source.verity || matches!(self.source.data, FileData::Object { .. })
    }

    /// Compares the digest; what comes next.
    fn conclude(&self, leaves: Vec<u8>) -> Result<Measuring, WriteError> {
        let measured = Measured::from_leaves(self.source.data.size_bytes(), leaves);
        match &self.source.data {
            FileData::Object { digest, .. } if *digest != measured.digest => {
                return Err(WriteError::damaged(digest));
            }
            _ => {}
        }
        if !self.source.verity {
            return Ok(Measuring::Done);
        }
        let bytes = ext4::verity_region(&measured);
        Ok(Measuring::Region {
            unwritten_bytes: bytes.len() as u64,
            bytes: Arc::new(bytes),
        })
    }
}

impl Measuring {
    /// Makes room for the hashes of a source of that length, once.
    fn begin(&mut self, size_bytes: u64) {
        if matches!(self, Measuring::Untouched) {
            let missing_blocks = size_bytes.div_ceil(BLOCK_BYTES as u64);
            let leaves = vec![0; missing_blocks as usize * HASH_BYTES];
            *self = Measuring::Hashing {
                leaves,
                missing_blocks,
            };
        }
    }
}
