//! Forward through all steps.

use super::gates::{activate, add, cell, mix, multiply, scale};
use super::{Kernel, Layout, Room, Rows};
use crate::gemm::Gemm;
use crate::parallel::Shared;
use crate::run::Site;
use crate::simd::prefetch;
use crate::tensor::Tensor;
use keras_core::Result;
use keras_core::graph::{MaskedOutput, RecurrentCell, RecurrentOperands, RecurrentSpec};

pub(super) fn run<T: Gemm>(
    site: Site<'_>,
    spec: RecurrentSpec,
    operands: &RecurrentOperands<'_, Tensor>,
    wanted: &[bool],
) -> Result<Vec<Option<Tensor>>> {
    let layout = Layout::<T>::new(spec, operands)?;
    let (batch, time, units) = (layout.batch, layout.time, layout.units);
    let states = spec.cell.states();
    let wants = |output: usize| wanted.get(output).copied().unwrap_or(false);
    let sequence = [batch, time, units];
    let mut outputs = vec![Rows::new::<T>(site, wants(0), &sequence)?];
    for state in 0..states {
        outputs.push(Rows::new::<T>(site, wants(1 + state), &[batch, units])?);
    }
    for state in 0..states {
        outputs.push(Rows::new::<T>(site, wants(1 + states + state), &sequence)?);
    }
    let kept = [batch, time, spec.cell.kept() * units];
    outputs.push(Rows::new::<T>(site, wants(1 + 2 * states), &kept)?);

    let kernel = Kernel::new(site, &layout, false)?;
    let initial: Vec<&[T]> = operands.states.iter().map(Tensor::slice).collect();
    let mut shared = outputs.iter_mut().map(Rows::share::<T>);
    let mut next = |count: usize| shared.by_ref().take(count).collect::<Vec<_>>();
    let forward = Forward {
        layout: &layout,
        kernel: &kernel,
        x: operands.x.slice(),
        initial: &initial,
        sequence: next(1).pop().flatten(),
        finals: next(states),
        reserve: next(states),
        kept: next(1).pop().flatten(),
    };
    layout.for_samples(site, |first, rows| forward.samples(first, rows));
    drop(forward);
    Ok(outputs.into_iter().map(Rows::finish).collect())
}

struct Forward<'a, T> {
    layout: &'a Layout<'a, T>,
    kernel: &'a Kernel,
    x: &'a [T],
    initial: &'a [&'a [T]],
    sequence: Option<Shared<'a, T>>,
    finals: Vec<Option<Shared<'a, T>>>,
    reserve: Vec<Option<Shared<'a, T>>>,
    kept: Option<Shared<'a, T>>,
}

/// What a task works on.
struct Work<T> {
    /// Each state, a row per sample.
    states: Vec<Room<T>>,
    /// What the product reads, where that is not the state.
    dropped: Room<T>,
    /// Rows of products.
    sums: Room<T>,
    /// What the gradient keeps, where it is not wanted.
    kept: Room<T>,
}

