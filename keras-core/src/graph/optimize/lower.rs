//! The first pass: rebuilds what the outputs need, folding literals, cancelling transposes and decomposing what the
//! backend lacks.

use super::{Target, host_node, splat_of};
use crate::backend::Support;
use crate::error::Result;
use crate::graph::shape::infer;
use crate::graph::{Graph, Op, Type, Value, decompose};

/// A folded literal may be that large, or as large as the operands it replaces.
const FOLD_BYTES: usize = 1024;

#[allow(clippy::indexing_slicing, reason = "operands come before users")]
pub(super) fn lower(graph: &Graph, target: &dyn Target, simplify: bool) -> Result<Graph> {
    let live = graph.reachable(&graph.roots());
    let uses = count_uses(graph, &live);
    let mut lowering = Lowering { out: Graph::new(), host: Vec::new(), target, simplify };
    // Feeds keep their slots, read or not.
    let mut moved: Vec<Vec<Value>> = vec![Vec::new(); graph.nodes().len()];
    for (i, node) in graph.nodes().iter().enumerate() {
        if !live[i] && !matches!(node.op, Op::Input(_)) {
            continue;
        }
        let inputs: Vec<Value> =
            node.inputs.iter().map(|input| moved[input.node as usize][input.output as usize]).collect();
        let single: Vec<bool> = node.inputs.iter().map(|input| uses[input.node as usize] == 1).collect();
        moved[i] = lowering.node(&node.op, inputs, &node.outputs, &single)?;
    }
    let find = |value: &Value| moved[value.node as usize][value.output as usize];
    let outputs: Vec<Value> = graph.outputs().iter().map(find).collect();
    let updates = graph.updates().iter().map(|(variable, value)| (variable.clone(), find(value)));
    let updates: Vec<_> = updates.collect();
    lowering.out.set_outputs(outputs);
    lowering.out.set_updates(updates);
    Ok(pruned(lowering.out))
}

/// Without the nodes that rewriting has made superfluous.
#[allow(clippy::indexing_slicing, reason = "operands come before users")]
fn pruned(graph: Graph) -> Graph {
    let live = graph.reachable(&graph.roots());
    let kept = |i: usize, op: &Op| live[i] || matches!(op, Op::Input(_));
    if graph.nodes().iter().enumerate().all(|(i, node)| kept(i, &node.op)) {
        return graph;
    }
    let mut out = Graph::new();
    let mut moved: Vec<u32> = vec![0; graph.nodes().len()];
    let find = |moved: &[u32], value: Value| Value { node: moved[value.node as usize], ..value };
    for (i, node) in graph.nodes().iter().enumerate().filter(|(i, node)| kept(*i, &node.op)) {
        let inputs = node.inputs.iter().map(|&input| find(&moved, input)).collect();
        moved[i] = out.insert(node.op.clone(), inputs, node.outputs.clone()).node;
    }
    out.set_outputs(graph.outputs().iter().map(|&value| find(&moved, value)).collect::<Vec<_>>());
    let updates = graph.updates().iter().map(|(variable, value)| (variable.clone(), find(&moved, *value)));
    out.set_updates(updates.collect::<Vec<_>>());
    out
}

#[allow(clippy::indexing_slicing, reason = "operands come before users")]
fn count_uses(graph: &Graph, live: &[bool]) -> Vec<usize> {
    let mut uses = vec![0; graph.nodes().len()];
    for (i, node) in graph.nodes().iter().enumerate() {
        if live[i] {
            for input in &node.inputs {
                uses[input.node as usize] += 1;
            }
        }
    }
    for output in graph.roots() {
        uses[output.node as usize] += 1;
    }
    uses
}

struct Lowering<'a> {
    out: Graph,
    /// Which of its nodes are host scalars.
    host: Vec<bool>,
    target: &'a dyn Target,
    simplify: bool,
}

