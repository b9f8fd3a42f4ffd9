//! Recurrent layers over whole sequences: their description, operands and shape rules. [`step`] says what they
//! compute.

mod step;

pub(super) use step::{decompose, decompose_gradient, vjp};

use super::{Op, Type};
use crate::array::DType;
use crate::error::{Error, Result};

/// The cell of a recurrent operation. σ is the recurrent activation, a the activation; `x` are the projected inputs
/// and `h` the recurrent products of a gate; gates lie side by side in the order given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RecurrentCell {
    /// `h′ = a(x + h·U)`.
    SimpleRnn,
    /// Gates z, r, h: `z = σ(x + h·U)`, `r = σ(x + h·U)`, `h′ = z·h + (1 − z)·ĥ`, where
    /// `ĥ = a(x + (r·h)·U)`, or `a(x + r·(h·U + b))` if the gate is applied after the product.
    Gru {
        /// Whether `r` multiplies the product instead of the state; then there is a recurrent bias.
        reset_after: bool,
    },
    /// Gates i, f, c, o: `c′ = σ(f)·c + σ(i)·a(c)`, `h′ = σ(o)·a(c′)`. The states are h and c.
    Lstm,
}

impl RecurrentCell {
    /// The number of gates: blocks of columns of the kernel.
    pub const fn gates(self) -> usize {
        match self {
            Self::SimpleRnn => 1,
            Self::Gru { .. } => 3,
            Self::Lstm => 4,
        }
    }

    /// The number of states; the first is the output.
    pub const fn states(self) -> usize {
        if matches!(self, Self::Lstm) { 2 } else { 1 }
    }

    /// The number of values per unit and step that the gradient reads besides the states: a gate's value each; for
    /// the GRU that resets after the product, that product; for the LSTM, `a(c′)`.
    pub const fn kept(self) -> usize {
        match self {
            Self::SimpleRnn => 1,
            Self::Gru { reset_after: false } => 3,
            Self::Gru { reset_after: true } => 4,
            Self::Lstm => 5,
        }
    }

    const fn has_bias(self) -> bool {
        matches!(self, Self::Gru { reset_after: true })
    }
}

/// The activations of gates; each has a derivative that follows from its value alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GateActivation {
    /// tanh x
    Tanh,
    /// 1/(1 + e⁻ˣ)
    Sigmoid,
    /// x/5 + 1/2 between 0 and 1
    HardSigmoid,
    /// max(x, 0)
    Relu,
    /// x
    Linear,
}

impl GateActivation {
    /// The activation of that name in Keras, if it is one of these.
    ///
    /// ```
    /// use keras_core::graph::GateActivation;
    /// assert_eq!(GateActivation::from_name("tanh"), Some(GateActivation::Tanh));
    /// assert_eq!(GateActivation::from_name("elu"), None);
    /// ```
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "tanh" => Self::Tanh,
            "sigmoid" => Self::Sigmoid,
            "hard_sigmoid" => Self::HardSigmoid,
            "relu" => Self::Relu,
            "linear" => Self::Linear,
            _ => return None,
        })
    }
}

/// What a masked step puts out; its states are those of the step before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MaskedOutput {
    /// The output of the step before, and zeros as long as there is none (Keras 2.3, tf.keras).
    Repeat,
    /// The state, so the initial state as long as there is no output (Keras up to 2.2).
    State,
    /// Zeros (tf.keras with `zero_output_for_mask`).
    Zeros,
}

/// What multiplies the state before the recurrent product, in every step the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RecurrentDropout {
    /// Nothing.
    None,
    /// One mask for all gates, `[1, batch, units]`. A GRU also mixes the masked state into the new one, as
    /// `implementation=2` of Keras does.
    Shared,
    /// A mask for every gate, `[gates, batch, units]`: `implementation=1`.
    PerGate,
}

/// A recurrent layer over a whole sequence, from projected inputs.
///
/// Operands of [`Op::Recurrent`]:
///
/// | operand | type |
/// |---|---|
/// | inputs times kernel plus bias | `[batch, time, gates · units]` |
/// | recurrent kernel | `[units, gates · units]` |
/// | initial states, 1 or 2 | `[batch, units]` |
/// | recurrent bias, of a GRU that resets after the product | `[gates · units]` |
/// | mask, if `mask` says what it does | `[batch, time]`, truth values |
/// | recurrent dropout, if any | `[1 or gates, batch, units]` |
///
/// Outputs: the sequence of outputs `[batch, time, units]` (row `t` belongs to input `t` in both directions), the
/// final states, then the reserve: each state as it was before every step, `[batch, time, units]`, and what else the
/// gradient needs, `[batch, time, kept · units]`, zeros where a step is masked.
///
/// Operands of [`Op::RecurrentGrad`]: those of the forward operation, its reserve, the gradient of the sequence (if
/// there is one), the gradients of the final states. Outputs: the gradients of the inputs, of the kernel, of the
/// initial states, and of the bias if there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RecurrentSpec {
    /// What a step computes.
    pub cell: RecurrentCell,
    /// The activation of candidates and outputs.
    pub activation: GateActivation,
    /// The activation of gates; a `SimpleRnn` has none.
    pub recurrent_activation: GateActivation,
    /// Whether it runs from the last step to the first.
    pub reverse: bool,
    /// Whether there is a mask, and what masked steps put out.
    pub mask: Option<MaskedOutput>,
    /// Whether the state is masked before the recurrent product.
    pub dropout: RecurrentDropout,
}

