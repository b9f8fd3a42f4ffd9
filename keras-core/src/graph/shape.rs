//! The shape rule of every operation: operand types in, result types out, or an error that names both.

use super::{Binary, ConvSpec, Op, PoolSpec, SliceSpec, Type, Unary};
use crate::array::{DType, element_count, is_countable};
use crate::error::{Error, Result};

fn wrong(op: &Op, expected: impl Into<String>, inputs: &[&Type]) -> Error {
    let received: Vec<String> = inputs.iter().map(ToString::to_string).collect();
    Error::shape(op.name(), expected, received.join(", "))
}

/// The types of the results of `op` on operands of those types.
pub(crate) fn infer(op: &Op, inputs: &[&Type]) -> Result<Vec<Type>> {
    let outputs = rule(op, inputs)?;
    match outputs.iter().find(|ty| !is_countable(ty.shape.iter().copied())) {
        Some(ty) => Err(wrong(op, format!("a result of at most 2⁵³ elements, not {ty}"), inputs)
            .advice("make the lengths smaller")),
        None => Ok(outputs),
    }
}

#[allow(clippy::indexing_slicing, reason = "axes are compared with ranks before they index")]
fn rule(op: &Op, inputs: &[&Type]) -> Result<Vec<Type>> {
    let fail = |expected: &str| wrong(op, expected, inputs);
    let arity = |n: usize| if inputs.len() == n { Ok(()) } else { Err(fail(&format!("{n} operands"))) };
    let axis_of = |axis: usize| {
        let rank = inputs.first().map_or(0, |x| x.shape.len());
        if axis < rank { Ok(()) } else { Err(fail(&format!("an axis below the rank, not axis {axis}"))) }
    };
    let one = |shape: Vec<usize>, dtype: DType| Ok(vec![Type { shape, dtype }]);
    let every = |holds: fn(DType) -> bool, expected: &str| {
        if inputs.iter().all(|x| holds(x.dtype)) { Ok(()) } else { Err(dtype_error(op, expected, inputs)) }
    };
    let floats = || every(DType::is_float, "float32 or float64");
    let numbers = || every(|dtype| dtype != DType::Bool, "numbers (cast truth values first)");
    match op {
        Op::Input(_) | Op::Variable(_) | Op::Constant(_) => {
            Err(fail("sources are made by their own constructors"))
        }
        Op::Iota(ty, axis) => {
            arity(0)?;
            if *axis < ty.shape.len() && ty.dtype != DType::Bool {
                Ok(vec![ty.clone()])
            } else {
                Err(Error::shape(
                    "iota",
                    format!("a number type and an axis below {}", ty.shape.len()),
                    axis.to_string(),
                ))
            }
        }
        Op::Random { output, .. } => {
            arity(2)?;
            if inputs.iter().any(|x| !x.shape.is_empty()) || !output.dtype.is_float() {
                return Err(fail("scalars for seed and step, and a float result"));
            }
            Ok(vec![output.clone()])
        }
        Op::Unary(function) => {
            arity(1)?;
            let x = inputs[0];
            let dtype = match function {
                Unary::Not if x.dtype == DType::Bool => DType::Bool,
                Unary::IsNan if x.dtype.is_float() => DType::Bool,
                Unary::Neg | Unary::Abs | Unary::Sign | Unary::Square | Unary::Relu
                    if x.dtype != DType::Bool =>
                {
                    x.dtype
                }
                Unary::Not | Unary::IsNan => {
                    return Err(dtype_error(op, "a truth value for not, a float for is_nan", inputs));
                }
                _ if x.dtype.is_float() => x.dtype,
                _ => return Err(dtype_error(op, "float32 or float64", inputs)),
            };
            one(x.shape.clone(), dtype)
        }
        Op::Binary(function) => {
            arity(2)?;
            same(op, inputs)?;
            if *function == Binary::Atan2 {
                floats()?;
            } else {
                numbers()?;
            }
            Ok(vec![inputs[0].clone()])
        }
        Op::Compare(_) => {
            arity(2)?;
            same(op, inputs)?;
            one(inputs[0].shape.clone(), DType::Bool)
        }
        Op::Logical(_) => {
            arity(2)?;
            same(op, inputs)?;
            if inputs[0].dtype != DType::Bool {
                return Err(dtype_error(op, "truth values", inputs));
            }
            Ok(vec![inputs[0].clone()])
        }
        Op::Select => {
            arity(3)?;
            same(op, &inputs[1..])?;
            if inputs[0].dtype != DType::Bool || inputs[0].shape != inputs[1].shape {
                return Err(fail("a truth value and two operands of one shape"));
            }
            Ok(vec![inputs[1].clone()])
        }
        Op::Cast(dtype) => {
            arity(1)?;
            one(inputs[0].shape.clone(), *dtype)
        }
        Op::Reduce(_, axes) => {
            arity(1)?;
            numbers()?;
            ascending(op, axes, inputs)?;
            one(without(&inputs[0].shape, axes), inputs[0].dtype)
        }
        Op::ArgReduce(_, axis) => {
            arity(1)?;
            axis_of(*axis)?;
            if inputs[0].shape[*axis] == 0 {
                return Err(fail("at least one element along the axis"));
            }
            one(without(&inputs[0].shape, &[*axis]), DType::I64)
        }
        Op::Cumulative(_, axis) => {
            arity(1)?;
            numbers()?;
            axis_of(*axis)?;
            Ok(vec![inputs[0].clone()])
        }
        Op::TopK(k) => {
            arity(1)?;
            let mut shape = inputs[0].shape.clone();
            match shape.last_mut() {
                Some(last) if *k <= *last => *last = *k,
                _ => return Err(fail(&format!("at least {k} elements along the last axis"))),
            }
            Ok(vec![Type::new(shape.clone(), inputs[0].dtype), Type::new(shape, DType::I64)])
        }
        Op::MatMul { trans_a, trans_b } => {
            arity(2)?;
            let (a, b) = (inputs[0], inputs[1]);
            let rank = a.shape.len();
            floats()?;
            if !(2..=3).contains(&rank) || b.shape.len() != rank || a.dtype != b.dtype {
                return Err(fail("two matrices, or two stacks of matrices, of one element type"));
            }
            let swap = |shape: &[usize], trans: bool| {
                let (rows, cols) = (shape[rank - 2], shape[rank - 1]);
                if trans { (cols, rows) } else { (rows, cols) }
            };
            let ((m, k), (k2, n)) = (swap(&a.shape, *trans_a), swap(&b.shape, *trans_b));
            if k != k2 || a.shape[..rank - 2] != b.shape[..rank - 2] {
                return Err(fail(&format!("matching inner lengths, not {k} and {k2}")));
            }
            let mut shape = a.shape[..rank - 2].to_vec();
            shape.extend([m, n]);
            one(shape, a.dtype)
        }
        Op::Conv(spec) => {
            arity(2)?;
            floats()?;
            let (x, kernel) = (inputs[0], inputs[1]);
            let spatial = conv_operands(op, spec, x, kernel, inputs)?;
            if x.shape[spatial + 1] != kernel.shape[spatial] * spec.groups {
                return Err(fail("as many input channels as the kernel reads")
                    .advice("bring the channels to the number that the weights were made for"));
            }
            let sizes = conv_sizes(op, spec, &x.shape[1..=spatial], &kernel.shape[..spatial], inputs)?;
            let mut shape = vec![x.shape[0]];
            shape.extend(sizes);
            shape.push(kernel.shape[spatial + 1]);
            one(shape, x.dtype)
        }
        Op::ConvGradInput(spec, size) => {
            arity(2)?;
            floats()?;
            let (grad, kernel) = (inputs[0], inputs[1]);
            let spatial = conv_operands(op, spec, grad, kernel, inputs)?;
            let sizes = conv_sizes(op, spec, size, &kernel.shape[..spatial], inputs)?;
            if grad.shape[1..=spatial] != sizes[..] || grad.shape[spatial + 1] != kernel.shape[spatial + 1] {
                return Err(fail("a gradient of the convolution's result"));
            }
            let mut shape = vec![grad.shape[0]];
            shape.extend(size);
            shape.push(kernel.shape[spatial] * spec.groups);
            one(shape, grad.dtype)
        }
        Op::ConvGradKernel(spec, size) => {
            arity(2)?;
            floats()?;
            let (x, grad) = (inputs[0], inputs[1]);
            let spatial = conv_operands(op, spec, x, grad, inputs)?;
            let sizes = conv_sizes(op, spec, &x.shape[1..=spatial], size, inputs)?;
            let channels = x.shape[spatial + 1];
            if grad.shape[1..=spatial] != sizes[..]
                || grad.shape[0] != x.shape[0]
                || channels % spec.groups != 0
            {
                return Err(fail("a gradient of the convolution's result"));
            }
            let mut shape = size.clone();
            shape.extend([channels / spec.groups, grad.shape[spatial + 1]]);
            one(shape, x.dtype)
        }
        Op::MaxPool(spec) => {
            arity(1)?;
            numbers()?;
            let shape = pool_shape(op, spec, &inputs[0].shape, inputs)?;
            Ok(vec![Type::new(shape.clone(), inputs[0].dtype), Type::new(shape, DType::I32)])
        }
        Op::AvgPool(spec) => {
            arity(1)?;
            floats()?;
            one(pool_shape(op, spec, &inputs[0].shape, inputs)?, inputs[0].dtype)
        }
        Op::MaxPoolGrad(spec, size) | Op::AvgPoolGrad(spec, size) => {
            arity(if matches!(op, Op::MaxPoolGrad(..)) { 2 } else { 1 })?;
            let grad = inputs[0];
            let positions = inputs.get(1).is_none_or(|positions| positions.dtype == DType::I32);
            if !grad.dtype.is_float() || !positions {
                return Err(dtype_error(op, "a float gradient, and positions of int32", inputs));
            }
            let spatial = size.len();
            if grad.shape.len() != spatial + 2 || inputs.iter().any(|x| x.shape != grad.shape) {
                return Err(fail("a gradient of the pooling's result, and positions of the same shape"));
            }
            let mut shape = vec![grad.shape[0]];
            shape.extend(size);
            shape.push(grad.shape[spatial + 1]);
            if pool_shape(op, spec, &shape, inputs)? != grad.shape {
                return Err(fail("a gradient of the pooling's result"));
            }
            one(shape, grad.dtype)
        }
        Op::Gather(axis) => {
            arity(2)?;
            axis_of(*axis)?;
            let (x, indices) = (inputs[0], inputs[1]);
            index_type(op, indices, inputs)?;
            let mut shape = x.shape[..*axis].to_vec();
            shape.extend(&indices.shape);
            shape.extend(&x.shape[axis + 1..]);
            one(shape, x.dtype)
        }
        Op::ScatterAdd(size) => {
            arity(2)?;
            let (indices, updates) = (inputs[0], inputs[1]);
            index_type(op, indices, inputs)?;
            if !updates.shape.starts_with(&indices.shape) || updates.dtype == DType::Bool {
                return Err(fail("updates whose leading axes are those of the indices"));
            }
            let mut shape = vec![*size];
            shape.extend(&updates.shape[indices.shape.len()..]);
            one(shape, updates.dtype)
        }
        Op::Reshape(shape) => {
            arity(1)?;
            if !is_countable(shape.iter().copied()) || element_count(shape) != inputs[0].len() {
                return Err(fail(&format!("as many elements as {shape:?} has")));
            }
            one(shape.clone(), inputs[0].dtype)
        }
        Op::Permute(perm) => {
            arity(1)?;
            let mut sorted = perm.clone();
            sorted.sort_unstable();
            if !sorted.into_iter().eq(0..inputs[0].shape.len()) {
                return Err(fail(&format!("axes that {perm:?} reorders")));
            }
            one(perm.iter().map(|&axis| inputs[0].shape[axis]).collect(), inputs[0].dtype)
        }
        Op::Broadcast(shape) => {
            arity(1)?;
            let from = &inputs[0].shape;
            if from.len() != shape.len() || from.iter().zip(shape).any(|(&a, &b)| a != b && a != 1) {
                return Err(fail(&format!("axes of {shape:?} or of length 1")));
            }
            one(shape.clone(), inputs[0].dtype)
        }
        Op::Slice(spec) => {
            arity(1)?;
            slice_fits(op, spec, &inputs[0].shape, inputs)?;
            one(spec.shape(), inputs[0].dtype)
        }
        Op::SliceUpdate(spec) => {
            arity(2)?;
            slice_fits(op, spec, &inputs[0].shape, inputs)?;
            if inputs[1].shape != spec.shape() || inputs[1].dtype != inputs[0].dtype {
                return Err(fail(&format!("an update of shape {:?}", spec.shape())));
            }
            Ok(vec![inputs[0].clone()])
        }
        Op::Pad(pads) => {
            arity(1)?;
            if pads.len() != inputs[0].shape.len() {
                return Err(fail(&format!("{} axes", pads.len())));
            }
            let padded = inputs[0].shape.iter().zip(pads);
            let padded: Option<Vec<usize>> =
                padded.map(|(&len, &(a, b))| a.checked_add(len)?.checked_add(b)).collect();
            one(padded.ok_or_else(|| fail("fewer cells of padding"))?, inputs[0].dtype)
        }
        Op::Concat(axis) => {
            axis_of(*axis)?;
            let mut shape = inputs[0].shape.clone();
            shape[*axis] = 0;
            for x in inputs {
                let fits = x.dtype == inputs[0].dtype && x.shape.len() == shape.len();
                if !fits || (0..shape.len()).any(|i| i != *axis && x.shape[i] != shape[i]) {
                    return Err(fail(&format!("operands that differ along axis {axis} alone")));
                }
                shape[*axis] = shape[*axis].saturating_add(x.shape[*axis]);
            }
            one(shape, inputs[0].dtype)
        }
        Op::Reverse(axes) => {
            arity(1)?;
            ascending(op, axes, inputs)?;
            Ok(vec![inputs[0].clone()])
        }
        Op::Softmax | Op::LogSoftmax => {
            arity(1)?;
            if inputs[0].shape.is_empty() || !inputs[0].dtype.is_float() {
                return Err(fail("floats with at least one axis"));
            }
            Ok(vec![inputs[0].clone()])
        }
        Op::Recurrent(spec) => super::recurrent::infer(op, *spec, None, inputs),
        Op::RecurrentGrad(spec, sequence) => super::recurrent::infer(op, *spec, Some(*sequence), inputs),
        Op::Scan(scan) => super::scan::infer(op, scan, inputs),
        Op::Host(host) => Ok(host.outputs.clone()),
        Op::StopGradient => {
            arity(1)?;
            Ok(vec![inputs[0].clone()])
        }
        Op::CustomVjp(_) => match inputs {
            [x, _, ..] => Ok(vec![(*x).clone()]),
            _ => Err(fail("a value and what it depends on")),
        },
        Op::Kernel(kernel) | Op::Epilogue(_, kernel) => {
            let types = kernel.outputs.iter().map(|output| {
                let dtype = kernel.code.get(output.register).map_or(DType::F32, |(_, dtype)| *dtype);
                Type { shape: output.shape.clone(), dtype }
            });
            Ok(types.collect())
        }
    }
}

