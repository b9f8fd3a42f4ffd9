//! Keras's loss functions except the crossentropies. y is the target, p the prediction, ε is `k::epsilon`.

use crate::config::epsilon;
use crate::k;
use crate::k::{by_semantics, like};
use crate::semantics::HingeLabels;
use crate::tensor::Tensor;

fn mean(x: &Tensor) -> Tensor {
    k::mean(x, &[-1], false)
}

fn at_least(x: &Tensor, low: f64) -> Tensor {
    k::maximum(x, &k::number(x, low))
}

/// mean((p − y)²) over the last axis.
#[track_caller]
pub fn mean_squared_error(y_true: &Tensor, y_pred: &Tensor) -> Tensor {
    mean(&k::square(&(y_pred - like(y_true, y_pred))))
}

/// mean(|p − y|) over the last axis.
#[track_caller]
pub fn mean_absolute_error(y_true: &Tensor, y_pred: &Tensor) -> Tensor {
    mean(&k::abs(&(y_pred - like(y_true, y_pred))))
}

/// 100·mean(|y − p| / max(|y|, ε)) over the last axis.
#[track_caller]
pub fn mean_absolute_percentage_error(y_true: &Tensor, y_pred: &Tensor) -> Tensor {
    let y = like(y_true, y_pred);
    let size = at_least(&k::abs(&y), epsilon());
    mean(&k::abs(&((y - y_pred) / size))) * 100.0
}

/// mean((ln(max(p, ε) + 1) − ln(max(y, ε) + 1))²) over the last axis.
#[track_caller]
pub fn mean_squared_logarithmic_error(y_true: &Tensor, y_pred: &Tensor) -> Tensor {
    let logarithm = |x: &Tensor| k::log(&(at_least(x, epsilon()) + 1.0));
    mean(&k::square(&(logarithm(y_pred) - logarithm(&like(y_true, y_pred)))))
}

/// Labels 0 and 1 as −1 and 1, if a batch has no others; before Keras 2.3 as they are.
fn hinge_labels(y: &Tensor) -> Tensor {
    let zero_or_one = k::logical_or(&k::equal(y, &k::number(y, 0.0)), &k::equal(y, &k::number(y, 1.0)));
    let signed = k::select(&k::all(&zero_or_one, &[], false), &(y * 2.0 - 1.0), y);
    by_semantics("hinge_labels", &[&signed, y], |semantics| match semantics.hinge_labels {
        HingeLabels::Signed => 0,
        HingeLabels::AsGiven => 1,
    })
}

fn hinges(y_true: &Tensor, y_pred: &Tensor) -> Tensor {
    let y = hinge_labels(&like(y_true, y_pred));
    at_least(&(1.0 - y * y_pred), 0.0)
}

/// mean(max(1 − y·p, 0)) over the last axis; labels 0 and 1 count as −1 and 1 if the batch has no others (not in Keras 2.2:
/// [`Semantics::hinge_labels`](crate::semantics::Semantics::hinge_labels)).
#[track_caller]
pub fn hinge(y_true: &Tensor, y_pred: &Tensor) -> Tensor {
    mean(&hinges(y_true, y_pred))
}

/// mean(max(1 − y·p, 0)²) over the last axis; labels as for [`hinge`].
#[track_caller]
pub fn squared_hinge(y_true: &Tensor, y_pred: &Tensor) -> Tensor {
    mean(&k::square(&hinges(y_true, y_pred)))
}

/// max(0, max((1 − y)·p) − Σ(y·p) + 1) over the last axis.
#[track_caller]
pub fn categorical_hinge(y_true: &Tensor, y_pred: &Tensor) -> Tensor {
    let y = like(y_true, y_pred);
    let positive = k::sum(&(&y * y_pred), &[-1], false);
    let negative = k::max(&((1.0 - y) * y_pred), &[-1], false);
    let margin = negative - positive + 1.0;
    // In this order, a margin of exactly 0 has no gradient, as in Keras.
    k::maximum(&k::number(&margin, 0.0), &margin)
}

/// mean(ln cosh(p − y)) over the last axis.
#[track_caller]
pub fn logcosh(y_true: &Tensor, y_pred: &Tensor) -> Tensor {
    let error = y_pred - like(y_true, y_pred);
    let softplus = k::softplus(&(&error * -2.0));
    mean(&(error + softplus - std::f64::consts::LN_2))
}

/// ½q² + δ·(|d| − q) for d = p − y, q = min(|d|, δ) and δ = 1; one value per element, as Keras 2.3 has it.
#[track_caller]
pub fn huber_loss(y_true: &Tensor, y_pred: &Tensor) -> Tensor {
    huber_loss_of(y_true, y_pred, 1.0)
}

/// [`huber_loss`] with that δ > 0.
#[track_caller]
pub fn huber_loss_of(y_true: &Tensor, y_pred: &Tensor, delta: f64) -> Tensor {
    let distance = k::abs(&(y_pred - like(y_true, y_pred)));
    let quadratic = k::minimum(&distance, &k::number(&distance, delta));
    let linear = distance - &quadratic;
    k::square(&quadratic) * 0.5 + linear * delta
}

/// Σ y·ln(y/p) over the last axis, both clipped to [ε, 1].
#[track_caller]
pub fn kullback_leibler_divergence(y_true: &Tensor, y_pred: &Tensor) -> Tensor {
    let y = k::clip(&like(y_true, y_pred), epsilon(), 1.0);
    let p = k::clip(y_pred, epsilon(), 1.0);
    k::sum(&(&y * k::log(&(&y / p))), &[-1], false)
}

/// mean(p − y·ln(p + ε)) over the last axis.
#[track_caller]
pub fn poisson(y_true: &Tensor, y_pred: &Tensor) -> Tensor {
    mean(&(y_pred - like(y_true, y_pred) * k::log(&(y_pred + epsilon()))))
}

/// −Σ of the products of y and p, each divided by its length, over the last axis.
#[track_caller]
pub fn cosine_proximity(y_true: &Tensor, y_pred: &Tensor) -> Tensor {
    -cosine_similarity_along(y_true, y_pred, -1)
}

/// The cosine of the angle between y and p along an axis.
#[track_caller]
pub(crate) fn cosine_similarity_along(y_true: &Tensor, y_pred: &Tensor, axis: isize) -> Tensor {
    let (y, p) = (k::l2_normalize(&like(y_true, y_pred), axis), k::l2_normalize(y_pred, axis));
    k::sum(&(y * p), &[axis], false)
}
