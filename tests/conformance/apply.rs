//! From a computation to the backend's methods.

use crate::Computation;
use keras_core::backend::{Arg, Backend, Scalar, unsupported};
use keras_core::graph::{Graph, Op};
use keras_core::random::Stream;
use keras_core::{Error, Result};

/// Runs a computation; all outputs of an operation are wanted.
pub(crate) fn apply<B: Backend>(
    backend: &B,
    computation: &Computation,
    inputs: Vec<Arg<B::Tensor>>,
    scalars: &[Scalar],
) -> Result<Vec<B::Tensor>> {
    match computation {
        Computation::Op(op) => apply_op(backend, op, inputs, scalars),
        Computation::Full(ty, value) => Ok(vec![backend.full(ty, *value)?]),
        Computation::Random(ty, distribution) => {
            Ok(vec![backend.random(ty, *distribution, &Stream::new(1, 2, 3))?])
        }
        Computation::Transfer => {
            let [input] = inputs.as_slice() else {
                return Err(Error::shape("transfer", "one operand", "others"));
            };
            Ok(vec![backend.copy(&input.tensor)?, input.tensor.clone()])
        }
    }
}

fn apply_op<B: Backend>(
    backend: &B,
    op: &Op,
    mut inputs: Vec<Arg<B::Tensor>>,
    scalars: &[Scalar],
) -> Result<Vec<B::Tensor>> {
    let tensors =
        |inputs: Vec<Arg<B::Tensor>>| -> Vec<B::Tensor> { inputs.into_iter().map(|x| x.tensor).collect() };
    match op {
        Op::Kernel(kernel) => return backend.kernel(kernel, inputs, scalars),
        Op::Epilogue(contraction, kernel) => {
            let others = inputs.split_off(2.min(inputs.len()));
            return backend.epilogue(contraction, &tensors(inputs), kernel, others, scalars);
        }
        Op::Concat(axis) => return Ok(vec![backend.concat(&tensors(inputs), *axis)?]),
        Op::Softmax | Op::LogSoftmax | Op::Recurrent(_) | Op::RecurrentGrad(..) => {
            let tensors = tensors(inputs);
            let mut graph = Graph::new();
            let feeds: Vec<_> = tensors.iter().map(|x| graph.input(backend.type_of(x))).collect();
            let first = graph.add(op.clone(), &feeds)?;
            let wanted = vec![true; graph.node(first).outputs.len()];
            let missing = || Error::state(op.name(), "every output that is wanted", "fewer");
            let results = backend.composite(op, &tensors, &wanted)?.into_iter();
            return results.map(|result| result.ok_or_else(missing)).collect();
        }
        _ => {}
    }
    let mut inputs = inputs.into_iter();
    let mut arg = || inputs.next().ok_or_else(|| Error::shape(op.name(), "one more operand", "none"));
    let result = match op {
        Op::Iota(ty, axis) => backend.iota(ty, *axis)?,
        Op::Unary(f) => backend.unary(*f, arg()?)?,
        Op::Binary(f) => backend.binary(*f, arg()?, arg()?)?,
        Op::Compare(f) => backend.compare(*f, &arg()?.tensor, &arg()?.tensor)?,
        Op::Logical(f) => backend.logical(*f, &arg()?.tensor, &arg()?.tensor)?,
        Op::Select => backend.select(&arg()?.tensor, arg()?, arg()?)?,
        Op::Cast(to) => backend.cast(&arg()?.tensor, *to)?,
        Op::Reduce(f, axes) => backend.reduce(*f, &arg()?.tensor, axes)?,
        Op::ArgReduce(f, axis) => backend.arg_reduce(*f, &arg()?.tensor, *axis)?,
        Op::Cumulative(f, axis) => backend.cumulative(*f, &arg()?.tensor, *axis)?,
        Op::TopK(k) => {
            let (values, positions) = backend.top_k(&arg()?.tensor, *k)?;
            return Ok(vec![values, positions]);
        }
        Op::MatMul { trans_a, trans_b } => {
            backend.matmul(&arg()?.tensor, &arg()?.tensor, *trans_a, *trans_b)?
        }
        Op::Conv(spec) => backend.conv(spec, &arg()?.tensor, &arg()?.tensor)?,
        Op::ConvGradInput(spec, size) => {
            backend.conv_grad_input(spec, size, &arg()?.tensor, &arg()?.tensor)?
        }
        Op::ConvGradKernel(spec, size) => {
            backend.conv_grad_kernel(spec, size, &arg()?.tensor, &arg()?.tensor)?
        }
        Op::MaxPool(spec) => {
            let x = arg()?.tensor;
            // Maxima alone must be those that come with positions: both are compared.
            let (alone, none) = backend.max_pool(spec, &x, false)?;
            let (maxima, positions) = backend.max_pool(spec, &x, true)?;
            if none.is_some() {
                return Err(Error::backend("max_pool", "no positions where none are wanted", "positions"));
            }
            let missing = || Error::backend("max_pool", "positions where they are wanted", "none");
            return Ok(vec![maxima, positions.ok_or_else(missing)?, alone]);
        }
        Op::MaxPoolGrad(spec, size) => backend.max_pool_grad(spec, size, &arg()?.tensor, &arg()?.tensor)?,
        Op::AvgPool(spec) => backend.avg_pool(spec, &arg()?.tensor)?,
        Op::AvgPoolGrad(spec, size) => backend.avg_pool_grad(spec, size, &arg()?.tensor)?,
        Op::Gather(axis) => backend.gather(&arg()?.tensor, &arg()?.tensor, *axis)?,
        Op::ScatterAdd(size) => backend.scatter_add(*size, &arg()?.tensor, &arg()?.tensor)?,
        Op::Reshape(shape) => backend.reshape(&arg()?.tensor, shape)?,
        Op::Permute(perm) => backend.permute(&arg()?.tensor, perm)?,
        Op::Broadcast(shape) => backend.broadcast(&arg()?.tensor, shape)?,
        Op::Slice(spec) => backend.slice(&arg()?.tensor, spec)?,
        Op::SliceUpdate(spec) => backend.slice_update(arg()?, &arg()?.tensor, spec)?,
        Op::Pad(pads) => backend.pad(&arg()?.tensor, pads)?,
        Op::Reverse(axes) => backend.reverse(&arg()?.tensor, axes)?,
        _ => return Err(unsupported(backend.name(), op.name())),
    };
    Ok(vec![result])
}
