//! [`Plan`]: the order of a graph's operations, when each value dies, and which operands may be overwritten.

use super::super::{Backend, Variable};
use crate::array::DType;
use crate::error::Result;
use crate::graph::optimize::{Passes, host_scalars, optimize, splat_of};
use crate::graph::{Graph, Op, Type, Value};
use std::sync::Arc;

/// Where an operand comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operand {
    /// A tensor slot.
    Slot(usize),
    /// A host scalar: the number of its node.
    Host(usize),
}

/// What a step does.
pub(super) enum Action<B: Backend> {
    /// The operation on the backend.
    Run,
    /// A tensor filled with a host scalar.
    Fill(usize),
    /// A loop over a compiled body.
    Loop(Box<Plan<B>>),
    /// By definition, on the host: an operand or a result is empty.
    Empty,
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
    pub(super) outputs: Vec<usize>,
    pub(super) wanted: Vec<bool>,
    /// Whether it reads variables and literals alone.
    pub(super) fixed: bool,
}

/// A literal on the device.
pub(super) struct Literal<T> {
    pub(super) slot: usize,
    pub(super) tensor: T,
}

/// A graph made ready to run.
pub(super) struct Plan<B: Backend> {
    pub(super) graph: Graph,
    pub(super) slots: usize,
    /// Feed by feed: its slot, if it is read.
    pub(super) feeds: Vec<(Type, Option<usize>)>,
    pub(super) variables: Vec<(Variable, usize)>,
    pub(super) host_variables: Vec<(Variable, usize)>,
    /// The nodes to evaluate as host scalars, in order.
    pub(super) host: Vec<usize>,
    pub(super) literals: Vec<Literal<B::Tensor>>,
    pub(super) compute: Vec<Step<B>>,
    /// Elementwise steps whose results are nothing but new values of variables.
    pub(super) commit: Vec<Step<B>>,
    pub(super) outputs: Vec<(Operand, Type)>,
    pub(super) updates: Vec<(Variable, Operand)>,
    /// For each update, whether its value shares memory with something that lives on, so that it must be copied.
    pub(super) copied: Vec<bool>,
    /// The slots of fixed steps that others read; kept between runs.
    pub(super) kept: Vec<usize>,
}

#[allow(clippy::indexing_slicing, reason = "nodes and slots are numbered from 0 without gaps")]
impl<B: Backend> Plan<B> {
    pub(super) fn new(backend: &Arc<B>, graph: Graph, passes: Passes) -> Result<Self> {
        let nodes = graph.nodes();
        let host = host_scalars(&graph);
        let mut first_slot = Vec::with_capacity(nodes.len());
        let mut slots = 0;
        for node in nodes {
            first_slot.push(slots);
            slots += node.outputs.len();
        }
        let operand = |value: Value| {
            if host[value.node as usize] {
                Operand::Host(value.node as usize)
            } else {
                Operand::Slot(first_slot[value.node as usize] + value.output as usize)
            }
        };

        // Which nodes run at all: a value repeated from a host scalar needs none of the nodes in between.
        let mut needed = vec![false; nodes.len()];
        for value in graph.roots() {
            needed[value.node as usize] = true;
        }
        let fill: Vec<Option<usize>> = (0..nodes.len())
            .map(|i| {
                let value = Value { node: i as u32, output: 0 };
                let scalar = splat_of(&graph, |value| host[value.node as usize], value)?;
                (!host[i]).then_some(scalar.node as usize)
            })
            .collect();
        for i in (0..nodes.len()).rev() {
            if !needed[i] {
                continue;
            }
            match fill[i] {
                Some(scalar) => needed[scalar] = true,
                None => {
                    for input in &nodes[i].inputs {
                        needed[input.node as usize] = true;
                    }
                }
            }
        }

        let mut plan = Self {
            slots,
            feeds: Vec::new(),
            variables: Vec::new(),
            host_variables: Vec::new(),
            host: Vec::new(),
            literals: Vec::new(),
            compute: Vec::new(),
            commit: Vec::new(),
            outputs: graph.outputs().iter().map(|&value| (operand(value), graph.ty(value).clone())).collect(),
            updates: graph
                .updates()
                .iter()
                .map(|(variable, value)| (variable.clone(), operand(*value)))
                .collect(),
            copied: Vec::new(),
            kept: Vec::new(),
            graph: Graph::new(),
        };
        let mut fixed = vec![false; nodes.len()];
        for (i, node) in nodes.iter().enumerate() {
            let slot = first_slot[i];
            if let Op::Input(index) = node.op {
                if plan.feeds.len() <= index {
                    plan.feeds.resize(index + 1, (Type::new([], DType::F32), None));
                }
                plan.feeds[index] = (node.outputs[0].clone(), needed[i].then_some(slot));
                continue;
            }
            if !needed[i] {
                continue;
            }
            match &node.op {
                Op::Variable(variable) if host[i] => {
                    plan.host_variables.push((variable.clone(), i));
                    continue;
                }
                Op::Variable(variable) => {
                    fixed[i] = true;
                    plan.variables.push((variable.clone(), slot));
                    continue;
                }
                Op::Constant(literal) if !host[i] && !node.outputs[0].is_empty() => {
                    fixed[i] = true;
                    plan.literals.push(Literal { slot, tensor: backend.upload(&literal.0)? });
                    continue;
                }
                _ => {}
            }
            if host[i] {
                plan.host.push(i);
                continue;
            }
            let operands: Vec<Operand> = node.inputs.iter().map(|&value| operand(value)).collect();
            let pure = !matches!(node.op, Op::Random { .. } | Op::Host(_));
            fixed[i] =
                pure && fill[i].is_none() && node.inputs.iter().all(|value| fixed[value.node as usize]);
            let kernel_scalars = match &node.op {
                Op::Kernel(kernel) | Op::Epilogue(_, kernel) => kernel.scalars,
                Op::Random { .. } => operands.len(),
                _ => 0,
            };
            let (tensors, scalars) = operands.split_at(operands.len() - kernel_scalars);
            let empty = node.outputs.iter().any(Type::is_empty)
                || node.inputs.iter().any(|&value| graph.ty(value).is_empty());
            let action = match (&node.op, fill[i]) {
                (_, Some(scalar)) if !node.outputs[0].is_empty() => Action::Fill(scalar),
                (Op::Scan(scan), _) => {
                    let body = optimize(&scan.body, &super::Adviser { backend: &**backend }, passes)?;
                    Action::Loop(Box::new(Self::new(backend, body, passes)?))
                }
                (Op::Host(_), _) => Action::Run,
                _ if empty => Action::Empty,
                _ => Action::Run,
            };
            let is_fill = matches!(action, Action::Fill(_));
            plan.compute.push(Step {
                node: i,
                action,
                operands: if is_fill { Vec::new() } else { tensors.to_vec() },
                last: Vec::new(),
                writable: Vec::new(),
                scalars: scalars
                    .iter()
                    .filter_map(|scalar| if let Operand::Host(node) = scalar { Some(*node) } else { None })
                    .collect(),
                outputs: (slot..slot + node.outputs.len()).collect(),
                wanted: Vec::new(),
                fixed: fixed[i],
            });
        }
        plan.graph = graph;
        plan.variables.sort_by_key(|(variable, _)| variable.id());
        plan.split_commit();
        plan.settle();
        Ok(plan)
    }

