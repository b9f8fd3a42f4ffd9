//! From one value per sample to one number per batch: weights, masks, reductions.

use crate::error::{Error, Result};
use crate::graph::{Binary, Graph, Op, Reduce, Value};
use crate::k;
use crate::k::{nth, op};
use crate::registry::Reader;
use crate::semantics::{LossReduction, Semantics};
use crate::tensor::Tensor;

/// How the weighted values of a batch become one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Reduction {
    /// They stay as they are; where training needs one number it takes their mean.
    None,
    /// Their sum.
    Sum,
    /// Their sum divided by their number.
    #[default]
    SumOverBatchSize,
}

const REDUCTIONS: [(&str, Reduction); 4] = [
    ("sum_over_batch_size", Reduction::SumOverBatchSize),
    ("sum", Reduction::Sum),
    ("none", Reduction::None),
    // tf.keras: whatever fit does, which is the mean.
    ("auto", Reduction::SumOverBatchSize),
];

impl Reduction {
    /// Keras's name: `none`, `sum`, `sum_over_batch_size`.
    pub fn name(self) -> &'static str {
        REDUCTIONS.iter().find(|(_, known)| *known == self).map_or("", |(name, _)| name)
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self> {
        let text = reader.text("reduction", "sum_over_batch_size")?;
        REDUCTIONS
            .iter()
            .find(|(name, _)| *name == text)
            .map(|(_, reduction)| *reduction)
            .ok_or_else(|| reader.wrong("reduction", "one of none, sum, sum_over_batch_size"))
    }
}

/// Weights in the shape and the element type of `values`: missing trailing axes are added, a superfluous last axis of
/// length 1 goes.
///
/// # Errors
/// The result is poisoned if an axis of the weights has neither the length of the values' axis nor 1.
#[track_caller]
pub fn align_weights(values: &Tensor, weights: &Tensor) -> Tensor {
    op("sample_weight", &[values, weights], |graph, operands| {
        let (values, weights) = (nth(operands, 0)?, nth(operands, 1)?);
        aligned(graph, values, weights)
    })
}

fn aligned(graph: &mut Graph, values: Value, weights: Value) -> Result<Value> {
    let (wanted, dtype) = (graph.shape(values).to_vec(), graph.ty(values).dtype);
    let given = graph.shape(weights).to_vec();
    let mut shape = given.clone();
    if shape.len() == wanted.len() + 1 && shape.last() == Some(&1) {
        shape.pop();
    }
    let fits =
        shape.len() <= wanted.len() && shape.iter().zip(&wanted).all(|(&own, &len)| own == len || own == 1);
    if !fits {
        return Err(Error::shape(
            "sample_weight",
            format!("weights that fit losses of shape {wanted:?}"),
            format!("{given:?}"),
        ));
    }
    shape.resize(wanted.len(), 1);
    let weights = graph.add(Op::Cast(dtype), &[weights])?;
    let weights = graph.reshape(weights, &shape)?;
    graph.broadcast(weights, &wanted)
}

/// What samples count: weights, mask, or their product in the mask's shape. None if there is neither.
#[track_caller]
pub fn masked_weights(weights: Option<&Tensor>, mask: Option<&Tensor>) -> Option<Tensor> {
    match (weights, mask) {
        (Some(weights), Some(mask)) => {
            let mask = match weights.dtype() {
                Ok(dtype) => k::cast(mask, dtype),
                Err(error) => Tensor::poisoned(error),
            };
            Some(align_weights(&mask, weights) * mask)
        }
        (Some(weights), None) => Some(weights.clone()),
        (None, Some(mask)) => Some(k::cast(mask, k::floatx())),
        (None, None) => None,
    }
}

/// The loss of a batch, a scalar, from one value per sample (or step).
///
/// | | Keras 2.3 | up to 2.2 |
/// |---|---|---|
/// | mask | multiplied into the weights | values·mask / mean(mask) |
/// | weights | values·weights | mean of the values over axes the weights lack, ·weights / mean(weights ≠ 0) |
/// | tf.keras | as 2.3, but `SumOverBatchSize` divides by mean(mask) as well | |
/// | then | the reduction (`None` and `SumOverBatchSize`: divided by the number of values) | the mean |
#[track_caller]
pub fn weighted_mean(
    values: &Tensor,
    weights: Option<&Tensor>,
    mask: Option<&Tensor>,
    reduction: Reduction,
    semantics: Semantics,
) -> Tensor {
    match semantics.loss_reduction {
        LossReduction::SumOverNonZeroWeights if reduction != Reduction::Sum => {
            over_non_zero_weights(values, weights, mask)
        }
        _ => {
            let weighted = match masked_weights(weights, mask) {
                Some(weights) => align_weights(values, &weights) * values,
                None => values.clone(),
            };
            let weighted = match mask {
                Some(mask)
                    if semantics.loss_reduction == LossReduction::SumOverValidElements
                        && reduction == Reduction::SumOverBatchSize =>
                {
                    let dtype = values.dtype().unwrap_or_else(|_| k::floatx());
                    &weighted / k::mean(&k::cast(mask, dtype), &[], false)
                }
                _ => weighted,
            };
            match reduction {
                Reduction::Sum => k::sum(&weighted, &[], false),
                Reduction::None | Reduction::SumOverBatchSize => k::mean(&weighted, &[], false),
            }
        }
    }
}

#[track_caller]
fn over_non_zero_weights(values: &Tensor, weights: Option<&Tensor>, mask: Option<&Tensor>) -> Tensor {
    let mut values = values.clone();
    if let Some(mask) = mask {
        let mask = match values.dtype() {
            Ok(dtype) => k::cast(mask, dtype),
            Err(error) => Tensor::poisoned(error),
        };
        values = values * &mask / k::mean(&mask, &[], false);
    }
    if let Some(weights) = weights {
        let kept = op("sample_weight", &[&values, weights], |graph, operands| {
            let (values, weights) = (nth(operands, 0)?, nth(operands, 1)?);
            let (rank, own) = (graph.shape(values).len(), graph.shape(weights).len());
            let beyond: Vec<usize> = (own.min(rank)..rank).collect();
            let count: usize = graph.shape(values).iter().skip(own).product();
            let total = graph.reduce(Reduce::Sum, values, &beyond)?;
            graph.binary_scalar(Binary::Div, total, count as f64)
        });
        let weights = align_weights(&kept, weights);
        let non_zero = k::not_equal(&weights, &k::number(&weights, 0.0));
        let share = match kept.dtype() {
            Ok(dtype) => k::mean(&k::cast(&non_zero, dtype), &[], false),
            Err(error) => Tensor::poisoned(error),
        };
        values = kept * weights / share;
    }
    k::mean(&values, &[], false)
}
