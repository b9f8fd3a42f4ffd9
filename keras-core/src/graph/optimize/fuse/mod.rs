//! Elementwise fusion: connected elementwise operations over one shape become one [`Kernel`], with a reduction at
//! its end and a contraction before it where the backend takes them.
//!
//! A group of nodes runs where its last member stands, so a node may join a group only while nothing outside the
//! group has read it; that makes every grouping free of cycles in one pass over the nodes.

mod builder;
mod rebuild;

use super::{Target, host_scalars};
use crate::backend::Support;
use crate::error::Result;
use crate::graph::{Graph, Instr, KernelOutput, Op, Type, Value};
use builder::{Built, KernelBuilder};
use std::collections::{HashMap, HashSet};

/// Groups stay within this many operations, so that the registers of their kernel stay in the first-level cache.
const MAX_MEMBERS: usize = 48;

/// Reductions of one group; each is tried with all of them.
const MAX_TAILS: usize = 8;

/// Runs the pass.
pub(super) fn fuse(graph: &Graph, target: &dyn Target) -> Result<Graph> {
    let mut fusion = Fusion::new(graph, target);
    fusion.group();
    fusion.rebuild()
}

/// Nodes that become one kernel.
struct Group {
    members: Vec<usize>,
    shape: Vec<usize>,
    /// Reductions of members, run as the kernel's tail.
    tails: Vec<usize>,
    /// Whether something outside has read it.
    closed: bool,
    /// Whether its members read variables and literals alone; such values are kept between runs.
    fixed: bool,
}

struct Fusion<'a> {
    graph: &'a Graph,
    target: &'a dyn Target,
    host: Vec<bool>,
    fixed: Vec<bool>,
    groups: Vec<Group>,
    /// The group of each node, through `merged`.
    of: Vec<Option<usize>>,
    merged: Vec<usize>,
    users: Vec<Vec<usize>>,
    fetched: Vec<bool>,
    /// The new values of variables that the graph reads.
    replaces: HashMap<Value, Old>,
    /// The old values that something replaces.
    replaced: HashSet<Value>,
}

/// The value that an update replaces.
type Old = Value;

#[allow(clippy::indexing_slicing, reason = "nodes are numbered from 0 without gaps, operands before users")]
impl<'a> Fusion<'a> {
    fn new(graph: &'a Graph, target: &'a dyn Target) -> Self {
        let count = graph.nodes().len();
        let mut users = vec![Vec::new(); count];
        let mut fixed = vec![false; count];
        for (i, node) in graph.nodes().iter().enumerate() {
            for input in &node.inputs {
                users[input.node as usize].push(i);
            }
            fixed[i] = match &node.op {
                Op::Variable(variable) => !variable.is_host(),
                Op::Constant(_) => true,
                Op::Input(_) | Op::Random { .. } => false,
                Op::Host(host) if host.impure => false,
                _ => node.inputs.iter().all(|input| fixed[input.node as usize]),
            };
        }
        let mut fetched = vec![false; count];
        for output in graph.roots() {
            fetched[output.node as usize] = true;
        }
        let old = |variable| graph.find_variable(variable);
        let replaces: HashMap<Value, Old> =
            graph.updates().iter().filter_map(|(variable, new)| Some((*new, old(variable)?))).collect();
        let replaced = replaces.values().copied().collect();
        Self {
            graph,
            target,
            host: host_scalars(graph),
            fixed,
            groups: Vec::new(),
            of: vec![None; count],
            merged: Vec::new(),
            users,
            fetched,
            replaces,
            replaced,
        }
    }

    fn find(&self, mut group: usize) -> usize {
        while self.merged[group] != group {
            group = self.merged[group];
        }
        group
    }

    fn group_of(&self, node: usize) -> Option<usize> {
        self.of[node].map(|group| self.find(group))
    }

    /// Whether a node is read only where a kernel looks through it: a broadcast, or the reshape before one.
    fn transparent(&self, node: usize) -> bool {
        matches!(self.graph.nodes()[node].op, Op::Broadcast(_))
    }

    fn group(&mut self) {
        for i in 0..self.graph.nodes().len() {
            let node = &self.graph.nodes()[i];
            if node.op.is_elementwise() && !self.host[i] && !node.outputs[0].is_empty() && self.native(i) {
                self.join(i);
            } else if !(self.transparent(i) || matches!(node.op, Op::Reduce(..)) && self.tail(i)) {
                self.close_operands(i);
            }
        }
    }

    fn native(&self, node: usize) -> bool {
        let node = &self.graph.nodes()[node];
        let types: Vec<&Type> = node.inputs.iter().map(|&input| self.graph.ty(input)).collect();
        self.target.supports(&node.op, &types) == Support::Native
    }

    /// Marks the groups that node `i` reads as read from outside, also through broadcasts.
    fn close_operands(&mut self, i: usize) {
        let mut stack: Vec<usize> =
            self.graph.nodes()[i].inputs.iter().map(|input| input.node as usize).collect();
        while let Some(node) = stack.pop() {
            if let Some(group) = self.group_of(node) {
                self.groups[group].closed = true;
            } else if self.transparent(node) {
                stack.extend(self.graph.nodes()[node].inputs.iter().map(|input| input.node as usize));
            }
        }
    }

