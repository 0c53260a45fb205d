//! Taking turns: threads that finish in any order, and work that must be done in one.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Something that is used by one holder of a number after the other: 0, 1, 2 ...
#[derive(Debug)]
pub(crate) struct InTurn<T> {
    inner: Mutex<Inner<T>>,
    changed: Condvar,
}

#[derive(Debug)]
struct Inner<T> {
    value: T,
    next: u64,
    stopped: bool,
}

impl<T> InTurn<T> {
    pub(crate) fn new(value: T) -> Self {
        InTurn {
            inner: Mutex::new(Inner {
                value,
                next: 0,
                stopped: false,
            }),
            changed: Condvar::new(),
        }
    }

    /// Waits for the turn of `number`, uses the value, and passes it on. `None` if all was stopped meanwhile.
    pub(crate) fn with<R>(&self, number: u64, using: impl FnOnce(&mut T) -> R) -> Option<R> {
        let mut inner = self.lock();
        while inner.next != number && !inner.stopped {
            inner = self.changed.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
        if inner.stopped {
            return None;
        }
        let result = using(&mut inner.value);
        inner.next += 1;
        self.changed.notify_all();
        Some(result)
    }

    /// Ends all waiting.
    pub(crate) fn stop(&self) {
        self.lock().stopped = true;
        self.changed.notify_all();
    }

    /// The value, when all had their turn.
    pub(crate) fn into_inner(self) -> T {
        self.inner
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner)
            .value
    }

    fn lock(&self) -> MutexGuard<'_, Inner<T>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_come_in_order_whoever_asks_first() {
        let turns = InTurn::new(Vec::new());
        std::thread::scope(|scope| {
            for number in (0..16).rev() {
                let turns = &turns;
                scope.spawn(move || turns.with(number, |order| order.push(number)));
            }
        });
        assert_eq!(turns.into_inner(), (0..16).collect::<Vec<_>>());
    }

    #[test]
    fn nobody_waits_after_a_stop() {
        let turns = InTurn::new(());
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| turns.with(1, |()| ()));
            turns.stop();
            assert_eq!(waiting.join().unwrap(), None);
        });
    }
}
