//! What every elementwise operation computes, one scalar at a time. The engine evaluates host scalars with these
//! functions and the optimiser folds constants with them, so there is one arithmetic in the crate.

use crate::array::{DType, Element};
use crate::backend::Scalar;
use crate::error::{Error, Result};
use crate::graph::{Binary, Compare, Logical, Unary};

/// A function of a float, in double precision. Truth values (`is_nan`, `not`) are 1 and 0.
pub fn unary_f64(op: Unary, x: f64) -> f64 {
    match op {
        Unary::Neg => -x,
        Unary::Abs => x.abs(),
        Unary::Sign if x > 0.0 => 1.0,
        Unary::Sign if x < 0.0 => -1.0,
        Unary::Sign => x,
        Unary::Exp => x.exp(),
        Unary::Expm1 => x.exp_m1(),
        Unary::Log => x.ln(),
        Unary::Log1p => x.ln_1p(),
        Unary::Sqrt => x.sqrt(),
        Unary::Rsqrt => 1.0 / x.sqrt(),
        Unary::Square => x * x,
        Unary::Recip => 1.0 / x,
        Unary::Sin => x.sin(),
        Unary::Cos => x.cos(),
        Unary::Tan => x.tan(),
        Unary::Asin => x.asin(),
        Unary::Acos => x.acos(),
        Unary::Atan => x.atan(),
        Unary::Sinh => x.sinh(),
        Unary::Cosh => x.cosh(),
        Unary::Tanh => x.tanh(),
        // 1 / (1 + e⁻ˣ) overflows in the denominator where the result is still a subnormal number.
        Unary::Sigmoid if x < 0.0 => x.exp() / (1.0 + x.exp()),
        Unary::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        Unary::Softplus => larger(x, 0.0) + (-x.abs()).exp().ln_1p(),
        Unary::Relu => larger(x, 0.0),
        Unary::Erf => libm::erf(x),
        Unary::Floor => x.floor(),
        Unary::Ceil => x.ceil(),
        Unary::Round => x.round_ties_even(),
        Unary::IsNan => f64::from(u8::from(x.is_nan())),
        Unary::Not => f64::from(u8::from(x == 0.0)),
    }
}

/// A function of two floats, in double precision.
pub fn binary_f64(op: Binary, a: f64, b: f64) -> f64 {
    match op {
        Binary::Add => a + b,
        Binary::Sub => a - b,
        Binary::Mul => a * b,
        Binary::Div => a / b,
        Binary::Mod => modulo(a, b),
        Binary::Pow => a.powf(b),
        Binary::Max => larger(a, b),
        Binary::Min => -larger(-a, -b),
        Binary::Atan2 => a.atan2(b),
    }
}

/// The larger of two floats; NaN if either is.
pub(super) fn larger(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() {
        f64::NAN
    } else if a >= b {
        a
    } else {
        b
    }
}

fn modulo(a: f64, b: f64) -> f64 {
    let rest = a % b;
    if rest == 0.0 {
        0.0_f64.copysign(b)
    } else if (rest < 0.0) != (b < 0.0) {
        rest + b
    } else {
        rest
    }
}

/// A function of an integer, wrapping at 64 bits; the caller wraps it to the element type. None if the operation
/// takes no integers.
pub(super) fn unary_i64(op: Unary, x: i64) -> Option<i64> {
    Some(match op {
        Unary::Neg => x.wrapping_neg(),
        Unary::Abs => x.wrapping_abs(),
        Unary::Sign => x.signum(),
        Unary::Square => x.wrapping_mul(x),
        Unary::Relu => x.max(0),
        _ => return None,
    })
}

/// A function of two integers, wrapping at 64 bits; the caller wraps it to the element type. None if the operation
/// takes no integers.
pub(super) fn binary_i64(op: Binary, a: i64, b: i64) -> Option<i64> {
    Some(match op {
        Binary::Add => a.wrapping_add(b),
        Binary::Sub => a.wrapping_sub(b),
        Binary::Mul => a.wrapping_mul(b),
        Binary::Div | Binary::Mod if b == 0 => 0,
        Binary::Div => a.wrapping_div(b),
        Binary::Mod => {
            let rest = a.wrapping_rem(b);
            if rest != 0 && (rest < 0) != (b < 0) { rest + b } else { rest }
        }
        Binary::Pow => power(a, b),
        Binary::Max => a.max(b),
        Binary::Min => a.min(b),
        Binary::Atan2 => return None,
    })
}

/// `baseᵉ`, wrapping; for a negative exponent the quotient 1 / base⁻ᵉ as `Div` gives it.
fn power(base: i64, exponent: i64) -> i64 {
    let mut result: i64 = 1;
    let (mut square, mut rest) = (base, exponent.unsigned_abs());
    if exponent < 0 {
        match base {
            1 | -1 => {}
            _ => return 0,
        }
    }
    while rest > 0 {
        if rest & 1 == 1 {
            result = result.wrapping_mul(square);
        }
        square = square.wrapping_mul(square);
        rest >>= 1;
    }
    result
}

