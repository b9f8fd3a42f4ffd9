//! Runs fused kernels tile by tile: [`Session`] holds a kernel's operands, a [`Worker`] computes tiles with scratch
//! memory of its own.

use crate::loops::{self, Loops};
use crate::plan::{MAX_RANK, Place, Plan, Sink, TILE, check};
use crate::pool::{Plain, Pool};
use crate::scratch::Scratch;
use crate::tensor::{Out, Tensor, with_size, with_storage};
use keras_core::backend::{Arg, Scalar};
use keras_core::graph::{Instr, Kernel};
use keras_core::{DType, Error, Result};
use std::sync::Arc;

/// An operand of a kernel.
pub(crate) enum Operand {
    /// Read only.
    Shared(Tensor),
    /// Memory that nobody else holds.
    Owned(Out),
}

impl Operand {
    fn len(&self) -> usize {
        match self {
            Self::Shared(tensor) => tensor.len(),
            Self::Owned(out) => out.len(),
        }
    }

    fn dtype(&self) -> DType {
        match self {
            Self::Shared(tensor) => tensor.dtype(),
            Self::Owned(out) => out.dtype,
        }
    }
}

/// The operand as one that a kernel may overwrite, where that is allowed and possible.
pub(crate) fn operand(arg: Arg<Tensor>) -> Operand {
    if arg.writable {
        arg.tensor.into_out().map_or_else(Operand::Shared, Operand::Owned)
    } else {
        Operand::Shared(arg.tensor)
    }
}

/// The start of a tensor's memory; kept valid by the session that owns the tensor.
#[derive(Clone, Copy)]
struct Start(*mut u8);

// SAFETY: only a pointer; `Worker::tile` says why following it is sound.
unsafe impl Send for Start {}
// SAFETY: as above.
unsafe impl Sync for Start {}

/// A kernel with its operands and results.
pub(crate) struct Session<'k> {
    plan: Plan<'k>,
    scalars: Vec<Scalar>,
    inputs: Vec<Start>,
    outputs: Vec<Start>,
    /// Per broadcast input, after how many elements it repeats if it is contiguous until then.
    periods: Vec<Option<usize>>,
    /// Keeps the inputs alive; `None` where an output took the memory over.
    _held: Vec<Option<Operand>>,
    results: Vec<Option<Out>>,
}

impl<'k> Session<'k> {
    /// Binds a kernel to operands. Outputs with `folds[i]` set are left to the caller, which reads their registers.
    pub(crate) fn new(
        pool: &Arc<Pool>,
        kernel: &'k Kernel,
        operands: Vec<Operand>,
        scalars: &[Scalar],
        folds: &[bool],
    ) -> Result<Self> {
        check(kernel)?;
        check_operands(kernel, &operands, scalars)?;
        let mut held: Vec<Option<Operand>> = operands.into_iter().map(Some).collect();
        let mut inputs = Vec::with_capacity(held.len());
        for operand in held.iter_mut().flatten() {
            inputs.push(Start(match operand {
                Operand::Shared(tensor) => tensor.bytes().as_ptr().cast_mut(),
                Operand::Owned(out) => out.bytes().as_mut_ptr(),
            }));
        }
        let (mut sinks, mut results, mut outputs) = (Vec::new(), Vec::new(), Vec::new());
        for (output, &fold) in kernel.outputs.iter().zip(folds) {
            let dtype = kernel.code[output.register].1;
            let taken = output.alias.filter(|&input| {
                let owned = matches!(held.get(input), Some(Some(Operand::Owned(out))) if out.dtype == dtype);
                !fold && owned && kernel.is_contiguous(input)
            });
            if fold {
                sinks.push(Sink::Fold);
                outputs.push(Start(std::ptr::null_mut()));
                results.push(None);
            } else if let Some(input) = taken
                && let Some(Operand::Owned(mut out)) = held[input].take()
            {
                out.shape.clone_from(&output.shape);
                sinks.push(Sink::Over(input));
                outputs.push(inputs[input]);
                results.push(Some(out));
            } else {
                let mut out = Out::new(pool, &output.shape, dtype)?;
                sinks.push(Sink::Fresh);
                outputs.push(Start(out.bytes().as_mut_ptr()));
                results.push(Some(out));
            }
        }
        let plan = Plan::new(kernel, &sinks);
        let periods = (0..kernel.inputs.len()).map(|input| period(kernel, input)).collect();
        Ok(Self { plan, scalars: scalars.to_vec(), inputs, outputs, periods, _held: held, results })
    }

