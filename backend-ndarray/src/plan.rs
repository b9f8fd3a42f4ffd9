//! [`Plan`]: where a fused kernel's registers live while a tile of places is computed.

use crate::loops::{takes_binary, unary_result};
use keras_core::graph::{Instr, Kernel, Register};
use keras_core::{DType, Error, Result};

/// Places computed at once: a register of them is 4 KiB of `f32`, so that a kernel's registers stay in L1.
pub(crate) const TILE: usize = 1024;

/// Axes of an iteration space.
pub(crate) const MAX_RANK: usize = 8;

/// Where a register is while a tile runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// In scratch memory at that byte; filled anew for every tile.
    Slot(usize),
    /// In scratch memory at that byte; filled once per worker.
    Pinned(usize),
    /// In the memory of an input that is walked in storage order.
    Input(usize),
    /// In the memory of a broadcast input where the tile is contiguous there, else in scratch memory at that byte.
    Broadcast(usize, usize),
    /// In the memory of an output.
    Output(usize),
}

/// A kernel with its registers placed.
pub(crate) struct Plan<'k> {
    pub(crate) kernel: &'k Kernel,
    pub(crate) places: Vec<Place>,
    /// Outputs that are copied from their register at the end of a tile.
    pub(crate) stores: Vec<usize>,
    /// Bytes of scratch memory.
    pub(crate) scratch: usize,
}

/// How an output leaves the tiles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sink {
    /// Into memory of its own.
    Fresh,
    /// Into the memory of that input.
    Over(usize),
    /// Into partial results of a reduction.
    Fold,
}

/// The registers an instruction reads.
fn operands(instr: &Instr) -> [Option<Register>; 3] {
    match *instr {
        Instr::Load(_) | Instr::Scalar(_) | Instr::Const(_) => [None; 3],
        Instr::Unary(_, a) | Instr::Cast(a) => [Some(a), None, None],
        Instr::Binary(_, a, b) | Instr::Compare(_, a, b) | Instr::Logical(_, a, b) => {
            [Some(a), Some(b), None]
        }
        Instr::Select(c, a, b) => [Some(c), Some(a), Some(b)],
    }
}

/// Whether every instruction of the kernel is well formed and has a loop.
pub(crate) fn check(kernel: &Kernel) -> Result<()> {
    let wrong = |at: usize| {
        let received =
            kernel.code.get(at).map_or_else(String::new, |step| format!("{step:?} as instruction {at}"));
        Error::backend("fused kernel", "an instruction over earlier registers that has a loop", received)
    };
    for (at, (instr, dtype)) in kernel.code.iter().enumerate() {
        if operands(instr).iter().flatten().any(|&register| register >= at) {
            return Err(wrong(at));
        }
        let of = |register: Register| kernel.code.get(register).map(|step| step.1);
        let fits = match *instr {
            Instr::Load(input) => kernel.inputs.get(input).is_some_and(|input| input.dtype == *dtype),
            Instr::Scalar(scalar) => scalar < kernel.scalars,
            Instr::Const(_) | Instr::Cast(_) => true,
            Instr::Unary(op, a) => of(a).and_then(|a| unary_result(op, a)) == Some(*dtype),
            Instr::Binary(op, a, b) => of(a) == Some(*dtype) && of(b) == of(a) && takes_binary(op, *dtype),
            Instr::Compare(_, a, b) => *dtype == DType::Bool && of(a) == of(b),
            Instr::Logical(_, a, b) => [Some(*dtype), of(a), of(b)] == [Some(DType::Bool); 3],
            Instr::Select(c, a, b) => of(c) == Some(DType::Bool) && of(a) == Some(*dtype) && of(b) == of(a),
        };
        if !fits {
            return Err(wrong(at));
        }
    }
    let rank = kernel.shape.len();
    if rank > MAX_RANK
        || kernel.inputs.iter().any(|input| input.strides.len() != rank)
        || kernel.outputs.iter().any(|output| output.register >= kernel.code.len())
    {
        return Err(wrong(kernel.code.len()));
    }
    Ok(())
}