fn dtype_error(op: &Op, expected: &str, inputs: &[&Type]) -> Error {
    let received: Vec<String> = inputs.iter().map(ToString::to_string).collect();
    Error::dtype(op.name(), expected, received.join(", ")).advice("convert with k::cast")
}

fn same(op: &Op, inputs: &[&Type]) -> Result<()> {
    match inputs {
        [a, b] if a == b => Ok(()),
        [a, b] if a.dtype != b.dtype => Err(dtype_error(op, "two operands of one element type", inputs)),
        _ => Err(wrong(op, "two operands of one shape", inputs)),
    }
}

fn index_type(op: &Op, indices: &Type, inputs: &[&Type]) -> Result<()> {
    if matches!(indices.dtype, DType::I32 | DType::I64) {
        Ok(())
    } else {
        Err(dtype_error(op, "indices of int32 or int64", inputs))
    }
}

fn without(shape: &[usize], axes: &[usize]) -> Vec<usize> {
    shape.iter().enumerate().filter(|(axis, _)| !axes.contains(axis)).map(|(_, &len)| len).collect()
}

fn ascending(op: &Op, axes: &[usize], inputs: &[&Type]) -> Result<()> {
    let rank = inputs.first().map_or(0, |x| x.shape.len());
    let sorted = axes.windows(2).all(|pair| matches!(pair, [a, b] if a < b));
    if sorted && axes.last().is_none_or(|&axis| axis < rank) {
        Ok(())
    } else {
        Err(wrong(op, format!("ascending axes below the rank, not {axes:?}"), inputs))
    }
}