    /// Moves the steps that only make new values of variables to the commit.
    fn split_commit(&mut self) {
        let mut used = vec![false; self.slots];
        for step in &self.compute {
            for operand in &step.operands {
                if let Operand::Slot(slot) = *operand {
                    used[slot] = true;
                }
            }
        }
        for (operand, _) in &self.outputs {
            if let Operand::Slot(slot) = *operand {
                used[slot] = true;
            }
        }
        let mut targets: Vec<Option<&Variable>> = vec![None; self.slots];
        let mut shared = vec![false; self.slots];
        for (variable, operand) in &self.updates {
            if let Operand::Slot(slot) = *operand {
                shared[slot] |= targets[slot].is_some();
                targets[slot] = Some(variable);
            }
        }
        let updated: Vec<bool> = {
            let mut updated = vec![false; self.slots];
            for (variable, slot) in &self.variables {
                updated[*slot] = self.updates.iter().any(|(target, _)| target == variable);
            }
            updated
        };
        let eligible = |step: &Step<B>| {
            let elementwise = match &self.graph.nodes()[step.node].op {
                Op::Kernel(kernel) => kernel.outputs.iter().all(|output| output.reduce.is_none()),
                op => op.is_elementwise(),
            };
            elementwise
                && matches!(step.action, Action::Run)
                && step.outputs.iter().all(|&slot| targets[slot].is_some() && !used[slot] && !shared[slot])
                && step
                    .operands
                    .iter()
                    .any(|operand| matches!(*operand, Operand::Slot(slot) if updated[slot]))
        };
        let flags: Vec<bool> = self.compute.iter().map(eligible).collect();
        let steps = std::mem::take(&mut self.compute);
        for (step, commit) in steps.into_iter().zip(flags) {
            if commit { self.commit.push(step) } else { self.compute.push(step) }
        }
    }

