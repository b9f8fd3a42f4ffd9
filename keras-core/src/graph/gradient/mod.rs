//! Reverse-mode differentiation: a table of vector-Jacobian products, each written in graph operations, so that
//! gradients can be differentiated again.

mod along;
mod elementwise;
mod indexing;

use super::{Binary, Cumulative, Graph, Op, Reduce, SliceSpec, Unary, Value};
use crate::error::{Error, Result};
use along::{cumprod, cumsum_back, reduce, sum_last};
use elementwise::{binary, unary};
use indexing::{gather, gather_positions, top_k};
use std::collections::{HashMap, HashSet};

/// The gradients of `Σ y·dy` with respect to each of `xs`, appended to the graph; `None` where no path of
/// differentiable operations leads from x to any y.
///
/// ```
/// use keras_core::{DType, graph::{Graph, Op, Type, Unary, gradients}};
/// let mut g = Graph::new();
/// let x = g.input(Type::new([3], DType::F32));
/// let y = g.unary(Unary::Square, x)?;
/// let dy = g.full_like(y, 1.0)?;
/// assert!(gradients(&mut g, &[(y, dy)], &[x])?[0].is_some());
/// # Ok::<(), keras_core::Error>(())
/// ```
pub fn gradients(graph: &mut Graph, ys: &[(Value, Value)], xs: &[Value]) -> Result<Vec<Option<Value>>> {
    let mut grads: HashMap<Value, Value> = HashMap::new();
    for &(y, dy) in ys {
        if graph.ty(y) != graph.ty(dy) || !graph.ty(y).dtype.is_float() {
            return Err(Error::shape(
                "gradients",
                format!("a gradient of type {}", graph.ty(y)),
                graph.ty(dy).to_string(),
            ));
        }
        accumulate(graph, &mut grads, y, dy)?;
    }
    let last = ys.iter().map(|(y, _)| y.node as usize + 1).max().unwrap_or(0);
    let needs = depends_on(graph, xs, last);
    for index in (0..last as u32).rev() {
        let Some(node) = graph.nodes().get(index as usize).cloned() else { break };
        let wanted: Vec<bool> = node.inputs.iter().map(|input| needs.contains(input)).collect();
        if !wanted.contains(&true) {
            continue;
        }
        let upstream: Vec<Option<Value>> = (0..node.outputs.len() as u32)
            .map(|output| grads.get(&Value { node: index, output }).copied())
            .collect();
        if upstream.iter().all(Option::is_none) {
            continue;
        }
        let outputs: Vec<Value> =
            (0..node.outputs.len() as u32).map(|output| Value { node: index, output }).collect();
        let products = vjp(graph, &node.op, &node.inputs, &outputs, &upstream, &wanted)?;
        for ((input, product), wanted) in node.inputs.iter().zip(products).zip(wanted) {
            if let (Some(product), true) = (product, wanted) {
                accumulate(graph, &mut grads, *input, product)?;
            }
        }
    }
    Ok(xs.iter().map(|x| grads.get(x).copied()).collect())
}

fn accumulate(graph: &mut Graph, grads: &mut HashMap<Value, Value>, x: Value, grad: Value) -> Result<()> {
    let total = match grads.get(&x) {
        Some(&before) => graph.binary(Binary::Add, before, grad)?,
        None => grad,
    };
    grads.insert(x, total);
    Ok(())
}

/// The float values up to node `last` that depend on any of `xs`, themselves included.
fn depends_on(graph: &Graph, xs: &[Value], last: usize) -> HashSet<Value> {
    let mut found: HashSet<Value> = xs.iter().copied().collect();
    for (index, node) in graph.nodes().iter().enumerate().take(last) {
        if matches!(node.op, Op::StopGradient) || !node.inputs.iter().any(|input| found.contains(input)) {
            continue;
        }
        for (output, ty) in node.outputs.iter().enumerate() {
            if ty.dtype.is_float() {
                found.insert(Value { node: index as u32, output: output as u32 });
            }
        }
    }
    found
}

