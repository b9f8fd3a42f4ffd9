//! From an operation of the graph to the backend's method.

use crate::backend::{Arg, Backend, Scalar};
use crate::error::{Error, Result};
use crate::graph::{Op, Type};

/// Runs one operation; an output that is not wanted may be left out.
pub(super) fn dispatch<B: Backend>(
    backend: &B,
    op: &Op,
    operands: Vec<Arg<B::Tensor>>,
    scalars: &[Scalar],
    wanted: &[bool],
    outputs: &[Type],
) -> Result<Vec<Option<B::Tensor>>> {
    match op {
        Op::Kernel(kernel) => {
            return Ok(backend.kernel(kernel, operands, scalars)?.into_iter().map(Some).collect());
        }
        Op::Epilogue(inner, kernel) => {
            let mut operands = operands;
            let others = operands.split_off(2.min(operands.len()));
            let contraction: Vec<B::Tensor> = operands.into_iter().map(|arg| arg.tensor).collect();
            let results = backend.epilogue(inner, &contraction, kernel, others, scalars)?;
            return Ok(results.into_iter().map(Some).collect());
        }
        Op::Concat(axis) => {
            let parts: Vec<B::Tensor> = operands.into_iter().map(|arg| arg.tensor).collect();
            return Ok(vec![Some(backend.concat(&parts, *axis)?)]);
        }
        Op::Softmax | Op::LogSoftmax | Op::Recurrent(_) | Op::RecurrentGrad(..) => {
            let inputs: Vec<B::Tensor> = operands.into_iter().map(|arg| arg.tensor).collect();
            return backend.composite(op, &inputs, wanted);
        }
        _ => {}
    }
    let received = operands.len();
    let mut operands = operands.into_iter();
    let mut next = || {
        operands
            .next()
            .ok_or_else(|| Error::state(op.name(), "more operands", format!("{received} operands")))
    };
    let first = match op {
        Op::Iota(ty, axis) => backend.iota(ty, *axis)?,
        Op::Unary(function) => backend.unary(*function, next()?)?,
        Op::Binary(function) => backend.binary(*function, next()?, next()?)?,
        Op::Compare(function) => backend.compare(*function, &next()?.tensor, &next()?.tensor)?,
        Op::Logical(function) => backend.logical(*function, &next()?.tensor, &next()?.tensor)?,
        Op::Select => backend.select(&next()?.tensor, next()?, next()?)?,
        Op::Cast(dtype) => backend.cast(&next()?.tensor, *dtype)?,
        Op::Reduce(function, axes) => backend.reduce(*function, &next()?.tensor, axes)?,
        Op::ArgReduce(function, axis) => backend.arg_reduce(*function, &next()?.tensor, *axis)?,
        Op::Cumulative(function, axis) => backend.cumulative(*function, &next()?.tensor, *axis)?,
        Op::TopK(k) => {
            let (values, positions) = backend.top_k(&next()?.tensor, *k)?;
            return Ok(vec![Some(values), Some(positions)]);
        }
        Op::MatMul { trans_a, trans_b } => {
            backend.matmul(&next()?.tensor, &next()?.tensor, *trans_a, *trans_b)?
        }
        Op::Conv(spec) => backend.conv(spec, &next()?.tensor, &next()?.tensor)?,
        Op::ConvGradInput(spec, size) => {
            backend.conv_grad_input(spec, size, &next()?.tensor, &next()?.tensor)?
        }
        Op::ConvGradKernel(spec, size) => {
            backend.conv_grad_kernel(spec, size, &next()?.tensor, &next()?.tensor)?
        }
        Op::MaxPool(spec) => {
            let positions = wanted.get(1).copied().unwrap_or(false);
            let (maxima, positions) = backend.max_pool(spec, &next()?.tensor, positions)?;
            return Ok(vec![Some(maxima), positions]);
        }
        Op::MaxPoolGrad(spec, size) => backend.max_pool_grad(spec, size, &next()?.tensor, &next()?.tensor)?,
        Op::AvgPool(spec) => backend.avg_pool(spec, &next()?.tensor)?,
        Op::AvgPoolGrad(spec, size) => backend.avg_pool_grad(spec, size, &next()?.tensor)?,
        Op::Gather(axis) => backend.gather(&next()?.tensor, &next()?.tensor, *axis)?,
        Op::ScatterAdd(size) => backend.scatter_add(*size, &next()?.tensor, &next()?.tensor)?,
        Op::Reshape(shape) => backend.reshape(&next()?.tensor, shape)?,
        Op::Permute(perm) => backend.permute(&next()?.tensor, perm)?,
        Op::Broadcast(shape) => backend.broadcast(&next()?.tensor, shape)?,
        Op::Slice(spec) => backend.slice(&next()?.tensor, spec)?,
        Op::SliceUpdate(spec) => backend.slice_update(next()?, &next()?.tensor, spec)?,
        Op::Pad(pads) => backend.pad(&next()?.tensor, pads)?,
        Op::Reverse(axes) => backend.reverse(&next()?.tensor, axes)?,
        Op::StopGradient | Op::CustomVjp(_) => next()?.tensor,
        Op::Input(_)
        | Op::Variable(_)
        | Op::Constant(_)
        | Op::Random { .. }
        | Op::Scan(_)
        | Op::Host(_)
        | Op::Kernel(_)
        | Op::Epilogue(..)
        | Op::Concat(_)
        | Op::Softmax
        | Op::LogSoftmax
        | Op::Recurrent(_)
        | Op::RecurrentGrad(..) => {
            let result = outputs.first().map(ToString::to_string).unwrap_or_default();
            return Err(Error::state(
                "engine",
                "an operation with a kernel",
                format!("{} of {result}", op.name()),
            ));
        }
    };
    Ok(vec![Some(first)])
}
