//! Shapes, indexing, joining.

use super::{axis_of, broadcast_shape, broadcast_value, nth, op};
use crate::array::DType;
use crate::error::{Error, Result};
use crate::graph::{Compare, Graph, Op, SliceSpec, Type, Value};
use crate::tensor::Tensor;

/// The same elements under another shape; one length may be −1.
#[track_caller]
pub fn reshape(x: &Tensor, shape: &[isize]) -> Tensor {
    let shape = shape.to_vec();
    op("reshape", &[x], move |graph, values| {
        let x = nth(values, 0)?;
        let shape = settle_shape(&shape, graph.ty(x).len())?;
        graph.reshape(x, &shape)
    })
}

/// A target shape with its −1 replaced.
pub(crate) fn settle_shape(shape: &[isize], count: usize) -> Result<Vec<usize>> {
    // Beyond all counts is as wrong as any other.
    let known = shape
        .iter()
        .filter(|&&len| len >= 0)
        .fold(1, |known: usize, &len| known.saturating_mul(len as usize));
    let open = shape.iter().filter(|&&len| len < 0).count();
    let fits = match open {
        0 => known == count,
        1 => known > 0 && count.is_multiple_of(known) && shape.iter().all(|&len| len >= -1),
        _ => false,
    };
    if !fits {
        return Err(Error::shape("reshape", format!("a shape of {count} elements"), format!("{shape:?}")));
    }
    Ok(shape.iter().map(|&len| usize::try_from(len).unwrap_or(count / known.max(1))).collect())
}

/// Everything but the first axis in one: `(batch, a, b)` becomes `(batch, a·b)`.
#[track_caller]
pub fn batch_flatten(x: &Tensor) -> Tensor {
    op("batch_flatten", &[x], |graph, values| {
        let x = nth(values, 0)?;
        let shape = graph.shape(x);
        let batch = shape.first().copied().unwrap_or(1);
        let rest = shape.iter().skip(1).product();
        graph.reshape(x, &[batch, rest])
    })
}

/// Keeps the first axis and gives the others that shape (one may be −1).
#[track_caller]
pub fn batch_reshape(x: &Tensor, shape: &[isize]) -> Tensor {
    let shape = shape.to_vec();
    op("reshape", &[x], move |graph, values| {
        let x = nth(values, 0)?;
        let (batch, rest) = match graph.shape(x).split_first() {
            Some((&batch, rest)) => (batch, rest.iter().product()),
            None => (1, 1),
        };
        let mut full = vec![batch];
        full.extend(settle_shape(&shape, rest)?);
        graph.reshape(x, &full)
    })
}

/// Axes in another order.
#[track_caller]
pub fn permute_dimensions(x: &Tensor, order: &[usize]) -> Tensor {
    let order = order.to_vec();
    op("permute", &[x], move |graph, values| graph.permute(nth(values, 0)?, &order))
}

/// The axes in reverse order.
///
/// ```
/// use keras_core::k;
/// let x = k::placeholder([Some(2), Some(3), Some(4)], "x");
/// assert_eq!(k::transpose(&x).spec()?.shape, [Some(4), Some(3), Some(2)]);
/// # Ok::<(), keras_core::Error>(())
/// ```
#[track_caller]
pub fn transpose(x: &Tensor) -> Tensor {
    op("transpose", &[x], |graph, values| {
        let x = nth(values, 0)?;
        let order: Vec<usize> = (0..graph.shape(x).len()).rev().collect();
        graph.permute(x, &order)
    })
}

/// All elements in one axis.
#[track_caller]
pub fn flatten(x: &Tensor) -> Tensor {
    reshape(x, &[-1])
}

/// The whole tensor that many times along each axis; of fewer numbers than axes, along the last ones.
///
/// ```
/// use keras_core::k;
/// let x = k::placeholder([None, Some(3)], "x");
/// assert_eq!(k::tile(&x, &[2]).spec()?.shape, [None, Some(6)]);
/// # Ok::<(), keras_core::Error>(())
/// ```
#[track_caller]
pub fn tile(x: &Tensor, n: &[usize]) -> Tensor {
    let n = n.to_vec();
    op("tile", &[x], move |graph, values| {
        let mut x = nth(values, 0)?;
        let mut shape = graph.shape(x).to_vec();
        let Some(first) = shape.len().checked_sub(n.len()) else {
            return Err(Error::shape("tile", format!("at most {} numbers", shape.len()), format!("{n:?}")));
        };
        for (axis, &count) in (first..).zip(&n) {
            // [a, b] as rows (1, a, b) repeated to (count, a, b), then one axis.
            let (front, back) = shape.split_at(axis);
            let (front, back) = (front.to_vec(), back.to_vec());
            let lens = |middle: usize| [front.clone(), vec![middle], back.clone()].concat();
            let rows = graph.reshape(x, &lens(1))?;
            let rows = graph.broadcast(rows, &lens(count))?;
            if let Some(own) = shape.get_mut(axis) {
                *own = times("tile", *own, count)?;
            }
            x = graph.reshape(rows, &shape)?;
        }
        Ok(x)
    })
}

