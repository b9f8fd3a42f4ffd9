//! Elementwise functions.

use super::{broadcast_shape, broadcast_value, nth, number, op, op_in_trace};
use crate::array::DType;
use crate::graph::{Binary, Compare, Logical, Op, Unary};
use crate::tensor::Tensor;

macro_rules! unary {
    ($($(#[$doc:meta])* $name:ident = $function:ident),* $(,)?) => {
        $($(#[$doc])*
        #[track_caller]
        pub fn $name(x: &Tensor) -> Tensor {
            op(stringify!($name), &[x], |graph, values| graph.unary(Unary::$function, nth(values, 0)?))
        })*
    };
}

unary! {
    /// −x.
    neg = Neg,
    /// |x|.
    abs = Abs,
    /// −1, 0 or 1 with the sign of x.
    sign = Sign,
    /// eˣ.
    exp = Exp,
    /// eˣ − 1, exact near 0.
    expm1 = Expm1,
    /// ln x.
    log = Log,
    /// ln(1 + x), exact near 0.
    log1p = Log1p,
    /// 1/√x.
    rsqrt = Rsqrt,
    /// x².
    square = Square,
    /// sin x.
    sin = Sin,
    /// cos x.
    cos = Cos,
    /// tanh x.
    tanh = Tanh,
    /// 1/(1 + e⁻ˣ).
    sigmoid = Sigmoid,
    /// ln(1 + eˣ).
    softplus = Softplus,
    /// The Gauss error function.
    erf = Erf,
    /// Largest integer ≤ x.
    floor = Floor,
    /// Smallest integer ≥ x.
    ceil = Ceil,
    /// Nearest integer, half to even.
    round = Round,
    /// Whether x is NaN.
    is_nan = IsNan,
    /// Negation of a truth value.
    logical_not = Not,
}

/// √max(x, 0), as Keras has it: negative numbers give 0.
#[track_caller]
pub fn sqrt(x: &Tensor) -> Tensor {
    let x = maximum(x, &number(x, 0.0));
    op("sqrt", &[&x], |graph, values| graph.unary(Unary::Sqrt, nth(values, 0)?))
}

macro_rules! binary {
    ($($(#[$doc:meta])* $name:ident = $op:expr),* $(,)?) => {
        $($(#[$doc])*
        #[track_caller]
        pub fn $name(a: &Tensor, b: &Tensor) -> Tensor {
            op(stringify!($name), &[a, b], |graph, values| {
                let (a, b) = (nth(values, 0)?, nth(values, 1)?);
                let shape = broadcast_shape(graph.shape(a), graph.shape(b))?;
                let (a, b) = (broadcast_value(graph, a, &shape)?, broadcast_value(graph, b, &shape)?);
                graph.add($op, &[a, b])
            })
        })*
    };
}

binary! {
    /// a + b.
    add = Op::Binary(Binary::Add),
    /// a − b.
    sub = Op::Binary(Binary::Sub),
    /// a · b, elementwise.
    mul = Op::Binary(Binary::Mul),
    /// a / b.
    div = Op::Binary(Binary::Div),
    /// Python's `a % b`.
    modulo = Op::Binary(Binary::Mod),
    /// aᵇ.
    pow_tensor = Op::Binary(Binary::Pow),
    /// The larger of both; NaN if either is.
    maximum = Op::Binary(Binary::Max),
    /// The smaller of both; NaN if either is.
    minimum = Op::Binary(Binary::Min),
    /// a = b.
    equal = Op::Compare(Compare::Eq),
    /// a ≠ b.
    not_equal = Op::Compare(Compare::Ne),
    /// a > b.
    greater = Op::Compare(Compare::Gt),
    /// a ≥ b.
    greater_equal = Op::Compare(Compare::Ge),
    /// a < b.
    less = Op::Compare(Compare::Lt),
    /// a ≤ b.
    less_equal = Op::Compare(Compare::Le),
    /// a ∧ b.
    logical_and = Op::Logical(Logical::And),
    /// a ∨ b.
    logical_or = Op::Logical(Logical::Or),
}

/// xᵃ.
#[track_caller]
pub fn pow(x: &Tensor, a: f64) -> Tensor {
    if a == 2.0 { square(x) } else { pow_tensor(x, &number(x, a)) }
}

/// `condition ? a : b`, elementwise with broadcasting.
#[track_caller]
pub fn select(condition: &Tensor, a: &Tensor, b: &Tensor) -> Tensor {
    op("switch", &[condition, a, b], |graph, values| {
        let (c, a, b) = (nth(values, 0)?, nth(values, 1)?, nth(values, 2)?);
        let shape = broadcast_shape(graph.shape(a), graph.shape(b))?;
        let shape = broadcast_shape(graph.shape(c), &shape)?;
        let c = broadcast_value(graph, c, &shape)?;
        let (a, b) = (broadcast_value(graph, a, &shape)?, broadcast_value(graph, b, &shape)?);
        graph.add(Op::Select, &[c, a, b])
    })
}

/// min(max(x, low), high).
#[track_caller]
pub fn clip(x: &Tensor, low: f64, high: f64) -> Tensor {
    minimum(&maximum(x, &number(x, low)), &number(x, high.max(low)))
}

/// Conversion to another element type.
#[track_caller]
pub fn cast(x: &Tensor, dtype: DType) -> Tensor {
    op("cast", &[x], move |graph, values| graph.add(Op::Cast(dtype), &[nth(values, 0)?]))
}

/// max(x, 0) and its relatives: `alpha` is the slope below `threshold`, `max_value` cuts the top.
///
/// x ≥ max_value gives max_value; x > threshold gives x; anything else alpha·(x − threshold).
#[track_caller]
pub fn relu(x: &Tensor, alpha: f64, max_value: Option<f64>, threshold: f64) -> Tensor {
    let mut y = if alpha == 0.0 && threshold == 0.0 {
        op("relu", &[x], |graph, values| graph.unary(Unary::Relu, nth(values, 0)?))
    } else {
        let below = if alpha == 0.0 { zeros_like(x) } else { (x - threshold) * alpha };
        select(&greater(x, &number(x, threshold)), x, &below)
    };
    if let Some(top) = max_value {
        y = minimum(&y, &number(&y, top));
    }
    y
}

/// x where x > 0, else alpha·(eˣ − 1).
#[track_caller]
pub fn elu(x: &Tensor, alpha: f64) -> Tensor {
    let negative = expm1(&minimum(x, &number(x, 0.0))) * alpha;
    select(&greater(x, &number(x, 0.0)), x, &negative)
}

/// x / (1 + |x|).
#[track_caller]
pub fn softsign(x: &Tensor) -> Tensor {
    x / &(abs(x) + 1.0)
}

/// clip(0.2·x + 0.5, 0, 1).
#[track_caller]
pub fn hard_sigmoid(x: &Tensor) -> Tensor {
    clip(&(x * 0.2 + 0.5), 0.0, 1.0)
}

/// Zeros like x.
#[track_caller]
pub fn zeros_like(x: &Tensor) -> Tensor {
    op("zeros_like", &[x], |graph, values| graph.full_like(nth(values, 0)?, 0.0))
}

/// Ones like x.
#[track_caller]
pub fn ones_like(x: &Tensor) -> Tensor {
    op("ones_like", &[x], |graph, values| graph.full_like(nth(values, 0)?, 1.0))
}

/// x, through which no gradient passes.
#[track_caller]
pub fn stop_gradient(x: &Tensor) -> Tensor {
    op("stop_gradient", &[x], |graph, values| graph.add(Op::StopGradient, &[nth(values, 0)?]))
}

/// `x` in training, `alt` otherwise.
#[track_caller]
pub fn in_train_phase(x: &Tensor, alt: &Tensor) -> Tensor {
    op_in_trace("in_train_phase", &[x, alt], |trace, _, values| {
        nth(values, usize::from(!trace.is_training()))
    })
}

/// `x` outside training, `alt` in it.
#[track_caller]
pub fn in_test_phase(x: &Tensor, alt: &Tensor) -> Tensor {
    in_train_phase(alt, x)
}
