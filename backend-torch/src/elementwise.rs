//! Elementwise functions. Operands have one shape, or shapes of one rank that broadcast, or none.
//!
//! In place where the operand may be overwritten: functions of one operand but `sign`, `softplus` and those with truth values;
//! `add`, `sub`, `mul`, and `div` of floats. All others have memory of their own: they are rare, or libtorch has no form of them
//! in place (`max`, `min`, `select`).

use crate::tensor::{Operand, Raw, is_float};
use keras_core::graph::{Binary, Compare, Logical, Unary};
use tch::{Kind, Tensor};

macro_rules! one {
    ($x:ident, $new:ident, $in_place:ident) => {
        if $x.free { $x.tensor.$in_place() } else { $x.tensor.$new() }
    };
}

macro_rules! two {
    ($a:ident, $b:ident, $new:ident, $in_place:ident) => {
        if $a.free && $a.tensor.size() == common(&$a.tensor, &$b.tensor) {
            $a.tensor.$in_place(&$b.tensor)
        } else {
            $a.tensor.$new(&$b.tensor)
        }
    };
}

/// The shape of a result.
fn common(a: &Tensor, b: &Tensor) -> Vec<i64> {
    let (a, b) = (a.size(), b.size());
    match (a.is_empty(), b.is_empty()) {
        (true, _) => b,
        (_, true) => a,
        _ => a.iter().zip(&b).map(|(&a, &b)| if a == 1 { b } else { a }).collect(),
    }
}

pub(crate) fn unary(function: Unary, mut x: Operand) -> Raw {
    match function {
        Unary::Neg => one!(x, f_neg, f_neg_),
        Unary::Abs => one!(x, f_abs, f_abs_),
        Unary::Exp => one!(x, f_exp, f_exp_),
        Unary::Expm1 => one!(x, f_expm1, f_expm1_),
        Unary::Log => one!(x, f_log, f_log_),
        Unary::Log1p => one!(x, f_log1p, f_log1p_),
        Unary::Sqrt => one!(x, f_sqrt, f_sqrt_),
        Unary::Rsqrt => one!(x, f_rsqrt, f_rsqrt_),
        Unary::Square => one!(x, f_square, f_square_),
        Unary::Recip => one!(x, f_reciprocal, f_reciprocal_),
        Unary::Sin => one!(x, f_sin, f_sin_),
        Unary::Cos => one!(x, f_cos, f_cos_),
        Unary::Tan => one!(x, f_tan, f_tan_),
        Unary::Asin => one!(x, f_asin, f_asin_),
        Unary::Acos => one!(x, f_acos, f_acos_),
        Unary::Atan => one!(x, f_atan, f_atan_),
        Unary::Sinh => one!(x, f_sinh, f_sinh_),
        Unary::Cosh => one!(x, f_cosh, f_cosh_),
        Unary::Tanh => one!(x, f_tanh, f_tanh_),
        Unary::Sigmoid => one!(x, f_sigmoid, f_sigmoid_),
        Unary::Relu => one!(x, f_relu, f_relu_),
        Unary::Erf => one!(x, f_erf, f_erf_),
        Unary::Floor => one!(x, f_floor, f_floor_),
        Unary::Ceil => one!(x, f_ceil, f_ceil_),
        Unary::Round => one!(x, f_round, f_round_),
        Unary::Sign => {
            let sign = x.tensor.f_sign()?;
            // libtorch has 0 for NaN and −0.
            if is_float(&sign) { x.tensor.f_where_self(&sign.f_eq(0.0)?, &sign) } else { Ok(sign) }
        }
        Unary::Softplus => {
            let zero = Tensor::f_zeros([] as [i64; 0], (x.tensor.kind(), x.tensor.device()))?;
            x.tensor.f_logaddexp(&zero)
        }
        Unary::IsNan => x.tensor.f_isnan(),
        Unary::Not => x.tensor.f_logical_not(),
    }
}

pub(crate) fn binary(function: Binary, mut a: Operand, mut b: Operand) -> Raw {
    let commutes = matches!(function, Binary::Add | Binary::Mul);
    if commutes && !a.free && b.free {
        std::mem::swap(&mut a, &mut b);
    }
    match function {
        Binary::Add => two!(a, b, f_add, f_add_),
        Binary::Sub => two!(a, b, f_sub, f_sub_),
        Binary::Mul => two!(a, b, f_mul, f_mul_),
        Binary::Div if is_float(&a.tensor) => two!(a, b, f_div, f_div_),
        Binary::Mod if is_float(&a.tensor) => {
            let rest = a.tensor.f_remainder_tensor(&b.tensor)?;
            // libtorch's zero has the sign of the dividend.
            rest.f_copysign(&b.tensor)?.f_where_self(&rest.f_eq(0.0)?, &rest)
        }
        Binary::Div => divided(&a.tensor, &b.tensor, true),
        Binary::Mod => divided(&a.tensor, &b.tensor, false),
        Binary::Pow => a.tensor.f_pow(&b.tensor),
        Binary::Max => a.tensor.f_maximum(&b.tensor),
        Binary::Min => a.tensor.f_minimum(&b.tensor),
        Binary::Atan2 => a.tensor.f_atan2(&b.tensor),
    }
}

/// Quotients or remainders of integers. The processor traps on x/0, which is 0 here, and on MIN/−1: neither may reach it.
fn divided(a: &Tensor, b: &Tensor, quotient: bool) -> Raw {
    let (zero, minus) = (b.f_eq(0)?, b.f_eq(-1)?);
    let safe = b.f_masked_fill(&zero.f_logical_or(&minus)?, 1)?;
    let result = if quotient { a.f_div_tensor_mode(&safe, "trunc")? } else { a.f_remainder_tensor(&safe)? };
    if b.kind() == Kind::Uint8 {
        return result.f_masked_fill(&zero, 0);
    }
    let by_minus_one = if quotient { a.f_neg()? } else { a.f_zeros_like()? };
    by_minus_one.f_where_self(&minus, &result)?.f_masked_fill(&zero, 0)
}

pub(crate) fn compare(function: Compare, a: &Tensor, b: &Tensor) -> Raw {
    match function {
        Compare::Eq => a.f_eq_tensor(b),
        Compare::Ne => a.f_ne_tensor(b),
        Compare::Lt => a.f_lt_tensor(b),
        Compare::Le => a.f_le_tensor(b),
        Compare::Gt => a.f_gt_tensor(b),
        Compare::Ge => a.f_ge_tensor(b),
    }
}

pub(crate) fn logical(function: Logical, a: &Tensor, b: &Tensor) -> Raw {
    match function {
        Logical::And => a.f_logical_and(b),
        Logical::Or => a.f_logical_or(b),
        Logical::Xor => a.f_logical_xor(b),
    }
}