/// The outcome of a comparison as IEEE 754 has it: with a NaN only `ne` holds.
pub fn compare_values<T: PartialOrd>(op: Compare, a: &T, b: &T) -> bool {
    match op {
        Compare::Eq => a == b,
        Compare::Ne => a != b,
        Compare::Lt => a < b,
        Compare::Le => a <= b,
        Compare::Gt => a > b,
        Compare::Ge => a >= b,
    }
}

/// A function of two truth values.
pub const fn logical(op: Logical, a: bool, b: bool) -> bool {
    match op {
        Logical::And => a && b,
        Logical::Or => a || b,
        Logical::Xor => a ^ b,
    }
}

/// The element type of the result of a function of one operand; an error if it does not take that type.
pub fn unary_dtype(op: Unary, dtype: DType) -> Result<DType> {
    match op {
        Unary::Not if dtype == DType::Bool => Ok(DType::Bool),
        Unary::Not => Err(Error::dtype(op.name(), "bool", dtype.name())),
        Unary::IsNan if dtype.is_float() => Ok(DType::Bool),
        _ if dtype.is_float() => Ok(dtype),
        _ if unary_i64(op, 0).is_some() && dtype != DType::Bool => Ok(dtype),
        _ if unary_i64(op, 0).is_some() => Err(Error::dtype(op.name(), "a number type", dtype.name())),
        _ => Err(Error::dtype(op.name(), "float32 or float64", dtype.name())),
    }
}

/// An error if a function of two operands does not take that element type.
pub fn binary_dtype(op: Binary, dtype: DType) -> Result<DType> {
    match dtype {
        DType::F32 | DType::F64 => Ok(dtype),
        DType::Bool => {
            Err(Error::dtype(op.name(), "a number type", dtype.name()).advice("cast truth values first"))
        }
        _ if binary_i64(op, 1, 1).is_none() => {
            Err(Error::dtype(op.name(), "float32 or float64", dtype.name()))
        }
        _ => Ok(dtype),
    }
}

/// The value converted to an element type as [`Array::cast`](crate::Array::cast) converts it: floats are rounded
/// to the type, or truncated towards zero and saturated; truth values are "not zero".
pub fn cast(x: Scalar, to: DType) -> Scalar {
    fn of<T: Element>(x: Scalar) -> T {
        match x {
            Scalar::Float(x) => T::from_f64(x),
            Scalar::Int(x) => T::from_i64(x),
            Scalar::Bool(x) => T::from_i64(x.into()),
        }
    }
    match to {
        DType::F32 => Scalar::Float(of::<f32>(x).into()),
        DType::F64 => Scalar::Float(of(x)),
        DType::I32 => Scalar::Int(of::<i32>(x).into()),
        DType::I64 => Scalar::Int(of(x)),
        DType::U8 => Scalar::Int(of::<u8>(x).into()),
        DType::Bool => Scalar::Bool(of(x)),
    }
}

/// An integer in the range of an integer type, wrapped.
fn wrap(x: i64, dtype: DType) -> Scalar {
    Scalar::Int(match dtype {
        DType::I32 => (x as i32).into(),
        DType::U8 => (x as u8).into(),
        _ => x,
    })
}

/// A function of one scalar of that element type.
///
/// ```
/// use keras_core::backend::{Scalar, reference};
/// use keras_core::{DType, graph::Unary};
/// assert_eq!(reference::unary(Unary::Round, Scalar::Float(2.5), DType::F64)?, Scalar::Float(2.0));
/// assert!(reference::unary(Unary::Exp, Scalar::Int(2), DType::I32).is_err());
/// # Ok::<(), keras_core::Error>(())
/// ```
pub fn unary(op: Unary, x: Scalar, dtype: DType) -> Result<Scalar> {
    let result = unary_dtype(op, dtype)?;
    match (op, cast(x, dtype)) {
        (Unary::IsNan, x) => Ok(Scalar::Bool(x.to_f64().is_nan())),
        (Unary::Not, x) => Ok(Scalar::Bool(x != Scalar::Bool(true))),
        (_, Scalar::Int(x)) => unary_i64(op, x)
            .map(|y| wrap(y, result))
            .ok_or_else(|| Error::dtype(op.name(), "float32 or float64", dtype.name())),
        (_, x) => Ok(cast(Scalar::Float(unary_f64(op, x.to_f64())), result)),
    }
}

/// A function of two scalars of that element type.
pub fn binary(op: Binary, a: Scalar, b: Scalar, dtype: DType) -> Result<Scalar> {
    let result = binary_dtype(op, dtype)?;
    match (cast(a, dtype), cast(b, dtype)) {
        (Scalar::Int(a), Scalar::Int(b)) => binary_i64(op, a, b)
            .map(|y| wrap(y, result))
            .ok_or_else(|| Error::dtype(op.name(), "float32 or float64", dtype.name())),
        (a, b) => Ok(cast(Scalar::Float(binary_f64(op, a.to_f64(), b.to_f64())), result)),
    }
}

/// A comparison of two scalars of that element type.
pub fn compare(op: Compare, a: Scalar, b: Scalar, dtype: DType) -> bool {
    match (cast(a, dtype), cast(b, dtype)) {
        (Scalar::Float(a), Scalar::Float(b)) => compare_values(op, &a, &b),
        (a, b) => compare_values(op, &a.to_i64(), &b.to_i64()),
    }
}
