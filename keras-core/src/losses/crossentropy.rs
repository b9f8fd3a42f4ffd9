//! The three crossentropies, of probabilities and of logits.

use super::functions::like;
use crate::array::DType;
use crate::config::epsilon;
use crate::error::{Error, Result};
use crate::graph::{Compare, Graph, Op, Type, Value};
use crate::k;
use crate::k::{nth, op, op_in_trace};
use crate::semantics::{BinaryCrossentropy, Semantics};
use crate::tensor::Tensor;

/// −Σ y·ln(p / Σp) over the last axis, p/Σp clipped to [ε, 1 − ε].
#[track_caller]
pub fn categorical_crossentropy(y_true: &Tensor, y_pred: &Tensor) -> Tensor {
    let p = y_pred / k::sum(y_pred, &[-1], true);
    let p = k::clip(&p, epsilon(), 1.0 - epsilon());
    -k::sum(&(like(y_true, y_pred) * k::log(&p)), &[-1], false)
}

/// −ln(p / Σp) at the position y, p clipped to [ε, 1 − ε]. y holds class numbers, of p's shape without the last axis
/// or with 1 there.
#[track_caller]
pub fn sparse_categorical_crossentropy(y_true: &Tensor, y_pred: &Tensor) -> Tensor {
    sparse_on_logits(y_true, &k::log(&k::clip(y_pred, epsilon(), 1.0 - epsilon())))
}

/// The mean of −y·ln p − (1 − y)·ln(1 − p) over the last axis, p clipped to [ε, 1 − ε]. Keras 2.3 adds ε to the
/// arguments of the logarithms; 2.2 goes through the logits ([`Semantics::binary_crossentropy`]).
#[track_caller]
pub fn binary_crossentropy(y_true: &Tensor, y_pred: &Tensor) -> Tensor {
    let (y, p) = (like(y_true, y_pred), k::clip(y_pred, epsilon(), 1.0 - epsilon()));
    let hit = &y * k::log(&(&p + epsilon()));
    let miss = (1.0 - &y) * k::log(&((1.0 - &p) + epsilon()));
    let shifted = -k::mean(&(hit + miss), &[-1], false);
    let logits = k::log(&(&p / (1.0 - &p)));
    by_version(&shifted, &binary_on_logits(&y, &logits))
}

/// −Σ y·ln softmax(x) over the last axis. Its gradient is TensorFlow's: softmax(x) − y, also where the y of a sample do
/// not sum to 1.
#[track_caller]
pub(crate) fn categorical_on_logits(y_true: &Tensor, logits: &Tensor) -> Tensor {
    let y = like(y_true, logits);
    let loss = -k::sum(&(&y * k::log_softmax(logits, -1)), &[-1], false);
    k::custom_gradient("softmax_crossentropy", &loss, &[&y, logits], |dloss, operands| {
        let [y, logits] = operands else { return Vec::new() };
        let dloss = k::expand_dims(dloss, -1);
        vec![-&dloss * k::log_softmax(logits, -1), dloss * (k::softmax(logits, -1) - y)]
    })
}

/// −ln softmax(x) at the position y.
#[track_caller]
pub(crate) fn sparse_on_logits(y_true: &Tensor, logits: &Tensor) -> Tensor {
    let here = label_positions(y_true, logits);
    let logarithms = k::log_softmax(logits, -1);
    // Not a product with 0 and 1: the logarithms elsewhere may be infinite.
    -k::sum(&k::select(&here, &logarithms, &k::number(&logarithms, 0.0)), &[-1], false)
}

/// Truth values of the predictions' shape: whether the position along the last axis is the label's.
#[track_caller]
pub(crate) fn label_positions(y_true: &Tensor, y_pred: &Tensor) -> Tensor {
    op("class numbers", &[y_true, y_pred], |graph, values| {
        let (labels, predictions) = (nth(values, 0)?, nth(values, 1)?);
        let shape = graph.shape(predictions).to_vec();
        let Some((&classes, leading)) = shape.split_last() else {
            return Err(Error::shape("class numbers", "predictions (batch, classes)", "a scalar"));
        };
        let labels = numbers_of(graph, labels, leading)?;
        let (labels, numbers) = looked_up(graph, labels, classes)?;
        let column: Vec<usize> = leading.iter().copied().chain([1]).collect();
        let labels = graph.reshape(labels, &column)?;
        let labels = graph.broadcast(labels, &shape)?;
        let mut line = vec![1; shape.len()];
        if let Some(last) = line.last_mut() {
            *last = classes;
        }
        let numbers = graph.reshape(numbers, &line)?;
        let numbers = graph.broadcast(numbers, &shape)?;
        graph.compare(Compare::Eq, labels, numbers)
    })
}

