//! Winograd's F(4×4, 3×3) for `f32` (Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2015): a
//! tile of 4 × 4 results costs 36 multiplications per pair of channels instead of 144. Tiles of input are
//! transformed, 36 matrix products sum over the channels, and their results are transformed back.
//!
//! The transforms mix neighbouring pixels, so a NaN or an infinity would spread over its tile: the caller learns
//! which blocks hold one, and computes them directly.

use super::patches::Patches;
use crate::gemm::{Matrix, Target};
use crate::panels::{self, WIDTH};
use crate::parallel::Shared;
use crate::run::Site;
use crate::scratch::Scratch;
use crate::tensor::{Out, Tensor};
use keras_core::{DType, Result};
use pulp::{Arch, Simd, WithSimd};
use std::ops::Range;

/// Results along the side of a tile.
const SIDE: usize = 4;

/// Inputs along the side of a tile.
const REACH: usize = 6;

/// Products of a tile.
const POINTS: usize = REACH * REACH;

/// Tiles of a block, if the channels are few enough.
const BLOCK: usize = 64;

/// Elements of a block's transformed tiles.
const ROOM: usize = 1 << 21;

/// A convolution that this algorithm computes.
pub(super) struct Winograd<'a> {
    patches: &'a Patches,
    channels: usize,
    filters: usize,
    /// Tiles along height and width.
    tiles: [usize; 2],
    /// Rows of tiles in a block.
    rows: usize,
}

impl<'a> Winograd<'a> {
    /// The algorithm for those patches, where it is the better one.
    pub(super) fn new(patches: &'a Patches, groups: usize, filters: usize) -> Option<Self> {
        let channels = patches.channels;
        let [depth, height, width] = &patches.axes;
        let square = [height, width]
            .iter()
            .all(|axis| axis.step == 1 && axis.bases.len() == 3 && axis.is_consecutive());
        let flat = depth.bases == [0] && depth.step == 1 && depth.source == depth.count;
        let wide =
            channels.is_multiple_of(16) && filters.is_multiple_of(16) && channels >= 32 && filters >= 32;
        let tiles = [height.count.div_ceil(SIDE), width.count.div_ceil(SIDE)];
        let covered = tiles[0] * tiles[1] * SIDE * SIDE;
        let worth = 5 * covered <= 9 * height.count * width.count && patches.len() >= 512;
        (groups == 1 && square && flat && wide && worth && patches.is_dense()).then(|| {
            let block = (ROOM / (POINTS * (channels + filters))).clamp(BLOCK / 4, BLOCK);
            Self { patches, channels, filters, tiles, rows: (block / tiles[1]).max(1) }
        })
    }

    /// Elements of the panels of one point of the transformed kernel.
    fn point_len(&self) -> usize {
        self.channels * self.filters.next_multiple_of(WIDTH)
    }

    /// Rows of tiles, over all samples.
    fn tile_rows(&self) -> usize {
        self.patches.batch * self.patches.axes[0].count * self.tiles[0]
    }

    /// How many blocks there are.
    pub(super) fn blocks(&self) -> usize {
        self.tile_rows().div_ceil(self.rows)
    }

    /// Multiplications of a block.
    pub(super) fn block_work(&self) -> usize {
        POINTS * self.rows * self.tiles[1] * self.channels * self.filters
    }

    fn block_rows(&self, block: usize) -> Range<usize> {
        block * self.rows..self.tile_rows().min((block + 1) * self.rows)
    }

    /// The first line of results of a row of tiles, and how many lines it has.
    fn lines(&self, row: usize) -> (usize, usize) {
        let (plane, line) = (row / self.tiles[0], row % self.tiles[0] * SIDE);
        let height = self.patches.axes[1].count;
        (plane * height + line, SIDE.min(height - line))
    }

    /// The positions of the results of a block: whole lines, one after another.
    pub(super) fn positions(&self, block: usize) -> Range<usize> {
        let (rows, width) = (self.block_rows(block), self.patches.axes[2].count);
        let (first, _) = self.lines(rows.start);
        let (last, count) = self.lines(rows.end - 1);
        first * width..(last + count) * width
    }

    /// Transforms a kernel `[9, channels, filters]`: 36 matrices of `channels × filters`, each in panels. `None` if the
    /// kernel is not finite.
    pub(super) fn transform_kernel(&self, site: Site<'_>, kernel: &[f32]) -> Result<Option<Tensor>> {
        if !kernel.iter().all(|weight| weight.is_finite()) {
            return Ok(None);
        }
        let mut out = Out::new(site.pool, &[POINTS, self.point_len()], DType::F32)?;
        let shared = Shared::new(out.slice::<f32>());
        let arch = Arch::new();
        site.threads.run(self.filters.div_ceil(WIDTH), |panel| {
            let start = panel * WIDTH * self.channels;
            let points: [&mut [f32]; POINTS] = std::array::from_fn(|point| {
                let start = point * self.point_len() + start;
                // SAFETY: every panel has its own part of each point.
                unsafe { shared.range(start, start + WIDTH * self.channels) }
            });
            arch.dispatch(KernelTransform { plan: self, kernel, first: panel * WIDTH, points });
        });
        Ok(Some(out.finish()))
    }