/// A length times a number, if that can be counted.
fn times(name: &str, len: usize, count: usize) -> Result<usize> {
    len.checked_mul(count)
        .ok_or_else(|| Error::value(name, "an axis that can be counted", format!("{count} times {len}")))
}

/// The box of `size` elements per axis from `start` on; a size of −1 means the rest of an axis.
///
/// ```
/// use keras_core::k;
/// let x = k::placeholder([Some(3), Some(4)], "x");
/// assert_eq!(k::slice(&x, &[1, 0], &[2, -1]).spec()?.shape, [Some(2), Some(4)]);
/// # Ok::<(), keras_core::Error>(())
/// ```
#[track_caller]
pub fn slice(x: &Tensor, start: &[usize], size: &[isize]) -> Tensor {
    let (starts, size) = (start.to_vec(), size.to_vec());
    op("slice", &[x], move |graph, values| {
        let x = nth(values, 0)?;
        let shape = graph.shape(x).to_vec();
        let stop = |((&start, &size), &len): ((&usize, &isize), &usize)| match usize::try_from(size) {
            Ok(size) => start.checked_add(size).filter(|&stop| stop <= len),
            Err(_) => (size == -1 && start <= len).then_some(len),
        };
        let stops = starts.iter().zip(&size).zip(&shape).map(stop).collect::<Option<Vec<usize>>>();
        match stops {
            Some(stops) if stops.len() == shape.len() && starts.len() == size.len() => {
                let steps = vec![1; stops.len()];
                graph.add(Op::Slice(SliceSpec { starts: starts.clone(), stops, steps }), &[x])
            }
            _ => Err(Error::shape(
                "slice",
                format!("a box of {} axes inside {shape:?}", shape.len()),
                format!("start {starts:?}, size {size:?}"),
            )),
        }
    })
}

/// A new axis of length 1.
#[track_caller]
pub fn expand_dims(x: &Tensor, axis: isize) -> Tensor {
    op("expand_dims", &[x], move |graph, values| {
        let x = nth(values, 0)?;
        let mut shape = graph.shape(x).to_vec();
        let axis = axis_of(axis, shape.len() + 1)?;
        shape.insert(axis, 1);
        graph.reshape(x, &shape)
    })
}

/// Drops an axis of length 1.
#[track_caller]
pub fn squeeze(x: &Tensor, axis: isize) -> Tensor {
    op("squeeze", &[x], move |graph, values| {
        let x = nth(values, 0)?;
        let mut shape = graph.shape(x).to_vec();
        let axis = axis_of(axis, shape.len())?;
        if shape.remove(axis) != 1 {
            return Err(Error::shape(
                "squeeze",
                "an axis of length 1",
                format!("axis {axis} of {:?}", graph.shape(x)),
            ));
        }
        graph.reshape(x, &shape)
    })
}

/// Repeated to a shape under NumPy's rule.
#[track_caller]
pub fn broadcast_to(x: &Tensor, shape: &[usize]) -> Tensor {
    let shape = shape.to_vec();
    op("broadcast_to", &[x], move |graph, values| broadcast_value(graph, nth(values, 0)?, &shape))
}

/// x repeated to the shape of `like` under NumPy's rule.
#[track_caller]
pub fn broadcast_like(x: &Tensor, like: &Tensor) -> Tensor {
    op("broadcast_like", &[x, like], |graph, values| {
        let (x, like) = (nth(values, 0)?, nth(values, 1)?);
        let shape = broadcast_shape(graph.shape(x), graph.shape(like))?;
        broadcast_value(graph, x, &shape)
    })
}

/// Joined along an axis.
#[track_caller]
pub fn concatenate(parts: &[&Tensor], axis: isize) -> Tensor {
    op("concatenate", parts, move |graph, values| {
        let axis = axis_of(axis, graph.shape(nth(values, 0)?).len())?;
        graph.add(Op::Concat(axis), values)
    })
}

/// Joined along a new axis.
#[track_caller]
pub fn stack(parts: &[&Tensor], axis: isize) -> Tensor {
    let wide: Vec<Tensor> = parts.iter().map(|part| expand_dims(part, axis)).collect();
    concatenate(&wide.iter().collect::<Vec<_>>(), axis)
}

