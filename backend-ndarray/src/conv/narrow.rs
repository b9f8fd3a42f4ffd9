//! Convolutions of few input channels (pictures): a patch is too short for a matrix product to pay, so small blocks
//! of results are kept in registers while the taps of a line of positions are read where they lie. For `f32`.

use super::patches::Patches;
use crate::fused::Session;
use crate::gemm::Epilogue;
use crate::parallel::{Shared, pieces_per_task};
use crate::run::Site;
use crate::scratch::Scratch;
use pulp::{Arch, Simd, WithSimd};

/// Positions of a block of results.
const HEIGHT: usize = 6;

/// Most taps × channels of a block of kernel gradients.
const DEPTH: usize = 6;

/// Multiplications of a task.
const GRAIN: usize = 1 << 20;

/// Whether this path is the better one.
pub(super) fn suits(patches: &Patches, groups: usize) -> bool {
    let depth = patches.taps() * patches.channels;
    groups == 1 && patches.channels <= 4 && patches.taps() > 1 && depth <= 64 && patches.is_dense()
}

/// The lines of the source that one line of results reads, with zeros where a tap lies outside.
struct Lines<'a> {
    patches: &'a Patches,
    /// Elements of a line.
    len: usize,
    /// Where each tap and channel of the first position lies.
    offsets: Vec<usize>,
    /// Elements from one position to the next.
    step: usize,
    memory: Scratch,
    source: &'a [f32],
    starts: Vec<Option<usize>>,
}

impl<'a> Lines<'a> {
    fn new(patches: &'a Patches, source: &'a [f32]) -> Self {
        let (width, channels) = (&patches.axes[2], patches.channels);
        let first = width.bases.first().copied().unwrap_or_default();
        let reach = |base: isize| (base - first).unsigned_abs();
        let last = width.bases.last().copied().unwrap_or_default();
        let len = ((width.count - 1) * width.step + reach(last) + 1) * channels;
        let lines = patches.axes[0].taps.len() * patches.axes[1].taps.len();
        let mut offsets = Vec::with_capacity(patches.taps() * channels);
        for line in 0..lines {
            for &base in &width.bases {
                offsets.extend((0..channels).map(|channel| line * len + reach(base) * channels + channel));
            }
        }
        let memory = Scratch::of::<f32>(lines * len);
        Self { patches, len, offsets, step: width.step * channels, memory, source, starts: Vec::new() }
    }

    /// Reads the lines for the results from `position` on, the first of a line.
    fn read(&mut self, position: usize) {
        let (width, channels) = (&self.patches.axes[2], self.patches.channels);
        self.patches.lines(&self.patches.place(position), &mut self.starts);
        let first = width.bases.first().copied().unwrap_or_default() * channels as isize;
        for (line, start) in self.memory.slice::<f32>().chunks_exact_mut(self.len).zip(&self.starts) {
            let inside = start.map(|start| &self.source[start * channels..][..width.source * channels]);
            let (before, skipped) = (first.min(0).unsigned_abs().min(line.len()), first.max(0) as usize);
            let (zeros, rest) = line.split_at_mut(before);
            zeros.fill(0.0);
            let inside = inside.and_then(|inside| inside.get(skipped..)).unwrap_or_default();
            let count = inside.len().min(rest.len());
            rest[..count].copy_from_slice(&inside[..count]);
            rest[count..].fill(0.0);
        }
    }
}

pub(super) fn forward(
    site: Site<'_>,
    patches: &Patches,
    x: &[f32],
    kernel: &[f32],
    filters: usize,
    out: &Shared<'_, f32>,
    session: Option<&Session<'_>>,
) {
    let line = patches.axes[2].count;
    let lines = patches.len() / line;
    let depth = kernel.len() / filters;
    let step = pieces_per_task(line * depth * filters, GRAIN);
    let arch = Arch::new();
    site.threads.run(lines.div_ceil(step), |task| {
        let mut epilogue = Epilogue::new(session);
        let mut source = Lines::new(patches, x);
        for i in task * step..lines.min((task + 1) * step) {
            source.read(i * line);
            let Lines { offsets, step, memory, .. } = &mut source;
            // SAFETY: tasks have disjoint lines.
            unsafe {
                let rows = out.range(i * line * filters, (i + 1) * line * filters);
                arch.dispatch(Line { source: memory.slice(), offsets, step: *step, kernel, rows, filters });
                epilogue.run(i * line..(i + 1) * line, 0..filters, filters);
            }
        }
    });
}

/// One line of results.
struct Line<'a> {
    source: &'a [f32],
    offsets: &'a [usize],
    step: usize,
    kernel: &'a [f32],
    rows: &'a mut [f32],
    filters: usize,
}

impl WithSimd for Line<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let mut column = 0;
        while column < self.filters {
            let left = self.filters - column;
            if left > S::F32_LANES {
                self.strip::<S, 2>(simd, column);
                column += 2 * S::F32_LANES;
            } else {
                self.strip::<S, 1>(simd, column);
                column += S::F32_LANES;
            }
        }
    }
}

