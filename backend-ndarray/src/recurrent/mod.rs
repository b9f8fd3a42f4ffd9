//! SimpleRNN, GRU and LSTM over whole sequences.
//!
//! Samples never meet but in the gradient of the kernel. So a task takes a few samples through all steps: in each a
//! product with the packed recurrent kernel, then the gates, row by row while they lie in L1. The gradient of the
//! kernel is one product over all steps.

mod backward;
mod forward;
mod gates;

use crate::gemm::{Gemm, Matrix};
use crate::panels::Packed;
use crate::parallel::Shared;
use crate::pool::Plain;
use crate::run::Site;
use crate::scratch::Scratch;
use crate::tensor::{Out, Tensor};
use keras_core::graph::{Op, RecurrentCell, RecurrentDropout, RecurrentOperands, RecurrentSpec};
use keras_core::{DType, Error, Result};

/// Samples of a task: as many rows as a product takes at once.
const ROWS: usize = 8;

/// Runs [`Op::Recurrent`] or [`Op::RecurrentGrad`].
pub(crate) fn run(
    site: Site<'_>,
    op: &Op,
    inputs: &[Tensor],
    wanted: &[bool],
) -> Result<Vec<Option<Tensor>>> {
    let missing =
        || Error::shape(op.name(), "operands that its shape rule demands", inputs.len().to_string());
    let (&Op::Recurrent(spec) | &Op::RecurrentGrad(spec, _)) = op else { return Err(missing()) };
    let operands = spec.operands(inputs).ok_or_else(missing)?;
    let sequence = matches!(op, Op::RecurrentGrad(_, true));
    let gradient = matches!(op, Op::RecurrentGrad(..));
    match (operands.x.dtype(), gradient) {
        (DType::F32, false) => forward::run::<f32>(site, spec, &operands, wanted),
        (DType::F64, false) => forward::run::<f64>(site, spec, &operands, wanted),
        (DType::F32, true) => backward::run::<f32>(site, spec, &operands, sequence, wanted),
        (DType::F64, true) => backward::run::<f64>(site, spec, &operands, sequence, wanted),
        (other, _) => Err(crate::gemm::not_float(op.name(), other)),
    }
}

/// The lengths of a recurrence, and its operands as slices.
struct Layout<'a, T> {
    spec: RecurrentSpec,
    batch: usize,
    time: usize,
    units: usize,
    /// Columns of inputs and kernel.
    width: usize,
    kernel: &'a [T],
    bias: Option<&'a [T]>,
    mask: Option<&'a [u8]>,
    dropout: Option<&'a [T]>,
}

impl<'a, T: Gemm> Layout<'a, T> {
    fn new(spec: RecurrentSpec, operands: &RecurrentOperands<'a, Tensor>) -> Result<Self> {
        let &[batch, time, width] = operands.x.shape() else {
            return crate::gemm::rank_error("recurrent", operands.x.shape());
        };
        Ok(Self {
            spec,
            batch,
            time,
            units: width / spec.cell.gates(),
            width,
            kernel: operands.kernel.slice(),
            bias: operands.bias.map(Tensor::slice),
            mask: operands.mask.map(Tensor::slice),
            dropout: operands.dropout.map(Tensor::slice),
        })
    }

    /// The position in time of a step.
    fn time_of(&self, step: usize) -> usize {
        if self.spec.reverse { self.time - 1 - step } else { step }
    }

    fn is_valid(&self, place: usize) -> bool {
        self.mask.is_none_or(|mask| mask[place] != 0)
    }

