//! Convolutions and their gradients over one to three spatial axes, channels last.
//!
//! Blocks of positions are copied into the rows of a matrix (im2col) that fits the cache and multiplied there; the
//! matrix of the whole input never exists. The gradient of the input reads the gradient of the result as a
//! convolution does, in one part per phase of the strides, so it too writes every element once. Depthwise
//! convolutions run directly.

mod depthwise;
mod narrow;
mod patches;
mod winograd;

use crate::fused::Session;
use crate::gemm::{Epilogue, Gemm, Matrix, Target, product, rank_error, whole_vectors, with_float};
use crate::geometry::Windows;
use crate::loops::Loops;
use crate::matmul::dtype_of;
use crate::panels::{self, Packed, WIDTH};
use crate::parallel::{Shared, pieces_per_task};
use crate::run::{Site, tree};
use crate::scratch::Scratch;
use crate::tensor::{Out, Prepared, Tensor};
use keras_core::graph::{ConvSpec, Reduce};
use keras_core::{DType, Result};
use patches::Patches;
use std::ops::Range;
use winograd::Winograd;

/// Operations of a task: about 40 µs on one core.
const GRAIN: usize = 1 << 22;

/// Elements of a block's matrix, which should stay in L2.
const BLOCK: usize = 1 << 16;

/// A convolution with its lengths.
pub(crate) struct Conv {
    windows: Windows,
    groups: usize,
    filters: usize,
    /// Spatial axes.
    spatial: usize,
}

impl Conv {
    pub(crate) fn new(spec: &ConvSpec, input: &[usize], kernel: &[usize]) -> Result<Self> {
        let spatial = spec.strides.len();
        match (input, kernel.split_at_checked(spatial)) {
            ([batch, sizes @ .., channels], Some((window, [_, filters]))) if sizes.len() == spatial => {
                Ok(Self {
                    windows: Windows::of_conv(spec, *batch, sizes, *channels, window),
                    groups: spec.groups,
                    filters: *filters,
                    spatial,
                })
            }
            _ => rank_error("conv", input),
        }
    }

    pub(crate) fn output_shape(&self) -> Vec<usize> {
        self.windows.output_shape(self.spatial, self.filters)
    }

    fn input_shape(&self) -> Vec<usize> {
        let mut shape = vec![self.windows.batch];
        shape.extend(self.windows.axes[3 - self.spatial..].iter().map(|axis| axis.input));
        shape.push(self.windows.channels);
        shape
    }

    fn window(&self) -> [usize; 3] {
        self.windows.axes.map(|axis| axis.window)
    }

    fn is_depthwise(&self) -> bool {
        self.groups > 1 && self.groups == self.windows.channels
    }
}

pub(crate) fn conv(site: Site<'_>, spec: &ConvSpec, x: &Tensor, kernel: &Tensor) -> Result<Tensor> {
    let conv = Conv::new(spec, x.shape(), kernel.shape())?;
    let mut out = Out::new(site.pool, &conv.output_shape(), x.dtype())?;
    with_float!("conv", x.dtype(), T => {
        into::<T>(site, &conv, x, kernel, &Shared::new(out.slice()), None)
    })?;
    Ok(out.finish())
}

/// Computes the convolution into `out`, and runs the session's kernel on every block of it.
pub(crate) fn into<T: Gemm>(
    site: Site<'_>,
    conv: &Conv,
    x: &Tensor,
    kernel: &Tensor,
    out: &Shared<'_, T>,
    session: Option<&Session<'_>>,
) -> Result<()> {
    let patches = Patches::forward(&conv.windows);
    let (x, tensor) = (x.slice::<T>(), kernel);
    let kernel = tensor.slice::<T>();
    if conv.is_depthwise() {
        depthwise::forward(site, &patches, x, kernel, conv.filters, out, session);
        return Ok(());
    }
    if narrow::suits(&patches, conv.groups)
        && let (Some(x), Some(kernel), Some(out)) =
            (T::singles(x), T::singles(kernel), T::shared_singles(out))
    {
        narrow::forward(site, &patches, x, kernel, conv.filters, &out, session);
        return Ok(());
    }
    let (filters, each) = (conv.filters, conv.filters / conv.groups);
    let kernels = (kernel, tensor.winograd());
    if try_winograd(site, &patches, conv.groups, x, kernels, filters, out, session)? {
        return Ok(());
    }
    let kernel_of = |group: usize| Matrix::new(kernel, filters).at(0, group * each);
    correlate(site, &patches, conv.groups, x, (kernel_of, tensor.panels()), filters, out, session)
}