    /// Whether a transformed kernel is one of this convolution.
    pub(super) fn suits(&self, kernel: &Tensor) -> bool {
        kernel.shape() == [POINTS, self.point_len()]
    }

    /// Computes a block of results into `rows`, those of [`positions`](Self::positions). Returns whether the block
    /// holds a NaN or an infinity: then `rows` is worth nothing.
    pub(super) fn block(&self, block: usize, source: &[f32], kernel: &[f32], rows: &mut [f32]) -> bool {
        let tile_rows = self.block_rows(block);
        let count = tile_rows.len() * self.tiles[1];
        let (inputs, results) = (count * self.channels, count * self.filters);
        let mut memory = Scratch::of::<f32>(POINTS * (inputs + results));
        let (left, right) = memory.slice::<f32>().split_at_mut(POINTS * inputs);
        let arch = Arch::new();
        let finite =
            arch.dispatch(InputTransform { plan: self, tile_rows: tile_rows.clone(), source, points: left });
        if !finite {
            return true;
        }
        for point in 0..POINTS {
            let a = Matrix::new(&left[point * inputs..(point + 1) * inputs], self.channels);
            let panels = &kernel[point * self.point_len()..(point + 1) * self.point_len()];
            let target = &mut right[point * results..(point + 1) * results];
            let target = Target { start: target.as_mut_ptr(), rows: self.filters };
            // SAFETY: the target is this block's own scratch memory, of `count × filters` elements.
            unsafe { panels::product((count, self.filters, self.channels), &target, false, a, panels) };
        }
        arch.dispatch(OutputTransform { plan: self, tile_rows, points: &right[..POINTS * results], rows });
        false
    }
}

/// The transformation of the filters from `first` on that a panel holds.
struct KernelTransform<'a, 'p> {
    plan: &'a Winograd<'p>,
    kernel: &'a [f32],
    first: usize,
    points: [&'a mut [f32]; POINTS],
}

impl WithSimd for KernelTransform<'_, '_> {
    type Output = ();

    #[inline(always)]
    #[allow(clippy::needless_range_loop, reason = "several arrays are indexed alike")]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let Winograd { channels, filters, .. } = *self.plan;
        let width = WIDTH.min(filters - self.first);
        for channel in 0..channels {
            let taps: [&[S::f32s]; 9] = std::array::from_fn(|tap| {
                S::as_simd_f32s(&self.kernel[(tap * channels + channel) * filters + self.first..][..width]).0
            });
            for i in 0..width / S::F32_LANES {
                let columns: [[S::f32s; REACH]; 3] =
                    std::array::from_fn(|j| kernel_line(simd, [taps[j][i], taps[3 + j][i], taps[6 + j][i]]));
                for row in 0..REACH {
                    let points = kernel_line(simd, [columns[0][row], columns[1][row], columns[2][row]]);
                    for (column, point) in points.into_iter().enumerate() {
                        let rows = S::as_mut_simd_f32s(self.points[row * REACH + column]).0;
                        rows[channel * (WIDTH / S::F32_LANES) + i] = point;
                    }
                }
            }
            for point in &mut self.points {
                point[channel * WIDTH + width..(channel + 1) * WIDTH].fill(0.0);
            }
        }
    }
}

/// `G g` of one line. (Closures would not do: the compiler may leave them outside the instruction set.)
#[inline(always)]
fn kernel_line<S: Simd>(simd: S, g: [S::f32s; 3]) -> [S::f32s; REACH] {
    let minus_sixth = simd.splat_f32s(-1.0 / 6.0);
    let outer = simd.add_f32s(g[0], g[2]);
    let far = simd.mul_f32s(g[2], simd.splat_f32s(1.0 / 6.0));
    let even = simd.mul_add_f32s(g[0], simd.splat_f32s(1.0 / 24.0), far);
    let odd = simd.mul_f32s(g[1], simd.splat_f32s(1.0 / 12.0));
    [
        simd.mul_f32s(g[0], simd.splat_f32s(0.25)),
        simd.mul_f32s(simd.add_f32s(outer, g[1]), minus_sixth),
        simd.mul_f32s(simd.sub_f32s(outer, g[1]), minus_sixth),
        simd.add_f32s(even, odd),
        simd.sub_f32s(even, odd),
        g[2],
    ]
}

/// `Bᵀ d` of one line.
#[inline(always)]
fn input_line<S: Simd>(simd: S, d: [S::f32s; REACH]) -> [S::f32s; REACH] {
    let (two, four, five) = (simd.splat_f32s(2.0), simd.splat_f32s(4.0), simd.splat_f32s(5.0));
    let a = simd.negate_mul_add_f32s(four, d[2], d[4]);
    let b = simd.negate_mul_add_f32s(four, d[1], d[3]);
    let c = simd.sub_f32s(d[4], d[2]);
    let e = simd.mul_f32s(two, simd.sub_f32s(d[3], d[1]));
    [
        simd.mul_add_f32s(four, d[0], simd.negate_mul_add_f32s(five, d[2], d[4])),
        simd.add_f32s(a, b),
        simd.sub_f32s(a, b),
        simd.add_f32s(c, e),
        simd.sub_f32s(c, e),
        simd.mul_add_f32s(four, d[1], simd.negate_mul_add_f32s(five, d[3], d[5])),
    ]
}

