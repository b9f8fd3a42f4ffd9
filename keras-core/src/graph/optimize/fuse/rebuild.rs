//! The graph after fusion: kernels in the place of their groups, contractions with their epilogues.

use super::Fusion;
use super::builder::Built;
use crate::error::Result;
use crate::graph::{ByRef, Graph, Op, Value};
use std::collections::HashMap;
use std::sync::Arc;

#[allow(clippy::indexing_slicing, reason = "nodes are numbered from 0 without gaps, operands before users")]
impl Fusion<'_> {
    pub(super) fn rebuild(&mut self) -> Result<Graph> {
        let count = self.graph.nodes().len();
        let mut plans: Vec<Option<Built>> = Vec::with_capacity(self.groups.len());
        // Where each group runs: at its last member.
        let mut runs_at: HashMap<usize, usize> = HashMap::new();
        for group in 0..self.groups.len() {
            let members = &self.groups[group];
            let last = members.members.iter().chain(&members.tails).max().copied();
            let worth = members.members.len() + members.tails.len() > 1 || self.looks_through(group);
            let built = if last.is_some() && worth { self.build(group) } else { None };
            let built = built.filter(|built| self.target.supports_kernel(&built.kernel));
            if let (Some(last), true) = (last, built.is_some()) {
                runs_at.insert(last, group);
            }
            plans.push(built);
        }
        let contractions = self.contractions(&plans);
        let fed: HashMap<usize, usize> = contractions.iter().map(|(&node, &group)| (group, node)).collect();
        let mut out = Graph::new();
        let mut moved: Vec<Vec<Value>> = vec![Vec::new(); count];
        let needed = self.needed(&plans);
        for (i, &needed) in needed.iter().enumerate() {
            let planned = self.group_of(i).is_some_and(|group| plans[group].is_some());
            if let Some(&group) = runs_at.get(&i) {
                if let Some(built) = &plans[group] {
                    self.emit(&mut out, &mut moved, built, fed.get(&group).copied())?;
                }
                continue;
            }
            if planned || contractions.contains_key(&i) || !needed || self.transparent(i) {
                continue;
            }
            self.copy(&mut out, &mut moved, i)?;
        }
        let mut outputs = Vec::new();
        for &output in self.graph.outputs() {
            outputs.push(self.resolve(&mut out, &mut moved, output)?);
        }
        out.set_outputs(outputs);
        let mut updates = Vec::new();
        for (variable, value) in self.graph.updates() {
            updates.push((variable.clone(), self.resolve(&mut out, &mut moved, *value)?));
        }
        out.set_updates(updates);
        Ok(out)
    }

    /// Appends node `i` as it is.
    fn copy(&self, out: &mut Graph, moved: &mut [Vec<Value>], i: usize) -> Result<()> {
        let node = &self.graph.nodes()[i];
        let mut inputs = Vec::with_capacity(node.inputs.len());
        for &input in &node.inputs {
            inputs.push(self.resolve(out, moved, input)?);
        }
        let first = out.append(&node.op, inputs, &node.outputs)?;
        moved[i] = if node.outputs.len() == 1 { vec![first] } else { out.outputs_of(first) };
        Ok(())
    }

    /// The new value of an old one. Broadcasts, which kernels look through, are written where something else asks
    /// for them: by then the group they read has run.
    fn resolve(&self, out: &mut Graph, moved: &mut [Vec<Value>], value: Value) -> Result<Value> {
        let node = value.node as usize;
        if moved[node].is_empty() && self.transparent(node) {
            self.copy(out, moved, node)?;
        }
        Ok(moved[node][value.output as usize])
    }

    /// Whether a single operation gains as a kernel: an operand is a broadcast or a scalar.
    fn looks_through(&self, group: usize) -> bool {
        self.groups[group].members.iter().any(|&member| {
            self.graph.nodes()[member]
                .inputs
                .iter()
                .any(|input| matches!(self.graph.node(*input).op, Op::Broadcast(_)))
        })
    }

    /// The nodes that something outside the kernels still reads.
    fn needed(&self, plans: &[Option<Built>]) -> Vec<bool> {
        let mut needed: Vec<bool> =
            self.graph.nodes().iter().map(|node| matches!(node.op, Op::Input(_))).collect();
        for output in self.graph.roots() {
            needed[output.node as usize] = true;
        }
        for built in plans.iter().flatten() {
            for operand in built.operands.iter().chain(&built.scalars) {
                needed[operand.node as usize] = true;
            }
        }
        for i in (0..needed.len()).rev() {
            let planned = self.group_of(i).is_some_and(|group| plans[group].is_some());
            if needed[i] && !planned {
                for input in &self.graph.nodes()[i].inputs {
                    needed[input.node as usize] = true;
                }
            }
        }
        needed
    }

    /// Contractions read by one kernel alone, at every place once: they run as one operation with it.
    fn contractions(&self, plans: &[Option<Built>]) -> HashMap<usize, usize> {
        let mut found: HashMap<usize, usize> = HashMap::new();
        let mut taken = vec![false; plans.len()];
        for (i, node) in self.graph.nodes().iter().enumerate() {
            let empty = node.inputs.iter().any(|&input| self.graph.ty(input).is_empty());
            if !matches!(node.op, Op::MatMul { .. } | Op::Conv(_)) || self.fetched[i] || empty {
                continue;
            }
            let Some(group) = self.users[i].first().and_then(|&user| self.group_of(user)) else { continue };
            let Some(built) = &plans[group] else { continue };
            let value = Value { node: i as u32, output: 0 };
            let Some(at) = built.operands.iter().position(|&operand| operand == value) else { continue };
            let alone = self.users[i].iter().all(|&user| self.group_of(user) == Some(group));
            let fits = alone
                && !taken[group]
                && self.fixed[i] == self.groups[group].fixed
                && self.groups[group].shape == node.outputs[0].shape
                && built.kernel.is_contiguous(at)
                && built.kernel.outputs.iter().all(|output| output.reduce.is_none());
            if fits && self.target.supports_epilogue(&node.op, &built.with_first(at).kernel) {
                taken[group] = true;
                found.insert(i, group);
            }
        }
        found
    }

    fn emit(
        &self,
        out: &mut Graph,
        moved: &mut [Vec<Value>],
        built: &Built,
        contraction: Option<usize>,
    ) -> Result<()> {
        let (op, sources, stored) = match contraction {
            None => {
                let sources: Vec<Value> = built.operands.iter().chain(&built.scalars).copied().collect();
                (Op::Kernel(ByRef(Arc::new(built.kernel.clone()))), sources, &built.stored)
            }
            Some(node) => {
                let value = Value { node: node as u32, output: 0 };
                let at = built.operands.iter().position(|&operand| operand == value).unwrap_or(0);
                let moved_first = built.with_first(at);
                let node = &self.graph.nodes()[node];
                let mut sources = node.inputs.clone();
                sources.extend(moved_first.operands.iter().skip(1).chain(&moved_first.scalars));
                let op = Op::Epilogue(Box::new(node.op.clone()), ByRef(Arc::new(moved_first.kernel)));
                (op, sources, &built.stored)
            }
        };
        let mut operands = Vec::with_capacity(sources.len());
        for source in sources {
            operands.push(self.resolve(out, moved, source)?);
        }
        let first = out.add(op, &operands)?;
        for (value, result) in stored.iter().zip(out.outputs_of(first)) {
            moved[value.node as usize] = vec![result];
        }
        Ok(())
    }
}
