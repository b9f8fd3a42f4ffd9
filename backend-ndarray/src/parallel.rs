//! [`Threads`]: runs the tasks of an operation. What a task is follows from shapes alone, so the number of threads
//! changes when a task runs and never what it computes.

use keras_core::{Error, Result};
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The environment variable that sets the number of threads.
const THREADS: &str = "KERAS_NUM_THREADS";

/// The threads of one backend instance: the caller and a pool of helpers.
pub(crate) struct Threads {
    helpers: Option<rayon::ThreadPool>,
    count: usize,
}

impl Threads {
    /// That many threads, the caller among them.
    pub(crate) fn new(count: usize) -> Result<Self> {
        if count == 0 {
            return Err(Error::value("threads of backend ndarray", "at least 1", "0"));
        }
        let build = |helpers| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(helpers);
            pool.thread_name(|i| format!("keras-ndarray-{i}")).build().map_err(|error| {
                let doing = format!("threads of backend ndarray: {error}");
                Error::backend(doing, format!("{helpers} threads"), "none from the system")
            })
        };
        let helpers = if count > 1 { Some(build(count - 1)?) } else { None };
        Ok(Self { helpers, count })
    }

    /// As many as `KERAS_NUM_THREADS` says, else as there are cores.
    pub(crate) fn from_environment() -> Result<Self> {
        let Ok(text) = std::env::var(THREADS) else {
            return Self::new(std::thread::available_parallelism().map_or(1, std::num::NonZero::get));
        };
        match text.trim().parse() {
            Ok(count) if count > 0 => Self::new(count),
            _ => Err(Error::value(THREADS, "a number of threads from 1", format!("{text:?}"))),
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// Runs `task(0)` to `task(tasks - 1)`, in any order and on any thread. The caller works too and waits for tasks
    /// that a helper has begun, never for a helper to come.
    pub(crate) fn run(&self, tasks: usize, task: impl Fn(usize) + Sync) {
        let Some(pool) = self.helpers.as_ref().filter(|_| tasks > 1) else {
            (0..tasks).for_each(task);
            return;
        };
        let job = Arc::new(Job::new(tasks, &task));
        for _ in 1..self.count.min(tasks) {
            let job = Arc::clone(&job);
            pool.spawn(move || job.help());
        }
        let closing = Closing(&job);
        job.work(&task);
        drop(closing);
        let panic = job.panic.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(panic) = panic {
            resume_unwind(panic);
        }
    }

    /// Runs `task(i, chunk)` for every chunk of `len` elements (the last may be shorter).
    pub(crate) fn chunks<T: Send>(&self, data: &mut [T], len: usize, task: impl Fn(usize, &mut [T]) + Sync) {
        let len = len.max(1);
        let shared = Shared::new(data);
        self.run(shared.len.div_ceil(len), |i| {
            let end = shared.len.min((i + 1) * len);
            // SAFETY: `run` calls every task once, and the chunks of different tasks are disjoint.
            task(i, unsafe { shared.range(i * len, end) });
        });
    }
}

/// The tasks of one call of [`Threads::run`].
struct Job {
    /// The caller's function, valid until the job is closed and nobody is inside.
    task: *const (dyn Fn(usize) + Sync),
    tasks: usize,
    next: AtomicUsize,
    /// Helpers that may be using the function.
    inside: AtomicUsize,
    closed: AtomicBool,
    /// The panic of a helper, for the caller.
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

// SAFETY: the function is `Sync`, and `help` follows the pointer only while it is valid; the rest is for sharing.
unsafe impl Send for Job {}
// SAFETY: as above.
unsafe impl Sync for Job {}

impl Job {
    fn new<'a>(tasks: usize, task: &'a (dyn Fn(usize) + Sync + 'a)) -> Self {
        #[allow(
            clippy::transmute_ptr_to_ptr,
            reason = "a cast may not lengthen the lifetime of a trait object"
        )]
        // SAFETY: only the lifetime of a pointer changes; `help` says when it is followed.
        let task = unsafe {
            std::mem::transmute::<*const (dyn Fn(usize) + Sync + 'a), *const (dyn Fn(usize) + Sync + 'static)>(
                task,
            )
        };
        Self {
            task,
            tasks,
            next: AtomicUsize::new(0),
            inside: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
            panic: Mutex::new(None),
        }
    }

    fn work(&self, task: &(dyn Fn(usize) + Sync)) {
        loop {
            let i = self.next.fetch_add(1, Ordering::Relaxed);
            if i >= self.tasks {
                break;
            }
            task(i);
        }
    }

    /// A helper's part. It enters before it looks whether the job is closed, and the caller closes the job before it
    /// looks who is inside; so either the helper leaves at once, or the caller waits for it.
    fn help(&self) {
        self.inside.fetch_add(1, Ordering::SeqCst);
        if !self.closed.load(Ordering::SeqCst) {
            // SAFETY: the caller is inside `run` until this helper has left, so its function is there.
            let task = unsafe { &*self.task };
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| self.work(task))) {
                self.next.store(self.tasks, Ordering::Relaxed);
                *self.panic.lock().unwrap_or_else(PoisonError::into_inner) = Some(panic);
            }
        }
        self.inside.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Closes a job when the caller leaves it, be it by a panic.
