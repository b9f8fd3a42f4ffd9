//! Vector-Jacobian products of operations along axes: reductions, running sums and products.

use crate::error::Result;
use crate::graph::build::keep_axes;
use crate::graph::{Binary, Compare, Cumulative, Graph, Op, Reduce, ScanBuilder, Type, Value};

pub(super) fn reduce(
    g: &mut Graph,
    function: Reduce,
    axes: &[usize],
    x: Value,
    y: Value,
    dy: Value,
) -> Result<Value> {
    let shape = g.shape(x).to_vec();
    let kept = keep_axes(&shape, axes);
    let spread = |g: &mut Graph, value: Value| {
        let value = g.reshape(value, &kept)?;
        g.broadcast(value, &shape)
    };
    let wide = spread(g, dy)?;
    match function {
        Reduce::Sum => Ok(wide),
        Reduce::Max | Reduce::Min => {
            // Ties share the gradient evenly, as in TensorFlow.
            let extreme = spread(g, y)?;
            let hit = g.compare(Compare::Eq, x, extreme)?;
            let hit = g.add(Op::Cast(g.ty(x).dtype), &[hit])?;
            let count = g.reduce(Reduce::Sum, hit, axes)?;
            let count = spread(g, count)?;
            let share = g.binary(Binary::Div, hit, count)?;
            g.binary(Binary::Mul, wide, share)
        }
        Reduce::Prod => {
            let others = product_of_others(g, x, axes)?;
            g.binary(Binary::Mul, wide, others)
        }
    }
}

/// For every element the product of the others along `axes`, exact where elements are zero.
#[allow(clippy::indexing_slicing, reason = "the axes were checked when the reduction was built")]
fn product_of_others(g: &mut Graph, x: Value, axes: &[usize]) -> Result<Value> {
    let ty = g.ty(x).clone();
    if ty.is_empty() {
        return Ok(x);
    }
    let rank = ty.shape.len();
    let perm: Vec<usize> = (0..rank).filter(|i| !axes.contains(i)).chain(axes.iter().copied()).collect();
    let moved = g.permute(x, &perm)?;
    let moved_shape = g.shape(moved).to_vec();
    let inner: usize = axes.iter().map(|&axis| ty.shape[axis]).product();
    let flat = g.reshape(moved, &[ty.len() / inner, inner])?;
    let before = exclusive_product(g, 1, flat)?;
    let reversed = g.add(Op::Reverse(vec![1]), &[flat])?;
    let after = exclusive_product(g, 1, reversed)?;
    let after = g.add(Op::Reverse(vec![1]), &[after])?;
    let others = g.binary(Binary::Mul, before, after)?;
    let others = g.reshape(others, &moved_shape)?;
    let mut inverse = vec![0; rank];
    for (i, &axis) in perm.iter().enumerate() {
        inverse[axis] = i;
    }
    g.permute(others, &inverse)
}

/// Running products along an axis that is not empty, without the element itself.
#[allow(clippy::indexing_slicing, reason = "the axis was checked when the operation was built")]
fn exclusive_product(g: &mut Graph, axis: usize, x: Value) -> Result<Value> {
    let ty = g.ty(x).clone();
    let mut first = ty.clone();
    first.shape[axis] = 1;
    let ones = g.full(1.0, &first)?;
    let rest = g.slice_axis(x, axis, 0, ty.shape[axis] - 1)?;
    let shifted = g.add(Op::Concat(axis), &[ones, rest])?;
    g.add(Op::Cumulative(Cumulative::Prod, axis), &[shifted])
}

/// Sums from each position to the end.
pub(super) fn cumsum_back(g: &mut Graph, axis: usize, dy: Value) -> Result<Value> {
    let reversed = g.add(Op::Reverse(vec![axis]), &[dy])?;
    let summed = g.add(Op::Cumulative(Cumulative::Sum, axis), &[reversed])?;
    g.add(Op::Reverse(vec![axis]), &[summed])
}

/// The gradient of a running product, exact where elements are zero: with `sᵢ = dyᵢ + xᵢ₊₁·sᵢ₊₁`, it is `sᵢ` times
/// the product of the elements before `i`.
#[allow(clippy::indexing_slicing, reason = "the loop has one carry, two sequences and one result")]
pub(super) fn cumprod(g: &mut Graph, axis: usize, x: Value, dy: Value) -> Result<Value> {
    let ty = g.ty(x).clone();
    if ty.is_empty() {
        return Ok(dy);
    }
    let rank = ty.shape.len();
    let front: Vec<usize> = std::iter::once(axis).chain((0..rank).filter(|&i| i != axis)).collect();
    let back: Vec<usize> = (1..=axis).chain([0]).chain(axis + 1..rank).collect();
    let (rows, seeds) = (g.permute(x, &front)?, g.permute(dy, &front)?);
    let row = Type::new(&g.shape(rows)[1..], ty.dtype);
    let zero = g.full(0.0, &row)?;
    let mut scan = ScanBuilder::new(g, &[zero], &[rows, seeds], &[])?;
    let (carry, xs) = (scan.carries()[0], scan.xs());
    let total = scan.body.binary(Binary::Add, xs[1], carry)?;
    let next = scan.body.binary(Binary::Mul, xs[0], total)?;
    let (_, sums) = scan.finish(g, &[next], &[total], true)?;
    let sums = g.permute(sums[0], &back)?;
    let before = exclusive_product(g, axis, x)?;
    g.binary(Binary::Mul, sums, before)
}

pub(super) fn sum_last(g: &mut Graph, x: Value) -> Result<Value> {
    let shape = g.shape(x).to_vec();
    let total = g.reduce_keep(Reduce::Sum, x, &[shape.len() - 1])?;
    g.broadcast(total, &shape)
}