/// What [`into`] computes from the kernel alone.
pub(crate) fn prepare(site: Site<'_>, conv: &Conv, kernel: &Tensor) -> Result<Option<Prepared>> {
    let patches = Patches::forward(&conv.windows);
    let single = kernel.dtype() == DType::F32;
    if conv.groups > 1 || (single && narrow::suits(&patches, conv.groups)) {
        return Ok(None);
    }
    if single
        && let Some(plan) = Winograd::new(&patches, conv.groups, conv.filters)
        && let Some(transformed) = plan.transform_kernel(site, kernel.slice())?
    {
        return Ok(Some(Prepared::Winograd(transformed)));
    }
    with_float!("prepack", kernel.dtype(), T => {
        let matrix = Matrix::new(kernel.slice::<T>(), conv.filters);
        let packed = Packed::new(site, matrix, patches.taps() * patches.channels, conv.filters)?;
        Ok(Some(Prepared::Panels(packed)))
    })
}

/// Runs Winograd's algorithm where it is the better one; says whether it did. `kernel` has the taps of the patches
/// in their order, `[taps, channels, out_channels]`; it may have been transformed before.
#[allow(clippy::too_many_arguments, reason = "one call for the convolution, one for its gradient")]
fn try_winograd<T: Gemm>(
    site: Site<'_>,
    patches: &Patches,
    groups: usize,
    source: &[T],
    (kernel, transformed): (&[T], Option<&Tensor>),
    out_channels: usize,
    out: &Shared<'_, T>,
    session: Option<&Session<'_>>,
) -> Result<bool> {
    let Some(plan) = Winograd::new(patches, groups, out_channels) else { return Ok(false) };
    let (Some(x), Some(weights), Some(singles)) =
        (T::singles(source), T::singles(kernel), T::shared_singles(out))
    else {
        return Ok(false);
    };
    let made;
    let transformed = if let Some(transformed) = transformed.filter(|kernel| plan.suits(kernel)) {
        transformed.slice()
    } else {
        let Some(kernel) = plan.transform_kernel(site, weights)? else { return Ok(false) };
        made = kernel;
        made.slice()
    };
    let depth = patches.taps() * patches.channels;
    let step = pieces_per_task(2 * plan.block_work(), GRAIN);
    site.threads.run(plan.blocks().div_ceil(step), |task| {
        let mut epilogue = Epilogue::new(session);
        for block in task * step..plan.blocks().min((task + 1) * step) {
            let positions = plan.positions(block);
            // SAFETY: blocks have disjoint positions.
            unsafe {
                let rows = singles.range(positions.start * out_channels, positions.end * out_channels);
                if plan.block(block, x, transformed, rows) {
                    let mut matrix = Scratch::of::<T>(positions.len() * depth);
                    patches.gather(source, 0..patches.channels, positions.clone(), matrix.slice());
                    let left = Matrix::new(&*matrix.slice::<T>(), depth);
                    let start = out.as_ptr().wrapping_add(positions.start * out_channels);
                    let target = Target { start, rows: out_channels };
                    let sizes = (positions.len(), out_channels, depth);
                    product(sizes, &target, false, left, Matrix::new(kernel, out_channels));
                }
                epilogue.run(positions, 0..out_channels, out_channels);
            }
        }
    });
    Ok(true)
}

pub(crate) fn conv_grad_input(
    site: Site<'_>,
    spec: &ConvSpec,
    input: &[usize],
    grad: &Tensor,
    kernel: &Tensor,
) -> Result<Tensor> {
    let channels = kernel.shape()[spec.strides.len()] * spec.groups;
    let shape = [&grad.shape()[..1], input, &[channels]].concat();
    let conv = Conv::new(spec, &shape, kernel.shape())?;
    let mut out = Out::new(site.pool, &conv.input_shape(), grad.dtype())?;
    with_float!("conv_grad_input", grad.dtype(), T => grad_input::<T>(site, &conv, grad, kernel, &Shared::new(out.slice())))?;
    Ok(out.finish())
}