impl<'k> Plan<'k> {
    /// Places the registers of a kernel that passed [`check`].
    pub(crate) fn new(kernel: &'k Kernel, sinks: &[Sink]) -> Self {
        let count = kernel.code.len();
        let mut last_use: Vec<usize> = (0..count).collect();
        for (at, (instr, _)) in kernel.code.iter().enumerate() {
            for register in operands(instr).into_iter().flatten() {
                last_use[register] = at;
            }
        }
        for output in &kernel.outputs {
            last_use[output.register] = count;
        }
        let overwritten = |input: usize| sinks.contains(&Sink::Over(input));
        let mut plan = Self { kernel, places: Vec::with_capacity(count), stores: Vec::new(), scratch: 0 };
        let mut free: Vec<(usize, usize)> = Vec::new();
        for (at, (instr, dtype)) in kernel.code.iter().enumerate() {
            let bytes = TILE * dtype.size();
            let stored = kernel.outputs.iter().any(|output| output.register == at);
            let place = match *instr {
                Instr::Load(input) if kernel.is_contiguous(input) && !(stored && overwritten(input)) => {
                    Place::Input(input)
                }
                Instr::Load(input) if kernel.is_contiguous(input) => Place::Slot(plan.slot(&mut free, bytes)),
                Instr::Load(input) => Place::Broadcast(input, plan.grow(bytes)),
                Instr::Scalar(_) | Instr::Const(_) => Place::Pinned(plan.grow(bytes)),
                _ => {
                    let fresh = |(output, sink): (usize, &Sink)| {
                        *sink == Sink::Fresh && kernel.outputs[output].register == at
                    };
                    match sinks.iter().enumerate().position(fresh) {
                        Some(output) => Place::Output(output),
                        None => Place::Slot(plan.slot(&mut free, bytes)),
                    }
                }
            };
            plan.places.push(place);
            // Freed only now: a result never shares a slot with an operand of its own instruction.
            let mut dead: Vec<Register> =
                operands(instr).into_iter().flatten().filter(|&r| last_use[r] == at).collect();
            dead.dedup();
            for register in dead {
                if let Place::Slot(offset) = plan.places[register]
                    && !free.iter().any(|&(other, _)| other == offset)
                {
                    free.push((offset, TILE * kernel.code[register].1.size()));
                }
            }
        }
        plan.stores = (0..sinks.len())
            .filter(|&output| {
                sinks[output] != Sink::Fold
                    && plan.places[kernel.outputs[output].register] != Place::Output(output)
            })
            .collect();
        plan
    }

    fn grow(&mut self, bytes: usize) -> usize {
        self.scratch += bytes;
        self.scratch - bytes
    }

    fn slot(&mut self, free: &mut Vec<(usize, usize)>, bytes: usize) -> usize {
        match free.iter().rposition(|&(_, size)| size == bytes) {
            Some(found) => free.swap_remove(found).0,
            None => self.grow(bytes),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use keras_core::graph::{Binary, KernelInput, KernelOutput, Unary};

    fn chain() -> Kernel {
        let float = |instr| (instr, DType::F32);
        Kernel {
            shape: vec![4, 8],
            inputs: vec![
                KernelInput { dtype: DType::F32, strides: vec![8, 1] },
                KernelInput { dtype: DType::F32, strides: vec![0, 1] },
            ],
            scalars: 1,
            code: vec![
                float(Instr::Load(0)),
                float(Instr::Load(1)),
                float(Instr::Binary(Binary::Add, 0, 1)),
                float(Instr::Unary(Unary::Exp, 2)),
                float(Instr::Scalar(0)),
                float(Instr::Binary(Binary::Mul, 3, 4)),
                float(Instr::Unary(Unary::Tanh, 5)),
            ],
            outputs: vec![KernelOutput { register: 6, shape: vec![4, 8], alias: None, reduce: None }],
        }
    }

    #[test]
    fn slots_are_reused_and_results_written_in_place() {
        let kernel = chain();
        check(&kernel).unwrap();
        let plan = Plan::new(&kernel, &[Sink::Fresh]);
        assert_eq!(plan.places[0], Place::Input(0));
        assert!(matches!(plan.places[1], Place::Broadcast(1, _)));
        assert_eq!(plan.places[6], Place::Output(0));
        assert_eq!(plan.places[2], plan.places[5]);
        assert_ne!(plan.places[2], plan.places[3]);
        assert!(plan.stores.is_empty());
        assert_eq!(Plan::new(&kernel, &[Sink::Over(0)]).stores, [0]);
    }

    #[test]
    fn malformed_kernels_are_errors() {
        let mut kernel = chain();
        kernel.code[2].0 = Instr::Binary(Binary::Add, 0, 5);
        assert!(check(&kernel).is_err());
        kernel.code[2].0 = Instr::Unary(Unary::Not, 0);
        assert!(check(&kernel).is_err());
        kernel.code[2].0 = Instr::Load(2);
        assert!(check(&kernel).is_err());
        let mut kernel = chain();
        kernel.outputs[0].register = 7;
        assert!(check(&kernel).is_err());
    }
}
