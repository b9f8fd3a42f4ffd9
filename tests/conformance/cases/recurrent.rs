//! Recurrent layers and their gradients.

use super::FLOATS;
use crate::Case;
use crate::case::Numbers;
use keras_core::backend::Backend;
use keras_core::backend::reference::Reference;
use keras_core::graph::{GateActivation, MaskedOutput, Op, RecurrentCell, RecurrentDropout, RecurrentSpec};
use keras_core::{Array, DType};

const CELLS: [RecurrentCell; 4] = [
    RecurrentCell::SimpleRnn,
    RecurrentCell::Gru { reset_after: false },
    RecurrentCell::Gru { reset_after: true },
    RecurrentCell::Lstm,
];

/// Batch, time, units: around the sizes at which kernels change what they do.
const SIZES: [[usize; 3]; 7] =
    [[1, 1, 1], [3, 4, 5], [2, 5, 16], [9, 3, 7], [8, 2, 33], [19, 3, 12], [33, 2, 8]];

/// Every combination of mask, dropout and direction, with activations that take turns.
fn specs(cell: RecurrentCell) -> Vec<RecurrentSpec> {
    use GateActivation::{HardSigmoid, Linear, Relu, Sigmoid, Tanh};
    let masks = [None, Some(MaskedOutput::Repeat), Some(MaskedOutput::State), Some(MaskedOutput::Zeros)];
    let dropouts = [RecurrentDropout::None, RecurrentDropout::Shared, RecurrentDropout::PerGate];
    let activations =
        [(Tanh, Sigmoid), (Tanh, HardSigmoid), (Sigmoid, Tanh), (Relu, Sigmoid), (Linear, Linear)];
    let mut specs = Vec::new();
    for mask in masks {
        for dropout in dropouts {
            for reverse in [false, true] {
                let (activation, recurrent_activation) = activations[specs.len() % activations.len()];
                specs.push(RecurrentSpec { cell, activation, recurrent_activation, reverse, mask, dropout });
            }
        }
    }
    specs
}

/// Values small enough that a few steps of a linear cell stay near one.
fn operands(
    spec: RecurrentSpec,
    numbers: &mut Numbers,
    dtype: DType,
    [batch, time, units]: [usize; 3],
) -> Vec<Array> {
    let width = spec.cell.gates() * units;
    let reach = 1.0 / units as f64;
    let mut operands = vec![
        numbers.array_in(dtype, &[batch, time, width], -1.0, 1.0),
        numbers.array_in(dtype, &[units, width], -reach, reach),
    ];
    let states = spec.cell.states();
    operands.extend((0..states).map(|_| numbers.array_in(dtype, &[batch, units], -1.0, 1.0)));
    if spec.cell == (RecurrentCell::Gru { reset_after: true }) {
        operands.push(numbers.array_in(dtype, &[width], -1.0, 1.0));
    }
    if spec.mask.is_some() {
        operands.push(numbers.array(DType::Bool, &[batch, time]));
    }
    let masks = match spec.dropout {
        RecurrentDropout::None => return operands,
        RecurrentDropout::Shared => 1,
        RecurrentDropout::PerGate => spec.cell.gates(),
    };
    operands.push(numbers.array_in(dtype, &[masks, batch, units], 0.0, 1.5));
    operands
}

/// A gradient of the operation, with the reserve that it leaves.
fn gradient(
    spec: RecurrentSpec,
    numbers: &mut Numbers,
    sequence: bool,
    operands: &[Array],
    [batch, time, units]: [usize; 3],
) -> Option<(Op, Vec<Array>)> {
    let results = Reference.composite(&Op::Recurrent(spec), operands, &[true; 8]).ok()?;
    let states = spec.cell.states();
    let dtype = operands.first()?.dtype();
    let mut inputs = operands.to_vec();
    inputs.extend(results.into_iter().flatten().skip(1 + states));
    inputs.extend(sequence.then(|| numbers.array_in(dtype, &[batch, time, units], -1.0, 1.0)));
    inputs.extend((0..states).map(|_| numbers.array_in(dtype, &[batch, units], -1.0, 1.0)));
    Some((Op::RecurrentGrad(spec, sequence), inputs))
}

pub(super) fn cases() -> Vec<Case> {
    let mut numbers = Numbers::new(70);
    let mut cases = Vec::new();
    let mut turn = 0;
    for dtype in FLOATS {
        for spec in CELLS.into_iter().flat_map(specs) {
            // Two of the sizes each; over the specs every size meets every cell.
            for _ in 0..2 {
                let size = SIZES[turn % SIZES.len()];
                turn += 1;
                let title = format!("{spec:?}");
                let inputs = operands(spec, &mut numbers, dtype, size);
                let gradient = gradient(spec, &mut numbers, turn % 3 > 0, &inputs, size);
                cases.push(Case::new(title.clone(), Op::Recurrent(spec), inputs));
                cases.extend(gradient.map(|(op, inputs)| Case::new(title, op, inputs)));
            }
        }
    }
    cases
}
