//! Recurrent layers over whole sequences.

use crate::{check, random};
use keras_core::DType;
use keras_core::graph::{MaskedOutput, Op, RecurrentCell, RecurrentSpec};

/// Several tasks, the last one smaller, on any number of threads.
#[test]
fn recurrent_layers_and_their_gradients() {
    let cells = [
        RecurrentCell::SimpleRnn,
        RecurrentCell::Gru { reset_after: false },
        RecurrentCell::Gru { reset_after: true },
        RecurrentCell::Lstm,
    ];
    for (turn, cell) in cells.into_iter().enumerate() {
        for dtype in [DType::F32, DType::F64] {
            let (reverse, mask) = (turn % 2 == 1, Some(MaskedOutput::Repeat));
            let spec = RecurrentSpec { reverse, mask, ..RecurrentSpec::new(cell) };
            let (batch, time, units) = (21, 5, 10);
            let width = cell.gates() * units;
            let random = |shape: &[usize], seed| random(dtype, shape, seed);
            let mut inputs = vec![random(&[batch, time, width], 1), random(&[units, width], 2)];
            inputs.extend((0..cell.states()).map(|i| random(&[batch, units], 3 + i as u64)));
            if cell == (RecurrentCell::Gru { reset_after: true }) {
                inputs.push(random(&[width], 5));
            }
            inputs.push(crate::random(DType::Bool, &[batch, time], 6));
            let results = check(&Op::Recurrent(spec), &inputs);
            inputs.extend(results.into_iter().skip(1 + cell.states()));
            inputs.push(random(&[batch, time, units], 7));
            inputs.extend((0..cell.states()).map(|i| random(&[batch, units], 8 + i as u64)));
            check(&Op::RecurrentGrad(spec, true), &inputs);
        }
    }
}
