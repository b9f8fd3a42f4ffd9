//! Keras's backend functions (`K.*`) on tensors. Every function takes Keras tensors and traced tensors alike;
//! binary functions broadcast as NumPy does; errors poison the result and surface in the verb that uses it.
//!
//! ```
//! use keras_core::{Array, k};
//! let x = k::placeholder([None, Some(3)], "x");
//! let y = k::sum(&k::square(&x), &[-1], false);
//! assert_eq!(y.spec()?.shape, [None]);
//! # Ok::<(), keras_core::Error>(())
//! ```

pub(crate) mod conv_geometry;
mod crossentropy;
mod ctc;
mod custom;
mod elementwise;
mod function;
mod images;
mod inspect;
mod linear;
mod local;
mod normalization;
pub(crate) mod options;
mod phase;
mod print;
mod random;
mod recurrent;
mod reduction;
mod steps;
mod structure;
mod variables;
mod windows;

pub use crossentropy::*;
pub use ctc::{BeamSearch, Sparse, ctc_batch_cost, ctc_decode, ctc_label_dense_to_sparse, to_dense};
pub use custom::{Host, custom_gradient};
pub use elementwise::*;
pub use function::*;
pub use images::*;
pub use inspect::*;
pub use linear::*;
pub use local::*;
pub use normalization::*;
pub use options::{Choice, Named, Padding, PerAxis, Sides};
pub use phase::{in_test_phase, in_train_phase, learning_phase, set_learning_phase};
pub use print::print_tensor;
pub use random::*;
pub use recurrent::*;
pub use reduction::*;
pub(crate) use steps::{Ran, Steps};
pub use steps::{Rnn, foldl, foldr, map_fn, rnn};
pub use structure::*;
pub use variables::*;
pub use windows::*;

pub(crate) use crossentropy::{class_numbers, label_positions, labels_like, like};
pub(crate) use images::resized;
pub(crate) use local::unshared;
pub(crate) use normalization::{epsilon_in, normalized};
pub(crate) use random::kept;
pub(crate) use reduction::{among_largest, whole_mean};
pub(crate) use windows::depthwise;

pub use crate::config::{epsilon, floatx, image_data_format, set_epsilon, set_floatx, set_image_data_format};

use crate::error::{Error, Result};
use crate::graph::{Graph, Value};
use crate::semantics::Semantics;
use crate::tensor::record::{apply, apply_traced};
use crate::tensor::{Tensor, Trace};
use std::sync::Arc;

/// One operation with one result.
#[track_caller]
pub(crate) fn op(
    name: &str,
    inputs: &[&Tensor],
    call: impl Fn(&mut Graph, &[Value]) -> Result<Value> + Send + Sync + 'static,
) -> Tensor {
    op_in_trace(name, inputs, move |_, graph, values| call(graph, values))
}

/// One operation that also reads the trace: the learning phase, the semantics.
#[track_caller]
pub(crate) fn op_in_trace(
    name: &str,
    inputs: &[&Tensor],
    call: impl Fn(&Trace, &mut Graph, &[Value]) -> Result<Value> + Send + Sync + 'static,
) -> Tensor {
    let call = Arc::new(move |trace: &Trace, graph: &mut Graph, values: &[Value]| {
        call(trace, graph, values).map(|value| vec![value])
    });
    let mut results = apply(name, inputs, 1, call);
    results.pop().unwrap_or_else(|| Tensor::poisoned(Error::state(name, "a result", "none")))
}

/// One of several tensors: the one that the rules of the model choose.
#[track_caller]
pub(crate) fn by_semantics(name: &str, choices: &[&Tensor], choose: fn(Semantics) -> usize) -> Tensor {
    op_in_trace(name, choices, move |trace, _, values| nth(values, choose(trace.semantics())))
}

/// One operation with several results.
#[track_caller]
pub(crate) fn op_many(
    name: &str,
    inputs: &[&Tensor],
    outputs: usize,
    call: impl Fn(&mut Graph, &[Value]) -> Result<Vec<Value>> + Send + Sync + 'static,
) -> Vec<Tensor> {
    let call = Arc::new(move |_: &Trace, graph: &mut Graph, values: &[Value]| call(graph, values));
    apply(name, inputs, outputs, call)
}

