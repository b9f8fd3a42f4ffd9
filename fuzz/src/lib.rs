//! What the fuzz targets share: a target calls one reader of `conformance::hostile` on an input, with a bound on the
//! memory that lives at one time. `cargo xtask fuzz` builds and runs them, as does `cargo fuzz run h5`.

use cpu_time::ProcessTime;
use std::alloc::{GlobalAlloc, Layout, System};
use std::path::Path;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicUsize, Ordering};

pub use libfuzzer_sys::fuzz_target;

/// A fuzz target of a reader in `conformance::hostile`; it first puts down what to start from, in `corpus/`.
#[macro_export]
macro_rules! target {
    ($format:ident) => {
        $crate::fuzz_target!(init: $crate::seeds(stringify!($format)), |bytes: &[u8]| {
            $crate::read(conformance::hostile::$format, bytes);
        });
    };
}

/// The time that reading one input may compute, in seconds; a busy machine does not count.
const SECONDS: f64 = 1.0;

/// Reads an input, on which those before it have no influence.
///
/// # Panics
/// If it takes too long.
pub fn read(reader: fn(&[u8]), bytes: &[u8]) {
    conformance::hostile::start_anew();
    let start = ProcessTime::now();
    reader(bytes);
    let taken = start.elapsed().as_secs_f64();
    assert!(taken < SECONDS, "an input took {taken:.1} s");
}

/// Writes the inputs to start from.
///
/// # Panics
/// If the fixtures cannot be read or the corpus not be written.
pub fn seeds(format: &str) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(format);
    conformance::hostile::seeds(format, &corpus).expect("fixtures are read, the corpus is written");
}

/// The system's memory, of which only so much can be had: memory that is asked for counts, touched or not. Who asks for
/// more and has not prepared for a refusal ends the process, which is a finding.
struct Bounded;

#[global_allocator]
static MEMORY: Bounded = Bounded;

static LIVE: AtomicUsize = AtomicUsize::new(0);

/// Whether there is room for so many more.
fn take(bytes: usize) -> bool {
    let fits = LIVE.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes) <= conformance::hostile::MEMORY;
    if !fits {
        LIVE.fetch_sub(bytes, Ordering::Relaxed);
    }
    fits
}

// SAFETY: everything is handed on to the system's allocator, unchanged.
unsafe impl GlobalAlloc for Bounded {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if !take(layout.size()) {
            return null_mut();
        }
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if !take(layout.size()) {
            return null_mut();
        }
        // SAFETY: the caller's promise.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(memory, layout) };
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if !take(size) {
            return null_mut();
        }
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.realloc(memory, layout, size) }
    }
}
