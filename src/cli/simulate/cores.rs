//! Many plays side by side on all cores, with their results in the order in which they were asked for.

use std::{
    num::NonZero,
    panic,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

/// Does `job` for every number below `count`; `done` is called after each, from any thread.
pub fn side_by_side<T: Send>(count: usize, job: impl Fn(usize) -> T + Sync, done: impl Fn() + Sync) -> Vec<T> {
    let workers = thread::available_parallelism().map_or(1, NonZero::get).min(count);
    let next = AtomicUsize::new(0);
    let results: Mutex<Vec<(usize, T)>> = Mutex::new(Vec::with_capacity(count));
    let work = || {
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            if at >= count {
                return;
            }
            let result = job(at);
            results.lock().unwrap_or_else(PoisonError::into_inner).push((at, result));
            done();
        }
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            // A job that panics is a bug; it is told as it would be on one core.
            worker.join().unwrap_or_else(|panic| panic::resume_unwind(panic));
        }
    });
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_by_key(|(at, _)| *at);
    results.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_in_order_whoever_is_ready_first() {
        let counted = AtomicUsize::new(0);
        let count = || {
            counted.fetch_add(1, Ordering::Relaxed);
        };
        let squares = side_by_side(1_000, |at| at * at, count);
        assert!(squares.iter().enumerate().all(|(at, square)| *square == at * at));
        assert_eq!((squares.len(), counted.into_inner()), (1_000, 1_000));
        assert!(side_by_side(0, |at| at, || ()).is_empty());
    }
}