fn grad_input<T: Gemm>(
    site: Site<'_>,
    conv: &Conv,
    grad: &Tensor,
    kernel: &Tensor,
    out: &Shared<'_, T>,
) -> Result<()> {
    let (grad, kernel) = (grad.slice::<T>(), kernel.slice::<T>());
    let Conv { groups, filters, windows, .. } = conv;
    let (channels, each) = (windows.channels / groups, filters / groups);
    for patches in Patches::backward(windows, *filters) {
        let taps = patches.tap_numbers(conv.window());
        if conv.is_depthwise() {
            depthwise::backward(site, &patches, &taps, grad, kernel, *groups, out);
            continue;
        }
        // The kernel with its last two axes swapped, its taps in the order of the patches: a block per group and tap.
        let block = each * channels;
        let mut memory = Out::new(site.pool, &[groups * taps.len().max(1) * block], dtype_of::<T>())?;
        site.threads.chunks(memory.slice::<T>(), block, |i, target| {
            let Some(tap) = taps.get(i % taps.len().max(1)) else { return };
            let first = tap * channels * filters + i / taps.len() * each;
            swap(&kernel[first..], *filters, channels, each, target);
        });
        let swapped = memory.slice::<T>();
        if try_winograd(site, &patches, *groups, grad, (swapped, None), windows.channels, out, None)? {
            continue;
        }
        let kernel_of = |group: usize| Matrix::new(&swapped[group * taps.len() * block..], channels);
        correlate(site, &patches, *groups, grad, (kernel_of, None), windows.channels, out, None)?;
    }
    Ok(())
}

/// `target[j][i] = source[i · step + j]` for `rows × columns` elements of the source.
fn swap<T: Copy>(source: &[T], step: usize, rows: usize, columns: usize, target: &mut [T]) {
    const SIDE: usize = 16;
    for first in (0..rows).step_by(SIDE) {
        for column in 0..columns {
            for row in first..rows.min(first + SIDE) {
                target[column * rows + row] = source[row * step + column];
            }
        }
    }
}

/// The blocks of a correlation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Blocks {
    /// Positions of a block.
    positions: usize,
    /// Result columns of a block, per group.
    columns: usize,
}

impl Blocks {
    /// `columns` are those of one of `groups`; the columns of one group alone may be cut.
    fn new(positions: usize, depth: usize, columns: usize, groups: usize) -> Self {
        let work = 2 * positions * depth * columns * groups;
        let mut block = whole_vectors(BLOCK / depth).clamp(64, 1024);
        if work > 16 * GRAIN {
            block = block.min(whole_vectors(positions.div_ceil(8)));
        }
        let count = positions.div_ceil(block);
        let columns = if work > 8 * GRAIN && count < 8 && columns >= 128 && groups == 1 {
            columns.div_ceil(8 / count).next_multiple_of(WIDTH).max(64).min(columns)
        } else {
            columns
        };
        Self { positions: block, columns }
    }
}

