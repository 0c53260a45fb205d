//! Readers and writers that tell an observer how far they are.

use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicU64, Ordering};

use osmith_report::{Event, Observer, Progress, StepId, Unit};

/// An event is sent whenever this much has passed.
const STRIDE_BYTES: u64 = 1 << 20;

/// The bytes of a step, counted from several threads.
pub(crate) struct Meter<'a> {
    observer: &'a dyn Observer,
    step: StepId,
    total_bytes: Option<u64>,
    done_bytes: AtomicU64,
}

impl<'a> Meter<'a> {
    pub(crate) fn new(observer: &'a dyn Observer, step: StepId, total_bytes: Option<u64>) -> Self {
        Meter {
            observer,
            step,
            total_bytes,
            done_bytes: AtomicU64::new(0),
        }
    }

    pub(crate) fn add(&self, count_bytes: u64) {
        if count_bytes == 0 {
            return;
        }
        let before = self.done_bytes.fetch_add(count_bytes, Ordering::Relaxed);
        let done = before + count_bytes;
        if before / STRIDE_BYTES != done / STRIDE_BYTES || Some(done) == self.total_bytes {
            self.observer.observe(Event::Advanced {
                step: self.step,
                progress: Progress {
                    done,
                    total: self.total_bytes,
                    unit: Unit::Bytes,
                },
            });
        }
    }
}

/// Counts what passes through a reader or writer.
pub(crate) struct Metered<'a, T> {
    pub(crate) inner: T,
    pub(crate) meter: &'a Meter<'a>,
}

impl<R: Read> Read for Metered<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.meter.add(count as u64);
        Ok(count)
    }
}

impl<W: Write> Write for Metered<'_, W> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(data)?;
        self.meter.add(count as u64);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[derive(Default)]
    struct Seen(Mutex<Vec<u64>>);

    impl Observer for Seen {
        fn observe(&self, event: Event) {
            if let Event::Advanced { progress, .. } = event {
                self.0.lock().unwrap().push(progress.done);
            }
        }
    }

    #[test]
    fn events_are_few_and_the_last_one_is_the_end() {
        let seen = Seen::default();
        let meter = Meter::new(&seen, StepId(0), Some(5 << 19));
        let mut reader = Metered {
            inner: io::repeat(0).take(5 << 19),
            meter: &meter,
        };
        io::copy(&mut reader, &mut io::sink()).unwrap();
        let seen = seen.0.into_inner().unwrap();
        assert_eq!((seen.len(), seen.last()), (3, Some(&(5 << 19))));
    }
}
