//! Reductions. Axes may be negative; no axes mean all; `keepdims` keeps them with length 1.

use super::{axes_of, axis_of, nth, op, op_many};
use crate::array::DType;
use crate::error::Result;
use crate::graph::{ArgReduce, Binary, Cumulative, Graph, Op, Reduce, Unary, Value};
use crate::tensor::Tensor;

fn reduced(graph: &mut Graph, function: Reduce, x: Value, axes: &[isize], keepdims: bool) -> Result<Value> {
    let axes = axes_of(axes, graph.shape(x).len())?;
    if keepdims { graph.reduce_keep(function, x, &axes) } else { graph.reduce(function, x, &axes) }
}

macro_rules! reduction {
    ($($(#[$doc:meta])* $name:ident = $function:ident),* $(,)?) => {
        $($(#[$doc])*
        #[track_caller]
        pub fn $name(x: &Tensor, axes: &[isize], keepdims: bool) -> Tensor {
            let axes = axes.to_vec();
            op(stringify!($name), &[x], move |graph, values| {
                reduced(graph, Reduce::$function, nth(values, 0)?, &axes, keepdims)
            })
        })*
    };
}

reduction! {
    /// The sum.
    sum = Sum,
    /// The product.
    prod = Prod,
    /// The largest element.
    max = Max,
    /// The smallest element.
    min = Min,
}

fn averaged(graph: &mut Graph, x: Value, axes: &[isize], keepdims: bool) -> Result<Value> {
    let x = if graph.ty(x).dtype.is_float() { x } else { graph.add(Op::Cast(super::floatx()), &[x])? };
    let count: usize = {
        let shape = graph.shape(x);
        axes_of(axes, shape.len())?.iter().filter_map(|&axis| shape.get(axis)).product()
    };
    let total = reduced(graph, Reduce::Sum, x, axes, keepdims)?;
    graph.binary_scalar(Binary::Div, total, count as f64)
}

/// The mean; integers and truth values are converted to the default float type first.
#[track_caller]
pub fn mean(x: &Tensor, axes: &[isize], keepdims: bool) -> Tensor {
    let axes = axes.to_vec();
    op("mean", &[x], move |graph, values| averaged(graph, nth(values, 0)?, &axes, keepdims))
}

/// The mean as TensorFlow has it: of whole numbers a whole number.
#[track_caller]
pub(crate) fn whole_mean(x: &Tensor, axes: &[isize], keepdims: bool) -> Tensor {
    match x.dtype() {
        // Sums of bytes are no bytes.
        Ok(DType::U8) => super::cast(&whole_mean(&super::cast(x, DType::I64), axes, keepdims), DType::U8),
        Ok(dtype @ (DType::I32 | DType::I64)) => {
            sum(x, axes, keepdims) / sum(&super::ones_like(x, dtype), axes, keepdims)
        }
        _ => mean(x, axes, keepdims),
    }
}

/// The variance (divided by n), in two passes.
#[track_caller]
pub fn var(x: &Tensor, axes: &[isize], keepdims: bool) -> Tensor {
    let axes = axes.to_vec();
    op("var", &[x], move |graph, values| {
        let x = nth(values, 0)?;
        let mean = averaged(graph, x, &axes, true)?;
        let shape = graph.shape(x).to_vec();
        let mean = graph.broadcast(mean, &shape)?;
        let centred = graph.binary(Binary::Sub, x, mean)?;
        let squares = graph.unary(Unary::Square, centred)?;
        averaged(graph, squares, &axes, keepdims)
    })
}

/// The standard deviation (divided by n).
#[track_caller]
pub fn std(x: &Tensor, axes: &[isize], keepdims: bool) -> Tensor {
    super::sqrt(&var(x, axes, keepdims))
}

/// ln Σ eˣ without overflow.
#[track_caller]
pub fn logsumexp(x: &Tensor, axes: &[isize], keepdims: bool) -> Tensor {
    let largest = super::stop_gradient(&max(x, axes, true));
    let total = super::log(&sum(&super::exp(&(x - &largest)), axes, keepdims));
    if keepdims {
        return total + largest;
    }
    let axes = axes.to_vec();
    let flat = op("squeeze", &[&largest], move |graph, values| {
        let x = nth(values, 0)?;
        let gone = axes_of(&axes, graph.shape(x).len())?;
        let shape: Vec<usize> = graph
            .shape(x)
            .iter()
            .enumerate()
            .filter(|(axis, _)| !gone.contains(axis))
            .map(|(_, &len)| len)
            .collect();
        graph.reshape(x, &shape)
    });
    total + flat
}

/// Whether any element is true (or not zero).
#[track_caller]
pub fn any(x: &Tensor, axes: &[isize], keepdims: bool) -> Tensor {
    truth(x, Reduce::Max, axes, keepdims)
}

/// Whether every element is true (or not zero).
#[track_caller]
pub fn all(x: &Tensor, axes: &[isize], keepdims: bool) -> Tensor {
    truth(x, Reduce::Min, axes, keepdims)
}

#[track_caller]
fn truth(x: &Tensor, function: Reduce, axes: &[isize], keepdims: bool) -> Tensor {
    let axes = axes.to_vec();
    op(function.name(), &[x], move |graph, values| {
        let x = graph.add(Op::Cast(DType::Bool), &[nth(values, 0)?])?;
        let x = graph.add(Op::Cast(DType::U8), &[x])?;
        let reduced = reduced(graph, function, x, &axes, keepdims)?;
        graph.add(Op::Cast(DType::Bool), &[reduced])
    })
}

/// The position (int64) of the first largest element along an axis.
#[track_caller]
pub fn argmax(x: &Tensor, axis: isize) -> Tensor {
    arg_reduction(x, ArgReduce::Max, axis)
}

/// The position (int64) of the first smallest element along an axis.
#[track_caller]
pub fn argmin(x: &Tensor, axis: isize) -> Tensor {
    arg_reduction(x, ArgReduce::Min, axis)
}

#[track_caller]
fn arg_reduction(x: &Tensor, function: ArgReduce, axis: isize) -> Tensor {
    op(function.name(), &[x], move |graph, values| {
        let x = nth(values, 0)?;
        let axis = axis_of(axis, graph.shape(x).len())?;
        graph.add(Op::ArgReduce(function, axis), &[x])
    })
}

/// Running sums along an axis.
#[track_caller]
pub fn cumsum(x: &Tensor, axis: isize) -> Tensor {
    cumulative(x, Cumulative::Sum, axis)
}

/// Running products along an axis.
#[track_caller]
pub fn cumprod(x: &Tensor, axis: isize) -> Tensor {
    cumulative(x, Cumulative::Prod, axis)
}

#[track_caller]
fn cumulative(x: &Tensor, function: Cumulative, axis: isize) -> Tensor {
    op(function.name(), &[x], move |graph, values| {
        let x = nth(values, 0)?;
        let axis = axis_of(axis, graph.shape(x).len())?;
        graph.add(Op::Cumulative(function, axis), &[x])
    })
}

/// The k largest along the last axis, descending, and their positions (int64).
#[track_caller]
pub fn top_k(x: &Tensor, k: usize) -> (Tensor, Tensor) {
    let mut results = op_many("top_k", &[x], 2, move |graph, values| {
        let first = graph.add(Op::TopK(k), &[nth(values, 0)?])?;
        Ok(graph.outputs_of(first))
    });
    let positions = results.pop();
    let missing = || Tensor::poisoned(crate::Error::state("top_k", "two results", "fewer"));
    (results.pop().unwrap_or_else(missing), positions.unwrap_or_else(missing))
}

/// Whether the prediction at a class number `(batch,)` is among the `k` largest of a row of `predictions`
/// `(batch, classes)`; equals of the k-th count, and what is not finite does not. Class numbers that do not exist are not
/// among them.
///
/// ```
/// use keras_core::{DType, k};
/// let p = k::placeholder([None, Some(10)], "p");
/// let y = k::cast(&k::placeholder([None], "y"), DType::I32);
/// assert_eq!(k::in_top_k(&p, &y, 5).spec()?.dtype, DType::Bool);
/// # Ok::<(), keras_core::Error>(())
/// ```
#[track_caller]
pub fn in_top_k(predictions: &Tensor, targets: &Tensor, k: usize) -> Tensor {
    let classes = predictions.spec().ok().and_then(|spec| spec.shape.last().copied().flatten());
    match classes {
        Some(classes) => {
            let here = super::one_hot_of(targets, classes, DType::Bool);
            super::logical_and(&any(&here, &[-1], false), &among_largest(predictions, &here, k))
        }
        None => Tensor::poisoned(predictions.spec().err().unwrap_or_else(|| {
            crate::Error::shape("in_top_k", "predictions whose number of classes is known", "an open axis")
        })),
    }
}

/// Whether the element that `here` marks in each row is among the `k` largest of it; equals of the k-th count, and, as in
/// TensorFlow, what is not finite does not.
#[track_caller]
pub(crate) fn among_largest(x: &Tensor, here: &Tensor, k: usize) -> Tensor {
    let zero = super::number(x, 0.0);
    let own = sum(&super::select(here, x, &zero), &[-1], true);
    let larger = super::like(&super::greater(x, &own), x);
    let fewer = super::less(&sum(&larger, &[-1], true), &super::number(x, k as f64));
    #[allow(clippy::eq_op, reason = "infinity minus itself is NaN, which equals nothing")]
    let finite = super::equal(&(&own - &own), &zero);
    any(&super::logical_and(&fewer, &finite), &[-1], false)
}

/// x / √max(Σx², ε) along an axis, or of all elements (`None`, Keras's default), with TensorFlow's ε = 1e-12.
#[track_caller]
pub fn l2_normalize(x: &Tensor, axis: impl Into<Option<isize>>) -> Tensor {
    let axes: Vec<isize> = axis.into().into_iter().collect();
    let total = sum(&super::square(x), &axes, true);
    x * &super::rsqrt(&super::maximum(&total, &super::number(&total, 1e-12)))
}
