//! Elementwise fusion: connected elementwise operations over one shape become one [`Kernel`], with a reduction at
//! its end and a contraction before it where the backend takes them.
//!
//! A group of nodes runs where its last member stands, so a node may join a group only while nothing outside the
//! group has read it; that makes every grouping free of cycles in one pass over the nodes.

use super::{Target, host_scalars, splat_of};
use crate::array::DType;
use crate::error::Result;
use crate::graph::{ByRef, Graph, Instr, Kernel, KernelInput, KernelOutput, Op, Reduce, Value};
use std::collections::HashMap;
use std::sync::Arc;

/// Kernels stay within this many instructions, so that their registers stay in the first-level cache.
const MAX_CODE: usize = 48;

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
    replaces: HashMap<Value, Value>,
}

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
                Op::Input(_) | Op::Random { .. } | Op::Host(_) => false,
                _ => !node.inputs.is_empty() && node.inputs.iter().all(|input| fixed[input.node as usize]),
            };
        }
        let mut fetched = vec![false; count];
        for output in graph.roots() {
            fetched[output.node as usize] = true;
        }
        let old = |variable| graph.find_variable(variable);
        let replaces =
            graph.updates().iter().filter_map(|(variable, new)| Some((*new, old(variable)?))).collect();
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
            if node.op.is_elementwise() && !self.host[i] && !node.outputs[0].is_empty() {
                self.join(i);
            } else if matches!(node.op, Op::Reduce(..)) && self.tail(i) {
                continue;
            } else if !self.transparent(i) {
                self.close_operands(i);
            }
        }
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
                None if self.groups[group].members.len() < MAX_CODE => group,
                Some(first)
                    if self.groups[first].members.len() + self.groups[group].members.len() < MAX_CODE =>
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
                Some(_) => {}
                None if self.transparent(node) => self.close_operands(node),
                None => {}
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
                    None => builder.operand(self.graph, &self.host, input)?,
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
            builder.code.push((instruction, node.outputs[0].dtype));
            registers.insert(member, builder.code.len() - 1);
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
        builder
            .finish(outputs, &reductions, &stored, &self.replaces)
            .map(|(kernel, operands, scalars)| Built { kernel, operands, scalars, stored })
    }

    fn rebuild(&mut self) -> Result<Graph> {
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
        let mut out = Graph::new();
        let mut moved: Vec<Vec<Value>> = vec![Vec::new(); count];
        let needed = self.needed(&plans);
        for i in 0..count {
            let planned = self.group_of(i).is_some_and(|group| plans[group].is_some());
            if let Some(&group) = runs_at.get(&i) {
                if let Some(built) = &plans[group] {
                    let contraction =
                        contractions.iter().find(|(_, user)| **user == group).map(|(&node, _)| node);
                    self.emit(&mut out, &mut moved, built, contraction)?;
                }
                continue;
            }
            if planned || contractions.contains_key(&i) || !needed[i] || self.transparent(i) {
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
            if !matches!(node.op, Op::MatMul { .. } | Op::Conv(_)) || self.fetched[i] {
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

/// A kernel, and the values it reads and writes.
#[derive(Clone)]
struct Built {
    kernel: Kernel,
    operands: Vec<Value>,
    scalars: Vec<Value>,
    stored: Vec<Value>,
}

impl Built {
    /// The same kernel with operand `at` moved to the front.
    fn with_first(&self, at: usize) -> Self {
        let mut moved = self.clone();
        let to = |i: usize| match i.cmp(&at) {
            std::cmp::Ordering::Less => i + 1,
            std::cmp::Ordering::Equal => 0,
            std::cmp::Ordering::Greater => i,
        };
        let input = moved.kernel.inputs.remove(at);
        moved.kernel.inputs.insert(0, input);
        let operand = moved.operands.remove(at);
        moved.operands.insert(0, operand);
        for (instruction, _) in &mut moved.kernel.code {
            if let Instr::Load(i) = instruction {
                *i = to(*i);
            }
        }
        for output in &mut moved.kernel.outputs {
            output.alias = output.alias.map(to);
        }
        moved
    }
}

struct KernelBuilder {
    shape: Vec<usize>,
    code: Vec<(Instr, DType)>,
    operands: Vec<(Value, KernelInput)>,
    scalars: Vec<Value>,
    loads: HashMap<(Value, Vec<usize>), usize>,
}

#[allow(clippy::indexing_slicing, reason = "axes are those of the group's own shape")]
impl KernelBuilder {
    fn new(shape: &[usize]) -> Self {
        Self {
            shape: shape.to_vec(),
            code: Vec::new(),
            operands: Vec::new(),
            scalars: Vec::new(),
            loads: HashMap::new(),
        }
    }

    fn push(&mut self, instruction: Instr, dtype: DType) -> usize {
        self.code.push((instruction, dtype));
        self.code.len() - 1
    }

    /// The register that holds a value from outside the group.
    fn operand(&mut self, graph: &Graph, host: &[bool], value: Value) -> Option<usize> {
        let dtype = graph.ty(value).dtype;
        if let Some(scalar) = splat_of(graph, |value| host[value.node as usize], value) {
            return Some(self.scalar(graph, scalar, dtype));
        }
        // Look through broadcasts: axes of length 1 in the source have stride 0.
        let mut source = value;
        let mut strided = vec![true; self.shape.len()];
        while let (Op::Broadcast(_), &[inner]) =
            (&graph.node(source).op, graph.node(source).inputs.as_slice())
        {
            for (axis, &len) in graph.shape(inner).iter().enumerate() {
                if len == 1 && self.shape[axis] != 1 {
                    strided[axis] = false;
                }
            }
            source = inner;
        }
        let mut strides = vec![0; self.shape.len()];
        let mut step = 1;
        for axis in (0..self.shape.len()).rev() {
            if strided[axis] {
                strides[axis] = step;
                step *= self.shape[axis];
            }
        }
        // A reshape in front of the broadcast is only another name for the same memory.
        if let (Op::Reshape(_), &[inner]) = (&graph.node(source).op, graph.node(source).inputs.as_slice()) {
            source = inner;
        }
        let key = (source, strides.clone());
        if let Some(&register) = self.loads.get(&key) {
            return Some(register);
        }
        self.operands.push((source, KernelInput { dtype, strides }));
        let register = self.push(Instr::Load(self.operands.len() - 1), dtype);
        self.loads.insert(key, register);
        Some(register)
    }

    fn scalar(&mut self, graph: &Graph, scalar: Value, dtype: DType) -> usize {
        let key = (scalar, Vec::new());
        if let Some(&register) = self.loads.get(&key) {
            return register;
        }
        let literal = match &graph.node(scalar).op {
            Op::Constant(literal) if dtype != DType::I64 => literal.0.item().ok(),
            _ => None,
        };
        let instruction = match literal {
            Some(value) => Instr::Const(value),
            None => {
                self.scalars.push(scalar);
                Instr::Scalar(self.scalars.len() - 1)
            }
        };
        let register = self.push(instruction, dtype);
        self.loads.insert(key, register);
        register
    }

    /// Collapses the axes, chooses what outputs are laid over, and gives kernel, operands and scalars.
    fn finish(
        self,
        mut outputs: Vec<KernelOutput>,
        reductions: &[(usize, Reduce, Vec<usize>)],
        stored: &[Value],
        replaces: &HashMap<Value, Value>,
    ) -> Option<(Kernel, Vec<Value>, Vec<Value>)> {
        let (shape, axis_of, operands) = collapse(&self.shape, self.operands, reductions);
        if shape.len() > 4 || outputs.is_empty() {
            return None;
        }
        for (output, op, axes) in reductions {
            let mut axes: Vec<usize> = axes.iter().filter_map(|&axis| axis_of[axis]).collect();
            axes.dedup();
            outputs[*output].reduce = Some((*op, axes));
        }
        let (values, inputs): (Vec<Value>, Vec<KernelInput>) = operands.into_iter().unzip();
        let mut kernel = Kernel { shape, inputs, scalars: self.scalars.len(), code: self.code, outputs };
        let mut taken = vec![false; values.len()];
        for i in 0..kernel.outputs.len() {
            if kernel.outputs[i].reduce.is_some() {
                continue;
            }
            let dtype = kernel.code[kernel.outputs[i].register].1;
            let fits = |kernel: &Kernel, taken: &[bool], j: usize| {
                !taken[j] && kernel.inputs[j].dtype == dtype && kernel.is_contiguous(j)
            };
            let old = stored.get(i).and_then(|value| replaces.get(value));
            let preferred = old.and_then(|old| values.iter().position(|value| value == old));
            let reserved = |j: usize| replaces.values().any(|old| *old == values[j]) && preferred != Some(j);
            let alias = preferred
                .filter(|&j| fits(&kernel, &taken, j))
                .or_else(|| (0..values.len()).find(|&j| fits(&kernel, &taken, j) && !reserved(j)));
            if let Some(j) = alias {
                taken[j] = true;
                kernel.outputs[i].alias = Some(j);
            }
        }
        Some((kernel, values, self.scalars))
    }
}

type Operands = Vec<(Value, KernelInput)>;

/// Joins neighbouring axes that every operand walks alike and every reduction treats alike; drops axes of length 1.
/// Gives the new shape, for each old axis the new one (none for a dropped axis), and the operands restrided.
#[allow(clippy::indexing_slicing, reason = "axes are those of the given shape")]
fn collapse(
    shape: &[usize],
    operands: Operands,
    reductions: &[(usize, Reduce, Vec<usize>)],
) -> (Vec<usize>, Vec<Option<usize>>, Operands) {
    let mut lens: Vec<usize> = Vec::new();
    let mut last_of: Vec<usize> = Vec::new();
    let mut axis_of = vec![None; shape.len()];
    let mut previous: Option<usize> = None;
    for axis in 0..shape.len() {
        if shape[axis] == 1 {
            continue;
        }
        let joins = previous.is_some_and(|before| {
            operands.iter().all(|(_, input)| {
                let (outer, inner) = (input.strides[before], input.strides[axis]);
                (outer == 0) == (inner == 0) && outer == inner * shape[axis]
            }) && reductions.iter().all(|(_, _, axes)| axes.contains(&before) == axes.contains(&axis))
        });
        if joins {
            let at = lens.len() - 1;
            lens[at] *= shape[axis];
            last_of[at] = axis;
        } else {
            lens.push(shape[axis]);
            last_of.push(axis);
        }
        axis_of[axis] = Some(lens.len() - 1);
        previous = Some(axis);
    }
    if lens.is_empty() {
        // One place: its single axis stands for all of them, and a reduction over it is the value itself.
        let operands = operands
            .into_iter()
            .map(|(value, input)| (value, KernelInput { strides: vec![1], ..input }))
            .collect();
        return (vec![1], axis_of, operands);
    }
    let operands = operands
        .into_iter()
        .map(|(value, input)| {
            let strides = last_of.iter().map(|&axis| input.strides[axis]).collect();
            (value, KernelInput { strides, ..input })
        })
        .collect();
    (lens, axis_of, operands)
}
