//! Runtime SIMD dispatch: plain loops, compiled once per instruction set and chosen when the program runs.
//!
//! A [`Task`] holds the operands of a loop; [`dispatch`] runs it in a function whose target features let the
//! compiler vectorise it for AVX-512, AVX2 or the baseline. A loop performs the same IEEE operations in its vector
//! body and in its remainder, so a value never depends on its position.

use std::sync::OnceLock;

/// What differs between instruction sets inside arithmetic: whether a fused multiply-add is one instruction.
pub(crate) trait Level: Copy {
    /// Whether `a * b + c` rounds once.
    const FUSED: bool;

    /// `a * b + c`.
    #[inline(always)]
    fn fma32(a: f32, b: f32, c: f32) -> f32 {
        if Self::FUSED { a.mul_add(b, c) } else { a * b + c }
    }

    /// `a * b + c`.
    #[inline(always)]
    fn fma64(a: f64, b: f64, c: f64) -> f64 {
        if Self::FUSED { a.mul_add(b, c) } else { a * b + c }
    }
}

/// Instruction sets with fused multiply-add.
#[derive(Clone, Copy)]
pub(crate) struct Fused;

/// Instruction sets without.
#[derive(Clone, Copy)]
pub(crate) struct Unfused;

impl Level for Fused {
    const FUSED: bool = true;
}

impl Level for Unfused {
    const FUSED: bool = false;
}

/// A loop with its operands. Implementations mark `run` `#[inline(always)]`: only inlined code is compiled for the
/// caller's instruction set.
pub(crate) trait Task {
    /// What it returns.
    type Output;
    /// Runs the loop.
    fn run<L: Level>(self) -> Self::Output;
}

/// The instruction sets that loops are compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Isa {
    /// What the target guarantees.
    Baseline,
    /// x86-64-v3.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// x86-64-v4.
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

/// The best instruction set of this machine.
pub(crate) fn isa() -> Isa {
    static ISA: OnceLock<Isa> = OnceLock::new();
    #[cfg(test)]
    if let Some(isa) = tests::FORCED.get() {
        return isa;
    }
    *ISA.get_or_init(|| available().last().copied().unwrap_or(Isa::Baseline))
}

/// The instruction sets this machine can run, worst first.
pub(crate) fn available() -> Vec<Isa> {
    let mut all = vec![Isa::Baseline];
    #[cfg(target_arch = "x86_64")]
    {
        macro_rules! detected {
            ($($feature:tt),*) => { $(std::is_x86_feature_detected!($feature))&&* };
        }
        if detected!("avx2", "fma", "bmi1", "bmi2", "f16c", "lzcnt", "popcnt") {
            all.push(Isa::Avx2);
            if detected!("avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl") {
                all.push(Isa::Avx512);
            }
        }
    }
    all
}

/// Runs the task with the best instruction set of this machine.
#[inline]
pub(crate) fn dispatch<T: Task>(task: T) -> T::Output {
    dispatch_on(isa(), task)
}

/// Runs the task with that instruction set, which must be one of [`available`].
#[inline]
fn dispatch_on<T: Task>(isa: Isa, task: T) -> T::Output {
    match isa {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `isa` comes from `available`, which has detected every feature of the function.
        Isa::Avx512 => unsafe { avx512(task) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Isa::Avx2 => unsafe { avx2(task) },
        Isa::Baseline if cfg!(target_arch = "aarch64") => task.run::<Fused>(),
        Isa::Baseline => task.run::<Unfused>(),
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,bmi1,bmi2,f16c,lzcnt,popcnt,avx512f,avx512bw,avx512cd,avx512dq,avx512vl")]
fn avx512<T: Task>(task: T) -> T::Output {
    task.run::<Fused>()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,bmi1,bmi2,f16c,lzcnt,popcnt")]
fn avx2<T: Task>(task: T) -> T::Output {
    task.run::<Fused>()
}

/// Asks for memory that will be used soon; a hint, and nothing else.
#[inline]
pub(crate) fn prefetch<T>(data: &[T]) {
    #[cfg(target_arch = "x86_64")]
    for line in (0..size_of_val(data)).step_by(64) {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        let place = data.as_ptr().cast::<i8>().wrapping_add(line);
        // SAFETY: every x86-64 has the instruction, and it never faults.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(place) };
    }
    let _ = data;
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::cell::Cell;

    thread_local! {
        /// The instruction set for this thread's loops, one of [`available`].
        pub(crate) static FORCED: Cell<Option<Isa>> = const { Cell::new(None) };
    }

    struct Dot<'a>(&'a [f32], &'a [f32]);

    impl Task for Dot<'_> {
        type Output = f32;
        #[inline(always)]
        fn run<L: Level>(self) -> f32 {
            self.0.iter().zip(self.1).fold(0.0, |sum, (&a, &b)| L::fma32(a, b, sum))
        }
    }

    #[test]
    fn every_instruction_set_runs_a_task() {
        let (a, b): (Vec<f32>, Vec<f32>) = (0..100).map(|i| (i as f32, 2.0)).unzip();
        for isa in available() {
            assert_eq!(dispatch_on(isa, Dot(&a, &b)), 9900.0, "{isa:?}");
        }
        assert_eq!(dispatch(Dot(&a, &b)), 9900.0);
    }
}
