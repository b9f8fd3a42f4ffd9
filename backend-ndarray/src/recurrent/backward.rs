//! Backward through all steps.

use super::gates::{add, add_product, candidate, multiply, scale, slope, update_gate};
use super::{Kernel, Layout, Room, Rows};
use crate::gemm::{Gemm, Matrix, Target, product};
use crate::matmul::dtype_of;
use crate::parallel::Shared;
use crate::run::{self, Site, tree};
use crate::simd::prefetch;
use crate::tensor::{Out, Tensor};
use keras_core::graph::{MaskedOutput, RecurrentCell, RecurrentOperands, RecurrentSpec, Reduce};
use keras_core::{Error, Result};

/// Rows of a partial sum of the kernel's gradient: enough that packing them pays.
const CHUNK: usize = 256;

pub(super) fn run<T: Gemm>(
    site: Site<'_>,
    spec: RecurrentSpec,
    operands: &RecurrentOperands<'_, Tensor>,
    sequence: bool,
    wanted: &[bool],
) -> Result<Vec<Option<Tensor>>> {
    let layout = Layout::<T>::new(spec, operands)?;
    let Layout { batch, time, units, width, .. } = layout;
    let states = spec.cell.states();
    let rest: Vec<&[T]> = operands.rest.iter().map(Tensor::slice).collect();
    if rest.len() != 2 * states + 1 + usize::from(sequence) {
        return Err(Error::state("recurrent_grad", "the operands of its shape rule", rest.len().to_string()));
    }
    let (reserve, rest) = rest.split_at(states);
    let (kept, rest) = rest.split_at(1);
    let (output, finals) = rest.split_at(usize::from(sequence));
    let wants = |output: usize| wanted.get(output).copied().unwrap_or(false);

    // The gradient of the inputs is the way to all others.
    let mut inputs = Rows::new::<T>(site, true, &[batch, time, width])?;
    let mut starts = Vec::new();
    for state in 0..states {
        starts.push(Rows::new::<T>(site, wants(2 + state), &[batch, units])?);
    }
    let after = layout.bias.is_some();
    let mut products = Rows::new::<T>(site, after, &[batch, time, width])?;
    let kernel = Kernel::new(site, &layout, true)?;
    // Where the product read anything but the state.
    let mut read = Vec::new();
    for group in &kernel.groups {
        let other = layout.dropout.is_some() || (layout.resets_before() && group.first == 2);
        read.push(Rows::new::<T>(site, other && wants(1), &[batch * time, units])?);
    }
    let Some(shared) = inputs.share::<T>() else { return Ok(Vec::new()) };
    let backward = Backward {
        layout: &layout,
        kernel: &kernel,
        reserve,
        kept: kept[0],
        output: output.first().copied(),
        finals,
        inputs: shared,
        products: products.share(),
        starts: starts.iter_mut().map(Rows::share).collect(),
        read: read.iter_mut().map(Rows::share).collect(),
    };
    layout.for_samples(site, |first, rows| backward.samples(first, rows));
    drop(backward);

    let (inputs, products) = (inputs.finish(), products.finish());
    let read: Vec<Option<Tensor>> = read.into_iter().map(Rows::finish).collect();
    let Some(grads) = products.as_ref().or(inputs.as_ref()) else { return Ok(Vec::new()) };
    let weights = if wants(1) {
        Some(kernel_gradient::<T>(site, &layout, &kernel, reserve[0], &read, grads.slice())?)
    } else {
        None
    };
    let mut results = vec![inputs.clone(), weights];
    results.extend(starts.into_iter().map(Rows::finish));
    if after {
        let flat = grads.with_shape(&[batch * time, width]);
        results.push(if wants(2 + states) {
            Some(run::reduce(site, Reduce::Sum, &flat, &[0])?)
        } else {
            None
        });
    }
    Ok(results)
}

/// `Σ readᵀ · grads` over all samples and steps, in chunks that are added in a tree.
fn kernel_gradient<T: Gemm>(
    site: Site<'_>,
    layout: &Layout<'_, T>,
    kernel: &Kernel,
    state: &[T],
    read: &[Option<Tensor>],
    grads: &[T],
) -> Result<Tensor> {
    let Layout { batch, time, units, width, .. } = *layout;
    let rows = batch * time;
    let chunks = rows.div_ceil(CHUNK).min(16);
    let chunk = rows.div_ceil(chunks);
    let chunks = rows.div_ceil(chunk);
    let mut memory = Out::new(site.pool, &[chunks, units, width], dtype_of::<T>())?;
    let partials = Shared::new(memory.slice::<T>());
    site.threads.run(chunks, |i| {
        let first = i * chunk;
        let count = chunk.min(rows - first);
        for (group, read) in kernel.groups.iter().zip(read) {
            let source = read.as_ref().map_or(state, Tensor::slice);
            let column = group.first * units;
            let start = partials.as_ptr().wrapping_add(i * units * width + column);
            let a = Matrix { data: source, rows: 1, columns: units }.at(0, first);
            let b = Matrix::new(grads, width).at(first, column);
            let target = Target { start, rows: width };
            // SAFETY: every chunk has a partial result of its own, and every group columns of its own.
            unsafe { product((units, group.count * units, count), &target, false, a, b) };
        }
    });
    let mut out = Out::new(site.pool, &[units, width], dtype_of::<T>())?;
    let join = T::reduction(Reduce::Sum).1;
    tree(site.threads, join, memory.slice::<T>(), chunks, units * width, out.slice());
    Ok(out.finish())
}

