//! `SimpleRNN` and `SimpleRNNCell`.

use super::arguments::{Arguments, Has};
use super::kind::{Kind, WithFunctions, WithUnroll};
use super::sequence::{self, Formula};
use super::{Cell, CellLayer, Recurrent};
use crate::error::{Error, Result};
use crate::graph::RecurrentCell;
use crate::k::{Ran, Steps};
use crate::layers::check::{RESHAPE, positive};
use crate::layers::{Build, Call};
use crate::registry::{Config, Reader};
use crate::tensor::{Spec, Tensor};

/// The fully connected recurrence h = act(x·kernel + h₋·recurrent kernel + bias), where h₋ is the result of the step
/// before.
///
/// Weights: `kernel (features, units)`, `recurrent_kernel (units, units)`, `bias (units,)`. One state, `(batch, units)`.
/// For its options see [`Recurrent`].
///
/// ```
/// use keras_core::layers::{Input, SimpleRNN};
/// let x = Input::new([10, 16]).tensor()?;
/// assert_eq!(SimpleRNN::new(32).call(&x)?.spec()?.shape, [None, Some(32)]);
/// let y = SimpleRNN::new(32).activation("relu").return_sequences(true).call(&x)?;
/// assert_eq!(y.spec()?.shape, [None, Some(10), Some(32)]);
/// # Ok::<(), keras_core::Error>(())
/// ```
pub type SimpleRNN = Recurrent<SimpleRnn>;
/// The cell of [`SimpleRNN`]: on `[x, h]` it gives `[h, h]`.
pub type SimpleRNNCell = CellLayer<SimpleRnn>;

/// What tells [`SimpleRNN`] from other layers.
#[derive(Debug, Clone)]
pub struct SimpleRnn(Dense);

/// A recurrence between vectors: units and the shared arguments.
#[derive(Debug, Clone)]
pub(super) struct Dense {
    pub(super) units: usize,
    pub(super) arguments: Arguments,
}

impl SimpleRNN {
    /// A layer with states of that length.
    pub fn new(units: usize) -> Self {
        Self::of(SimpleRnn(Dense::new(units)))
    }
}

impl SimpleRNNCell {
    /// A cell with a state of that length.
    pub fn new(units: usize) -> Self {
        Self::of(SimpleRnn(Dense::new(units)))
    }
}

impl Dense {
    pub(super) fn new(units: usize) -> Self {
        Self { units, arguments: Arguments::new("sigmoid") }
    }

    pub(super) fn read(reader: &mut Reader<'_>, has: Has, layer: bool) -> Result<Self> {
        let units = reader.required_count("units")?;
        Ok(Self { units, arguments: Arguments::new("sigmoid").read(reader, has, layer)? })
    }

    pub(super) fn write(&self, config: Config, has: Has, layer: bool) -> Config {
        self.arguments.write(config.with("units", self.units), has, layer)
    }

    /// Makes the weights for that many gates; `bias` is its shape, `forget` the gate whose bias may start as ones.
    pub(super) fn build(
        &self,
        class: &str,
        cx: &mut Build,
        step: &Spec,
        gates: usize,
        bias: &[usize],
        forget: Option<usize>,
    ) -> Result<()> {
        positive(class, "units", self.units)?;
        let features = cx.known(class, step, -1, "last axis")?;
        let wide = self
            .units
            .checked_mul(gates)
            .ok_or_else(|| Error::value(class, "units that memory can hold", self.units.to_string()))?;
        let forget = forget.map(|gate| gate * self.units..(gate + 1) * self.units);
        self.arguments.build(class, cx, [&[features, wide], &[self.units, wide], bias], forget)
    }

    /// The cell with that many states.
    pub(super) fn cell(&self, class: &str, step: &Spec, states: usize) -> Result<Cell> {
        if step.rank() != 2 {
            return Err(Error::shape(
                class,
                "an input of rank 3: (batch, time, features); a step of rank 2: (batch, features)",
                format!("a step {step}"),
            )
            .advice(RESHAPE));
        }
        Ok(Cell::new(vec![self.units; states]))
    }

    /// What a step computes with; dropout masks are drawn for an input of that shape.
    pub(super) fn formula(&self, cx: &Call, cell: RecurrentCell, x: &Tensor) -> Result<Formula> {
        let (shape, dtype) = (x.shape()?, x.dtype()?);
        let batch = shape.first().copied().unwrap_or_default();
        let features = shape.last().copied().unwrap_or_default();
        // With implementation 2 all gates share the first mask.
        let separate = self.arguments.implementation == 1;
        let count = if separate { cell.gates() } else { 1 };
        let (input_masks, recurrent_masks) =
            self.arguments.masks(cx, count, &[batch, features], &[batch, self.units], dtype)?;
        let (activation, recurrent_activation) = self.arguments.activations()?;
        Ok(Formula {
            cell,
            units: self.units,
            activation,
            recurrent_activation,
            kernel: cx.weight("kernel")?,
            recurrent_kernel: cx.weight("recurrent_kernel")?,
            bias: cx.weight_if_any("bias")?,
            input_masks,
            recurrent_masks,
            masked_carry: !separate,
        })
    }

    /// One step of a cell.
    pub(super) fn step(
        &self,
        cx: &Call,
        cell: RecurrentCell,
        x: &Tensor,
        states: &[Tensor],
    ) -> Result<(Tensor, Vec<Tensor>)> {
        self.formula(cx, cell, x)?.step(x, states)
    }

    /// All steps of a layer.
    pub(super) fn run(&self, cx: &Call, cell: RecurrentCell, steps: Steps) -> Result<Ran> {
        sequence::run(cx.trace(), &self.formula(cx, cell, &steps.x)?, steps)
    }
}

impl Kind for SimpleRnn {
    const LAYER: &'static str = "SimpleRNN";
    const CELL: &'static str = "SimpleRNNCell";

    fn has() -> Has {
        Has { functions: true, gates: false, forget: false, implementation: false }
    }

    fn arguments(&self) -> &Arguments {
        &self.0.arguments
    }

    fn arguments_mut(&mut self) -> &mut Arguments {
        &mut self.0.arguments
    }

    fn read(reader: &mut Reader<'_>, layer: bool) -> Result<Self> {
        Dense::read(reader, Self::has(), layer).map(Self)
    }

    fn write(&self, config: Config, layer: bool) -> Config {
        self.0.write(config, Self::has(), layer)
    }

    fn build(&self, class: &str, cx: &mut Build, step: &Spec) -> Result<()> {
        self.0.build(class, cx, step, 1, &[self.0.units], None)
    }

    fn cell(&self, class: &str, step: &Spec) -> Result<Cell> {
        self.0.cell(class, step, 1)
    }

    fn step(&self, cx: &mut Call, x: &Tensor, states: &[Tensor]) -> Result<(Tensor, Vec<Tensor>)> {
        self.0.step(cx, RecurrentCell::SimpleRnn, x, states)
    }

    fn run(&self, cx: &mut Call, steps: Steps) -> Result<Ran> {
        self.0.run(cx, RecurrentCell::SimpleRnn, steps)
    }
}

impl WithFunctions for SimpleRnn {}
impl WithUnroll for SimpleRnn {}
