//! [`Cell`]: what a layer is as a recurrent cell; [`CellLayer`]: Keras's own cells.

use super::arguments::argument_verbs;
use super::kind::{Kind, WithForgetGate, WithFunctions, WithGates, WithImplementation};
use crate::activations::ActivationSpec;
use crate::constraints::ConstraintSpec;
use crate::error::{Error, Result};
use crate::initializers::InitializerSpec;
use crate::layers::registry::Read;
use crate::layers::{Base, Build, Call, Layer};
use crate::registry::{Config, Reader};
use crate::regularizers::RegularizerSpec;
use crate::tensor::{Spec, Tensor};

/// The shapes of a recurrent cell's states and result, without the batch axis: Keras's `state_size` and `output_size`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    /// The shape of each state.
    pub states: Vec<Vec<Option<usize>>>,
    /// The shape of the result.
    pub output: Vec<Option<usize>>,
    /// Whether its `call` takes constants behind the states.
    pub constants: bool,
}

impl Cell {
    /// A cell with vectors of those sizes as states, whose result is as long as the first.
    pub fn new(state_sizes: impl Into<Vec<usize>>) -> Self {
        let states: Vec<Vec<Option<usize>>> =
            state_sizes.into().into_iter().map(|size| vec![Some(size)]).collect();
        let output = states.first().cloned().unwrap_or_default();
        Self { states, output, constants: false }
    }

    /// The length of its result, where it is not that of the first state.
    pub fn output_size(mut self, size: usize) -> Self {
        self.output = vec![Some(size)];
        self
    }

    /// Lets `call` take constants behind the states.
    pub fn with_constants(mut self) -> Self {
        self.constants = true;
        self
    }
}

/// One of Keras's cells: called on an input of one step and the states, it gives the result and the next states.
#[derive(Debug, Clone)]
pub struct CellLayer<K> {
    pub(super) base: Base,
    pub(super) kind: K,
}

impl<K: Kind> CellLayer<K> {
    pub(super) fn of(kind: K) -> Self {
        Self { base: Base::default(), kind }
    }
}

crate::layer_verbs!([K: Kind] CellLayer<K>);
argument_verbs!(CellLayer);

impl<K: Kind> Read for CellLayer<K> {
    fn read(reader: &mut Reader<'_>) -> Result<Self> {
        Ok(Self { base: Base::read(reader)?, kind: K::read(reader, false)? })
    }
}

/// The input of a cell's step among all it is called on.
fn first<'a, T>(class: &str, inputs: &'a [T]) -> Result<(&'a T, &'a [T])> {
    inputs.split_first().ok_or_else(|| Error::value(class, "an input and states", "none"))
}

impl<K: Kind> Layer for CellLayer<K> {
    fn config(&self) -> Config {
        self.kind.write(Config::new(K::CELL), false)
    }

    fn base(&self) -> Option<&Base> {
        Some(&self.base)
    }

    fn build(&self, cx: &mut Build, inputs: &[Spec]) -> Result<()> {
        self.kind.build(K::CELL, cx, first(K::CELL, inputs)?.0)
    }

    fn cell(&self, step: &Spec) -> Result<Option<Cell>> {
        self.kind.cell(K::CELL, step).map(Some)
    }

    fn call(&self, cx: &mut Call, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        let (x, states) = first(K::CELL, inputs)?;
        let count = self.kind.cell(K::CELL, &x.spec()?)?.states.len();
        if states.len() != count {
            return Err(Error::value(K::CELL, format!("{count} states"), states.len().to_string()));
        }
        let (output, next) = self.kind.step(cx, x, states)?;
        Ok(std::iter::once(output).chain(next).collect())
    }
}
