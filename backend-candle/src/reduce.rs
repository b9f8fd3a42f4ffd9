//! Reductions and positions.

use crate::tensor::Raw;
use candle_core::{DType, Tensor};
use keras_core::backend::unsupported;
use keras_core::graph::{ArgReduce, Reduce};

pub(crate) fn reduce(op: Reduce, x: &Tensor, axes: &[usize]) -> Raw {
    if axes.is_empty() {
        return x.force_contiguous();
    }
    match op {
        Reduce::Sum => x.sum(axes),
        Reduce::Prod => Err(candle_core::Error::Msg(unsupported("candle", op.name()).to_string())),
        Reduce::Max | Reduce::Min => {
            let over = |x: &Tensor, max: bool| {
                axes.iter().rev().try_fold(x.clone(), |x, &axis| if max { x.max(axis) } else { x.min(axis) })
            };
            let extreme = over(x, op == Reduce::Max)?;
            if !x.dtype().is_float() {
                return Ok(extreme);
            }
            // candle's comparisons pass NaN over.
            let nan = over(&x.ne(x)?, true)?;
            let missing = extreme.affine(0.0, f64::NAN)?;
            nan.where_cond(&missing, &extreme)
        }
    }
}

/// The first position of the extreme, or of the first NaN.
pub(crate) fn position(op: ArgReduce, x: &Tensor, axis: usize) -> Raw {
    let found = match op {
        ArgReduce::Max => x.argmax(axis)?,
        ArgReduce::Min => x.argmin(axis)?,
    };
    let found = if x.dtype().is_float() {
        let nan = x.ne(x)?;
        nan.max(axis)?.where_cond(&nan.argmax(axis)?, &found)?
    } else {
        found
    };
    found.to_dtype(DType::I64)
}
