//! What composites and windowed operations are made of: for backends without a kernel, and as the kernels' oracle.

mod along;
mod conv;
mod elementwise;
mod pool;

use super::{Graph, Op, Reduce, Type, Value, infer};
use crate::error::Result;

/// Writes the operation in terms of simpler ones; `None` if it is a primitive.
pub fn decompose(graph: &mut Graph, op: &Op, inputs: &[Value]) -> Result<Option<Vec<Value>>> {
    let &[x, ..] = inputs else { return Ok(None) };
    if let Some(nothing) = pooled_nothing(graph, op, inputs)? {
        return Ok(Some(nothing));
    }
    Ok(Some(match (op, inputs) {
        (Op::Softmax, _) => vec![along::softmax(graph, x)?],
        (Op::LogSoftmax, _) => vec![along::log_softmax(graph, x)?],
        (Op::Reduce(Reduce::Prod, axes), _) => vec![along::product(graph, x, axes)?],
        (&Op::Cumulative(op, axis), _) => vec![along::cumulative(graph, op, x, axis)?],
        (Op::Conv(spec), &[x, kernel]) => vec![conv::forward(graph, spec, x, kernel)?],
        (Op::ConvGradInput(spec, size), &[grad, kernel]) => {
            vec![conv::grad_input(graph, spec, size, grad, kernel)?]
        }
        (Op::ConvGradKernel(spec, window), &[x, grad]) => {
            vec![conv::grad_kernel(graph, spec, window, x, grad)?]
        }
        (Op::MaxPool(spec), _) => pool::max_pool(graph, spec, x)?,
        (Op::MaxPoolGrad(spec, size), &[grad, positions]) => {
            vec![pool::max_pool_grad(graph, spec, size, grad, positions)?]
        }
        (Op::AvgPool(spec), _) => vec![pool::avg_pool(graph, spec, x)?],
        (Op::AvgPoolGrad(spec, size), _) => vec![pool::avg_pool_grad(graph, spec, size, x)?],
        (Op::Recurrent(spec), _) => super::recurrent::decompose(graph, *spec, inputs)?,
        (Op::RecurrentGrad(spec, sequence), _) => {
            super::recurrent::decompose_gradient(graph, *spec, *sequence, inputs)?
        }
        (Op::Unary(function), _) => return elementwise::unary(graph, *function, x),
        _ => return Ok(None),
    }))
}

/// The results of a pooling that has none: strides over nothing would end before they begin.
fn pooled_nothing(graph: &mut Graph, op: &Op, inputs: &[Value]) -> Result<Option<Vec<Value>>> {
    if !matches!(op, Op::MaxPool(_) | Op::MaxPoolGrad(..) | Op::AvgPool(_) | Op::AvgPoolGrad(..)) {
        return Ok(None);
    }
    let types: Vec<&Type> = inputs.iter().map(|&input| graph.ty(input)).collect();
    let results = infer(op, &types)?;
    let nothing = results.iter().all(Type::is_empty);
    nothing.then(|| results.iter().map(|ty| graph.full(0.0, ty)).collect()).transpose()
}