/// `Aᵀ m` of one line.
#[inline(always)]
fn output_line<S: Simd>(simd: S, m: [S::f32s; REACH]) -> [S::f32s; SIDE] {
    let (two, four, eight) = (simd.splat_f32s(2.0), simd.splat_f32s(4.0), simd.splat_f32s(8.0));
    let (a, b) = (simd.add_f32s(m[1], m[2]), simd.sub_f32s(m[1], m[2]));
    let (c, d) = (simd.add_f32s(m[3], m[4]), simd.sub_f32s(m[3], m[4]));
    [
        simd.add_f32s(simd.add_f32s(m[0], a), c),
        simd.mul_add_f32s(two, d, b),
        simd.mul_add_f32s(four, c, a),
        simd.mul_add_f32s(eight, d, simd.add_f32s(b, m[5])),
    ]
}

struct InputTransform<'a, 'p> {
    plan: &'a Winograd<'p>,
    tile_rows: Range<usize>,
    source: &'a [f32],
    points: &'a mut [f32],
}

impl WithSimd for InputTransform<'_, '_> {
    /// Whether everything read is finite.
    type Output = bool;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> bool {
        let Winograd { patches, channels, tiles, .. } = *self.plan;
        let [_, height, width] = &patches.axes;
        let count = self.tile_rows.len() * tiles[1] * channels / S::F32_LANES;
        let points = S::as_mut_simd_f32s(self.points).0;
        let zero = simd.splat_f32s(0.0);
        // Times zero it stays zero, but for NaN and infinities.
        let mut poison = zero;
        let mut at = 0;
        for row in self.tile_rows {
            let (plane, top) = (row / tiles[0], row % tiles[0] * SIDE);
            for tile in 0..tiles[1] {
                let left = tile * SIDE;
                let pixel = |point: usize| {
                    let y = (top + point / REACH) as isize + height.bases[0];
                    let x = (left + point % REACH) as isize + width.bases[0];
                    let (y, x) = (usize::try_from(y).ok()?, usize::try_from(x).ok()?);
                    let position = (plane * height.source + y) * width.source + x;
                    (y < height.source && x < width.source)
                        .then(|| &self.source[position * channels..][..channels])
                };
                let pixels: [&[S::f32s]; POINTS] = std::array::from_fn(|point| {
                    pixel(point).map_or(&[][..], |pixel| S::as_simd_f32s(pixel).0)
                });
                for c in 0..channels / S::F32_LANES {
                    let mut columns = [[zero; REACH]; REACH];
                    for (j, column) in columns.iter_mut().enumerate() {
                        let d =
                            std::array::from_fn(|i| pixels[i * REACH + j].get(c).copied().unwrap_or(zero));
                        for &d in &d {
                            poison = simd.mul_add_f32s(d, zero, poison);
                        }
                        *column = input_line(simd, d);
                    }
                    for i in 0..REACH {
                        let line = input_line(simd, std::array::from_fn(|j| columns[j][i]));
                        for (j, point) in line.into_iter().enumerate() {
                            points[(i * REACH + j) * count + at] = point;
                        }
                    }
                    at += 1;
                }
            }
        }
        simd.reduce_sum_f32s(poison) == 0.0
    }
}

struct OutputTransform<'a, 'p> {
    plan: &'a Winograd<'p>,
    tile_rows: Range<usize>,
    points: &'a [f32],
    rows: &'a mut [f32],
}

impl WithSimd for OutputTransform<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Winograd { patches, filters, tiles, .. } = *self.plan;
        let width = patches.axes[2].count;
        let vectors = filters / S::F32_LANES;
        let count = self.tile_rows.len() * tiles[1] * vectors;
        let points = S::as_simd_f32s(self.points).0;
        let rows = S::as_mut_simd_f32s(self.rows).0;
        let (first, _) = self.plan.lines(self.tile_rows.start);
        let mut at = 0;
        for row in self.tile_rows.clone() {
            let (line, lines) = self.plan.lines(row);
            for tile in 0..tiles[1] {
                let left = tile * SIDE;
                let columns_here = SIDE.min(width - left);
                let start = ((line - first) * width + left) * vectors;
                for f in 0..vectors {
                    let columns: [[S::f32s; SIDE]; REACH] = std::array::from_fn(|j| {
                        output_line(simd, std::array::from_fn(|i| points[(i * REACH + j) * count + at]))
                    });
                    for i in 0..lines {
                        let results = output_line(simd, std::array::from_fn(|j| columns[j][i]));
                        for (j, result) in results.into_iter().enumerate().take(columns_here) {
                            rows[start + (i * width + j) * vectors + f] = result;
                        }
                    }
                    at += 1;
                }
            }
        }
    }
}
