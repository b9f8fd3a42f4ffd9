//! What the fuzz targets share: a target calls one reader of `conformance::hostile` on an input, with a bound on the
//! memory that lives at one time. `cargo xtask fuzz` builds and runs them, as does `cargo fuzz run h5`.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

pub use libfuzzer_sys::fuzz_target;

/// A fuzz target of a reader.
#[macro_export]
macro_rules! target {
    ($read:path) => {
        $crate::fuzz_target!(|bytes: &[u8]| {
            conformance::hostile::start_anew();
            $read(bytes);
        });
    };
}

/// The system's memory, of which only so much can be had: memory that is asked for counts, touched or not.
struct Bounded;

#[global_allocator]
static MEMORY: Bounded = Bounded;

static LIVE: AtomicUsize = AtomicUsize::new(0);

fn take(bytes: usize) {
    let live = LIVE.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
    if live > conformance::hostile::MEMORY {
        // Whoever says this with an allocation comes here again.
        LIVE.store(0, Ordering::Relaxed);
        eprintln!("an input takes more than {} bytes: {bytes} asked for", conformance::hostile::MEMORY);
        std::process::abort();
    }
}

// SAFETY: everything is handed on to the system's allocator, unchanged.
unsafe impl GlobalAlloc for Bounded {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        take(layout.size());
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        take(layout.size());
        // SAFETY: the caller's promise.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(memory, layout) };
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        take(size);
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.realloc(memory, layout, size) }
    }
}
