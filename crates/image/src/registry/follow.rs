//! Reading a file while it is written: a layer leaves while it is compressed.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use osmith_report::{Interrupted, Observer};

/// How far a file is written.
#[derive(Debug, Default)]
pub(super) struct Written {
    state: Mutex<Progress>,
    changed: Condvar,
}

#[derive(Debug, Clone, Copy, Default)]
struct Progress {
    written_bytes: u64,
    end: Option<End>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Whole,
    Broken,
}

/// Writes to the end of a file, for a [`Follower`] to read.
pub(super) struct Leader<'a> {
    pub(super) file: &'a File,
    pub(super) written: &'a Written,
}

/// Reads a file from its start, waits for what is not written yet, and ends where the writer does.
pub(super) struct Follower<'a> {
    pub(super) file: &'a File,
    pub(super) written: &'a Written,
    pub(super) observer: &'a dyn Observer,
    pub(super) offset_bytes: u64,
}

/// So much is written before it is flushed.
const FLUSHED_BYTES: u64 = 32 << 20;

impl Written {
    /// Flushes a file behind its writer until that ends, so that little is left to flush then.
    pub(super) fn flush_behind(&self, file: &File) -> io::Result<()> {
        let mut flushed_bytes = 0;
        loop {
            let progress = self.wait(flushed_bytes + FLUSHED_BYTES);
            if progress.end.is_some() {
                return Ok(());
            }
            file.sync_data()?;
            flushed_bytes = progress.written_bytes;
        }
    }

    /// There will be no more. If the file is not `whole`, the follower fails.
    pub(super) fn end(&self, whole: bool) {
        self.lock().end = Some(if whole { End::Whole } else { End::Broken });
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until there is more than that, or the end.
    fn wait(&self, beyond_bytes: u64) -> Progress {
        let waiting =
            |progress: &mut Progress| progress.written_bytes <= beyond_bytes && progress.end.is_none();
        let guard = self.changed.wait_while(self.lock(), waiting);
        *guard.unwrap_or_else(PoisonError::into_inner)
    }
}

impl Write for Leader<'_> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let mut file = self.file;
        let count = file.write(data)?;
        self.written.lock().written_bytes += count as u64;
        self.written.changed.notify_all();
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Follower<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.observer.interrupted() {
            return Err(io::Error::other(Interrupted));
        }
        let progress = self.written.wait(self.offset_bytes);
        let left_bytes = progress.written_bytes - self.offset_bytes.min(progress.written_bytes);
        if left_bytes == 0 {
            return match progress.end {
                Some(End::Broken) => Err(io::Error::other("the layer could not be compressed")),
                _ => Ok(0),
            };
        }
        let length = buffer
            .len()
            .min(usize::try_from(left_bytes).unwrap_or(usize::MAX));
        let count = self
            .file
            .read_at(buffer.get_mut(..length).unwrap_or_default(), self.offset_bytes)?;
        self.offset_bytes += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use osmith_report::Silent;

    use super::*;

    fn followed(pieces: &[&[u8]], whole: bool) -> io::Result<Vec<u8>> {
        let file = tempfile::tempfile().unwrap();
        let written = Written::default();
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut leader = Leader {
                    file: &file,
                    written: &written,
                };
                for piece in pieces {
                    leader.write_all(piece).unwrap();
                    thread::yield_now();
                }
                written.end(whole);
            });
            let mut found = Vec::new();
            let mut follower = Follower {
                file: &file,
                written: &written,
                observer: &Silent,
                offset_bytes: 0,
            };
            follower.read_to_end(&mut found).map(|_| found)
        })
    }

    #[test]
    fn all_that_is_written_is_read_and_a_broken_end_is_an_error() {
        let pieces: Vec<Vec<u8>> = (0..100).map(|i| vec![i; 1000]).collect();
        let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
        assert_eq!(followed(&pieces, true).unwrap(), pieces.concat());
        assert_eq!(followed(&[], true).unwrap(), b"");
        assert!(followed(&pieces, false).is_err());
    }
}
