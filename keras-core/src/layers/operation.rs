//! `TFOpLambda` and `SlicingOpLambda`: what tf.keras writes for an operation between layers (`x + 1`,
//! `tf.concat(..)`, `x[:, 0]`).

mod arguments;
mod functions;
mod slicing;

use super::registry::Read;
use super::{Base, Build, Call, Layer};
use crate::error::Result;
use crate::registry::{Config, Reader};
use crate::tensor::{Spec, Tensor};
use arguments::Operands;

/// What stands for the layer where tf.keras calls an operation on a number first: `1 - x`.
pub(crate) const CONSTANT: &str = "_CONSTANT_VALUE";

/// An operation of TensorFlow by its name, on tensors and arguments of the call: `math.multiply` with `{"y": 2}`.
///
/// ```
/// use keras_core::layers::{Input, LayerRef, Operation};
/// let x = Input::new([4, 3]).tensor()?;
/// let arguments = serde_json::Map::from_iter([("axis".to_owned(), 1.into())]);
/// let y = LayerRef::new(Operation::new("math.reduce_mean"))?.call_with(&x, arguments)?;
/// assert_eq!(y[0].spec()?.shape, [None, Some(3)]);
/// # Ok::<(), keras_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Operation {
    base: Base,
    function: String,
}

impl Operation {
    /// The operation of that name, without the leading `tf.`.
    pub fn new(function: &str) -> Self {
        Self { base: Base::default(), function: function.to_owned() }
    }
}

crate::layer_verbs!(Operation);

impl Read for Operation {
    fn read(reader: &mut Reader<'_>) -> Result<Self> {
        let base = Base::read(reader)?;
        match reader.text_or_none("function")? {
            Some(function) => Ok(Self { base, function }),
            None => Err(reader.wrong("function", "the name of an operation")),
        }
    }
}

impl Layer for Operation {
    fn config(&self) -> Config {
        let class = if self.function == slicing::NAME { "SlicingOpLambda" } else { "TFOpLambda" };
        Config::new(class).with("function", self.function.as_str())
    }

    fn base(&self) -> Option<&Base> {
        Some(&self.base)
    }

    fn build(&self, _: &mut Build, _: &[Spec]) -> Result<()> {
        functions::check(&self.function)
    }

    fn call(&self, cx: &mut Call, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        let operands = Operands::new(&self.function, inputs, cx.arguments());
        let results = functions::call(&self.function, &operands)?;
        operands.finish()?;
        Ok(results)
    }

    /// As in tf.keras, operations take masked tensors, and what they give is not masked.
    fn supports_masking(&self) -> bool {
        true
    }

    fn compute_mask(&self, _: &mut Call, _: &[Tensor], outputs: &[Tensor]) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![None; outputs.len()])
    }

    /// Which are taken depends on the operation: it refuses those it does not read.
    fn takes_argument(&self, _: &str) -> bool {
        true
    }
}