/// `out[p, g] = Σ source[patch p, channels of g] · kernel(g)` for all positions and groups.
#[allow(clippy::too_many_arguments, reason = "one call for the convolution, one for its gradient")]
fn correlate<'a, T: Gemm>(
    site: Site<'_>,
    patches: &Patches,
    groups: usize,
    source: &[T],
    (kernel_of, prepared): (impl Fn(usize) -> Matrix<'a, T> + Sync, Option<&Packed>),
    out_channels: usize,
    out: &Shared<'_, T>,
    session: Option<&Session<'_>>,
) -> Result<()> {
    let (positions, each) = (patches.len(), out_channels / groups);
    let channels = patches.channels / groups;
    let depth = patches.taps() * channels;
    let blocks = Blocks::new(positions, depth.max(1), each, groups);
    let strips = each.div_ceil(blocks.columns);
    let units = positions.div_ceil(blocks.positions) * strips;
    let step = pieces_per_task(2 * blocks.positions * blocks.columns * depth * groups, GRAIN);
    let (identity, dense) = (patches.is_identity(), patches.is_dense());
    let made;
    // The kernels of groups are too narrow for panels.
    let packed = match prepared.filter(|packed| packed.suits::<T>(depth, each)) {
        _ if groups > 1 || depth == 0 => None,
        Some(packed) => Some(packed),
        None => {
            made = Packed::new(site, kernel_of(0), depth, each)?;
            Some(&made)
        }
    };
    site.threads.run(units.div_ceil(step), |task| {
        let mut matrix = Scratch::of::<T>(if identity { 0 } else { blocks.positions * depth });
        let mut result = Scratch::of::<T>(if dense { 0 } else { blocks.positions * blocks.columns });
        let mut epilogue = Epilogue::new(session);
        for unit in task * step..units.min((task + 1) * step) {
            let first = unit / strips * blocks.positions;
            let range = first..positions.min(first + blocks.positions);
            let column = unit % strips * blocks.columns;
            let width = blocks.columns.min(each - column);
            for group in 0..groups {
                let left = if identity {
                    Matrix::new(source, patches.channels).at(range.start, group * channels)
                } else {
                    let matrix = matrix.slice::<T>();
                    patches.gather(source, group * channels..(group + 1) * channels, range.clone(), matrix);
                    Matrix::new(&*matrix, depth)
                };
                let right = packed.map_or_else(
                    || Right::Plain(kernel_of(group).at(0, column)),
                    |packed| Right::Panels(packed.at(column)),
                );
                let columns = group * each + column..group * each + column + width;
                let sizes = (range.len(), width, depth);
                // SAFETY: units have disjoint positions or columns, and groups disjoint columns.
                unsafe {
                    if dense {
                        let start = out.as_ptr().wrapping_add(range.start * out_channels + columns.start);
                        write(sizes, &Target { start, rows: out_channels }, left, right);
                    } else {
                        let rows = result.slice::<T>();
                        write(sizes, &Target { start: rows.as_mut_ptr(), rows: width }, left, right);
                        scatter(patches, range.clone(), rows, columns, out_channels, out);
                    }
                }
            }
            // SAFETY: the unit's own part of the output.
            unsafe {
                let columns = if strips > 1 { column..column + width } else { 0..out_channels };
                epilogue.run(range, columns, out_channels);
            }
        }
    });
    Ok(())
}

