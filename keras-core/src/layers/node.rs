//! A recorded call of a layer.

use super::{Arguments, LayerRef};
use crate::error::Result;
use crate::tensor::record::{Producer, Replayed};
use crate::tensor::{Phase, Spec, Tensor, Trace};
use serde_json::{Value, json};

/// One call of a layer on Keras tensors: its place in the graph of layers.
pub struct LayerNode {
    pub(crate) layer: LayerRef,
    pub(crate) inputs: Vec<Tensor>,
    /// Arguments of the call besides its inputs; [`input_index`] says which of them are inputs.
    pub(crate) arguments: Arguments,
    pub(crate) outputs: Vec<Spec>,
    /// Which call of the layer it is, from 0.
    pub(crate) index: usize,
    /// The learning phase that was said when it was recorded; the argument `training` says it once more.
    pub(crate) phase: Option<Phase>,
}

impl LayerNode {
    /// The layer that was called.
    pub fn layer(&self) -> &LayerRef {
        &self.layer
    }

    /// Which call of the layer it is, from 0.
    pub fn index(&self) -> usize {
        self.index
    }

    /// The arguments of the call besides its inputs.
    pub fn arguments(&self) -> &Arguments {
        &self.arguments
    }

    /// The specs of the results.
    pub fn outputs(&self) -> &[Spec] {
        &self.outputs
    }
}

impl Producer for LayerNode {
    fn name(&self) -> &str {
        self.layer.name()
    }

    fn inputs(&self) -> &[Tensor] {
        &self.inputs
    }

    fn replay(&self, trace: &Trace, inputs: &[Tensor], masks: &[Option<Tensor>]) -> Result<Replayed> {
        self.layer.replay_with(&trace.in_phase_said(self.phase), inputs, masks, &self.arguments)
    }
}

/// How an argument of a call refers to one of its inputs.
pub(crate) fn input_argument(index: usize) -> Value {
    json!({ "tensor": index })
}

/// The input that an argument of a call refers to; none for other values.
pub(crate) fn input_index(argument: &Value) -> Option<usize> {
    let fields = argument.as_object().filter(|fields| fields.len() == 1)?;
    usize::try_from(fields.get("tensor")?.as_u64()?).ok()
}

impl Tensor {
    /// The call of a layer that made a Keras tensor, and which of its results it is; none if an operation made it.
    pub fn layer_node(&self) -> Option<(&LayerNode, usize)> {
        let symbol = self.symbol()?;
        let any: &dyn std::any::Any = &*symbol.producer;
        any.downcast_ref::<LayerNode>().map(|node| (node, symbol.output))
    }
}