/// Several results that are themselves written in functions of this module, on traced tensors: every length is known.
#[track_caller]
pub(crate) fn composed_many(
    name: &str,
    inputs: &[&Tensor],
    outputs: usize,
    call: impl Fn(&Trace, &[Tensor]) -> Result<Vec<Tensor>> + Send + Sync + 'static,
) -> Vec<Tensor> {
    let call = move |trace: &Trace, tensors: &[Tensor]| {
        let lift = |x: &Tensor| Ok(trace.tensor(trace.lift(x)?).seen(x.sight()));
        let lifted = tensors.iter().map(lift).collect::<Result<Vec<_>>>()?;
        call(trace, &lifted)
    };
    apply_traced(name, inputs, outputs, Arc::new(call))
}

/// One result of that kind.
#[track_caller]
pub(crate) fn composed(
    name: &str,
    inputs: &[&Tensor],
    call: impl Fn(&Trace, &[Tensor]) -> Result<Tensor> + Send + Sync + 'static,
) -> Tensor {
    let mut results = composed_many(name, inputs, 1, move |trace, tensors| Ok(vec![call(trace, tensors)?]));
    results.pop().unwrap_or_else(|| Tensor::poisoned(Error::state(name, "a result", "none")))
}

/// The error of a function that was called on another number of operands than it passes on.
fn operands(name: &str) -> Result<Tensor> {
    Err(Error::state(name, "its operands", "another number of them"))
}

/// The `i`-th operand.
pub(crate) fn nth(values: &[Value], i: usize) -> Result<Value> {
    values.get(i).copied().ok_or_else(|| Error::state("operation", format!("operand {i}"), "fewer"))
}

/// A non-negative axis; negative ones count from the end.
pub(crate) fn axis_of(axis: isize, rank: usize) -> Result<usize> {
    let from_end = if axis < 0 { axis + rank as isize } else { axis };
    if (0..rank as isize).contains(&from_end) {
        Ok(from_end as usize)
    } else {
        Err(Error::shape("axis", format!("an axis from -{rank} to {}", rank as isize - 1), axis.to_string())
            .advice("count the batch axis too: it is 0, and the last is -1"))
    }
}

/// Ascending, non-negative axes without repeats; no axes mean all.
pub(crate) fn axes_of(axes: &[isize], rank: usize) -> Result<Vec<usize>> {
    if axes.is_empty() {
        return Ok((0..rank).collect());
    }
    let mut found = axes.iter().map(|&axis| axis_of(axis, rank)).collect::<Result<Vec<_>>>()?;
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

/// The common shape of two operands under NumPy's rule.
pub(crate) fn broadcast_shape(a: &[usize], b: &[usize]) -> Result<Vec<usize>> {
    let rank = a.len().max(b.len());
    let padded =
        |shape: &[usize], i: usize| (i + shape.len()).checked_sub(rank).and_then(|at| shape.get(at).copied());
    (0..rank)
        .map(|i| match (padded(a, i).unwrap_or(1), padded(b, i).unwrap_or(1)) {
            (x, y) if x == y => Ok(x),
            (1, x) | (x, 1) => Ok(x),
            _ => Err(Error::shape("broadcast", format!("a shape that fits {a:?}"), format!("{b:?}"))),
        })
        .collect()
}

/// A value under a shape that its own broadcasts to.
pub(crate) fn broadcast_value(graph: &mut Graph, x: Value, shape: &[usize]) -> Result<Value> {
    let own = graph.shape(x).to_vec();
    let mut wide = vec![1; shape.len().saturating_sub(own.len())];
    wide.extend(own);
    let x = graph.reshape(x, &wide)?;
    graph.broadcast(x, shape)
}

/// A number with the element type of `like`, and rank 0.
#[track_caller]
pub fn number(like: &Tensor, value: f64) -> Tensor {
    match like.dtype() {
        Ok(dtype) => Tensor::constant(crate::Array::scalar(dtype, value)),
        Err(error) => Tensor::poisoned(error),
    }
}
