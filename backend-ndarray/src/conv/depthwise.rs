//! Depthwise convolutions: every channel has filters of its own, so vectors run along the channels.

use super::patches::{Patches, Place};
use crate::fused::Session;
use crate::gemm::{Epilogue, Gemm};
use crate::parallel::{Shared, pieces_per_task};
use crate::run::Site;
use crate::simd::{Level, Task, dispatch};

/// Multiplications of a task.
const GRAIN: usize = 1 << 17;

/// Positions of the result that make a task.
fn positions_per_task(patches: &Patches, filters: usize) -> usize {
    pieces_per_task(patches.taps() * filters, GRAIN)
}

/// Calls `visit(tap, source position)` for every tap of a place that lies inside the source.
#[inline(always)]
fn visit(patches: &Patches, place: &Place, lines: &[Option<usize>], mut visit: impl FnMut(usize, usize)) {
    let width = &patches.axes[2];
    for (i, line) in lines.iter().enumerate() {
        let Some(line) = line else { continue };
        for (k, base) in width.bases.iter().enumerate() {
            let at = (place.at[2] * width.step) as isize + base;
            if at >= 0 && (at as usize) < width.source {
                visit(i * width.bases.len() + k, line + at as usize);
            }
        }
    }
}

/// Channels that are summed in registers.
const WIDTH: usize = 32;

/// `row[c] = Σ weights[w + c] · x[s + c]` over the pairs `(w, s)`.
#[inline(always)]
fn weighted_sum<T: Gemm, L: Level>(taps: &[(usize, usize)], weights: &[T], x: &[T], row: &mut [T]) {
    let (blocks, rest) = row.as_chunks_mut::<WIDTH>();
    let done = blocks.len() * WIDTH;
    for (i, block) in blocks.iter_mut().enumerate() {
        let mut sums = [T::ZERO; WIDTH];
        for &(w, s) in taps {
            let weights = &weights[w + i * WIDTH..][..WIDTH];
            let x = &x[s + i * WIDTH..][..WIDTH];
            for ((sum, &w), &x) in sums.iter_mut().zip(weights).zip(x) {
                *sum = T::fma::<L>(w, x, *sum);
            }
        }
        *block = sums;
    }
    let len = rest.len();
    rest.fill(T::ZERO);
    for &(w, s) in taps {
        let pairs = weights[w + done..][..len].iter().zip(&x[s + done..][..len]);
        for (sum, (&w, &x)) in rest.iter_mut().zip(pairs) {
            *sum = T::fma::<L>(w, x, *sum);
        }
    }
}

pub(super) fn forward<T: Gemm>(
    site: Site<'_>,
    patches: &Patches,
    x: &[T],
    kernel: &[T],
    filters: usize,
    out: &Shared<'_, T>,
    session: Option<&Session<'_>>,
) {
    let positions = patches.len();
    let step = positions_per_task(patches, filters);
    site.threads.run(positions.div_ceil(step), |task| {
        let range = task * step..positions.min((task + 1) * step);
        // SAFETY: tasks have disjoint positions.
        unsafe {
            let rows = out.range(range.start * filters, range.end * filters);
            dispatch(Forward { patches, first: range.start, x, kernel, rows, filters });
            Epilogue::new(session).run(range, 0..filters, filters);
        }
    });
}

struct Forward<'a, T> {
    patches: &'a Patches,
    first: usize,
    x: &'a [T],
    kernel: &'a [T],
    rows: &'a mut [T],
    filters: usize,
}

impl<T: Gemm> Task for Forward<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<L: Level>(self) {
        let Self { patches, first, x, kernel, rows, filters } = self;
        let channels = patches.channels;
        let multiplier = filters / channels;
        let (mut lines, mut taps) = (Vec::new(), Vec::new());
        let mut next = patches.place(first);
        for (i, row) in rows.chunks_exact_mut(filters).enumerate() {
            let place = next;
            next = patches.next(place);
            if i == 0 || place.at[2] == 0 {
                patches.lines(&place, &mut lines);
            }
            if multiplier == 1 {
                taps.clear();
                visit(patches, &place, &lines, |tap, position| {
                    taps.push((tap * filters, position * channels));
                });
                weighted_sum::<T, L>(&taps, kernel, x, row);
                continue;
            }
            row.fill(T::ZERO);
            visit(patches, &place, &lines, |tap, position| {
                let weights = &kernel[tap * filters..][..filters];
                let x = &x[position * channels..][..channels];
                let cells = row.chunks_exact_mut(multiplier).zip(weights.chunks_exact(multiplier));
                for ((y, w), &x) in cells.zip(x) {
                    y.iter_mut().zip(w).for_each(|(y, &w)| *y = T::fma::<L>(w, x, *y));
                }
            });
        }
    }
}

