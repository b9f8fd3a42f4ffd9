//! Scratch memory of a task: initialised, aligned to a cache line, and kept by the thread for its next task.

use crate::pool::Plain;
use std::cell::RefCell;

/// A cache line.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; 64]);

thread_local! {
    /// What finished tasks left; more than one where a task uses several at once.
    static SPARE: RefCell<Vec<Vec<Line>>> = const { RefCell::new(Vec::new()) };
}

/// Memory that returns to its thread when dropped.
pub(crate) struct Scratch(Vec<Line>);

impl Scratch {
    /// At least that many bytes, with arbitrary content.
    pub(crate) fn new(bytes: usize) -> Self {
        let mut lines = SPARE.with_borrow_mut(Vec::pop).unwrap_or_default();
        let count = bytes.div_ceil(size_of::<Line>());
        if lines.len() < count {
            lines.resize(count, Line([0; 64]));
        }
        Self(lines)
    }

    /// Room for that many elements.
    pub(crate) fn of<T: Plain>(len: usize) -> Self {
        Self::new(len * size_of::<T>())
    }

    pub(crate) fn start(&mut self) -> *mut u8 {
        self.0.as_mut_ptr().cast()
    }

    /// All of it as elements.
    pub(crate) fn slice<T: Plain>(&mut self) -> &mut [T] {
        let len = self.0.len() * size_of::<Line>() / size_of::<T>();
        // SAFETY: initialised bytes, aligned for every `Plain` type; any bits are a `T`.
        unsafe { std::slice::from_raw_parts_mut(self.0.as_mut_ptr().cast(), len) }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let lines = std::mem::take(&mut self.0);
        SPARE.with_borrow_mut(|spare| spare.push(lines));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_may_use_several() {
        let (mut a, mut b) = (Scratch::of::<f64>(100), Scratch::of::<u8>(10));
        a.slice::<f64>()[99] = 1.0;
        b.slice::<u8>().fill(7);
        assert_eq!((a.slice::<f64>()[99], b.slice::<u8>()[9]), (1.0, 7));
        assert_eq!(a.start() as usize % 64, 0);
        drop((a, b));
        assert!(Scratch::of::<f32>(1000).slice::<f32>().len() >= 1000);
    }
}