    /// The memory of an operand, for whoever computes it block by block before the tiles read it.
    pub(crate) fn input_start(&self, input: usize) -> Option<*mut u8> {
        self.inputs.get(input).map(|start| start.0)
    }

    /// A worker with scratch memory, for one thread.
    pub(crate) fn worker(&self) -> Worker<'_, 'k> {
        let scratch = Scratch::new(self.plan.scratch);
        let starts = vec![Start(std::ptr::null_mut()); self.plan.places.len()];
        let mut worker = Worker { session: self, scratch, starts };
        worker.pin();
        worker
    }

    /// The results; `None` for outputs left to the caller.
    pub(crate) fn finish(self) -> Vec<Option<Tensor>> {
        self.results.into_iter().map(|out| out.map(Out::finish)).collect()
    }
}

fn check_operands(kernel: &Kernel, operands: &[Operand], scalars: &[Scalar]) -> Result<()> {
    if operands.len() != kernel.inputs.len() || scalars.len() != kernel.scalars {
        let expected = format!("{} operands and {} scalars", kernel.inputs.len(), kernel.scalars);
        return Err(Error::backend(
            "fused kernel",
            expected,
            format!("{} and {}", operands.len(), scalars.len()),
        ));
    }
    for (input, operand) in kernel.inputs.iter().zip(operands) {
        let reach = reach(&kernel.shape, &input.strides);
        if operand.dtype() != input.dtype || operand.len() < reach {
            let received = format!("{} of {}", operand.len(), operand.dtype());
            return Err(Error::backend(
                "fused kernel",
                format!("{reach} elements of {}", input.dtype),
                received,
            ));
        }
    }
    let places: usize = kernel.shape.iter().product();
    for output in kernel.outputs.iter().filter(|output| output.reduce.is_none()) {
        if output.shape.iter().product::<usize>() != places {
            return Err(Error::backend(
                "fused kernel",
                format!("outputs of {places}"),
                format!("{:?}", output.shape),
            ));
        }
    }
    Ok(())
}

/// After how many places an input that is broadcast over leading axes alone repeats.
fn period(kernel: &Kernel, input: usize) -> Option<usize> {
    let mut expected = 1;
    let mut repeating = false;
    for (&len, &stride) in kernel.shape.iter().zip(&kernel.inputs[input].strides).rev() {
        if len == 1 {
            continue;
        }
        if !repeating && stride == expected {
            expected *= len;
        } else if stride == 0 {
            repeating = true;
        } else {
            return None;
        }
    }
    Some(expected)
}

/// Computes tiles of a session.
pub(crate) struct Worker<'s, 'k> {
    session: &'s Session<'k>,
    scratch: Scratch,
    /// Where each register's elements of the current tile are.
    starts: Vec<Start>,
}

/// The elements of a register.
///
/// # Safety
/// `start` is aligned and valid for `len` initialised elements, which nothing writes while the result lives.
unsafe fn read<'a, T: Plain>(start: Start, len: usize) -> &'a [T] {
    // SAFETY: the caller's promise.
    unsafe { std::slice::from_raw_parts(start.0.cast(), len) }
}

/// The elements of a register for writing.
///
/// # Safety
/// `start` is aligned and valid for `len` elements, which nothing else accesses while the result lives.
unsafe fn write<'a, T: Plain>(start: Start, len: usize) -> &'a mut [T] {
    // SAFETY: the caller's promise.
    unsafe { std::slice::from_raw_parts_mut(start.0.cast(), len) }
}

impl Worker<'_, '_> {
    fn slot(&mut self, offset: usize) -> Start {
        Start(self.scratch.start().wrapping_add(offset))
    }

    /// Fills the registers that are the same for every tile.
    fn pin(&mut self) {
        let plan = &self.session.plan;
        for (register, (instr, dtype)) in plan.kernel.code.iter().enumerate() {
            let Place::Pinned(offset) = plan.places[register] else { continue };
            let start = self.slot(offset);
            self.starts[register] = start;
            let value = match *instr {
                Instr::Scalar(i) => self.session.scalars[i],
                Instr::Const(value) => Scalar::Float(value),
                _ => continue,
            };
            // SAFETY: `Plan` reserved a tile of this register's type at the offset, for this register alone.
            with_storage!(dtype, T => unsafe { write::<T>(start, TILE) }.fill(scalar(value, *dtype)));
        }
    }

