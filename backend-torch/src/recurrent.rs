//! Recurrent layers over whole sequences, without masks and dropout. As libtorch's own, they are one product a step and gates in
//! place; unlike those they leave in reserve what the gradient reads, and know every activation of Keras's gates.

use crate::tensor::{Raw, copied};
use keras_core::graph::{GateActivation, RecurrentCell, RecurrentDropout, RecurrentOperands, RecurrentSpec};
use tch::{TchError, Tensor};

/// What becomes of the operands, or libtorch's exception.
type Results = Result<Vec<Option<Tensor>>, TchError>;

/// Whether the layer runs here.
pub(crate) fn runs(spec: RecurrentSpec) -> bool {
    spec.mask.is_none() && spec.dropout == RecurrentDropout::None
}

fn apply(activation: GateActivation, x: &mut Tensor) -> Result<(), TchError> {
    match activation {
        GateActivation::Tanh => drop(x.f_tanh_()?),
        GateActivation::Sigmoid => drop(x.f_sigmoid_()?),
        GateActivation::HardSigmoid => drop(x.f_mul_scalar_(0.2)?.f_add_scalar_(0.5)?.f_clamp_(0.0, 1.0)?),
        GateActivation::Relu => drop(x.f_relu_()?),
        GateActivation::Linear => {}
    }
    Ok(())
}

/// The gradient before an activation, from that after it and the activation's value `y`.
fn slope(activation: GateActivation, grad: Tensor, y: &Tensor) -> Raw {
    match activation {
        GateActivation::Tanh => Tensor::f_tanh_backward(&grad, y),
        GateActivation::Sigmoid => Tensor::f_sigmoid_backward(&grad, y),
        GateActivation::HardSigmoid => {
            let inside = y.f_gt(0.0)?.f_logical_and(&y.f_lt(1.0)?)?;
            grad.f_mul_scalar(0.2)?.f_where_scalarother(&inside, 0.0)
        }
        GateActivation::Relu => grad.f_where_scalarother(&y.f_gt(0.0)?, 0.0),
        GateActivation::Linear => Ok(grad),
    }
}

/// Some columns of a matrix: gates of that many units.
fn columns(x: &Tensor, first: i64, count: i64, units: i64) -> Raw {
    x.f_narrow(1, first * units, count * units)
}

fn absent() -> TchError {
    TchError::Torch("a recurrent operation without an operand of its".into())
}

struct Layer<'a> {
    spec: RecurrentSpec,
    kernel: &'a Tensor,
    bias: Option<&'a Tensor>,
    /// Time first.
    x: Tensor,
    time: i64,
    batch: i64,
    units: i64,
}

impl<'a> Layer<'a> {
    #[allow(clippy::indexing_slicing, reason = "the shape rule fixed the ranks")]
    fn new(spec: RecurrentSpec, operands: &RecurrentOperands<'a, Tensor>) -> Result<Self, TchError> {
        let size = operands.x.size();
        Ok(Self {
            spec,
            kernel: operands.kernel,
            bias: operands.bias,
            x: operands.x.f_transpose(0, 1)?,
            time: size[1],
            batch: size[0],
            units: size[2] / spec.cell.gates() as i64,
        })
    }

    /// Rows of so many blocks of units, for so many steps.
    fn rows(&self, steps: i64, blocks: usize) -> Raw {
        let width = blocks as i64 * self.units;
        Tensor::f_empty([steps, self.batch, width], (self.x.kind(), self.x.device()))
    }

    fn steps(&self) -> impl DoubleEndedIterator<Item = i64> + use<> {
        let (time, reverse) = (self.time, self.spec.reverse);
        (0..time).map(move |step| if reverse { time - 1 - step } else { step })
    }

