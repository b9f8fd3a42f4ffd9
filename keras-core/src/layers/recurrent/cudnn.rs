//! `CuDNNGRU` and `CuDNNLSTM`: the weights that cuDNN wants, the same mathematics, on every backend.

use super::arguments::{Arguments, Has};
use super::kind::{Kind, WithForgetGate};
use super::sequence::{self, Formula};
use super::simple_rnn::Dense;
use super::{Cell, Recurrent};
use crate::error::Result;
use crate::graph::RecurrentCell;
use crate::k::{self, Ran, Steps};
use crate::layers::{Build, Call};
use crate::registry::{Config, Reader};
use crate::tensor::{Spec, Tensor};

/// [`GRU`](super::GRU) with `reset_after` in cuDNN's layout: `bias (6·units,)`, those of the input first. It takes no
/// masks.
///
/// ```
/// use keras_core::layers::{CuDNNGRU, Input, LayerRef};
/// let gru = LayerRef::new(CuDNNGRU::new(32).return_sequences(true))?;
/// let y = gru.call(Input::new([10, 16]).tensor()?)?;
/// assert_eq!(y.spec()?.shape, [None, Some(10), Some(32)]);
/// assert_eq!(gru.weights()[2].variable.shape(), [192]);
/// # Ok::<(), keras_core::Error>(())
/// ```
pub type CuDNNGRU = Recurrent<CuDnn<false>>;
/// [`LSTM`](super::LSTM) in cuDNN's layout: `bias (8·units,)`, those of the input first, which are added to those of
/// the state. It takes no masks.
///
/// ```
/// use keras_core::layers::{CuDNNLSTM, Input, LayerRef};
/// let lstm = LayerRef::new(CuDNNLSTM::new(32))?;
/// lstm.call(Input::new([10, 16]).tensor()?)?;
/// assert_eq!(lstm.weights()[2].variable.shape(), [256]);
/// # Ok::<(), keras_core::Error>(())
/// ```
pub type CuDNNLSTM = Recurrent<CuDnn<true>>;

/// What tells [`CuDNNLSTM`] (true) and [`CuDNNGRU`] (false) from other layers.
#[derive(Debug, Clone)]
pub struct CuDnn<const LSTM: bool>(Dense);

impl CuDNNGRU {
    /// A layer with states of that length.
    pub fn new(units: usize) -> Self {
        Self::of(CuDnn(Dense::new(units)))
    }
}

impl CuDNNLSTM {
    /// A layer with states of that length.
    pub fn new(units: usize) -> Self {
        Self::of(CuDnn(Dense::new(units)))
    }
}

impl<const LSTM: bool> CuDnn<LSTM> {
    const fn recurrence() -> RecurrentCell {
        if LSTM { RecurrentCell::Lstm } else { RecurrentCell::Gru { reset_after: true } }
    }

    fn formula(&self, cx: &Call, x: &Tensor) -> Result<Formula> {
        let mut formula = self.0.formula(cx, Self::recurrence(), x)?;
        let bias = cx.weight("bias")?;
        let wide = Self::recurrence().gates() * self.0.units;
        formula.bias = Some(if LSTM {
            k::slice_axis(&bias, 0, 0, wide) + k::slice_axis(&bias, 0, wide, 2 * wide)
        } else {
            k::reshape(&bias, &[2, wide as isize])
        });
        Ok(formula)
    }
}

impl<const LSTM: bool> Kind for CuDnn<LSTM> {
    const LAYER: &'static str = if LSTM { "CuDNNLSTM" } else { "CuDNNGRU" };
    const CELL: &'static str = Self::LAYER;
    const MASKS: bool = false;
    const UNROLL: bool = false;

    fn has() -> Has {
        Has { functions: false, gates: false, forget: LSTM, implementation: false }
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
        let gates = Self::recurrence().gates();
        let bias = self.0.units.saturating_mul(2 * gates);
        // Ones in the forget gate's bias of the state.
        self.0.build(class, cx, step, gates, &[bias], LSTM.then_some(5))
    }

    fn cell(&self, class: &str, step: &Spec) -> Result<Cell> {
        self.0.cell(class, step, if LSTM { 2 } else { 1 })
    }

    fn step(&self, cx: &mut Call, x: &Tensor, states: &[Tensor]) -> Result<(Tensor, Vec<Tensor>)> {
        self.formula(cx, x)?.step(x, states)
    }

    fn run(&self, cx: &mut Call, steps: Steps) -> Result<Ran> {
        sequence::run(cx.trace(), &self.formula(cx, &steps.x)?, steps)
    }
}

impl WithForgetGate for CuDnn<true> {}
