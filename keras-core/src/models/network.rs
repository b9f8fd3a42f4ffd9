//! [`Network`]: a graph of layer calls from inputs to outputs; itself a layer.

use super::model::lock;
use super::nesting::Nesting;
use crate::error::{Error, Result};
use crate::layers::{Base, Build, Call, Input, Layer, LayerNode, LayerRef, outputs_of};
use crate::registry::Config;
use crate::tensor::record::Producer;
use crate::tensor::{Spec, SymbolId, Tensor};
use std::any::Any;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

/// Whether a model was made layer by layer or from tensors; what is written as its class name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `Model(inputs, outputs)`.
    Functional,
    /// `Sequential()`.
    Sequential,
}

/// A call on the way from inputs to outputs.
pub(super) struct NetworkNode {
    pub(super) producer: Arc<dyn Producer>,
    /// Longest distance to an output.
    pub(super) depth: usize,
    /// The nodes whose results it reads, by position.
    pub(super) inbound: Vec<usize>,
}

impl NetworkNode {
    /// The layer call; none for an operation.
    pub(super) fn call(&self) -> Option<&LayerNode> {
        let any: &dyn Any = &*self.producer;
        any.downcast_ref()
    }
}

/// The definition of a model: immutable once made.
pub struct Network {
    pub(super) kind: Kind,
    pub(super) base: Base,
    pub(super) layers: Vec<LayerRef>,
    pub(super) inputs: Vec<Tensor>,
    pub(super) outputs: Vec<Tensor>,
    /// How the inputs are nested in files, and the outputs.
    pub(super) nesting: [Nesting; 2],
    /// In the order in which the outputs' ancestors are finished: operands before users.
    pub(super) nodes: Vec<NetworkNode>,
    /// What the model adds to the loss beside its outputs' own.
    pub(super) losses: Arc<Mutex<Vec<Tensor>>>,
}

impl Network {
    /// The graph between tensors.
    pub(super) fn new(kind: Kind, name: String, inputs: Vec<Tensor>, outputs: Vec<Tensor>) -> Result<Self> {
        let doing = || format!("model {name}");
        if inputs.is_empty() || outputs.is_empty() {
            return Err(Error::value(
                doing(),
                "at least one input and one output",
                format!("{} and {}", inputs.len(), outputs.len()),
            ));
        }
        let mut ids = Vec::new();
        for input in &inputs {
            let id = input.check()?.symbol_id();
            let id =
                id.ok_or_else(|| Error::value(doing(), "Keras tensors as inputs", format!("{input:?}")))?;
            if ids.contains(&id) {
                return Err(Error::value(doing(), "every input once", format!("{input:?} twice"))
                    .advice("leave the second one out"));
            }
            ids.push(id);
        }
        let nodes = trace_back(&name, &inputs, &outputs)?;
        let layers = order_layers(&nodes);
        let mut counts: HashMap<&str, usize> = HashMap::new();
        for layer in &layers {
            *counts.entry(layer.name()).or_default() += 1;
        }
        if let Some((name, count)) =
            layers.iter().map(|layer| (layer.name(), counts[layer.name()])).find(|(_, n)| *n > 1)
        {
            return Err(Error::name(
                doing(),
                "layer names that are unique",
                format!("the name \"{name}\" used {count} times"),
            )
            .advice("give one of the layers another name; a layer that is meant twice is called twice"));
        }
        let base = Base { name: Some(name), ..Base::default() };
        Ok(Self {
            kind,
            base,
            layers,
            inputs,
            outputs,
            nesting: Default::default(),
            nodes,
            losses: Arc::default(),
        })
    }

    /// An error if a tensor needs other inputs than these.
    pub(super) fn check_reaches(&self, tensor: &Tensor) -> Result<()> {
        trace_back(self.name(), &self.inputs, std::slice::from_ref(tensor)).map(drop)
    }

    /// The name of the model.
    pub fn name(&self) -> &str {
        self.base.name.as_deref().unwrap_or_default()
    }

    /// The layers, as [`Model::layers`](super::Model::layers) has them.
    pub fn layers(&self) -> &[LayerRef] {
        &self.layers
    }

    /// The results of the first call of every layer but inputs, among those calls that belong to the graph.
    pub(super) fn layer_outputs(&self) -> Vec<(LayerRef, Vec<Tensor>)> {
        let layers = self.layers.iter().filter(|layer| layer.downcast::<Input>().is_none());
        layers
            .filter_map(|layer| {
                let calls = self.nodes.iter().filter_map(|node| {
                    let call = node.call().filter(|call| call.layer == *layer)?;
                    Some((call.index, &node.producer))
                });
                let (_, producer) = calls.min_by_key(|(index, _)| *index)?;
                Some((layer.clone(), outputs_of(producer)))
            })
            .collect()
    }

    /// Whether it was made layer by layer.
    pub fn is_sequential(&self) -> bool {
        self.kind == Kind::Sequential
    }

