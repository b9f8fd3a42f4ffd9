//! Runs whole kernels: cuts the iteration space into tiles and tasks, and folds reduction tails.
//!
//! A plain reduction is the kernel that loads its operand and folds it, so a fused tail and a separate reduction
//! give the same bits. Trailing axes fold in chunks of [`TILE`], leading axes in blocks of [`ROWS`] rows; the
//! partial results of chunks and blocks combine in a tree that depends on their number alone.

use crate::fused::{Operand, Session, Worker, operand};
use crate::loops::Loops;
use crate::parallel::{Shared, Threads, pieces_per_task};
use crate::plan::TILE;
use crate::pool::Pool;
use crate::tensor::{Out, Tensor, with_storage};
use keras_core::backend::{Arg, Scalar};
use keras_core::graph::{Binary, Instr, Kernel, KernelInput, KernelOutput, Reduce, Unary};
use keras_core::{DType, Error, Result};
use std::sync::Arc;

/// Rows that a reduction over leading axes adds in order before blocks are combined.
const ROWS: usize = 64;

/// Elements × costs of a task, about 30 µs.
const GRAIN: usize = 1 << 18;

/// What an instruction costs at one place, where an addition costs 1.
fn cost(instr: &Instr) -> usize {
    match instr {
        Instr::Unary(op, _) => match op {
            Unary::Exp | Unary::Expm1 | Unary::Log | Unary::Sigmoid | Unary::Tanh | Unary::Erf => 8,
            Unary::Softplus | Unary::Log1p | Unary::Sinh | Unary::Cosh => 16,
            Unary::Sin | Unary::Cos | Unary::Tan | Unary::Asin | Unary::Acos | Unary::Atan => 64,
            Unary::Sqrt | Unary::Rsqrt | Unary::Recip => 2,
            _ => 1,
        },
        Instr::Binary(op, ..) => match op {
            Binary::Pow => 32,
            Binary::Mod | Binary::Atan2 => 64,
            Binary::Div => 2,
            _ => 1,
        },
        _ => 1,
    }
}

/// Where kernels run.
#[derive(Clone, Copy)]
pub(crate) struct Site<'a> {
    pub(crate) pool: &'a Arc<Pool>,
    pub(crate) threads: &'a Threads,
}

/// A reduction of `[outer, len, inner]` over its middle axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Fold {
    outer: usize,
    len: usize,
    inner: usize,
}

/// The shape with its neighbouring axes of one kind merged: (length, whether it is reduced); axes of length 1 are
/// left out.
fn groups(shape: &[usize], axes: &[usize]) -> Vec<(usize, bool)> {
    let mut groups: Vec<(usize, bool)> = Vec::new();
    for (axis, &len) in shape.iter().enumerate().filter(|&(_, &len)| len != 1) {
        let reduced = axes.contains(&axis);
        match groups.last_mut() {
            Some(last) if last.1 == reduced => last.0 *= len,
            _ => groups.push((len, reduced)),
        }
    }
    groups
}

impl Fold {
    /// The reduction as one of a single group of axes; `None` if kept and reduced axes alternate further.
    fn of(shape: &[usize], axes: &[usize]) -> Option<Self> {
        let fold = |outer, len, inner| Some(Self { outer, len, inner });
        match *groups(shape, axes).as_slice() {
            [] => fold(1, 1, 1),
            [(len, true)] => fold(1, len, 1),
            [(inner, false)] => fold(inner, 1, 1),
            [(outer, false), (len, true)] => fold(outer, len, 1),
            [(len, true), (inner, false)] => fold(1, len, inner),
            [(outer, false), (len, true), (inner, false)] => fold(outer, len, inner),
            _ => None,
        }
    }

    /// How many partial results there are per result.
    fn parts(self) -> usize {
        self.len.div_ceil(if self.inner == 1 { TILE } else { ROWS })
    }
}

/// The partial results of one output.
struct Partials {
    output: usize,
    op: Reduce,
    memory: Out,
}

