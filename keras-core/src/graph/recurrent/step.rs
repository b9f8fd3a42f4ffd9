//! One step of a recurrent operation in graph operations, the loop over it, and the gradients.

use super::{
    GateActivation, MaskedOutput, RecurrentCell, RecurrentDropout, RecurrentOperands, RecurrentSpec,
};
use crate::error::{Error, Result};
use crate::graph::{Binary, ByRef, Graph, Op, Scan, ScanBuilder, Type, Unary, Value, gradients};
use std::sync::Arc;

impl GateActivation {
    fn apply(self, g: &mut Graph, x: Value) -> Result<Value> {
        match self {
            Self::Tanh => g.unary(Unary::Tanh, x),
            Self::Sigmoid => g.unary(Unary::Sigmoid, x),
            Self::HardSigmoid => {
                let scaled = g.binary_scalar(Binary::Mul, x, 0.2)?;
                let shifted = g.binary_scalar(Binary::Add, scaled, 0.5)?;
                let low = g.binary_scalar(Binary::Max, shifted, 0.0)?;
                g.binary_scalar(Binary::Min, low, 1.0)
            }
            Self::Relu => g.unary(Unary::Relu, x),
            Self::Linear => Ok(x),
        }
    }
}

/// What a step reads besides the states.
struct Step {
    spec: RecurrentSpec,
    units: usize,
    /// `[batch, gates · units]`.
    x: Value,
    kernel: Value,
    bias: Option<Value>,
    dropout: Option<Value>,
}

impl Step {
    /// The columns of a gate.
    fn gate(&self, g: &mut Graph, x: Value, gate: usize) -> Result<Value> {
        let axis = g.shape(x).len().saturating_sub(1);
        g.slice_axis(x, axis, gate * self.units, (gate + 1) * self.units)
    }

    /// The state as a gate's product reads it.
    fn dropped(&self, g: &mut Graph, h: Value, gate: usize) -> Result<Value> {
        let row = match (self.spec.dropout, self.dropout) {
            (RecurrentDropout::Shared, Some(masks)) => g.slice_axis(masks, 0, 0, 1)?,
            (RecurrentDropout::PerGate, Some(masks)) => g.slice_axis(masks, 0, gate, gate + 1)?,
            _ => return Ok(h),
        };
        let shape = g.shape(h).to_vec();
        let mask = g.reshape(row, &shape)?;
        g.binary(Binary::Mul, h, mask)
    }

    /// `h·U (+ b)` of one gate, `h` being masked already.
    fn product(&self, g: &mut Graph, h: Value, gate: usize) -> Result<Value> {
        let kernel = self.gate(g, self.kernel, gate)?;
        let product = g.matmul(h, kernel, false, false)?;
        match self.bias {
            Some(bias) => {
                let bias = self.gate(g, bias, gate)?;
                let bias = g.reshape(bias, &[1, self.units])?;
                let shape = g.shape(product).to_vec();
                let bias = g.broadcast(bias, &shape)?;
                g.binary(Binary::Add, product, bias)
            }
            None => Ok(product),
        }
    }

    /// The inputs and products of the first gates, added.
    fn sums(&self, g: &mut Graph, h: Value, gates: usize) -> Result<Vec<Value>> {
        let whole = if self.spec.dropout == RecurrentDropout::PerGate || gates < self.spec.cell.gates() {
            None
        } else {
            let h = self.dropped(g, h, 0)?;
            let product = g.matmul(h, self.kernel, false, false)?;
            Some(g.binary(Binary::Add, self.x, product)?)
        };
        (0..gates)
            .map(|gate| match whole {
                Some(whole) => self.gate(g, whole, gate),
                None => {
                    let h = self.dropped(g, h, gate)?;
                    let (x, product) = (self.gate(g, self.x, gate)?, self.product(g, h, gate)?);
                    g.binary(Binary::Add, x, product)
                }
            })
            .collect()
    }

