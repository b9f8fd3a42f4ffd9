//! Fused kernels of arithmetic in single precision on the CPU, in blocks that stay in the first-level cache: every operand is
//! read once and every result written once, however many instructions lie between. On libtorch's functions each
//! instruction would walk through memory by itself.

#![allow(
    clippy::inline_always,
    reason = "only inlined code is compiled for the instruction set of its caller"
)]

use crate::kernel::{missing, operands};
use crate::shim;
use crate::tensor::{Operand, ints};
use keras_core::DType;
use keras_core::backend::Scalar;
use keras_core::graph::{Binary, Compare, Instr, Kernel, KernelOutput, Logical, Reduce, Unary};
use std::ffi::{c_char, c_void};
use tch::{Device, Kind, TchError, Tensor};

/// Elements of a register: a few of them fill half the cache.
const BLOCK: usize = 1024;

/// Parts of the work, whatever the number of threads, so that sums do not depend on it.
const PARTS: usize = 16;

/// Elements below which threads cost more than they bring.
const GRAIN: usize = 1 << 15;

/// Sums kept side by side by each part, at most.
const SUMS: usize = 1 << 12;

unsafe extern "C" {
    fn keras_parallel(tasks: i64, run: extern "C" fn(*mut c_void, i64), context: *mut c_void) -> *mut c_char;
}

/// Whether the kernel runs here. Functions beyond arithmetic, which libtorch has vectorised, and other element types do not.
pub(crate) fn runs(kernel: &Kernel) -> bool {
    let plain = |dtype: &DType| matches!(dtype, DType::F32 | DType::Bool);
    let code = kernel.code.iter().all(|(instruction, dtype)| {
        plain(dtype)
            && match instruction {
                Instr::Unary(function, _) => matches!(
                    function,
                    Unary::Neg
                        | Unary::Abs
                        | Unary::Sign
                        | Unary::Sqrt
                        | Unary::Rsqrt
                        | Unary::Square
                        | Unary::Recip
                        | Unary::Relu
                        | Unary::IsNan
                        | Unary::Not
                ),
                Instr::Binary(function, ..) => {
                    let arithmetic = [Binary::Add, Binary::Sub, Binary::Mul, Binary::Div];
                    arithmetic.contains(function) || matches!(function, Binary::Max | Binary::Min)
                }
                _ => true,
            }
    });
    code && kernel.outputs.iter().all(|output| output.reduce.is_none() || Sums::of(kernel, output).is_some())
}

/// A sum at the end of a kernel over its first axes: so many columns remain.
struct Sums {
    columns: usize,
}

impl Sums {
    fn of(kernel: &Kernel, output: &KernelOutput) -> Option<Self> {
        let (Reduce::Sum, axes) = output.reduce.as_ref()? else { return None };
        let float = kernel.code.get(output.register).is_some_and(|(_, dtype)| *dtype == DType::F32);
        let columns: usize = kernel.shape.iter().skip(axes.len()).product();
        let first = axes.iter().copied().eq(0..axes.len()) && !axes.is_empty();
        (float && first && columns <= SUMS).then_some(Self { columns })
    }
}

/// Where an operand begins.
enum Source {
    Floats(*const f32),
    Truths(*const u8),
}

/// Where a result goes.
enum Sink {
    Floats(*mut f32),
    Truths(*mut u8),
    /// The number of columns, and where among a part's sums they begin.
    Sums(usize, usize),
}

/// What all parts of the work share.
struct Job<'a> {
    kernel: &'a Kernel,
    sources: Vec<Source>,
    sinks: Vec<Sink>,
    scalars: &'a [Scalar],
    /// The block in which each register lives; one that nobody reads any more is used again.
    places: Vec<usize>,
    blocks: usize,
    /// The length of the last axis.
    row: usize,
    /// The sums of every part, side by side.
    sums: *mut f64,
    width: usize,
}

/// Contiguous elements: some rows, or a part of one.
#[derive(Clone, Copy)]
struct Piece {
    start: usize,
    len: usize,
}