    /// Computes `len ≤ TILE` places from `place` on.
    ///
    /// # Safety
    /// Places are inside the kernel's shape, and no other thread works on the same ones at the same time.
    pub(crate) unsafe fn tile(&mut self, place: usize, len: usize) {
        debug_assert!(len <= TILE && place + len <= self.session.plan.kernel.len());
        for register in 0..self.starts.len() {
            // SAFETY: passed on.
            unsafe { self.step(register, place, len) };
        }
        let session = self.session;
        for &output in &session.plan.stores {
            let register = session.plan.kernel.outputs[output].register;
            let size = session.plan.kernel.code[register].1.size();
            let target = session.outputs[output].0.wrapping_add(place * size);
            // SAFETY: the register holds `len` elements; the output has the kernel's places, of which these are this
            // thread's. An overwritten input is read before its stores and only at the same places.
            unsafe { std::ptr::copy(self.starts[register].0, target, len * size) };
        }
    }

    /// The elements of a register after `tile(_, len)`.
    ///
    /// # Safety
    /// `T` stores the register's type, `len` is that of the last tile, and the result is dropped before the next.
    pub(crate) unsafe fn register<T: Plain>(&self, register: usize, len: usize) -> &[T] {
        // SAFETY: the last tile left `len` elements there.
        unsafe { read(self.starts[register], len) }
    }

    /// Runs one instruction.
    ///
    /// # Safety
    /// As for `tile`; earlier registers hold `len` elements of their types. `Plan` gives a result memory that no
    /// register in use has, so operands and result never overlap.
    unsafe fn step(&mut self, register: usize, place: usize, len: usize) {
        let session = self.session;
        let (instr, dtype) = session.plan.kernel.code[register];
        let result = match session.plan.places[register] {
            Place::Pinned(_) => return,
            Place::Slot(offset) => self.slot(offset),
            Place::Input(input) => Start(session.inputs[input].0.wrapping_add(place * dtype.size())),
            Place::Output(output) => Start(session.outputs[output].0.wrapping_add(place * dtype.size())),
            Place::Broadcast(input, offset) => {
                let slot = self.slot(offset);
                // SAFETY: the slot is a tile of this register's type.
                unsafe { self.broadcast(input, slot, place, len) }
            }
        };
        self.starts[register] = result;
        let of = |register: usize| session.plan.kernel.code[register].1;
        let starts = &self.starts;
        // SAFETY (all below): the function's own contract.
        match instr {
            Instr::Load(input) => {
                if let Place::Slot(_) = session.plan.places[register] {
                    let source = session.inputs[input].0.wrapping_add(place * dtype.size());
                    unsafe { std::ptr::copy_nonoverlapping(source, result.0, len * dtype.size()) };
                }
            }
            Instr::Scalar(_) | Instr::Const(_) => {}
            Instr::Unary(op, a) => unsafe { unary(op, of(a), starts[a], result, len) },
            Instr::Binary(op, a, b) => with_storage!(dtype, T => if let Some(run) = T::binary(op) {
                unsafe { run(read(starts[a], len), read(starts[b], len), write(result, len)) }
            }),
            Instr::Compare(op, a, b) => with_storage!(of(a), T => unsafe {
                T::compare(op)(read(starts[a], len), read(starts[b], len), write(result, len));
            }),
            Instr::Logical(op, a, b) => unsafe {
                loops::logical(op)(read(starts[a], len), read(starts[b], len), write(result, len));
            },
            Instr::Select(c, a, b) => with_size!(dtype, T => unsafe {
                loops::select::<T>(read(starts[c], len), read(starts[a], len), read(starts[b], len), write(result, len));
            }),
            Instr::Cast(a) => unsafe { cast(of(a), dtype, starts[a], result, len) },
        }
    }

