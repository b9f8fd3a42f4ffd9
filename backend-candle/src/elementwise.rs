//! Elementwise functions, on operands of one shape (which may be broadcast views).

use crate::tensor::{Raw, stored};
use candle_core::Tensor;
use keras_core::DType;
use keras_core::backend::unsupported;
use keras_core::graph::{Binary, Compare, Logical, Unary};

fn lacking(what: &str) -> candle_core::Error {
    candle_core::Error::Msg(unsupported("candle", what).to_string())
}

pub(crate) fn unary(function: Unary, x: &Tensor) -> Raw {
    match function {
        Unary::Neg => x.neg(),
        Unary::Abs => x.abs(),
        Unary::Exp => x.exp(),
        Unary::Log => x.log(),
        Unary::Sqrt => x.sqrt(),
        Unary::Square => x.sqr(),
        Unary::Recip => x.recip(),
        Unary::Sin => x.sin(),
        Unary::Cos => x.cos(),
        Unary::Tanh => x.tanh(),
        Unary::Erf => x.erf(),
        Unary::Floor => x.floor(),
        Unary::Ceil => x.ceil(),
        // candle's own takes NaN for 0.
        Unary::Relu => {
            let zero = zero_like(x)?;
            x.lt(&zero)?.where_cond(&zero, x)
        }
        Unary::IsNan => x.ne(x),
        Unary::Not => x.eq(&zero_like(x)?),
        other => Err(lacking(other.name())),
    }
}

/// One zero, seen as a tensor of the shape of `x`.
fn zero_like(x: &Tensor) -> Raw {
    Tensor::zeros((), x.dtype(), x.device())?.broadcast_as(x.shape())
}

pub(crate) fn binary(function: Binary, a: &Tensor, b: &Tensor) -> Raw {
    match function {
        Binary::Add => a.add(b),
        Binary::Sub => a.sub(b),
        Binary::Mul => a.mul(b),
        Binary::Div => a.div(b),
        Binary::Max => nan_of_second(b, a.maximum(b)?),
        Binary::Min => nan_of_second(b, a.minimum(b)?),
        other => Err(lacking(other.name())),
    }
}

/// candle's comparisons pass on a NaN of the first operand, not of the second.
fn nan_of_second(b: &Tensor, result: Tensor) -> Raw {
    if b.dtype().is_float() { b.ne(b)?.where_cond(b, &result) } else { Ok(result) }
}

pub(crate) fn compare(function: Compare, a: &Tensor, b: &Tensor) -> Raw {
    match function {
        Compare::Eq => a.eq(b),
        Compare::Ne => a.ne(b),
        Compare::Lt => a.lt(b),
        Compare::Le => a.le(b),
        Compare::Gt => a.gt(b),
        Compare::Ge => a.ge(b),
    }
}

pub(crate) fn logical(function: Logical, a: &Tensor, b: &Tensor) -> Raw {
    match function {
        Logical::And => a.minimum(b),
        Logical::Or => a.maximum(b),
        Logical::Xor => a.ne(b),
    }
}

pub(crate) fn cast(x: &Tensor, from: DType, to: DType) -> Raw {
    if to == DType::Bool && from != DType::Bool { x.ne(&zero_like(x)?) } else { x.to_dtype(stored(to)) }
}