/// Runs a kernel over its whole iteration space.
pub(crate) fn run(
    site: Site<'_>,
    kernel: &Kernel,
    inputs: Vec<Arg<Tensor>>,
    scalars: &[Scalar],
) -> Result<Vec<Tensor>> {
    let fold = kernel
        .outputs
        .iter()
        .find_map(|output| output.reduce.as_ref().and_then(|(_, axes)| Fold::of(&kernel.shape, axes)));
    let folded = |output: &KernelOutput| {
        output
            .reduce
            .as_ref()
            .is_some_and(|(_, axes)| fold.is_some() && Fold::of(&kernel.shape, axes) == fold)
    };
    let late = |output: &KernelOutput| output.reduce.is_some() && !folded(output);
    if kernel.outputs.iter().any(late) {
        return run_unfolded(site, kernel, inputs, scalars, late);
    }
    let folds: Vec<bool> = kernel.outputs.iter().map(folded).collect();
    let operands: Vec<Operand> = inputs.into_iter().map(operand).collect();
    let session = Session::new(site.pool, kernel, operands, scalars, &folds)?;
    let mut partials = Vec::new();
    if let Some(fold) = fold {
        for (output, (spec, _)) in
            kernel.outputs.iter().zip(&folds).enumerate().filter(|(_, (_, fold))| **fold)
        {
            let Some((op, _)) = spec.reduce else { continue };
            let shape = [fold.outer, fold.parts(), fold.inner];
            let memory = Out::new(site.pool, &shape, kernel.code[spec.register].1)?;
            partials.push(Partials { output, op, memory });
        }
    }
    match fold {
        None => flat(site, &session, kernel),
        Some(fold) if fold.inner == 1 => fold_rows(site, &session, kernel, fold, &mut partials),
        Some(fold) => fold_columns(site, &session, kernel, fold, &mut partials),
    }
    let mut results = session.finish();
    if let Some(fold) = fold {
        for part in partials {
            let shape = &kernel.outputs[part.output].shape;
            results[part.output] = Some(combine(site, fold, part.op, part.memory, shape)?);
        }
    }
    let missing = || Error::backend("fused kernel", "a result for every output", "none");
    results.into_iter().map(|result| result.ok_or_else(missing)).collect()
}

/// Stores the outputs whose tails do not run with the tiles, and reduces them afterwards.
fn run_unfolded(
    site: Site<'_>,
    kernel: &Kernel,
    inputs: Vec<Arg<Tensor>>,
    scalars: &[Scalar],
    late: impl Fn(&KernelOutput) -> bool,
) -> Result<Vec<Tensor>> {
    let mut stored = kernel.clone();
    for output in stored.outputs.iter_mut().filter(|output| late(output)) {
        *output = KernelOutput { shape: kernel.shape.clone(), alias: None, reduce: None, ..*output };
    }
    let mut results = run(site, &stored, inputs, scalars)?;
    for (result, output) in results.iter_mut().zip(&kernel.outputs) {
        if let Some((op, axes)) = output.reduce.as_ref().filter(|_| late(output)) {
            *result = reduce(site, *op, result, axes)?.with_shape(&output.shape);
        }
    }
    Ok(results)
}

/// Reduces over any axes: innermost group first.
pub(crate) fn reduce(site: Site<'_>, op: Reduce, x: &Tensor, axes: &[usize]) -> Result<Tensor> {
    let shape: Vec<usize> =
        x.shape().iter().enumerate().filter(|(axis, _)| !axes.contains(axis)).map(|(_, &len)| len).collect();
    let mut groups = groups(x.shape(), axes);
    let mut x = x.clone();
    loop {
        let last = groups.iter().rposition(|group| group.1);
        let (lens, axes) = match last {
            Some(last) => {
                let outer: usize = groups[..last].iter().map(|group| group.0).product();
                let inner: usize = groups[last + 1..].iter().map(|group| group.0).product();
                (vec![outer, groups[last].0, inner], vec![1])
            }
            None => (vec![x.len()], vec![]),
        };
        let kept: Vec<usize> =
            (0..lens.len()).filter(|axis| !axes.contains(axis)).map(|axis| lens[axis]).collect();
        x = reduce_once(site, op, x, lens, axes, kept)?;
        if let Some(last) = last {
            groups.remove(last);
        }
        if !groups.iter().any(|group| group.1) {
            return Ok(x.with_shape(&shape));
        }
    }
}

fn reduce_once(
    site: Site<'_>,
    op: Reduce,
    x: Tensor,
    lens: Vec<usize>,
    axes: Vec<usize>,
    kept: Vec<usize>,
) -> Result<Tensor> {
    let dtype = x.dtype();
    let strides = (0..lens.len()).map(|axis| lens[axis + 1..].iter().product()).collect();
    let kernel = Kernel {
        shape: lens,
        inputs: vec![KernelInput { dtype, strides }],
        scalars: 0,
        code: vec![(Instr::Load(0), dtype)],
        outputs: vec![KernelOutput { register: 0, shape: kept, alias: None, reduce: Some((op, axes)) }],
    };
    let results = run(site, &kernel, vec![Arg { tensor: x, writable: false }], &[])?;
    results.into_iter().next().ok_or_else(|| Error::backend("reduction", "a result", "none"))
}