/// Gradients of a node's operands from the gradients of its outputs.
#[allow(clippy::indexing_slicing, reason = "the shape rules fixed the number of operands and of axes")]
fn vjp(
    graph: &mut Graph,
    op: &Op,
    inputs: &[Value],
    outputs: &[Value],
    upstream: &[Option<Value>],
    wanted: &[bool],
) -> Result<Vec<Option<Value>>> {
    let none = || Ok(vec![None; inputs.len()]);
    match op {
        Op::Scan(scan) => return super::scan::vjp(graph, scan, inputs, outputs, upstream, wanted),
        Op::Recurrent(_) | Op::RecurrentGrad(..) => {
            return super::recurrent::vjp(graph, op, inputs, outputs, upstream, wanted);
        }
        Op::Host(host) => return host_vjp(graph, host, inputs, outputs, upstream),
        _ => {}
    }
    let Some(dy) = upstream[0] else { return none() };
    let y = outputs[0];
    let g = graph;
    Ok(match op {
        Op::Unary(function) => vec![unary(g, *function, inputs[0], y, dy)?],
        Op::Binary(function) => binary(g, *function, inputs[0], inputs[1], y, dy, wanted)?,
        Op::Select => {
            let zero = g.full_like(dy, 0.0)?;
            let a = g.add(Op::Select, &[inputs[0], dy, zero])?;
            let b = g.add(Op::Select, &[inputs[0], zero, dy])?;
            vec![None, Some(a), Some(b)]
        }
        Op::Cast(_) => {
            let from = g.ty(inputs[0]).dtype;
            vec![if from.is_float() { Some(g.add(Op::Cast(from), &[dy])?) } else { None }]
        }
        Op::Reduce(function, axes) => vec![Some(reduce(g, *function, axes, inputs[0], y, dy)?)],
        Op::Cumulative(function, axis) => vec![Some(match function {
            Cumulative::Sum => cumsum_back(g, *axis, dy)?,
            Cumulative::Prod => cumprod(g, *axis, inputs[0], dy)?,
        })],
        Op::TopK(k) => vec![Some(top_k(g, *k, inputs[0], outputs[1], dy)?)],
        Op::MatMul { trans_a, trans_b } => {
            let (a, b) = (inputs[0], inputs[1]);
            let da = match (wanted[0], trans_a) {
                (false, _) => None,
                (_, false) => Some(g.matmul(dy, b, false, !trans_b)?),
                (_, true) => Some(g.matmul(b, dy, *trans_b, true)?),
            };
            let db = match (wanted[1], trans_b) {
                (false, _) => None,
                (_, false) => Some(g.matmul(a, dy, !trans_a, false)?),
                (_, true) => Some(g.matmul(dy, a, true, *trans_a)?),
            };
            vec![da, db]
        }
        Op::Conv(spec) => {
            let (x, kernel) = (inputs[0], inputs[1]);
            let (size, reach) = (spatial(g.shape(x)), kernel_size(g.shape(kernel)));
            let dx = if wanted[0] {
                Some(g.add(Op::ConvGradInput(spec.clone(), size), &[dy, kernel])?)
            } else {
                None
            };
            let dk = if wanted[1] {
                Some(g.add(Op::ConvGradKernel(spec.clone(), reach), &[x, dy])?)
            } else {
                None
            };
            vec![dx, dk]
        }
        Op::ConvGradInput(spec, _) => {
            let (grad, kernel) = (inputs[0], inputs[1]);
            let reach = kernel_size(g.shape(kernel));
            let dgrad = g.add(Op::Conv(spec.clone()), &[dy, kernel])?;
            let dkernel = g.add(Op::ConvGradKernel(spec.clone(), reach), &[dy, grad])?;
            vec![Some(dgrad), Some(dkernel)]
        }
        Op::ConvGradKernel(spec, _) => {
            let (x, grad) = (inputs[0], inputs[1]);
            let size = spatial(g.shape(x));
            let dx = g.add(Op::ConvGradInput(spec.clone(), size), &[grad, dy])?;
            let dgrad = g.add(Op::Conv(spec.clone()), &[x, dy])?;
            vec![Some(dx), Some(dgrad)]
        }
        Op::MaxPool(spec) => {
            let size = spatial(g.shape(inputs[0]));
            vec![Some(g.add(Op::MaxPoolGrad(spec.clone(), size), &[dy, outputs[1]])?)]
        }
        Op::MaxPoolGrad(..) => vec![Some(gather_positions(g, dy, inputs[1])?), None],
        Op::AvgPool(spec) => {
            let size = spatial(g.shape(inputs[0]));
            vec![Some(g.add(Op::AvgPoolGrad(spec.clone(), size), &[dy])?)]
        }
        Op::AvgPoolGrad(spec, _) => vec![Some(g.add(Op::AvgPool(spec.clone()), &[dy])?)],
        Op::Gather(axis) => vec![Some(gather(g, *axis, inputs[0], inputs[1], dy)?), None],
        Op::ScatterAdd(_) => vec![None, Some(g.add(Op::Gather(0), &[dy, inputs[0]])?)],
        Op::Reshape(_) => {
            let shape = g.shape(inputs[0]).to_vec();
            vec![Some(g.reshape(dy, &shape)?)]
        }
        Op::Permute(perm) => {
            let mut inverse = vec![0; perm.len()];
            for (i, &axis) in perm.iter().enumerate() {
                inverse[axis] = i;
            }
            vec![Some(g.permute(dy, &inverse)?)]
        }
        Op::Broadcast(shape) => {
            let from = g.shape(inputs[0]).to_vec();
            let axes: Vec<usize> = (0..shape.len()).filter(|&i| from[i] != shape[i]).collect();
            vec![Some(g.reduce_keep(Reduce::Sum, dy, &axes)?)]
        }
        Op::Slice(spec) => {
            let ty = g.ty(inputs[0]).clone();
            vec![Some(if spec.steps.iter().all(|&step| step == 1) {
                let pads =
                    (0..ty.shape.len()).map(|i| (spec.starts[i], ty.shape[i] - spec.stops[i])).collect();
                g.add(Op::Pad(pads), &[dy])?
            } else {
                let zeros = g.full(0.0, &ty)?;
                g.add(Op::SliceUpdate(spec.clone()), &[zeros, dy])?
            })]
        }
        Op::SliceUpdate(spec) => {
            let zeros = g.full_like(inputs[1], 0.0)?;
            let base = g.add(Op::SliceUpdate(spec.clone()), &[dy, zeros])?;
            let update = g.add(Op::Slice(spec.clone()), &[dy])?;
            vec![Some(base), Some(update)]
        }
        Op::Pad(pads) => {
            let shape = g.shape(inputs[0]);
            let starts: Vec<usize> = pads.iter().map(|&(before, _)| before).collect();
            let stops = starts.iter().zip(shape).map(|(&start, &len)| start + len).collect();
            let spec = SliceSpec { steps: vec![1; starts.len()], starts, stops };
            vec![Some(g.add(Op::Slice(spec), &[dy])?)]
        }
        Op::Concat(axis) => {
            let mut start = 0;
            let mut parts = Vec::with_capacity(inputs.len());
            for &input in inputs {
                let stop = start + g.shape(input)[*axis];
                parts.push(Some(g.slice_axis(dy, *axis, start, stop)?));
                start = stop;
            }
            parts
        }
        Op::Reverse(axes) => vec![Some(g.add(Op::Reverse(axes.clone()), &[dy])?)],
        Op::Softmax => {
            let product = g.binary(Binary::Mul, dy, y)?;
            let total = sum_last(g, product)?;
            let centred = g.binary(Binary::Sub, dy, total)?;
            vec![Some(g.binary(Binary::Mul, centred, y)?)]
        }
        Op::LogSoftmax => {
            let total = sum_last(g, dy)?;
            let softmax = g.unary(Unary::Exp, y)?;
            let scaled = g.binary(Binary::Mul, softmax, total)?;
            vec![Some(g.binary(Binary::Sub, dy, scaled)?)]
        }
        Op::CustomVjp(custom) => {
            let mut products = vec![None];
            products.extend((custom.vjp)(g, dy, &inputs[1..])?);
            products.resize(inputs.len(), None);
            products
        }
        Op::Kernel(_) | Op::Epilogue(..) => {
            return Err(Error::state("gradients", "a graph before fusion", "a fused kernel"));
        }
        Op::Input(_)
        | Op::Variable(_)
        | Op::Constant(_)
        | Op::Iota(..)
        | Op::Random { .. }
        | Op::Compare(_)
        | Op::Logical(_)
        | Op::ArgReduce(..)
        | Op::StopGradient
        | Op::Recurrent(_)
        | Op::RecurrentGrad(..)
        | Op::Scan(_)
        | Op::Host(_) => return none(),
    })
}