/// Class numbers (int64) in the shape of `found`, which has one element for each.
#[track_caller]
pub(crate) fn labels_like(y_true: &Tensor, found: &Tensor) -> Tensor {
    op("class numbers", &[y_true, found], |graph, values| {
        let shape = graph.shape(nth(values, 1)?).to_vec();
        numbers_of(graph, nth(values, 0)?, &shape)
    })
}

/// Class numbers (int64) in one row, each below `classes`: another one fails when it runs.
#[track_caller]
pub(crate) fn class_numbers(x: &Tensor, classes: usize) -> Tensor {
    op("class numbers", &[x], move |graph, values| {
        let x = nth(values, 0)?;
        let count = graph.ty(x).len();
        let labels = numbers_of(graph, x, &[count])?;
        Ok(looked_up(graph, labels, classes)?.0)
    })
}

fn numbers_of(graph: &mut Graph, labels: Value, shape: &[usize]) -> Result<Value> {
    if graph.ty(labels).len() != shape.iter().product::<usize>() {
        return Err(Error::shape(
            "class numbers",
            format!("one per prediction, of shape {shape:?} (a last axis of length 1 may follow)"),
            format!("{:?}", graph.shape(labels)),
        )
        .advice("use categorical_crossentropy and categorical_accuracy for one-hot targets"));
    }
    let labels = graph.add(Op::Cast(DType::I64), &[labels])?;
    graph.reshape(labels, shape)
}

/// The labels, and the numbers of all classes. Looking the labels up among them makes one outside an error instead of
/// a loss of 0.
fn looked_up(graph: &mut Graph, labels: Value, classes: usize) -> Result<(Value, Value)> {
    let numbers = graph.add(Op::Iota(Type::new([classes], DType::I64), 0), &[])?;
    Ok((graph.add(Op::Gather(0), &[numbers, labels])?, numbers))
}

/// The mean of the crossentropy of y and sigmoid(x) over the last axis: max(x, 0) − x·y + ln(1 + e^−|x|).
#[track_caller]
pub(crate) fn binary_on_logits(y_true: &Tensor, logits: &Tensor) -> Tensor {
    let y = like(y_true, logits);
    let zero = k::number(logits, 0.0);
    // Chosen, not computed as max and abs, so that the gradient at 0 is ½ − y.
    let positive = k::greater_equal(logits, &zero);
    let top = k::select(&positive, logits, &zero);
    let below = k::select(&positive, &-logits, logits);
    k::mean(&(top - logits * y + k::softplus(&below)), &[-1], false)
}

/// [`categorical_crossentropy`] of softmax(x).
#[track_caller]
pub(super) fn categorical_of_softmax(y_true: &Tensor, logits: &Tensor) -> Tensor {
    by_version(
        &categorical_on_logits(y_true, logits),
        &categorical_crossentropy(y_true, &k::softmax(logits, -1)),
    )
}

/// [`sparse_categorical_crossentropy`] of softmax(x).
#[track_caller]
pub(super) fn sparse_of_softmax(y_true: &Tensor, logits: &Tensor) -> Tensor {
    by_version(
        &sparse_on_logits(y_true, logits),
        &sparse_categorical_crossentropy(y_true, &k::softmax(logits, -1)),
    )
}

/// [`binary_crossentropy`] of sigmoid(x).
#[track_caller]
pub(super) fn binary_of_sigmoid(y_true: &Tensor, logits: &Tensor) -> Tensor {
    by_version(&binary_on_logits(y_true, logits), &binary_crossentropy(y_true, &k::sigmoid(logits)))
}

/// `now` as Keras 2.3 computes crossentropies, `before` as 2.2 did: always from clipped probabilities.
#[track_caller]
fn by_version(now: &Tensor, before: &Tensor) -> Tensor {
    let clipped = |semantics: Semantics| semantics.binary_crossentropy == BinaryCrossentropy::ClippedLogits;
    op_in_trace("crossentropy", &[now, before], move |trace, _, values| {
        nth(values, usize::from(clipped(trace.semantics())))
    })
}

/// Targets between one-hot and even: y·(1 − s) + s/n. `n` is the number of classes, 2 for binary targets.
#[track_caller]
pub(crate) fn smoothed(y_true: &Tensor, y_pred: &Tensor, smoothing: f64, classes: Option<f64>) -> Tensor {
    let y = like(y_true, y_pred);
    if smoothing <= 0.0 {
        return y;
    }
    match classes {
        Some(classes) => y * (1.0 - smoothing) + smoothing / classes,
        None => {
            let share = op("label_smoothing", &[&y], move |graph, values| {
                let y = nth(values, 0)?;
                let dtype = graph.ty(y).dtype;
                let classes = graph.shape(y).last().copied().unwrap_or(1).max(1);
                Ok(graph.scalar(smoothing / classes as f64, dtype))
            });
            y * (1.0 - smoothing) + share
        }
    }
}