/// A block for every register. Those of literals are filled once and belong to them alone.
#[allow(clippy::indexing_slicing, reason = "registers are numbered by the instructions that write them")]
fn places(kernel: &Kernel) -> (Vec<usize>, usize) {
    let mut last: Vec<usize> = (0..kernel.code.len()).collect();
    for (at, (instruction, _)) in kernel.code.iter().enumerate() {
        operands(*instruction).into_iter().flatten().for_each(|register| last[register] = at);
    }
    let literal = |at: usize| matches!(kernel.code[at].0, Instr::Scalar(_) | Instr::Const(_));
    (0..last.len()).filter(|&at| literal(at)).for_each(|at| last[at] = usize::MAX);
    for output in &kernel.outputs {
        last[output.register] = usize::MAX;
    }
    let (mut places, mut free, mut blocks) = (Vec::with_capacity(kernel.code.len()), Vec::new(), 0);
    for (at, (instruction, _)) in kernel.code.iter().enumerate() {
        // Literals are there before the first instruction runs.
        places.push(if literal(at) { None } else { free.pop() }.unwrap_or_else(|| {
            blocks += 1;
            blocks - 1
        }));
        // Only now: an instruction never overwrites what it reads.
        let mut dead: Vec<usize> = operands(*instruction).into_iter().flatten().collect();
        dead.push(at);
        dead.sort_unstable();
        dead.dedup();
        let last: &[usize] = &last;
        free.extend(dead.into_iter().filter(|&register| last[register] == at).map(|r| places[r]));
    }
    (places, blocks)
}

/// Runs a kernel for which [`runs`] has agreed; the operands are on the CPU.
pub(crate) fn run(
    kernel: &Kernel,
    mut inputs: Vec<Operand>,
    scalars: &[Scalar],
) -> Result<Vec<Tensor>, TchError> {
    for input in &mut inputs {
        if !input.tensor.is_contiguous() {
            *input = Operand { tensor: input.tensor.f_contiguous()?, free: true };
        }
    }
    let mut outputs = Vec::with_capacity(kernel.outputs.len());
    let (mut sinks, mut width) = (Vec::with_capacity(kernel.outputs.len()), 0);
    for output in &kernel.outputs {
        let (_, dtype) = kernel.code.get(output.register).ok_or_else(missing)?;
        let (kind, shape) =
            (if *dtype == DType::Bool { Kind::Bool } else { Kind::Float }, ints(&output.shape));
        let old = output.alias.and_then(|i| inputs.get(i)).filter(|input| {
            input.free && input.tensor.kind() == kind && input.tensor.numel() == kernel.len()
        });
        let tensor = match old {
            Some(old) if output.reduce.is_none() => old.tensor.f_view(shape.as_slice())?,
            _ => Tensor::f_empty(shape.as_slice(), (kind, Device::Cpu))?,
        };
        sinks.push(match Sums::of(kernel, output) {
            Some(sums) => {
                width += sums.columns;
                Sink::Sums(sums.columns, width - sums.columns)
            }
            None if kind == Kind::Bool => Sink::Truths(tensor.data_ptr().cast()),
            None => Sink::Floats(tensor.data_ptr().cast()),
        });
        outputs.push(tensor);
    }
    let mut sources = Vec::with_capacity(inputs.len());
    for (input, walked) in inputs.iter().zip(&kernel.inputs) {
        let axes = kernel.shape.iter().zip(&walked.strides).filter(|(_, stride)| **stride != 0);
        if input.tensor.numel() != axes.map(|(len, _)| len).product::<usize>() {
            return Err(missing());
        }
        sources.push(match input.tensor.kind() {
            Kind::Float => Source::Floats(input.tensor.data_ptr().cast_const().cast()),
            Kind::Bool => Source::Truths(input.tensor.data_ptr().cast_const().cast()),
            _ => return Err(missing()),
        });
    }
    let (places, blocks) = places(kernel);
    let row = kernel.shape.last().copied().unwrap_or(1);
    let mut sums = vec![0.0_f64; PARTS * width];
    let start = sums.as_mut_ptr();
    let mut job = Job { kernel, sources, sinks, scalars, places, blocks, row, sums: start, width };
    let parts = if kernel.len() < GRAIN { 1 } else { PARTS as i64 };
    if parts == 1 {
        job.part(0, 1);
    } else {
        // SAFETY: the context outlives the call, which returns when all parts are done; they share it for reading alone.
        shim::done(unsafe { keras_parallel(parts, part, (&raw mut job).cast()) })?;
    }
    for (sink, output) in job.sinks.iter().zip(&outputs) {
        if let &Sink::Sums(columns, first) = sink {
            let total = |column: usize| -> f64 {
                sums.chunks(width).filter_map(|part| part.get(first + column)).sum()
            };
            let totals: Vec<f32> = (0..columns).map(|column| total(column) as f32).collect();
            output.f_view([-1])?.f_copy_(&Tensor::f_from_slice(&totals)?)?;
        }
    }
    Ok(outputs)
}