    /// What multiplies the state of a sample before the product of a gate.
    fn dropout(&self, gate: usize, sample: usize) -> Option<&'a [T]> {
        let gate = if self.spec.dropout == RecurrentDropout::Shared { 0 } else { gate };
        self.dropout.map(|masks| &masks[(gate * self.batch + sample) * self.units..][..self.units])
    }

    /// Whether a GRU mixes the masked state.
    fn mixes_masked(&self) -> bool {
        self.spec.dropout == RecurrentDropout::Shared
    }

    /// The gates whose products read the same rows: (first, count).
    fn groups(&self) -> Vec<(usize, usize)> {
        let gates = self.spec.cell.gates();
        match (self.spec.dropout, self.spec.cell) {
            (RecurrentDropout::PerGate, _) => (0..gates).map(|gate| (gate, 1)).collect(),
            (_, RecurrentCell::Gru { reset_after: false }) => vec![(0, 2), (2, 1)],
            _ => vec![(0, gates)],
        }
    }

    /// Whether the last gate's product waits for the others.
    fn resets_before(&self) -> bool {
        matches!(self.spec.cell, RecurrentCell::Gru { reset_after: false })
    }

    /// Runs a task for every few samples: (first sample, how many).
    fn for_samples(&self, site: Site<'_>, task: impl Fn(usize, usize) + Sync) {
        site.threads.run(self.batch.div_ceil(ROWS), |i| task(i * ROWS, ROWS.min(self.batch - i * ROWS)));
    }
}

/// The columns of some gates of the kernel, packed.
struct Group {
    first: usize,
    count: usize,
    packed: Packed,
    /// Where its columns begin in a row of products.
    start: usize,
}

/// The recurrent kernel, packed in groups of gates.
struct Kernel {
    groups: Vec<Group>,
    /// The length of a row of products of all groups.
    stride: usize,
}

impl Kernel {
    /// For `h · U`, or for `d · Uᵀ` if transposed.
    fn new<T: Gemm>(site: Site<'_>, layout: &Layout<'_, T>, transposed: bool) -> Result<Self> {
        let (units, width) = (layout.units, layout.width);
        let mut stride = 0;
        let mut groups = Vec::new();
        for (first, count) in layout.groups() {
            let data = &layout.kernel[first * units..];
            let packed = if transposed {
                Packed::new(site, Matrix { data, rows: 1, columns: width }, count * units, units)?
            } else {
                Packed::new(site, Matrix::new(data, width), units, count * units)?
            };
            let start = stride;
            stride += packed.stride;
            groups.push(Group { first, count, packed, start });
        }
        Ok(Self { groups, stride })
    }

    /// Where a gate begins in a row of products.
    fn place(&self, gate: usize, units: usize) -> usize {
        let group = self.groups.iter().find(|group| (group.first..group.first + group.count).contains(&gate));
        group.map_or(0, |group| group.start + (gate - group.first) * units)
    }
}

/// A tensor that tasks write by rows; `None` where it is not wanted.
struct Rows(Option<Out>);

impl Rows {
    fn new<T: Gemm>(site: Site<'_>, wanted: bool, shape: &[usize]) -> Result<Self> {
        let dtype = crate::matmul::dtype_of::<T>();
        Ok(Self(if wanted { Some(Out::new(site.pool, shape, dtype)?) } else { None }))
    }

    fn share<T: Plain>(&mut self) -> Option<Shared<'_, T>> {
        self.0.as_mut().map(|out| Shared::new(out.slice()))
    }

    fn finish(self) -> Option<Tensor> {
        self.0.map(Out::finish)
    }
}

/// Zeroed scratch rows of one length.
struct Room<T> {
    memory: Scratch,
    len: usize,
    element: std::marker::PhantomData<T>,
}

impl<T: Gemm> Room<T> {
    fn new(rows: usize, len: usize) -> Self {
        let mut memory = Scratch::of::<T>(rows * len);
        memory.slice::<T>()[..rows * len].fill(T::ZERO);
        Self { memory, len, element: std::marker::PhantomData }
    }

    fn all(&mut self) -> &mut [T] {
        self.memory.slice()
    }

    fn row(&mut self, i: usize) -> &mut [T] {
        &mut self.memory.slice()[i * self.len..][..self.len]
    }
}
