//! The mathematics of Keras's cells on vectors, one step and whole sequences.

use crate::activations::{Activation, ActivationRef};
use crate::error::{Error, Result};
use crate::graph::{GateActivation, MaskedOutput, RecurrentCell, RecurrentDropout, RecurrentSpec};
use crate::k::{self, Ran, Steps};
use crate::semantics;
use crate::tensor::{Tensor, Trace};

/// What every step of a sequence computes with.
pub(crate) struct Formula {
    pub(crate) cell: RecurrentCell,
    pub(crate) units: usize,
    pub(crate) activation: ActivationRef,
    pub(crate) recurrent_activation: ActivationRef,
    /// `(features, gates·units)`.
    pub(crate) kernel: Tensor,
    /// `(units, gates·units)`.
    pub(crate) recurrent_kernel: Tensor,
    /// `(gates·units,)`; of a GRU with `reset_after` `(2, gates·units)`, that of the input first.
    pub(crate) bias: Option<Tensor>,
    /// Factors `(batch, features)` of the input in every step: none, one, or one per gate.
    pub(crate) input_masks: Vec<Tensor>,
    /// Factors `(batch, units)` of the state on its way into the gates: none, one, or one per gate.
    pub(crate) recurrent_masks: Vec<Tensor>,
    /// Whether z∘h of a GRU reads the state with its mask on: as in Keras where all gates share one.
    pub(crate) masked_carry: bool,
}

/// Runs a formula over a sequence: the one place where Keras's layers compute. The input of all steps is projected at
/// once; what the graph has an operation for is that, the rest a loop.
pub(crate) fn run(trace: &Trace, formula: &Formula, mut steps: Steps) -> Result<Ran> {
    steps.x = formula.project(&steps.x, true)?;
    match formula.spec(trace, &steps) {
        Some(spec) => formula.run_operation(spec, &steps),
        None => steps.run(trace, &mut |_, _, x, states| formula.advance(x, states)),
    }
}

impl Formula {
    /// The graph's own operation for the formula, if there is one.
    fn spec(&self, trace: &Trace, steps: &Steps) -> Option<RecurrentSpec> {
        let known = |activation: &ActivationRef| GateActivation::from_name(activation.builtin()?.name());
        let masked = match (steps.zero_output_for_mask, trace.semantics().masked_output) {
            (true, _) => MaskedOutput::Zeros,
            (false, semantics::MaskedOutput::Previous) => MaskedOutput::Repeat,
            (false, semantics::MaskedOutput::FirstState) => MaskedOutput::State,
        };
        let spec = RecurrentSpec {
            cell: self.cell,
            activation: known(&self.activation)?,
            recurrent_activation: known(&self.recurrent_activation)?,
            reverse: steps.go_backwards,
            mask: steps.mask.is_some().then_some(masked),
            dropout: match self.recurrent_masks.len() {
                0 => RecurrentDropout::None,
                1 => RecurrentDropout::Shared,
                _ => RecurrentDropout::PerGate,
            },
        };
        (!steps.unroll).then_some(spec)
    }

    fn run_operation(&self, spec: RecurrentSpec, steps: &Steps) -> Result<Ran> {
        let mask = steps.truth()?;
        let dropout = (!self.recurrent_masks.is_empty())
            .then(|| k::stack(&self.recurrent_masks.iter().collect::<Vec<_>>(), 0));
        let bias = match (self.cell, &self.bias) {
            (RecurrentCell::Gru { reset_after: true }, Some(bias)) => Some(row(bias, 1)),
            (RecurrentCell::Gru { reset_after: true }, None) => {
                let gates = row(&self.recurrent_kernel, 0);
                Some(k::zeros_like(&gates, gates.dtype()?))
            }
            _ => None,
        };
        let operands = k::Recurrence {
            x: &steps.x,
            kernel: &self.recurrent_kernel,
            states: &steps.initial,
            bias: bias.as_ref(),
            mask: mask.as_ref(),
            dropout: dropout.as_ref(),
        };
        let (sequence, states) = k::recurrent(spec, &operands)?;
        sequence.check()?;
        let time = sequence.shape()?.get(1).copied().unwrap_or_default();
        let last = match states.first() {
            Some(state) if mask.is_none() => state.clone(),
            _ => {
                let at = if steps.go_backwards { 0 } else { time.saturating_sub(1) };
                k::squeeze(&k::slice_axis(&sequence, 1, at, at + 1), 1)
            }
        };
        let outputs = if steps.go_backwards { k::reverse(&sequence, &[1]) } else { sequence };
        Ok(Ran { last, outputs, states })
    }

    /// One step from its input and the states before it: the result and the next states.
    pub(crate) fn step(&self, x: &Tensor, states: &[Tensor]) -> Result<(Tensor, Vec<Tensor>)> {
        self.advance(&self.project(x, false)?, states)
    }

