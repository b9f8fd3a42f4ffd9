//! Recurrent layers over whole sequences.

use super::op_many;
use crate::error::{Error, Result};
use crate::graph::{Op, RecurrentSpec};
use crate::tensor::Tensor;

/// The operands of [`recurrent`]; those that the description does not name stay `None`.
#[derive(Debug, Clone, Copy)]
pub struct Recurrence<'a> {
    /// The inputs times the kernel plus the bias, `[batch, time, gates · units]`: one product for all steps.
    pub x: &'a Tensor,
    /// The recurrent kernel, `[units, gates · units]`.
    pub kernel: &'a Tensor,
    /// The initial states, `[batch, units]`: h, and c of an LSTM.
    pub states: &'a [Tensor],
    /// The recurrent bias `[gates · units]` of a GRU that resets after the product; there it must be given.
    pub bias: Option<&'a Tensor>,
    /// Which steps count, `[batch, time]`, truth values.
    pub mask: Option<&'a Tensor>,
    /// What multiplies the state before the product, `[1 or gates, batch, units]`: masks already divided by the rate
    /// of what they keep.
    pub dropout: Option<&'a Tensor>,
}

/// A SimpleRNN, GRU or LSTM over a whole sequence: the outputs `[batch, time, units]` and the final states
/// `[batch, units]`. What is not used is not computed; without a mask the last output is the first final state.
///
/// Output `t` belongs to input `t` in both directions; Keras lists the outputs of `go_backwards` in the order in which
/// they arise, the reverse of that. Errors (which the result carries) name the operand whose type does not fit.
///
/// ```
/// use keras_core::graph::{RecurrentCell, RecurrentSpec};
/// use keras_core::k;
/// let x = k::placeholder([Some(2), Some(7), Some(4 * 3)], "x");
/// let kernel = k::placeholder([Some(3), Some(4 * 3)], "kernel");
/// let states = [k::placeholder([Some(2), Some(3)], "h"), k::placeholder([Some(2), Some(3)], "c")];
/// let spec = RecurrentSpec::new(RecurrentCell::Lstm);
/// let operands =
///     k::Recurrence { x: &x, kernel: &kernel, states: &states, bias: None, mask: None, dropout: None };
/// let (sequence, last) = k::recurrent(spec, &operands)?;
/// assert_eq!(sequence.spec()?.shape, [Some(2), Some(7), Some(3)]);
/// assert_eq!(last.len(), 2);
/// # Ok::<(), keras_core::Error>(())
/// ```
#[track_caller]
pub fn recurrent(spec: RecurrentSpec, operands: &Recurrence<'_>) -> Result<(Tensor, Vec<Tensor>)> {
    let mut inputs = vec![operands.x, operands.kernel];
    inputs.extend(operands.states);
    inputs.extend([operands.bias, operands.mask, operands.dropout].into_iter().flatten());
    let count = 1 + spec.cell.states();
    let results = op_many("recurrent", &inputs, count, move |graph, values| {
        let first = graph.add(Op::Recurrent(spec), values)?;
        Ok(graph.outputs_of(first).into_iter().take(count).collect())
    });
    match results.split_first() {
        Some((sequence, states)) => Ok((sequence.clone(), states.to_vec())),
        None => Err(Error::state("recurrent", "a sequence of outputs", "none")),
    }
}
