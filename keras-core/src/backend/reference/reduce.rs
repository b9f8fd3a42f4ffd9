//! Operations along axes: reductions, index reductions, running sums, the largest k, softmax.

use super::elementwise::Number;
use super::movement::{strides, walk};
use super::scalar::larger;
use crate::array::{Array, DType, Element, element_count};
use crate::error::{Error, Result};
use crate::graph::{ArgReduce, Cumulative, Reduce};
use crate::with_dtype;
use std::cmp::Ordering;

fn start_f64(op: Reduce) -> f64 {
    match op {
        Reduce::Sum => 0.0,
        Reduce::Prod => 1.0,
        Reduce::Max => f64::NEG_INFINITY,
        Reduce::Min => f64::INFINITY,
    }
}

fn step_f64(op: Reduce, a: f64, b: f64) -> f64 {
    match op {
        Reduce::Sum => a + b,
        Reduce::Prod => a * b,
        Reduce::Max => larger(a, b),
        Reduce::Min => -larger(-a, -b),
    }
}

fn start_i64(op: Reduce, dtype: DType) -> i64 {
    match (op, dtype) {
        (Reduce::Sum, _) | (Reduce::Max, DType::U8) => 0,
        (Reduce::Prod, _) => 1,
        (Reduce::Max, DType::I32) => i32::MIN.into(),
        (Reduce::Min, DType::I32) => i32::MAX.into(),
        (Reduce::Min, DType::U8) => u8::MAX.into(),
        (Reduce::Max, _) => i64::MIN,
        (Reduce::Min, _) => i64::MAX,
    }
}

fn step_i64(op: Reduce, a: i64, b: i64) -> i64 {
    match op {
        Reduce::Sum => a.wrapping_add(b),
        Reduce::Prod => a.wrapping_mul(b),
        Reduce::Max => a.max(b),
        Reduce::Min => a.min(b),
    }
}

/// For each element, the place in the result to which it goes; and the shape of the result.
fn targets(x: &Array, axes: &[usize]) -> (Vec<usize>, Vec<usize>) {
    let kept = (0..x.rank()).filter(|axis| !axes.contains(axis));
    let shape: Vec<usize> = kept.clone().map(|axis| x.shape()[axis]).collect();
    let mut steps = vec![0; x.rank()];
    for (axis, stride) in kept.zip(strides(&shape)) {
        steps[axis] = stride;
    }
    (walk(x.shape(), &steps, 0), shape)
}

pub(super) fn reduce(op: Reduce, x: &Array, axes: &[usize]) -> Result<Array> {
    if axes.iter().any(|&axis| axis >= x.rank()) {
        return Err(Error::shape(op.name(), format!("axes {axes:?}"), format!("shape {:?}", x.shape())));
    }
    let (targets, shape) = targets(x, axes);
    macro_rules! reduced {
        ($T:ty, $Wide:ty, $start:expr, $step:ident, $back:expr) => {{
            let mut wide: Vec<$Wide> = vec![$start; element_count(&shape)];
            for (&target, &value) in targets.iter().zip(x.as_slice::<$T>()?) {
                wide[target] = $step(op, wide[target], value.into());
            }
            Array::from_vec(&shape, wide.into_iter().map($back).collect::<Vec<$T>>())
        }};
    }
    match x.dtype() {
        DType::F32 => reduced!(f32, f64, start_f64(op), step_f64, |x| x as f32),
        DType::F64 => reduced!(f64, f64, start_f64(op), step_f64, |x| x),
        DType::I32 => reduced!(i32, i64, start_i64(op, DType::I32), step_i64, i32::wrap),
        DType::I64 => reduced!(i64, i64, start_i64(op, DType::I64), step_i64, i64::wrap),
        DType::U8 => reduced!(u8, i64, start_i64(op, DType::U8), step_i64, u8::wrap),
        DType::Bool => {
            Err(Error::dtype(op.name(), "a number type", "bool").advice("cast truth values first"))
        }
    }
}

/// The lengths before, along and after an axis.
fn around(op: &str, x: &Array, axis: usize) -> Result<(usize, usize, usize)> {
    match x.shape().get(axis) {
        Some(&len) => Ok((element_count(&x.shape()[..axis]), len, element_count(&x.shape()[axis + 1..]))),
        None => Err(Error::shape(op, format!("an axis {axis}"), format!("shape {:?}", x.shape()))),
    }
}

/// Whether `x` beats the best so far; a NaN beats every number, and nothing beats a NaN.
fn beats<T: PartialOrd>(op: ArgReduce, x: &T, best: &T) -> bool {
    #[allow(clippy::eq_op, reason = "NaN is what differs from itself")]
    let (x_is_nan, best_is_nan) = (x != x, best != best);
    !best_is_nan
        && (x_is_nan
            || match op {
                ArgReduce::Max => x > best,
                ArgReduce::Min => x < best,
            })
}