    /// The elements of a broadcast input at the tile's places: in its own memory if they are contiguous there, else
    /// copied to `slot`.
    ///
    /// # Safety
    /// The slot is a tile of the input's type.
    unsafe fn broadcast(&self, input: usize, slot: Start, place: usize, len: usize) -> Start {
        let kernel = self.session.plan.kernel;
        let source = self.session.inputs[input];
        let dtype = kernel.inputs[input].dtype;
        if let Some(period) = self.session.periods[input] {
            let phase = place % period;
            if period > 1 && phase + len <= period {
                return Start(source.0.wrapping_add(phase * dtype.size()));
            }
        }
        let strides = &kernel.inputs[input].strides;
        // SAFETY: `check_operands` has seen that the strides stay within the input.
        with_size!(dtype, T => unsafe {
            let target = write::<T>(slot, len);
            match self.session.periods[input] {
                Some(period) => repeat(read(source, period), place % period, target),
                None => spread(&kernel.shape, strides, read(source, reach(&kernel.shape, strides)), place, target),
            }
        });
        slot
    }
}

/// How many elements an input walked with those strides has at least.
fn reach(shape: &[usize], strides: &[usize]) -> usize {
    1 + shape.iter().zip(strides).map(|(&len, &stride)| len.saturating_sub(1) * stride).sum::<usize>()
}

/// Copies elements that repeat all over, from `phase` on.
fn repeat<T: Plain>(source: &[T], phase: usize, target: &mut [T]) {
    let first = (source.len() - phase).min(target.len());
    target[..first].copy_from_slice(&source[phase..phase + first]);
    let mut done = source.len().min(target.len());
    target[first..done].copy_from_slice(&source[..done - first]);
    while done < target.len() {
        let more = done.min(target.len() - done);
        target.copy_within(..more, done);
        done += more;
    }
}

/// Copies the elements of a broadcast input at consecutive places.
fn spread<T: Plain>(shape: &[usize], strides: &[usize], source: &[T], place: usize, target: &mut [T]) {
    let rank = shape.len();
    let mut at = [0_usize; MAX_RANK];
    let (mut rest, mut offset) = (place, 0);
    for axis in (0..rank).rev() {
        at[axis] = rest % shape[axis];
        rest /= shape[axis];
        offset += at[axis] * strides[axis];
    }
    let (inner, step) = (shape[rank - 1], strides[rank - 1]);
    let mut done = 0;
    while done < target.len() {
        let run = (inner - at[rank - 1]).min(target.len() - done);
        let part = &mut target[done..done + run];
        match step {
            0 => part.fill(source[offset]),
            1 => part.copy_from_slice(&source[offset..offset + run]),
            _ => part.iter_mut().zip(source[offset..].iter().step_by(step)).for_each(|(y, &x)| *y = x),
        }
        done += run;
        offset -= at[rank - 1] * step;
        at[rank - 1] = 0;
        for axis in (0..rank - 1).rev() {
            at[axis] += 1;
            offset += strides[axis];
            if at[axis] < shape[axis] {
                break;
            }
            offset -= at[axis] * strides[axis];
            at[axis] = 0;
        }
    }
}

/// Runs a unary loop.
///
/// # Safety
/// `x` holds and `y` takes `len` elements, and they do not overlap.
unsafe fn unary(op: keras_core::graph::Unary, dtype: DType, x: Start, y: Start, len: usize) {
    use keras_core::graph::Unary;
    // SAFETY: the function's own contract.
    match op {
        Unary::Not => unsafe { loops::not()(read(x, len), write(y, len)) },
        Unary::IsNan => with_storage!(dtype, T => unsafe { T::nan_test()(read(x, len), write(y, len)) }),
        _ => with_storage!(dtype, T => if let Some(run) = T::unary(op) {
            unsafe { run(read(x, len), write(y, len)) }
        }),
    }
}

/// Runs a conversion loop.
///
/// # Safety
/// `x` holds and `y` takes `len` elements of those types, and they do not overlap.
unsafe fn cast(from: DType, to: DType, x: Start, y: Start, len: usize) {
    // SAFETY: the function's own contract.
    with_storage!(from, A => match to {
        DType::Bool => unsafe { A::to_truth()(read(x, len), write(y, len)) },
        _ => with_storage!(to, B => unsafe { loops::convert::<A, B>(read(x, len), write(y, len)) }),
    });
}

/// A host scalar as an element of that type.
pub(crate) fn scalar<T: Loops>(value: Scalar, dtype: DType) -> T {
    match (dtype, value) {
        (DType::Bool, Scalar::Float(value)) => T::from_i64(i64::from(value != 0.0)),
        (DType::Bool, value) => T::from_i64(i64::from(value.to_i64() != 0)),
        (_, Scalar::Int(value)) => T::from_i64(value),
        (_, value) => T::from_f64(value.to_f64()),
    }
}