    /// The states after the step at `t`; the first is written to `output`, what the gradient reads to `kept`.
    #[allow(clippy::indexing_slicing, reason = "as many states as the cell has")]
    fn step(
        &self,
        t: i64,
        states: &[Tensor],
        kept: &Tensor,
        mut output: Tensor,
    ) -> Result<Vec<Tensor>, TchError> {
        let (units, x, h) = (self.units, self.x.f_select(0, t)?, &states[0]);
        let (gate, activation) = (self.spec.recurrent_activation, self.spec.activation);
        let part = |first, count| columns(kept, first, count, units);
        match self.spec.cell {
            RecurrentCell::SimpleRnn => {
                let _ = x.f_addmm_out(&output, h, self.kernel)?;
                apply(activation, &mut output)?;
                part(0, 1)?.f_copy_(&output)?;
                Ok(vec![output])
            }
            RecurrentCell::Lstm => {
                let _ = x.f_addmm_out(&part(0, 4)?, h, self.kernel)?;
                apply(gate, &mut part(0, 2)?)?;
                apply(activation, &mut part(2, 1)?)?;
                apply(gate, &mut part(3, 1)?)?;
                let mut c = part(1, 1)?.f_mul(&states[1])?;
                c = c.f_addcmul_(&part(0, 1)?, &part(2, 1)?)?;
                let mut active = part(4, 1)?;
                active.f_copy_(&c)?;
                apply(activation, &mut active)?;
                let _ = part(3, 1)?.f_mul_out(&output, &active)?;
                Ok(vec![output, c])
            }
            RecurrentCell::Gru { reset_after } => {
                let (mut gates, mut candidate) = (part(0, 2)?, part(2, 1)?);
                if reset_after {
                    let products = self.bias.ok_or_else(absent)?.f_addmm(h, self.kernel)?;
                    let _ = columns(&x, 0, 2, units)?.f_add_out(&gates, &columns(&products, 0, 2, units)?)?;
                    apply(gate, &mut gates)?;
                    let mut product = part(3, 1)?;
                    product.f_copy_(&columns(&products, 2, 1, units)?)?;
                    candidate.f_copy_(&columns(&x, 2, 1, units)?)?;
                    candidate = candidate.f_addcmul_(&part(1, 1)?, &product)?;
                } else {
                    let kernel = |first, count| columns(self.kernel, first, count, units);
                    let _ = columns(&x, 0, 2, units)?.f_addmm_out(&gates, h, &kernel(0, 2)?)?;
                    apply(gate, &mut gates)?;
                    let reset = part(1, 1)?.f_mul(h)?;
                    let _ = columns(&x, 2, 1, units)?.f_addmm_out(&candidate, &reset, &kernel(2, 1)?)?;
                }
                apply(activation, &mut candidate)?;
                let z = part(0, 1)?;
                let _ = z.f_mul_out(&output, h)?;
                output = output.f_addcmul_(&z.f_neg()?.f_add_scalar_(1.0)?, &candidate)?;
                Ok(vec![output])
            }
        }
    }

    /// Takes the gradients of the states after a step to those before it, and writes the gradient of the sums at the
    /// gates to `sums`, that of the recurrent products to `products`, where they differ.
    #[allow(clippy::indexing_slicing, reason = "as many states as the cell has")]
    fn step_back(
        &self,
        before: &[Tensor],
        kept: &Tensor,
        grads: &[Tensor],
        sums: &Tensor,
        products: &Tensor,
    ) -> Result<Vec<Tensor>, TchError> {
        let (units, h, dh) = (self.units, &before[0], &grads[0]);
        let (gate, activation) = (self.spec.recurrent_activation, self.spec.activation);
        let part = |at| columns(kept, at, 1, units);
        let write = |to: &Tensor, at, grad: &Tensor| columns(to, at, 1, units)?.f_copy_(grad).map(drop);
        let back = |rows: &Tensor| rows.f_matmul(&self.kernel.f_transpose(0, 1)?);
        match self.spec.cell {
            RecurrentCell::SimpleRnn => {
                write(sums, 0, &slope(activation, dh.shallow_clone(), &part(0)?)?)?;
                Ok(vec![back(sums)?])
            }
            RecurrentCell::Lstm => {
                let (i, f, candidate, o, active) = (part(0)?, part(1)?, part(2)?, part(3)?, part(4)?);
                write(sums, 3, &slope(gate, dh.f_mul(&active)?, &o)?)?;
                let dc = slope(activation, dh.f_mul(&o)?, &active)?.f_add(&grads[1])?;
                write(sums, 0, &slope(gate, dc.f_mul(&candidate)?, &i)?)?;
                write(sums, 1, &slope(gate, dc.f_mul(&before[1])?, &f)?)?;
                write(sums, 2, &slope(activation, dc.f_mul(&i)?, &candidate)?)?;
                Ok(vec![back(sums)?, dc.f_mul(&f)?])
            }
            RecurrentCell::Gru { reset_after } => {
                let (z, r, candidate) = (part(0)?, part(1)?, part(2)?);
                write(sums, 0, &slope(gate, dh.f_mul(&h.f_sub(&candidate)?)?, &z)?)?;
                let rest = z.f_neg()?.f_add_scalar_(1.0)?;
                let dcandidate = slope(activation, dh.f_mul(&rest)?, &candidate)?;
                write(sums, 2, &dcandidate)?;
                let mut past = dh.f_mul(&z)?;
                if reset_after {
                    write(sums, 1, &slope(gate, dcandidate.f_mul(&part(3)?)?, &r)?)?;
                    columns(products, 0, 2, units)?.f_copy_(&columns(sums, 0, 2, units)?)?;
                    write(products, 2, &dcandidate.f_mul(&r)?)?;
                    return Ok(vec![past.f_add_(&back(products)?)?]);
                }
                let kernel = |first, count| columns(self.kernel, first, count, units)?.f_transpose(0, 1);
                let dreset = dcandidate.f_matmul(&kernel(2, 1)?)?;
                write(sums, 1, &slope(gate, dreset.f_mul(h)?, &r)?)?;
                past = past.f_addcmul_(&dreset, &r)?;
                Ok(vec![past.f_addmm_(&columns(sums, 0, 2, units)?, &kernel(0, 2)?)?])
            }
        }
    }

