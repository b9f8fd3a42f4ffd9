//! What runs natively, what by decomposition, and what by way of the host: that only where there is no decomposition, or where
//! it would be arithmetic on integers.

use keras_core::backend::Lack;
use keras_core::backend::Support::{self, Decomposed, Host, Native};
use keras_core::graph::{Binary, Instr, Kernel, Op, Reduce, Type, Unary};

/// For every operation the most direct way that gives what the reference gives.
pub(crate) fn support(op: &Op, inputs: &[&Type]) -> Support {
    let float = inputs.last().is_none_or(|ty| ty.dtype.is_float());
    match op {
        Op::Unary(function) => unary(*function, float),
        Op::Binary(function) => binary(*function, float),
        // candle's arithmetic on integers panics in debug builds where ours wraps, and decompositions consist of it.
        Op::Reduce(Reduce::Sum | Reduce::Prod, _) | Op::Cumulative(..) | Op::ScatterAdd(_) if !float => Host,
        Op::Reduce(Reduce::Prod, _) | Op::Cumulative(..) => Decomposed,
        Op::TopK(_) => Host,
        Op::Conv(_)
        | Op::ConvGradInput(..)
        | Op::ConvGradKernel(..)
        | Op::MaxPool(_)
        | Op::MaxPoolGrad(..)
        | Op::AvgPool(_)
        | Op::AvgPoolGrad(..)
        | Op::Softmax
        | Op::LogSoftmax
        | Op::Recurrent(_)
        | Op::RecurrentGrad(..) => Decomposed,
        _ => Native,
    }
}

/// Every operation for which [`support`] says anything but native.
pub(crate) fn lacks() -> Vec<Lack> {
    const CONV: &str =
        "candle has one stride, one padding and no volumes, and is slower than slices and a product";
    const POOL: &str = "candle pools without padding, without positions and without gradients";
    const LACKS: &str = "candle lacks it";
    const NAN: &str = "candle has another value for NaN";
    const INTEGERS: &str = "candle's integers panic on overflow and on division by zero in debug builds";

    let lacking =
        ["softmax", "log_softmax", "recurrent", "recurrent_grad", "prod", "cumprod", "expm1", "log1p"];
    let functions = ["rsqrt", "tan", "sinh", "cosh", "sigmoid", "softplus"];
    let integers =
        ["neg", "abs", "add", "sub", "mul", "div", "sum", "prod", "cumsum", "cumprod", "scatter_add"];
    [
        Lack::all(Decomposed, CONV, &["conv", "conv_grad_input", "conv_grad_kernel"]),
        Lack::all(Decomposed, POOL, &["max_pool", "max_pool_grad", "avg_pool", "avg_pool_grad"]),
        Lack::all(Decomposed, LACKS, &lacking),
        Lack::all(Decomposed, LACKS, &functions),
        Lack::all(
            Decomposed,
            "candle's is a product with a triangle: quadratic, and NaN reaches every element",
            &["cumsum"],
        ),
        Lack::all(Decomposed, NAN, &["sign"]),
        Lack::all(Decomposed, "candle's halves go away from zero", &["round"]),
        Lack::all(Decomposed, INTEGERS, &["square"]),
        Lack::all(Host, LACKS, &["asin", "acos", "atan", "atan2", "mod"]),
        Lack::all(Host, "candle's is a rounded logarithm and an exponential", &["pow"]),
        Lack::all(Host, "candle's sort has no place for NaN", &["top_k"]),
        Lack::all(Host, INTEGERS, &integers),
    ]
    .concat()
}

fn unary(function: Unary, float: bool) -> Support {
    match function {
        Unary::Not => Native,
        Unary::Abs | Unary::Neg if !float => Host,
        Unary::Square if !float => Decomposed,
        Unary::Neg
        | Unary::Abs
        | Unary::Exp
        | Unary::Log
        | Unary::Sqrt
        | Unary::Square
        | Unary::Recip
        | Unary::Sin
        | Unary::Cos
        | Unary::Tanh
        | Unary::Relu
        | Unary::Erf
        | Unary::Floor
        | Unary::Ceil
        | Unary::IsNan => Native,
        Unary::Asin | Unary::Acos | Unary::Atan => Host,
        // sign of NaN and half-way rounding are others in candle; the rest it lacks.
        Unary::Sign
        | Unary::Round
        | Unary::Expm1
        | Unary::Log1p
        | Unary::Rsqrt
        | Unary::Tan
        | Unary::Sinh
        | Unary::Cosh
        | Unary::Sigmoid
        | Unary::Softplus => Decomposed,
    }
}

fn binary(function: Binary, float: bool) -> Support {
    match function {
        Binary::Max | Binary::Min => Native,
        Binary::Add | Binary::Sub | Binary::Mul | Binary::Div if float => Native,
        _ => Host,
    }
}

/// Whether every instruction and reduction of a kernel runs natively.
pub(crate) fn runs(kernel: &Kernel) -> bool {
    let float = |register: usize| kernel.code.get(register).is_some_and(|(_, dtype)| dtype.is_float());
    let code = kernel.code.iter().all(|(instruction, _)| {
        Native
            == match *instruction {
                Instr::Unary(function, x) => unary(function, float(x)),
                Instr::Binary(function, a, _) => binary(function, float(a)),
                _ => Native,
            }
    });
    let reduced = |(op, register): (Reduce, usize)| match op {
        Reduce::Max | Reduce::Min => true,
        Reduce::Sum => float(register),
        Reduce::Prod => false,
    };
    let tails = kernel.outputs.iter().filter_map(|output| Some((output.reduce.as_ref()?.0, output.register)));
    code && tails.into_iter().all(reduced)
}
