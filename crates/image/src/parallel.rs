//! Work on several things at once.

use std::num::NonZero;
use std::sync::Mutex;
use std::thread;

/// How many threads are worth having.
pub(crate) fn thread_count() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}

/// `work` on every item, on as many threads as there are processors. Results come in the order of the items; after an
/// error no further item is begun, and the error of the first item that has one is returned.
pub(crate) fn map<T: Sync, R: Send, E: Send>(
    items: &[T],
    work: impl Fn(&T) -> Result<R, E> + Sync,
) -> Result<Vec<R>, E> {
    map_on(thread_count(), items, work)
}

/// [`map`] on that many threads.
pub(crate) fn map_on<T: Sync, R: Send, E: Send>(
    threads: usize,
    items: &[T],
    work: impl Fn(&T) -> Result<R, E> + Sync,
) -> Result<Vec<R>, E> {
    if items.len() < 2 {
        return items.iter().map(work).collect();
    }
    let queue = Mutex::new((0..items.len(), Ok(())));
    let mut results: Vec<(usize, R)> = thread::scope(|scope| {
        let worker = || {
            let mut done = Vec::new();
            while let Some((index, item)) = next(&queue, items) {
                match work(item) {
                    Ok(result) => done.push((index, result)),
                    Err(error) => stop(&queue, index, error),
                }
            }
            done
        };
        let threads: Vec<_> = (0..threads.clamp(1, items.len()))
            .map(|_| scope.spawn(worker))
            .collect();
        threads
            .into_iter()
            .flat_map(|thread| {
                thread
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })
            .collect()
    });
    let (_, outcome) = queue
        .into_inner()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    outcome.map_err(|(_, error)| error)?;
    results.sort_by_key(|(index, _)| *index);
    Ok(results.into_iter().map(|(_, result)| result).collect())
}

type Queue<E> = Mutex<(std::ops::Range<usize>, Result<(), (usize, E)>)>;

fn next<'a, T, E>(queue: &Queue<E>, items: &'a [T]) -> Option<(usize, &'a T)> {
    let mut queue = queue.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let index = queue.0.next()?;
    Some((index, items.get(index)?))
}

fn stop<E>(queue: &Queue<E>, index: usize, error: E) {
    let mut queue = queue.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    queue.0 = 0..0;
    if !matches!(&queue.1, Err((earlier, _)) if *earlier < index) {
        queue.1 = Err((index, error));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_keep_the_order_and_the_first_error_wins() {
        let items: Vec<u32> = (0..100).collect();
        let doubled = map(&items, |item| Ok::<_, ()>(item * 2)).unwrap();
        assert_eq!(doubled, items.iter().map(|item| item * 2).collect::<Vec<_>>());
        let failed = map(&items, |item| if *item == 0 { Err("zero") } else { Ok(()) });
        assert_eq!(failed, Err("zero"));
        assert_eq!(map(&[1], |item| Err::<(), _>(*item)), Err(1));
    }
}
