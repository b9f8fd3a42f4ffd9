//! Keras's metric functions: one value per sample, of which training reports the mean.

use crate::k;
use crate::losses;
use crate::tensor::Tensor;

fn truth(x: &Tensor) -> Tensor {
    k::cast(x, k::floatx())
}

/// Whether y = p, per element.
#[track_caller]
pub fn accuracy(y_true: &Tensor, y_pred: &Tensor) -> Tensor {
    truth(&k::equal(&losses::like(y_true, y_pred), y_pred))
}

/// The share of y = round(p) along the last axis; ½ rounds to 0.
#[track_caller]
pub fn binary_accuracy(y_true: &Tensor, y_pred: &Tensor) -> Tensor {
    binary_accuracy_above(y_true, y_pred, 0.5)
}

/// [`binary_accuracy`] where p counts as 1 above another threshold.
#[track_caller]
pub fn binary_accuracy_above(y_true: &Tensor, y_pred: &Tensor, threshold: f64) -> Tensor {
    let y = losses::like(y_true, y_pred);
    let hit = if threshold == 0.5 {
        k::equal(&y, &k::round(y_pred))
    } else {
        let positive = k::greater(y_pred, &k::number(y_pred, threshold));
        k::equal(&y, &losses::like(&positive, y_pred))
    };
    k::mean(&truth(&hit), &[-1], false)
}

/// Whether the largest of y and of p along the last axis stand at the same position.
#[track_caller]
pub fn categorical_accuracy(y_true: &Tensor, y_pred: &Tensor) -> Tensor {
    truth(&k::equal(&k::argmax(y_true, -1), &k::argmax(y_pred, -1)))
}

/// Whether the largest of p stands at position y; y has p's shape without the last axis, or with 1 there.
#[track_caller]
pub fn sparse_categorical_accuracy(y_true: &Tensor, y_pred: &Tensor) -> Tensor {
    let found = k::argmax(y_pred, -1);
    truth(&k::equal(&losses::labels_like(y_true, &found), &found))
}

/// Whether p at the largest of y is among the `k` largest of p; equals of the k-th count.
#[track_caller]
pub fn top_k_categorical_accuracy(y_true: &Tensor, y_pred: &Tensor, k: usize) -> Tensor {
    sparse_top_k_categorical_accuracy(&k::argmax(y_true, -1), y_pred, k)
}

/// Whether p at position y is among the `k` largest of p; equals of the k-th count.
#[track_caller]
pub fn sparse_top_k_categorical_accuracy(y_true: &Tensor, y_pred: &Tensor, k: usize) -> Tensor {
    truth(&k::among_largest(y_pred, &losses::label_positions(y_true, y_pred), k))
}

/// Σ of the products of y and p, each divided by its length, over the last axis: +1 for equal directions (as a loss it
/// has the other sign).
#[track_caller]
pub fn cosine_proximity(y_true: &Tensor, y_pred: &Tensor) -> Tensor {
    losses::cosine_similarity_along(y_true, y_pred, -1)
}
