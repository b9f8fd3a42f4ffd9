//! `GRU` and `GRUCell`.

use super::arguments::{Arguments, Has};
use super::kind::{Kind, WithFunctions, WithGates, WithImplementation, WithUnroll};
use super::simple_rnn::Dense;
use super::{Cell, CellLayer, Recurrent};
use crate::error::Result;
use crate::graph::RecurrentCell;
use crate::k::{Ran, Steps};
use crate::layers::{Build, Call};
use crate::registry::{Config, Reader};
use crate::tensor::{Spec, Tensor};

/// The gated recurrent unit (Cho et al., 2014): with the update gate z and the reset gate r, both σ(x·W + h₋·U + b),
/// h = z∘h₋ + (1 − z)∘act(x·W + (r∘h₋)·U + b). With `reset_after`, as cuDNN has it, the candidate is
/// act(x·W + b + r∘(h₋·U + b')).
///
/// Weights, the gates in the order z, r, h: `kernel (features, 3·units)`, `recurrent_kernel (units, 3·units)`,
/// `bias (3·units,)`, with `reset_after` `(2, 3·units)`. One state, `(batch, units)`. For its options see
/// [`Recurrent`].
///
/// ```
/// use keras_core::layers::{GRU, Input, LayerRef};
/// let x = Input::new([10, 16]).tensor()?;
/// let gru = LayerRef::new(GRU::new(32).reset_after(true))?;
/// assert_eq!(gru.call(&x)?.spec()?.shape, [None, Some(32)]);
/// assert_eq!(gru.count_params()?, 3 * 32 * (16 + 32 + 2));
/// # Ok::<(), keras_core::Error>(())
/// ```
pub type GRU = Recurrent<Gru>;
/// The cell of [`GRU`]: on `[x, h]` it gives `[h, h]`.
pub type GRUCell = CellLayer<Gru>;

/// What tells [`GRU`] from other layers.
#[derive(Debug, Clone)]
pub struct Gru {
    dense: Dense,
    reset_after: bool,
}

impl GRU {
    /// A layer with states of that length.
    pub fn new(units: usize) -> Self {
        Self::of(Gru::plain(units))
    }

    /// Whether the reset gate acts after the product with the recurrent kernel; default false.
    pub fn reset_after(mut self, after: bool) -> Self {
        self.kind.reset_after = after;
        self
    }
}

impl GRUCell {
    /// A cell with a state of that length.
    pub fn new(units: usize) -> Self {
        Self::of(Gru::plain(units))
    }

    /// Whether the reset gate acts after the product with the recurrent kernel; default false.
    pub fn reset_after(mut self, after: bool) -> Self {
        self.kind.reset_after = after;
        self
    }
}

impl Gru {
    /// The layer, `GRU::new`.
    #[allow(clippy::new_ret_no_self, reason = "the kind stands for its layer in Rust's spelling")]
    pub fn new(units: usize) -> GRU {
        GRU::new(units)
    }

    fn plain(units: usize) -> Self {
        Self { dense: Dense::new(units), reset_after: false }
    }

    const fn recurrence(&self) -> RecurrentCell {
        RecurrentCell::Gru { reset_after: self.reset_after }
    }
}

impl Kind for Gru {
    const LAYER: &'static str = "GRU";
    const CELL: &'static str = "GRUCell";

    fn has() -> Has {
        Has { functions: true, gates: true, forget: false, implementation: true }
    }

    fn arguments(&self) -> &Arguments {
        &self.dense.arguments
    }

    fn arguments_mut(&mut self) -> &mut Arguments {
        &mut self.dense.arguments
    }

    fn read(reader: &mut Reader<'_>, layer: bool) -> Result<Self> {
        let dense = Dense::read(reader, Self::has(), layer)?;
        Ok(Self { dense, reset_after: reader.boolean("reset_after", false)? })
    }

    fn write(&self, config: Config, layer: bool) -> Config {
        self.dense.write(config, Self::has(), layer).with("reset_after", self.reset_after)
    }

    fn build(&self, class: &str, cx: &mut Build, step: &Spec) -> Result<()> {
        let wide = self.dense.units.saturating_mul(3);
        let bias: &[usize] = if self.reset_after { &[2, wide] } else { &[wide] };
        self.dense.build(class, cx, step, 3, bias, None)
    }

    fn cell(&self, class: &str, step: &Spec) -> Result<Cell> {
        self.dense.cell(class, step, 1)
    }

    fn step(&self, cx: &mut Call, x: &Tensor, states: &[Tensor]) -> Result<(Tensor, Vec<Tensor>)> {
        self.dense.step(cx, self.recurrence(), x, states)
    }

    fn run(&self, cx: &mut Call, steps: Steps) -> Result<Ran> {
        self.dense.run(cx, self.recurrence(), steps)
    }
}

impl WithFunctions for Gru {}
impl WithGates for Gru {}
impl WithImplementation for Gru {}
impl WithUnroll for Gru {}
