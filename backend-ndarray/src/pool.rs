//! [`Buffer`]s from a caching [`Pool`]: in the steady state of training no memory is asked of the system.

use keras_core::{Error, Result};
use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::collections::BTreeMap;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Alignment of every buffer: a cache line, and the widest vector.
const ALIGN: usize = 64;

/// An element type for which every bit pattern is a value, so that recycled memory may be read as it.
/// (Truth values are stored as `u8`, 0 or 1.)
///
/// # Safety
/// No padding, no invalid bit pattern, alignment at most 64, no destructor.
pub(crate) unsafe trait Plain:
    Copy + Send + Sync + Default + PartialEq + PartialOrd + 'static
{
}

macro_rules! plain {
    ($($type:ty),*) => { $(
        // SAFETY: a primitive number.
        unsafe impl Plain for $type {}
    )* };
}

plain!(f32, f64, i32, i64, u8, u32, u64);

/// Memory without an owner: on its way between a [`Buffer`] and the pool.
struct Block {
    start: NonNull<u8>,
    bytes: usize,
}

// SAFETY: a block is the only handle to its memory.
unsafe impl Send for Block {}

impl Block {
    fn layout(bytes: usize) -> Option<Layout> {
        Layout::from_size_align(bytes, ALIGN).ok()
    }

    /// Zeroed memory, so that a buffer is initialised from birth and whoever recycles it sees plain numbers.
    fn new(bytes: usize) -> Result<Self> {
        let layout = Self::layout(bytes).filter(|layout| layout.size() > 0);
        // SAFETY: the layout's size is not zero.
        let start = layout.and_then(|layout| NonNull::new(unsafe { alloc_zeroed(layout) }));
        start.map(|start| Self { start, bytes }).ok_or_else(|| {
            Error::backend("allocation", format!("{bytes} bytes of memory"), "none from the system")
                .advice("use a smaller batch_size")
        })
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        if let Some(layout) = Self::layout(self.bytes) {
            // SAFETY: `new` allocated the memory with this layout, and the block is its only handle.
            unsafe { dealloc(self.start.as_ptr(), layout) }
        }
    }
}

/// Free blocks of one size.
#[derive(Default)]
struct Class {
    blocks: Vec<Block>,
    /// When one was last asked for.
    used: u64,
}

#[derive(Default)]
struct State {
    classes: BTreeMap<usize, Class>,
    clock: u64,
    cached: usize,
    live: usize,
    peak: usize,
    misses: u64,
}

/// Keeps the memory of dropped buffers by size class. A class never holds more blocks than were alive at once, and
/// all of them together at most twice the bytes that were: beyond that, sizes that nobody asks for any more go.
#[derive(Default)]
pub(crate) struct Pool(Mutex<State>);

impl Pool {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How often memory had to be asked of the system.
    pub(crate) fn misses(&self) -> u64 {
        self.state().misses
    }

    /// Bytes held: by buffers and in reserve.
    pub(crate) fn bytes(&self) -> usize {
        let state = self.state();
        state.live + state.cached
    }

    /// A buffer of at least that many bytes, with some earlier content or zeros.
    pub(crate) fn buffer(self: &Arc<Self>, bytes: usize) -> Result<Buffer> {
        let class = size_class(bytes);
        let mut state = self.state();
        state.clock += 1;
        let now = state.clock;
        let entry = state.classes.entry(class).or_default();
        entry.used = now;
        let block = if let Some(block) = entry.blocks.pop() {
            state.cached -= class;
            block
        } else {
            state.misses += 1;
            Block::new(class)?
        };
        state.live += class;
        state.peak = state.peak.max(state.live);
        drop(state);
        Ok(Buffer { block: Some(block), pool: Arc::clone(self) })
    }