/// The right-hand side of a product.
#[derive(Clone, Copy)]
enum Right<'a, T> {
    Plain(Matrix<'a, T>),
    Panels(&'a [T]),
}

/// A product, or zeros where the sum has no terms.
///
/// # Safety
/// That of [`product`].
unsafe fn write<T: Gemm>(
    sizes: (usize, usize, usize),
    target: &Target<T>,
    a: Matrix<'_, T>,
    b: Right<'_, T>,
) {
    if sizes.2 > 0 {
        // SAFETY: the caller's promise.
        unsafe {
            match b {
                Right::Plain(b) => product(sizes, target, false, a, b),
                Right::Panels(panels) => panels::product(sizes, target, false, a, panels),
            }
        }
        return;
    }
    for row in 0..sizes.0 {
        // SAFETY: the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(target.start.wrapping_add(row * target.rows), sizes.1) }
            .fill(T::ZERO);
    }
}

/// Stores the rows of a block at their positions.
///
/// # Safety
/// Nothing else accesses those columns of those positions meanwhile.
unsafe fn scatter<T: Gemm>(
    patches: &Patches,
    positions: Range<usize>,
    rows: &[T],
    columns: Range<usize>,
    out_channels: usize,
    out: &Shared<'_, T>,
) {
    for (position, row) in positions.zip(rows.chunks_exact(columns.len())) {
        let start = patches.stored_at(&patches.place(position)) * out_channels;
        // SAFETY: the caller's promise.
        unsafe { out.range(start + columns.start, start + columns.end) }.copy_from_slice(row);
    }
}

pub(crate) fn conv_grad_kernel(
    site: Site<'_>,
    spec: &ConvSpec,
    kernel: &[usize],
    x: &Tensor,
    grad: &Tensor,
) -> Result<Tensor> {
    let spatial = spec.strides.len();
    let (channels, filters) = (x.shape()[spatial + 1] / spec.groups, grad.shape()[spatial + 1]);
    let shape = [kernel, &[channels, filters]].concat();
    let conv = Conv::new(spec, x.shape(), &shape)?;
    let mut out = Out::new(site.pool, &shape, x.dtype())?;
    with_float!("conv_grad_kernel", x.dtype(), T => grad_kernel::<T>(site, &conv, x, grad, out.slice()))?;
    Ok(out.finish())
}

/// The gradient of the kernel is a sum over positions: parts of them, cut by shape, are added in a tree.
fn grad_kernel<T: Gemm>(site: Site<'_>, conv: &Conv, x: &Tensor, grad: &Tensor, out: &mut [T]) -> Result<()> {
    let patches = Patches::forward(&conv.windows);
    let (x, grad) = (x.slice::<T>(), grad.slice::<T>());
    let Conv { groups, filters, .. } = *conv;
    let (channels, each) = (conv.windows.channels / groups, filters / groups);
    let (positions, depth) = (patches.len(), patches.taps() * channels);
    let work = 2 * positions * depth * filters;
    // Parts cost memory and a sum; columns of one group can be cut as well, at the price of copying patches again.
    let strip = if groups == 1 && out.len() > 1 << 16 && each >= 128 {
        whole_vectors(each.div_ceil(4)).max(64)
    } else {
        each
    };
    let strips = each.div_ceil(strip);
    let most = (work / GRAIN / strips).clamp(1, (1_usize << 22).div_ceil(out.len()).clamp(2, 16));
    let narrow = T::singles(x).zip(T::singles(grad)).filter(|_| narrow::suits(&patches, groups));
    // Narrow convolutions go line by line.
    let unit = if narrow.is_some() { patches.axes[2].count } else { 1 };
    let part = whole_vectors((positions / unit).div_ceil(most));
    let parts = (positions / unit).div_ceil(part);
    let mut memory = Out::new(site.pool, &[parts, out.len()], dtype_of::<T>())?;
    if conv.is_depthwise() {
        depthwise::kernel_parts(site, &patches, x, grad, filters, part, memory.slice());
    } else if let Some((x, grad)) = narrow {
        narrow::kernel_parts(site, &patches, x, grad, filters, part, memory.slice());
    } else {
        let block = whole_vectors(2 * BLOCK / depth).clamp(128, 2048).min(part);
        let identity = patches.is_identity();
        let partials = Shared::new(memory.slice::<T>());
        site.threads.run(parts * strips, |unit| {
            let (first, column) = (unit / strips * part, unit % strips * strip);
            let width = strip.min(each - column);
            let mut matrix = Scratch::of::<T>(if identity { 0 } else { block * depth });
            for start in (first..positions.min(first + part)).step_by(block) {
                let range = start..positions.min(first + part).min(start + block);
                for group in 0..groups {
                    let Matrix { data, rows, .. } = if identity {
                        Matrix::new(x, patches.channels).at(range.start, group * channels)
                    } else {
                        let matrix = matrix.slice::<T>();
                        patches.gather(x, group * channels..(group + 1) * channels, range.clone(), matrix);
                        Matrix::new(&*matrix, depth)
                    };
                    let left = Matrix { data, rows: 1, columns: rows };
                    let column = group * each + column;
                    let right = Matrix::new(grad, filters).at(range.start, column);
                    let start = partials.as_ptr().wrapping_add(first / part * depth * filters + column);
                    // SAFETY: a unit has its part's sums and its columns of them alone.
                    unsafe {
                        let target = Target { start, rows: filters };
                        product((depth, width, range.len()), &target, range.start > first, left, right);
                    }
                }
            }
        });
    }
    let add = <T as Loops>::reduction(Reduce::Sum).1;
    tree(site.threads, add, memory.slice::<T>(), parts, out.len(), out);
    Ok(())
}