impl Line<'_> {
    /// All positions of `V` vectors of columns.
    #[inline(always)]
    fn strip<S: Simd, const V: usize>(&mut self, simd: S, column: usize) {
        let count = self.rows.len() / self.filters;
        // The last block repeats positions of the one before rather than being shorter.
        let mut position = 0;
        while position < count {
            if count < HEIGHT {
                self.block::<S, V, 1>(simd, column, position);
                position += 1;
            } else {
                self.block::<S, V, HEIGHT>(simd, column, position.min(count - HEIGHT));
                position += HEIGHT;
            }
        }
    }

    /// `Σ source[i · step + offsets[k]] · kernel[k]` for `N` positions.
    #[inline(always)]
    fn block<S: Simd, const V: usize, const N: usize>(&mut self, simd: S, column: usize, first: usize) {
        let mut sums = [[simd.splat_f32s(0.0); V]; N];
        for (&offset, weights) in self.offsets.iter().zip(self.kernel.chunks_exact(self.filters)) {
            let weights = load::<S, V>(simd, &weights[column..]);
            let source = &self.source[first * self.step + offset..][..=(N - 1) * self.step];
            for (i, sums) in sums.iter_mut().enumerate() {
                let x = simd.splat_f32s(source[i * self.step]);
                for (sum, &w) in sums.iter_mut().zip(&weights) {
                    *sum = simd.mul_add_f32s(x, w, *sum);
                }
            }
        }
        for (row, sums) in self.rows[first * self.filters..].chunks_exact_mut(self.filters).zip(sums) {
            store::<S, V>(simd, &mut row[column..], sums);
        }
    }
}

/// The first `V` vectors of a row, zeros beyond its end.
#[inline(always)]
fn load<S: Simd, const V: usize>(simd: S, row: &[f32]) -> [S::f32s; V] {
    let mut vectors = [simd.splat_f32s(0.0); V];
    let (whole, rest) = S::as_simd_f32s(row);
    if let Some(whole) = whole.first_chunk::<V>() {
        return *whole;
    }
    for (i, vector) in vectors.iter_mut().enumerate() {
        *vector = whole.get(i).copied().unwrap_or_else(|| {
            if i == whole.len() { simd.partial_load_f32s(rest) } else { simd.splat_f32s(0.0) }
        });
    }
    vectors
}

/// Stores vectors at the start of a row, up to its end.
#[inline(always)]
fn store<S: Simd, const V: usize>(simd: S, row: &mut [f32], vectors: [S::f32s; V]) {
    let (whole, rest) = S::as_mut_simd_f32s(row);
    if let Some(whole) = whole.first_chunk_mut::<V>() {
        *whole = vectors;
        return;
    }
    let count = whole.len();
    for (i, vector) in vectors.into_iter().enumerate() {
        match whole.get_mut(i) {
            Some(target) => *target = vector,
            None if i == count => simd.partial_store_f32s(rest, vector),
            None => {}
        }
    }
}

/// The gradient of the kernel over every `part` lines of results.
pub(super) fn kernel_parts(
    site: Site<'_>,
    patches: &Patches,
    x: &[f32],
    grad: &[f32],
    filters: usize,
    part: usize,
    partials: &mut [f32],
) {
    let line = patches.axes[2].count;
    let lines = patches.len() / line;
    let depth = patches.taps() * patches.channels;
    let arch = Arch::new();
    site.threads.chunks(partials, depth * filters, |i, sums| {
        let mut source = Lines::new(patches, x);
        sums.fill(0.0);
        for i in i * part..lines.min((i + 1) * part) {
            source.read(i * line);
            let grad = &grad[i * line * filters..(i + 1) * line * filters];
            let Lines { offsets, step, memory, .. } = &mut source;
            arch.dispatch(GradLine { source: memory.slice(), offsets, step: *step, grad, sums, filters });
        }
    });
}

/// What one line of results adds to the kernel's gradient.
struct GradLine<'a> {
    source: &'a [f32],
    offsets: &'a [usize],
    step: usize,
    grad: &'a [f32],
    sums: &'a mut [f32],
    filters: usize,
}

impl WithSimd for GradLine<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let mut column = 0;
        while column < self.filters {
            if self.filters - column > S::F32_LANES {
                self.strip::<S, 2>(simd, column);
                column += 2 * S::F32_LANES;
            } else {
                self.strip::<S, 1>(simd, column);
                column += S::F32_LANES;
            }
        }
    }
}

impl GradLine<'_> {
    #[inline(always)]
    fn strip<S: Simd, const V: usize>(&mut self, simd: S, column: usize) {
        let depth = self.offsets.len();
        // The height that wastes least.
        let height = (3..=DEPTH).rev().min_by_key(|&height| depth.next_multiple_of(height)).unwrap_or(DEPTH);
        for first in (0..depth).step_by(height) {
            match height {
                3 => self.block::<S, V, 3>(simd, column, first),
                4 => self.block::<S, V, 4>(simd, column, first),
                5 => self.block::<S, V, 5>(simd, column, first),
                _ => self.block::<S, V, DEPTH>(simd, column, first),
            }
        }
    }

    /// Adds `Σ source[i · step + offsets[k]] · grad[i]` over the positions for `N` taps.
    #[inline(always)]
    fn block<S: Simd, const V: usize, const N: usize>(&mut self, simd: S, column: usize, first: usize) {
        // Beyond the last tap the first is repeated; nobody reads those sums.
        let at: [&[f32]; N] = std::array::from_fn(|i| {
            &self.source[self.offsets.get(first + i).copied().unwrap_or(self.offsets[0])..]
        });
        let mut sums = [[simd.splat_f32s(0.0); V]; N];
        for (i, grad) in self.grad.chunks_exact(self.filters).enumerate() {
            let grad = load::<S, V>(simd, &grad[column..]);
            for (sums, at) in sums.iter_mut().zip(&at) {
                let x = simd.splat_f32s(at[i * self.step]);
                for (sum, &g) in sums.iter_mut().zip(&grad) {
                    *sum = simd.mul_add_f32s(x, g, *sum);
                }
            }
        }
        let rows = self.sums[first * self.filters..].chunks_exact_mut(self.filters);
        for (row, sums) in rows.zip(sums) {
            let mut totals = load::<S, V>(simd, &row[column..]);
            for (total, sum) in totals.iter_mut().zip(sums) {
                *total = simd.add_f32s(*total, sum);
            }
            store::<S, V>(simd, &mut row[column..], totals);
        }
    }
}