/// The operands of a recurrent operation by role.
#[derive(Debug, Clone)]
pub struct RecurrentOperands<'a, T> {
    /// Projected inputs.
    pub x: &'a T,
    /// Recurrent kernel.
    pub kernel: &'a T,
    /// Initial states.
    pub states: &'a [T],
    /// Recurrent bias.
    pub bias: Option<&'a T>,
    /// Which steps count.
    pub mask: Option<&'a T>,
    /// What multiplies the state.
    pub dropout: Option<&'a T>,
    /// What follows: the operands that the gradient has besides.
    pub rest: &'a [T],
}

impl RecurrentSpec {
    /// A cell with tanh and sigmoid, from the first step to the last, without mask and dropout.
    ///
    /// ```
    /// use keras_core::graph::{RecurrentCell, RecurrentSpec};
    /// let backwards = RecurrentSpec { reverse: true, ..RecurrentSpec::new(RecurrentCell::Lstm) };
    /// assert!(backwards.mask.is_none());
    /// ```
    pub const fn new(cell: RecurrentCell) -> Self {
        Self {
            cell,
            activation: GateActivation::Tanh,
            recurrent_activation: GateActivation::Sigmoid,
            reverse: false,
            mask: None,
            dropout: RecurrentDropout::None,
        }
    }

    /// The operands by role; `None` if there are too few.
    pub fn operands<T>(self, inputs: &[T]) -> Option<RecurrentOperands<'_, T>> {
        let (x, rest) = inputs.split_first()?;
        let (kernel, rest) = rest.split_first()?;
        let (states, mut rest) = rest.split_at_checked(self.cell.states())?;
        let mut optional = |present: bool| {
            if !present {
                return Some(None);
            }
            let (first, others) = rest.split_first()?;
            rest = others;
            Some(Some(first))
        };
        let bias = optional(self.cell.has_bias())?;
        let mask = optional(self.mask.is_some())?;
        let dropout = optional(self.dropout != RecurrentDropout::None)?;
        Some(RecurrentOperands { x, kernel, states, bias, mask, dropout, rest })
    }

    /// How many operands the forward operation has.
    fn arity(self) -> usize {
        let optional = [self.cell.has_bias(), self.mask.is_some(), self.dropout != RecurrentDropout::None];
        2 + self.cell.states() + optional.into_iter().filter(|&present| present).count()
    }
}

/// The shape rule of both operations; `gradient` says whether the gradient of the sequence is an operand, of a
/// gradient.
pub(super) fn infer(
    op: &Op,
    spec: RecurrentSpec,
    gradient: Option<bool>,
    inputs: &[&Type],
) -> Result<Vec<Type>> {
    let fail = |expected: String| {
        let received: Vec<String> = inputs.iter().map(ToString::to_string).collect();
        Error::shape(op.name(), expected, received.join(", "))
    };
    let cell = spec.cell;
    let (gates, states) = (cell.gates(), cell.states());
    let Some(operands) = spec.operands(inputs) else {
        return Err(fail(format!("{} operands of {spec:?}", spec.arity())));
    };
    let &[batch, time, width] = operands.x.shape.as_slice() else {
        return Err(fail("projected inputs [batch, time, gates · units]".into()));
    };
    let (units, dtype) = (width / gates, operands.x.dtype);
    if time == 0 || units * gates != width || !dtype.is_float() {
        return Err(fail(format!("floats of at least one step, {gates} gates side by side")));
    }
    let state = Type::new([batch, units], dtype);
    let sequence = Type::new([batch, time, units], dtype);
    let kept = Type::new([batch, time, cell.kept() * units], dtype);
    let kernel = Type::new([units, width], dtype);
    let bias = Type::new([width], dtype);
    let masks = if spec.dropout == RecurrentDropout::Shared { 1 } else { gates };
    let mut expected = vec![Type::clone(operands.x), kernel.clone()];
    expected.extend(vec![state.clone(); states]);
    expected.extend(operands.bias.map(|_| bias.clone()));
    expected.extend(operands.mask.map(|_| Type::new([batch, time], DType::Bool)));
    expected.extend(operands.dropout.map(|_| Type::new([masks, batch, units], dtype)));
    if let Some(sequence_gradient) = gradient {
        expected.extend(vec![sequence.clone(); states]);
        expected.push(kept.clone());
        expected.extend(sequence_gradient.then(|| sequence.clone()));
        expected.extend(vec![state.clone(); states]);
    }
    if !expected.iter().eq(inputs.iter().copied()) {
        let expected: Vec<String> = expected.iter().map(ToString::to_string).collect();
        return Err(fail(expected.join(", ")));
    }
    Ok(if gradient.is_some() {
        let mut outputs = vec![Type::clone(operands.x), kernel];
        outputs.extend(vec![state; states]);
        outputs.extend(operands.bias.map(|_| bias));
        outputs
    } else {
        let mut outputs = vec![sequence.clone()];
        outputs.extend(vec![state; states]);
        outputs.extend(vec![sequence; states]);
        outputs.push(kept);
        outputs
    })
}
