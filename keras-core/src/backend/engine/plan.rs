//! [`Plan`]: the order of a graph's operations, where their operands come from, and what each of them does.

use super::liveness;
use super::scalars::HostScalars;
use crate::array::DType;
use crate::backend::{Backend, Support, Variable};
use crate::error::{Error, Result};
use crate::graph::optimize::{Passes, host_scalars, optimize, splat_of};
use crate::graph::{Graph, Op, Scan, Type, Value};

/// Where an operand comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operand {
    /// A tensor slot.
    Slot(usize),
    /// A host scalar.
    Host(usize),
}

impl Operand {
    pub(super) fn slot(self) -> Option<usize> {
        match self {
            Self::Slot(slot) => Some(slot),
            Self::Host(_) => None,
        }
    }
}

/// What a step does.
pub(super) enum Action<B: Backend> {
    /// The operation on the backend.
    Run,
    /// A tensor filled with a host scalar.
    Fill(usize),
    /// A loop over a compiled body.
    Loop(Box<Plan<B>>),
    /// A function on the host.
    Host,
    /// Random numbers, from seed and step.
    Random,
    /// What the backend computes in advance from an operand of the contraction that is the node: the number of the
    /// operand.
    Prepack(usize),
    /// By definition, on the host: an operand or a result is empty, or the backend has nothing for it.
    Reference,
}

/// One operation, with everything known about it before it runs.
pub(super) struct Step<B: Backend> {
    pub(super) node: usize,
    pub(super) action: Action<B>,
    pub(super) operands: Vec<Operand>,
    /// Whether this is the last use of the operand, so that the engine gives up its handle.
    pub(super) last: Vec<bool>,
    /// Whether, besides, nothing else shares its memory.
    pub(super) writable: Vec<bool>,
    /// The host scalars of a kernel.
    pub(super) scalars: Vec<usize>,
    /// The first slot of its results; the others follow.
    pub(super) first: usize,
    pub(super) wanted: Vec<bool>,
    /// Whether it need not run again while variables keep their values.
    pub(super) fixed: bool,
}

impl<B: Backend> Step<B> {
    /// The types of its results.
    pub(super) fn types<'g>(&self, graph: &'g Graph) -> &'g [Type] {
        let Some(node) = graph.nodes().get(self.node) else { return &[] };
        match self.action {
            Action::Prepack(i) => {
                node.inputs.get(i).map_or(&[], |&value| std::slice::from_ref(graph.ty(value)))
            }
            _ => &node.outputs,
        }
    }

    /// The slots of its results.
    pub(super) fn outputs(&self, graph: &Graph) -> std::ops::Range<usize> {
        self.first..self.first + self.types(graph).len()
    }
}

/// A literal on the device.
pub(super) struct Literal<T> {
    pub(super) slot: usize,
    pub(super) tensor: T,
}

/// What a variable becomes.
pub(super) struct Update {
    pub(super) variable: Variable,
    /// Its position in [`Plan::writers`].
    pub(super) writer: usize,
    pub(super) value: Operand,
    /// Whether the value shares memory with something that lives on, so that it must be copied.
    pub(super) copied: bool,
}

impl<B: Backend> Plan<B> {
    /// The error of a step, with the variables that it reads: they have the names of their layers.
    pub(super) fn located(&self, step: &Step<B>, error: Error) -> Error {
        let nodes = self.graph.nodes();
        let inputs = nodes.get(step.node).map(|node| node.inputs.as_slice()).unwrap_or_default();
        let names = inputs.iter().filter_map(|input| match &nodes.get(input.node as usize)?.op {
            Op::Variable(variable) => Some(variable.name()),
            _ => None,
        });
        let names: Vec<&str> = names.collect();
        if names.is_empty() { error } else { error.within(names.join(", ")) }
    }
}