extern "C" fn part(context: *mut c_void, part: i64) {
    // SAFETY: the context is the job that `run` waits for.
    let job = unsafe { &*context.cast::<Job<'_>>() };
    job.part(part as usize, PARTS);
}

#[allow(
    clippy::indexing_slicing,
    reason = "registers and blocks are numbered from 0, pieces lie in the iteration space"
)]
impl Job<'_> {
    /// The pieces of one part of so many, one after the other.
    fn part(&self, part: usize, parts: usize) {
        let mut registers: Vec<Vec<f32>> = vec![vec![0.0; BLOCK]; self.blocks];
        for (&(instruction, dtype), &place) in self.kernel.code.iter().zip(&self.places) {
            let value = match instruction {
                Instr::Const(value) => value,
                Instr::Scalar(i) => self.scalars.get(i).map_or(f64::NAN, |scalar| scalar.to_f64()),
                _ => continue,
            };
            let value = if dtype == DType::Bool { f64::from(u8::from(value != 0.0)) } else { value };
            registers[place].fill(value as f32);
        }
        let rows = self.kernel.len() / self.row;
        // A piece is as many whole rows as a block holds, or a part of a row.
        let (together, split) = ((BLOCK / self.row).max(1), self.row.div_ceil(BLOCK));
        let pieces = rows.div_ceil(together) * split;
        for piece in pieces * part / parts..pieces * (part + 1) / parts {
            let (row, column) = (piece / split * together, piece % split * BLOCK);
            let len =
                if split > 1 { BLOCK.min(self.row - column) } else { together.min(rows - row) * self.row };
            let piece = Piece { start: row * self.row + column, len };
            #[cfg(target_arch = "x86_64")]
            if std::arch::is_x86_feature_detected!("avx2") {
                // SAFETY: the processor has AVX2.
                unsafe { self.piece_avx2(piece, &mut registers) };
                self.store(piece, part, &registers);
                continue;
            }
            self.piece(piece, &mut registers);
            self.store(piece, part, &registers);
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    fn piece_avx2(&self, piece: Piece, registers: &mut [Vec<f32>]) {
        self.piece(piece, registers);
    }

    /// All instructions on one piece. Truth values are 0 and 1.
    #[inline(always)]
    fn piece(&self, piece: Piece, registers: &mut [Vec<f32>]) {
        for (at, &(instruction, dtype)) in self.kernel.code.iter().enumerate() {
            if matches!(instruction, Instr::Scalar(_) | Instr::Const(_)) {
                continue;
            }
            let mut result = std::mem::take(&mut registers[self.places[at]]);
            let out = &mut result[..piece.len];
            let read = |register: usize| &registers[self.places[register]][..piece.len];
            match instruction {
                Instr::Load(i) => self.load(i, piece, out),
                Instr::Unary(function, x) => unary(function, read(x), out),
                Instr::Binary(function, a, b) => binary(function, read(a), read(b), out),
                Instr::Compare(function, a, b) => compare(function, read(a), read(b), out),
                Instr::Logical(Logical::And, a, b) => two(read(a), read(b), out, |a, b| a * b),
                Instr::Logical(Logical::Or, a, b) => two(read(a), read(b), out, |a, b| truth(a + b > 0.0)),
                Instr::Logical(Logical::Xor, a, b) => two(read(a), read(b), out, |a, b| truth(a != b)),
                Instr::Select(c, a, b) => {
                    for (((out, &c), &a), &b) in out.iter_mut().zip(read(c)).zip(read(a)).zip(read(b)) {
                        *out = if c > 0.0 { a } else { b };
                    }
                }
                Instr::Cast(x) if dtype == DType::Bool => one(read(x), out, |x| truth(x != 0.0)),
                Instr::Cast(x) => out.copy_from_slice(read(x)),
                Instr::Scalar(_) | Instr::Const(_) => {}
            }
            registers[self.places[at]] = result;
        }
    }

    /// The elements of an input at the places of a piece.
    #[inline(always)]
    fn load(&self, input: usize, piece: Piece, out: &mut [f32]) {
        let strides = &self.kernel.inputs[input].strides;
        if self.kernel.is_contiguous(input) {
            return self.copy(input, piece.start, 1, out);
        }
        let step = strides.last().copied().unwrap_or(0);
        let mut done = 0;
        while done < piece.len {
            let (mut rest, column) = ((piece.start + done) / self.row, (piece.start + done) % self.row);
            let mut at = column * step;
            let outer = self.kernel.shape.iter().zip(strides).rev().skip(1);
            for (&len, &stride) in outer {
                at += rest % len * stride;
                rest /= len;
            }
            let run = (self.row - column).min(piece.len - done);
            self.copy(input, at, step, &mut out[done..done + run]);
            done += run;
        }
    }

    /// Elements one behind the other, or one again and again.
    #[inline(always)]
    fn copy(&self, input: usize, at: usize, step: usize, out: &mut [f32]) {
        let len = if step == 0 { 1 } else { out.len() };
        // SAFETY: `run` has found as many elements as the strides reach. Where a result takes over the memory of an operand,
        // this part alone writes there what it reads here, and writes it later.
        match self.sources[input] {
            Source::Floats(start) => match unsafe { std::slice::from_raw_parts(start.add(at), len) } {
                &[value] => out.fill(value),
                values => out.copy_from_slice(values),
            },
            Source::Truths(start) => match unsafe { std::slice::from_raw_parts(start.add(at), len) } {
                &[value] => out.fill(truth(value != 0)),
                values => out.iter_mut().zip(values).for_each(|(out, &value)| *out = truth(value != 0)),
            },
        }
    }

    fn store(&self, piece: Piece, part: usize, registers: &[Vec<f32>]) {
        for (output, sink) in self.kernel.outputs.iter().zip(&self.sinks) {
            let values = &registers[self.places[output.register]][..piece.len];
            match *sink {
                Sink::Floats(start) => {
                    // SAFETY: the piece lies within the result, and belongs to this part alone.
                    let out = unsafe { std::slice::from_raw_parts_mut(start.add(piece.start), piece.len) };
                    out.copy_from_slice(values);
                }
                Sink::Truths(start) => {
                    // SAFETY: as above.
                    let out = unsafe { std::slice::from_raw_parts_mut(start.add(piece.start), piece.len) };
                    out.iter_mut().zip(values).for_each(|(out, &value)| *out = u8::from(value != 0.0));
                }
                Sink::Sums(columns, first) => {
                    // SAFETY: every part has sums of its own.
                    let sums = unsafe {
                        std::slice::from_raw_parts_mut(self.sums.add(part * self.width + first), columns)
                    };
                    add(sums, piece.start % columns, values);
                }
            }
        }
    }
}

/// Adds values to the sums of their columns, the first of which is given.
#[allow(clippy::indexing_slicing, reason = "columns are below the number of sums")]
fn add(sums: &mut [f64], mut column: usize, values: &[f32]) {
    if let [sum] = sums {
        // Eight sums run side by side.
        let mut lanes = [0.0_f64; 8];
        let (whole, rest) = values.as_chunks::<8>();
        for chunk in whole {
            lanes.iter_mut().zip(chunk).for_each(|(lane, &value)| *lane += f64::from(value));
        }
        *sum += lanes.iter().sum::<f64>() + rest.iter().map(|&value| f64::from(value)).sum::<f64>();
        return;
    }
    let mut rest = values;
    while !rest.is_empty() {
        let (run, others) = rest.split_at(rest.len().min(sums.len() - column));
        sums[column..].iter_mut().zip(run).for_each(|(sum, &value)| *sum += f64::from(value));
        (rest, column) = (others, 0);
    }
}

#[inline(always)]
fn truth(value: bool) -> f32 {
    f32::from(u8::from(value))
}

#[inline(always)]
fn one(x: &[f32], out: &mut [f32], function: impl Fn(f32) -> f32) {
    out.iter_mut().zip(x).for_each(|(out, &x)| *out = function(x));
}

#[inline(always)]
fn two(a: &[f32], b: &[f32], out: &mut [f32], function: impl Fn(f32, f32) -> f32) {
    out.iter_mut().zip(a).zip(b).for_each(|((out, &a), &b)| *out = function(a, b));
}

/// The larger number, or NaN.
#[inline(always)]
fn larger(a: f32, b: f32) -> f32 {
    let larger = if a >= b { a } else { b };
    if a.is_nan() { a } else { larger }
}

#[inline(always)]
fn unary(function: Unary, x: &[f32], out: &mut [f32]) {
    match function {
        Unary::Neg => one(x, out, |x| -x),
        Unary::Abs => one(x, out, f32::abs),
        Unary::Sign => one(x, out, |x| {
            let signed = if x < 0.0 { -1.0 } else { x };
            if x > 0.0 { 1.0 } else { signed }
        }),
        Unary::Sqrt => one(x, out, f32::sqrt),
        Unary::Rsqrt => one(x, out, |x| 1.0 / x.sqrt()),
        Unary::Square => one(x, out, |x| x * x),
        Unary::Recip => one(x, out, |x| 1.0 / x),
        Unary::Relu => one(x, out, |x| larger(x, 0.0)),
        Unary::IsNan => one(x, out, |x| truth(x.is_nan())),
        // `runs` has let no others through.
        _ => one(x, out, |x| truth(x == 0.0)),
    }
}

#[inline(always)]
fn binary(function: Binary, a: &[f32], b: &[f32], out: &mut [f32]) {
    match function {
        Binary::Add => two(a, b, out, |a, b| a + b),
        Binary::Sub => two(a, b, out, |a, b| a - b),
        Binary::Mul => two(a, b, out, |a, b| a * b),
        Binary::Div => two(a, b, out, |a, b| a / b),
        Binary::Max => two(a, b, out, larger),
        // `runs` has let no others through.
        _ => two(a, b, out, |a, b| -larger(-a, -b)),
    }
}

#[inline(always)]
fn compare(function: Compare, a: &[f32], b: &[f32], out: &mut [f32]) {
    match function {
        Compare::Eq => two(a, b, out, |a, b| truth(a == b)),
        Compare::Ne => two(a, b, out, |a, b| truth(a != b)),
        Compare::Lt => two(a, b, out, |a, b| truth(a < b)),
        Compare::Le => two(a, b, out, |a, b| truth(a <= b)),
        Compare::Gt => two(a, b, out, |a, b| truth(a > b)),
        Compare::Ge => two(a, b, out, |a, b| truth(a >= b)),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::kernel::by_functions;
    use keras_core::graph::KernelInput;

    const ROWS: usize = 300;

    /// Operands along rows and columns, a literal and a scalar; a product in the memory of an operand, truth values, sums of
    /// columns and of everything.
    fn kernel(columns: usize) -> Kernel {
        let input = |strides: [usize; 2]| KernelInput { dtype: DType::F32, strides: strides.to_vec() };
        let code = [
            (Instr::Load(0), DType::F32),
            (Instr::Load(1), DType::F32),
            (Instr::Load(2), DType::F32),
            (Instr::Const(0.25), DType::F32),
            (Instr::Scalar(0), DType::F32),
            (Instr::Binary(Binary::Mul, 0, 1), DType::F32),
            (Instr::Binary(Binary::Sub, 5, 2), DType::F32),
            (Instr::Compare(Compare::Gt, 6, 3), DType::Bool),
            (Instr::Select(7, 6, 4), DType::F32),
            (Instr::Unary(Unary::Relu, 8), DType::F32),
            (Instr::Cast(7), DType::F32),
            (Instr::Binary(Binary::Max, 9, 10), DType::F32),
            (Instr::Const(1.5), DType::F32),
            (Instr::Binary(Binary::Add, 11, 12), DType::F32),
        ];
        let whole = vec![ROWS, columns];
        let store = |register| KernelOutput { register, shape: whole.clone(), alias: None, reduce: None };
        let sum = |register, shape: &[usize], axes: &[usize]| KernelOutput {
            register,
            shape: shape.to_vec(),
            alias: None,
            reduce: Some((Reduce::Sum, axes.to_vec())),
        };
        Kernel {
            shape: whole.clone(),
            inputs: vec![input([columns, 1]), input([0, 1]), input([1, 0])],
            scalars: 1,
            code: code.to_vec(),
            outputs: vec![
                KernelOutput { alias: Some(0), ..store(13) },
                store(7),
                sum(11, &[columns], &[0]),
                sum(9, &[], &[0, 1]),
            ],
        }
    }

    fn operands(columns: usize, free: bool) -> Vec<Operand> {
        let wave = |len: usize| {
            let values: Vec<f32> = (0..len).map(|i| (i * 37 % 101) as f32 / 50.0 - 1.0).collect();
            Tensor::f_from_slice(&values).unwrap()
        };
        let whole = wave(ROWS * columns);
        // A number that is none reaches every result that reads it.
        let _ = whole.f_narrow(0, 5, 1).unwrap().f_fill_(f64::NAN).unwrap();
        vec![
            Operand { tensor: whole, free },
            Operand { tensor: wave(columns), free: false },
            Operand { tensor: wave(ROWS), free: false },
        ]
    }

    /// Rows shorter and longer than a block, whole and broken ones.
    #[test]
    fn blocks_give_what_libtorch_s_functions_give() {
        for columns in [1, 7, 200, 1024, 1500] {
            let kernel = kernel(columns);
            assert!(runs(&kernel));
            let (inputs, scalars) = (operands(columns, true), [Scalar::Float(-0.5)]);
            let memory = inputs[0].tensor.data_ptr();
            let found = run(&kernel, inputs, &scalars).unwrap();
            assert_eq!(found[0].data_ptr(), memory, "the operand's memory is taken over");
            let expected = by_functions(&kernel, operands(columns, false), &scalars, Device::Cpu).unwrap();
            for (i, (found, expected)) in found.iter().zip(&expected).enumerate() {
                assert_eq!((found.size(), found.kind()), (expected.size(), expected.kind()));
                // Sums round in another order.
                let close = || found.allclose(expected, 1e-5, 0.0, true);
                let same = if i < 2 { found.equal(expected) } else { close() };
                assert!(same, "{columns} columns, output {i}");
            }
        }
    }

    #[test]
    fn the_number_of_threads_changes_no_bit() {
        let _turn = crate::TURN.lock();
        let sums = |threads| {
            tch::set_num_threads(threads);
            let outputs = run(&kernel(200), operands(200, false), &[Scalar::Float(0.5)]).unwrap();
            outputs[2].view_dtype(Kind::Int)
        };
        let one = sums(1);
        [2, 3, 8].iter().for_each(|&threads| assert!(one.equal(&sums(threads)), "{threads} threads"));
    }

    #[test]
    fn functions_beyond_arithmetic_and_other_types_are_left_to_libtorch() {
        let with = |instruction, dtype| {
            let mut kernel = kernel(3);
            kernel.code[5] = (instruction, dtype);
            runs(&kernel)
        };
        assert!(with(Instr::Unary(Unary::Sqrt, 0), DType::F32));
        assert!(!with(Instr::Unary(Unary::Exp, 0), DType::F32));
        assert!(!with(Instr::Binary(Binary::Add, 0, 0), DType::F64));
    }
}
