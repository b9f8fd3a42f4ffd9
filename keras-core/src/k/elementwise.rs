//! Elementwise functions.

use super::{broadcast_shape, broadcast_value, nth, number, op};
use crate::array::DType;
use crate::error::Error;
use crate::graph::{Binary, Compare, Logical, Op, Type, Unary};
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
/// x ≥ max_value gives max_value; x > threshold gives x; anything else alpha·(x − threshold). With a slope alone, whole
/// numbers become floating point numbers.
#[track_caller]
pub fn relu(x: &Tensor, alpha: f64, max_value: Option<f64>, threshold: f64) -> Tensor {
    let leaky = alpha != 0.0 && max_value.is_none() && threshold == 0.0;
    if leaky && x.dtype().is_ok_and(|dtype| !dtype.is_float()) {
        return relu(&cast(x, DType::F32), alpha, max_value, threshold);
    }
    let mut y = if alpha == 0.0 && threshold == 0.0 {
        op("relu", &[x], |graph, values| graph.unary(Unary::Relu, nth(values, 0)?))
    } else {
        let below = if alpha == 0.0 { number(x, 0.0) } else { (x - threshold) * alpha };
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

fn filled_like(name: &'static str, x: &Tensor, dtype: Option<DType>, value: f64) -> Tensor {
    let dtype = dtype.unwrap_or_else(super::floatx);
    op(name, &[x], move |graph, values| {
        let shape = graph.shape(nth(values, 0)?).to_vec();
        graph.full(value, &Type::new(shape, dtype))
    })
}

/// Zeros in the shape of x; the default element type is [`floatx`](super::floatx), whatever that of x.
#[track_caller]
pub fn zeros_like(x: &Tensor, dtype: impl Into<Option<DType>>) -> Tensor {
    filled_like("zeros_like", x, dtype.into(), 0.0)
}

/// Ones in the shape of x; see [`zeros_like`].
#[track_caller]
pub fn ones_like(x: &Tensor, dtype: impl Into<Option<DType>>) -> Tensor {
    filled_like("ones_like", x, dtype.into(), 1.0)
}

/// x.
pub fn identity(x: &Tensor) -> Tensor {
    x.clone()
}

/// `then` where the condition (a number that is not 0) holds, else `otherwise`. A condition of fewer axes, or none, stands
/// for the leading axes; both alternatives have one shape. Both are computed.
///
/// ```
/// use keras_core::k;
/// let x = k::placeholder([None, Some(3)], "x");
/// let rows = k::greater(&k::sum(&x, &[1], false), &k::number(&x, 0.0));
/// assert_eq!(k::switch(&rows, &x, &-&x).spec()?, x.spec()?);
/// # Ok::<(), keras_core::Error>(())
/// ```
#[track_caller]
pub fn switch(condition: &Tensor, then: &Tensor, otherwise: &Tensor) -> Tensor {
    op("switch", &[condition, then, otherwise], |graph, values| {
        let (c, a, b) = (nth(values, 0)?, nth(values, 1)?, nth(values, 2)?);
        let (mut own, shape) = (graph.shape(c).to_vec(), graph.shape(a).to_vec());
        if graph.shape(b) != shape || own.len() > shape.len() {
            return Err(Error::shape(
                "switch",
                "two alternatives of one shape, and a condition of at most as many axes",
                format!("{shape:?}, {:?} and a condition {own:?}", graph.shape(b)),
            ));
        }
        own.resize(shape.len(), 1);
        let c = graph.add(Op::Cast(DType::Bool), &[c])?;
        let c = graph.reshape(c, &own)?;
        let c = graph.broadcast(c, &shape)?;
        graph.add(Op::Select, &[c, a, b])
    })
}

/// x, through which no gradient passes.
#[track_caller]
pub fn stop_gradient(x: &Tensor) -> Tensor {
    op("stop_gradient", &[x], |graph, values| graph.add(Op::StopGradient, &[nth(values, 0)?]))
}