fn host_vjp(
    g: &mut Graph,
    host: &super::HostFn,
    inputs: &[Value],
    outputs: &[Value],
    upstream: &[Option<Value>],
) -> Result<Vec<Option<Value>>> {
    let Some(vjp) = &host.vjp else { return Ok(vec![None; inputs.len()]) };
    let fits = vjp.outputs.iter().zip(inputs).all(|(ty, &input)| ty == g.ty(input));
    if !fits || vjp.outputs.len() > inputs.len() {
        let types = |types: &mut dyn Iterator<Item = String>| types.collect::<Vec<String>>().join(", ");
        return Err(Error::shape(
            format!("gradient of host function {}", host.name),
            format!(
                "gradients of the operands' types {}",
                types(&mut inputs.iter().map(|&x| g.ty(x).to_string()))
            ),
            types(&mut vjp.outputs.iter().map(ToString::to_string)),
        ));
    }
    let mut operands = inputs.to_vec();
    for (&output, &grad) in outputs.iter().zip(upstream) {
        operands.push(match grad {
            Some(grad) => grad,
            None => g.full_like(output, 0.0)?,
        });
    }
    let first = g.add(Op::Host(super::ByRef(std::sync::Arc::clone(vjp))), &operands)?;
    Ok(g.outputs_of(first).into_iter().map(Some).chain(std::iter::repeat(None)).take(inputs.len()).collect())
}

#[allow(clippy::indexing_slicing, reason = "a convolution or pooling has a batch and a channel axis")]
fn spatial(shape: &[usize]) -> Vec<usize> {
    shape[1..shape.len() - 1].to_vec()
}

#[allow(clippy::indexing_slicing, reason = "a kernel has an input and an output axis")]
fn kernel_size(shape: &[usize]) -> Vec<usize> {
    shape[..shape.len() - 2].to_vec()
}
