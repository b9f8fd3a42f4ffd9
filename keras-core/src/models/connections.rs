//! [`Connection`]: which layers feed which.

use super::network::{Network, NetworkNode};
use crate::layers::LayerRef;
use crate::tensor::{SymbolId, Tensor};
use std::collections::{HashMap, HashSet};

/// A call of a layer in a model, and the layers whose results it reads.
#[derive(Clone, Debug)]
pub struct Connection {
    /// The layer that is called.
    pub layer: LayerRef,
    /// Where its inputs come from, in their order; through an operation between layers, the layers before it.
    pub sources: Vec<LayerRef>,
}

impl Network {
    /// Every call of every layer: layers as [`Network::layers`] has them, the calls of one in the order in which they
    /// were made.
    ///
    /// ```
    /// use keras_core::layers::{Add, Dense, Input};
    /// use keras_core::models::{Model, Network};
    /// let x = Input::new([4]).name("x").tensor()?;
    /// let y = Dense::new(4).name("y").call(&x)?;
    /// let model = Model::new(&x, &Add::new().name("sum").call([&x, &y])?)?.as_layer()?;
    /// let network = model.downcast::<Network>().expect("a model is a network");
    /// let last = network.connections().pop().expect("three calls");
    /// let sources: Vec<&str> = last.sources.iter().map(|layer| layer.name()).collect();
    /// assert_eq!((last.layer.name(), sources), ("sum", vec!["x", "y"]));
    /// # Ok::<(), keras_core::Error>(())
    /// ```
    pub fn connections(&self) -> Vec<Connection> {
        let mut calls: Vec<_> = self.nodes.iter().filter_map(NetworkNode::call).collect();
        let at: HashMap<u64, usize> = self.layers.iter().map(LayerRef::id).zip(0..).collect();
        calls.sort_by_key(|call| (at.get(&call.layer.id()).copied(), call.index));
        let connection = |call: &crate::layers::LayerNode| Connection {
            layer: call.layer.clone(),
            sources: call.inputs.iter().flat_map(sources).collect(),
        };
        calls.into_iter().map(connection).collect()
    }
}

/// The layers that a tensor comes from: the one that made it, or those before the operations that did.
fn sources(tensor: &Tensor) -> Vec<LayerRef> {
    let mut found = Vec::new();
    let mut seen = HashSet::new();
    let mut stack = vec![tensor.clone()];
    while let Some(tensor) = stack.pop() {
        if let Some((node, _)) = tensor.layer_node() {
            if !found.contains(&node.layer) {
                found.push(node.layer.clone());
            }
        } else if let Some(symbol) = tensor.symbol()
            && seen.insert(SymbolId::of(&symbol.producer, 0))
        {
            stack.extend(symbol.producer.inputs().iter().rev().cloned());
        }
    }
    found
}
