//! Reverse-mode differentiation: a table of vector-Jacobian products, each written in graph operations, so that
//! gradients can be differentiated again.

use super::build::keep_axes;
use super::{Binary, Compare, Cumulative, Graph, Op, Reduce, SliceSpec, Type, Unary, Value};
use crate::array::DType;
use crate::error::{Error, Result};
use std::collections::HashMap;

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
fn depends_on(graph: &Graph, xs: &[Value], last: usize) -> std::collections::HashSet<Value> {
    let mut found: std::collections::HashSet<Value> = xs.iter().copied().collect();
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
        Op::Cumulative(function, axis) => {
            let scaled = match function {
                Cumulative::Sum => dy,
                Cumulative::Prod => g.binary(Binary::Mul, dy, y)?,
            };
            let reversed = g.add(Op::Reverse(vec![*axis]), &[scaled])?;
            let summed = g.add(Op::Cumulative(Cumulative::Sum, *axis), &[reversed])?;
            let back = g.add(Op::Reverse(vec![*axis]), &[summed])?;
            vec![Some(match function {
                Cumulative::Sum => back,
                Cumulative::Prod => g.binary(Binary::Div, back, inputs[0])?,
            })]
        }
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
        | Op::Scan(_)
        | Op::Host(_) => return none(),
    })
}

fn unary(g: &mut Graph, function: Unary, x: Value, y: Value, dy: Value) -> Result<Option<Value>> {
    use Binary::{Add, Div, Mul, Sub};
    let derivative = match function {
        Unary::Neg => return g.unary(Unary::Neg, dy).map(Some),
        Unary::Abs => g.unary(Unary::Sign, x)?,
        Unary::Sign | Unary::Floor | Unary::Ceil | Unary::Round | Unary::IsNan | Unary::Not => {
            return Ok(None);
        }
        Unary::Exp => y,
        Unary::Expm1 => g.binary_scalar(Add, y, 1.0)?,
        Unary::Log => return g.binary(Div, dy, x).map(Some),
        Unary::Log1p => {
            let shifted = g.binary_scalar(Add, x, 1.0)?;
            return g.binary(Div, dy, shifted).map(Some);
        }
        Unary::Sqrt => {
            let half = g.binary_scalar(Mul, dy, 0.5)?;
            return g.binary(Div, half, y).map(Some);
        }
        Unary::Rsqrt => {
            let square = g.unary(Unary::Square, y)?;
            let cube = g.binary(Mul, square, y)?;
            g.binary_scalar(Mul, cube, -0.5)?
        }
        Unary::Square => g.binary_scalar(Mul, x, 2.0)?,
        Unary::Recip => {
            let square = g.unary(Unary::Square, y)?;
            g.unary(Unary::Neg, square)?
        }
        Unary::Sin => g.unary(Unary::Cos, x)?,
        Unary::Cos => {
            let sin = g.unary(Unary::Sin, x)?;
            g.unary(Unary::Neg, sin)?
        }
        Unary::Tan => {
            let square = g.unary(Unary::Square, y)?;
            g.binary_scalar(Add, square, 1.0)?
        }
        Unary::Asin | Unary::Acos => {
            let square = g.unary(Unary::Square, x)?;
            let one = g.full_like(x, 1.0)?;
            let rest = g.binary(Sub, one, square)?;
            let root = g.unary(Unary::Rsqrt, rest)?;
            if function == Unary::Acos { g.unary(Unary::Neg, root)? } else { root }
        }
        Unary::Atan => {
            let square = g.unary(Unary::Square, x)?;
            let shifted = g.binary_scalar(Add, square, 1.0)?;
            return g.binary(Div, dy, shifted).map(Some);
        }
        Unary::Sinh => g.unary(Unary::Cosh, x)?,
        Unary::Cosh => g.unary(Unary::Sinh, x)?,
        Unary::Tanh => {
            let square = g.unary(Unary::Square, y)?;
            let one = g.full_like(y, 1.0)?;
            g.binary(Sub, one, square)?
        }
        Unary::Sigmoid => {
            let one = g.full_like(y, 1.0)?;
            let rest = g.binary(Sub, one, y)?;
            g.binary(Mul, y, rest)?
        }
        Unary::Softplus => g.unary(Unary::Sigmoid, x)?,
        Unary::Relu => {
            let zero = g.full_like(x, 0.0)?;
            // On y rather than x: y is positive exactly where x is, and x need not be kept.
            let positive = g.compare(Compare::Gt, y, zero)?;
            return g.add(Op::Select, &[positive, dy, zero]).map(Some);
        }
        Unary::Erf => {
            let square = g.unary(Unary::Square, x)?;
            let negative = g.unary(Unary::Neg, square)?;
            let bell = g.unary(Unary::Exp, negative)?;
            g.binary_scalar(Mul, bell, std::f64::consts::FRAC_2_SQRT_PI)?
        }
    };
    g.binary(Mul, dy, derivative).map(Some)
}