    /// The new states, and what the gradient keeps.
    #[allow(clippy::indexing_slicing, reason = "as many sums as gates, as many states as the cell has")]
    fn run(&self, g: &mut Graph, states: &[Value]) -> Result<(Vec<Value>, Vec<Value>)> {
        let (gate, activation) = (self.spec.recurrent_activation, self.spec.activation);
        let h = states[0];
        match self.spec.cell {
            RecurrentCell::SimpleRnn => {
                let sums = self.sums(g, h, 1)?;
                let h = activation.apply(g, sums[0])?;
                Ok((vec![h], vec![h]))
            }
            RecurrentCell::Lstm => {
                let sums = self.sums(g, h, 4)?;
                let (i, f) = (gate.apply(g, sums[0])?, gate.apply(g, sums[1])?);
                let (candidate, o) = (activation.apply(g, sums[2])?, gate.apply(g, sums[3])?);
                let old = g.binary(Binary::Mul, f, states[1])?;
                let new = g.binary(Binary::Mul, i, candidate)?;
                let c = g.binary(Binary::Add, old, new)?;
                let a = activation.apply(g, c)?;
                let h = g.binary(Binary::Mul, o, a)?;
                Ok((vec![h, c], vec![i, f, candidate, o, a]))
            }
            RecurrentCell::Gru { reset_after } => {
                let sums = self.sums(g, h, 2)?;
                let (z, r) = (gate.apply(g, sums[0])?, gate.apply(g, sums[1])?);
                let x = self.gate(g, self.x, 2)?;
                let dropped = self.dropped(g, h, 2)?;
                let mut kept = vec![z, r];
                let product = if reset_after {
                    let product = self.product(g, dropped, 2)?;
                    kept.push(product);
                    g.binary(Binary::Mul, r, product)?
                } else {
                    let reset = g.binary(Binary::Mul, r, dropped)?;
                    self.product(g, reset, 2)?
                };
                let sum = g.binary(Binary::Add, x, product)?;
                let candidate = activation.apply(g, sum)?;
                kept.insert(2, candidate);
                let mixed = if self.spec.dropout == RecurrentDropout::Shared { dropped } else { h };
                let old = g.binary(Binary::Mul, z, mixed)?;
                let one = g.full_like(z, 1.0)?;
                let rest = g.binary(Binary::Sub, one, z)?;
                let new = g.binary(Binary::Mul, rest, candidate)?;
                Ok((vec![g.binary(Binary::Add, old, new)?], kept))
            }
        }
    }
}

fn too_few() -> Error {
    Error::state("recurrent operation", "as many operands as its shape rule demands", "fewer")
}

/// Batch and time exchanged.
fn turned(g: &mut Graph, x: Value) -> Result<Value> {
    let mut perm: Vec<usize> = (0..g.shape(x).len()).collect();
    perm.swap(0, 1);
    g.permute(x, &perm)
}

