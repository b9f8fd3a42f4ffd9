//! Functions of one operand in terms of others.

use crate::error::Result;
use crate::graph::{Binary, Compare, Graph, Logical, Op, Unary, Value};

pub(super) fn unary(g: &mut Graph, function: Unary, x: Value) -> Result<Option<Vec<Value>>> {
    let value = match function {
        Unary::Square => g.binary(Binary::Mul, x, x)?,
        Unary::Recip => {
            let one = g.full_like(x, 1.0)?;
            g.binary(Binary::Div, one, x)?
        }
        Unary::Rsqrt => {
            let root = g.unary(Unary::Sqrt, x)?;
            g.unary(Unary::Recip, root)?
        }
        Unary::Relu => {
            let zero = g.full_like(x, 0.0)?;
            g.binary(Binary::Max, x, zero)?
        }
        Unary::IsNan => g.compare(Compare::Ne, x, x)?,
        Unary::Sigmoid => {
            // With e = exp(−|x|), which cannot overflow: 1/(1 + e) for x ≥ 0 and e/(1 + e) below, where 1/(1 + e⁻ˣ)
            // would overflow and (1 + tanh(x/2))/2 cancel.
            let size = g.unary(Unary::Abs, x)?;
            let negative = g.unary(Unary::Neg, size)?;
            let power = g.unary(Unary::Exp, negative)?;
            let (zero, one) = (g.full_like(x, 0.0)?, g.full_like(x, 1.0)?);
            let positive = g.compare(Compare::Ge, x, zero)?;
            let above = g.add(Op::Select, &[positive, one, power])?;
            let total = g.binary(Binary::Add, one, power)?;
            g.binary(Binary::Div, above, total)?
        }
        Unary::Softplus => {
            let positive = g.unary(Unary::Relu, x)?;
            let size = g.unary(Unary::Abs, x)?;
            let negative = g.unary(Unary::Neg, size)?;
            let power = g.unary(Unary::Exp, negative)?;
            let log = g.unary(Unary::Log1p, power)?;
            g.binary(Binary::Add, positive, log)?
        }
        Unary::Log1p => {
            // ln(u)·x/(u − 1) with u = 1 + x, and x itself where u rounds to 1 (Kahan).
            let u = g.binary_scalar(Binary::Add, x, 1.0)?;
            let rest = g.binary_scalar(Binary::Sub, u, 1.0)?;
            let zero = g.full_like(x, 0.0)?;
            let tiny = g.compare(Compare::Eq, rest, zero)?;
            let infinite = g.full_like(x, f64::INFINITY)?;
            let huge = g.compare(Compare::Eq, u, infinite)?;
            let log = g.unary(Unary::Log, u)?;
            let quotient = g.binary(Binary::Div, x, rest)?;
            let exact = g.binary(Binary::Mul, log, quotient)?;
            let exact = g.add(Op::Select, &[huge, log, exact])?;
            g.add(Op::Select, &[tiny, x, exact])?
        }
        Unary::Expm1 => {
            // tanh(x/2)·(eˣ + 1), and eˣ − 1 where that is as exact.
            let power = g.unary(Unary::Exp, x)?;
            let minus = g.binary_scalar(Binary::Sub, power, 1.0)?;
            let half = g.binary_scalar(Binary::Mul, x, 0.5)?;
            let tanh = g.unary(Unary::Tanh, half)?;
            let plus = g.binary_scalar(Binary::Add, power, 1.0)?;
            let small = g.binary(Binary::Mul, tanh, plus)?;
            let size = g.unary(Unary::Abs, x)?;
            let one = g.full_like(x, 1.0)?;
            let near = g.compare(Compare::Lt, size, one)?;
            g.add(Op::Select, &[near, small, minus])?
        }
        Unary::Sign => {
            let (zero, one) = (g.full_like(x, 0.0)?, g.full_like(x, 1.0)?);
            let minus = g.full_like(x, -1.0)?;
            let (above, below) = (g.compare(Compare::Gt, x, zero)?, g.compare(Compare::Lt, x, zero)?);
            let rest = g.add(Op::Select, &[below, minus, x])?;
            g.add(Op::Select, &[above, one, rest])?
        }
        Unary::Round => {
            let down = g.unary(Unary::Floor, x)?;
            let rest = g.binary(Binary::Sub, x, down)?;
            let half = g.full_like(x, 0.5)?;
            let halved = g.binary(Binary::Mul, down, half)?;
            let whole = g.unary(Unary::Floor, halved)?;
            let odd = g.compare(Compare::Ne, halved, whole)?;
            let (more, tie) = (g.compare(Compare::Gt, rest, half)?, g.compare(Compare::Eq, rest, half)?);
            let to_even = g.add(Op::Logical(Logical::And), &[tie, odd])?;
            let rises = g.add(Op::Logical(Logical::Or), &[more, to_even])?;
            let up = g.binary_scalar(Binary::Add, down, 1.0)?;
            let result = g.add(Op::Select, &[rises, up, down])?;
            // What is rounded up to zero keeps its sign.
            let (zero, signed) = (g.full_like(x, 0.0)?, g.binary_scalar(Binary::Mul, x, 0.0)?);
            let nothing = g.compare(Compare::Eq, result, zero)?;
            g.add(Op::Select, &[nothing, signed, result])?
        }
        Unary::Tan => {
            let (sin, cos) = (g.unary(Unary::Sin, x)?, g.unary(Unary::Cos, x)?);
            g.binary(Binary::Div, sin, cos)?
        }
        Unary::Cosh => {
            let (grown, shrunk) = half_powers(g, x)?;
            g.binary(Binary::Add, grown, shrunk)?
        }
        Unary::Sinh => {
            // Below 1 the two powers would cancel: there (p + p/(p + 1))/2 with p = e^|x| − 1.
            let size = g.unary(Unary::Abs, x)?;
            let power = g.unary(Unary::Expm1, size)?;
            let next = g.binary_scalar(Binary::Add, power, 1.0)?;
            let quotient = g.binary(Binary::Div, power, next)?;
            let total = g.binary(Binary::Add, power, quotient)?;
            let near = g.binary_scalar(Binary::Mul, total, 0.5)?;
            let (grown, shrunk) = half_powers(g, x)?;
            let far = g.binary(Binary::Sub, grown, shrunk)?;
            let (zero, one) = (g.full_like(x, 0.0)?, g.full_like(x, 1.0)?);
            let small = g.compare(Compare::Lt, size, one)?;
            let result = g.add(Op::Select, &[small, near, far])?;
            let opposite = g.unary(Unary::Neg, result)?;
            let (negative, nothing) = (g.compare(Compare::Lt, x, zero)?, g.compare(Compare::Eq, x, zero)?);
            let result = g.add(Op::Select, &[negative, opposite, result])?;
            g.add(Op::Select, &[nothing, x, result])?
        }
        _ => return Ok(None),
    };
    Ok(Some(vec![value]))
}

/// e^|x|/2 and e^−|x|/2, the first as a product of two square roots: it overflows where the result does.
fn half_powers(g: &mut Graph, x: Value) -> Result<(Value, Value)> {
    let size = g.unary(Unary::Abs, x)?;
    let half = g.binary_scalar(Binary::Mul, size, 0.5)?;
    let root = g.unary(Unary::Exp, half)?;
    let part = g.binary_scalar(Binary::Mul, root, 0.5)?;
    let grown = g.binary(Binary::Mul, root, part)?;
    let half = g.full_like(x, 0.5)?;
    let shrunk = g.binary(Binary::Div, half, root)?;
    Ok((grown, g.binary(Binary::Div, shrunk, root)?))
}