    /// x·kernel + bias of a step `(batch, features)`, or of all steps `(batch, time, features)`.
    fn project(&self, x: &Tensor, sequence: bool) -> Result<Tensor> {
        let masked = |mask: &Tensor| if sequence { x * &k::expand_dims(mask, 1) } else { x * mask };
        let y = match self.input_masks.as_slice() {
            [] => k::dot(x, &self.kernel),
            [mask] => k::dot(&masked(mask), &self.kernel),
            masks => {
                let parts: Vec<Tensor> = masks
                    .iter()
                    .enumerate()
                    .map(|(gate, mask)| k::dot(&masked(mask), &self.gate(&self.kernel, gate)))
                    .collect();
                k::concatenate(&parts.iter().collect::<Vec<_>>(), -1)
            }
        };
        let y = match (&self.bias, self.cell) {
            (None, _) => y,
            (Some(bias), RecurrentCell::Gru { reset_after: true }) => k::add(&y, &row(bias, 0)),
            (Some(bias), _) => k::add(&y, bias),
        };
        y.check()?;
        Ok(y)
    }

    /// The columns of one gate.
    fn gate(&self, x: &Tensor, gate: usize) -> Tensor {
        self.range(x, gate, gate + 1)
    }

    /// The columns of some gates.
    fn range(&self, x: &Tensor, from: usize, to: usize) -> Tensor {
        k::slice_axis(x, -1, from * self.units, to * self.units)
    }

    /// The state with the mask of a gate on it.
    fn masked(&self, h: &Tensor, gate: usize) -> Tensor {
        match self.recurrent_masks.as_slice() {
            [] => h.clone(),
            [mask] => h * mask,
            masks => masks.get(gate).map_or_else(|| h.clone(), |mask| h * mask),
        }
    }

    /// h·U for some gates, each with its mask.
    fn recur(&self, h: &Tensor, from: usize, to: usize) -> Tensor {
        if self.recurrent_masks.len() <= 1 {
            return k::dot(&self.masked(h, 0), &self.range(&self.recurrent_kernel, from, to));
        }
        let parts: Vec<Tensor> = (from..to)
            .map(|gate| k::dot(&self.masked(h, gate), &self.gate(&self.recurrent_kernel, gate)))
            .collect();
        k::concatenate(&parts.iter().collect::<Vec<_>>(), -1)
    }

    /// One step from its projected input.
    fn advance(&self, x: &Tensor, states: &[Tensor]) -> Result<(Tensor, Vec<Tensor>)> {
        let missing = || Error::value("recurrent step", "a state", "none");
        let h = states.first().ok_or_else(missing)?;
        let (act, gated) = (&self.activation, &self.recurrent_activation);
        let next = match self.cell {
            RecurrentCell::SimpleRnn => vec![act.call(&(x + &self.recur(h, 0, 1)))],
            RecurrentCell::Gru { reset_after } => vec![self.gru(x, h, reset_after)],
            RecurrentCell::Lstm => {
                let before = states.get(1).ok_or_else(missing)?;
                let z = x + &self.recur(h, 0, 4);
                let (i, f) = (gated.call(&self.gate(&z, 0)), gated.call(&self.gate(&z, 1)));
                let c = f * before + i * act.call(&self.gate(&z, 2));
                let o = gated.call(&self.gate(&z, 3));
                vec![o * act.call(&c), c]
            }
        };
        for state in &next {
            state.check()?;
        }
        let output = next.first().cloned().ok_or_else(missing)?;
        Ok((output, next))
    }

    fn gru(&self, x: &Tensor, h: &Tensor, reset_after: bool) -> Tensor {
        let (act, gated) = (&self.activation, &self.recurrent_activation);
        let (z, candidate) = if reset_after {
            let inner = self.recur(h, 0, 3);
            let inner = match &self.bias {
                Some(bias) => k::add(&inner, &row(bias, 1)),
                None => inner,
            };
            let gates = gated_pair(self, gated, &(self.range(x, 0, 2) + self.range(&inner, 0, 2)));
            (gates.0, self.gate(x, 2) + gates.1 * self.gate(&inner, 2))
        } else {
            let gates = gated_pair(self, gated, &(self.range(x, 0, 2) + self.recur(h, 0, 2)));
            let reset = gates.1 * self.masked(h, 2);
            (gates.0, self.gate(x, 2) + k::dot(&reset, &self.gate(&self.recurrent_kernel, 2)))
        };
        let carried = if self.masked_carry { self.masked(h, 0) } else { h.clone() };
        let kept = &z * &carried;
        kept + (1.0 - z) * act.call(&candidate)
    }
}

/// The update and the reset gate.
fn gated_pair(formula: &Formula, activation: &ActivationRef, both: &Tensor) -> (Tensor, Tensor) {
    (activation.call(&formula.gate(both, 0)), activation.call(&formula.gate(both, 1)))
}

/// A row of a matrix, as a vector.
fn row(x: &Tensor, row: usize) -> Tensor {
    k::squeeze(&k::slice_axis(x, 0, row, row + 1), 0)
}
