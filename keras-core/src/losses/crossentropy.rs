//! The three crossentropies as losses, of probabilities and of logits.

use crate::k;
use crate::k::{like, nth, op};
use crate::tensor::Tensor;

/// −Σ y·ln(p / Σp) over the last axis, p/Σp clipped to [ε, 1 − ε].
#[track_caller]
pub fn categorical_crossentropy(y_true: &Tensor, y_pred: &Tensor) -> Tensor {
    k::categorical_crossentropy(y_true, y_pred, false, -1)
}

/// −ln(p / Σp) at the position y, p clipped to [ε, 1 − ε]. y holds class numbers, of p's shape without the last axis
/// or with 1 there.
#[track_caller]
pub fn sparse_categorical_crossentropy(y_true: &Tensor, y_pred: &Tensor) -> Tensor {
    k::sparse_categorical_crossentropy(y_true, y_pred, false, -1)
}

/// The mean of −y·ln p − (1 − y)·ln(1 − p) over the last axis, p clipped to [ε, 1 − ε]; see [`k::binary_crossentropy`].
#[track_caller]
pub fn binary_crossentropy(y_true: &Tensor, y_pred: &Tensor) -> Tensor {
    k::mean(&k::binary_crossentropy(y_true, y_pred, false), &[-1], false)
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