/// Tiles of a task over that many places per tile.
fn tiles_per_task(kernel: &Kernel, places: usize) -> usize {
    pieces_per_task(places * kernel.code.iter().map(|(instr, _)| cost(instr)).sum::<usize>(), GRAIN)
}

fn flat(site: Site<'_>, session: &Session<'_>, kernel: &Kernel) {
    let places = kernel.len();
    let step = TILE * tiles_per_task(kernel, TILE);
    site.threads.run(places.div_ceil(step), |task| {
        let mut worker = session.worker();
        let end = places.min((task + 1) * step);
        for place in (task * step..end).step_by(TILE) {
            // SAFETY: inside the shape, and tasks have disjoint ranges of places.
            unsafe { worker.tile(place, TILE.min(end - place)) };
        }
    });
}

/// Reductions over trailing axes: tiles are chunks of a row, or whole rows.
fn fold_rows(site: Site<'_>, session: &Session<'_>, kernel: &Kernel, fold: Fold, partials: &mut [Partials]) {
    let (rows, len, parts) = (fold.outer, fold.len, fold.parts());
    let per_tile = (TILE / len).max(1);
    let tiles = if parts > 1 { rows * parts } else { rows.div_ceil(per_tile) };
    let step = tiles_per_task(kernel, TILE.min(len * per_tile));
    let targets: Vec<Target> = partials.iter_mut().map(|part| Target::new(kernel, part)).collect();
    site.threads.run(tiles.div_ceil(step), |task| {
        let mut worker = session.worker();
        for tile in task * step..tiles.min((task + 1) * step) {
            let (place, count, results) = if parts > 1 {
                let (row, chunk) = (tile / parts, tile % parts);
                (row * len + chunk * TILE, TILE.min(len - chunk * TILE), 1)
            } else {
                let results = per_tile.min(rows - tile * per_tile);
                (tile * per_tile * len, results * len, results)
            };
            let first = if parts > 1 { tile } else { tile * per_tile };
            // SAFETY: tasks have disjoint tiles, and tiles disjoint places and results.
            unsafe {
                worker.tile(place, count);
                for target in &targets {
                    target.fold(&worker, first, results, count / results);
                }
            }
        }
    });
}

/// Reductions over leading or middle axes: every task owns blocks of rows, or columns of them.
fn fold_columns(
    site: Site<'_>,
    session: &Session<'_>,
    kernel: &Kernel,
    fold: Fold,
    partials: &mut [Partials],
) {
    let Fold { outer, len, inner } = fold;
    let blocks = fold.parts();
    let strips = inner.div_ceil(TILE);
    let rows_per_tile = (TILE / inner).max(1);
    let units = outer * blocks * strips;
    let step = tiles_per_task(kernel, ROWS.min(len) * inner.min(TILE));
    let targets: Vec<Target> = partials.iter_mut().map(|part| Target::new(kernel, part)).collect();
    site.threads.run(units.div_ceil(step), |task| {
        let mut worker = session.worker();
        for unit in task * step..units.min((task + 1) * step) {
            let (block, strip) = (unit / strips, unit % strips);
            let (column, width) = (strip * TILE, TILE.min(inner - strip * TILE));
            let first = (block / blocks) * len + (block % blocks) * ROWS;
            let rows = ROWS.min(len - (block % blocks) * ROWS);
            for row in (0..rows).step_by(rows_per_tile) {
                let count = rows_per_tile.min(rows - row);
                // SAFETY: tasks have disjoint units, and units disjoint places and results.
                unsafe {
                    worker.tile((first + row) * inner + column, count * width);
                    for target in &targets {
                        target.accumulate(&worker, block * inner + column, width, count, row == 0);
                    }
                }
            }
        }
    });
}