    fn join(&mut self, i: usize) {
        let node = &self.graph.nodes()[i];
        let shape = &node.outputs[0].shape;
        let mut home: Option<usize> = None;
        for input in &node.inputs {
            let Some(group) = self.group_of(input.node as usize) else { continue };
            let open = !self.groups[group].closed
                && self.groups[group].shape == *shape
                && self.groups[group].fixed == self.fixed[i]
                && !self.groups[group].tails.contains(&(input.node as usize));
            if !open || home == Some(group) {
                continue;
            }
            home = Some(match home {
                None if self.groups[group].members.len() < MAX_MEMBERS => group,
                Some(first)
                    if self.groups[first].members.len() + self.groups[group].members.len() < MAX_MEMBERS =>
                {
                    self.merge(first, group)
                }
                known => match known {
                    Some(first) => first,
                    None => continue,
                },
            });
        }
        // Operands in other groups are read from outside those.
        for input in &node.inputs {
            let node = input.node as usize;
            match self.group_of(node) {
                Some(group) if Some(group) != home => self.groups[group].closed = true,
                None if self.transparent(node) => self.close_operands(node),
                Some(_) | None => {}
            }
        }
        // Reading a broadcast of a group from inside that group is reading it from outside.
        let home = home.filter(|&home| !self.groups[home].closed);
        let home = home.unwrap_or_else(|| {
            self.groups.push(Group {
                members: Vec::new(),
                shape: shape.clone(),
                tails: Vec::new(),
                closed: false,
                fixed: self.fixed[i],
            });
            self.merged.push(self.groups.len() - 1);
            self.groups.len() - 1
        });
        self.groups[home].members.push(i);
        self.of[i] = Some(home);
        for input in &node.inputs {
            if let Some(group) = self.group_of(input.node as usize)
                && group != home
            {
                self.groups[group].closed = true;
            }
        }
    }

    fn merge(&mut self, a: usize, b: usize) -> usize {
        let moved = std::mem::take(&mut self.groups[b].members);
        let tails = std::mem::take(&mut self.groups[b].tails);
        self.groups[a].members.extend(moved);
        self.groups[a].members.sort_unstable();
        self.groups[a].tails.extend(tails);
        self.merged[b] = a;
        a
    }

    /// Takes a reduction of an open group as its tail, if the backend runs the kernel with it.
    fn tail(&mut self, i: usize) -> bool {
        let node = &self.graph.nodes()[i];
        let Some(group) = node.inputs.first().and_then(|input| self.group_of(input.node as usize)) else {
            return false;
        };
        if self.groups[group].closed
            || self.groups[group].fixed != self.fixed[i]
            || self.groups[group].tails.len() >= MAX_TAILS
            || node.outputs[0].is_empty()
        {
            return false;
        }
        self.groups[group].tails.push(i);
        let built = self.build(group);
        if built.is_some_and(|built| self.target.supports_kernel(&built.kernel)) {
            self.of[i] = Some(group);
            true
        } else {
            self.groups[group].tails.pop();
            false
        }
    }

    /// Whether a member's value is read by anything but members of its own group.
    fn escapes(&self, node: usize, group: usize) -> bool {
        self.fetched[node] || self.users[node].iter().any(|&user| self.group_of(user) != Some(group))
    }

    fn build(&self, group: usize) -> Option<Built> {
        let members = &self.groups[group];
        let mut builder = KernelBuilder::new(&members.shape);
        let mut registers: HashMap<usize, usize> = HashMap::new();
        for &member in &members.members {
            let node = &self.graph.nodes()[member];
            let mut operands = Vec::with_capacity(node.inputs.len());
            for &input in &node.inputs {
                operands.push(match registers.get(&(input.node as usize)) {
                    Some(&register) => register,
                    None => builder.operand(self.graph, &self.host, input),
                });
            }
            let instruction = match (&node.op, operands.as_slice()) {
                (Op::Unary(op), &[x]) => Instr::Unary(*op, x),
                (Op::Binary(op), &[a, b]) => Instr::Binary(*op, a, b),
                (Op::Compare(op), &[a, b]) => Instr::Compare(*op, a, b),
                (Op::Logical(op), &[a, b]) => Instr::Logical(*op, a, b),
                (Op::Select, &[c, a, b]) => Instr::Select(c, a, b),
                (Op::Cast(_), &[x]) => Instr::Cast(x),
                _ => return None,
            };
            registers.insert(member, builder.push(instruction, node.outputs[0].dtype));
        }
        let mut outputs = Vec::new();
        let mut stored = Vec::new();
        for &member in &members.members {
            if self.escapes(member, group) {
                let shape = self.graph.nodes()[member].outputs[0].shape.clone();
                outputs.push(KernelOutput { register: registers[&member], shape, alias: None, reduce: None });
                stored.push(Value { node: member as u32, output: 0 });
            }
        }
        let mut reductions = Vec::new();
        for &tail in &members.tails {
            let node = &self.graph.nodes()[tail];
            let (Op::Reduce(op, axes), &[x]) = (&node.op, node.inputs.as_slice()) else { return None };
            let register = *registers.get(&(x.node as usize))?;
            let shape = node.outputs[0].shape.clone();
            outputs.push(KernelOutput { register, shape, alias: None, reduce: None });
            reductions.push((outputs.len() - 1, *op, axes.clone()));
            stored.push(Value { node: tail as u32, output: 0 });
        }
        builder.finish(outputs, &reductions, &stored, self).map(|(kernel, operands, scalars)| Built {
            kernel,
            operands,
            scalars,
            stored,
        })
    }
}
