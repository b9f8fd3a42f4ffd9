//! Operations along one axis: positions of extrema, running sums, the largest k, softmax.

use crate::loops::Loops;
use crate::parallel::pieces_per_task;
use crate::plan::TILE;
use crate::run::Site;
use crate::scratch::Scratch;
use crate::simd::{Level, Task, dispatch};
use crate::tensor::{Out, Tensor, with_storage};
use keras_core::graph::{ArgReduce, Cumulative, Reduce, Unary};
use keras_core::{DType, Error, Result};
use std::cmp::Ordering;

/// Elements of a task.
const GRAIN: usize = 1 << 14;

/// The lengths before, along and after an axis.
fn around(shape: &[usize], axis: usize) -> (usize, usize, usize) {
    (shape[..axis].iter().product(), shape[axis], shape[axis + 1..].iter().product())
}

/// Whether `x` beats the best so far: a NaN beats every number, and nothing beats a NaN.
#[inline(always)]
fn beats<T: Loops>(op: ArgReduce, x: T, best: T) -> bool {
    let ahead = match op {
        ArgReduce::Max => x > best,
        ArgReduce::Min => x < best,
    };
    ahead || (x.is_nan() && !best.is_nan())
}

pub(crate) fn arg_reduce(site: Site<'_>, op: ArgReduce, x: &Tensor, axis: usize) -> Result<Tensor> {
    let (_, len, inner) = around(x.shape(), axis);
    let shape = [&x.shape()[..axis], &x.shape()[axis + 1..]].concat();
    let mut out = Out::new(site.pool, &shape, DType::I64)?;
    with_storage!(x.dtype(), T => {
        let source = x.slice::<T>();
        let step = pieces_per_task(len * inner, GRAIN);
        site.threads.chunks(out.slice::<i64>(), step * inner, |task, chunk| {
            for (i, found) in chunk.chunks_exact_mut(inner).enumerate() {
                let block = &source[(task * step + i) * len * inner..][..len * inner];
                dispatch(ArgBlock { op, block, found });
            }
        });
    });
    Ok(out.finish())
}

struct ArgBlock<'a, T> {
    op: ArgReduce,
    block: &'a [T],
    found: &'a mut [i64],
}

impl<T: Loops> Task for ArgBlock<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<L: Level>(self) {
        let Self { op, block, found } = self;
        let inner = found.len();
        if inner == 1 {
            let mut best = 0;
            for (i, &x) in block.iter().enumerate() {
                if beats(op, x, block[best]) {
                    best = i;
                }
            }
            found[0] = best as i64;
            return;
        }
        let mut best = block[..inner].to_vec();
        found.fill(0);
        for (n, row) in block.chunks_exact(inner).enumerate().skip(1) {
            for ((best, found), &x) in best.iter_mut().zip(found.iter_mut()).zip(row) {
                let ahead = beats(op, x, *best);
                *best = if ahead { x } else { *best };
                *found = if ahead { n as i64 } else { *found };
            }
        }
    }
}

pub(crate) fn cumulative(site: Site<'_>, op: Cumulative, x: &Tensor, axis: usize) -> Result<Tensor> {
    let (_, len, inner) = around(x.shape(), axis);
    let mut out = Out::new(site.pool, x.shape(), x.dtype())?;
    with_storage!(x.dtype(), T => {
        let source = x.slice::<T>();
        let step = pieces_per_task(len * inner, GRAIN);
        let join = match op {
            Cumulative::Sum => <T as crate::number::Number>::add,
            Cumulative::Prod => <T as crate::number::Number>::mul,
        };
        site.threads.chunks(out.slice::<T>(), step * len * inner, |task, chunk| {
            let source = &source[task * step * len * inner..][..chunk.len()];
            running(source, chunk, len, inner, join);
        });
    });
    Ok(out.finish())
}

fn running<T: Loops>(x: &[T], y: &mut [T], len: usize, inner: usize, join: fn(T, T) -> T) {
    y.copy_from_slice(x);
    for block in y.chunks_exact_mut(len * inner) {
        for n in 1..len {
            let (done, rest) = block.split_at_mut(n * inner);
            for (y, &before) in rest.iter_mut().zip(&done[(n - 1) * inner..]) {
                *y = join(before, *y);
            }
        }
    }
}

pub(crate) fn top_k(site: Site<'_>, x: &Tensor, k: usize) -> Result<(Tensor, Tensor)> {
    let Some((&len, outer)) = x.shape().split_last() else {
        return Err(Error::shape("top_k", "at least one axis", "a scalar"));
    };
    let shape = [outer, &[k]].concat();
    let mut values = Out::new(site.pool, &shape, x.dtype())?;
    let mut positions = Out::new(site.pool, &shape, DType::I64)?;
    with_storage!(x.dtype(), T => {
        let source = x.slice::<T>();
        let step = pieces_per_task(len, GRAIN / 8);
        site.threads.chunks(positions.slice::<i64>(), step * k, |task, chunk| {
            let mut order = Vec::with_capacity(len);
            for (i, found) in chunk.chunks_exact_mut(k).enumerate() {
                largest(&source[(task * step + i) * len..][..len], &mut order, found);
            }
        });
        let found = positions.slice::<i64>();
        for ((row, values), found) in
            source.chunks_exact(len).zip(values.slice::<T>().chunks_exact_mut(k)).zip(found.chunks_exact(k))
        {
            values.iter_mut().zip(found).for_each(|(value, &at)| *value = row[at as usize]);
        }
    });
    Ok((values.finish(), positions.finish()))
}