    /// Specs of the outputs and whether they are masked, for inputs of other specs: settled node by node.
    fn settle(&self, inputs: &[Spec], masked: &[bool]) -> Result<Vec<(Spec, bool)>> {
        let mut known: HashMap<SymbolId, (Spec, bool)> = HashMap::new();
        for ((tensor, spec), &masked) in self.inputs.iter().zip(inputs).zip(masked) {
            if let Some(id) = tensor.symbol_id() {
                known.insert(id, (spec.clone(), masked));
            }
        }
        let find = |known: &HashMap<SymbolId, (Spec, bool)>, tensor: &Tensor| -> Result<(Spec, bool)> {
            match tensor.symbol_id().and_then(|id| known.get(&id).cloned()) {
                Some(found) => Ok(found),
                None => Ok((tensor.spec()?, false)),
            }
        };
        for node in &self.nodes {
            let Some(call) = node.call().filter(|call| !call.inputs.is_empty()) else { continue };
            let mut specs = Vec::new();
            let mut masks = Vec::new();
            for input in &call.inputs {
                let (spec, mask) = find(&known, input)?;
                specs.push(spec);
                masks.push(mask);
            }
            let (outputs, masks) = call.layer.settle(&specs, &masks, &call.arguments)?;
            for (output, settled) in outputs.into_iter().zip(masks).enumerate() {
                known.insert(SymbolId::of(&node.producer, output), settled);
            }
        }
        self.outputs.iter().map(|output| find(&known, output)).collect()
    }
}

impl Layer for Network {
    fn config(&self) -> Config {
        super::config::network_config(self)
    }

    fn base(&self) -> Option<&Base> {
        Some(&self.base)
    }

    fn build(&self, cx: &mut Build, _: &[Spec]) -> Result<()> {
        for layer in &self.layers {
            cx.child(layer.name(), layer);
        }
        Ok(())
    }

    fn compute_output_shape(&self, inputs: &[Spec]) -> Result<Option<Vec<Spec>>> {
        if inputs.len() != self.inputs.len() {
            return Err(Error::value(
                "call",
                format!("{} inputs", self.inputs.len()),
                inputs.len().to_string(),
            ));
        }
        for (tensor, given) in self.inputs.iter().zip(inputs) {
            let own = tensor.spec()?;
            let fits = own.rank() == given.rank()
                && own.shape.iter().zip(&given.shape).all(|(own, given)| match (own, given) {
                    (Some(own), Some(given)) => own == given,
                    _ => true,
                });
            if !fits {
                return Err(Error::shape("call", own.to_string(), given.to_string())
                    .advice("call the model on tensors of the shapes of its inputs"));
            }
        }
        // An operation between layers is not settled by itself: then the whole is probed.
        if self.nodes.iter().any(|node| node.call().is_none()) {
            return Ok(None);
        }
        let settled = self.settle(inputs, &vec![false; inputs.len()])?;
        Ok(Some(settled.into_iter().map(|(spec, _)| spec).collect()))
    }

    fn call(&self, cx: &mut Call, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        let masks: Vec<Option<Tensor>> = (0..inputs.len()).map(|i| cx.mask(i).cloned()).collect();
        let trace = cx.trace().nested(self.name());
        for ((symbol, value), mask) in self.inputs.iter().zip(inputs).zip(masks) {
            trace.feed(symbol, value.clone(), mask);
        }
        let mut values = Vec::with_capacity(self.outputs.len());
        let mut masks = Vec::with_capacity(self.outputs.len());
        for output in &self.outputs {
            let (value, mask) = trace.replay(output)?;
            values.push(value);
            masks.push(mask);
        }
        for loss in lock(&self.losses).iter() {
            trace.add_loss(trace.replay(loss)?.0);
        }
        cx.set_output_masks(masks);
        Ok(values)
    }

    fn supports_masking(&self) -> bool {
        true
    }

    fn creates_mask(&self) -> bool {
        self.outputs.iter().any(Tensor::is_masked)
    }

    fn compute_mask(&self, cx: &mut Call, _: &[Tensor], outputs: &[Tensor]) -> Result<Vec<Option<Tensor>>> {
        let mut masks = cx.take_output_masks();
        masks.resize(outputs.len(), None);
        Ok(masks)
    }

    fn stateful(&self) -> bool {
        self.layers.iter().any(|layer| layer.definition().stateful())
    }

    fn is_model(&self) -> bool {
        true
    }
}