    fn give_back(&self, block: Block) {
        let mut state = self.state();
        state.live -= block.bytes;
        state.cached += block.bytes;
        state.classes.entry(block.bytes).or_default().blocks.push(block);
        let mut surplus = Vec::new();
        while state.cached > 2 * state.peak {
            let idle = state.classes.iter_mut().filter(|(_, class)| !class.blocks.is_empty());
            let Some(block) =
                idle.min_by_key(|(_, class)| class.used).and_then(|(_, class)| class.blocks.pop())
            else {
                break;
            };
            state.cached -= block.bytes;
            surplus.push(block);
        }
        // Freed after the lock.
        drop(state);
        drop(surplus);
    }
}

/// Rounds up to one of four steps per power of two, so that at most a fifth is wasted.
fn size_class(bytes: usize) -> usize {
    let bytes = bytes.max(ALIGN);
    let step = (bytes.next_power_of_two() / 8).max(ALIGN);
    bytes.div_ceil(step).saturating_mul(step)
}

/// Initialised memory, aligned to 64 bytes, that returns to its pool when dropped.
pub(crate) struct Buffer {
    /// `None` only while being dropped.
    block: Option<Block>,
    pool: Arc<Pool>,
}

// SAFETY: shared access to a buffer only reads.
unsafe impl Sync for Buffer {}

impl Buffer {
    fn bytes(&self) -> usize {
        self.block.as_ref().map_or(0, |block| block.bytes)
    }

    fn start(&self) -> NonNull<u8> {
        self.block.as_ref().map_or(NonNull::<u64>::dangling().cast(), |block| block.start)
    }

    /// All of the memory as elements.
    pub(crate) fn as_slice<T: Plain>(&self) -> &[T] {
        // SAFETY: initialised for its whole length, aligned for every `Plain` type; any bits are a `T`.
        unsafe { std::slice::from_raw_parts(self.start().as_ptr().cast(), self.bytes() / size_of::<T>()) }
    }

    /// All of the memory as elements, for writing.
    pub(crate) fn as_mut_slice<T: Plain>(&mut self) -> &mut [T] {
        // SAFETY: as in `as_slice`, and the buffer is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.start().as_ptr().cast(), self.bytes() / size_of::<T>()) }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(block) = self.block.take() {
            self.pool.give_back(block);
        }
    }
}

impl std::fmt::Debug for Buffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Buffer({} bytes)", self.bytes())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn size_classes_waste_at_most_a_fifth() {
        for bytes in (1..5000).chain([1 << 20, (1 << 20) + 1, 123_456_789]) {
            let class = size_class(bytes);
            assert!(class >= bytes && class.is_multiple_of(ALIGN));
            assert!(class <= (bytes + bytes / 4).max(bytes + ALIGN), "{bytes} → {class}");
            assert_eq!(size_class(class), class);
        }
    }

    #[test]
    fn dropped_memory_is_reused_and_stays_bounded() {
        let pool = Arc::new(Pool::default());
        let mut first = pool.buffer(1000).unwrap();
        assert!(first.as_slice::<f32>().iter().all(|&x| x == 0.0));
        first.as_mut_slice::<f32>()[0] = 7.0;
        assert_eq!(first.as_slice::<u8>().as_ptr() as usize % ALIGN, 0);
        drop(first);
        let again = pool.buffer(990).unwrap();
        assert_eq!(again.as_slice::<f32>()[0], 7.0);
        assert_eq!(pool.misses(), 1);
        let held: Vec<Buffer> = (0..10).map(|_| pool.buffer(1000).unwrap()).collect();
        assert_eq!(pool.misses(), 11);
        drop((held, again));
        let held: Vec<Buffer> = (0..11).map(|_| pool.buffer(1000).unwrap()).collect();
        assert_eq!((pool.misses(), pool.bytes()), (11, 11 * 1024));
        drop(held);
        for kib in 1..200 {
            drop(pool.buffer(kib * 1024).unwrap());
        }
        assert!(pool.bytes() <= 2 * 224 * 1024);
        let misses = pool.misses();
        (0..10).for_each(|_| drop(pool.buffer(199 * 1024).unwrap()));
        assert_eq!(pool.misses(), misses, "sizes in use stay");
        assert!(pool.buffer(usize::MAX / 2).is_err());
    }
}