/// A graph made ready to run.
pub(super) struct Plan<B: Backend> {
    pub(super) graph: Graph,
    pub(super) slots: usize,
    /// Feed by feed: its slot, if it is read.
    pub(super) feeds: Vec<(Type, Option<usize>)>,
    /// The variables read and where their values go, by id.
    pub(super) reads: Vec<(Variable, Operand)>,
    pub(super) scalars: HostScalars,
    pub(super) literals: Vec<Literal<B::Tensor>>,
    pub(super) compute: Vec<Step<B>>,
    /// Elementwise steps whose results are nothing but new values of variables.
    pub(super) commit: Vec<Step<B>>,
    pub(super) outputs: Vec<(Operand, Type)>,
    pub(super) updates: Vec<Update>,
    /// The variables that change, by id.
    pub(super) writers: Vec<Variable>,
    /// For each slot that holds the old value of a variable that changes, its writer.
    pub(super) replaced: Vec<Option<usize>>,
    /// The slots of fixed steps that others read; kept between runs.
    pub(super) kept: Vec<usize>,
    /// For each output, the memory it lies in, if that was made by a step of this plan.
    pub(super) classes: Vec<Option<usize>>,
}

impl<B: Backend> Plan<B> {
    /// A plan for a graph that has gone through the passes.
    pub(super) fn new(backend: &B, graph: Graph, passes: Passes) -> Result<Self> {
        let mut planner = Planner::new(&graph)?;
        let steps = planner.steps(backend, passes)?;
        let Planner { slots, first, host, feeds, mut reads, scalars, literals, fixed, .. } = planner;
        reads.sort_by_key(|(variable, _)| variable.id());
        let locate = |value: Value| locate(&first, &host, value);
        let outputs = graph.outputs().iter().map(|&value| (locate(value), graph.ty(value).clone())).collect();
        let mut writers: Vec<Variable> =
            graph.updates().iter().map(|(variable, _)| variable.clone()).collect();
        writers.sort_by_key(Variable::id);
        writers.dedup();
        let writer = |variable: &Variable| writers.binary_search_by_key(&variable.id(), Variable::id).ok();
        let updates = graph.updates().iter().filter_map(|(variable, value)| {
            let (variable, writer) = (variable.clone(), writer(variable)?);
            Some(Update { variable, writer, value: locate(*value), copied: false })
        });
        let updates = updates.collect();
        let mut replaced = vec![None; slots];
        for (variable, place) in &reads {
            if let Some(place) = place.slot().and_then(|slot| replaced.get_mut(slot)) {
                *place = writer(variable);
            }
        }
        let mut plan = Self {
            slots,
            feeds,
            reads,
            scalars,
            literals,
            compute: steps,
            commit: Vec::new(),
            outputs,
            updates,
            writers,
            replaced,
            kept: Vec::new(),
            classes: Vec::new(),
            graph,
        };
        liveness::settle(&mut plan, &fixed);
        Ok(plan)
    }
}

#[allow(clippy::indexing_slicing, reason = "nodes are numbered from 0 without gaps")]
fn locate(first: &[usize], host: &[Option<usize>], value: Value) -> Operand {
    match host[value.node as usize] {
        Some(scalar) => Operand::Host(scalar),
        None => Operand::Slot(first[value.node as usize] + value.output as usize),
    }
}

/// Goes through the nodes once.
struct Planner<'a, B: Backend> {
    graph: &'a Graph,
    slots: usize,
    /// The first slot of each node.
    first: Vec<usize>,
    /// The host scalar of each node that is one.
    host: Vec<Option<usize>>,
    is_host: Vec<bool>,
    /// The node of the host scalar that a node repeats everywhere.
    fill: Vec<Option<usize>>,
    needed: Vec<bool>,
    feeds: Vec<(Type, Option<usize>)>,
    reads: Vec<(Variable, Operand)>,
    scalars: HostScalars,
    literals: Vec<Literal<B::Tensor>>,
    /// Which nodes read variables and literals alone.
    fixed: Vec<bool>,
}