/// The gradient of the input at the positions of one phase; `taps` are the kernel's numbers of the patches' taps.
pub(super) fn backward<T: Gemm>(
    site: Site<'_>,
    patches: &Patches,
    taps: &[usize],
    grad: &[T],
    kernel: &[T],
    channels: usize,
    out: &Shared<'_, T>,
) {
    let positions = patches.len();
    let step = positions_per_task(patches, patches.channels);
    site.threads.run(positions.div_ceil(step), |task| {
        let range = task * step..positions.min((task + 1) * step);
        dispatch(Backward { patches, taps, range, grad, kernel, channels, out });
    });
}

struct Backward<'a, T> {
    patches: &'a Patches,
    taps: &'a [usize],
    range: std::ops::Range<usize>,
    grad: &'a [T],
    kernel: &'a [T],
    channels: usize,
    out: &'a Shared<'a, T>,
}

impl<T: Gemm> Task for Backward<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<L: Level>(self) {
        let Self { patches, taps, range, grad, kernel, channels, out } = self;
        let filters = patches.channels;
        let multiplier = filters / channels;
        let (mut lines, mut reads) = (Vec::new(), Vec::new());
        let mut next = patches.place(range.start);
        for position in range.clone() {
            let place = next;
            next = patches.next(place);
            if position == range.start || place.at[2] == 0 {
                patches.lines(&place, &mut lines);
            }
            let start = patches.stored_at(&place) * channels;
            // SAFETY: tasks have disjoint positions.
            let row = unsafe { out.range(start, start + channels) };
            if multiplier == 1 {
                reads.clear();
                visit(patches, &place, &lines, |tap, at| reads.push((taps[tap] * filters, at * filters)));
                weighted_sum::<T, L>(&reads, kernel, grad, row);
                continue;
            }
            row.fill(T::ZERO);
            visit(patches, &place, &lines, |tap, at| {
                let weights = &kernel[taps[tap] * filters..][..filters];
                let grad = &grad[at * filters..][..filters];
                let cells = weights.chunks_exact(multiplier).zip(grad.chunks_exact(multiplier));
                for (y, (w, g)) in row.iter_mut().zip(cells) {
                    *y = w.iter().zip(g).fold(*y, |sum, (&w, &g)| T::fma::<L>(w, g, sum));
                }
            });
        }
    }
}

/// The gradient of the kernel over every `part` positions.
pub(super) fn kernel_parts<T: Gemm>(
    site: Site<'_>,
    patches: &Patches,
    x: &[T],
    grad: &[T],
    filters: usize,
    part: usize,
    partials: &mut [T],
) {
    let positions = patches.len();
    site.threads.chunks(partials, patches.taps() * filters, |i, sums| {
        let range = i * part..positions.min((i + 1) * part);
        dispatch(KernelPart { patches, range, x, grad, filters, sums });
    });
}

struct KernelPart<'a, T> {
    patches: &'a Patches,
    range: std::ops::Range<usize>,
    x: &'a [T],
    grad: &'a [T],
    filters: usize,
    sums: &'a mut [T],
}

impl<T: Gemm> Task for KernelPart<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<L: Level>(self) {
        let Self { patches, range, x, grad, filters, sums } = self;
        let channels = patches.channels;
        let multiplier = filters / channels;
        let mut lines = Vec::new();
        sums.fill(T::ZERO);
        let mut next = patches.place(range.start);
        for position in range.clone() {
            let place = next;
            next = patches.next(place);
            if position == range.start || place.at[2] == 0 {
                patches.lines(&place, &mut lines);
            }
            let grad = &grad[position * filters..][..filters];
            visit(patches, &place, &lines, |tap, at| {
                let sums = &mut sums[tap * filters..][..filters];
                let x = &x[at * channels..][..channels];
                if multiplier == 1 {
                    for ((sum, &g), &x) in sums.iter_mut().zip(grad).zip(x) {
                        *sum = T::fma::<L>(g, x, *sum);
                    }
                } else {
                    let cells = sums.chunks_exact_mut(multiplier).zip(grad.chunks_exact(multiplier));
                    for ((sum, g), &x) in cells.zip(x) {
                        sum.iter_mut().zip(g).for_each(|(sum, &g)| *sum = T::fma::<L>(g, x, *sum));
                    }
                }
            });
        }
    }
}