struct Backward<'a, T> {
    layout: &'a Layout<'a, T>,
    kernel: &'a Kernel,
    reserve: &'a [&'a [T]],
    kept: &'a [T],
    /// The gradient of the sequence.
    output: Option<&'a [T]>,
    /// The gradients of the final states.
    finals: &'a [&'a [T]],
    inputs: Shared<'a, T>,
    /// The gradient of the recurrent products, where it is not that of the inputs.
    products: Option<Shared<'a, T>>,
    /// The gradients of the initial states.
    starts: Vec<Option<Shared<'a, T>>>,
    /// For each group what its product read, where that is not the state.
    read: Vec<Option<Shared<'a, T>>>,
}

/// What a task works on: rows per sample.
struct Work<T> {
    /// Gradients of the states.
    states: Vec<Room<T>>,
    /// Gradients of outputs that masked steps have repeated.
    repeated: Room<T>,
    /// Results of products.
    sums: Room<T>,
    /// One row.
    spare: Room<T>,
}

impl<'a, T: Gemm> Backward<'a, T> {
    /// Takes some samples through all steps.
    fn samples(&self, first: usize, rows: usize) {
        let Layout { time, units, .. } = *self.layout;
        let mut work = Work {
            states: self.finals.iter().map(|_| Room::new(rows, units)).collect(),
            repeated: Room::new(rows, units),
            sums: Room::new(rows, units.next_multiple_of(32)),
            spare: Room::new(2, units),
        };
        for (state, last) in work.states.iter_mut().zip(self.finals) {
            state.all()[..rows * units].copy_from_slice(&last[first * units..][..rows * units]);
        }
        for step in (0..time).rev() {
            let t = self.layout.time_of(step);
            for i in 0..rows {
                let place = (first + i) * time + t;
                if step > 0 {
                    self.announce((first + i) * time + self.layout.time_of(step - 1));
                }
                self.receive(&mut work, i, place);
                if self.layout.is_valid(place) {
                    self.gates(&mut work, i, first + i, place);
                } else {
                    self.row(self.inputs, place).fill(T::ZERO);
                    self.products.iter().for_each(|products| self.row(*products, place).fill(T::ZERO));
                }
            }
            let groups = self.kernel.groups.iter().enumerate();
            // The last gate of a GRU that resets before the product: the others' gradients follow from its product.
            for (n, _) in groups.rev() {
                self.product(&mut work, n, first, rows, t);
            }
        }
        for (state, target) in work.states.iter_mut().zip(&self.starts) {
            if let Some(target) = target {
                // SAFETY: this task alone has the samples.
                unsafe { target.range(first * units, (first + rows) * units) }
                    .copy_from_slice(&state.all()[..rows * units]);
            }
        }
    }

    /// Asks for what the next step reads and writes: rows of samples lie far apart, and nobody else foresees them.
    fn announce(&self, place: usize) {
        let Layout { units, spec, .. } = *self.layout;
        let kept = spec.cell.kept() * units;
        prefetch(&self.kept[place * kept..][..kept]);
        prefetch(self.row(self.inputs, place));
        self.reserve.iter().chain(&self.output).for_each(|x| prefetch(&x[place * units..][..units]));
    }