#[allow(clippy::indexing_slicing, reason = "nodes and slots are numbered from 0 without gaps")]
impl<'a, B: Backend> Planner<'a, B> {
    fn new(graph: &'a Graph) -> Result<Self> {
        for (variable, value) in graph.updates() {
            let ty = graph.ty(*value);
            if ty.shape != variable.shape() || ty.dtype != variable.dtype() {
                return Err(Error::shape(
                    format!("update of variable {}", variable.name()),
                    Type::new(variable.shape(), variable.dtype()).to_string(),
                    ty.to_string(),
                ));
            }
        }
        let nodes = graph.nodes();
        let is_host = host_scalars(graph);
        let mut first = Vec::with_capacity(nodes.len());
        let mut slots = 0;
        for node in nodes {
            first.push(slots);
            slots += node.outputs.len();
        }
        // A value repeated from a host scalar needs none of the nodes in between.
        let fill: Vec<Option<usize>> = (0..nodes.len())
            .map(|i| {
                let value = Value { node: i as u32, output: 0 };
                let scalar = splat_of(graph, |value| is_host[value.node as usize], value)?;
                (!is_host[i] && !graph.ty(value).is_empty()).then_some(scalar.node as usize)
            })
            .collect();
        let mut needed = vec![false; nodes.len()];
        for value in graph.roots() {
            needed[value.node as usize] = true;
        }
        for i in (0..nodes.len()).rev().filter(|&i| !matches!(nodes[i].op, Op::Input(_))) {
            match fill[i] {
                _ if !needed[i] => {}
                Some(scalar) => needed[scalar] = true,
                None => nodes[i].inputs.iter().for_each(|input| needed[input.node as usize] = true),
            }
        }
        Ok(Self {
            graph,
            slots,
            first,
            host: vec![None; nodes.len()],
            is_host,
            fill,
            needed,
            feeds: Vec::new(),
            reads: Vec::new(),
            scalars: HostScalars::default(),
            literals: Vec::new(),
            fixed: vec![false; nodes.len()],
        })
    }

    fn steps(&mut self, backend: &B, passes: Passes) -> Result<Vec<Step<B>>> {
        let graph = self.graph;
        let mut steps = Vec::with_capacity(graph.nodes().len());
        for (i, node) in graph.nodes().iter().enumerate() {
            if let Op::Input(index) = node.op {
                if self.feeds.len() <= index {
                    self.feeds.resize(index + 1, (Type::new([], DType::F32), None));
                }
                self.feeds[index] = (node.outputs[0].clone(), self.needed[i].then_some(self.first[i]));
            } else if !self.needed[i] {
            } else if self.is_host[i] {
                self.host_node(i)?;
            } else {
                match &node.op {
                    Op::Variable(variable) => {
                        self.fixed[i] = true;
                        self.reads.push((variable.clone(), Operand::Slot(self.first[i])));
                    }
                    Op::Constant(literal) if !node.outputs[0].is_empty() => {
                        self.fixed[i] = true;
                        let tensor = backend.upload(&literal.0)?;
                        self.literals.push(Literal { slot: self.first[i], tensor });
                    }
                    _ => {
                        let mut step = self.step(backend, passes, i)?;
                        steps.extend(self.prepack(&mut step));
                        steps.push(step);
                    }
                }
            }
        }
        Ok(steps)
    }