pub(super) fn arg_reduce(op: ArgReduce, x: &Array, axis: usize) -> Result<Array> {
    let (outer, len, inner) = around(op.name(), x, axis)?;
    if len == 0 {
        return Err(Error::shape(
            op.name(),
            "at least one element along the axis",
            format!("{:?}", x.shape()),
        ));
    }
    let shape = [&x.shape()[..axis], &x.shape()[axis + 1..]].concat();
    with_dtype!(x.dtype(), T => {
        let source = x.as_slice::<T>()?;
        let mut found = Vec::with_capacity(outer * inner);
        for o in 0..outer {
            for i in 0..inner {
                let at = |n: usize| &source[(o * len + n) * inner + i];
                let best = (1..len).fold(0, |best, n| if beats(op, at(n), at(best)) { n } else { best });
                found.push(best as i64);
            }
        }
        Array::from_vec(&shape, found)
    })
}

pub(super) fn cumulative(op: Cumulative, x: &Array, axis: usize) -> Result<Array> {
    let (outer, len, inner) = around(op.name(), x, axis)?;
    let step = match op {
        Cumulative::Sum => Reduce::Sum,
        Cumulative::Prod => Reduce::Prod,
    };
    macro_rules! running {
        ($T:ty, $start:expr, $step:ident, $back:expr) => {{
            let mut values = x.as_slice::<$T>()?.to_vec();
            for o in 0..outer {
                for i in 0..inner {
                    let mut total = $start;
                    for n in 0..len {
                        let value = &mut values[(o * len + n) * inner + i];
                        total = $step(step, total, (*value).into());
                        *value = $back(total);
                    }
                }
            }
            Array::from_vec(x.shape(), values)
        }};
    }
    match x.dtype() {
        DType::F32 => running!(f32, start_f64(step), step_f64, |x| x as f32),
        DType::F64 => running!(f64, start_f64(step), step_f64, |x| x),
        DType::I32 => running!(i32, start_i64(step, DType::I32), step_i64, i32::wrap),
        DType::I64 => running!(i64, start_i64(step, DType::I64), step_i64, i64::wrap),
        DType::U8 => running!(u8, start_i64(step, DType::U8), step_i64, u8::wrap),
        DType::Bool => Err(Error::dtype(op.name(), "a number type", "bool")),
    }
}

pub(super) fn top_k(x: &Array, k: usize) -> Result<(Array, Array)> {
    let last = x.rank().wrapping_sub(1);
    let (outer, len, _) = around("top_k", x, last)?;
    if k > len {
        return Err(Error::shape(
            "top_k",
            format!("at least {k} elements along the last axis"),
            len.to_string(),
        ));
    }
    let shape = [&x.shape()[..last], &[k]].concat();
    with_dtype!(x.dtype(), T => {
        let source = x.as_slice::<T>()?;
        let (mut values, mut found): (Vec<T>, Vec<i64>) = (Vec::new(), Vec::new());
        for o in 0..outer {
            let row = &source[o * len..(o + 1) * len];
            let mut order: Vec<usize> = (0..len).collect();
            order.sort_by(|&a, &b| {
                if beats(ArgReduce::Max, &row[a], &row[b]) {
                    Ordering::Less
                } else if beats(ArgReduce::Max, &row[b], &row[a]) {
                    Ordering::Greater
                } else {
                    a.cmp(&b)
                }
            });
            values.extend(order.iter().take(k).map(|&i| row[i]));
            found.extend(order.iter().take(k).map(|&i| i as i64));
        }
        Ok((Array::from_vec(&shape, values)?, Array::from_vec(&shape, found)?))
    })
}

/// `exp(x − max) / Σ` over the last axis, or the logarithm of it: `x − max − ln Σ`.
pub(super) fn softmax(x: &Array, logarithm: bool) -> Result<Array> {
    fn rows<T: Element>(x: &Array, logarithm: bool) -> Result<Array> {
        let mut values = Vec::with_capacity(x.len());
        for row in x.as_slice::<T>()?.chunks(x.shape().last().copied().unwrap_or(1).max(1)) {
            let largest = row.iter().fold(f64::NEG_INFINITY, |best, x| larger(best, x.to_f64()));
            let shifted: Vec<f64> = row.iter().map(|x| x.to_f64() - largest).collect();
            let sum: f64 = shifted.iter().map(|x| x.exp()).sum();
            values.extend(
                shifted.iter().map(|x| T::from_f64(if logarithm { x - sum.ln() } else { x.exp() / sum })),
            );
        }
        Array::from_vec(x.shape(), values)
    }
    let name = if logarithm { "log_softmax" } else { "softmax" };
    if x.rank() == 0 {
        return Err(Error::shape(name, "at least one axis", "a scalar"));
    }
    match x.dtype() {
        DType::F32 => rows::<f32>(x, logarithm),
        DType::F64 => rows::<f64>(x, logarithm),
        other => Err(Error::dtype(name, "float32 or float64", other.name())),
    }
}
