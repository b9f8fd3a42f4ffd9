//! The graph: one small intermediate representation, one autodiff, and the passes between them.
//!
//! A [`Graph`] is a list of nodes in topological order; a [`Value`] is one output of one node. Nodes are hash-consed:
//! asking twice for the same operation on the same operands gives the same value.

mod build;
mod decompose;
mod dump;
mod functions;
mod gradient;
mod kernel;
mod op;
pub mod optimize;
mod recurrent;
mod scan;
mod shape;

pub use decompose::decompose;
pub use functions::{
    ArgReduce, Binary, Compare, ConvSpec, Cumulative, Distribution, Logical, PoolSpec, Reduce, SliceSpec,
    Unary,
};
pub use gradient::gradients;
pub use kernel::{Instr, Kernel, KernelInput, KernelOutput, Register};
pub use op::{ByRef, CustomVjp, HostFn, Literal, Op, Scan, Type};
pub use recurrent::{
    GateActivation, MaskedOutput, RecurrentCell, RecurrentDropout, RecurrentOperands, RecurrentSpec,
};
pub use scan::ScanBuilder;
pub(crate) use shape::infer;

use crate::backend::Variable;
use crate::error::Result;
use std::collections::HashMap;
use std::fmt;

/// One output of one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Value {
    /// The position of the node.
    pub node: u32,
    /// Which of its outputs.
    pub output: u32,
}

/// An operation, its operands, and the types of what it computes.
#[derive(Debug, Clone)]
pub struct Node {
    /// What it computes.
    pub op: Op,
    /// From what.
    pub inputs: Vec<Value>,
    /// The types of its outputs.
    pub outputs: Vec<Type>,
}

/// Nodes in topological order, which of their values are the results, and what variables become.
#[derive(Default, Clone)]
pub struct Graph {
    nodes: Vec<Node>,
    interned: HashMap<(Op, Vec<Value>), u32>,
    feeds: usize,
    outputs: Vec<Value>,
    updates: Vec<(Variable, Value)>,
}

impl Graph {
    /// An empty graph.
    pub fn new() -> Self {
        Self::default()
    }

    /// The nodes, operands before users.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The node that computes a value.
    ///
    /// # Panics
    /// If the value is of another graph.
    #[allow(clippy::indexing_slicing, reason = "a value of this graph always has its node")]
    pub fn node(&self, value: Value) -> &Node {
        &self.nodes[value.node as usize]
    }

    /// The type of a value.
    ///
    /// # Panics
    /// If the value is of another graph.
    #[allow(clippy::indexing_slicing, reason = "a value of this graph always has its type")]
    pub fn ty(&self, value: Value) -> &Type {
        &self.nodes[value.node as usize].outputs[value.output as usize]
    }

    /// The shape of a value.
    pub fn shape(&self, value: Value) -> &[usize] {
        &self.ty(value).shape
    }

    /// The results, in the order in which a program fetches them.
    pub fn outputs(&self) -> &[Value] {
        &self.outputs
    }

    /// Declares the results.
    pub fn set_outputs(&mut self, outputs: impl Into<Vec<Value>>) {
        self.outputs = outputs.into();
    }

    /// What variables become when a run has succeeded.
    pub fn updates(&self) -> &[(Variable, Value)] {
        &self.updates
    }

    /// Declares what variables become.
    pub fn set_updates(&mut self, updates: impl Into<Vec<(Variable, Value)>>) {
        self.updates = updates.into();
    }

    /// The results and the updates: what a program has to compute.
    pub fn roots(&self) -> Vec<Value> {
        self.outputs.iter().copied().chain(self.updates.iter().map(|(_, value)| *value)).collect()
    }

    /// The value that reads a variable, if anything does.
    pub fn find_variable(&self, variable: &Variable) -> Option<Value> {
        let key = (Op::Variable(variable.clone()), Vec::new());
        self.interned.get(&key).map(|&node| Value { node, output: 0 })
    }

    /// Appends an operation after checking its operands, and gives its first output; the same operation on the same
    /// operands is not appended again, and one that changes nothing gives its operand.
    ///
    /// ```
    /// use keras_core::{DType, graph::{Graph, Op, Type, Unary}};
    /// let mut g = Graph::new();
    /// let x = g.input(Type::new([2, 3], DType::F32));
    /// let a = g.add(Op::Unary(Unary::Exp), &[x])?;
    /// assert_eq!(a, g.add(Op::Unary(Unary::Exp), &[x])?);
    /// # Ok::<(), keras_core::Error>(())
    /// ```
    pub fn add(&mut self, op: Op, inputs: &[Value]) -> Result<Value> {
        let types: Vec<&Type> = inputs.iter().map(|&input| self.ty(input)).collect();
        let outputs = shape::infer(&op, &types)?;
        match self.simplify(&op, inputs)? {
            Some(known) => Ok(known),
            None => Ok(self.insert(op, inputs.to_vec(), outputs)),
        }
    }

    /// All outputs of the node that computes `value`.
    pub fn outputs_of(&self, value: Value) -> Vec<Value> {
        (0..self.node(value).outputs.len() as u32).map(|output| Value { node: value.node, output }).collect()
    }

    fn insert(&mut self, op: Op, inputs: Vec<Value>, outputs: Vec<Type>) -> Value {
        let key = (op, inputs);
        if let Some(&node) = self.interned.get(&key) {
            return Value { node, output: 0 };
        }
        let node = self.nodes.len() as u32;
        if let Op::Input(slot) = key.0 {
            self.feeds = self.feeds.max(slot + 1);
        }
        self.nodes.push(Node { op: key.0.clone(), inputs: key.1.clone(), outputs });
        self.interned.insert(key, node);
        Value { node, output: 0 }
    }

    /// Which nodes the given values need.
    #[allow(clippy::indexing_slicing, reason = "operands come before users")]
    pub fn reachable(&self, from: &[Value]) -> Vec<bool> {
        let mut live = vec![false; self.nodes.len()];
        for value in from {
            live[value.node as usize] = true;
        }
        for (i, node) in self.nodes.iter().enumerate().rev() {
            if live[i] {
                for input in &node.inputs {
                    live[input.node as usize] = true;
                }
            }
        }
        live
    }
}

impl fmt::Debug for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}
