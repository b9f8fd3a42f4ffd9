//! [`GivenMasks`]: masks that are arguments of a call, `LSTM(..)(x, mask=m)`, as tf.keras has them.

use super::node::{input_argument, input_index};
use super::{Arguments, LayerRef};
use crate::array::DType;
use crate::tensor::Tensor;
use serde_json::Value;

/// The argument.
pub(super) const MASK: &str = "mask";

/// A call whose masks are inputs apart from those that it computes with.
pub(super) struct GivenMasks {
    /// The inputs that are no masks.
    operands: Vec<usize>,
    /// For each of those, which input is its mask.
    masks: Vec<Option<usize>>,
    /// The other arguments, for the operands alone.
    pub(super) arguments: Arguments,
}

impl LayerRef {
    /// The masks that a call of so many inputs is given: an argument of the call that any layer with masks takes, unless it
    /// has one of that name.
    pub(super) fn given_masks(&self, inputs: usize, arguments: &Arguments) -> Option<GivenMasks> {
        let given = arguments.get(MASK).filter(|_| !self.definition().takes_argument(MASK))?;
        let given: Vec<Option<usize>> = match given {
            Value::Array(masks) => masks.iter().map(input_index).collect(),
            mask => vec![input_index(mask)],
        };
        let operands: Vec<usize> = (0..inputs).filter(|i| !given.contains(&Some(*i))).collect();
        let mut masks = given;
        masks.resize(operands.len(), None);
        let mut arguments = arguments.clone();
        arguments.shift_remove(MASK);
        arguments.values_mut().for_each(|value| renumber(value, &operands));
        Some(GivenMasks { operands, masks, arguments })
    }
}

/// Whether an argument refers to inputs that can be masks: one of them, or one or none for each input that is no mask.
pub(super) fn are_masks(argument: &Value, inputs: &[Tensor]) -> bool {
    let is_mask = |mask: &Value| {
        let input = input_index(mask).and_then(|i| inputs.get(i));
        input.is_some_and(|input| input.dtype() == Ok(DType::Bool))
    };
    match argument {
        Value::Array(masks) => {
            let given = masks.iter().filter(|mask| !mask.is_null()).count();
            masks.len() + given <= inputs.len() && masks.iter().all(|mask| mask.is_null() || is_mask(mask))
        }
        mask => is_mask(mask),
    }
}

impl GivenMasks {
    /// What belongs to the operands, of what belongs to all inputs.
    pub(super) fn operands<T: Clone>(&self, inputs: &[T]) -> Vec<T> {
        self.operands.iter().filter_map(|i| inputs.get(*i).cloned()).collect()
    }

    /// What each operand's mask is: the one it is given, or the one it has.
    pub(super) fn masks<T>(&self, own: Vec<T>, given: impl Fn(usize) -> Option<T>) -> Vec<T> {
        own.into_iter().zip(&self.masks).map(|(own, mask)| mask.and_then(&given).unwrap_or(own)).collect()
    }
}

/// Counts references to inputs over the operands alone.
fn renumber(value: &mut Value, operands: &[usize]) {
    if let Some(i) = input_index(value) {
        if let Some(place) = operands.iter().position(|operand| *operand == i) {
            *value = input_argument(place);
        }
        return;
    }
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| renumber(item, operands)),
        Value::Object(fields) => fields.values_mut().for_each(|item| renumber(item, operands)),
        _ => {}
    }
}
