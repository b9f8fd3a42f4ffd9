//! The functions that operations apply, by name, and the geometries of those that move a window or a box.

macro_rules! names {
    ($(#[$doc:meta])* $enum:ident { $($(#[$item:meta])* $variant:ident = $name:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $enum { $($(#[$item])* $variant),* }

        impl $enum {
            /// Every member.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The name in text dumps and tables.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }
        }
    };
}

names! {
    /// Elementwise functions of one operand. All take floats; `Neg`, `Abs`, `Sign` also integers; `Not` truth values.
    Unary {
        /// −x
        Neg = "neg",
        /// |x|
        Abs = "abs",
        /// −1, 0 or 1 with the sign of x; NaN stays NaN
        Sign = "sign",
        /// eˣ
        Exp = "exp",
        /// eˣ − 1, exact near 0
        Expm1 = "expm1",
        /// ln x
        Log = "log",
        /// ln(1 + x), exact near 0
        Log1p = "log1p",
        /// √x
        Sqrt = "sqrt",
        /// 1/√x
        Rsqrt = "rsqrt",
        /// x²
        Square = "square",
        /// 1/x
        Recip = "recip",
        /// sin x
        Sin = "sin",
        /// cos x
        Cos = "cos",
        /// tan x
        Tan = "tan",
        /// arcsin x
        Asin = "asin",
        /// arccos x
        Acos = "acos",
        /// arctan x
        Atan = "atan",
        /// sinh x
        Sinh = "sinh",
        /// cosh x
        Cosh = "cosh",
        /// tanh x
        Tanh = "tanh",
        /// 1/(1 + e⁻ˣ)
        Sigmoid = "sigmoid",
        /// ln(1 + eˣ) without overflow
        Softplus = "softplus",
        /// max(x, 0); NaN stays NaN
        Relu = "relu",
        /// The Gauss error function
        Erf = "erf",
        /// Largest integer ≤ x
        Floor = "floor",
        /// Smallest integer ≥ x
        Ceil = "ceil",
        /// Nearest integer, half to even
        Round = "round",
        /// Whether x is NaN (truth value)
        IsNan = "is_nan",
        /// Logical negation of a truth value
        Not = "not",
    }
}

names! {
    /// Elementwise functions of two operands of one shape and one numeric element type.
    Binary {
        /// a + b
        Add = "add",
        /// a − b
        Sub = "sub",
        /// a · b
        Mul = "mul",
        /// a / b; integers truncate, and dividing an integer by zero gives 0
        Div = "div",
        /// Remainder with the sign of b (Python's `%`); integer remainder by zero gives 0
        Mod = "mod",
        /// aᵇ
        Pow = "pow",
        /// The larger; NaN if either is NaN
        Max = "max",
        /// The smaller; NaN if either is NaN
        Min = "min",
        /// arctan(a / b) in the right quadrant
        Atan2 = "atan2",
    }
}

names! {
    /// Elementwise comparisons: truth values from two operands of one type.
    Compare {
        /// a = b
        Eq = "eq",
        /// a ≠ b
        Ne = "ne",
        /// a < b
        Lt = "lt",
        /// a ≤ b
        Le = "le",
        /// a > b
        Gt = "gt",
        /// a ≥ b
        Ge = "ge",
    }
}

names! {
    /// Elementwise functions of two truth values.
    Logical {
        /// a ∧ b
        And = "and",
        /// a ∨ b
        Or = "or",
        /// a ⊕ b
        Xor = "xor",
    }
}

names! {
    /// What a reduction does with the elements; `Max` and `Min` propagate NaN.
    Reduce {
        /// Sum
        Sum = "sum",
        /// Product
        Prod = "prod",
        /// Largest
        Max = "reduce_max",
        /// Smallest
        Min = "reduce_min",
    }
}

names! {
    /// Which position an index reduction finds: always the first; the first NaN if there is one.
    ArgReduce {
        /// Position of the largest
        Max = "argmax",
        /// Position of the smallest
        Min = "argmin",
    }
}

names! {
    /// What a running reduction does.
    Cumulative {
        /// Running sum
        Sum = "cumsum",
        /// Running product
        Prod = "cumprod",
    }
}

names! {
    /// The distribution of a random operation.
    Distribution {
        /// Uniform on [0, 1)
        Uniform = "uniform",
        /// Normal with mean 0 and deviation 1
        Normal = "normal",
        /// Normal with mean 0 and deviation 1, values beyond 2 redrawn
        TruncatedNormal = "truncated_normal",
    }
}

/// The geometry of a convolution over 1 to 3 spatial axes.
///
/// Input `[batch, spatial…, channels]`, kernel `[spatial…, channels / groups, filters]`, output
/// `[batch, spatial…, filters]`; a correlation (the kernel is not flipped). Group `g` reads the channels
/// `g·channels/groups..` and writes the filters `g·filters/groups..`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ConvSpec {
    /// Steps of the window, per spatial axis.
    pub strides: Vec<usize>,
    /// Steps between kernel cells, per spatial axis.
    pub dilations: Vec<usize>,
    /// Zeros before and after, per spatial axis.
    pub pads: Vec<(usize, usize)>,
    /// Groups of channels.
    pub groups: usize,
}

/// The geometry of a pooling over 1 to 3 spatial axes of `[batch, spatial…, channels]`.
/// Cells of the padding never count: not for the maximum, and not in the number an average divides by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PoolSpec {
    /// Size of the window, per spatial axis.
    pub window: Vec<usize>,
    /// Steps of the window, per spatial axis.
    pub strides: Vec<usize>,
    /// Cells of padding before and after, per spatial axis; less than the window.
    pub pads: Vec<(usize, usize)>,
}

/// A strided box: on axis `i` the positions `starts[i], starts[i] + steps[i], …` below `stops[i]`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SliceSpec {
    /// First position per axis.
    pub starts: Vec<usize>,
    /// End (exclusive) per axis.
    pub stops: Vec<usize>,
    /// Step ≥ 1 per axis.
    pub steps: Vec<usize>,
}

impl SliceSpec {
    /// The shape of the box.
    pub fn shape(&self) -> Vec<usize> {
        let bounds = self.starts.iter().zip(&self.stops).zip(&self.steps);
        bounds.map(|((&start, &stop), &step)| stop.saturating_sub(start).div_ceil(step.max(1))).collect()
    }
}