impl<T: Gemm> Forward<'_, T> {
    /// Takes some samples through all steps.
    fn samples(&self, first: usize, rows: usize) {
        let Layout { time, units, width, spec, .. } = *self.layout;
        let mut work = Work {
            states: self.initial.iter().map(|_| Room::new(rows, units)).collect(),
            dropped: Room::new(rows, units),
            sums: Room::new(rows, self.kernel.stride),
            kept: Room::new(rows, spec.cell.kept() * units),
        };
        for (state, initial) in work.states.iter_mut().zip(self.initial) {
            let rows = rows * units;
            state.all()[..rows].copy_from_slice(&initial[first * units..][..rows]);
        }
        for step in 0..time {
            let t = self.layout.time_of(step);
            for (reserve, state) in self.reserve.iter().zip(&mut work.states) {
                for i in 0..rows {
                    write(*reserve, (first + i) * time + t, state.row(i));
                }
            }
            if step + 1 < time {
                let next = self.layout.time_of(step + 1);
                for i in 0..rows {
                    prefetch(&self.x[((first + i) * time + next) * width..][..width]);
                }
            }
            let groups = self.kernel.groups.len();
            let waiting = usize::from(self.layout.resets_before());
            for group in 0..groups - waiting {
                self.product(&mut work, group, first, rows, None);
            }
            for i in 0..rows {
                let place = (first + i) * time + t;
                if self.layout.is_valid(place) {
                    self.gates(&mut work, i, first + i, place);
                } else if let Some(kept) = self.kept {
                    // SAFETY: this task alone has the sample.
                    unsafe { kept.range(place * work.kept.len, (place + 1) * work.kept.len) }.fill(T::ZERO);
                }
            }
            if waiting > 0 {
                self.product(&mut work, groups - 1, first, rows, Some(t));
                for i in (0..rows).filter(|i| self.layout.is_valid((first + i) * time + t)) {
                    self.reset_candidate(&mut work, i, first + i, (first + i) * time + t);
                }
            }
            if let Some(sequence) = self.sequence {
                for i in 0..rows {
                    self.output(sequence, work.states[0].row(i), first + i, step);
                }
            }
        }
        for (state, target) in work.states.iter_mut().zip(&self.finals) {
            for i in 0..rows {
                write(*target, first + i, state.row(i));
            }
        }
    }

    /// The product of a group of gates for all rows; of the last gate of a GRU at time `reset`, with the reset states.
    fn product(&self, work: &mut Work<T>, group: usize, first: usize, rows: usize, reset: Option<usize>) {
        let units = self.layout.units;
        let group = &self.kernel.groups[group];
        let Work { states, dropped, sums, .. } = work;
        let dropout = self.layout.dropout.is_some();
        if dropout || reset.is_some() {
            for i in 0..rows {
                let (source, target) = (states[0].row(i), dropped.row(i));
                match self.layout.dropout(group.first, first + i) {
                    Some(mask) => multiply(target, source, mask),
                    None => target.copy_from_slice(source),
                }
                if let Some(t) = reset {
                    let kept = self.kept_row(&mut work.kept, i, (first + i) * self.layout.time + t);
                    scale(target, &kept[units..2 * units]);
                }
            }
        }
        let source = if dropout || reset.is_some() { dropped.all() } else { states[0].all() };
        let stride = sums.len;
        group.packed.multiply(source, units, rows, &mut sums.all()[group.start..], stride);
    }

    /// Where a sample's step keeps what the gradient needs.
    fn kept_row<'w>(&self, room: &'w mut Room<T>, row: usize, place: usize) -> &'w mut [T]
    where
        Self: 'w,
    {
        match &self.kept {
            // SAFETY: this task alone has the sample, and nothing else of it is borrowed meanwhile.
            Some(kept) => unsafe { kept.range(place * room.len, (place + 1) * room.len) },
            None => room.row(row),
        }
    }

    /// Everything after the product, of one sample; of a GRU that resets before the product, its first two gates.
    fn gates(&self, work: &mut Work<T>, row: usize, sample: usize, place: usize) {
        let Layout { units, width, spec, .. } = *self.layout;
        let x = &self.x[place * width..][..width];
        let kept = self.kept_row(&mut work.kept, row, place);
        let sums = work.sums.row(row);
        let products = match spec.cell {
            RecurrentCell::Gru { .. } => 2,
            cell => cell.gates(),
        };
        for gate in 0..products {
            let at = self.kernel.place(gate, units);
            let (sum, x) = (&mut sums[at..at + units], &x[gate * units..][..units]);
            add(sum, x);
            if let Some(bias) = self.layout.bias {
                add(sum, &bias[gate * units..][..units]);
            }
            let activation = match (spec.cell, gate) {
                (RecurrentCell::SimpleRnn, _) | (RecurrentCell::Lstm, 2) => spec.activation,
                _ => spec.recurrent_activation,
            };
            activate(activation, sum, &mut kept[gate * units..][..units]);
        }
        match spec.cell {
            RecurrentCell::SimpleRnn => work.states[0].row(row).copy_from_slice(kept),
            RecurrentCell::Lstm => {
                let (gates, a) = kept.split_at_mut(4 * units);
                let gate = |n: usize| &gates[n * units..][..units];
                let c = work.states[1].row(row);
                cell(c, gate(0), gate(1), gate(2));
                activate(spec.activation, c, a);
                multiply(work.states[0].row(row), gate(3), a);
            }
            RecurrentCell::Gru { reset_after: true } => {
                let at = self.kernel.place(2, units);
                let sum = &mut sums[at..at + units];
                if let Some(bias) = self.layout.bias {
                    add(sum, &bias[2 * units..][..units]);
                }
                let (gates, product) = kept.split_at_mut(3 * units);
                product.copy_from_slice(sum);
                let (gates, candidate) = gates.split_at_mut(2 * units);
                multiply(sum, product, &gates[units..]);
                add(sum, &x[2 * units..]);
                activate(spec.activation, sum, candidate);
                self.mix(work.states[0].row(row), &gates[..units], candidate, sample);
            }
            RecurrentCell::Gru { reset_after: false } => {}
        }
    }

    /// The candidate of a GRU after the product with the reset state, and the new state.
    fn reset_candidate(&self, work: &mut Work<T>, row: usize, sample: usize, place: usize) {
        let Layout { units, width, spec, .. } = *self.layout;
        let kept = self.kept_row(&mut work.kept, row, place);
        let at = self.kernel.place(2, units);
        let sum = &mut work.sums.row(row)[at..at + units];
        add(sum, &self.x[place * width + 2 * units..][..units]);
        let (gates, candidate) = kept.split_at_mut(2 * units);
        activate(spec.activation, sum, candidate);
        self.mix(work.states[0].row(row), &gates[..units], candidate, sample);
    }

    fn mix(&self, h: &mut [T], z: &[T], candidate: &[T], sample: usize) {
        if let Some(mask) = self.layout.dropout(0, sample).filter(|_| self.layout.mixes_masked()) {
            scale(h, mask);
        }
        mix(h, z, candidate);
    }

    fn output(&self, sequence: Shared<'_, T>, state: &[T], sample: usize, step: usize) {
        let Layout { time, units, spec, .. } = *self.layout;
        let place = sample * time + self.layout.time_of(step);
        // SAFETY: this task alone has the sample; the row of another step is another row.
        let row = |place: usize| unsafe { sequence.range(place * units, (place + 1) * units) };
        let target = row(place);
        match spec.mask.filter(|_| !self.layout.is_valid(place)) {
            None | Some(MaskedOutput::State) => target.copy_from_slice(state),
            Some(MaskedOutput::Repeat) if step > 0 => {
                target.copy_from_slice(row(sample * time + self.layout.time_of(step - 1)));
            }
            Some(_) => target.fill(T::ZERO),
        }
    }
}

/// Writes a row of a tensor, if it is wanted.
fn write<T: Gemm>(target: Option<Shared<'_, T>>, place: usize, row: &[T]) {
    if let Some(target) = target {
        // SAFETY: a task alone has the rows of its samples.
        unsafe { target.range(place * row.len(), (place + 1) * row.len()) }.copy_from_slice(row);
    }
}