/// The loop and its operands. Its carries are the states and, where masked steps repeat outputs, the last output; it
/// collects the outputs and, if `kept`, what the gradient keeps.
#[allow(clippy::indexing_slicing, reason = "the operands were counted")]
fn scan(
    g: &mut Graph,
    spec: RecurrentSpec,
    operands: &RecurrentOperands<'_, Value>,
    kept: bool,
) -> Result<(Scan, Vec<Value>)> {
    let mut init = operands.states.to_vec();
    let units = g.shape(init[0]).last().copied().unwrap_or_default();
    if spec.mask == Some(MaskedOutput::Repeat) {
        init.push(g.full_like(init[0], 0.0)?);
    }
    let mut xs = vec![turned(g, *operands.x)?];
    if let Some(&mask) = operands.mask {
        xs.push(turned(g, mask)?);
    }
    let consts: Vec<Value> =
        [Some(operands.kernel), operands.bias, operands.dropout].into_iter().flatten().copied().collect();
    let mut builder = ScanBuilder::new(g, &init, &xs, &consts)?;
    let (carries, rows, mut fixed) = (builder.carries(), builder.xs(), builder.consts().into_iter());
    let kernel = fixed.next().ok_or_else(too_few)?;
    let bias = operands.bias.and_then(|_| fixed.next());
    let step = Step { spec, units, x: rows[0], kernel, bias, dropout: fixed.next() };
    let body = &mut builder.body;
    let states = &carries[..spec.cell.states()];
    let (mut next, gates) = step.run(body, states)?;
    let mut output = next[0];
    let mut gates = body.add(Op::Concat(1), &gates)?;
    if let (Some(masked), Some(&row)) = (spec.mask, rows.get(1)) {
        let shape = body.shape(output).to_vec();
        let column = body.reshape(row, &[shape[0], 1])?;
        let valid = body.broadcast(column, &shape)?;
        for (next, &old) in next.iter_mut().zip(states) {
            *next = body.add(Op::Select, &[valid, *next, old])?;
        }
        let shape = body.shape(gates).to_vec();
        let wide = body.broadcast(column, &shape)?;
        let zeros = body.full_like(gates, 0.0)?;
        gates = body.add(Op::Select, &[wide, gates, zeros])?;
        output = match masked {
            MaskedOutput::State => next[0],
            MaskedOutput::Repeat => body.add(Op::Select, &[valid, output, carries[states.len()]])?,
            MaskedOutput::Zeros => {
                let zeros = body.full_like(output, 0.0)?;
                body.add(Op::Select, &[valid, output, zeros])?
            }
        };
        if masked == MaskedOutput::Repeat {
            next.push(output);
        }
    }
    let mut ys = vec![output];
    if kept {
        ys.push(gates);
    }
    Ok(builder.build(&next, &ys, spec.reverse))
}

/// The forward operation as a loop.
pub(in crate::graph) fn decompose(
    g: &mut Graph,
    spec: RecurrentSpec,
    inputs: &[Value],
) -> Result<Vec<Value>> {
    let operands = spec.operands(inputs).ok_or_else(too_few)?;
    let (scan, values) = scan(g, spec, &operands, true)?;
    let (carries, states) = (scan.carries, spec.cell.states());
    let first = g.add(Op::Scan(ByRef(Arc::new(scan))), &values)?;
    let mut results = g.outputs_of(first);
    let reserve: Vec<Value> = results.drain(carries + 2..).take(states).collect();
    let ys = results.split_off(carries);
    results.truncate(states);
    let mut turn =
        |values: &[Value]| values.iter().map(|&value| turned(g, value)).collect::<Result<Vec<_>>>();
    let (ys, reserve) = (turn(&ys)?, turn(&reserve)?);
    let (sequence, kept) = ys.split_first().ok_or_else(too_few)?;
    Ok([&[*sequence], &results[..], &reserve, kept].concat())
}

/// The gradient as the gradient of the loop, which replays each step from the states in reserve.
#[allow(clippy::indexing_slicing, reason = "the shape rule has counted the operands")]
pub(in crate::graph) fn decompose_gradient(
    g: &mut Graph,
    spec: RecurrentSpec,
    sequence: bool,
    inputs: &[Value],
) -> Result<Vec<Value>> {
    let operands = spec.operands(inputs).ok_or_else(too_few)?;
    let states = spec.cell.states();
    let (scan, values) = scan(g, spec, &operands, false)?;
    let mut rest = operands.rest.iter().copied();
    let mut reserve = Vec::new();
    for state in rest.by_ref().take(states) {
        reserve.push(turned(g, state)?);
    }
    rest.next();
    let sequence = rest.next().filter(|_| sequence).map(|grad| turned(g, grad)).transpose()?;
    let finals = &operands.rest[operands.rest.len() - states..];
    // The vector-Jacobian product of a loop reads the types alone of what it put out.
    let mut outputs = values[..scan.carries].to_vec();
    outputs.push(reserve[0]);
    outputs.extend(&reserve);
    let mut upstream: Vec<Option<Value>> = finals.iter().copied().map(Some).collect();
    upstream.resize(scan.carries, None);
    upstream.push(sequence);
    upstream.resize(scan.carries + 1 + scan.carries, None);
    if scan.carries > states {
        // Nothing depends on which output a masked step repeats.
        outputs.push(g.full_like(reserve[0], 0.0)?);
    }
    let mut wanted = vec![true; values.len()];
    if operands.dropout.is_some() {
        wanted.pop();
        wanted.push(false);
    }
    let products = crate::graph::scan::vjp(g, &scan, &values, &outputs, &upstream, &wanted)?;
    let product = |at: usize| products.get(at).copied().flatten().ok_or_else(too_few);
    let (x, kernel) = (scan.carries, scan.carries + scan.xs);
    let mut results = vec![turned(g, product(x)?)?, product(kernel)?];
    for state in 0..states {
        results.push(product(state)?);
    }
    if operands.bias.is_some() {
        results.push(product(kernel + 1)?);
    }
    Ok(results)
}