/// The positions `start..stop` of one axis.
#[track_caller]
pub fn slice_axis(x: &Tensor, axis: isize, start: usize, stop: usize) -> Tensor {
    op("slice", &[x], move |graph, values| {
        let x = nth(values, 0)?;
        let axis = axis_of(axis, graph.shape(x).len())?;
        graph.slice_axis(x, axis, start, stop)
    })
}

/// Every `step`-th position of `start..stop` of one axis.
#[track_caller]
pub fn slice_steps(x: &Tensor, axis: isize, start: usize, stop: usize, step: usize) -> Tensor {
    op("slice", &[x], move |graph, values| {
        let x = nth(values, 0)?;
        let stops = graph.shape(x).to_vec();
        let axis = axis_of(axis, stops.len())?;
        let mut spec = SliceSpec { starts: vec![0; stops.len()], steps: vec![1; stops.len()], stops };
        for (list, value) in [(&mut spec.starts, start), (&mut spec.stops, stop), (&mut spec.steps, step)] {
            if let Some(own) = list.get_mut(axis) {
                *own = value;
            }
        }
        graph.add(Op::Slice(spec), &[x])
    })
}

/// Each position of an axis repeated `count` times: `[a, b]` becomes `[a, a, b, b]`.
#[track_caller]
pub fn repeat_elements(x: &Tensor, count: usize, axis: isize) -> Tensor {
    op("repeat_elements", &[x], move |graph, values| {
        let x = nth(values, 0)?;
        let shape = graph.shape(x).to_vec();
        let axis = axis_of(axis, shape.len())?;
        let mut split = shape.clone();
        split.insert(axis + 1, 1);
        let mut wide = split.clone();
        let mut result = shape;
        if let (Some(w), Some(r)) = (wide.get_mut(axis + 1), result.get_mut(axis)) {
            *w = count;
            *r = times("repeat_elements", *r, count)?;
        }
        let x = graph.reshape(x, &split)?;
        let x = graph.broadcast(x, &wide)?;
        graph.reshape(x, &result)
    })
}

/// `(batch, features)` repeated to `(batch, n, features)`.
#[track_caller]
pub fn repeat(x: &Tensor, n: usize) -> Tensor {
    let wide = expand_dims(x, 1);
    repeat_elements(&wide, n, 1)
}

/// Zeros before and after each axis.
#[track_caller]
pub fn pad(x: &Tensor, pads: &[(usize, usize)]) -> Tensor {
    let pads = pads.to_vec();
    op("pad", &[x], move |graph, values| graph.add(Op::Pad(pads.clone()), &[nth(values, 0)?]))
}

/// Reversed along axes.
#[track_caller]
pub fn reverse(x: &Tensor, axes: &[isize]) -> Tensor {
    let axes = axes.to_vec();
    op("reverse", &[x], move |graph, values| {
        let x = nth(values, 0)?;
        let axes = super::axes_of(&axes, graph.shape(x).len())?;
        graph.add(Op::Reverse(axes), &[x])
    })
}

/// Rows of `x` at `indices` (any shape, int32 or int64).
#[track_caller]
pub fn gather(x: &Tensor, indices: &Tensor) -> Tensor {
    op("gather", &[x, indices], |graph, values| graph.add(Op::Gather(0), &[nth(values, 0)?, nth(values, 1)?]))
}

/// For integer `x`, 1 at the position of its value on a new last axis of `classes`, in the default float type.
#[track_caller]
pub fn one_hot(x: &Tensor, classes: usize) -> Tensor {
    one_hot_of(x, classes, super::floatx())
}

/// [`one_hot`] in a given element type.
#[track_caller]
pub fn one_hot_of(x: &Tensor, classes: usize, dtype: DType) -> Tensor {
    op("one_hot", &[x], move |graph, values| hot(graph, nth(values, 0)?, classes, dtype))
}

fn hot(graph: &mut Graph, x: Value, classes: usize, dtype: DType) -> Result<Value> {
    let x = graph.add(Op::Cast(DType::I32), &[x])?;
    let mut shape = graph.shape(x).to_vec();
    shape.push(1);
    let wide = graph.reshape(x, &shape)?;
    if let Some(last) = shape.last_mut() {
        *last = classes;
    }
    let wide = graph.broadcast(wide, &shape)?;
    let mut line = vec![1; shape.len()];
    if let Some(last) = line.last_mut() {
        *last = classes;
    }
    let axis = shape.len() - 1;
    let positions = graph.add(Op::Iota(Type::new(line, DType::I32), axis), &[])?;
    let positions = graph.broadcast(positions, &shape)?;
    let hit = graph.compare(Compare::Eq, wide, positions)?;
    graph.add(Op::Cast(dtype), &[hit])
}