struct Closing<'a>(&'a Job);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.closed.store(true, Ordering::SeqCst);
        let mut spins = 0;
        while self.0.inside.load(Ordering::SeqCst) > 0 {
            spins += 1;
            if spins < 4096 {
                std::hint::spin_loop();
            } else {
                std::thread::yield_now();
            }
        }
    }
}

/// Elements that several tasks write, each its own part.
#[derive(Clone, Copy)]
pub(crate) struct Shared<'a, T> {
    start: *mut T,
    len: usize,
    borrow: std::marker::PhantomData<&'a mut [T]>,
}

// SAFETY: it is only a pointer; whoever follows it promises that the parts are disjoint.
unsafe impl<T: Send> Send for Shared<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Shared<'_, T> {}

impl<'a, T> Shared<'a, T> {
    pub(crate) fn new(data: &'a mut [T]) -> Self {
        Self { start: data.as_mut_ptr(), len: data.len(), borrow: std::marker::PhantomData }
    }

    /// Memory that something else keeps alive for `'a`.
    ///
    /// # Safety
    /// `start` is valid for `len` elements for all of `'a`; whoever else accesses them keeps to the rules of
    /// [`range`](Self::range).
    pub(crate) unsafe fn from_raw(start: *mut T, len: usize) -> Self {
        Self { start, len, borrow: std::marker::PhantomData }
    }

    /// The elements `from..to`, cut at the end.
    ///
    /// # Safety
    /// While the result lives, nothing else reads or writes those elements.
    #[allow(clippy::mut_from_ref, reason = "that is its purpose; see the safety section")]
    pub(crate) unsafe fn range(&self, from: usize, to: usize) -> &'a mut [T] {
        let to = to.min(self.len);
        let from = from.min(to);
        // SAFETY: within the slice it was made from, which is borrowed for `'a`; the caller excludes others.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(from), to - from) }
    }

    pub(crate) fn as_ptr(&self) -> *mut T {
        self.start
    }
}

/// How many of `total` equal pieces of `cost` units make a task of at least `grain` units; at least one.
pub(crate) fn pieces_per_task(cost: usize, grain: usize) -> usize {
    grain.div_ceil(cost.max(1)).max(1)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_chunk_is_run_once() {
        for count in [1, 2, 7] {
            let threads = Threads::new(count).unwrap();
            let mut data = vec![0_usize; 1003];
            threads.chunks(&mut data, 10, |i, chunk| chunk.iter_mut().for_each(|x| *x += i + 1));
            assert!(data.iter().enumerate().all(|(k, &x)| x == k / 10 + 1));
        }
        assert!(Threads::new(0).is_err());
    }

    #[test]
    fn a_panic_in_a_task_reaches_the_caller() {
        let threads = Threads::new(3).unwrap();
        for bad in [0, 57] {
            let result = catch_unwind(AssertUnwindSafe(|| threads.run(100, |i| assert!(i != bad))));
            assert!(result.is_err());
        }
        let count = AtomicUsize::new(0);
        threads.run(100, |_| {
            count.fetch_add(1, Ordering::Relaxed);
        });
        assert_eq!(count.into_inner(), 100);
    }

    #[test]
    fn callers_share_the_helpers() {
        let threads = Threads::new(3).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let mut data = vec![0_u64; 500];
                    threads.chunks(&mut data, 3, |_, chunk| chunk.fill(1));
                    assert_eq!(data.iter().sum::<u64>(), 500);
                });
            }
        });
    }
}
