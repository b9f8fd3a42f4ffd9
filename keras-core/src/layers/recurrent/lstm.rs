//! `LSTM` and `LSTMCell`.

use super::arguments::{Arguments, Has};
use super::kind::{Kind, WithForgetGate, WithFunctions, WithGates, WithImplementation, WithUnroll};
use super::simple_rnn::Dense;
use super::{Cell, CellLayer, Recurrent};
use crate::error::Result;
use crate::graph::RecurrentCell;
use crate::k::{Ran, Steps};
use crate::layers::{Build, Call};
use crate::registry::{Config, Reader};
use crate::tensor::{Spec, Tensor};

/// Long short-term memory (Hochreiter and Schmidhuber, 1997): with the gates i, f, o, each σ(x·W + h₋·U + b),
/// c = f∘c₋ + i∘act(x·W + h₋·U + b) and h = o∘act(c).
///
/// Weights, the gates in the order i, f, c, o: `kernel (features, 4·units)`, `recurrent_kernel (units, 4·units)`,
/// `bias (4·units,)`. Two states, h and c, `(batch, units)` each. For its options see [`Recurrent`].
///
/// ```
/// use keras_core::layers::{Input, LSTM};
/// use keras_core::models::Sequential;
/// let x = Input::new([10, 16]).tensor()?;
/// let results = LSTM::new(32).return_sequences(true).return_state(true).call_all(&x)?;
/// assert_eq!(results[0].spec()?.shape, [None, Some(10), Some(32)]);
/// // The state of one layer is where another starts.
/// let y = LSTM::new(32).call([&x, &results[1], &results[2]])?;
/// assert_eq!(y.spec()?.shape, [None, Some(32)]);
/// // States that are carried from batch to batch need a fixed batch size.
/// let mut model = Sequential::new();
/// model.add(LSTM::new(32).input_shape([10, 16]).batch_size(32).stateful(true))?;
/// model.reset_states()?;
/// # Ok::<(), keras_core::Error>(())
/// ```
pub type LSTM = Recurrent<Lstm>;
/// The cell of [`LSTM`]: on `[x, h, c]` it gives `[h, h, c]`.
pub type LSTMCell = CellLayer<Lstm>;

/// What tells [`LSTM`] from other layers.
#[derive(Debug, Clone)]
pub struct Lstm(Dense);

impl LSTM {
    /// A layer with states of that length.
    pub fn new(units: usize) -> Self {
        Self::of(Lstm(Dense::new(units)))
    }
}

impl LSTMCell {
    /// A cell with states of that length.
    pub fn new(units: usize) -> Self {
        Self::of(Lstm(Dense::new(units)))
    }
}

impl Lstm {
    /// The layer, `LSTM::new`.
    #[allow(clippy::new_ret_no_self, reason = "the kind stands for its layer in Rust's spelling")]
    pub fn new(units: usize) -> LSTM {
        LSTM::new(units)
    }
}

impl Kind for Lstm {
    const LAYER: &'static str = "LSTM";
    const CELL: &'static str = "LSTMCell";

    fn has() -> Has {
        Has { functions: true, gates: true, forget: true, implementation: true }
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
        self.0.build(class, cx, step, 4, &[self.0.units.saturating_mul(4)], Some(1))
    }

    fn cell(&self, class: &str, step: &Spec) -> Result<Cell> {
        self.0.cell(class, step, 2)
    }

    fn step(&self, cx: &mut Call, x: &Tensor, states: &[Tensor]) -> Result<(Tensor, Vec<Tensor>)> {
        self.0.step(cx, RecurrentCell::Lstm, x, states)
    }

    fn run(&self, cx: &mut Call, steps: Steps) -> Result<Ran> {
        self.0.run(cx, RecurrentCell::Lstm, steps)
    }
}

impl WithFunctions for Lstm {}
impl WithGates for Lstm {}
impl WithForgetGate for Lstm {}
impl WithImplementation for Lstm {}
impl WithUnroll for Lstm {}
