//! What composites and windowed operations are made of: for backends without a kernel, and as the kernels' oracle.

use super::{Binary, Compare, Graph, Logical, Op, PoolSpec, Reduce, SliceSpec, Type, Unary, Value};
use crate::array::{Array, DType};
use crate::error::Result;

/// Writes the operation in terms of simpler ones; `None` if it is a primitive.
pub fn decompose(graph: &mut Graph, op: &Op, inputs: &[Value]) -> Result<Option<Vec<Value>>> {
    let &[x, ..] = inputs else { return Ok(None) };
    Ok(Some(match (op, inputs) {
        (Op::Softmax, _) => {
            let shifted = shift_by_max(graph, x)?;
            let powers = graph.unary(Unary::Exp, shifted)?;
            let total = sum_last(graph, powers)?;
            vec![graph.binary(Binary::Div, powers, total)?]
        }
        (Op::LogSoftmax, _) => {
            let shifted = shift_by_max(graph, x)?;
            let powers = graph.unary(Unary::Exp, shifted)?;
            let total = sum_last(graph, powers)?;
            let log = graph.unary(Unary::Log, total)?;
            vec![graph.binary(Binary::Sub, shifted, log)?]
        }
        (Op::MaxPool(spec), _) => max_pool(graph, spec, x)?,
        (Op::MaxPoolGrad(spec, size), &[grad, positions]) => {
            vec![max_pool_grad(graph, spec, size, grad, positions)?]
        }
        (Op::AvgPool(spec), _) => vec![avg_pool(graph, spec, x)?],
        (Op::AvgPoolGrad(spec, size), _) => vec![avg_pool_grad(graph, spec, size, x)?],
        (Op::Recurrent(spec), _) => super::recurrent::decompose(graph, *spec, inputs)?,
        (Op::RecurrentGrad(spec, sequence), _) => {
            super::recurrent::decompose_gradient(graph, *spec, *sequence, inputs)?
        }
        (Op::Unary(function), _) => return unary(graph, *function, x),
        _ => return Ok(None),
    }))
}

fn unary(g: &mut Graph, function: Unary, x: Value) -> Result<Option<Vec<Value>>> {
    let value = match function {
        Unary::Square => g.binary(Binary::Mul, x, x)?,
        Unary::Recip => {
            let one = g.full_like(x, 1.0)?;
            g.binary(Binary::Div, one, x)?
        }
        Unary::Rsqrt => {
            let root = g.unary(Unary::Sqrt, x)?;
            g.unary(Unary::Recip, root)?
        }
        Unary::Relu => {
            let zero = g.full_like(x, 0.0)?;
            g.binary(Binary::Max, x, zero)?
        }
        Unary::IsNan => g.compare(Compare::Ne, x, x)?,
        Unary::Sigmoid => {
            // With e = exp(−|x|), which cannot overflow: 1/(1 + e) for x ≥ 0 and e/(1 + e) below, where 1/(1 + e⁻ˣ)
            // would overflow and (1 + tanh(x/2))/2 cancel.
            let size = g.unary(Unary::Abs, x)?;
            let negative = g.unary(Unary::Neg, size)?;
            let power = g.unary(Unary::Exp, negative)?;
            let (zero, one) = (g.full_like(x, 0.0)?, g.full_like(x, 1.0)?);
            let positive = g.compare(Compare::Ge, x, zero)?;
            let above = g.add(Op::Select, &[positive, one, power])?;
            let total = g.binary(Binary::Add, one, power)?;
            g.binary(Binary::Div, above, total)?
        }
        Unary::Softplus => {
            let positive = g.unary(Unary::Relu, x)?;
            let size = g.unary(Unary::Abs, x)?;
            let negative = g.unary(Unary::Neg, size)?;
            let power = g.unary(Unary::Exp, negative)?;
            let log = g.unary(Unary::Log1p, power)?;
            g.binary(Binary::Add, positive, log)?
        }
        Unary::Log1p => {
            // ln(u)·x/(u − 1) with u = 1 + x, and x itself where u rounds to 1 (Kahan).
            let u = g.binary_scalar(Binary::Add, x, 1.0)?;
            let rest = g.binary_scalar(Binary::Sub, u, 1.0)?;
            let zero = g.full_like(x, 0.0)?;
            let tiny = g.compare(Compare::Eq, rest, zero)?;
            let infinite = g.full_like(x, f64::INFINITY)?;
            let huge = g.compare(Compare::Eq, u, infinite)?;
            let log = g.unary(Unary::Log, u)?;
            let quotient = g.binary(Binary::Div, x, rest)?;
            let exact = g.binary(Binary::Mul, log, quotient)?;
            let exact = g.add(Op::Select, &[huge, log, exact])?;
            g.add(Op::Select, &[tiny, x, exact])?
        }
        Unary::Expm1 => {
            // tanh(x/2)·(eˣ + 1), and eˣ − 1 where that is as exact.
            let power = g.unary(Unary::Exp, x)?;
            let minus = g.binary_scalar(Binary::Sub, power, 1.0)?;
            let half = g.binary_scalar(Binary::Mul, x, 0.5)?;
            let tanh = g.unary(Unary::Tanh, half)?;
            let plus = g.binary_scalar(Binary::Add, power, 1.0)?;
            let small = g.binary(Binary::Mul, tanh, plus)?;
            let size = g.unary(Unary::Abs, x)?;
            let one = g.full_like(x, 1.0)?;
            let near = g.compare(Compare::Lt, size, one)?;
            g.add(Op::Select, &[near, small, minus])?
        }
        _ => return Ok(None),
    };
    Ok(Some(vec![value]))
}

fn shift_by_max(g: &mut Graph, x: Value) -> Result<Value> {
    let shape = g.shape(x).to_vec();
    let largest = g.reduce_keep(Reduce::Max, x, &[shape.len() - 1])?;
    let largest = g.broadcast(largest, &shape)?;
    g.binary(Binary::Sub, x, largest)
}

fn sum_last(g: &mut Graph, x: Value) -> Result<Value> {
    let shape = g.shape(x).to_vec();
    let total = g.reduce_keep(Reduce::Sum, x, &[shape.len() - 1])?;
    g.broadcast(total, &shape)
}

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

fn max_pool(g: &mut Graph, spec: &PoolSpec, x: Value) -> Result<Vec<Value>> {
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

fn max_pool_grad(g: &mut Graph, spec: &PoolSpec, size: &[usize], grad: Value, at: Value) -> Result<Value> {
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

fn avg_pool(g: &mut Graph, spec: &PoolSpec, x: Value) -> Result<Value> {
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

fn avg_pool_grad(g: &mut Graph, spec: &PoolSpec, size: &[usize], grad: Value) -> Result<Value> {
    let full = full_size(g, grad, size);
    let layout = windows(spec, &full);
    let dtype = g.ty(grad).dtype;
    let count = counts(g, spec, &full, &layout.result, dtype)?;
    let share = g.binary(Binary::Div, grad, count)?;
    spread(g, layout, dtype, |_, _| Ok(share))
}