#[allow(clippy::indexing_slicing, reason = "the ranks are compared first")]
fn slice_fits(op: &Op, spec: &SliceSpec, shape: &[usize], inputs: &[&Type]) -> Result<()> {
    let rank = shape.len();
    let fits = spec.starts.len() == rank
        && spec.stops.len() == rank
        && spec.steps.len() == rank
        && (0..rank)
            .all(|i| spec.starts[i] <= spec.stops[i] && spec.stops[i] <= shape[i] && spec.steps[i] >= 1);
    if fits { Ok(()) } else { Err(wrong(op, format!("a box inside the operand, not {spec:?}"), inputs)) }
}

/// Checks ranks and element types; the number of spatial axes.
#[allow(clippy::indexing_slicing, reason = "the ranks are compared first")]
fn conv_operands(op: &Op, spec: &ConvSpec, a: &Type, b: &Type, inputs: &[&Type]) -> Result<usize> {
    let spatial = spec.strides.len();
    let rank = spatial + 2;
    if !(1..=3).contains(&spatial) || a.shape.len() != rank || b.shape.len() != rank || a.dtype != b.dtype {
        return Err(wrong(op, format!("two operands of rank {rank} and one element type"), inputs));
    }
    let filters = match op {
        Op::ConvGradKernel(..) => b.shape[spatial + 1],
        _ => b.shape[rank - 1],
    };
    if spec.groups == 0 || filters % spec.groups != 0 {
        return Err(wrong(op, format!("filters that {} groups share evenly", spec.groups), inputs));
    }
    Ok(spatial)
}

