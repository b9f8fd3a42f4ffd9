//! Poolings as strided slices, one per cell of the window.

use crate::array::{Array, DType};
use crate::error::Result;
use crate::graph::{Binary, Compare, Graph, Logical, Op, PoolSpec, SliceSpec, Type, Unary, Value};

/// A pooling laid out as strided slices of the padded input, one per cell of the window.
struct Windows {
    padded: Vec<usize>,
    interior: SliceSpec,
    /// The offsets of a cell in the window, and the slice that reads it for every window.
    cells: Vec<(Vec<usize>, SliceSpec)>,
    result: Vec<usize>,
}

#[allow(clippy::indexing_slicing, reason = "the shape rule fixed the ranks")]
fn windows(spec: &PoolSpec, shape: &[usize]) -> Windows {
    let spatial = spec.window.len();
    let (batch, channels) = (shape[0], shape[spatial + 1]);
    let mut padded = vec![batch];
    let mut result = vec![batch];
    for i in 0..spatial {
        let (before, after) = spec.pads[i];
        padded.push(before + shape[i + 1] + after);
        result.push((padded[i + 1] - spec.window[i]) / spec.strides[i] + 1);
    }
    padded.push(channels);
    result.push(channels);
    let ones = vec![1; spatial + 2];
    let starts: Vec<usize> =
        std::iter::once(0).chain(spec.pads.iter().map(|&(before, _)| before)).chain([0]).collect();
    let stops = starts.iter().zip(shape).map(|(&start, &len)| start + len).collect();
    let interior = SliceSpec { starts, stops, steps: ones };
    let total: usize = spec.window.iter().product();
    let cells = (0..total)
        .map(|cell| {
            let mut rest = cell;
            let mut offsets = vec![0; spatial];
            for i in (0..spatial).rev() {
                offsets[i] = rest % spec.window[i];
                rest /= spec.window[i];
            }
            let starts: Vec<usize> = std::iter::once(0).chain(offsets.iter().copied()).chain([0]).collect();
            let steps: Vec<usize> =
                std::iter::once(1).chain(spec.strides.iter().copied()).chain([1]).collect();
            let stops = (0..spatial + 2).map(|i| starts[i] + (result[i] - 1) * steps[i] + 1).collect();
            (offsets, SliceSpec { starts, stops, steps })
        })
        .collect();
    Windows { padded, interior, cells, result }
}

/// For every window, the flat position in the unpadded input of the cell at `offsets`, as an int32 literal.
#[allow(clippy::indexing_slicing, reason = "the shape rule fixed the ranks")]
fn positions(
    g: &mut Graph,
    spec: &PoolSpec,
    shape: &[usize],
    offsets: &[usize],
    result: &[usize],
) -> Result<Value> {
    let spatial = offsets.len();
    let cells: usize = result[1..=spatial].iter().product();
    let flat = (0..cells).map(|cell| {
        let mut rest = cell;
        let mut coordinates = vec![0_i64; spatial];
        for i in (0..spatial).rev() {
            let window = (rest % result[i + 1]) as i64;
            rest /= result[i + 1];
            coordinates[i] = window * spec.strides[i] as i64 + offsets[i] as i64 - spec.pads[i].0 as i64;
        }
        (0..spatial).fold(0_i64, |flat, i| flat * shape[i + 1] as i64 + coordinates[i]) as i32
    });
    let flat: Vec<i32> = flat.collect();
    per_window(g, result, flat)
}

pub(super) fn max_pool(g: &mut Graph, spec: &PoolSpec, x: Value) -> Result<Vec<Value>> {
    let ty = g.ty(x).clone();
    let layout = windows(spec, &ty.shape);
    let lowest = match ty.dtype {
        DType::F32 | DType::F64 => f64::NEG_INFINITY,
        DType::I32 => i32::MIN.into(),
        DType::I64 => i64::MIN as f64,
        DType::U8 | DType::Bool => 0.0,
    };
    let inside = inside_windows(spec, &ty.shape, &layout);
    let base = g.full(lowest, &Type::new(layout.padded.clone(), ty.dtype))?;
    let padded = g.add(Op::SliceUpdate(layout.interior), &[base, x])?;
    let mut best: Option<(Value, Value)> = None;
    let mut seen: Vec<bool> = Vec::new();
    for ((offsets, cell), inside) in layout.cells.into_iter().zip(inside) {
        let value = g.add(Op::Slice(cell), &[padded])?;
        let position = positions(g, spec, &ty.shape, &offsets, &layout.result)?;
        best = Some(match best {
            None => (value, position),
            Some((largest, at)) => {
                let mut better = g.compare(Compare::Gt, value, largest)?;
                if ty.dtype.is_float() {
                    let (new, old) = (g.unary(Unary::IsNan, value)?, g.unary(Unary::IsNan, largest)?);
                    let old = g.unary(Unary::Not, old)?;
                    let first = g.add(Op::Logical(Logical::And), &[new, old])?;
                    better = g.add(Op::Logical(Logical::Or), &[better, first])?;
                }
                // The lowest number is no larger than the padding, but it is an element.
                let fresh: Vec<bool> =
                    inside.iter().zip(&seen).map(|(&inside, &seen)| inside && !seen).collect();
                if fresh.contains(&true) {
                    let fresh = per_window(g, &layout.result, fresh)?;
                    better = g.add(Op::Logical(Logical::Or), &[better, fresh])?;
                }
                (g.add(Op::Select, &[better, value, largest])?, g.add(Op::Select, &[better, position, at])?)
            }
        });
        seen.resize(inside.len(), false);
        seen.iter_mut().zip(inside).for_each(|(seen, inside)| *seen |= inside);
    }
    Ok(best.map(|(largest, at)| vec![largest, at]).unwrap_or_default())
}