impl Lowering<'_> {
    fn node(&mut self, op: &Op, inputs: Vec<Value>, outputs: &[Type], single: &[bool]) -> Result<Vec<Value>> {
        if let Op::StopGradient | Op::CustomVjp(_) = op {
            return Ok(inputs.first().copied().into_iter().collect());
        }
        if self.simplify {
            if let Some(values) = self.fold(op, &inputs, outputs)? {
                return Ok(values);
            }
            if let Some(value) = self.scalarize(op, &inputs, outputs)? {
                return Ok(vec![value]);
            }
            if let Some(value) = self.sink_permute(op, &inputs, single)? {
                return Ok(vec![value]);
            }
            if let Some(value) = self.absorb_permute(op, &inputs)? {
                return Ok(vec![value]);
            }
            if let Some(value) = self.skip_empty(op, &inputs)? {
                return Ok(vec![value]);
            }
        }
        self.supported(op, inputs, outputs)
    }

    /// Appends the operation, or its decomposition if the backend has no kernel for it.
    fn supported(&mut self, op: &Op, inputs: Vec<Value>, outputs: &[Type]) -> Result<Vec<Value>> {
        let types: Vec<&Type> = inputs.iter().map(|&input| self.out.ty(input)).collect();
        let structural =
            matches!(op, Op::Input(_) | Op::Variable(_) | Op::Constant(_) | Op::Scan(_) | Op::Host(_));
        if !structural && self.target.supports(op, &types) == Support::Decomposed {
            let mut parts = Graph::new();
            let feeds: Vec<Value> = types.iter().map(|&ty| parts.input(ty.clone())).collect();
            if let Some(results) = decompose(&mut parts, op, &feeds)? {
                parts.set_outputs(results);
                return self.inline_lowered(&parts, &inputs);
            }
        }
        let first = self.out.append(op, inputs, outputs)?;
        Ok(if outputs.len() == 1 { vec![first] } else { self.out.outputs_of(first) })
    }

    #[allow(clippy::indexing_slicing, reason = "operands come before users")]
    fn inline_lowered(&mut self, parts: &Graph, feeds: &[Value]) -> Result<Vec<Value>> {
        let live = parts.reachable(parts.outputs());
        let mut moved: Vec<Vec<Value>> = Vec::with_capacity(live.len());
        for (node, live) in parts.nodes().iter().zip(live) {
            let values = match node.op {
                Op::Input(slot) => vec![feeds[slot]],
                _ if !live => Vec::new(),
                _ => {
                    let inputs: Vec<Value> = node
                        .inputs
                        .iter()
                        .map(|input| moved[input.node as usize][input.output as usize])
                        .collect();
                    self.node(&node.op, inputs, &node.outputs, &[])?
                }
            };
            moved.push(values);
        }
        Ok(parts.outputs().iter().map(|value| moved[value.node as usize][value.output as usize]).collect())
    }

    /// Evaluates an operation whose operands are all literals, if the result is small.
    fn fold(&mut self, op: &Op, inputs: &[Value], outputs: &[Type]) -> Result<Option<Vec<Value>>> {
        let movement = matches!(op, Op::Broadcast(_) | Op::Reshape(_));
        if inputs.is_empty() || movement || matches!(op, Op::Host(_) | Op::Scan(_) | Op::Random { .. }) {
            return Ok(None);
        }
        let mut literals = Vec::with_capacity(inputs.len());
        for &input in inputs {
            match &self.out.node(input).op {
                Op::Constant(literal) => literals.push((*literal.0).clone()),
                _ => return Ok(None),
            }
        }
        let operands: usize = inputs.iter().map(|&input| self.out.ty(input).bytes()).sum();
        let results: usize = outputs.iter().map(Type::bytes).sum();
        if results > FOLD_BYTES.max(operands) || outputs.iter().any(Type::is_empty) || operands == 0 {
            return Ok(None);
        }
        let values = self.target.fold(op, &literals)?;
        Ok(Some(values.into_iter().map(|value| self.out.constant(value)).collect()))
    }

    /// Moves transposes behind elementwise operations, where they meet the transposes that undo them.
    fn sink_permute(&mut self, op: &Op, inputs: &[Value], single: &[bool]) -> Result<Option<Value>> {
        if !op.is_elementwise() || single.len() != inputs.len() {
            return Ok(None);
        }
        let mut perm: Option<Vec<usize>> = None;
        for (&input, &single) in inputs.iter().zip(single) {
            let node = self.out.node(input);
            match &node.op {
                Op::Permute(axes) if single && perm.as_ref().is_none_or(|known| known == axes) => {
                    perm = Some(axes.clone());
                }
                Op::Broadcast(_) if self.is_splat(input) => {}
                _ => return Ok(None),
            }
        }
        let Some(perm) = perm else { return Ok(None) };
        let mut sources = Vec::with_capacity(inputs.len());
        let mut shape = Vec::new();
        for &input in inputs {
            let node = self.out.node(input);
            if let (Op::Permute(_), &[source]) = (&node.op, node.inputs.as_slice()) {
                shape = self.out.shape(source).to_vec();
                sources.push(Some(source));
            } else {
                sources.push(None);
            }
        }
        let mut operands = Vec::with_capacity(inputs.len());
        for (&input, source) in inputs.iter().zip(sources) {
            operands.push(if let Some(source) = source {
                source
            } else {
                let inner = self.out.node(input).inputs.first().copied().unwrap_or(input);
                self.out.broadcast(inner, &shape)?
            });
        }
        let types: Vec<&Type> = operands.iter().map(|&operand| self.out.ty(operand)).collect();
        let outputs = infer(op, &types)?;
        let value = self.supported(op, operands, &outputs)?;
        value.first().map(|&value| self.out.permute(value, &perm)).transpose()
    }

    /// An elementwise operation on operands that each repeat one scalar is one operation on the scalars.
    #[allow(clippy::indexing_slicing, reason = "operands come before users")]
    fn scalarize(&mut self, op: &Op, inputs: &[Value], outputs: &[Type]) -> Result<Option<Value>> {
        let Some(ty) = outputs.first().filter(|ty| !ty.shape.is_empty()) else { return Ok(None) };
        if !op.is_elementwise() || inputs.is_empty() {
            return Ok(None);
        }
        for node in self.out.nodes().iter().skip(self.host.len()) {
            let host = host_node(node, |value| self.host[value.node as usize]);
            self.host.push(host);
        }
        let mut scalars = Vec::with_capacity(inputs.len());
        for &input in inputs {
            match splat_of(&self.out, |value| self.host[value.node as usize], input) {
                Some(scalar) => scalars.push(scalar),
                None => return Ok(None),
            }
        }
        let types = vec![Type::new([], ty.dtype)];
        let value = self.node(op, scalars, &types, &[])?;
        value.first().map(|&value| self.out.splat(value, &ty.shape)).transpose()
    }

    /// Whether every axis of a broadcast operand has length 1, so that it looks alike under any permutation.
    fn is_splat(&self, value: Value) -> bool {
        self.out.node(value).inputs.iter().all(|&input| self.out.shape(input).iter().all(|&len| len == 1))
    }

    /// A product reads a transposed matrix through its flag.
    fn absorb_permute(&mut self, op: &Op, inputs: &[Value]) -> Result<Option<Value>> {
        let (&Op::MatMul { trans_a, trans_b }, &[a, b]) = (op, inputs) else { return Ok(None) };
        let untransposed = |value: Value| {
            let node = self.out.node(value);
            match (&node.op, node.inputs.as_slice()) {
                (Op::Permute(perm), &[source]) if matches!(perm.as_slice(), [1, 0] | [0, 2, 1]) => {
                    Some(source)
                }
                _ => None,
            }
        };
        let (plain_a, plain_b) = (untransposed(a), untransposed(b));
        if plain_a.is_none() && plain_b.is_none() {
            return Ok(None);
        }
        let value = self.out.matmul(
            plain_a.unwrap_or(a),
            plain_b.unwrap_or(b),
            trans_a != plain_a.is_some(),
            trans_b != plain_b.is_some(),
        )?;
        Ok(Some(value))
    }

    /// Parts without elements add nothing, and a part that covers everything is the result.
    fn skip_empty(&mut self, op: &Op, inputs: &[Value]) -> Result<Option<Value>> {
        match (op, inputs) {
            (Op::Concat(_), _) => {
                let filled: Vec<Value> =
                    inputs.iter().copied().filter(|&input| !self.out.ty(input).is_empty()).collect();
                if filled.is_empty() || filled.len() == inputs.len() {
                    return Ok(None);
                }
                self.out.add(op.clone(), &filled).map(Some)
            }
            (Op::SliceUpdate(_), &[base, update]) if self.out.ty(update).is_empty() => Ok(Some(base)),
            (Op::SliceUpdate(_), &[base, update]) => {
                Ok((self.out.shape(base) == self.out.shape(update)).then_some(update))
            }
            _ => Ok(None),
        }
    }
}
