//! Vector-Jacobian products of elementwise functions.

use crate::error::Result;
use crate::graph::{Binary, Compare, Graph, Op, Unary, Value};

pub(super) fn unary(g: &mut Graph, function: Unary, x: Value, y: Value, dy: Value) -> Result<Option<Value>> {
    use Binary::{Add, Div, Mul, Sub};
    let derivative = match function {
        Unary::Neg => return g.unary(Unary::Neg, dy).map(Some),
        Unary::Abs => g.unary(Unary::Sign, x)?,
        // As in TensorFlow, zeros there and nothing at all of the others.
        Unary::Sign => return g.full_like(x, 0.0).map(Some),
        Unary::Floor | Unary::Ceil | Unary::Round | Unary::IsNan | Unary::Not => {
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
pub(super) fn binary(
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