/// Adds each window's contribution to the cells it covers, and cuts the padding off.
fn spread(
    g: &mut Graph,
    layout: Windows,
    dtype: DType,
    mut contribution: impl FnMut(&mut Graph, &[usize]) -> Result<Value>,
) -> Result<Value> {
    let mut total = g.full(0.0, &Type::new(layout.padded, dtype))?;
    for (offsets, cell) in layout.cells {
        let part = contribution(g, &offsets)?;
        let before = g.add(Op::Slice(cell.clone()), &[total])?;
        let after = g.binary(Binary::Add, before, part)?;
        total = g.add(Op::SliceUpdate(cell), &[total, after])?;
    }
    g.add(Op::Slice(layout.interior), &[total])
}

#[allow(clippy::indexing_slicing, reason = "the shape rule fixed the ranks")]
fn full_size(g: &Graph, grad: Value, size: &[usize]) -> Vec<usize> {
    let shape = g.shape(grad);
    let mut full = vec![shape[0]];
    full.extend(size);
    full.push(shape[size.len() + 1]);
    full
}

pub(super) fn max_pool_grad(
    g: &mut Graph,
    spec: &PoolSpec,
    size: &[usize],
    grad: Value,
    at: Value,
) -> Result<Value> {
    let full = full_size(g, grad, size);
    let layout = windows(spec, &full);
    let result = layout.result.clone();
    let zero = g.full_like(grad, 0.0)?;
    let mut inside = inside_windows(spec, &full, &layout).into_iter();
    spread(g, layout, g.ty(grad).dtype, move |g, offsets| {
        let position = positions(g, spec, &full, offsets, &result)?;
        let mut hit = g.compare(Compare::Eq, at, position)?;
        // A padding cell's computed position can coincide with a real cell's.
        if let Some(real) = inside.next().filter(|inside| inside.contains(&false)) {
            let real = per_window(g, &result, real)?;
            hit = g.add(Op::Logical(Logical::And), &[hit, real])?;
        }
        g.add(Op::Select, &[hit, grad, zero])
    })
}

/// For each cell of the window, in which windows it lies inside the input.
#[allow(clippy::indexing_slicing, reason = "the shape rule fixed the ranks")]
fn inside_windows(spec: &PoolSpec, shape: &[usize], layout: &Windows) -> Vec<Vec<bool>> {
    let spatial = spec.window.len();
    let windows: usize = layout.result[1..=spatial].iter().product();
    let inside = |offsets: &[usize], window: usize| {
        let mut rest = window;
        (0..spatial).rev().all(|i| {
            let at = (rest % layout.result[i + 1]) * spec.strides[i] + offsets[i];
            rest /= layout.result[i + 1];
            at >= spec.pads[i].0 && at < spec.pads[i].0 + shape[i + 1]
        })
    };
    let cells = layout.cells.iter();
    cells.map(|(offsets, _)| (0..windows).map(|window| inside(offsets, window)).collect()).collect()
}

/// A literal with one element per window, repeated over batch and channels.
#[allow(clippy::indexing_slicing, reason = "a pooling has a batch and a channel axis")]
fn per_window(g: &mut Graph, result: &[usize], values: impl Into<Array>) -> Result<Value> {
    let mut shape = result.to_vec();
    let last = shape.len() - 1;
    (shape[0], shape[last]) = (1, 1);
    let literal = g.constant(values.into().reshape(&shape)?);
    g.broadcast(literal, result)
}

/// One over the number of real cells of each window, broadcast to the result.
#[allow(clippy::indexing_slicing, reason = "the shape rule fixed the ranks")]
fn counts(g: &mut Graph, spec: &PoolSpec, shape: &[usize], result: &[usize], dtype: DType) -> Result<Value> {
    let spatial = spec.window.len();
    let cells: usize = result[1..=spatial].iter().product();
    let counts: Vec<f64> = (0..cells)
        .map(|cell| {
            let mut rest = cell;
            let mut count = 1;
            for i in (0..spatial).rev() {
                let start = (rest % result[i + 1]) * spec.strides[i];
                rest /= result[i + 1];
                let (first, last) = (spec.pads[i].0, spec.pads[i].0 + shape[i + 1]);
                count *= (start + spec.window[i]).min(last).saturating_sub(start.max(first)).max(1);
            }
            count as f64
        })
        .collect();
    per_window(g, result, Array::from(counts).cast(dtype))
}

pub(super) fn avg_pool(g: &mut Graph, spec: &PoolSpec, x: Value) -> Result<Value> {
    let ty = g.ty(x).clone();
    let layout = windows(spec, &ty.shape);
    let pads: Vec<(usize, usize)> =
        std::iter::once((0, 0)).chain(spec.pads.iter().copied()).chain([(0, 0)]).collect();
    let padded = g.add(Op::Pad(pads), &[x])?;
    let mut total: Option<Value> = None;
    for (_, cell) in layout.cells {
        let value = g.add(Op::Slice(cell), &[padded])?;
        total = Some(match total {
            None => value,
            Some(sum) => g.binary(Binary::Add, sum, value)?,
        });
    }
    let count = counts(g, spec, &ty.shape, &layout.result, ty.dtype)?;
    g.binary(Binary::Div, total.unwrap_or(padded), count)
}

pub(super) fn avg_pool_grad(g: &mut Graph, spec: &PoolSpec, size: &[usize], grad: Value) -> Result<Value> {
    let full = full_size(g, grad, size);
    let layout = windows(spec, &full);
    let dtype = g.ty(grad).dtype;
    let count = counts(g, spec, &full, &layout.result, dtype)?;
    let share = g.binary(Binary::Div, grad, count)?;
    spread(g, layout, dtype, |_, _| Ok(share))
}