/// The vector-Jacobian product of the forward operation: its gradient operation; by decomposition where there are
/// gradients into the reserve, or for the dropout.
#[allow(clippy::indexing_slicing, reason = "the shape rule has counted operands and outputs")]
pub(in crate::graph) fn vjp(
    g: &mut Graph,
    op: &Op,
    inputs: &[Value],
    outputs: &[Value],
    upstream: &[Option<Value>],
    wanted: &[bool],
) -> Result<Vec<Option<Value>>> {
    let &Op::Recurrent(spec) = op else { return by_decomposition(g, op, inputs, upstream, wanted) };
    let states = spec.cell.states();
    let (direct, reserve) = upstream.split_at(1 + states);
    let dropout = spec.dropout != RecurrentDropout::None && wanted.last() == Some(&true);
    if dropout || reserve.iter().any(Option::is_some) {
        return by_decomposition(g, op, inputs, upstream, wanted);
    }
    let mut operands = [inputs, &outputs[1 + states..]].concat();
    operands.extend(direct[0]);
    for (&state, &grad) in outputs[1..].iter().zip(&direct[1..]) {
        operands.push(match grad {
            Some(grad) => grad,
            None => g.full_like(state, 0.0)?,
        });
    }
    let first = g.add(Op::RecurrentGrad(spec, direct[0].is_some()), &operands)?;
    let mut products: Vec<Option<Value>> = g.outputs_of(first).into_iter().map(Some).collect();
    products.resize(inputs.len(), None);
    Ok(products)
}

/// The gradient of the decomposition, taken in a graph of its own: there no operand depends on another.
fn by_decomposition(
    g: &mut Graph,
    op: &Op,
    inputs: &[Value],
    upstream: &[Option<Value>],
    wanted: &[bool],
) -> Result<Vec<Option<Value>>> {
    let mut parts = Graph::new();
    let feed = |parts: &mut Graph, value: Value| parts.input(Type::clone(g.ty(value)));
    let operands: Vec<Value> = inputs.iter().map(|&input| feed(&mut parts, input)).collect();
    let results = crate::graph::decompose(&mut parts, op, &operands)?.ok_or_else(too_few)?;
    let mut seeds = Vec::new();
    let mut feeds = inputs.to_vec();
    for (&result, grad) in results.iter().zip(upstream) {
        if let Some(grad) = *grad {
            seeds.push((result, feed(&mut parts, grad)));
            feeds.push(grad);
        }
    }
    let targets: Vec<Value> =
        operands.iter().zip(wanted).filter(|(_, wanted)| **wanted).map(|(&operand, _)| operand).collect();
    let mut found = gradients(&mut parts, &seeds, &targets)?.into_iter();
    let grads: Vec<Option<Value>> =
        wanted.iter().map(|&wanted| if wanted { found.next().flatten() } else { None }).collect();
    parts.set_outputs(grads.iter().flatten().copied().collect::<Vec<_>>());
    let mut inlined = g.inline(&parts, &feeds)?.into_iter();
    Ok(grads.into_iter().map(|grad| grad.and_then(|_| inlined.next())).collect())
}
