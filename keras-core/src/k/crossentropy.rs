//! The crossentropies of `K`: of probabilities and of logits, one number per distribution. What a softmax or sigmoid made
//! counts by its logits ([`CrossentropyLogits`]): exact where probabilities are rounded to 0 or 1.

use super::{composed, nth, op, operands};
use crate::array::DType;
use crate::config::epsilon;
use crate::error::{Error, Result};
use crate::graph::{Compare, Graph, Op, Type, Unary, Value};
use crate::k;
use crate::semantics::{BinaryCrossentropy, CrossentropyLogits};
use crate::tensor::{Sight, Tensor, Trace};

/// Targets in the element type of the predictions, as Keras compares them.
pub(crate) fn like(target: &Tensor, output: &Tensor) -> Tensor {
    match (target.dtype(), output.dtype()) {
        (Ok(own), Ok(dtype)) if own != dtype => k::cast(target, dtype),
        (Err(error), _) | (_, Err(error)) => Tensor::poisoned(error),
        _ => target.clone(),
    }
}

/// x with an axis moved to the end.
fn axis_last(x: &Tensor, axis: isize) -> Tensor {
    if axis == -1 {
        return x.clone();
    }
    op("crossentropy", &[x], move |graph, values| {
        let x = nth(values, 0)?;
        let rank = graph.shape(x).len();
        let axis = super::axis_of(axis, rank)?;
        let order: Vec<usize> = (0..rank).filter(|&i| i != axis).chain([axis]).collect();
        graph.permute(x, &order)
    })
}

/// What a crossentropy is computed from, and whether that is logits: the output, or what `own`, the activation that belongs
/// to the loss, was applied to.
fn predicted(trace: &Trace, output: &Tensor, from_logits: bool, own: &Op) -> Result<(Tensor, bool)> {
    let rule = trace.semantics().crossentropy_logits;
    let any = rule == CrossentropyLogits::Any;
    let made = |wanted: &dyn Fn(&Op) -> bool| -> Result<Option<Value>> {
        let value = trace.lift(output)?;
        Ok(trace.with_graph(|graph| {
            let node = graph.node(value);
            node.inputs.first().copied().filter(|_| wanted(&node.op))
        }))
    };
    let logits = match (rule, output.sight()) {
        (CrossentropyLogits::Never, _) | (_, Sight::Closed) => None,
        (CrossentropyLogits::Matching, _) if from_logits => None,
        (_, Sight::Logits(logits)) => Some(logits).filter(|_| any),
        (CrossentropyLogits::Any, Sight::Open) => {
            made(&|op| matches!(op, Op::Softmax | Op::Unary(Unary::Sigmoid)))?
        }
        (CrossentropyLogits::Matching, Sight::Open) | (_, Sight::Own) => made(&|op| op == own)?,
    };
    Ok(logits.map_or_else(|| (output.clone(), from_logits), |logits| (trace.tensor(logits), true)))
}

/// −Σ y·ln(p / Σp) along an axis (Keras's default: the last), p/Σp clipped to [ε, 1 − ε]; of logits −Σ y·ln softmax(x). The
/// axis disappears.
///
/// ```
/// use keras_core::k;
/// let (y, p) = (k::placeholder([None, Some(4)], "y"), k::placeholder([None, Some(4)], "p"));
/// assert_eq!(k::categorical_crossentropy(&y, &p, false, -1).spec()?.shape, [None]);
/// # Ok::<(), keras_core::Error>(())
/// ```
#[track_caller]
pub fn categorical_crossentropy(target: &Tensor, output: &Tensor, from_logits: bool, axis: isize) -> Tensor {
    let name = "categorical_crossentropy";
    composed(name, &[target, output], move |trace, tensors| {
        let [target, output] = tensors else { return operands(name) };
        let (output, is_logits) = predicted(trace, output, from_logits, &Op::Softmax)?;
        let (target, output) = (axis_last(target, axis), axis_last(&output, axis));
        let y = like(&target, &output);
        if is_logits {
            return Ok(softmax_crossentropy(&y, &output));
        }
        let p = &output / k::sum(&output, &[-1], true);
        let p = k::clip(&p, epsilon(), 1.0 - epsilon());
        Ok(-k::sum(&(y * k::log(&p)), &[-1], false))
    })
}

