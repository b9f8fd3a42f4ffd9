//! The process's own source of seeds and of batch order, as `np.random` is in Python.

use super::{RandomState, mix};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

struct Global {
    order: RandomState,
    key: u64,
    drawn: u64,
    /// How often the process was seeded.
    seeded: u64,
}

static GLOBAL: Mutex<Option<Global>> = Mutex::new(None);

fn with_global<R>(run: impl FnOnce(&mut Global) -> R) -> R {
    let mut guard: MutexGuard<'_, Option<Global>> = GLOBAL.lock().unwrap_or_else(PoisonError::into_inner);
    let global = guard.get_or_insert_with(|| {
        let clock =
            SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_nanos() as u64);
        let key = mix(clock ^ (u64::from(std::process::id()) << 32));
        Global { order: RandomState::new(key as u32), key, drawn: 0, seeded: 0 }
    });
    run(global)
}

/// Seeds the process: the order of batches becomes that of `np.random.seed(seed)`, and initial weights, dropout and
/// noise of models made afterwards follow the seed too.
///
/// ```
/// use keras_core::random;
/// random::set_seed(1);
/// let first = random::fresh_seed();
/// random::set_seed(1);
/// assert_eq!(first, random::fresh_seed());
/// ```
pub fn set_seed(seed: u32) {
    with_global(|global| {
        let seeded = global.seeded + 1;
        *global = Global { order: RandomState::new(seed), key: mix(u64::from(seed)), drawn: 0, seeded }
    });
}

/// How often the process was seeded.
pub(crate) fn seeded() -> u64 {
    with_global(|global| global.seeded)
}

/// A seed for something new: different at every call, reproducible after [`set_seed`]. It takes nothing from the
/// stream that orders batches.
pub fn fresh_seed() -> u64 {
    with_global(|global| {
        global.drawn += 1;
        mix(global.key ^ mix(global.drawn))
    })
}

/// Runs something with the stream that orders batches: numpy's global generator.
pub fn with_order<R>(run: impl FnOnce(&mut RandomState) -> R) -> R {
    with_global(|global| run(&mut global.order))
}
