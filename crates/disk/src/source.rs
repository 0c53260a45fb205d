//! Where contents come from, and the proof that they are what their name says.
//!
//! Threads read parts of a source in any order. Each part's blocks are hashed as they pass; whoever delivers the last
//! one puts the hashes together, compares the digest with the name of the object, and leaves the verity region for
//! the chunk that holds it.

use std::collections::HashMap;
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
    data: &'a [FileData],
    /// Of the sources under way alone: there are few of them at a time.
    measuring: Mutex<HashMap<u32, Measuring>>,
    measured: Condvar,
    stopped: AtomicBool,
}

/// How far a source is.
enum Measuring {
    /// The hashes of blocks, and how many blocks are still to come.
    Hashing { leaves: Vec<u8>, missing_blocks: u64 },
    /// The verity region, and how many of its bytes are still to be written.
    Region {
        bytes: Arc<Vec<u8>>,
        unwritten_bytes: u64,
    },
}

impl<'a> Sources<'a> {
    pub(crate) fn new(data: &'a [FileData], store: &'a Store) -> Self {
        Sources {
            store,
            data,
            measuring: Mutex::default(),
            measured: Condvar::new(),
            stopped: AtomicBool::new(false),
        }
    }

    /// Fills `buffer` with the contents of a file from `at_bytes` on.
    pub(crate) fn read(&self, file: InstallFile, at_bytes: u64, buffer: &mut [u8]) -> Result<(), WriteError> {
        match self.data(file)? {
            FileData::Bytes(bytes) => {
                let from = bytes
                    .get(at_bytes as usize..)
                    .and_then(|rest| rest.get(..buffer.len()));
                buffer.copy_from_slice(from.ok_or(WriteError::Inconsistent("a source is too short"))?);
                Ok(())
            }
            FileData::Record(path) => {
                let record = self.store.open_record(path)?;
                let read = record.read_exact_at(buffer, at_bytes);
                read.map_err(|source| WriteError::ReadRecord {
                    path: path.clone(),
                    source,
                })
            }
            FileData::Object(digest) => {
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

    /// Whether the blocks of a file must be hashed: there is something to compare, or a region to write.
    pub(crate) fn is_measured(&self, file: InstallFile) -> Result<bool, WriteError> {
        Ok(file.verity || matches!(self.data(file)?, FileData::Object(_)))
    }

    /// Takes the hashes of what was read from `at_bytes` on: whole blocks, the last one of the file padded with zeros.
    pub(crate) fn take_hashes(
        &self,
        file: InstallFile,
        at_bytes: u64,
        hashes: &[u8],
    ) -> Result<(), WriteError> {
        let first = at_bytes as usize / BLOCK_BYTES * HASH_BYTES;
        let mut measuring = self.lock();
        let of_file = measuring.entry(file.source);
        let Measuring::Hashing {
            leaves,
            missing_blocks,
        } = of_file.or_insert_with(|| Measuring::begin(file.size_bytes))
        else {
            return Err(WriteError::Inconsistent("a source was read twice"));
        };
        let place = leaves.get_mut(first..first + hashes.len());
        place
            .ok_or(WriteError::Inconsistent("a source is too long"))?
            .copy_from_slice(hashes);
        *missing_blocks = missing_blocks.saturating_sub((hashes.len() / HASH_BYTES) as u64);
        if *missing_blocks > 0 {
            return Ok(());
        }
        let leaves = std::mem::take(leaves);
        measuring.remove(&file.source);
        drop(measuring);
        self.conclude(file, leaves)
    }

    /// Fills `buffer` with the verity region of a file from `at_bytes` on; waits until the file is measured.
    pub(crate) fn verity(
        &self,
        file: InstallFile,
        at_bytes: u64,
        buffer: &mut [u8],
    ) -> Result<(), WriteError> {
        if file.size_bytes == 0 && at_bytes == 0 {
            self.conclude(file, Vec::new())?;
        }
        let bytes = self.region(file, buffer.len() as u64)?;
        let from = bytes
            .get(at_bytes as usize..)
            .and_then(|rest| rest.get(..buffer.len()));
        buffer.copy_from_slice(from.ok_or(WriteError::Inconsistent("a verity region is too short"))?);
        Ok(())
    }

    /// The verity region of a file, of which `len_bytes` are about to be written, as soon as the file is measured.
    fn region(&self, file: InstallFile, len_bytes: u64) -> Result<Arc<Vec<u8>>, WriteError> {
        let mut measuring = self.lock();
        loop {
            if let Some(Measuring::Region {
                bytes,
                unwritten_bytes,
            }) = measuring.get_mut(&file.source)
            {
                let bytes = Arc::clone(bytes);
                *unwritten_bytes = unwritten_bytes.saturating_sub(len_bytes);
                if *unwritten_bytes == 0 {
                    measuring.remove(&file.source);
                }
                return Ok(bytes);
            }
            if self.stopped.load(Ordering::Acquire) {
                return Err(WriteError::Stopped);
            }
            measuring = self
                .measured
                .wait(measuring)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Wakes all who wait, to tell them that there is nothing to wait for.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        let _held = self.lock();
        self.measured.notify_all();
    }

    /// Compares the digest, and leaves the region for who writes it.
    fn conclude(&self, file: InstallFile, leaves: Vec<u8>) -> Result<(), WriteError> {
        let measured = Measured::from_leaves(file.size_bytes, leaves);
        match self.data(file)? {
            FileData::Object(digest) if *digest != measured.digest => {
                return Err(WriteError::damaged(digest));
            }
            _ => {}
        }
        if file.verity {
            let bytes = ext4::verity_region(&measured);
            let region = Measuring::Region {
                unwritten_bytes: bytes.len() as u64,
                bytes: Arc::new(bytes),
            };
            self.lock().insert(file.source, region);
            self.measured.notify_all();
        }
        Ok(())
    }

    fn data(&self, file: InstallFile) -> Result<&'a FileData, WriteError> {
        self.data
            .get(file.source as usize)
            .ok_or(WriteError::Inconsistent("a source has no number"))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u32, Measuring>> {
        self.measuring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Measuring {
    /// Makes room for the hashes of a source of that length.
    fn begin(size_bytes: u64) -> Self {
        let missing_blocks = size_bytes.div_ceil(BLOCK_BYTES as u64);
        Measuring::Hashing {
            leaves: vec![0; missing_blocks as usize * HASH_BYTES],
            missing_blocks,
        }
    }
}