    /// Liveness and aliasing: when handles are given up, and what may then be overwritten.
    fn settle(&mut self) {
        // The memory behind each slot: views share the root of their operand.
        let mut root: Vec<usize> = (0..self.slots).collect();
        let mut owned = vec![false; self.slots];
        for step in self.compute.iter().chain(&self.commit) {
            let op = &self.graph.nodes()[step.node].op;
            for &output in &step.outputs {
                owned[output] = !matches!(op, Op::Scan(_)) && !step.fixed;
            }
            if op.is_view() && matches!(step.action, Action::Run | Action::Empty) {
                if let (Some(&Operand::Slot(source)), Some(&output)) =
                    (step.operands.first(), step.outputs.first())
                {
                    root[output] = root[source];
                }
            }
            // A conversion or a padding that changes nothing may be handed through as it is.
            if let (Op::Cast(_) | Op::Pad(_) | Op::Concat(_), &[Operand::Slot(source)]) =
                (op, step.operands.as_slice())
            {
                for &output in &step.outputs {
                    root[output] = root[source];
                }
            }
        }
        // What lives on after the steps.
        let steps = self.compute.len() + self.commit.len();
        let mut last_use: Vec<Option<usize>> = vec![None; self.slots];
        let mut class_end = vec![0; self.slots];
        let ordered = || self.compute.iter().chain(&self.commit).enumerate();
        for (at, step) in ordered() {
            for operand in &step.operands {
                if let Operand::Slot(slot) = *operand {
                    last_use[slot] = Some(at);
                    class_end[root[slot]] = class_end[root[slot]].max(at);
                }
            }
        }
        let mut wanted: Vec<bool> = last_use.iter().map(Option::is_some).collect();
        let mut keep = |slot: usize, end: usize| {
            last_use[slot] = Some(end);
            wanted[slot] = true;
            class_end[root[slot]] = class_end[root[slot]].max(end);
        };
        for (operand, _) in &self.outputs {
            if let Operand::Slot(slot) = *operand {
                keep(slot, steps);
            }
        }
        for (_, operand) in &self.updates {
            if let Operand::Slot(slot) = *operand {
                keep(slot, steps + 1);
            }
        }
        if self.updates.is_empty() {
            self.kept = self.kept_slots(&last_use);
            for &slot in &self.kept {
                last_use[slot] = Some(steps + 1);
                class_end[root[slot]] = steps + 1;
            }
        }
        let classes_of_updates: Vec<usize> = self
            .updates
            .iter()
            .filter_map(
                |(_, operand)| if let Operand::Slot(slot) = *operand { Some(root[slot]) } else { None },
            )
            .collect();
        self.copied = self
            .updates
            .iter()
            .map(|(_, operand)| match *operand {
                Operand::Host(_) => false,
                Operand::Slot(slot) => {
                    !owned[root[slot]]
                        || classes_of_updates.iter().filter(|&&class| class == root[slot]).count() > 1
                }
            })
            .collect();
        let variable_slot: Vec<bool> = {
            let mut flags = vec![false; self.slots];
            for (variable, slot) in &self.variables {
                flags[*slot] = self.updates.iter().any(|(target, _)| target == variable);
            }
            flags
        };
        let compute = self.compute.len();
        for (at, step) in self.compute.iter_mut().chain(&mut self.commit).enumerate() {
            let slots: Vec<Option<usize>> = step
                .operands
                .iter()
                .map(|operand| if let Operand::Slot(slot) = *operand { Some(slot) } else { None })
                .collect();
            for (i, slot) in slots.iter().enumerate() {
                let Some(slot) = *slot else {
                    step.last.push(true);
                    step.writable.push(true);
                    continue;
                };
                let later = slots[i + 1..].contains(&Some(slot));
                let last = last_use[slot] == Some(at) && !later;
                let shared = slots
                    .iter()
                    .enumerate()
                    .any(|(j, other)| j != i && other.is_some_and(|other| root[other] == root[slot]));
                let dead = class_end[root[slot]] == at && !shared;
                // In the commit, a variable that is replaced may be written when nobody else reads its old value.
                let replaced = at >= compute && variable_slot[slot] && root[slot] == slot;
                step.last.push(last);
                step.writable.push(last && dead && (owned[root[slot]] || replaced));
            }
            step.wanted = step.outputs.iter().map(|&slot| wanted[slot]).collect();
        }
    }

    /// Slots of fixed steps that other steps or fetches read, if together they are at most twice the variables.
    fn kept_slots(&self, last_use: &[Option<usize>]) -> Vec<usize> {
        let mut made_by_fixed = vec![false; self.slots];
        let mut bytes = vec![0; self.slots];
        for step in self.compute.iter().filter(|step| step.fixed) {
            for (&slot, ty) in step.outputs.iter().zip(&self.graph.nodes()[step.node].outputs) {
                made_by_fixed[slot] = true;
                bytes[slot] = ty.bytes();
            }
        }
        let mut read = vec![false; self.slots];
        for step in self.compute.iter().filter(|step| !step.fixed) {
            for operand in &step.operands {
                if let Operand::Slot(slot) = *operand {
                    read[slot] = true;
                }
            }
        }
        for (operand, _) in &self.outputs {
            if let Operand::Slot(slot) = *operand {
                read[slot] = true;
            }
        }
        let kept: Vec<usize> = (0..self.slots)
            .filter(|&slot| made_by_fixed[slot] && read[slot] && last_use[slot].is_some())
            .collect();
        let total: usize = kept.iter().map(|&slot| bytes[slot]).sum();
        let variables: usize =
            self.variables.iter().map(|(v, _)| v.shape().iter().product::<usize>() * v.dtype().size()).sum();
        if total <= 2 * variables { kept } else { Vec::new() }
    }
}
