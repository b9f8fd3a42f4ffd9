//! A recorded call of a layer.

use super::LayerRef;
use crate::error::Result;
use crate::tensor::record::{Producer, Replayed};
use crate::tensor::{Spec, Tensor, Trace};

/// One call of a layer on Keras tensors: its place in the graph of layers.
pub struct LayerNode {
    pub(crate) layer: LayerRef,
    pub(crate) inputs: Vec<Tensor>,
    pub(crate) outputs: Vec<Spec>,
    /// Which call of the layer it is, from 0.
    pub(crate) index: usize,
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
        self.layer.replay(trace, inputs, masks)
    }
}

impl Tensor {
    /// The call of a layer that made a Keras tensor, and which of its results it is; none if an operation made it.
    pub fn layer_node(&self) -> Option<(&LayerNode, usize)> {
        let symbol = self.symbol()?;
        let any: &dyn std::any::Any = &*symbol.producer;
        any.downcast_ref::<LayerNode>().map(|node| (node, symbol.output))
    }
}