    /// The step that prepares the right-hand side of a contraction, where only variables and literals are behind it.
    fn prepack(&mut self, step: &mut Step<B>) -> Option<Step<B>> {
        let node = &self.graph.nodes()[step.node];
        let op = if let Op::Epilogue(op, _) = &node.op { op } else { &node.op };
        let contraction = matches!(op, Op::MatMul { .. } | Op::Conv(_)) && matches!(step.action, Action::Run);
        let fixed = node.inputs.get(1).is_some_and(|value| self.fixed[value.node as usize]);
        if !contraction || step.fixed || !fixed || !self.graph.updates().is_empty() {
            return None;
        }
        let operand = step.operands.get_mut(1).filter(|operand| operand.slot().is_some())?;
        let operand = std::mem::replace(operand, Operand::Slot(self.slots));
        self.slots += 1;
        Some(Step {
            node: step.node,
            action: Action::Prepack(1),
            operands: vec![operand],
            last: Vec::new(),
            writable: Vec::new(),
            scalars: Vec::new(),
            first: self.slots - 1,
            wanted: Vec::new(),
            fixed: true,
        })
    }

    fn host_node(&mut self, i: usize) -> Result<()> {
        let graph = self.graph;
        let node = &graph.nodes()[i];
        let scalar = match &node.op {
            Op::Constant(literal) => self.scalars.literal(&literal.0),
            Op::Variable(variable) => {
                let scalar = self.scalars.variable();
                self.reads.push((variable.clone(), Operand::Host(scalar)));
                scalar
            }
            op => {
                let operands = node.inputs.iter().filter_map(|input| self.host[input.node as usize]);
                let operands = operands.collect();
                let dtype = node.inputs.last().map_or(DType::F32, |&input| graph.ty(input).dtype);
                self.scalars.operation(op, operands, dtype)?
            }
        };
        self.fixed[i] = self.scalars.is_known(scalar);
        self.host[i] = Some(scalar);
        Ok(())
    }

    fn step(&mut self, backend: &B, passes: Passes, i: usize) -> Result<Step<B>> {
        let graph = self.graph;
        let node = &graph.nodes()[i];
        let pure = match &node.op {
            Op::Random { .. } => false,
            Op::Host(host) => !host.impure,
            _ => true,
        };
        let empty = node.outputs.iter().any(Type::is_empty)
            || node.inputs.iter().any(|&value| graph.ty(value).is_empty());
        let types: Vec<&Type> = node.inputs.iter().map(|&value| graph.ty(value)).collect();
        let action = match (&node.op, self.fill[i]) {
            (_, Some(scalar)) => Action::Fill(self.host[scalar].unwrap_or_default()),
            (Op::Scan(scan), None) => Action::Loop(Box::new(body(backend, scan, passes)?)),
            (Op::Host(_), None) => Action::Host,
            _ if empty => Action::Reference,
            (Op::Random { .. }, None) => Action::Random,
            (Op::Kernel(_) | Op::Epilogue(..), None) => Action::Run,
            (op, None) if backend.supports(op, &types) == Support::Host => Action::Reference,
            _ => Action::Run,
        };
        self.fixed[i] = match self.fill[i] {
            Some(scalar) => self.fixed[scalar],
            None => pure && node.inputs.iter().all(|value| self.fixed[value.node as usize]),
        };
        let operands: Vec<Operand> = match action {
            Action::Fill(_) => Vec::new(),
            _ => node.inputs.iter().map(|&value| locate(&self.first, &self.host, value)).collect(),
        };
        let kernel_scalars = match &node.op {
            Op::Kernel(kernel) | Op::Epilogue(_, kernel) => kernel.scalars,
            _ => 0,
        };
        let (tensors, scalars) = operands.split_at(operands.len() - kernel_scalars);
        let host = |operand: &Operand| if let Operand::Host(scalar) = *operand { Some(scalar) } else { None };
        Ok(Step {
            node: i,
            action,
            operands: tensors.to_vec(),
            last: Vec::new(),
            writable: Vec::new(),
            scalars: scalars.iter().filter_map(host).collect(),
            first: self.first[i],
            wanted: Vec::new(),
            fixed: self.fixed[i],
        })
    }
}

fn body<B: Backend>(backend: &B, scan: &Scan, passes: Passes) -> Result<Plan<B>> {
    let graph = optimize(&scan.body, &super::Adviser { backend }, passes)?;
    Plan::new(backend, graph, passes)
}