/// The partial results of one output as tasks write them.
enum Target<'a> {
    F32(usize, Reduce, Shared<'a, f32>),
    F64(usize, Reduce, Shared<'a, f64>),
    I32(usize, Reduce, Shared<'a, i32>),
    I64(usize, Reduce, Shared<'a, i64>),
    U8(usize, Reduce, Shared<'a, u8>),
}

macro_rules! with_target {
    ($target:expr, |$register:ident, $op:ident, $shared:ident| $body:expr) => {
        match $target {
            Target::F32($register, $op, $shared) => $body,
            Target::F64($register, $op, $shared) => $body,
            Target::I32($register, $op, $shared) => $body,
            Target::I64($register, $op, $shared) => $body,
            Target::U8($register, $op, $shared) => $body,
        }
    };
}

impl<'a> Target<'a> {
    fn new(kernel: &Kernel, part: &'a mut Partials) -> Self {
        let (register, op) = (kernel.outputs[part.output].register, part.op);
        match part.memory.dtype {
            DType::F32 => Self::F32(register, op, Shared::new(part.memory.slice())),
            DType::F64 => Self::F64(register, op, Shared::new(part.memory.slice())),
            DType::I32 => Self::I32(register, op, Shared::new(part.memory.slice())),
            DType::I64 => Self::I64(register, op, Shared::new(part.memory.slice())),
            DType::U8 | DType::Bool => Self::U8(register, op, Shared::new(part.memory.slice())),
        }
    }

    /// Folds `results` runs of `len` elements of the last tile into results from `first` on.
    ///
    /// # Safety
    /// The last tile had `results · len` places; no other thread writes those results.
    unsafe fn fold(&self, worker: &Worker<'_, '_>, first: usize, results: usize, len: usize) {
        with_target!(self, |register, op, shared| {
            // SAFETY: the function's own contract.
            let (x, y) =
                unsafe { (worker.register(*register, results * len), shared.range(first, first + results)) };
            fold_of(y, *op)(x, y);
        });
    }

    /// Folds `rows` rows of `width` elements of the last tile into the results from `first` on, which start anew if
    /// `fresh`.
    ///
    /// # Safety
    /// The last tile had `rows · width` places; no other thread writes those results.
    unsafe fn accumulate(
        &self,
        worker: &Worker<'_, '_>,
        first: usize,
        width: usize,
        rows: usize,
        fresh: bool,
    ) {
        with_target!(self, |register, op, shared| {
            // SAFETY: the function's own contract.
            let (x, acc) =
                unsafe { (worker.register(*register, rows * width), shared.range(first, first + width)) };
            accumulate_rows(*op, x, acc, fresh);
        });
    }
}

/// The fold of the elements' type.
fn fold_of<T: Loops>(_: &[T], op: Reduce) -> crate::loops::Fold<T> {
    T::reduction(op).0
}

fn accumulate_rows<T: Loops>(op: Reduce, x: &[T], acc: &mut [T], fresh: bool) {
    if fresh {
        acc.fill(T::identity(op));
    }
    let accumulate = T::reduction(op).1;
    for row in x.chunks_exact(acc.len()) {
        accumulate(acc, row);
    }
}

/// Combines the partial results in a tree.
fn combine(site: Site<'_>, fold: Fold, op: Reduce, mut memory: Out, shape: &[usize]) -> Result<Tensor> {
    let parts = fold.parts();
    if parts == 1 {
        memory.shape = shape.to_vec();
        return Ok(memory.finish());
    }
    let mut out = Out::new(site.pool, shape, memory.dtype)?;
    with_storage!(memory.dtype, T => {
        tree(site.threads, T::reduction(op).1, memory.slice::<T>(), parts, fold.inner, out.slice::<T>());
    });
    Ok(out.finish())
}

/// Combines `[outer, parts, inner]` over `parts` into `[outer, inner]`, in the tree that joins part `i` with part
/// `i + ⌈parts/2⌉`.
pub(crate) fn tree<T: Loops>(
    threads: &Threads,
    join: crate::loops::Accumulate<T>,
    partials: &mut [T],
    parts: usize,
    inner: usize,
    out: &mut [T],
) {
    let width = inner.min(8 * TILE);
    let strips = inner.div_ceil(width);
    let units = (out.len() / inner) * strips;
    let step = pieces_per_task(parts * width, GRAIN / 4);
    let (partials, out) = (Shared::new(partials), Shared::new(out));
    threads.run(units.div_ceil(step), |task| {
        for unit in task * step..units.min((task + 1) * step) {
            let (outer, column) = (unit / strips, (unit % strips) * width);
            let width = width.min(inner - column);
            // SAFETY: a unit owns its columns of all parts; the two ranges in use are of different parts.
            let part = |i: usize| unsafe {
                let start = (outer * parts + i) * inner + column;
                partials.range(start, start + width)
            };
            let mut count = parts;
            while count > 1 {
                let half = count.div_ceil(2);
                for i in 0..count - half {
                    join(part(i), part(i + half));
                }
                count = half;
            }
            // SAFETY: a unit owns its results.
            unsafe { out.range(outer * inner + column, outer * inner + column + width) }
                .copy_from_slice(part(0));
        }
    });
}