/// The positions of the largest elements, descending, NaN first, ties by position.
fn largest<T: Loops>(row: &[T], order: &mut Vec<usize>, found: &mut [i64]) {
    let k = found.len();
    let compare = |&a: &usize, &b: &usize| {
        let (x, y) = (row[a], row[b]);
        if beats(ArgReduce::Max, x, y) {
            Ordering::Less
        } else if beats(ArgReduce::Max, y, x) {
            Ordering::Greater
        } else {
            a.cmp(&b)
        }
    };
    order.clear();
    order.extend(0..row.len());
    if k < row.len() {
        order.select_nth_unstable_by(k, compare);
    }
    order[..k].sort_unstable_by(compare);
    found.iter_mut().zip(&*order).for_each(|(found, &at)| *found = at as i64);
}

/// Softmax over the last axis, or its logarithm.
pub(crate) fn softmax(site: Site<'_>, x: &Tensor, logarithm: bool) -> Result<Tensor> {
    let Some(&len) = x.shape().last() else {
        return Err(Error::shape("softmax", "at least one axis", "a scalar"));
    };
    let mut out = Out::new(site.pool, x.shape(), x.dtype())?;
    match x.dtype() {
        DType::F32 => softmax_rows::<f32>(site, x, len, logarithm, &mut out),
        DType::F64 => softmax_rows::<f64>(site, x, len, logarithm, &mut out),
        other => return Err(Error::dtype("softmax", "float32 or float64", other.name())),
    }
    Ok(out.finish())
}

fn softmax_rows<T: Loops>(site: Site<'_>, x: &Tensor, len: usize, logarithm: bool, out: &mut Out) {
    let source = x.slice::<T>();
    let rows = (TILE / len).max(1);
    let step = pieces_per_task(rows * len * 8, GRAIN) * rows * len;
    site.threads.chunks(out.slice::<T>(), step, |task, chunk| {
        let mut exps = Scratch::of::<T>(rows * len);
        let exps = &mut exps.slice::<T>()[..rows * len];
        let source = &source[task * step..][..chunk.len()];
        for (x, y) in source.chunks(rows * len).zip(chunk.chunks_mut(rows * len)) {
            softmax_tile(x, y, &mut exps[..x.len()], len, logarithm);
        }
    });
}

fn softmax_tile<T: Loops>(x: &[T], y: &mut [T], exps: &mut [T], len: usize, logarithm: bool) {
    let (largest, sum) = (T::reduction(Reduce::Max).0, T::reduction(Reduce::Sum).0);
    let (Some(exp), Some(log)) = (T::unary(Unary::Exp), T::unary(Unary::Log)) else { return };
    let mut totals = [T::ZERO; TILE];
    let totals = &mut totals[..x.len() / len];
    largest(x, totals);
    dispatch(Rows { x, y, each: totals, op: RowOp::Subtract });
    exp(y, exps);
    if len <= TILE {
        sum(exps, totals);
    } else {
        let mut part = [T::ZERO];
        totals[0] = T::ZERO;
        for chunk in exps.chunks(TILE) {
            sum(chunk, &mut part);
            totals[0] = totals[0].add(part[0]);
        }
    }
    if logarithm {
        let mut sums = [T::ZERO; TILE];
        let sums = &mut sums[..totals.len()];
        sums.copy_from_slice(totals);
        log(sums, totals);
        exps.copy_from_slice(y);
        dispatch(Rows { x: exps, y, each: totals, op: RowOp::Subtract });
    } else {
        dispatch(Rows { x: exps, y, each: totals, op: RowOp::Divide });
    }
}

#[derive(Clone, Copy)]
enum RowOp {
    Subtract,
    Divide,
}

/// `y = x − e` or `x / e` with one `e` per row.
struct Rows<'a, T> {
    x: &'a [T],
    y: &'a mut [T],
    each: &'a [T],
    op: RowOp,
}

impl<T: Loops> Task for Rows<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<L: Level>(self) {
        let len = self.x.len() / self.each.len();
        let rows = self.x.chunks_exact(len).zip(self.y.chunks_exact_mut(len)).zip(self.each);
        match self.op {
            RowOp::Subtract => rows.for_each(|((x, y), &e)| {
                for (y, &x) in y.iter_mut().zip(x) {
                    *y = x.sub(e);
                }
            }),
            RowOp::Divide => rows.for_each(|((x, y), &e)| {
                for (y, &x) in y.iter_mut().zip(x) {
                    *y = x.div(e);
                }
            }),
        }
    }
}
