//! [`Kind`]: what tells one of Keras's own recurrent layers from another.

use super::Cell;
use super::arguments::{Arguments, Has};
use crate::error::Result;
use crate::k::{Ran, Steps};
use crate::layers::{Build, Call};
use crate::registry::{Config, Reader};
use crate::tensor::{Spec, Tensor};

/// A recurrence: its arguments, weights and mathematics. A [`CellLayer`](super::CellLayer) makes a cell of it, a
/// [`Recurrent`](super::Recurrent) a layer.
pub trait Kind: Clone + Send + Sync + 'static {
    /// The class of the layer.
    const LAYER: &'static str;
    /// The class of the cell.
    const CELL: &'static str;
    /// Whether masked inputs are welcome.
    const MASKS: bool = true;
    /// Whether the layer has the argument `unroll` in its config.
    const UNROLL: bool = true;

    /// Which of the shared arguments the classes have.
    #[doc(hidden)]
    fn has() -> Has;
    /// The shared arguments.
    #[doc(hidden)]
    fn arguments(&self) -> &Arguments;
    /// The shared arguments.
    #[doc(hidden)]
    fn arguments_mut(&mut self) -> &mut Arguments;
    /// Reads the arguments of the layer or the cell.
    fn read(reader: &mut Reader<'_>, layer: bool) -> Result<Self>;
    /// Adds the arguments in Keras's order.
    fn write(&self, config: Config, layer: bool) -> Config;
    /// Makes the weights, for an input of one step.
    fn build(&self, class: &str, cx: &mut Build, step: &Spec) -> Result<()>;
    /// The shapes of states and result, for an input of one step.
    fn cell(&self, class: &str, step: &Spec) -> Result<Cell>;
    /// One step: from input and states to the result and the next states.
    fn step(&self, cx: &mut Call, x: &Tensor, states: &[Tensor]) -> Result<(Tensor, Vec<Tensor>)>;
    /// All steps.
    #[doc(hidden)]
    fn run(&self, cx: &mut Call, steps: Steps) -> Result<Ran> {
        let around = cx.trace();
        steps.run(around, &mut |trace, number, x, states| self.step(&mut cx.inside(trace, number), x, states))
    }
}

/// Kinds with activations, an optional bias, and dropout.
pub trait WithFunctions: Kind {}
/// Kinds with gates.
pub trait WithGates: WithFunctions {}
/// Kinds with a forget gate.
pub trait WithForgetGate: Kind {}
/// Kinds with the argument `implementation`.
pub trait WithImplementation: WithGates {}
/// Kinds whose layers can be unrolled.
pub trait WithUnroll: Kind {}
