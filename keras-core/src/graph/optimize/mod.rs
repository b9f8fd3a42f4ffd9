//! Passes from a graph to one that runs faster and computes the same bits: dead code, constant folding, cancelled
//! transposes, decomposition of what the backend lacks, elementwise fusion. (Common subexpressions are found by the
//! builder.) Each pass is linear in the number of nodes.

mod fuse;
mod lower;

use super::{Graph, Kernel, Node, Op, Type, Value};
use crate::array::Array;
use crate::backend::Support;
use crate::error::Result;

/// What the passes ask of the backend for which they rewrite.
pub trait Target {
    /// Whether it has a kernel for the operation.
    fn supports(&self, op: &Op, inputs: &[&Type]) -> Support;
    /// Whether it runs the fused kernel.
    fn supports_kernel(&self, kernel: &Kernel) -> bool;
    /// Whether it runs the kernel on the contraction's result.
    fn supports_epilogue(&self, op: &Op, kernel: &Kernel) -> bool;
    /// The values of an operation on literals.
    fn fold(&self, op: &Op, inputs: &[Array]) -> Result<Vec<Array>>;
}

/// Which passes run. The results have the same bits whatever is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Passes {
    /// Constant folding and cancelled transposes.
    pub simplify: bool,
    /// Elementwise fusion.
    pub fuse: bool,
}

impl Default for Passes {
    fn default() -> Self {
        Self { simplify: true, fuse: true }
    }
}

/// Runs the passes.
pub fn optimize(graph: &Graph, target: &dyn Target, passes: Passes) -> Result<Graph> {
    let lowered = lower::lower(graph, target, passes.simplify)?;
    if passes.fuse { fuse::fuse(&lowered, target) } else { Ok(lowered) }
}

/// The nodes that live on the host as scalars: rank 0, elementwise, from literals and host variables alone.
/// They enter kernels as scalar operands and never exist on the device.
#[allow(clippy::indexing_slicing, reason = "operands come before users")]
pub fn host_scalars(graph: &Graph) -> Vec<bool> {
    let mut host = vec![false; graph.nodes().len()];
    for (i, node) in graph.nodes().iter().enumerate() {
        host[i] = host_node(node, |value| host[value.node as usize]);
    }
    host
}

fn host_node(node: &Node, host: impl Fn(Value) -> bool) -> bool {
    node.outputs.iter().all(|ty| ty.shape.is_empty())
        && match &node.op {
            Op::Constant(_) => true,
            Op::Variable(variable) => variable.is_host(),
            op => {
                (op.is_elementwise() || matches!(op, Op::StopGradient))
                    && node.inputs.iter().all(|&input| host(input))
            }
        }
}

/// The host scalar that a value repeats everywhere, if it is one: through reshapes, transposes and broadcasts.
pub fn splat_of(graph: &Graph, host: impl Fn(Value) -> bool, value: Value) -> Option<Value> {
    let mut value = value;
    loop {
        if host(value) {
            return Some(value);
        }
        let node = graph.node(value);
        match (&node.op, node.inputs.as_slice()) {
            (Op::Reshape(_) | Op::Broadcast(_) | Op::Permute(_), &[source]) => value = source,
            _ => return None,
        }
    }
}