/// The calls between inputs and outputs, each after those it reads, with their depths.
#[allow(clippy::indexing_slicing, reason = "positions are those of the list itself")]
fn trace_back(name: &str, inputs: &[Tensor], outputs: &[Tensor]) -> Result<Vec<NetworkNode>> {
    let sources: Vec<SymbolId> = inputs.iter().filter_map(Tensor::symbol_id).collect();
    let mut at: HashMap<SymbolId, usize> = HashMap::new();
    let mut nodes: Vec<NetworkNode> = Vec::new();
    // Walks as a recursion would, operands first, but on a stack of its own.
    let mut stack: Vec<(Tensor, bool)> = outputs.iter().rev().map(|output| (output.clone(), false)).collect();
    while let Some((tensor, entered)) = stack.pop() {
        let Some(symbol) = tensor.check()?.symbol().cloned() else { continue };
        let key = SymbolId::of(&symbol.producer, 0);
        if at.contains_key(&key) {
            continue;
        }
        let is_source = sources.contains(&SymbolId::of(&symbol.producer, symbol.output));
        let operands: &[Tensor] = if is_source { &[] } else { symbol.producer.inputs() };
        if !entered {
            stack.push((tensor.clone(), true));
            stack.extend(operands.iter().rev().map(|operand| (operand.clone(), false)));
            continue;
        }
        let layer = (&*symbol.producer as &dyn Any).downcast_ref::<LayerNode>();
        if operands.is_empty()
            && !is_source
            && layer.is_some_and(|node| node.layer.downcast::<Input>().is_some())
        {
            return Err(Error::state(
                format!("model {name}"),
                "every input that its outputs need",
                format!("the graph disconnected at {}", symbol.producer.name()),
            )
            .advice("name that tensor among the inputs"));
        }
        let inbound = operands
            .iter()
            .filter_map(|operand| at.get(&SymbolId::of(&operand.symbol()?.producer, 0)).copied())
            .collect();
        at.insert(key, nodes.len());
        nodes.push(NetworkNode { producer: symbol.producer, depth: 0, inbound });
    }
    // Inputs that no output needs belong to the model too.
    for input in inputs {
        if let Some(symbol) = input.symbol() {
            let key = SymbolId::of(&symbol.producer, 0);
            if let std::collections::hash_map::Entry::Vacant(entry) = at.entry(key) {
                entry.insert(nodes.len());
                nodes.push(NetworkNode {
                    producer: Arc::clone(&symbol.producer),
                    depth: 0,
                    inbound: Vec::new(),
                });
            }
        }
    }
    // Depths as Keras counts them: all calls of a layer are at least as deep as its deepest so far.
    let mut of_layer: HashMap<u64, usize> = HashMap::new();
    for i in (0..nodes.len()).rev() {
        let mut depth = nodes[i].depth;
        if let Some(call) = nodes[i].call() {
            let known = of_layer.entry(call.layer.id()).or_default();
            depth = depth.max(*known);
            *known = depth;
        }
        nodes[i].depth = depth;
        for inbound in nodes[i].inbound.clone() {
            nodes[inbound].depth = nodes[inbound].depth.max(depth + 1);
        }
    }
    Ok(nodes)
}

/// The layers by decreasing depth; ties in the order in which a walk from the outputs meets them, before them the inputs
/// that nothing reads.
fn order_layers(nodes: &[NetworkNode]) -> Vec<LayerRef> {
    let mut depth: HashMap<u64, usize> = HashMap::new();
    let mut layers: Vec<LayerRef> = Vec::new();
    for node in nodes {
        if let Some(call) = node.call() {
            let known = depth.entry(call.layer.id()).or_insert_with(|| {
                layers.push(call.layer.clone());
                node.depth
            });
            *known = (*known).max(node.depth);
        }
    }
    let met = meeting_order(nodes);
    layers.sort_by_key(|layer| {
        let depth = depth.get(&layer.id()).copied().unwrap_or(0);
        let read = depth > 0 || layer.class_name() != "InputLayer";
        (std::cmp::Reverse(depth), read, met.get(&layer.id()).copied().unwrap_or(usize::MAX))
    });
    layers
}

/// When a depth-first walk from the outputs first meets each layer (before its operands).
fn meeting_order(nodes: &[NetworkNode]) -> HashMap<u64, usize> {
    let mut used = vec![false; nodes.len()];
    for node in nodes {
        for &inbound in &node.inbound {
            if let Some(used) = used.get_mut(inbound) {
                *used = true;
            }
        }
    }
    let roots: Vec<usize> = (0..nodes.len()).filter(|&i| !used.get(i).copied().unwrap_or(false)).collect();
    let mut order = HashMap::new();
    let mut seen = vec![false; nodes.len()];
    let mut stack: Vec<usize> = roots.into_iter().rev().collect();
    while let Some(i) = stack.pop() {
        let (Some(node), Some(seen)) = (nodes.get(i), seen.get_mut(i)) else { continue };
        if std::mem::replace(seen, true) {
            continue;
        }
        if let Some(call) = node.call() {
            let count = order.len();
            order.entry(call.layer.id()).or_insert(count);
        }
        stack.extend(node.inbound.iter().rev());
    }
    order
}

/// The names of the layers behind tensors: of inputs and outputs. A second output of one layer gets `_1`, ….
pub(super) fn names_of(tensors: &[Tensor]) -> Vec<String> {
    tensors
        .iter()
        .map(|tensor| match tensor.symbol() {
            Some(symbol) => symbol.producer.name().to_owned(),
            None => String::new(),
        })
        .collect()
}