    /// A row of a tensor as wide as the inputs.
    fn row(&self, x: Shared<'a, T>, place: usize) -> &'a mut [T] {
        let width = self.layout.width;
        // SAFETY: this task alone has the sample, and takes one row of a tensor at a time.
        unsafe { x.range(place * width, (place + 1) * width) }
    }

    /// Adds the gradient of a step's output to that of the state it came from.
    fn receive(&self, work: &mut Work<T>, row: usize, place: usize) {
        let units = self.layout.units;
        let Some(output) = self.output else { return };
        let grad = &output[place * units..][..units];
        if self.layout.is_valid(place) {
            add(work.states[0].row(row), grad);
            if self.layout.spec.mask == Some(MaskedOutput::Repeat) {
                add(work.states[0].row(row), work.repeated.row(row));
                work.repeated.row(row).fill(T::ZERO);
            }
        } else {
            match self.layout.spec.mask {
                Some(MaskedOutput::Repeat) => add(work.repeated.row(row), grad),
                Some(MaskedOutput::State) => add(work.states[0].row(row), grad),
                _ => {}
            }
        }
    }

    /// From the gradients of the new states to those of the gates, before the products; what of the states' gradients
    /// does not go through the products stays.
    fn gates(&self, work: &mut Work<T>, row: usize, sample: usize, place: usize) {
        let Layout { units, spec, .. } = *self.layout;
        let kept = &self.kept[place * spec.cell.kept() * units..][..spec.cell.kept() * units];
        let gate = |n: usize| &kept[n * units..][..units];
        let before = |state: usize| &self.reserve[state][place * units..][..units];
        let grad = self.row(self.inputs, place);
        let (activation, recurrent) = (spec.activation, spec.recurrent_activation);
        match spec.cell {
            RecurrentCell::SimpleRnn => {
                let h = work.states[0].row(row);
                grad.copy_from_slice(h);
                slope(activation, kept, grad);
                h.fill(T::ZERO);
            }
            RecurrentCell::Lstm => {
                let [h, c] = work.states.as_mut_slice() else { return };
                let (h, c) = (h.row(row), c.row(row));
                let (i, f, g, o, a) = (gate(0), gate(1), gate(2), gate(3), gate(4));
                let spare = work.spare.row(0);
                multiply(spare, h, o);
                slope(activation, a, spare);
                add(c, spare);
                multiply(&mut grad[..units], c, g);
                multiply(&mut grad[units..2 * units], c, before(1));
                multiply(&mut grad[2 * units..3 * units], c, i);
                multiply(&mut grad[3 * units..], h, a);
                slope(recurrent, &kept[..2 * units], &mut grad[..2 * units]);
                slope(activation, g, &mut grad[2 * units..3 * units]);
                slope(recurrent, o, &mut grad[3 * units..]);
                scale(c, f);
                h.fill(T::ZERO);
            }
            RecurrentCell::Gru { reset_after } => {
                let h = work.states[0].row(row);
                let (z, r, g) = (gate(0), gate(1), gate(2));
                let mask = self.layout.dropout(0, sample).filter(|_| self.layout.mixes_masked());
                let spare = work.spare.row(0);
                let mixed = match mask {
                    Some(mask) => {
                        multiply(spare, before(0), mask);
                        &*spare
                    }
                    None => before(0),
                };
                update_gate(&mut grad[..units], h, mixed, g);
                slope(recurrent, z, &mut grad[..units]);
                candidate(&mut grad[2 * units..], h, z);
                slope(activation, g, &mut grad[2 * units..]);
                scale(h, z);
                if let Some(mask) = mask {
                    scale(h, mask);
                }
                if let Some(products) = self.products.filter(|_| reset_after) {
                    let (first, last) = grad.split_at_mut(2 * units);
                    multiply(&mut first[units..], last, gate(3));
                    slope(recurrent, r, &mut first[units..]);
                    let product = self.row(products, place);
                    product[..2 * units].copy_from_slice(first);
                    multiply(&mut product[2 * units..], last, r);
                }
            }
        }
    }

    /// From the gradients of a group of gates through its product to those of the states.
    fn product(&self, work: &mut Work<T>, n: usize, first: usize, rows: usize, t: usize) {
        let Layout { time, units, width, spec, .. } = *self.layout;
        let group = &self.kernel.groups[n];
        let grads = self.products.unwrap_or(self.inputs);
        let start = (first * time + t) * width + group.first * units;
        let step = time * width;
        let stride = work.sums.len;
        {
            // SAFETY: this task alone has the samples, and writes none of them meanwhile.
            let grads = unsafe { grads.range(start, start + (rows - 1) * step + group.count * units) };
            group.packed.multiply(grads, step, rows, work.sums.all(), stride);
        }
        let resets = self.layout.resets_before() && group.first == 2;
        for i in 0..rows {
            let (sample, place) = (first + i, (first + i) * time + t);
            let sum = &mut work.sums.row(i)[..units];
            let h = work.states[0].row(i);
            let mask = self.layout.dropout(group.first, sample);
            let before = &self.reserve[0][place * units..][..units];
            let valid = self.layout.is_valid(place);
            if mask.is_some() || resets {
                let read = work.spare.row(0);
                match mask {
                    Some(mask) => multiply(read, before, mask),
                    None => read.copy_from_slice(before),
                }
                if resets && valid {
                    let kept = &self.kept[place * spec.cell.kept() * units..];
                    let r = &kept[units..2 * units];
                    let grad = &mut self.row(self.inputs, place)[units..2 * units];
                    multiply(grad, sum, read);
                    slope(spec.recurrent_activation, r, grad);
                    scale(sum, r);
                    scale(read, r);
                }
                if let Some(target) = &self.read[n] {
                    // SAFETY: this task alone has the sample.
                    unsafe { target.range(place * units, (place + 1) * units) }.copy_from_slice(read);
                }
            }
            match mask {
                Some(mask) => add_product(h, sum, mask),
                None => add(h, sum),
            }
        }
    }
}
