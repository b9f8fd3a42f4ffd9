//! [`Ahead`]: batches that threads make before they are asked for.

use crate::error::{Error, Result};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::JoinHandle;

/// Who makes batches, and how many may wait: Keras's `workers` and `max_queue_size`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reading {
    /// Threads; none: the batch is made where it is asked for.
    pub(crate) workers: usize,
    /// Batches that wait.
    pub(crate) queue: usize,
}

impl Default for Reading {
    fn default() -> Self {
        Self { workers: 1, queue: 10 }
    }
}

/// Makes number so and so.
pub(crate) type Make<T> = Arc<dyn Fn(usize) -> Result<T> + Send + Sync>;

/// The numbers 0, 1, … of something, in order.
pub(crate) struct Ahead<T> {
    make: Make<T>,
    count: usize,
    next: usize,
    /// Thread i makes i, i + threads, …
    threads: Vec<Thread<T>>,
}

struct Thread<T> {
    /// Dropped before the thread is waited for.
    made: Option<Receiver<Result<T>>>,
    handle: Option<JoinHandle<()>>,
}

/// What may wait at most, and how many threads may work: a longer queue holds memory for its places alone.
const LONGEST_QUEUE: usize = 4096;

impl<T: Send + 'static> Ahead<T> {
    /// Begins to make `count` of them.
    pub(crate) fn new(reading: Reading, count: usize, make: Make<T>) -> Result<Self> {
        let queue = reading.queue.min(LONGEST_QUEUE);
        let workers = reading.workers.min(count).min(queue.max(1));
        let mut threads = Vec::with_capacity(workers);
        for first in 0..workers {
            let (send, made) = sync_channel(queue.div_ceil(workers));
            let make = make.clone();
            let work = move || {
                for number in (first..count).step_by(workers) {
                    let one = make(number);
                    let failed = one.is_err();
                    if send.send(one).is_err() || failed {
                        return;
                    }
                }
            };
            let handle = std::thread::Builder::new().name("keras-read".into()).spawn(work);
            let handle = handle.map_err(|error| {
                Error::state("reading ahead", "a thread from the system", error.to_string())
            })?;
            threads.push(Thread { made: Some(made), handle: Some(handle) });
        }
        Ok(Self { make, count, next: 0, threads })
    }

    /// The next one; `None` after the last.
    pub(crate) fn next(&mut self) -> Result<Option<T>> {
        if self.next == self.count {
            return Ok(None);
        }
        let number = self.next;
        self.next += 1;
        if self.threads.is_empty() {
            return (self.make)(number).map(Some);
        }
        let thread = self.threads.get(number % self.threads.len());
        match thread.and_then(|thread| thread.made.as_ref()).map(Receiver::recv) {
            Some(Ok(one)) => one.map(Some),
            _ => Err(Error::state("reading ahead", "a batch from a thread", "the thread ended by a panic")),
        }
    }
}

impl<T> Drop for Thread<T> {
    fn drop(&mut self) {
        self.made = None;
        if let Some(handle) = self.handle.take() {
            // A panic was reported where its result was missing.
            let _ = handle.join();
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;

    fn ahead(workers: usize, queue: usize) -> Ahead<usize> {
        let make = |number| match number {
            20 => Err(Error::value("making", "less", "20")),
            number => Ok(number),
        };
        Ahead::new(Reading { workers, queue }, 40, Arc::new(make)).unwrap()
    }

    #[test]
    fn threads_keep_the_order() {
        for (workers, queue) in [(0, 10), (1, 1), (3, 2), (4, 10), (2, 0), (1, usize::MAX), (2, usize::MAX)] {
            let mut ahead = ahead(workers, queue);
            for number in 0..20 {
                assert_eq!(ahead.next().unwrap(), Some(number));
            }
            assert!(ahead.next().is_err());
        }
    }

    #[test]
    fn a_panic_of_a_worker_is_an_error() {
        let make: Make<()> = Arc::new(|_| panic!("a worker's panic"));
        assert!(Ahead::new(Reading::default(), 1, make).unwrap().next().is_err());
    }
}
