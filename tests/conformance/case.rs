//! [`Case`]: one computation on given operands, and the numbers operands are made of.

use keras_core::backend::Scalar;
use keras_core::backend::reference::Tolerance;
use keras_core::graph::{Distribution, Op, Type};
use keras_core::{Array, DType};

/// What a case computes.
#[derive(Debug, Clone)]
pub enum Computation {
    /// An operation of the graph that a backend has a method for.
    Op(Op),
    /// `Backend::full`.
    Full(Type, Scalar),
    /// `Backend::random`, from the stream of seed 1, number 2, step 3.
    Random(Type, Distribution),
    /// `Backend::upload`, perhaps `Backend::copy`, then `Backend::download`.
    Transfer,
}

/// What has to come of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// The reference's result.
    Result,
    /// An error.
    Error,
}

/// One computation on given operands.
#[derive(Debug, Clone)]
pub struct Case {
    /// What sets it apart from other cases of the same operation.
    pub title: String,
    /// What is computed.
    pub computation: Computation,
    /// The operands.
    pub inputs: Vec<Array>,
    /// The host scalars of a kernel.
    pub scalars: Vec<Scalar>,
    /// Operations of one operand that the first operand goes through before.
    pub views: Vec<Op>,
    /// What has to come of it.
    pub expected: Expected,
    /// The bound, where the operation's own does not hold.
    pub tolerance: Option<Tolerance>,
}

impl Case {
    /// An operation on operands.
    pub fn new(title: impl Into<String>, op: Op, inputs: impl Into<Vec<Array>>) -> Self {
        Self::of(title, Computation::Op(op), inputs)
    }

    /// A computation on operands.
    pub fn of(title: impl Into<String>, computation: Computation, inputs: impl Into<Vec<Array>>) -> Self {
        Self {
            title: title.into(),
            computation,
            inputs: inputs.into(),
            scalars: Vec::new(),
            views: Vec::new(),
            expected: Expected::Result,
            tolerance: None,
        }
    }

    /// Host scalars for a kernel.
    pub fn scalars(mut self, scalars: impl Into<Vec<Scalar>>) -> Self {
        self.scalars = scalars.into();
        self
    }

    /// Operations that the first operand goes through before.
    pub fn through(mut self, views: impl Into<Vec<Op>>) -> Self {
        self.views = views.into();
        self
    }

    /// The computation has to fail.
    pub fn fails(mut self) -> Self {
        self.expected = Expected::Error;
        self
    }

    /// The name of the operation.
    pub fn op_name(&self) -> &'static str {
        match &self.computation {
            Computation::Op(op) => op.name(),
            Computation::Full(..) => "full",
            Computation::Random(_, distribution) => distribution.name(),
            Computation::Transfer => "transfer",
        }
    }

    /// Operation, element types and shapes of the operands, title.
    pub fn name(&self) -> String {
        let inputs: Vec<String> =
            self.inputs.iter().map(|x| format!("{}{:?}", x.dtype(), x.shape())).collect();
        let views: Vec<&str> = self.views.iter().map(Op::name).collect();
        let through = if views.is_empty() { String::new() } else { format!(" through {}", views.join(", ")) };
        format!("{} {} {}{through}", self.op_name(), inputs.join(" "), self.title).trim_end().to_owned()
    }
}

/// Numbers that look random and are the same in every run (`SplitMix64`).
#[derive(Debug, Clone)]
pub struct Numbers(u64);

impl Numbers {
    /// Numbers of a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        x ^ (x >> 31)
    }

    /// Uniform in `low..high`.
    pub fn uniform(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// An array of that type with values in `low..high`; truth values are even odds.
    pub fn array_in(&mut self, dtype: DType, shape: &[usize], low: f64, high: f64) -> Array {
        let len = shape.iter().product();
        let values: Vec<f64> = (0..len)
            .map(|_| match dtype {
                DType::Bool => (self.bits() & 1) as f64,
                DType::F32 | DType::F64 => self.uniform(low, high),
                _ => self.uniform(low, high).floor(),
            })
            .collect();
        array(dtype, shape, values)
    }

    /// An array of that type: floats in −2..2, integers in −9..9 (unsigned: 0..9).
    pub fn array(&mut self, dtype: DType, shape: &[usize]) -> Array {
        match dtype {
            DType::F32 | DType::F64 => self.array_in(dtype, shape, -2.0, 2.0),
            DType::U8 => self.array_in(dtype, shape, 0.0, 9.0),
            _ => self.array_in(dtype, shape, -9.0, 9.0),
        }
    }
}

/// An array of values converted to a type; a single zero if their number does not fit the shape.
pub(crate) fn array(dtype: DType, shape: &[usize], values: Vec<f64>) -> Array {
    Array::from_vec(shape, values).unwrap_or_else(|_| Array::from(0.0)).cast(dtype)
}