/// −Σ y·ln softmax(x) over the last axis. Its gradient is TensorFlow's: softmax(x) − y, also where the y of a sample do
/// not sum to 1.
#[track_caller]
fn softmax_crossentropy(y: &Tensor, logits: &Tensor) -> Tensor {
    let loss = -k::sum(&(y * k::log_softmax(logits, -1)), &[-1], false);
    k::custom_gradient("softmax_crossentropy", &loss, &[y, logits], |dloss, operands| {
        let [y, logits] = operands else { return Vec::new() };
        let dloss = k::expand_dims(dloss, -1);
        vec![-&dloss * k::log_softmax(logits, -1), dloss * (k::softmax(logits, -1) - y)]
    })
}

/// −ln(p / Σp) at the position y of an axis (Keras's default: the last), p clipped to [ε, 1 − ε]; of logits −ln softmax(x)
/// there. y holds class numbers, of p's shape without the axis or with 1 at its end.
///
/// Running it fails for class numbers that do not exist.
#[track_caller]
pub fn sparse_categorical_crossentropy(
    target: &Tensor,
    output: &Tensor,
    from_logits: bool,
    axis: isize,
) -> Tensor {
    let name = "sparse_categorical_crossentropy";
    composed(name, &[target, output], move |trace, tensors| {
        let [target, output] = tensors else { return operands(name) };
        let (output, is_logits) = predicted(trace, output, from_logits, &Op::Softmax)?;
        let output = axis_last(&output, axis);
        let logits = if is_logits { output } else { k::log(&k::clip(&output, epsilon(), 1.0 - epsilon())) };
        let here = label_positions(target, &logits);
        let logarithms = k::log_softmax(&logits, -1);
        // Not a product with 0 and 1: the logarithms elsewhere may be infinite.
        Ok(-k::sum(&k::select(&here, &logarithms, &k::number(&logarithms, 0.0)), &[-1], false))
    })
}

/// −y·ln p − (1 − y)·ln(1 − p), elementwise, p clipped to [ε, 1 − ε]; of logits the crossentropy of y and sigmoid(x). Keras
/// 2.3 adds ε to the arguments of the logarithms, Keras 3 does not; 2.2 goes through the logits
/// ([`Semantics::binary_crossentropy`](crate::semantics::Semantics::binary_crossentropy)).
#[track_caller]
pub fn binary_crossentropy(target: &Tensor, output: &Tensor, from_logits: bool) -> Tensor {
    let name = "binary_crossentropy";
    composed(name, &[target, output], move |trace, tensors| {
        let [target, output] = tensors else { return operands(name) };
        let (output, is_logits) = predicted(trace, output, from_logits, &Op::Unary(Unary::Sigmoid))?;
        let y = like(target, &output);
        if is_logits {
            return Ok(sigmoid_crossentropy(&y, &output));
        }
        let p = k::clip(&output, epsilon(), 1.0 - epsilon());
        let of_logarithms = |shift: f64| {
            let hit = &y * k::log(&(&p + shift));
            let miss = (1.0 - &y) * k::log(&((1.0 - &p) + shift));
            -(hit + miss)
        };
        Ok(match trace.semantics().binary_crossentropy {
            BinaryCrossentropy::ShiftedLogarithms => of_logarithms(epsilon()),
            BinaryCrossentropy::ClippedLogits => sigmoid_crossentropy(&y, &k::log(&(&p / (1.0 - &p)))),
            BinaryCrossentropy::ClippedLogarithms => of_logarithms(0.0),
        })
    })
}

/// max(x, 0) − x·y + ln(1 + e^−|x|).
#[track_caller]
fn sigmoid_crossentropy(y: &Tensor, logits: &Tensor) -> Tensor {
    let zero = k::number(logits, 0.0);
    // Chosen, not computed as max and abs, so that the gradient at 0 is ½ − y.
    let positive = k::greater_equal(logits, &zero);
    let top = k::select(&positive, logits, &zero);
    let below = k::select(&positive, &-logits, logits);
    top - logits * y + k::softplus(&below)
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