#[allow(clippy::indexing_slicing, reason = "a binary operation has two operands")]
fn binary(
    g: &mut Graph,
    function: Binary,
    a: Value,
    b: Value,
    y: Value,
    dy: Value,
    wanted: &[bool],
) -> Result<Vec<Option<Value>>> {
    use Binary::{Add, Div, Mul, Sub};
    let negated = |g: &mut Graph, x| g.unary(Unary::Neg, x).map(Some);
    Ok(match function {
        Add => vec![Some(dy), Some(dy)],
        Sub => vec![Some(dy), if wanted[1] { negated(g, dy)? } else { None }],
        Mul => vec![
            if wanted[0] { Some(g.binary(Mul, dy, b)?) } else { None },
            if wanted[1] { Some(g.binary(Mul, dy, a)?) } else { None },
        ],
        Div => {
            let da = g.binary(Div, dy, b)?;
            let db = if wanted[1] {
                let scaled = g.binary(Mul, da, y)?;
                negated(g, scaled)?
            } else {
                None
            };
            vec![Some(da), db]
        }
        Binary::Mod => {
            let db = if wanted[1] {
                let quotient = g.binary(Div, a, b)?;
                let whole = g.unary(Unary::Floor, quotient)?;
                let scaled = g.binary(Mul, dy, whole)?;
                negated(g, scaled)?
            } else {
                None
            };
            vec![Some(dy), db]
        }
        Binary::Pow => {
            let da = if wanted[0] {
                let exponent = g.binary_scalar(Sub, b, 1.0)?;
                let power = g.binary(Binary::Pow, a, exponent)?;
                let scaled = g.binary(Mul, b, power)?;
                Some(g.binary(Mul, dy, scaled)?)
            } else {
                None
            };
            let db = if wanted[1] {
                // ln a where a > 0, and no gradient elsewhere, as TensorFlow has it.
                let zero = g.full_like(a, 0.0)?;
                let one = g.full_like(a, 1.0)?;
                let positive = g.compare(Compare::Gt, a, zero)?;
                let safe = g.add(Op::Select, &[positive, a, one])?;
                let log = g.unary(Unary::Log, safe)?;
                let scaled = g.binary(Mul, y, log)?;
                Some(g.binary(Mul, dy, scaled)?)
            } else {
                None
            };
            vec![da, db]
        }
        Binary::Max | Binary::Min => {
            let first = g.compare(if function == Binary::Max { Compare::Ge } else { Compare::Le }, a, b)?;
            let zero = g.full_like(dy, 0.0)?;
            vec![Some(g.add(Op::Select, &[first, dy, zero])?), Some(g.add(Op::Select, &[first, zero, dy])?)]
        }
        Binary::Atan2 => {
            let (a2, b2) = (g.unary(Unary::Square, a)?, g.unary(Unary::Square, b)?);
            let norm = g.binary(Add, a2, b2)?;
            let scaled = g.binary(Div, dy, norm)?;
            let da = g.binary(Mul, scaled, b)?;
            let db = g.binary(Mul, scaled, a)?;
            vec![Some(da), negated(g, db)?]
        }
    })
}

fn reduce(g: &mut Graph, function: Reduce, axes: &[usize], x: Value, y: Value, dy: Value) -> Result<Value> {
    let shape = g.shape(x).to_vec();
    let kept = keep_axes(&shape, axes);
    let spread = |g: &mut Graph, value: Value| {
        let value = g.reshape(value, &kept)?;
        g.broadcast(value, &shape)
    };
    let wide = spread(g, dy)?;
    match function {
        Reduce::Sum => Ok(wide),
        Reduce::Max | Reduce::Min => {
            // Ties share the gradient evenly, as in TensorFlow.
            let extreme = spread(g, y)?;
            let hit = g.compare(Compare::Eq, x, extreme)?;
            let hit = g.add(Op::Cast(g.ty(x).dtype), &[hit])?;
            let count = g.reduce(Reduce::Sum, hit, axes)?;
            let count = spread(g, count)?;
            let share = g.binary(Binary::Div, hit, count)?;
            g.binary(Binary::Mul, wide, share)
        }
        Reduce::Prod => {
            let others = product_of_others(g, x, axes)?;
            g.binary(Binary::Mul, wide, others)
        }
    }
}

