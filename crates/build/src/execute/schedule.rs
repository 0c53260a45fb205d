//! Stages side by side: each begins when those that it needs are built.

use std::sync::{Condvar, Mutex, PoisonError};

/// What is known of the stages.
struct Progress<E> {
    started: Vec<bool>,
    done: Vec<bool>,
    failure: Option<E>,
}

/// Calls `build` with the number of each stage, at most `jobs` at once, in the order of the numbers where `needs`
/// allows. A stage may only need stages with smaller numbers. Each thread has what `worker` made for it.
///
/// After a failure no further stage begins, and `stop` is called once, so that those under way can be ended; that
/// failure is returned when all have ended.
pub(super) fn run_stages<W, E: Send>(
    needs: &[Vec<usize>],
    jobs: usize,
    worker: impl Fn() -> W + Sync,
    build: impl Fn(usize, &mut W) -> Result<(), E> + Sync,
    stop: impl Fn() + Sync,
) -> Result<(), E> {
    let progress = Mutex::new(Progress {
        started: vec![false; needs.len()],
        done: vec![false; needs.len()],
        failure: None,
    });
    let changed = Condvar::new();
    let work = || {
        let mut own = worker();
        while let Some(stage) = next_stage(needs, &progress, &changed) {
            let answer = build(stage, &mut own);
            let mut progress = progress.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(done) = progress.done.get_mut(stage) {
                *done = true;
            }
            if let Err(failure) = answer
                && progress.failure.is_none()
            {
                progress.failure = Some(failure);
                stop();
            }
            changed.notify_all();
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..jobs.min(widest(needs)) {
            scope.spawn(work);
        }
        work();
    });
    let progress = progress.into_inner().unwrap_or_else(PoisonError::into_inner);
    progress.failure.map_or(Ok(()), Err)
}

/// Waits for a stage that can begin; `None` when there is nothing left to do.
fn next_stage<E>(needs: &[Vec<usize>], progress: &Mutex<Progress<E>>, changed: &Condvar) -> Option<usize> {
    let mut progress = progress.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        if progress.failure.is_some() || progress.started.iter().all(|started| *started) {
            return None;
        }
        let is_done = |stage: &usize| progress.done.get(*stage).copied().unwrap_or(true);
        let ready = needs.iter().zip(&progress.started);
        let ready = ready
            .enumerate()
            .find(|(_, (needed, started))| !**started && needed.iter().all(is_done));
        if let Some((stage, _)) = ready {
            progress.started[stage] = true;
            return Some(stage);
        }
        progress = changed.wait(progress).unwrap_or_else(PoisonError::into_inner);
    }
}

/// No more stages than this can be under way together.
fn widest(needs: &[Vec<usize>]) -> usize {
    let mut depths: Vec<usize> = Vec::with_capacity(needs.len());
    for needed in needs {
        let below = needed.iter().filter_map(|stage| depths.get(*stage)).max();
        depths.push(below.map_or(0, |depth| depth + 1));
    }
    // Of the longest chain, one stage is under way at a time.
    match depths.iter().max() {
        Some(deepest) => needs.len() - deepest,
        None => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    /// The order of beginnings and ends, and how many ran at once.
    fn told(needs: &[Vec<usize>], jobs: usize) -> (Vec<String>, usize) {
        let lines = Mutex::new(Vec::new());
        let (running, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let build = |stage: usize, (): &mut ()| {
            most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            lines.lock().unwrap().push(format!("+{stage}"));
            std::thread::sleep(Duration::from_millis(30));
            lines.lock().unwrap().push(format!("-{stage}"));
            running.fetch_sub(1, Ordering::SeqCst);
            Ok::<(), ()>(())
        };
        run_stages(needs, jobs, || (), build, || {}).unwrap();
        (lines.into_inner().unwrap(), most.into_inner())
    }

    #[test]
    fn stages_wait_for_what_they_need_and_for_nothing_else() {
        let needs = [vec![], vec![0], vec![], vec![1, 2]];
        let (lines, most) = told(&needs, 4);
        let at = |line: &str| lines.iter().position(|known| known == line).unwrap();
        for (stage, needed) in needs.iter().enumerate() {
            for other in needed {
                assert!(at(&format!("-{other}")) < at(&format!("+{stage}")), "{lines:?}");
            }
        }
        assert_eq!(most, 2);
        assert_eq!(told(&needs, 1).1, 1);
        assert_eq!(told(&[], 3), (Vec::new(), 0));
        assert_eq!(told(&[vec![], vec![0], vec![1]], 8).1, 1);
    }

    #[test]
    fn the_first_failure_ends_the_build() {
        let stopped = AtomicUsize::new(0);
        let build = |stage: usize, (): &mut ()| match stage {
            1 => Err("broken"),
            2 | 3 => panic!("stage {stage} must not begin"),
            _ => Ok(()),
        };
        let stop = || {
            stopped.fetch_add(1, Ordering::SeqCst);
        };
        let answer = run_stages(&[vec![], vec![0], vec![1], vec![1]], 2, || (), build, stop);
        assert_eq!((answer, stopped.into_inner()), (Err("broken"), 1));
    }
}