fn window(
    len: usize,
    size: usize,
    stride: usize,
    dilation: usize,
    (before, after): (usize, usize),
) -> Option<usize> {
    let reach = size.checked_sub(1)?.checked_mul(dilation)?.checked_add(1)?;
    let room = before.checked_add(len)?.checked_add(after)?.checked_sub(reach)?;
    (dilation > 0).then_some(())?;
    Some(room.checked_div(stride)? + 1)
}

#[allow(clippy::indexing_slicing, reason = "the lengths are compared first")]
fn conv_sizes(
    op: &Op,
    spec: &ConvSpec,
    size: &[usize],
    kernel: &[usize],
    inputs: &[&Type],
) -> Result<Vec<usize>> {
    let spatial = spec.strides.len();
    let described = [spec.dilations.len(), spec.pads.len(), size.len(), kernel.len()];
    let sizes: Option<Vec<usize>> = if described.iter().all(|&n| n == spatial) {
        (0..spatial)
            .map(|i| window(size[i], kernel[i], spec.strides[i], spec.dilations[i], spec.pads[i]))
            .collect()
    } else {
        None
    };
    sizes.ok_or_else(|| {
        wrong(op, format!("an input at least as large as the kernel {kernel:?} of {spec:?}"), inputs)
    })
}

#[allow(clippy::indexing_slicing, reason = "the lengths are compared first")]
fn pool_shape(op: &Op, spec: &PoolSpec, shape: &[usize], inputs: &[&Type]) -> Result<Vec<usize>> {
    let spatial = spec.window.len();
    let lengths = spec.strides.len() == spatial && spec.pads.len() == spatial && shape.len() == spatial + 2;
    let inside = spec.pads.iter().zip(&spec.window).all(|(&(a, b), &size)| a < size && b < size);
    let sizes: Option<Vec<usize>> = if lengths && inside {
        (0..spatial).map(|i| window(shape[i + 1], spec.window[i], spec.strides[i], 1, spec.pads[i])).collect()
    } else {
        None
    };
    let sizes = sizes
        .ok_or_else(|| wrong(op, format!("an input at least as large as the window of {spec:?}"), inputs))?;
    let mut result = vec![shape[0]];
    result.extend(sizes);
    result.push(shape[spatial + 1]);
    Ok(result)
}