/// For every element the product of the others along `axes`, exact where elements are zero.
#[allow(clippy::indexing_slicing, reason = "the axes were checked when the reduction was built")]
fn product_of_others(g: &mut Graph, x: Value, axes: &[usize]) -> Result<Value> {
    let ty = g.ty(x).clone();
    let rank = ty.shape.len();
    let perm: Vec<usize> = (0..rank).filter(|i| !axes.contains(i)).chain(axes.iter().copied()).collect();
    let moved = g.permute(x, &perm)?;
    let moved_shape = g.shape(moved).to_vec();
    let inner: usize = axes.iter().map(|&axis| ty.shape[axis]).product();
    let outer = ty.len().checked_div(inner).unwrap_or(0);
    let flat = g.reshape(moved, &[outer, inner])?;
    let before = exclusive_product(g, flat)?;
    let reversed = g.add(Op::Reverse(vec![1]), &[flat])?;
    let after = exclusive_product(g, reversed)?;
    let after = g.add(Op::Reverse(vec![1]), &[after])?;
    let others = g.binary(Binary::Mul, before, after)?;
    let others = g.reshape(others, &moved_shape)?;
    let mut inverse = vec![0; rank];
    for (i, &axis) in perm.iter().enumerate() {
        inverse[axis] = i;
    }
    g.permute(others, &inverse)
}

/// Running products along axis 1, without the element itself.
#[allow(clippy::indexing_slicing, reason = "the operand has two axes")]
fn exclusive_product(g: &mut Graph, x: Value) -> Result<Value> {
    let ty = g.ty(x).clone();
    let ones = g.full(1.0, &Type::new([ty.shape[0], 1], ty.dtype))?;
    let rest = g.slice_axis(x, 1, 0, ty.shape[1] - 1)?;
    let shifted = g.add(Op::Concat(1), &[ones, rest])?;
    g.add(Op::Cumulative(Cumulative::Prod, 1), &[shifted])
}

fn sum_last(g: &mut Graph, x: Value) -> Result<Value> {
    let shape = g.shape(x).to_vec();
    let total = g.reduce_keep(Reduce::Sum, x, &[shape.len() - 1])?;
    g.broadcast(total, &shape)
}

fn top_k(g: &mut Graph, k: usize, x: Value, positions: Value, dy: Value) -> Result<Value> {
    let ty = g.ty(x).clone();
    let width = ty.shape.last().copied().unwrap_or(1);
    let rows = ty.len().checked_div(width).unwrap_or(0);
    let positions = g.reshape(positions, &[rows, k])?;
    let row = g.add(Op::Iota(Type::new([rows, k], DType::I64), 0), &[])?;
    let offset = g.binary_scalar(Binary::Mul, row, width as f64)?;
    let flat = g.binary(Binary::Add, offset, positions)?;
    let flat = g.reshape(flat, &[rows * k])?;
    let dy = g.reshape(dy, &[rows * k])?;
    let scattered = g.add(Op::ScatterAdd(rows * width), &[flat, dy])?;
    g.reshape(scattered, &ty.shape)
}

#[allow(clippy::indexing_slicing, reason = "the axis was checked when the gather was built")]
fn gather(g: &mut Graph, axis: usize, x: Value, indices: Value, dy: Value) -> Result<Value> {
    let size = g.shape(x)[axis];
    let (rank, spread) = (g.shape(dy).len(), g.shape(indices).len());
    let first: Vec<usize> = (axis..axis + spread).chain(0..axis).chain(axis + spread..rank).collect();
    let moved = g.permute(dy, &first)?;
    let scattered = g.add(Op::ScatterAdd(size), &[indices, moved])?;
    let back: Vec<usize> = (1..=axis).chain([0]).chain(axis + 1..g.shape(scattered).len()).collect();
    g.permute(scattered, &back)
}

/// Of `[batch, spatial…, channels]`, the elements at flat spatial positions: the adjoint of max-pool's gradient.
#[allow(clippy::indexing_slicing, reason = "a pooling has a batch and a channel axis")]
fn gather_positions(g: &mut Graph, x: Value, positions: Value) -> Result<Value> {
    let shape = g.shape(x).to_vec();
    let channels = shape[shape.len() - 1];
    let cells: usize = shape[1..shape.len() - 1].iter().product();
    let target = g.shape(positions).to_vec();
    let positions = g.add(Op::Cast(DType::I64), &[positions])?;
    let wide = Type::new(target.clone(), DType::I64);
    let batch = g.add(Op::Iota(wide.clone(), 0), &[])?;
    let channel = g.add(Op::Iota(wide, target.len() - 1), &[])?;
    let batch = g.binary_scalar(Binary::Mul, batch, cells as f64)?;
    let cell = g.binary(Binary::Add, batch, positions)?;
    let cell = g.binary_scalar(Binary::Mul, cell, channels as f64)?;
    let flat = g.binary(Binary::Add, cell, channel)?;
    let elements = g.reshape(x, &[shape.iter().product()])?;
    g.add(Op::Gather(0), &[elements, flat])
}

fn host_vjp(
    g: &mut Graph,
    host: &super::HostFn,
    inputs: &[Value],
    outputs: &[Value],
    upstream: &[Option<Value>],
) -> Result<Vec<Option<Value>>> {
    let Some(vjp) = &host.vjp else { return Ok(vec![None; inputs.len()]) };
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
