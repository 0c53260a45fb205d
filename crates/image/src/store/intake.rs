//! Stores many contents at once: one thread brings them, as many as there are processors hash and write them.

use std::io::Write;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use osmith_formats::tree::Content;

use super::objects::Stored;
use super::{Store, StoreError, files};
use crate::parallel;

/// Contents up to this length are handed over in one piece.
pub(crate) const WHOLE_MAX_BYTES: usize = 1 << 20;
const WAITING_JOBS: usize = 16;
const WAITING_PIECES: usize = 8;

/// Takes contents; see [`Store::take_in`].
pub(crate) struct Intake<'a> {
    jobs: SyncSender<Job>,
    results: &'a Results,
}

/// Which of the contents that were taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slot(usize);

/// Takes the pieces of a long content.
pub(crate) struct Pieces(SyncSender<Vec<u8>>);

/// The contents of the slots.
#[derive(Debug)]
pub(crate) struct Contents {
    slots: Vec<Option<Content>>,
    objects: ObjectBytes,
}

/// The bytes of objects that came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct ObjectBytes {
    /// Of those that are new in the store.
    pub(crate) written: u64,
    /// Of those that were there.
    pub(crate) present: u64,
}

enum Job {
    Whole(Slot, Vec<u8>),
    Pieces(Slot, u64, Receiver<Vec<u8>>),
}

#[derive(Default)]
struct Results {
    contents: Mutex<Vec<Option<Content>>>,
    objects: Mutex<ObjectBytes>,
    failure: Mutex<Option<StoreError>>,
}

impl Contents {
    /// The content of a slot; `None` if the slot is of another intake.
    pub(crate) fn of(&self, slot: Slot) -> Option<&Content> {
        self.slots.get(slot.0)?.as_ref()
    }

    /// What came of all of them.
    pub(crate) fn object_bytes(&self) -> ObjectBytes {
        self.objects
    }
}

impl Store {
    /// Runs `bring` and stores what it brings. An error of the store goes before one of `bring`.
    pub(crate) fn take_in<T, E: From<StoreError>>(
        &self,
        bring: impl FnOnce(&Intake) -> Result<T, E>,
    ) -> Result<(T, Contents), E> {
        self.require_writable()?;
        let results = Results::default();
        let (sender, receiver) = sync_channel(WAITING_JOBS);
        let receiver = Mutex::new(receiver);
        let outcome = thread::scope(|scope| {
            let spawn = |_| scope.spawn(|| work(self, &receiver, &results));
            let threads: Vec<_> = (0..parallel::thread_count()).map(spawn).collect();
            let outcome = bring(&Intake {
                jobs: sender,
                results: &results,
            });
            for thread in threads {
                thread
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            }
            outcome
        });
        if let Some(error) = lock(&results.failure).take() {
            return Err(error.into());
        }
        let contents = Contents {
            slots: std::mem::take(&mut *lock(&results.contents)),
            objects: *lock(&results.objects),
        };
        Ok((outcome?, contents))
    }
}

impl Intake<'_> {
    /// Takes a content in one piece. Nothing comes of it if the intake has failed, which [`Store::take_in`] says.
    pub(crate) fn put(&self, bytes: Vec<u8>) -> Slot {
        let slot = self.slot();
        let _ = self.jobs.send(Job::Whole(slot, bytes));
        slot
    }

    /// Takes a content of that length in pieces. If fewer or more bytes come, nothing is stored.
    pub(crate) fn pieces(&self, size_bytes: u64) -> (Slot, Pieces) {
        let slot = self.slot();
        let (sender, receiver) = sync_channel(WAITING_PIECES);
        let _ = self.jobs.send(Job::Pieces(slot, size_bytes, receiver));
        (slot, Pieces(sender))
    }

    /// Whether going on makes no sense.
    pub(crate) fn has_failed(&self) -> bool {
        lock(&self.results.failure).is_some()
    }

    fn slot(&self) -> Slot {
        let mut contents = lock(&self.results.contents);
        contents.push(None);
        Slot(contents.len() - 1)
    }
}

impl Pieces {
    /// Takes the next piece.
    pub(crate) fn push(&self, piece: Vec<u8>) {
        // A receiver that is gone has left its reason in the failure.
        let _ = self.0.send(piece);
    }
}

fn work(store: &Store, jobs: &Mutex<Receiver<Job>>, results: &Results) {
    loop {
        let Ok(job) = lock(jobs).recv() else {
            return;
        };
        if lock(&results.failure).is_some() {
            continue;
        }
        let (slot, stored) = match job {
            Job::Whole(slot, bytes) => (slot, store.store_bytes(&bytes).map(Some)),
            Job::Pieces(slot, size_bytes, pieces) => (slot, store_pieces(store, size_bytes, &pieces)),
        };
        match stored {
            Ok(stored) => results.note(slot, stored),
            Err(error) => {
                lock(&results.failure).get_or_insert(error);
            }
        }
    }
}

impl Results {
    fn note(&self, slot: Slot, stored: Option<Stored>) {
        let Some(Stored { content, is_new }) = stored else {
            return;
        };
        if let Content::Object { size_bytes, .. } = content {
            let mut objects = lock(&self.objects);
            match is_new {
                true => objects.written += size_bytes,
                false => objects.present += size_bytes,
            }
        }
        if let Some(place) = lock(&self.contents).get_mut(slot.0) {
            *place = Some(content);
        }
    }
}

fn store_pieces(
    store: &Store,
    size_bytes: u64,
    pieces: &Receiver<Vec<u8>>,
) -> Result<Option<Stored>, StoreError> {
    let mut writer = store.object_writer()?;
    let mut found = 0;
    for piece in pieces {
        found += piece.len() as u64;
        writer
            .write_all(&piece)
            .map_err(|error| store.io("write to", files::TMP, error))?;
    }
    match found == size_bytes {
        true => writer.finish_stored().map(Some),
        false => Ok(None),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Access;

    #[test]
    fn contents_keep_their_slots_and_unfinished_ones_are_not_stored() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path(), Access::ReadWrite).unwrap();
        let (slots, contents) = store
            .take_in(|intake| {
                let mut slots: Vec<_> = (0..100)
                    .map(|i| intake.put(vec![i; 100 + usize::from(i)]))
                    .collect();
                let (slot, pieces) = intake.pieces(2 << 20);
                pieces.push(vec![1; 1 << 20]);
                pieces.push(vec![2; 1 << 20]);
                slots.push(slot);
                let (slot, pieces) = intake.pieces(100);
                pieces.push(vec![1; 99]);
                slots.push(slot);
                Ok::<_, StoreError>(slots)
            })
            .unwrap();
        for (i, slot) in slots[..100].iter().enumerate() {
            assert_eq!(
                contents.of(*slot),
                Some(&store.put_bytes(&vec![i as u8; 100 + i]).unwrap())
            );
        }
        assert_eq!(contents.of(slots[100]).unwrap().size_bytes(), 2 << 20);
        assert_eq!(contents.of(slots[101]), None);
    }

    #[test]
    fn a_store_that_cannot_be_written_to_fails_the_intake() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path(), Access::ReadWrite).unwrap();
        std::fs::remove_dir(directory.path().join("tmp")).unwrap();
        let failed = store.take_in(|intake| {
            for i in 0..200 {
                intake.put(vec![i; 100]);
            }
            let (_, pieces) = intake.pieces(1 << 30);
            for _ in 0..100 {
                pieces.push(vec![0; 1 << 20]);
            }
            Ok::<_, StoreError>(())
        });
        assert!(matches!(failed, Err(StoreError::Io { .. })));
    }
}