    /// The gradient of the kernel, of all steps at once.
    fn kernel_gradient(&self, before: &Tensor, kept: &Tensor, products: &Tensor) -> Raw {
        let flat = |x: &Tensor| {
            let width = x.size().last().copied().unwrap_or_default();
            x.f_reshape([self.time * self.batch, width])
        };
        let (h, grads, units) = (flat(before)?, flat(products)?, self.units);
        if self.spec.cell != (RecurrentCell::Gru { reset_after: false }) {
            return h.f_transpose(0, 1)?.f_matmul(&grads);
        }
        let reset = columns(&flat(kept)?, 1, 1, units)?.f_mul(&h)?;
        let gates = h.f_transpose(0, 1)?.f_matmul(&columns(&grads, 0, 2, units)?)?;
        let candidate = reset.f_transpose(0, 1)?.f_matmul(&columns(&grads, 2, 1, units)?)?;
        Tensor::f_cat(&[gates, candidate], 1)
    }
}

/// The outputs that are wanted, in the order of the operation.
pub(crate) fn forward(spec: RecurrentSpec, inputs: &[Tensor], wanted: &[bool]) -> Results {
    let operands = spec.operands(inputs).ok_or_else(absent)?;
    let (layer, count) = (Layer::new(spec, &operands)?, spec.cell.states());
    let wants = |output: usize| wanted.get(output).copied().unwrap_or(false);
    let sequence = layer.rows(layer.time, 1)?;
    let keeps = wants(1 + 2 * count);
    let kept = layer.rows(if keeps { layer.time } else { 1 }, spec.cell.kept())?;
    let mut reserve = Vec::new();
    for state in 0..count {
        reserve.push(if wants(1 + count + state) { Some(layer.rows(layer.time, 1)?) } else { None });
    }
    let mut states: Vec<Tensor> = operands.states.iter().map(Tensor::shallow_clone).collect();
    for t in layer.steps() {
        for (state, reserve) in states.iter().zip(&reserve) {
            if let Some(reserve) = reserve {
                reserve.f_select(0, t)?.f_copy_(state)?;
            }
        }
        let row = kept.f_select(0, if keeps { t } else { 0 })?;
        states = layer.step(t, &states, &row, sequence.f_select(0, t)?)?;
    }
    let mut results = vec![Some(sequence.f_transpose(0, 1)?)];
    for (state, output) in states.iter().zip(1..) {
        // The last output lies in the sequence.
        results.push(if wants(output) { Some(copied(state)?) } else { None });
    }
    for reserve in reserve {
        results.push(reserve.map(|reserve| reserve.f_transpose(0, 1)).transpose()?);
    }
    results.push(if keeps { Some(kept.f_transpose(0, 1)?) } else { None });
    Ok(results)
}

/// The gradients that are wanted, in the order of the operation; `sequence` says whether there is one of the outputs.
pub(crate) fn backward(spec: RecurrentSpec, sequence: bool, inputs: &[Tensor], wanted: &[bool]) -> Results {
    let operands = spec.operands(inputs).ok_or_else(absent)?;
    let (layer, count) = (Layer::new(spec, &operands)?, spec.cell.states());
    let wants = |output: usize| wanted.get(output).copied().unwrap_or(false);
    let (reserve, rest) = operands.rest.split_at_checked(count).ok_or_else(absent)?;
    let (kept, rest) = rest.split_first().ok_or_else(absent)?;
    let (outputs, finals) = rest.split_at_checked(usize::from(sequence)).ok_or_else(absent)?;
    let first = |x: &Tensor| x.f_transpose(0, 1);
    let reserve = reserve.iter().map(first).collect::<Result<Vec<_>, _>>()?;
    let (kept, outputs) = (first(kept)?, outputs.iter().map(first).collect::<Result<Vec<_>, _>>()?);

    let sums = layer.rows(layer.time, spec.cell.gates())?;
    let apart = spec.cell == RecurrentCell::Gru { reset_after: true };
    let products = if apart { layer.rows(layer.time, spec.cell.gates())? } else { sums.shallow_clone() };
    let mut grads: Vec<Tensor> = finals.iter().map(Tensor::shallow_clone).collect();
    for t in layer.steps().rev() {
        let row = |x: &Tensor| x.f_select(0, t);
        if let (Some(outputs), Some(grad)) = (outputs.first(), grads.first_mut()) {
            *grad = grad.f_add(&row(outputs)?)?;
        }
        let before = reserve.iter().map(row).collect::<Result<Vec<_>, _>>()?;
        grads = layer.step_back(&before, &row(&kept)?, &grads, &row(&sums)?, &row(&products)?)?;
    }
    let kernel = match reserve.first() {
        Some(h) if wants(1) => Some(layer.kernel_gradient(h, &kept, &products)?),
        _ => None,
    };
    let mut results = vec![Some(sums.f_transpose(0, 1)?), kernel];
    results.extend(grads.into_iter().map(Some));
    if apart {
        let bias = || products.f_sum_dim_intlist([0_i64, 1].as_slice(), false, products.kind());
        results.push(if wants(2 + count) { Some(bias()?) } else { None });
    }
    Ok(results)
}
